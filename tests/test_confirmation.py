"""No false accusation: a second, independent derivation confirms the oracle at the worst elements.

For every ledger entry about a number, the case behind its largest error is computed again by the plain
formulas of `tests/plain`, in 50 digits and by forward-mode differentiation. They share no code with the
oracle; where the two disagree, it is the oracle that stands accused.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.backends import PLAIN as PLAIN_VARIANT
from conformance.ledger import load_ledger
from conformance.load import api_of, find_case, load_suite
from conformance.oracle import Exact, is_floating
from conformance.run import expectation, resolved_params
from conformance.stream import read_stream
from conformance.suite import Api, Case
from tests.plain import PLAIN, load_all, numbers
from tests.plain.number import CONTEXT, exactly

load_all()

STREAM = Path(__file__).parent.parent / "reports" / "latest" / "run.jsonl"
NUMBERS = ("value", "grad_value", "nonfinite")
Row = dict[str, Any]


@pytest.fixture(scope="module")
def worst() -> dict[str, Row]:
    """Return, for each ledger entry, the row about a number with the largest error."""
    if not STREAM.exists():
        pytest.skip(f"no run to take discrepancies from: `make run` writes {STREAM}")
    found: dict[str, list[Row]] = defaultdict(list)
    for row in read_stream(STREAM):
        about = str(row.get("check", "")).partition(".")[0] in ("output", "grad")
        if row["type"] == "result" and row["ledger"] and row["kind"] in NUMBERS and about:
            found[row["ledger"]].append(row)
    return {entry: max(rows, key=_error) for entry, rows in found.items()}


def _error(row: Row) -> float:
    return float(row["error_over_bound"] or 0)


def test_the_worst_element_of_every_entry_is_confirmed(worst: dict[str, Row]) -> None:
    """The plain formula lies where the oracle says, within a twentieth of the bound.

    Or within a thousandth of the error that is accused: a float64 bound can be as fine as the oracle itself.
    """
    suite, wrong = load_suite(), []
    for entry, row in worst.items():
        case = find_case(suite, row["case"])
        api = api_of(case.op, row["api"])
        if not confirmed(case, api, row):
            wrong.append(f"{entry}: {row['case']} {row['api']} {row['check']} at {row['worst']}")
    assert wrong == []


def test_every_entry_about_a_number_has_such_a_row(worst: dict[str, Row]) -> None:
    """No entry escapes: each one that knows wrong numbers was seen in the run with a number."""
    # Those of compiled modes speak of other runs; the oracle is the same there.
    entries = [e for entries in load_ledger().entries.values() for e in entries if e.holds_in(PLAIN_VARIANT)]
    checked = [e.id for e in entries if set(e.kinds) <= set(NUMBERS) and not e.nondeterministic]
    second = [e.id for e in entries if any(c.startswith("grad2.") for c in e.check)]
    assert sorted(set(checked) - set(worst) - set(second)) == []


def confirmed(case: Case, api: Api, row: Row) -> bool:
    """Compute one element of a result in 50 digits and say whether the oracle's answer holds it."""
    check, place = str(row["check"]), tuple(row["worst"] or ())
    accused = abs(row["got"] - row["expected"]) if _numbers(row["got"], row["expected"]) else 0.0
    expected = expectation(case, api)
    assert expected is not None
    params, formula = resolved_params(case, api), PLAIN[case.op.name]
    shape = expected.output.low.shape
    if check == "output":
        value = formula(_tensors(case), params)[int(np.ravel_multi_index(place, shape)) if shape else 0].value
        return _inside(value, expected.output, place, accused)
    name = check.removeprefix("grad.")
    moved = formula(_tensors(case, (name, place)), params)
    weights = case.cotangent(shape).reshape(-1)
    slope = sum((exactly(w) * n.slope for w, n in zip(weights, moved, strict=True)), CONTEXT.mpf(0))
    return _inside(slope, expected.gradients[name], place, accused)


def _numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _tensors(case: Case, along: tuple[str, tuple[int, ...]] | None = None) -> dict[str, Any]:
    name, place = along or ("", ())
    return {
        n: numbers(t, place if n == name else None) if is_floating(t) else t for n, t in case.tensors.items()
    }


def _inside(value: Any, exact: Exact, place: tuple[int, ...], accused: float) -> bool:
    low, high = exact.low[place], exact.high[place]
    if exact.undecided[place]:
        return True
    if CONTEXT.isnan(value) or not np.isfinite(low):
        return bool(CONTEXT.isnan(value) and np.isnan(low)) or bool(value == CONTEXT.mpf(float(low)))
    slack = max(exactly(exact.bound[place]) / 20, CONTEXT.mpf(accused) / 1000)
    return bool(exactly(low) - slack <= value <= exactly(high) + slack)
