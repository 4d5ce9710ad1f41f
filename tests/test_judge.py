"""The judge: what each kind of answer means, for every domain and promise."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from conformance.arrays import numpy_dtype, to_wire
from conformance.compare import Check
from conformance.errors import HarnessError
from conformance.judge import check_names, declared_unsupported, judge, promised
from conformance.load import Api, Case, Operator, load_operator
from conformance.oracle import Expectation
from conformance.pool import Fault, Lost, Unsent
from conformance.run import expectation
from conformance.types import Array, Category, Death, Phase, Raised, Reply

TEXT = """
op: hinge_embedding_loss
family: loss
summary: what a judge is asked about
tensors:
  input: {kind: floating}
  target: {kind: floating}
  weight: {kind: floating, optional: true}
params:
  margin: {default: 1.0}
  reduction: {default: mean}
apis:
  torch.nn.functional.hinge_embedding_loss:
    doc: https://example.org
    call: [input, target, margin, reduction]
    unsupported:
      - {dtype: [float16], why: no float16, source: https://example.org/dtypes}
      - {cases: ["refuses*"], label: [int32], why: no int32 labels, source: https://example.org/labels}
      - {cases: ["excluded*"], why: no such thing, source: https://example.org/all}
      - {cases: ["both*"], why: excluded and refused, source: https://example.org/both}
      - {cases: ["by-given*"], params: {margin: [2.0]}, why: a margin of two, source: https://example.org/p}
      - {cases: ["by-given*"], given: [weight], why: weights, source: https://example.org/given}
      - {cases: ["by-shape*"], without: [weight], rank: [2], why: two axes, source: https://example.org/rank}
      - {cases: ["by-shape*"], empty: true, why: no elements, source: https://example.org/empty}
cases:
  - case: plain
    why: Two elements of each label.
    inputs: {input: [0.5, 2.0, 0.25, -1.0], target: [1, 1, -1, -1]}
    params: {reduction: none}
    matrix: {dtype: [float32, float16]}
  - case: signed
    why: A zero with a sign.
    domain: extended
    signed_zero: true
    inputs: {input: [-0.0], target: [1]}
    params: {reduction: none}
  - case: by-label
    why: A gradient that the definition does not have.
    inputs: {input: [0.5], target: [1]}
    params: {reduction: none}
    gradients: [input, target]
  - case: silent
    why: Nothing is promised about a label of 2.
    domain: undefined
    inputs: {input: [0.5], target: [2]}
  - case: refuses
    why: An error is promised for a label of 3.
    domain: undefined
    inputs: {input: [0.5], target: [3]}
    matrix: {target.dtype: [float32, int32]}
  - case: excluded
    why: Undefined, and declared unsupported.
    domain: undefined
    inputs: {input: [0.5], target: [4]}
  - case: both
    why: Declared unsupported, and an error is promised.
    domain: undefined
    inputs: {input: [0.5], target: [5]}
  - case: by-given
    why: Excluded by what is given.
    inputs: {input: [0.5], target: [1]}
    params: {reduction: none}
    matrix: {margin: [1.0, 2.0]}
  - case: by-given-weight
    why: Excluded by a tensor.
    inputs: {input: [0.5], target: [1], weight: [1.0]}
  - case: by-given-default
    why: A parameter that is left out has the API's default.
    inputs: {input: [0.5], target: [1]}
  - case: by-shape
    why: Excluded by its rank.
    inputs: {input: [[0.5]], target: [[1]]}
  - case: by-shape-weighted
    why: The same rank with weights.
    inputs: {input: [[0.5]], target: [[1]], weight: [1.0]}
  - case: by-shape-flat
    why: Another rank.
    inputs: {input: [0.5], target: [1]}
  - case: by-shape-empty
    why: Excluded because there is nothing.
    inputs: {input: {uniform: [0]}, target: {signs: [0]}}
claims:
  torch.nn.functional.hinge_embedding_loss:
    - {claim: raises-value, says: "ValueError", cases: ["refuses*", "both*"], raises: [value]}
    - {claim: raises-type, says: "TypeError, elsewhere said", cases: ["refuses*"], raises: [type, value]}
    - {claim: fine, says: "is fine", cases: ["plain*"], conforms: [output]}
"""


@pytest.fixture(scope="module")
def op() -> Operator:
    """Load the op file above."""
    return load_operator(Path("judge.yaml"), TEXT)


def one(op: Operator, name: str) -> tuple[Case, Api, Expectation | None]:
    """Return the case whose id has that end, the API, and what the oracle says."""
    case = next(c for c in op.cases if c.id.partition("/")[2].startswith(name))
    return case, op.apis[0], expectation(case, op.apis[0])


def right(case: Case, expected: Expectation, **changed: Any) -> Reply:
    """Reply with the oracle's own values; `output` and gradients may be changed."""
    kind = numpy_dtype(case.dtype)
    gradients: dict[str, Array | Raised | None] = {
        name: to_wire(e.low.astype(kind)) for name, e in expected.gradients.items()
    }
    gradients |= {n: g for n, g in changed.items() if n in case.gradients}
    output = changed.get("output", to_wire(expected.output.low.astype(kind)))
    return Reply(1, output, gradients, changed.get("mutated", ()), altered=changed.get("altered", ()))


def raised(phase: Phase = "call", category: Category = "value", message: str = "no\nsecond line") -> Raised:
    """Make an exception as a worker reports it."""
    return Raised(phase, category, f"{category.title()}Error", message)


def numbers(*values: float, dtype: str = "float32") -> Array:
    """Make an array of a reply."""
    return to_wire(np.array(values, numpy_dtype(dtype)))


def told(checks: list[Check]) -> list[tuple[str, str, str]]:
    """Return name, status and kind of each check."""
    return [(check.check, check.status, check.kind) for check in checks]


# -- the defined and extended domains ------------------------------------------------------------------


def test_the_right_answer_passes_every_check(op: Operator) -> None:
    """One check a quantity, each with what it compared."""
    case, api, expected = one(op, "plain[float32")
    assert expected is not None
    checks = judge(case, api, expected, right(case, expected))
    assert told(checks) == [("output", "pass", ""), ("grad.input", "pass", "")]
    assert [check.compared for check in checks] == [4, 4]


@pytest.mark.parametrize(
    ("changed", "status", "kind", "said"),
    [
        ({"output": numbers(0.5, 2, 0.75, 2.5)}, "fail", "value", "at [3]: got 2.5"),
        ({"output": numbers(0.5, 2, 0.75, np.inf)}, "fail", "nonfinite", "got inf"),
        ({"output": numbers(0.5, 2, 0.75, 2, dtype="float64")}, "fail", "dtype", "float64"),
        ({"output": numbers(0.5)}, "fail", "shape", "[1]"),
        ({"mutated": ("input", "target")}, "fail", "mutated_input", "input, target"),
        ({"mutated": ("input",), "output": numbers(9, 9, 9, 9)}, "fail", "value", "got 9"),
        ({"input": None}, "fail", "grad_missing", "no gradient"),
        ({"input": raised("backward")}, "fail", "grad_missing", "refused with ValueError at backward"),
        ({"input": numbers(9, 9, 9, 99)}, "fail", "grad_value", "at [3]: got 99"),
        ({"input": numbers(1, 1, -1, np.nan)}, "fail", "nonfinite", "got nan"),
        ({"input": numbers(1, 1, -1, -1, dtype="float64")}, "fail", "dtype", "float64"),
        ({"input": numbers(1)}, "fail", "shape", "[1]"),
    ],
)
def test_each_way_to_be_wrong_is_its_own_kind(
    op: Operator, changed: dict[str, Any], status: str, kind: str, said: str
) -> None:
    """And touches no other check."""
    case, api, expected = one(op, "plain[float32")
    assert expected is not None
    wrong = "grad.input" if "input" in changed else "output"
    for check in judge(case, api, expected, right(case, expected, **changed)):
        if check.check == wrong:
            assert (check.status, check.kind) == (status, kind)
            assert said in check.message
        else:
            assert check.status == "pass"


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"mutated": ("input",)}, "mutated_input", "changed its input input"),
        ({"altered": ("flush-to-zero",)}, "mutated_process", "changed its process: flush-to-zero"),
    ],
)
def test_an_answer_that_is_right_but_for_what_it_changed_keeps_its_figures(
    op: Operator, changed: dict[str, Any], kind: str, message: str
) -> None:
    """It was compared, and its bits say who agrees with it: only the verdict differs."""
    case, api, expected = one(op, "plain[float32")
    assert expected is not None
    off = numbers(*np.nextafter(expected.output.low.astype(np.float32), np.float32(9)))
    honest = judge(case, api, expected, right(case, expected, output=off))
    found = judge(case, api, expected, right(case, expected, output=off, **changed))
    assert honest[0].status == "pass"
    assert (found[0].compared, found[0].mismatched) == (4, 0)
    assert found[0].digest
    assert 0 < (found[0].error_over_bound or 0) <= 1
    assert found == [replace(honest[0], status="fail", kind=kind, message=message), *honest[1:]]


def test_a_gradient_that_is_not_in_the_reply_is_missing(op: Operator) -> None:
    """An answer that leaves a gradient out is no pass."""
    case, api, expected = one(op, "plain[float32")
    assert expected is not None
    reply = Reply(1, right(case, expected).output, {})
    assert told(judge(case, api, expected, reply))[1] == ("grad.input", "fail", "grad_missing")


def test_an_undeclared_refusal_fails_every_check(op: Operator) -> None:
    """Nothing came back: output and gradient each say so, with the first line and the phase."""
    case, api, expected = one(op, "plain[float32")
    checks = judge(case, api, expected, Reply(1, raised("construct", "unsupported")))
    assert told(checks) == [("output", "fail", "raises"), ("grad.input", "fail", "raises")]
    assert checks[0].message == "raised UnsupportedError at construct: no"
    assert checks[0].error == {
        "phase": "construct",
        "category": "unsupported",
        "exception": "UnsupportedError",
        "message": "no\nsecond line",
    }


def test_an_internal_error_is_an_error(op: Operator) -> None:
    """A KeyError from inside is not a refusal."""
    case, api, expected = one(op, "plain[float32")
    checks = judge(case, api, expected, Reply(1, raised("call", "internal")))
    assert {check.status for check in checks} == {"error"}


def test_a_gradient_that_the_definition_lacks_is_observed(op: Operator) -> None:
    """Whatever comes back for it accuses nobody, and is put on record."""
    case, api, expected = one(op, "by-label")
    assert expected is not None
    for given, said in (
        (None, "none"),
        (numbers(0), "zeros"),
        (numbers(2), "not zero"),
        (raised("backward"), "ValueError"),
    ):
        checks = judge(case, api, expected, right(case, expected, target=given))
        assert told(checks)[1:] == [("grad.input", "pass", ""), ("grad.target", "observed", "")]
        assert said in checks[2].message


def test_a_case_may_fix_the_sign_of_zero(op: Operator) -> None:
    """Only a case that says so holds a backend to it."""
    case, api, expected = one(op, "signed")
    assert expected is not None
    kinds = [
        judge(case, api, expected, right(case, expected, output=numbers(z)))[0].kind for z in (-0.0, 0.0)
    ]
    assert kinds == ["", "value"]


# -- declared unsupported --------------------------------------------------------------------------------


def test_a_declared_refusal_is_unsupported_with_its_source(op: Operator) -> None:
    """The declaration was made before running; the exception is kept as evidence."""
    case, api, expected = one(op, "plain[float16")
    checks = judge(case, api, expected, Reply(1, raised("call", "internal")))
    assert told(checks) == [("output", "unsupported", ""), ("grad.input", "unsupported", "")]
    assert "no float16 (https://example.org/dtypes)" in checks[0].message
    assert checks[0].error is not None


def test_what_is_declared_unsupported_and_computed_is_observed(op: Operator) -> None:
    """Right or wrong, it is beyond the documentation and accuses nobody."""
    case, api, expected = one(op, "plain[float16")
    assert expected is not None
    good = judge(case, api, expected, right(case, expected))
    bad = judge(case, api, expected, right(case, expected, output=numbers(9, 9, 9, 9, dtype="float16")))
    assert told(good) == [("output", "observed", ""), ("grad.input", "observed", "")]
    assert good[0].message == "beyond its documentation (no float16): conforms"
    assert told(bad)[0] == ("output", "observed", "")
    assert "value: at [3]" in bad[0].message or "value: at [0]" in bad[0].message


def test_a_declaration_matches_by_all_that_it_names(op: Operator) -> None:
    """Dtypes, case, values, tensors given or missing, rank, emptiness: each that is given has to hold."""
    found = {c.id.partition("/")[2]: declared_unsupported(c, op.apis[0]) for c in op.cases}
    assert {name for name, decl in found.items() if decl is not None} == {
        "plain[float16]",
        "refuses[float32,target.dtype=int32]",
        "excluded[float32]",
        "both[float32]",
        "by-given[float32,margin=2.0]",
        "by-given-weight[float32]",
        "by-shape[float32]",
        "by-shape-empty[float32]",
    }


def test_a_crash_is_never_unsupported(op: Operator) -> None:
    """No declaration covers a death of the process."""
    case, api, expected = one(op, "plain[float16")
    checks = judge(case, api, expected, Death("crash", "the process died: SIGSEGV", "SIGSEGV", "last words"))
    assert told(checks) == [("output", "crash", ""), ("grad.input", "crash", "")]
    assert checks[0].error == {"signal": "SIGSEGV", "stderr": "last words"}


# -- the undefined domain ------------------------------------------------------------------------------


def test_without_a_promise_anything_is_observed(op: Operator) -> None:
    """A value with its digest, an error with its class, an error that comes late."""
    case, api, expected = one(op, "silent")
    assert expected is None
    value = judge(case, api, expected, Reply(1, numbers(0.5)))
    error = judge(case, api, expected, Reply(1, raised("call", "index")))
    internal = judge(case, api, expected, Reply(1, raised("call", "internal")))
    late = judge(case, api, expected, Reply(1, numbers(0.5), {"input": raised("backward")}))
    assert told(value) == told(error) == told(internal) == told(late) == [("output", "observed", "")]
    assert value[0].message == "returned float32[1] 0.5"
    assert value[0].digest
    assert error[0].message == "raised IndexError at call"
    assert late[0].message.endswith("then raised ValueError at backward")


@pytest.mark.parametrize(
    ("output", "late", "status", "kind", "said"),
    [
        (raised("call", "value"), None, "pass", "", "raised ValueError at call"),
        (raised("construct", "value"), None, "pass", "", "raised ValueError at construct"),
        (raised("call", "type"), None, "pass", "", "raised TypeError at call"),
        (
            raised("call", "index"),
            None,
            "fail",
            "raises",
            "(index); its documentation promises value or type",
        ),
        (raised("call", "internal"), None, "error", "", "an internal error"),
        (raised("read", "value"), None, "fail", "raises", "only when read"),
        (
            numbers(0.5),
            None,
            "fail",
            "no_raise",
            "promises an error (value or type); returned float32[1] 0.5",
        ),
        (numbers(0.5), raised("backward"), "fail", "raises", "raised only at backward"),
    ],
)
def test_a_promised_error_is_the_expectation(
    op: Operator, output: Array | Raised, late: Raised | None, status: str, kind: str, said: str
) -> None:
    """In time and orderly it passes; late, missing or from the inside it does not."""
    case, api, expected = one(op, "refuses[float32,target.dtype=float32")
    assert promised(case, api) == ("value", "type")
    (check,) = judge(case, api, expected, Reply(1, output, {} if late is None else {"input": late}))
    assert (check.check, check.status, check.kind) == ("raises", status, kind)
    assert said in check.message
    assert check.compared == (1 if status == "pass" else 0)


def test_a_declared_refusal_of_an_undefined_case_is_unsupported(op: Operator) -> None:
    """Declared and refused; declared and computed is only observed."""
    case, api, expected = one(op, "excluded")
    assert told(judge(case, api, expected, Reply(1, raised()))) == [("output", "unsupported", "")]
    assert told(judge(case, api, expected, Reply(1, numbers(1)))) == [("output", "observed", "")]


def test_a_kept_promise_is_a_pass_and_another_refusal_what_was_declared(op: Operator) -> None:
    """Declared unsupported and promised to raise: the promised category passes, another is unsupported."""
    case, api, expected = one(op, "both")
    assert told(judge(case, api, expected, Reply(1, raised("call", "value")))) == [("raises", "pass", "")]
    assert told(judge(case, api, expected, Reply(1, raised("call", "index")))) == [
        ("raises", "unsupported", "")
    ]


# -- no answer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Death("crash", "died", "SIGABRT", ""), "crash"),
        (Death("timeout", "no answer in 30 s", "", ""), "timeout"),
        (Fault("answered another question"), "harness"),
        (Lost("cannot be imported"), "notrun"),
        (Unsent("it takes no weight"), "unsupported"),
    ],
)
def test_no_answer_is_said_for_every_check_that_was_due(
    op: Operator, answer: Death | Fault | Lost | Unsent, status: str
) -> None:
    """In every domain, and under the names that were announced."""
    for case in (c for c in op.cases if "weight" not in c.specs):
        checks = judge(case, op.apis[0], expectation(case, op.apis[0]), answer)
        assert [check.check for check in checks] == check_names(case, op.apis[0])
        assert {check.status for check in checks} == {status}
        assert all(check.message for check in checks)


def test_a_call_that_cannot_be_made_says_why(op: Operator) -> None:
    """No call is neither a failure nor a silence: the row has the argument that the API lacks."""
    case, api, expected = one(op, "plain[float32")
    checks = judge(case, api, expected, Unsent("torch.x takes no weight"))
    assert {check.message for check in checks} == {"no call: torch.x takes no weight"}


def test_a_pass_that_compared_nothing_is_a_harness_fault(
    op: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lets a comparison not happen, a green check does not come of it."""
    case, api, expected = one(op, "plain")
    assert expected is not None
    monkeypatch.setattr("conformance.judge.compare", lambda check, *_, **__: Check(check, "pass"))
    checks = judge(case, api, expected, right(case, expected))
    assert {check.status for check in checks} == {"harness"}


def test_a_check_that_is_due_and_not_made_is_a_harness_fault(
    op: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quantity that the case asks for cannot drop out of the list."""
    case, api, expected = one(op, "plain")
    monkeypatch.setattr("conformance.judge._judge", lambda *_: [])
    with pytest.raises(HarnessError, match="were due"):
        judge(case, api, expected, Lost("gone"))
