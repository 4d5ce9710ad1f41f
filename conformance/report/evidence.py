"""One discrepancy in full: inputs, expected, got, the bound, the other APIs, how to reproduce it."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.arrays import NDArray, from_wire
from conformance.errors import ConformanceError
from conformance.judge import check_names
from conformance.load import Api, Case, Operator, wire_params, wire_tensors
from conformance.report.camps import Camp, camps, suspect_oracle
from conformance.report.facts import Facts, multiple, number, show
from conformance.report.groups import Group
from conformance.repro import script
from conformance.run import resolved_params
from conformance.stream import Row

SHOWN_ELEMENTS = 48


@dataclass
class Tensor:
    """An input as the report shows it."""

    name: str
    about: str
    values: str
    at_worst: str = ""


@dataclass
class Evidence:
    """The representative of a group."""

    row: Row
    why: str = ""
    where: str = ""
    tensors: list[Tensor] = field(default_factory=list)
    params: list[tuple[str, str, str]] = field(default_factory=list)
    metrics: list[tuple[str, str]] = field(default_factory=list)
    bound_terms: list[tuple[str, str]] = field(default_factory=list)
    factor: str = ""
    camps: list[Camp] = field(default_factory=list)
    suspect_oracle: bool = False
    command: str = ""
    script: str = ""
    no_script: str = ""


class Library:
    """The suite's cases and APIs by name."""

    def __init__(self, suite: list[Operator]) -> None:
        self.cases = {case.id: case for op in suite for case in op.cases}
        self._apis = {(op.name, api.name): api for op in suite for api in op.apis}

    def find(self, row: Row) -> tuple[Case, Api] | None:
        """Return the case and the API of a row, None if the suite no longer has them."""
        case, api = self.cases.get(row["case"]), self._apis.get((row["op"], row["api"]))
        return (case, api) if case and api else None

    def elements(self, row: Row) -> int:
        """Count the elements of a case's inputs without building them."""
        case = self.cases.get(row["case"])
        return sum(_size(spec) for spec in case.specs.values()) if case else 0


def representative(found: Group, library: Library) -> Row:
    """Choose the result to show: of the smallest non-empty inputs, float32 if possible, the largest error."""

    def place(row: Row) -> tuple[int, bool, float]:
        usual = "float32" in row["case"]
        return (
            library.elements(row) or SHOWN_ELEMENTS,
            not usual,
            -(number(row.get("error_over_bound")) or 0.0),
        )

    return min(found.rows, key=place)


def evidence(row: Row, facts: Facts, library: Library) -> Evidence:
    """Collect everything that is known about one result."""
    answers = facts.answers(row)
    shown = Evidence(
        row,
        metrics=_metrics(row),
        camps=camps(answers),
        suspect_oracle=suspect_oracle(answers),
        command=f"conformance repro '{row['case']}' {row['api']}",
    )
    terms = {name: number(term) or 0.0 for name, term in (row.get("bound_terms") or {}).items()}
    shown.bound_terms = [(name, f"{term:.3g}") for name, term in terms.items()]
    bound, total = number(row.get("bound")), sum(terms.values())
    if bound is not None and total > 0 and math.isfinite(total):
        shown.factor = f"{bound / total:.3g}"
    found = library.find(row)
    if found is None:
        shown.no_script = "this suite has no such case or API"
        return shown
    case, api = found
    shown.why, shown.where = case.why, _below_cases(case.where)
    shown.tensors = [_tensor(name, case, api, row.get("worst")) for name in case.specs]
    sent = wire_params(case, api)
    shown.params = [(n, repr(v), "given") for n, v in sent.items()]
    defaults = {n: v for n, v in resolved_params(case, api).items() if n not in sent}
    shown.params += [(n, repr(v), "its documented default") for n, v in defaults.items()]
    shown.script, shown.no_script = _script(case, api, row, facts.version(row["backend"]))
    return shown


def _below_cases(where: str) -> str:
    """Cut `file:line:column` to what is the same on every machine."""
    return f"cases/{where.rpartition('/cases/')[2]}" if "/cases/" in where else where.rpartition("/")[2]


def _metrics(row: Row) -> list[tuple[str, str]]:
    if not row.get("compared"):
        return []
    compared = f"{row.get('mismatched', 0):,} of {row['compared']:,}"
    pairs: list[tuple[str, str]] = [("elements outside", compared)]
    if row.get("undecided"):
        pairs.append(("left undecided", f"{row['undecided']:,}"))
    pairs.append(("error / bound", multiple(number(row.get("error_over_bound")))))
    names = {"max_abs": "largest absolute error", "max_rel": "largest relative error", "max_ulp": "in ULP"}
    pairs += [(name, _three(row.get(key))) for key, name in names.items()]
    if row.get("convention"):
        pairs.append(("subgradient at the kinks", str(row["convention"])))
    return pairs


def _three(value: Any) -> str:
    parsed = number(value)
    return "" if parsed is None else f"{parsed:.3g}" if math.isfinite(parsed) else show(value)


def _tensor(name: str, case: Case, api: Api, worst: list[int] | None) -> Tensor:
    array = from_wire(wire_tensors(case, api)[name])
    layout = "" if case.layouts[name] == "contiguous" else f", {case.layouts[name]}"
    about = f"{array.dtype.name}{list(array.shape)}{layout}"
    return Tensor(name, about, _values(array), _at_worst(array, worst))


def _values(array: NDArray) -> str:
    """Write an array with as many digits as identify its elements; long ones by their edges."""
    aligned = array.ndim > 1 and array.size <= SHOWN_ELEMENTS
    width = max((len(str(element)) for element in array.flat), default=0) if aligned else 0
    with np.printoptions(threshold=SHOWN_ELEMENTS, edgeitems=3, linewidth=116):
        return np.array2string(array, separator=", ", formatter={"all": lambda x: str(x).rjust(width)})


def _at_worst(array: NDArray, worst: list[int] | None) -> str:
    """Show what stands at the worst element (or in its row), where the whole array is not shown."""
    if not worst or array.size <= SHOWN_ELEMENTS or array.ndim == 0 or worst[0] >= array.shape[0]:
        return ""
    index = tuple(worst) if len(worst) == array.ndim else (worst[0],)
    if any(i >= n for i, n in zip(index, array.shape, strict=False)):
        return ""
    where = ", ".join(map(str, index))
    return f"[{where}] = {_values(np.asarray(array[index]))}"


def _size(spec: Any) -> int:
    if not isinstance(spec, dict):
        return int(np.size(np.array(spec, dtype=object)))
    if "values" in spec:
        return _size(spec["values"])
    shapes = [
        value for value in spec.values() if isinstance(value, list) and all(type(n) is int for n in value)
    ]
    return math.prod(shapes[0]) if shapes else 1


def _script(case: Case, api: Api, row: Row, version: str) -> tuple[str, str]:
    """Return the repro script, or why there is none."""
    if row["check"] not in check_names(case, api):
        return "", f"in this suite the case has no check {row['check']!r}"
    try:
        return script(case, api, row, version), ""
    except ConformanceError as error:
        return "", str(error)
