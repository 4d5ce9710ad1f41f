"""One case of one API in full: inputs, what each check found, who agrees with whom, how to reproduce it."""

import math
import shlex
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np

from conformance.arrays import NDArray, from_wire
from conformance.errors import ConformanceError
from conformance.judge import check_names
from conformance.load import Api, Case, Operator, wire_params, wire_tensors
from conformance.oracle import Expectation
from conformance.repeat import CHECK as REPEAT
from conformance.report.camps import Answers, answers
from conformance.report.facts import Facts, accused, number
from conformance.report.groups import Group
from conformance.report.sentences import Sentence, lead, verdict
from conformance.repro import recall, script
from conformance.run import resolved_params
from conformance.stream import Row
from conformance.types import Array

SHOWN_ELEMENTS = 48
_DRAWN = ("uniform", "grid", "labels", "label_sets", "signs")


@dataclass
class Tensor:
    """An input as the report shows it."""

    name: str
    about: str
    values: str
    digest: str
    seed: str
    array: NDArray

    def at(self, index: tuple[int, ...], shape: tuple[int, ...]) -> str:
        """Return what stands at an element of a result [shape], or in its row; nothing where neither is.

        An axis of another length is another axis: the second sample is not the second step in time.
        """
        place = index if self.array.shape == shape else index[:1]
        if not place or self.array.shape[: len(place)] != shape[: len(place)]:
            return ""
        found = np.asarray(self.array[place])
        if found.ndim == 0:
            return str(found[()])
        return values(found, most=6) if found.size else ""


@dataclass
class Evidence:
    """What is known about one case of one API."""

    rows: list[Row]
    """All its checks."""
    failing: list[Row]
    first: Row
    """The failing check that the verdict and the script are about."""
    verdict: Sentence
    answers: list[Answers]
    case: Case | None = None
    api: Api | None = None
    where: str = ""
    expected: Expectation | None = None
    tensors: list[Tensor] = field(default_factory=list)
    params: list[tuple[str, str, str]] = field(default_factory=list)
    script: str = ""
    no_script: str = "this suite has no such case or API"


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
    return chosen(found.rows, library)


def chosen(rows: list[Row], library: Library) -> Row:
    """Choose of results of one cause the one to show, as `representative` does."""

    def place(row: Row) -> tuple[int, bool, float]:
        usual = "float32" in row["case"]
        return (
            library.elements(row) or SHOWN_ELEMENTS,
            not usual,
            -(number(row.get("error_over_bound")) or 0.0),
        )

    return min(rows, key=place)


def evidence(rows: list[Row], facts: Facts, library: Library, *, scripted: bool = True) -> Evidence:
    """Collect everything that is known about one case of one API.

    Args:
        rows: its results, in the order of the stream; at least one fails.
        facts: the stream, for what the other APIs did.
        library: the suite.
        scripted: with the repro script, and the oracle's answer, which takes a few milliseconds.

    """
    failing = [row for row in rows if accused(row)]
    first = lead(failing)
    shown = Evidence(rows, failing, first, verdict(failing), answers(failing, facts))
    found = library.find(first)
    if found is None:
        return shown
    shown.case, shown.api = case, api = found
    shown.where = below_cases(case.where)
    sent = wire_tensors(case, api)
    shown.tensors = [_tensor(name, case, sent[name]) for name in case.specs]
    shown.params = _params(case, api)
    if scripted:
        shown.expected = _expected(case, api)
        shown.script, shown.no_script = _script(case, api, first, facts)
    return shown


def below_cases(where: str) -> str:
    """Cut `file:line:column` to what is the same on every machine."""
    return f"cases/{where.rpartition('/cases/')[2]}" if "/cases/" in where else where.rpartition("/")[2]


def commands(row: Row, failing: list[Row], backend: str) -> list[str]:
    """Return the commands that run the case again and print a script for each failing check.

    The backend is named as it is asked for, with its mode and device.
    """
    case, api = shlex.quote(row["case"]), shlex.quote(row["api"])
    run = f"conformance run --backend {shlex.quote(backend)} --api {api} -k {case} -o /tmp/run"
    checks = [shlex.quote(str(each["check"])) for each in failing]
    again = [f"conformance repro {case} {api} --check {check} --run /tmp/run/run.jsonl" for check in checks]
    return [run, *again]


def pytest_command(row: Row, where: str, backend: str) -> str:
    """Return the command that runs the case as a pytest item: `file::api::case`."""
    file = where.partition(":")[0] or f"cases/{row['family']}/{row['op']}.yaml"
    name = str(row["case"]).partition("/")[2]
    item = shlex.quote(f"{file}::{row['api']}::{name}")
    return f"pytest {item} --backend {shlex.quote(backend)}"


def values(array: NDArray, most: int = SHOWN_ELEMENTS) -> str:
    """Write an array with as many digits as identify its elements; long ones by their edges."""
    aligned = array.ndim > 1 and array.size <= most
    width = max((len(str(element)) for element in array.flat), default=0) if aligned else 0
    with np.printoptions(threshold=most, edgeitems=3 if most > 6 else 2, linewidth=116):
        return np.array2string(array, separator=", ", formatter={"all": lambda x: str(x).rjust(width)})


def _params(case: Case, api: Api) -> list[tuple[str, str, str]]:
    sent = wire_params(case, api)
    defaults = {n: v for n, v in resolved_params(case, api).items() if n not in sent}
    given = [(n, repr(v), "given") for n, v in sent.items()]
    return given + [(n, repr(v), "its documented default") for n, v in defaults.items()]


def _tensor(name: str, case: Case, wire: Array) -> Tensor:
    array = from_wire(wire)
    layout = "" if case.layouts[name] == "contiguous" else f", {case.layouts[name]}"
    about = f"{array.dtype.name}{list(array.shape)}{layout}"
    spec = case.specs[name]
    drawn = isinstance(spec, dict) and any(kind in spec for kind in _DRAWN)
    seed = f"{case.op.name}/{case.name}/{name}" if drawn else ""
    return Tensor(name, about, values(array), blake2b(wire.data, digest_size=16).hexdigest(), seed, array)


def _size(spec: Any) -> int:
    if not isinstance(spec, dict):
        return int(np.size(np.array(spec, dtype=object)))
    if "values" in spec:
        return _size(spec["values"])
    shapes = [
        value for value in spec.values() if isinstance(value, list) and all(type(n) is int for n in value)
    ]
    return math.prod(shapes[0]) if shapes else 1


def _expected(case: Case, api: Api) -> Expectation | None:
    try:
        return recall(case, api)
    except ConformanceError:
        return None


def _script(case: Case, api: Api, row: Row, facts: Facts) -> tuple[str, str]:
    """Return the repro script, or why there is none."""
    check = str(row["check"])
    if check not in (*check_names(case, api), REPEAT) and not check.startswith("relation."):
        return "", f"in this suite the case has no check {check!r}"
    try:
        backend = row["backend"]
        return script(case, api, row, facts.version(backend), facts.variant(backend)), ""
    except ConformanceError as error:
        return "", str(error)
