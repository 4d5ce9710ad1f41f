"""What a run says on a terminal: the unexpected first, at 80 columns, and ids in one piece."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from conformance.errors import Exit
from conformance.run import Summary
from conformance.terminal import MOST_SHOWN, progress, summarise

CASE = "multi_margin_loss/weighted-p2[float32,none]"
OUT = Path("reports") / ("a-folder-with-a-rather-long-name-" * 3) / "latest[1]"


def result(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Make an unexpected result."""
    row = {
        "type": "result",
        "case": CASE,
        "api": f"paddle.nn.MultiMarginLoss{number}",
        "check": "grad.input",
        "status": "fail",
        "kind": "grad_value",
        "outcome": "regression",
        "message": "at [2, 5]: got 0.25, exact in [0, 0.125], bound 1.2e-07",
    }
    return row | changes


def summary(*unexpected: dict[str, Any], **changes: Any) -> Summary:
    """Make the summary of a run."""
    surprising = [row for row in unexpected if row["outcome"] != "notrun"]
    made = Summary(
        statuses=Counter({"pass": 12_345, "fail": 67, "observed": 8, "unsupported": 900}),
        outcomes=Counter({"ok": 12_345, "known": 66, "regression": len(unexpected)}),
        unexpected=surprising,
        surprises=len(surprising),
        seconds={"torch": 1.25, "paddle": 2.0},
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def said(made: Summary, *, terminal: bool = False) -> list[str]:
    """Return the lines that the summary prints at 80 columns."""
    console = Console(file=io.StringIO(), width=80, force_terminal=terminal, color_system=None)
    summarise(console, made, OUT, 12.34)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_unexpected_stands_first() -> None:
    """Results nobody expected come first: API, check and kind, then the case, then the message."""
    lines = said(summary(result()))
    assert lines[:3] == [
        "✗ paddle.nn.MultiMarginLoss0 grad.input grad_value",
        f"    {CASE}",
        "    at [2, 5]: got 0.25, exact in [0, 0.125], bound 1.2e-07",
    ]
    assert lines[-1] == "1 unexpected results"


def test_nothing_unexpected_is_said_last() -> None:
    """A clean run begins with the counts and ends with its verdict."""
    lines = said(summary())
    assert lines[0] == "checks    12345 pass, 900 unsupported, 67 fail, 8 observed"
    assert lines[1].startswith("outcomes  12345 ok, 66 known")
    assert "12.3 s, of which in the frameworks: paddle 2.0 s, torch 1.2 s" in lines[2]
    assert lines[-1] == "nothing unexpected"


def test_brackets_are_not_markup() -> None:
    """`[float32,none]` and `[bold]` are printed as they stand: an id is there to be copied."""
    lines = said(summary(result(message="exact [bold] is [/] not [red]markup")))
    assert lines[1] == f"    {CASE}"
    assert lines[2] == "    exact [bold] is [/] not [red]markup"
    assert f"report    {OUT / 'index.html'}" in lines


def test_no_line_is_wider_than_the_terminal() -> None:
    """Messages wrap at 80 columns between words; only a path or an id may be longer, and is never broken."""
    long: dict[str, Any] = {
        "case": f"op/{'very-' * 20}long[float32,none]",
        "message": "the kernel, which " * 20,
    }
    made = summary(result(**long), lost={"torch": "backend torch cannot start: " + "no module " * 12})
    lines = said(made)
    wide = [line for line in lines if len(line) > 80]
    assert wide == [f"    {long['case']}", f"report    {OUT / 'index.html'}"]
    assert " ".join(line.strip() for line in lines).count("the kernel, which") == 20


def test_a_terminal_and_a_file_get_the_same_lines() -> None:
    """On a terminal the words are the same as in a log, apart from emphasis."""
    made = summary(result(), result(1))
    bold = [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in said(made, terminal=True)]
    assert bold == said(made)


def test_many_unexpected_results_are_cut() -> None:
    """Beyond twenty the rest is counted, with the place where all of them stand."""
    lines = said(summary(*(result(n) for n in range(MOST_SHOWN + 3))))
    assert sum(line.startswith("✗") for line in lines) == MOST_SHOWN
    assert f"… and 3 more, in {OUT / 'index.html'}" in lines
    assert lines[-1] == f"{MOST_SHOWN + 3} unexpected results"


def test_claims_and_stale_entries_are_unexpected_too() -> None:
    """A refuted claim nobody knew, and a ledger entry that matches nothing, are named."""
    claim = {
        "type": "claim",
        "api": "torch.nn.MultiMarginLoss",
        "claim": "formula",
        "verdict": "refuted",
        "why": "the weight [w] stands outside",
        "outcome": "regression",
    }
    lines = said(summary(claim, stale=["torch-old"], claims=Counter({"refuted": 1})))
    assert lines[0] == "✗ torch.nn.MultiMarginLoss: claim formula refuted"
    assert lines[1] == "    the weight [w] stands outside"
    assert lines[2] == "! ledger entry torch-old matches nothing"
    assert "claims    1 refuted" in lines
    assert lines[-1] == "2 unexpected results"


def test_a_lost_backend_is_said_once() -> None:
    """What did not run is not listed result by result; the reason stands once, and there is no verdict."""
    notrun = [result(n, status="notrun", kind="", outcome="notrun") for n in range(30)]
    lines = said(summary(*notrun, lost={"torch": "backend torch cannot start: no torch"}))
    assert lines[0].startswith("checks")
    assert lines[-2:] == [
        "incomplete: backend torch cannot start: no torch",
        "no verdict: the run is incomplete or the harness failed",
    ]


def test_what_became_of_machines_is_said() -> None:
    """One that could not be used is no success, though all was run; one that was lost and replaced is."""
    lost = "a worker of torch was lost: the connection to host b is lost; 7 calls asked again"
    made = summary(losses=[lost])
    assert said(made)[-3:] == [
        "recovered: a worker of torch was lost: the connection to host b is lost; 7 calls",
        "    asked again",
        "nothing unexpected",
    ]
    assert made.exit_code == Exit.OK
    made = summary(result(), troubles=["host c: no route to it"])
    assert said(made)[-2:] == [
        "not used: host c: no route to it",
        "everything ran, but not wherever it was to run",
    ]
    assert made.exit_code == Exit.HARNESS
    made.statuses["harness"] = 1
    assert said(made)[-1].startswith("no verdict: ")


def test_nothing_ran_is_not_green() -> None:
    """A run without a check has no verdict."""
    assert said(Summary())[-1] == "no verdict: nothing ran"


def test_progress_is_plain_lines_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal: about ten lines on stderr whatever the number of calls, none on stdout."""
    outcomes: Counter[str] = Counter()
    with progress(Console(file=io.StringIO(), force_terminal=False)) as report:
        for done in range(1, 988):
            outcomes["ok" if done % 2 else "regression"] += 1
            report(done, 987, outcomes)
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "99/987 calls  ✓50 ✗49"
    assert lines[-1] == "987/987 calls  ✓494 ✗493"
    assert "\x1b" not in printed.err


@pytest.mark.parametrize("total", [1, 3, 10])
def test_short_runs_report_every_call_and_the_last(total: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A run of few calls says each; the last is always said."""
    with progress(Console(file=io.StringIO(), force_terminal=False)) as report:
        for done in range(1, total + 1):
            report(done, total, Counter({"ok": done}))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"{done}/{total} calls  ✓{done}" for done in range(1, total + 1)]


def test_progress_is_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal a live bar shows the counts, and the plain lines stay away."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with progress(console) as report:
        report(3, 7, Counter({"ok": 2, "known": 1}))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "3/7" in shown
    assert "✓2 ≈1" in shown
    assert capsys.readouterr().err == ""
