"""Everything that was measured on one case of one API, a column a check. Pure."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from conformance.oracle import Exact, Expectation
from conformance.report.facts import FAILING, multiple, number, show
from conformance.report.pictures import short
from conformance.stream import Row


@dataclass(frozen=True)
class Line:
    """One measure of every check; empty where a check has none."""

    label: str
    values: tuple[str, ...]


def measures(rows: list[Row], expected: Expectation | None) -> list[Line]:
    """Return the lines of the table, without those that no check has a value for."""
    exact = [exact_of(str(row["check"]), expected) for row in rows]
    lines = [
        Line("dtype", tuple(_dtype(r, e) for r, e in zip(rows, exact, strict=True))),
        Line("shape", tuple(_shape(r, e) for r, e in zip(rows, exact, strict=True))),
        *(Line(label, tuple(write(row) for row in rows)) for label, write in _MEASURES),
    ]
    return [line for line in lines if any(line.values)]


def exact_of(check: str, expected: Expectation | None) -> Exact | None:
    """Return the oracle's answer for a check."""
    if expected is None:
        return None
    what, _, name = check.partition(".")
    if what == "output":
        return expected.output
    return {"grad": expected.gradients, "grad2": expected.second}.get(what, {}).get(name)


def _dtype(row: Row, exact: Exact | None) -> str:
    got, wanted = (row["detail"] or {}).get("dtype"), exact.dtype if exact else ""
    if row["kind"] == "dtype":
        return str(row["message"])
    return str(got or (wanted if row["compared"] else "") or "")


def _shape(row: Row, exact: Exact | None) -> str:
    got = (row["detail"] or {}).get("shape")
    if row["kind"] == "shape":
        return str(row["message"])
    if got is not None:
        return str(list(got))
    return str(list(exact.low.shape)) if exact is not None and row["compared"] else ""


def _outside(row: Row) -> str:
    if not row["compared"]:
        return "nothing to compare" if row["status"] in FAILING else ""
    return f"{row['mismatched'] or 0:,} of {row['compared']:,}"


def _count_against(name: str) -> Callable[[Row], str]:
    """Write how many NaN or infinities came, and how many were due."""

    def write(row: Row) -> str:
        detail = row["detail"] or {}
        if detail.get(name) is None:
            return ""
        got, due = detail[name], detail.get(f"expected_{name}")
        return f"{got:,}" if got == due else f"{got:,}, expected {due or 0:,}"

    return write


def _place(row: Row) -> str:
    return str(list(row["worst"])) if row["compared"] and row["worst"] else ""


def _bound(row: Row) -> str:
    return short(row["bound"]) if row["compared"] else ""


def terms(row: Row) -> str:
    """Write where the bound of the worst element came from."""
    parts = {name: number(term) or 0.0 for name, term in (row["bound_terms"] or {}).items()}
    bound, total = number(row["bound"]), sum(parts.values())
    if bound is None or not total > 0 or not math.isfinite(total):
        return ""
    return f"{bound / total:.3g} × ({' + '.join(f'{name} {term:.3g}' for name, term in parts.items())})"


def _yardstick(row: Row) -> str:
    given = (row["detail"] or {}).get("yardstick") or {}
    if given.get("max_abs") is None:
        return ""
    over = multiple(number(given.get("over_bound")))
    return short(given["max_abs"]) + (f" ({over} the bound)" if over else "")


def _compared(key: str) -> Callable[[Row], str]:
    return lambda row: short(row[key]) if row["compared"] else ""


def _relative(row: Row) -> str:
    """Of what is outside its bound, where the row tells; a passing check has none outside."""
    known = (row["detail"] or {}).get("max_rel")
    return (
        short(known if known is not None else row["max_rel"]) if row["compared"] and row["mismatched"] else ""
    )


_MEASURES: list[tuple[str, Callable[[Row], str]]] = [
    ("elements outside", _outside),
    ("left undecided", lambda row: f"{row['undecided']:,}" if row["undecided"] else ""),
    (
        "largest error / bound",
        lambda row: multiple(number(row["error_over_bound"])) if row["compared"] else "",
    ),
    ("largest absolute error", _compared("max_abs")),
    ("largest relative error of these", _relative),
    ("largest error in ULP", _compared("max_ulp")),
    ("mean error in ULP", _compared("mean_ulp")),
    ("NaN", _count_against("nan")),
    ("infinities", _count_against("inf")),
    ("worst element", _place),
    ("got there", lambda row: show(row["got"]) if row["got"] is not None else ""),
    ("expected there", lambda row: show(row["expected"]) if row["expected"] is not None else ""),
    ("bound there", _bound),
    ("where the bound came from", terms),
    ("error of plain NumPy in this dtype", _yardstick),
    ("subgradient at the kinks", lambda row: str(row["convention"] or "")),
]
