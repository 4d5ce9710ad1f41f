"""`--repeat`: each way to vary is seen, said, and known only through what the ledger says of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.adapters import BACKENDS
from conformance.arrays import to_wire
from conformance.compare import Check
from conformance.errors import Exit, InvalidFileError
from conformance.ledger import Entry, Ledger
from conformance.load import load_operator, shipped_cases
from conformance.merge_checks import Stream, check_streams
from conformance.pool import BackendSpec, Fault, Lost
from conformance.repeat import CHECK, KIND, Tally, apart, classify, one_nan
from conformance.repeat_calls import Repeats, Store
from conformance.report.sentences import verdict
from conformance.repro import script
from conformance.run import Selection, Summary, run
from conformance.stream import read_stream
from conformance.types import Death, Raised, Reply

HERE = Path(__file__).parent
TIMES = 3
with pytest.MonkeyPatch.context() as _patch:
    _patch.setitem(BACKENDS, "miniature", "tests.miniatures:Honest")
    SUITE = [load_operator(HERE / "data" / "miniature.yaml")]
API = SUITE[0].apis[0]
CASE = next(case for case in SUITE[0].cases if case.id.endswith("plain[float32,none]"))


@dataclass
class Outcome:
    """What a run with repeats left."""

    summary: Summary
    repeats: Repeats
    rows: list[dict[str, Any]]

    def verdicts(self, check: str = CHECK) -> dict[str, tuple[str, str]]:
        """Status and kind of one check by case."""
        rows = (row for row in self.rows if row["type"] == "result" and row["check"] == check)
        return {row["case"].partition("/")[2]: (row["status"], row["kind"]) for row in rows}

    def row(self, case: str = "plain[float32,none]") -> dict[str, Any]:
        """Return the verdict on one case."""
        return next(r for r in self.rows if r.get("check") == CHECK and r["case"].endswith(f"/{case}"))


Go = Callable[..., Outcome]
CASES = tuple(case.id.partition("/")[2] for case in SUITE[0].cases)
PASS, VARIES = ("pass", ""), ("fail", KIND)


@pytest.fixture
def miniature(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Go:
    """Run a miniature three times, warm and fresh, in workers of its own."""

    def go(name: str, ledger: Ledger | None = None, timeout: float = 60.0) -> Outcome:
        monkeypatch.setitem(BACKENDS, "miniature", name)
        spec = BackendSpec("miniature", name, paths=(str(HERE.parent),))
        repeats = Repeats(TIMES)
        known = ledger or Ledger({})
        summary = run(SUITE, Selection((spec,)), known, tmp_path, timeout=timeout, argv=[], repeats=repeats)
        return Outcome(summary, repeats, list(read_stream(tmp_path / "run.jsonl")))

    return go


def test_an_honest_backend_gives_the_same_bits_each_time(miniature: Go) -> None:
    """One check more per case, all of them passed, and nothing to list: exit 0."""
    outcome = miniature("tests.miniatures:Honest")
    assert outcome.verdicts() == dict.fromkeys(CASES, PASS)
    assert outcome.summary.exit_code == Exit.OK
    assert outcome.repeats.varying == {}
    assert outcome.rows[0]["selection"]["repeat"] == TIMES
    assert all(row["compared"] > 0 for row in outcome.rows if row.get("check") == CHECK)


def test_uninitialised_memory_is_seen_in_a_row(miniature: Go) -> None:
    """It conforms each time; only repeating shows that it is not the same."""
    outcome = miniature("tests.miniatures_repeat:Uninitialised")
    assert outcome.verdicts() == dict.fromkeys(CASES, VARIES)
    assert outcome.verdicts("output") == dict.fromkeys(CASES, PASS)
    row = outcome.row()
    assert row["message"].startswith("output: 2 results in 5 calls, up to ")
    assert row["message"].endswith("; calls in a row differ")
    assert 0 < row["max_ulp"] <= 2
    seen = {"results": 2, "warm": 2, "fresh": 2, "ulp": row["max_ulp"]}
    assert row["detail"] == {"calls": 5, "quantities": {"output": seen}}
    assert outcome.summary.exit_code == Exit.UNEXPECTED
    (found,) = outcome.repeats.varying.values()
    assert len(found) == len(CASES)
    assert f"  miniature.loss: {len(CASES)}, as {min(found)[0]}" in outcome.repeats.told()


@pytest.mark.parametrize("name", ["PerProcess", "Remembers"])
def test_what_depends_on_the_process_or_its_history_is_seen_in_new_workers(miniature: Go, name: str) -> None:
    """Calls in a row agree; another process, or another order of the cases, gives something else."""
    outcome = miniature(f"tests.miniatures_repeat:{name}")
    assert outcome.verdicts() == dict.fromkeys(CASES, VARIES)
    row = outcome.row()
    assert row["message"].endswith("; calls in a row agree, new workers differ")
    results = {"PerProcess": 3, "Remembers": 2}[name]  # the second round is in the order of the first run
    assert f"output: {results} results in 5 calls" in row["message"]
    assert row["detail"]["quantities"]["output"]["warm"] == 1


def test_a_gradient_that_varies_alone_is_named(miniature: Go) -> None:
    """The output is the same each time, and is not spoken of."""
    outcome = miniature("tests.miniatures_repeat:GradientVaries")
    assert outcome.verdicts() == dict.fromkeys(CASES, VARIES)
    assert list(outcome.row()["detail"]["quantities"]) == ["grad.input"]
    assert outcome.row()["message"].startswith("grad.input: 2 results")


def test_nans_of_any_sign_are_one(miniature: Go) -> None:
    """The sign of a NaN means nothing: it is wrong, each time in the same way."""
    outcome = miniature("tests.miniatures_repeat:NanVaries")
    assert outcome.verdicts() == dict.fromkeys(CASES, PASS)
    assert set(outcome.verdicts("output").values()) == {("fail", "nonfinite")}


def test_a_refusal_that_comes_at_times_varies(miniature: Go) -> None:
    """A result in some calls and an error in others: counted by category, and not as numbers."""
    outcome = miniature("tests.miniatures_repeat:RaisesAtTimes")
    assert set(outcome.verdicts().values()) == {VARIES}
    assert "(value error in " in outcome.row()["message"]
    assert outcome.row()["max_ulp"] == 0


def test_a_death_in_some_calls_varies(miniature: Go) -> None:
    """The other cases have their verdicts, and no backend is given up."""
    varies = miniature("tests.miniatures_repeat:DiesTheSecondTime")
    guilty = next(case for case in CASES if case.startswith("guilty"))
    assert varies.verdicts() == {**dict.fromkeys(CASES, PASS), guilty: VARIES}
    assert "crash SIGSEGV in " in varies.row(guilty)["message"]


def test_a_backend_that_does_not_start_has_no_verdict(miniature: Go) -> None:
    """Not run, and no pass: exit 3."""
    with pytest.raises(InvalidFileError, match="did not finish"):
        miniature("tests.miniatures:FailsAtStart")


def array(*values: float) -> Any:
    """Return float32 numbers as they come over the wire."""
    return to_wire(np.array(values, np.float32))


def tally(*answers: Any, case: Any = CASE) -> Check:
    """Judge warm answers, the last of which is that of a fresh worker."""
    counted, store = Tally(case, API, warm=len(answers) - 1), Store()
    for place, answer in enumerate(answers, 1):
        counted.hear(answer, store, fresh=place == len(answers))
    return counted.check()


def reply(*values: float, **more: Any) -> Reply:
    """Return an answer."""
    return Reply(1, array(*values), **more)


def test_bits_are_compared_and_not_numbers() -> None:
    """The sign of a zero counts, the spread is measured where both are finite, and a shape is a result."""
    assert tally(reply(1.0), reply(1.0), reply(1.0)).status == "pass"
    assert tally(reply(0.0), reply(0.0), reply(-0.0)).kind == KIND
    assert tally(reply(1.0), reply(1.0), reply(1.0 + 2**-22)).max_ulp == 2
    assert tally(reply(1.0), reply(1.0), reply(np.inf)).max_ulp is None
    assert tally(reply(1.0), reply(1.0), reply(1.0, 1.0)).kind == KIND
    assert tally(reply(np.nan), reply(np.nan), reply(np.nan)).status == "pass"


def test_gradients_and_second_derivatives_are_compared_too() -> None:
    """None, an error and a result are three things."""
    one = {"gradients": {"input": array(1.0)}, "second": {"input": array(1.0)}}
    none, raised = {"gradients": {"input": None}}, {"gradients": {"input": Raised("call", "value", "E", "")}}
    assert tally(reply(1.0, **one), reply(1.0, **one)).compared == 3
    assert "grad.input: 2 results" in tally(reply(1.0, **one), reply(1.0, **none)).message
    assert "grad.input: 2 results" in tally(reply(1.0, **raised), reply(1.0, **none)).message
    other = {**one, "second": {"input": array(2.0)}}
    assert "grad2.input: 2 results" in tally(reply(1.0, **one), reply(1.0, **other)).message


def test_losses_and_faults_keep_their_own_words() -> None:
    """They say nothing about the backend."""
    assert tally(reply(1.0), Lost("gone")).status == "notrun"
    assert tally(reply(1.0), Fault("ours")).status == "harness"


def test_a_death_in_all_calls_is_nothing_to_compare() -> None:
    """The case's own checks tell of it."""
    dies = Death("crash", "the process died: SIGSEGV", "SIGSEGV")
    found = tally(dies, dies, dies)
    assert (found.status, found.message) == (
        "observed",
        "crash SIGSEGV in each of 3 calls: no result to compare",
    )
    late = Death("timeout", "no answer in 30 s")
    assert "timeout of the call in 1" in tally(dies, dies, late).message


def test_an_undefined_case_is_observed_unless_a_call_dies() -> None:
    """Nobody is accused of an answer to a question without one; of a crash, yes."""
    from dataclasses import replace  # noqa: PLC0415 - only here

    free = replace(CASE, domain="undefined")
    found = tally(reply(1.0), reply(1.0), reply(2.0), case=free)
    assert (found.status, found.kind) == ("observed", "")
    assert found.message.startswith("nondeterministic: output: 2 results in 3 calls")
    dies = Death("crash", "the process died: SIGSEGV", "SIGSEGV")
    assert tally(reply(1.0), reply(1.0), dies, case=free).kind == KIND


def test_one_nan_and_apart() -> None:
    """Integers have no NaN and no ULP; NaN at the same place is no difference."""
    whole = to_wire(np.array([1, 2]))
    assert one_nan(whole) is whole
    assert one_nan(array(1.0, -np.nan)) == one_nan(array(1.0, np.nan))
    assert apart(whole, to_wire(np.array([1, 3]))) is None
    assert apart(array(np.nan, 1.0), array(np.nan, 1.0 + 2**-23)) == 1


def entry(**changes: Any) -> Entry:
    """Return an entry of the ledger."""
    common: dict[str, Any] = {
        "id": "one", "op": "multi_margin_loss", "api": ["*"], "check": ["output"], "kind": "value",
        "versions": ">=0", "reason": "because", "upstream": "unreported", "since": "2026-01-01",
    }  # fmt: skip
    return Entry(**common | changes)


def outcome(check: Check, *entries: Entry) -> str:
    """Classify."""
    return classify(Ledger({"miniature": list(entries)}), CASE, API, check, "1.0")[0]


def test_what_the_ledger_knows_of_it() -> None:
    """Its own entry; or entries marked nondeterministic for all that varies; and nothing else."""
    varies = tally(reply(1.0), reply(2.0))
    both = tally(reply(1.0, gradients={"input": array(1.0)}), reply(2.0, gradients={"input": array(2.0)}))
    named, passes = entry(check=[CHECK], kind=KIND), Check(CHECK, "pass", compared=1)
    lucky = entry(nondeterministic=True)
    assert outcome(varies) == "regression"
    assert outcome(varies, named) == "known"
    assert outcome(passes, named) == "stale"
    assert outcome(varies, lucky) == "known"
    assert outcome(passes, lucky) == "ok"
    assert outcome(varies, entry()) == "regression"
    assert outcome(both, lucky) == "regression"
    assert outcome(both, lucky, entry(check=["grad.*"], id="two", nondeterministic=True)) == "known"
    assert outcome(varies, entry(nondeterministic=True, cases=("weighted*",))) == "regression"
    assert outcome(passes, entry(check=["*"])) == "ok"  # what it knows is another kind


def test_an_entry_about_repeats_is_not_stale_where_nothing_is_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run that did not ask cannot have found nothing."""
    monkeypatch.setitem(BACKENDS, "miniature", "tests.miniatures:Honest")
    spec = BackendSpec("miniature", "tests.miniatures:Honest", paths=(str(HERE.parent),))
    known = Ledger({"miniature": [entry(check=[CHECK], kind=KIND)]})
    summary = run(SUITE, Selection((spec,)), known, tmp_path, argv=[])
    assert summary.stale == []
    assert "repeat" not in next(iter(read_stream(tmp_path / "run.jsonl")))["selection"]


def test_runs_of_another_number_are_not_merged() -> None:
    """Their checks are not the same ones."""

    def stream(name: str, **selection: int) -> Stream:
        return Stream(Path(name), {"suite": {}, "selection": selection})

    with pytest.raises(InvalidFileError, match="selection"):
        check_streams([stream("a", repeat=2), stream("b")], [])


def test_what_a_report_says_of_it_and_how_it_is_reproduced() -> None:
    """A sentence, and a script that calls in several processes; each result is compared by its bits."""
    op = load_operator(shipped_cases() / "loss" / "huber_loss.yaml")
    case, api = op.cases[0], next(api for api in op.apis if api.backend == "torch")
    row = {
        "api": api.name, "check": CHECK, "status": "fail", "kind": KIND, "outcome": "regression",
        "message": "output: 2 results in 5 calls; new workers differ", "error": None,
    }  # fmt: skip
    assert "does not give the same each time: output: 2 results" in verdict([row]).text
    text = script(case, api, row, "2.0")
    compile(text, "script", "exec")
    assert "seen('output', output" in text
    assert "gives different results for the same call" in text
