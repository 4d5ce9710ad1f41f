"""Miniatures that fail together with earlier calls: through the real line, with the row that it leaves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.adapters import BACKENDS
from conformance.errors import Exit
from conformance.ledger import load_ledger
from conformance.load import load_operator
from conformance.pool import BackendSpec
from conformance.run import Selection, Summary, run
from conformance.stream import read_stream

HERE = Path(__file__).parent
GUILTY = "multi_margin_loss/guilty[float32]"
Rows = list[dict[str, Any]]
Go = Callable[..., tuple[Summary, Rows, Rows]]


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Go:
    """Run a miniature; return the summary, the rows of the guilty case and all others."""

    def started(name: str, timeout: float = 60.0) -> tuple[Summary, Rows, Rows]:
        monkeypatch.setitem(BACKENDS, "miniature", f"tests.miniatures_sequence:{name}")
        suite = [load_operator(HERE / "data" / "miniature.yaml")]
        spec = BackendSpec("miniature", BACKENDS["miniature"], paths=(str(HERE.parent),))
        (tmp_path / "ledger").mkdir()
        ledger = load_ledger(tmp_path / "ledger")
        summary = run(suite, Selection((spec,)), ledger, tmp_path, timeout=timeout, argv=[])
        rows = [row for row in read_stream(tmp_path / "run.jsonl") if row["type"] == "result"]
        guilty = [row for row in rows if row["case"] == GUILTY]
        return summary, guilty, [row for row in rows if row["case"] != GUILTY]

    return started


def others_pass(others: Rows) -> bool:
    """Whether every check of every other case has its result."""
    return len(others) == 11 and {row["status"] for row in others} == {"pass"}


def test_a_death_after_two_others_names_these_two(go: Go) -> None:
    """The sequence is the shortest that was seen to fail: the case between them does not matter."""
    summary, guilty, others = go("DiesAfterTwo")
    assert others_pass(others)
    assert [row["status"] for row in guilty] == ["crash", "crash"]
    names = [f"multi_margin_loss/plain[float32,{how}] via miniature.loss" for how in ("none", "sum")]
    for row in guilty:
        assert row["error"]["sequence"] == names
        assert row["error"]["signal"] == "SIGSEGV"
        assert "Fatal Python error: Segmentation fault" in row["error"]["stderr"]
        assert row["message"] == (
            "the process died: SIGSEGV; alone it answers, it fails only after 2 earlier calls: "
            + ", ".join(names)
        )
    assert summary.exit_code == Exit.UNEXPECTED


def test_a_hang_after_another_names_the_other(go: Go) -> None:
    """A timeout is looked into as a crash is."""
    _, guilty, others = go("HangsAfterOne", timeout=2.0)
    assert others_pass(others)
    assert [row["status"] for row in guilty] == ["timeout", "timeout"]
    name = "multi_margin_loss/plain[float32,mean] via miniature.loss"
    assert guilty[0]["error"]["sequence"] == [name]
    assert guilty[0]["message"] == (
        f"no answer in 2 s; alone it answers, it fails only after 1 earlier call: {name}"
    )


def test_a_death_that_does_not_come_again_says_so(go: Go) -> None:
    """The process did die, so it is a crash; that nothing repeats it is in its message."""
    _, guilty, others = go("DiesOnce")
    assert others_pass(others)
    assert [row["status"] for row in guilty] == ["crash", "crash"]
    assert guilty[0]["message"] == (
        "the process died: SIGSEGV; once, after 3 earlier calls, and not again: "
        "neither alone nor after the same calls"
    )
    assert "sequence" not in guilty[0]["error"]


def test_a_binding_outside_the_public_namespaces_accuses_no_backend(go: Go) -> None:
    """It is a fault of ours, on its own case: exit 3."""
    summary, guilty, others = go("BindsWhatIsNotPublic")
    assert others_pass(others)
    assert [(row["status"], row["message"]) for row in guilty] == [
        ("harness", "os.system is outside the public namespaces of miniature")
    ] * 2
    assert summary.exit_code == Exit.HARNESS
