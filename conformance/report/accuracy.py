"""How exact each API is, by dtype: over results that conform, for one that is wrong has no accuracy. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from conformance.arrays import NDArray
from conformance.load import Case
from conformance.report.facts import FAILING, in_order, number
from conformance.report.parameters import DTYPES
from conformance.stream import Row

SHOWN_VALUES = 8  # of an input's row that went into one element of the output
QUANTITIES = ("output", "gradient")


@dataclass(frozen=True)
class Witness:
    """The element that is farthest off: where it is, what went in there, what came out, in hex floats."""

    case: str
    check: str
    at: str = ""
    inputs: tuple[tuple[str, str], ...] = ()
    got: str = ""
    exact: str = ""


Farthest = tuple[float, Row]


@dataclass
class Figure:
    """The error of one quantity of one API in one dtype, over the defined domain.

    A row that says where it is farthest off leaves out what has an exact value of 0, where a ULP means
    nothing, and a folded run keeps the farthest such row; `max_ulp` is for streams that know no better.
    """

    passing: int = 0
    failing: int = 0
    farthest: Farthest | None = None
    unplaced: Farthest | None = None
    weighted: float = 0.0
    compared: int = 0
    witness: Witness | None = None

    def add(self, row: Row) -> None:
        """Count one judged result; a failing one apart, so that it does not stand for the accuracy."""
        if row["status"] in FAILING:
            self.failing += 1
            return
        if row["status"] != "pass" or not row.get("compared"):
            return
        self.passing += 1
        largest, mean, at = number(row.get("max_ulp")), number(row.get("mean_ulp")), row.get("at_max_ulp")
        if at:
            self.farthest = _farther(self.farthest, number(at.get("ulp")) or largest or 0.0, row)
        elif largest is not None:
            self.unplaced = _farther(self.unplaced, largest, row)
        if mean is not None:
            self.weighted += mean * row["compared"]
            self.compared += row["compared"]

    @property
    def largest(self) -> Farthest | None:
        """The largest error and its row."""
        return self.farthest or (None if self.compared else self.unplaced)

    @property
    def max_ulp(self) -> float | None:
        """The largest error; 0 where the rows have means and none says where it is off."""
        return self.largest[0] if self.largest else 0.0 if self.compared else None

    @property
    def mean_ulp(self) -> float | None:
        """The mean over all elements of all conforming results that say theirs."""
        return self.weighted / self.compared if self.compared else None

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two figures look the same."""
        case = self.largest[1]["case"] if self.largest else ""
        return self.passing, self.failing, self.max_ulp, self.weighted, case


def _farther(found: Farthest | None, ulp: float, row: Row) -> Farthest:
    return (ulp, row) if found is None or ulp > found[0] else found


Figures = dict[str, Figure]


@dataclass
class Accuracy:
    """APIs of one backend with the same figures throughout: by dtype, by quantity."""

    apis: list[str]
    dtypes: dict[str, Figures]


def accuracy(rows: Iterable[Row], cases: dict[str, Case], order: list[str]) -> dict[str, list[Accuracy]]:
    """Return the lines by backend. The values that give a maximum are rebuilt from the suite's case."""
    found: dict[str, dict[str, dict[str, Figures]]] = {}
    for row in rows:
        quantity = _quantity(row)
        if quantity and row.get("domain", "defined") == "defined":
            apis = found.setdefault(row["backend"], {}).setdefault(row["api"], {})
            figures = apis.setdefault(_dtype(row, cases), {name: Figure() for name in QUANTITIES})
            figures[quantity].add(row)
    table = {name: _together(found[name]) for name in in_order(found, order)}
    lines = [line for listed in table.values() for line in listed]
    every = [each for line in lines for by in line.dtypes.values() for each in by.values()]
    for each in every:
        if each.largest is not None and each.max_ulp:
            row = each.largest[1]
            each.witness = witness(row, cases.get(row["case"]))
    return table


def _quantity(row: Row) -> str:
    check = str(row["check"])
    return "output" if check == "output" else "gradient" if check.startswith("grad.") else ""


def _dtype(row: Row, cases: dict[str, Case]) -> str:
    case = cases.get(row["case"])
    if case is not None:
        return case.dtype
    marks = str(row["case"]).partition("[")[2].rstrip("]").split(",")
    return next((dtype for dtype in DTYPES if dtype in marks), "unknown")


def _together(apis: dict[str, dict[str, Figures]]) -> list[Accuracy]:
    """Put APIs with the same figures on one line; a class often calls the function of its name."""
    lines: dict[tuple[object, ...], Accuracy] = {}
    for api, dtypes in apis.items():
        judged = {d for d, figures in dtypes.items() if any(f.passing or f.failing for f in figures.values())}
        ordered = {dtype: dtypes[dtype] for dtype in in_order(judged, DTYPES)}
        key = tuple((d, tuple(f.key for f in figures.values())) for d, figures in ordered.items())
        lines.setdefault(key, Accuracy([], ordered)).apis.append(api)
    return [line for line in lines.values() if line.dtypes]


def witness(row: Row, case: Case | None) -> Witness:
    """Return the element of the largest error: only its case where the stream says no more."""
    found, check = row.get("at_max_ulp"), str(row["check"])
    if not found:
        return Witness(row["case"], check)
    at = tuple(found["at"])
    inputs = _inputs(case, check, at) if case is not None else ()
    where = f"[{', '.join(map(str, at))}]" if at else ""
    return Witness(row["case"], check, where, inputs, _read(found.get("got")), _read(found.get("exact")))


def _inputs(case: Case, check: str, at: tuple[int, ...]) -> tuple[tuple[str, str], ...]:
    """Return what stands in the inputs at that place: in those of a gradient's shape, in a loss's row."""
    tensors, name = case.tensors, check.removeprefix("grad.")
    if name in tensors:
        return tuple((n, _hex(t[at])) for n, t in tensors.items() if t.shape == tensors[name].shape)
    fitting = {n: t[at] for n, t in tensors.items() if _has(t, at)}
    return tuple((n, _values(found)) for n, found in fitting.items() if found.size <= SHOWN_VALUES)


def _has(tensor: NDArray, at: tuple[int, ...]) -> bool:
    return tensor.ndim >= len(at) and all(i < n for i, n in zip(at, tensor.shape, strict=False))


def _values(found: NDArray) -> str:
    return f"[{', '.join(_hex(each) for each in found.flat)}]" if found.ndim else _hex(found)


def _hex(value: object) -> str:
    """Write a number as a hex float, which no reader rounds, and in decimal beside it; a label as it is."""
    as_float = float(value)  # type: ignore[arg-type]
    if getattr(getattr(value, "dtype", None), "kind", "f") in "iub":
        return str(int(as_float))
    if not math.isfinite(as_float):
        return as_float.hex()
    digits, _, exponent = as_float.hex().partition("p")
    short = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return f"{short}p{exponent} ({as_float:.9g})"


def _read(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_read(each) for each in value)}]"
    parsed = number(value)
    return "" if parsed is None else _hex(parsed)
