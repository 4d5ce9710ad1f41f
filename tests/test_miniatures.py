"""Each miniature, run through a real worker, gets exactly its own status and kind and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conformance.adapters import BACKENDS
from conformance.errors import Exit
from conformance.ledger import load_ledger
from conformance.load import load_operator
from conformance.pool import BackendSpec
from conformance.run import Selection, Summary, request_for, run
from conformance.stream import read_stream
from conformance.types import Raised
from conformance.worker import load_adapter

HERE = Path(__file__).parent

ALL = {
    "guilty[float32]": ("output", "grad.input"),
    "half[float16]": ("output", "grad.input"),
    "plain[float32,mean]": ("output", "grad.input"),
    "plain[float32,none]": ("output", "grad.input"),
    "plain[float32,sum]": ("output", "grad.input"),
    "weighted[float32]": ("output", "grad.input", "grad.weight"),
}
PASS = ("pass", "")
Verdict = tuple[str, str]
Rule = Callable[[str, str], Verdict]


@dataclass
class Outcome:
    """What a run of a miniature left: its summary and its stream."""

    summary: Summary
    rows: list[dict[str, Any]]

    @property
    def verdicts(self) -> dict[tuple[str, str], Verdict]:
        """Status and kind by case and check."""
        results = (row for row in self.rows if row["type"] == "result")
        return {(r["case"].partition("/")[2], r["check"]): (r["status"], r["kind"]) for r in results}

    def row(self, case: str, check: str) -> dict[str, Any]:
        """Return one result."""
        return next(r for r in self.rows if r.get("case", "").endswith(f"/{case}") and r["check"] == check)


@pytest.fixture
def miniature(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Outcome]:
    """Run a miniature on all cases of data/miniature.yaml, in a worker of its own."""
    monkeypatch.syspath_prepend(HERE)

    def go(name: str, timeout: float = 60.0) -> Outcome:
        monkeypatch.setitem(BACKENDS, "miniature", f"miniatures:{name}")
        suite = [load_operator(HERE / "data" / "miniature.yaml")]
        spec = BackendSpec("miniature", BACKENDS["miniature"], paths=(str(HERE),))
        (tmp_path / "ledger").mkdir()
        ledger = load_ledger(tmp_path / "ledger")
        summary = run(suite, Selection((spec,)), ledger, tmp_path, timeout=timeout, argv=[])
        return Outcome(summary, list(read_stream(tmp_path / "run.jsonl", partial=True)))

    return go


def expect(rule: Rule) -> dict[tuple[str, str], Verdict]:
    """Say what every check of every case has to be."""
    return {(case, check): rule(case, check) for case, checks in ALL.items() for check in checks}


def only_output(status: str, kind: str, cases: Callable[[str], bool] = lambda _: True) -> Any:
    """The output is so on some cases; everything else passes."""
    return expect(lambda case, check: (status, kind) if check == "output" and cases(case) else PASS)


def only_gradients(status: str, kind: str) -> Any:
    """All gradients are so; all outputs pass."""
    return expect(lambda _, check: PASS if check == "output" else (status, kind))


def only_guilty(status: str, kind: str = "") -> Any:
    """Every check of the guilty case is so; the other cases have their results."""
    return expect(lambda case, _: (status, kind) if case.startswith("guilty") else PASS)


Go = Callable[..., Outcome]


def test_an_honest_backend_passes_every_check(miniature: Go) -> None:
    """The exact answer, rounded once, conforms: exit 0."""
    outcome = miniature("Honest")
    assert outcome.verdicts == expect(lambda _, __: PASS)
    assert outcome.summary.exit_code == Exit.OK


def test_a_wrong_output_is_a_value_discrepancy(miniature: Go) -> None:
    """Numbers outside the bound are `value`; the correct gradients still pass: exit 1."""
    outcome = miniature("AlwaysWrong")
    assert outcome.verdicts == only_output("fail", "value")
    assert outcome.summary.exit_code == Exit.UNEXPECTED


def test_the_first_number_beyond_the_bound_is_a_discrepancy(miniature: Go) -> None:
    """One ULP of the dtype past the bound is already outside."""
    outcome = miniature("OffByOneUlpTimesK")
    assert outcome.verdicts == only_output("fail", "value")
    assert 1 < outcome.row("plain[float32,none]", "output")["error_over_bound"] < 1.5


def test_the_last_number_inside_the_bound_conforms(miniature: Go) -> None:
    """Its twin, one ULP nearer, passes."""
    outcome = miniature("JustInsideTheBound")
    assert outcome.verdicts == expect(lambda _, __: PASS)
    assert 0.5 < outcome.row("plain[float32,none]", "output")["error_over_bound"] <= 1


def test_an_axis_too_many_is_a_shape_discrepancy(miniature: Go) -> None:
    """Right numbers in another shape are not right."""
    assert miniature("WrongShape").verdicts == only_output("fail", "shape")


def test_a_wider_dtype_is_a_dtype_discrepancy(miniature: Go) -> None:
    """More precision than asked for is another answer."""
    assert miniature("WrongDtype").verdicts == only_output("fail", "dtype")


def test_nan_where_a_number_belongs_is_a_nonfinite_discrepancy(miniature: Go) -> None:
    """NaN compares equal to nothing and must not compare as fine."""
    assert miniature("NanEverywhere").verdicts == only_output("fail", "nonfinite")


def test_an_empty_output_is_a_shape_discrepancy(miniature: Go) -> None:
    """No elements, no differences: and yet no pass."""
    assert miniature("EmptyOutputs").verdicts == only_output("fail", "shape")


def test_a_swapped_reduction_is_a_shape_or_a_value_discrepancy(miniature: Go) -> None:
    """Mean and sum have other values, none has another shape."""

    def rule(case: str, check: str) -> Verdict:
        if check != "output":
            return PASS
        reduced = case in ("plain[float32,mean]", "plain[float32,sum]")
        return ("fail", "value" if reduced else "shape")

    assert miniature("SwapsReduction").verdicts == expect(rule)


def test_an_ignored_weight_is_a_value_discrepancy_where_there_is_one(miniature: Go) -> None:
    """Only the weighted case shows it."""
    verdicts = miniature("IgnoresWeight").verdicts
    assert verdicts == only_output("fail", "value", lambda case: case.startswith("weighted"))


def test_an_ignored_margin_is_a_value_discrepancy_where_it_is_not_the_default(miniature: Go) -> None:
    """Only the case with another margin shows it."""
    verdicts = miniature("IgnoresMargin").verdicts
    assert verdicts == only_output("fail", "value", lambda case: case.startswith("guilty"))


def test_a_changed_input_is_a_discrepancy_of_its_own(miniature: Go) -> None:
    """The numbers are right, the caller's tensor is not what it was."""
    assert miniature("MutatesInput").verdicts == only_output("fail", "mutated_input")


def test_an_input_changed_by_the_backward_pass_is_seen_too(miniature: Go) -> None:
    """Looking at the inputs only after the forward pass would miss it."""
    assert miniature("MutatesInputInBackward").verdicts == only_output("fail", "mutated_input")


def test_a_missing_gradient_is_a_discrepancy_and_never_a_skip(miniature: Go) -> None:
    """None where the definition has a derivative."""
    assert miniature("GradientMissing").verdicts == only_gradients("fail", "grad_missing")


def test_a_zero_gradient_is_a_wrong_gradient(miniature: Go) -> None:
    """Zeros of the right shape and dtype are compared like any other numbers."""
    assert miniature("GradientZero").verdicts == only_gradients("fail", "grad_value")


def test_a_refused_derivative_leaves_the_output_its_pass(miniature: Go) -> None:
    """Raising in the backward pass is a missing gradient, with the exception as evidence."""
    outcome = miniature("RaisesInBackwardOnly")
    assert outcome.verdicts == only_gradients("fail", "grad_missing")
    error = outcome.row("weighted[float32]", "grad.weight")["error"]
    assert (error["phase"], error["category"]) == ("backward", "unsupported")


def test_an_error_that_comes_only_in_the_backward_pass_is_seen_without_a_cotangent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An undefined case has none, its answer's shape being unknown; it is differentiated all the same."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setitem(BACKENDS, "miniature", "miniatures:RaisesInBackwardOnly")
    case = next(c for c in load_operator(HERE / "data" / "miniature.yaml").cases if c.name == "plain")
    adapter = load_adapter(BACKENDS["miniature"])
    adapter.start()
    reply = adapter.execute(request_for(case, case.op.apis[0], 1, None))
    late = reply.gradients["input"]
    assert isinstance(late, Raised)
    assert late.phase == "backward"


def test_an_undeclared_refusal_is_a_raises_discrepancy(miniature: Go) -> None:
    """An exception never becomes `unsupported`."""
    assert miniature("Raises").verdicts == expect(lambda _, __: ("fail", "raises"))


def test_an_internal_error_is_an_error(miniature: Go) -> None:
    """What no caller is meant to see is not a refusal."""
    assert miniature("RaisesInternal").verdicts == expect(lambda _, __: ("error", ""))


def test_a_hang_costs_its_own_case_only(miniature: Go) -> None:
    """The worker is ended and replaced; the cases behind it have their results."""
    outcome = miniature("Hangs", timeout=3.0)
    assert outcome.verdicts == only_guilty("timeout")
    row = outcome.row("guilty[float32]", "output")
    assert row["message"] == "no answer in 3 s"
    assert "waiting for a lock" in row["error"]["stderr"]
    assert outcome.summary.exit_code == Exit.UNEXPECTED


def test_a_segmentation_fault_costs_its_own_case_only_and_leaves_its_last_words(miniature: Go) -> None:
    """Signal and the end of stderr are the evidence."""
    outcome = miniature("Segfaults")
    assert outcome.verdicts == only_guilty("crash")
    error = outcome.row("guilty[float32]", "output")["error"]
    assert error["signal"] == "SIGSEGV"
    assert "about to read what is not ours" in error["stderr"]
    assert "Fatal Python error: Segmentation fault" in error["stderr"]
    assert "in misbehave" in error["stderr"]


def test_an_abort_costs_its_own_case_only_and_names_the_assertion(miniature: Go) -> None:
    """What native code wrote before it died is kept."""
    outcome = miniature("Aborts")
    assert outcome.verdicts == only_guilty("crash")
    error = outcome.row("guilty[float32]", "output")["error"]
    assert error["signal"] == "SIGABRT"
    assert "Assertion `cur_target >= 0" in error["stderr"]


def test_a_process_that_exits_has_crashed_with_its_status(miniature: Go) -> None:
    """No signal, no answer."""
    outcome = miniature("Exits")
    assert outcome.verdicts == only_guilty("crash")
    assert "exit status 3" in outcome.row("guilty[float32]", "output")["message"]


def test_noise_on_stdout_and_stderr_corrupts_nothing(miniature: Go) -> None:
    """Text and bytes on fd 1 and 2, before and between answers: all checks pass."""
    outcome = miniature("PrintsToStdout")
    assert outcome.verdicts == expect(lambda _, __: PASS)
    assert outcome.summary.exit_code == Exit.OK


def test_an_answer_to_another_question_is_a_harness_fault(miniature: Go) -> None:
    """The backend is not blamed; the run does not count: exit 3. The other cases have their results."""
    outcome = miniature("AnswersOutOfOrder")
    assert outcome.verdicts == only_guilty("harness")
    assert outcome.summary.exit_code == Exit.HARNESS


@pytest.mark.parametrize("name", ["FailsAtStart", "DiesAtStart"])
def test_a_backend_that_does_not_start_is_an_incomplete_run_and_never_a_skip(
    miniature: Go, name: str
) -> None:
    """Every check is `notrun`, the stream says it is incomplete and why: exit 3."""
    outcome = miniature(name)
    assert outcome.verdicts == expect(lambda _, __: ("notrun", ""))
    assert outcome.summary.exit_code == Exit.HARNESS
    reason = {"FailsAtStart": "undefined symbol", "DiesAtStart": "SIGILL"}[name]
    assert reason in outcome.summary.lost["miniature"]
    assert outcome.rows[-1]["type"] == "end"
    assert outcome.rows[-1]["complete"] is False
