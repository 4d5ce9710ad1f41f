"""The audit: what it plants, what it calls impossible, and that a missing case shows as a survivor."""

from pathlib import Path

import pytest

from conformance.audit import Score, Survivor, audit, render
from conformance.errors import HarnessError
from conformance.load import Operator, load_operator, load_suite, shipped_cases
from conformance.trial import Trial

LOSS = shipped_cases() / "loss"
SEEDS = ("hinge_embedding_loss", "multi_margin_loss", "multilabel_margin_loss")

OUTSIDE = "its cases are declared undefined, or excluded by every document"

THIN = """
op: hinge_embedding_loss
family: loss
summary: two ordinary cases
tensors:
  input: {kind: floating}
  target: {kind: floating}
params:
  margin: {default: 1.0}
  reduction: {default: mean}
apis:
  torch.nn.functional.hinge_embedding_loss: {doc: x, call: [input, target, margin, reduction]}
cases:
  - case: plain
    why: nothing special
    inputs: {input: {uniform: [5, 4]}, target: {signs: [5, 4]}}
    matrix: {dtype: [DTYPE], reduction: [none, mean]}
"""

PROMISE = """
  - case: average
    why: the document promises an error
    domain: undefined
    inputs: {input: [1.0], target: [1.0]}
    params: {reduction: average}
claims:
  torch.nn.functional.hinge_embedding_loss:
    - {claim: rejects, says: reduction must be known, raises: [value], cases: ["average*"]}
"""


def thin(dtype: str = "float32", more: str = "") -> Operator:
    """Load the thin op."""
    return load_operator(Path("thin.yaml"), THIN.replace("DTYPE", dtype) + more)


def without(name: str, *prefixes: str) -> Operator:
    """Load a shipped op without the cases whose names begin so."""
    op = load_operator(LOSS / f"{name}.yaml")
    op.cases[:] = [case for case in op.cases if not case.name.startswith(prefixes)]
    return op


def survivors(score: Score) -> dict[str, str]:
    """Return why each fault survived, by its name."""
    return {survivor.fault: survivor.why for survivor in score.survivors}


@pytest.mark.parametrize("op", load_suite(None, SEEDS), ids=lambda op: op.name)
def test_the_shipped_cases_catch_every_fault_that_an_op_can_have(op: Operator) -> None:
    """A survivor is a missing case, or has its reason in the file. `make test` audits the other ops."""
    score = audit([op])[0]
    assert score.good, render([score])
    assert score.planted > 100


def test_two_ordinary_cases_let_most_corners_through() -> None:
    """What no case exercises is a survivor, never dropped from the count."""
    score = audit([thin()])[0]
    escaped = survivors(score)
    for fault in (
        "output: wrong for float16",
        "output: wrong where input has NaN",
        "grad.input: wrong for strided input",
        "grad.input: wrong where margin is negative",
        "output: margin ignored",
        "raises for an empty input",
    ):
        assert escaped[fault] == "never exercised"
    assert "output: zeroed" not in escaped
    assert "output: reduction none taken for mean" not in escaped
    assert score.planted - score.caught == len(escaped)


def test_a_fault_inside_the_bound_has_survived_and_says_how_near_it_came() -> None:
    """0.1 % is less than the bound of float16: the fault is exercised, and not caught."""
    score = audit([thin("float16")])[0]
    assert survivors(score)["output: scaled by 1.001"] == "survived"
    found = next(s for s in score.survivors if s.fault == "output: scaled by 1.001")
    assert 0 < found.error_over_bound < 1
    assert found.changed == 2
    assert found.closest.startswith("hinge_embedding_loss/plain[float16")


def test_without_the_weighted_cases_an_ignored_weight_survives() -> None:
    """The faults that only certain cases catch come back when those cases go."""
    op = load_operator(LOSS / "multi_margin_loss.yaml")
    op.cases[:] = [case for case in op.cases if "weight" not in case.specs]
    score = audit([op])[0]
    assert survivors(score)["output: weight ignored"] == "never exercised"


def test_without_cases_beside_the_kink_a_clamp_off_by_one_rounding_survives() -> None:
    """A threshold moved by one rounding shows only one rounding from the kink."""
    far = survivors(audit([without("multilabel_margin_loss", "kink-neighbours", "many-classes")])[0])
    near = survivors(audit([without("multilabel_margin_loss", "many-classes")])[0])
    for way in ("up", "down"):
        fault = f"grad.input: clamp one rounding {way}"
        assert far[fault] in ("survived", "never exercised")
        assert fault not in near


def test_what_an_op_cannot_get_wrong_is_named_with_its_reason_and_not_planted() -> None:
    """The gradient by a weight does not depend on the weight, and the audit found that by trying."""
    score = audit([without("multi_margin_loss", "large")])[0]
    reasons = dict(score.impossible)
    assert reasons["grad.weight: weight off by one place"] == "grad.weight does not depend on weight"
    assert reasons["output: clamp one rounding up"] == "output is continuous where a clamp begins"
    assert not {"output: weight off by one place", "grad.input: NaN becomes 0"} & set(reasons)
    assert not set(reasons) & set(survivors(score))


def test_a_condition_that_only_undefined_cases_meet_is_outside_the_definition() -> None:
    """The cases say that a label of 0 has no meaning: a backend cannot be wrong there."""
    zero = """
  - case: label-zero
    why: neither 1 nor −1
    domain: undefined
    inputs: {input: [1.0], target: [0.0]}
"""
    fault = "output: wrong where target has zeros"
    assert survivors(audit([thin()])[0])[fault] == "never exercised"
    assert dict(audit([thin(more=zero)])[0].impossible)[fault] == OUTSIDE


def test_every_way_of_breaking_a_promised_error_is_planted_and_caught() -> None:
    """Accepting, raising late, raising internally and raising something else: none gets through."""
    plain, promising = audit([thin()])[0], audit([thin(more=PROMISE)])[0]
    assert promising.planted == plain.planted + 5
    assert promising.caught == plain.caught + 5


def test_an_honest_backend_that_does_not_pass_is_a_harness_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the exact answer fails, nothing that an audit says means anything."""
    wrong = property(lambda trial: {n: v + 1 for n, v in trial.evaluate().items()})
    monkeypatch.setattr(Trial, "honest", wrong)
    with pytest.raises(HarnessError, match=r"loss/plain.*an honest backend's output is a fail"):
        audit([thin()])


def test_cases_too_large_to_audit_are_named() -> None:
    """What is left out for time is said, so that nobody takes it for covered."""
    score = audit([thin()], most_elements=10)[0]
    assert score.cases == 0
    assert len(score.left_out) == 2
    assert "left out of the audit" in render([score])


def test_the_rendered_table_fits_a_terminal_and_names_every_survivor() -> None:
    """80 columns; counts per op; each survivor with what it means."""
    score = audit([thin("float16")])[0]
    text = render([score])
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    assert f"{score.caught} / {score.planted}" in flat
    for survivor in score.survivors:
        assert survivor.fault in flat


# -- what an op file says of its faults --------------------------------------------------------------------

IGNORED = "output: margin ignored"
"""Survives the thin op, which has no other margin."""
ZEROED = "output: zeroed"
"""Is caught by any case."""


def test_a_survivor_with_a_reason_is_accepted() -> None:
    """It is still a survivor, and is shown with its reason."""
    score = audit([thin(more=f'survivors: {{"{IGNORED}": no other margin is of any use}}\n')])[0]
    found = next(s for s in score.survivors if s.fault == IGNORED)
    assert found.accepted == "no other margin is of any use"
    assert not score.good  # the others have none
    assert "is of any use" in " ".join(render([score]).split())


def test_a_fault_that_is_no_fault_is_impossible() -> None:
    """What an op file calls equivalent is not planted, and not caught: it counts for nothing."""
    plain, alike = audit([thin()])[0], audit([thin(more=f'equivalent: {{"{IGNORED}": the same}}\n')])[0]
    assert alike.planted == plain.planted - 1
    assert alike.caught == plain.caught
    assert dict(alike.impossible)[IGNORED] == "the same"
    assert IGNORED not in survivors(alike)


@pytest.mark.parametrize("key", ["survivors", "equivalent"])
def test_a_reason_for_what_is_caught_is_stale(key: str) -> None:
    """Otherwise a reason would outlive the hole that it was written for; so would one that is misspelt."""
    more = f'{key}: {{"{ZEROED}": nobody can tell, "output: zerod": nobody either}}\n'
    score = audit([thin(more=more)])[0]
    assert score.stale == ("output: zerod", ZEROED)
    assert not score.good
    assert "but caught: output: zeroed" in " ".join(render([score]).split())


def test_good_is_99_in_100_and_a_reason_for_each_of_the_rest() -> None:
    """Neither alone is enough."""
    accepted, silent = (Survivor("a fault", "survived", accepted=why) for why in ("so", ""))
    assert Score("op", 200, 199, (accepted,), (), 3).good
    assert not Score("op", 200, 199, (silent,), (), 3).good
    assert not Score("op", 50, 49, (accepted,), (), 3).good
    assert not Score("op", 200, 200, (), (), 3, stale=("a fault",)).good


def test_what_has_no_axes_cannot_be_wrong_along_one() -> None:
    """A case without `none` gives a single number only: its rows cannot be wrong one by one."""
    text = THIN.replace("DTYPE", "float32").replace("[none, mean]", "[sum, mean]")
    reasons = dict(audit([load_operator(Path("thin.yaml"), text)])[0].impossible)
    for fault in ("last row wrong", "axes of one squeezed", "wrong from the 9th row on"):
        assert reasons[f"output: {fault}"] == "output is always a single number"
        assert f"grad.input: {fault}" not in reasons


def test_a_dtype_that_every_document_excludes_is_not_asked_for() -> None:
    """Cases in it are left out by name, and a backend cannot be wrong there."""
    excluded = "unsupported: [{dtype: [bfloat16], why: no bfloat16, source: https://example.org}]"
    text = THIN.replace("[DTYPE]", "[float32, bfloat16]").replace("{doc: x,", f"{{doc: x, {excluded},")
    score = audit([load_operator(Path("thin.yaml"), text)])[0]
    assert {name.partition("[")[2][:8] for name in score.left_out} == {"bfloat16"}
    assert dict(score.impossible)["output: wrong for bfloat16"] == "every API's document excludes it"
    assert survivors(score)["output: wrong for float16"] == "never exercised"


def test_a_range_that_only_undefined_cases_have_is_outside_the_definition() -> None:
    """A negative margin that the cases call undefined cannot be got wrong, nor its sign be dropped."""
    negative = """
  - case: negative-margin
    why: the documents say nothing of it
    domain: undefined
    inputs: {input: [1.0], target: [1.0]}
    params: {margin: -1.0}
"""
    fault = "grad.input: wrong where margin is negative"
    assert survivors(audit([thin()])[0])[fault] == "never exercised"
    reasons = dict(audit([thin(more=negative)])[0].impossible)
    assert reasons[fault] == reasons["output: margin without its sign"] == OUTSIDE
    both = thin(more=negative + negative.replace("negative-margin", "fine").replace("undefined", "defined"))
    assert fault not in dict(audit([both])[0].impossible)


def test_a_parameter_without_a_default_has_no_default_to_get_wrong() -> None:
    """Every call gives it."""
    text = THIN.replace("DTYPE", "float32").replace(
        "margin: {default: 1.0}", "margin: {default: 1.0, required: true}"
    )
    reasons = dict(audit([load_operator(Path("thin.yaml"), text)])[0].impossible)
    assert reasons["output: margin has another default"] == "no API has a default for it"
    assert "output: margin ignored" not in reasons
