"""A run that knows an earlier one writes the same stream, and judges anew whatever answers differently."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from conformance import line
from conformance.adapters import BACKENDS
from conformance.judge import judge
from conformance.ledger import load_ledger
from conformance.load import load_operator, load_suite
from conformance.memo import Memo, Page
from conformance.pool import BackendSpec
from conformance.repeat_calls import Repeats
from conformance.run import Selection, Summary, run
from conformance.stream import read_stream

HERE = Path(__file__).parent
WRONG = {
    "AlwaysWrong": "value",
    "WrongShape": "shape",
    "NanEverywhere": "nonfinite",
    "GradientZero": "grad_value",
    "MutatesInput": "mutated_input",
    "Raises": "raises",
    "ChangesFolder": "mutated_process",
    "Segfaults": "crash",
}
NEWER = """
from miniatures import Honest
from msgspec.structs import replace

class Newer(Honest):
    def start(self):
        return replace(super().start(), version="1.1")
"""


class Ran:
    """A run: its stream, its summary, and how many answers were judged in it."""

    def __init__(self, summary: Summary, rows: list[dict[str, Any]], judged: int) -> None:
        self.summary, self.rows, self.judged = summary, rows, judged

    @property
    def results(self) -> list[dict[str, Any]]:
        """The rows of results."""
        return [row for row in self.rows if row["type"] == "result"]


Go = Callable[..., Ran]


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Go:
    """Run a miniature with a memo that all runs of a test share."""
    monkeypatch.syspath_prepend(HERE)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "newer.py").write_text(NEWER)
    judged = 0

    def counted(*given: Any) -> Any:
        nonlocal judged
        judged += 1
        return judge(*given)

    monkeypatch.setattr(line, "judge", counted)

    def run_it(name: str, *, memo: bool = True, repeat: int = 1) -> Ran:
        nonlocal judged
        judged = 0
        module = {"Newer": "newer", "ChangesFolder": "tests.miniatures_process"}.get(name, "miniatures")
        monkeypatch.setitem(BACKENDS, "miniature", "miniatures:Honest")
        suite = [load_operator(HERE / "data" / "miniature.yaml")]
        paths = (str(HERE), str(HERE.parent), str(tmp_path / "more"))
        spec = BackendSpec("miniature", f"{module}:{name}", paths=paths)
        monkeypatch.syspath_prepend(tmp_path / "more")
        (tmp_path / "ledger").mkdir(exist_ok=True)
        ledger = load_ledger(tmp_path / "ledger")
        kept = Memo(ledger, tmp_path / "memo") if memo else None
        repeats = Repeats(repeat) if repeat > 1 else None
        selection = Selection((spec,))
        summary = run(
            suite, selection, ledger, tmp_path / "out", timeout=20.0, argv=[], memo=kept, repeats=repeats
        )
        rows = list(read_stream(tmp_path / "out" / "run.jsonl", partial=True))
        return Ran(summary, rows, judged)

    return run_it


def test_the_same_bits_give_the_same_stream_without_judging(go: Go) -> None:
    """All of it, its counts included; with the framework called as before."""
    first, second, alone = go("Honest"), go("Honest"), go("Honest", memo=False)
    assert first.judged == alone.judged == 6
    assert second.judged == 0
    assert first.rows == second.rows == alone.rows
    assert first.summary.statuses == second.summary.statuses
    assert second.summary.seconds["miniature"] > 0


@pytest.mark.parametrize("name", sorted(WRONG))
def test_what_answers_differently_is_judged(go: Go, name: str) -> None:
    """A backend that turns wrong is as wrong as without a memo."""
    go("Honest")
    turned, alone = go(name), go(name, memo=False)
    assert turned.judged > 0
    assert {row["kind"] or row["status"] for row in turned.results} >= {WRONG[name]}
    compared = [
        [{**row, "error": row["error"] and {**row["error"], "stderr": ""}} for row in ran.results]
        for ran in (turned, alone)
    ]
    assert compared[0] == compared[1]
    assert turned.summary.exit_code == alone.summary.exit_code != 0


def test_what_was_unexpected_is_never_kept(go: Go) -> None:
    """It is judged again in every run, and shown again."""
    first, second = go("AlwaysWrong"), go("AlwaysWrong")
    assert first.judged == second.judged == 6
    assert first.summary.surprises == second.summary.surprises > 0
    assert len(second.summary.unexpected) == second.summary.surprises


def test_a_backend_that_is_mended_conforms(go: Go) -> None:
    """Nothing of the wrong answers stays."""
    go("AlwaysWrong")
    mended = go("Honest")
    assert {row["status"] for row in mended.results} == {"pass"}
    assert go("Honest").judged == 0


@pytest.mark.parametrize("lacks", ["one", "all"])
def test_what_lacks_a_check_is_judged(go: Go, monkeypatch: pytest.MonkeyPatch, lacks: str) -> None:
    """A page that says less than is due is no verdict: the stream has every row all the same."""
    first, write = go("Honest"), Page.write

    def less(page: Page) -> bool:
        for api, kept in page.pairs.items():
            few = 1 if lacks == "one" else len(kept.lines)
            page.keep(api, replace(kept, lines=kept.lines[few:], results=kept.results[few:]))
        return write(page)

    monkeypatch.setattr(Page, "write", less)
    go("Honest")
    again = go("Honest")
    assert again.judged == 6
    assert again.rows == first.rows


def test_another_version_is_judged(go: Go) -> None:
    """The ledger goes by versions: the same bits may be known in one and not in another."""
    go("Honest")
    newer = go("Newer")
    assert newer.judged == 6
    assert go("Newer").judged == 0


def test_a_repeated_run_asks_for_itself(go: Go) -> None:
    """It compares calls with each other; what an earlier run wrote has no verdict on that."""
    go("Honest")
    assert go("Honest", repeat=2).judged == 6


def test_the_real_thing(tmp_path: Path) -> None:
    """With claims, relations, APIs that cannot express a case, and known discrepancies: the same stream."""
    streams, ends = [], []
    for _ in range(2):
        suite, ledger = load_suite(None, ["l1_loss"]), load_ledger()
        memo = Memo(ledger, tmp_path / "memo")
        spec = BackendSpec("paddle", BACKENDS["paddle"])
        summary = run(suite, Selection((spec,), ("l1_loss",)), ledger, tmp_path / "out", argv=[], memo=memo)
        rows = list(read_stream(tmp_path / "out" / "run.jsonl"))
        streams.append(rows)
        ends.append((summary.outcomes, summary.claims, set(ledger.hits), summary.exit_code))
        assert {row["type"] for row in rows} >= {"run", "backend", "result", "claim", "end"}
        assert any(row.get("check", "").startswith("relation.") for row in rows)
        assert summary.claims
        assert memo.grown == (len(streams) == 1)
    assert streams[0] == streams[1]
    assert ends[0] == ends[1]


def test_what_lacks_a_relation_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many relations as were due must have been written, or all is judged anew."""
    write, streams = Page.write, []

    def less(page: Page) -> bool:
        for api, kept in page.pairs.items():
            last = slice(0, -1 if kept.related else None)
            page.keep(api, replace(kept, lines=kept.lines[last], results=kept.results[last]))
        return write(page)

    monkeypatch.setattr(Page, "write", less)
    for _ in range(2):
        suite, ledger = load_suite(None, ["l1_loss"]), load_ledger()
        selection = Selection((BackendSpec("paddle", BACKENDS["paddle"]),), ("l1_loss",), keyword="basic")
        run(suite, selection, ledger, tmp_path / "out", argv=[], memo=Memo(ledger, tmp_path / "memo"))
        streams.append(list(read_stream(tmp_path / "out" / "run.jsonl")))
    assert any(row.get("check", "").startswith("relation.") for row in streams[0])
    assert streams[0] == streams[1]


@pytest.mark.parametrize("earlier", [False, True])
def test_a_backend_that_does_not_start_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, earlier: bool
) -> None:
    """Not even of the cases that its APIs cannot express: it has no version that they could be kept for."""
    monkeypatch.syspath_prepend(HERE)
    for adapter in (*[BACKENDS["paddle"]] * earlier, "miniatures:FailsAtStart"):
        suite, ledger = load_suite(None, ["l1_loss"]), load_ledger()
        memo = Memo(ledger, tmp_path / "memo")
        selection = Selection((BackendSpec("paddle", adapter, paths=(str(HERE),)),), ("l1_loss",))
        summary = run(suite, selection, ledger, tmp_path / "out", argv=[], memo=memo)
    assert summary.lost.keys() == {"paddle"}
    assert summary.exit_code == 3
    assert not memo.grown
    rows = read_stream(tmp_path / "out" / "run.jsonl", partial=True)
    assert {row["status"] for row in rows if row["type"] == "result"} == {"notrun", "unsupported"}
