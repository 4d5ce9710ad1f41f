"""What a run says on a terminal: live progress, then the answer, at 80 columns."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from conformance.errors import Exit
from conformance.run import Progress as Report
from conformance.run import Summary

MOST_SHOWN = 20
GLYPHS = {"ok": "✓", "known": "≈", "regression": "✗", "stale": "!", "notrun": "-"}


@contextmanager
def progress(console: Console) -> Iterator[Report]:
    """Show a live bar on a terminal; elsewhere a plain line every tenth of the way."""
    if not console.is_terminal:
        yield _plain
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting workers", total=None)

        def live(done: int, total: int, outcomes: Counter[str]) -> None:
            bar.update(task, completed=done, total=total, description=_counts(outcomes))

        yield live


def _plain(done: int, total: int, outcomes: Counter[str]) -> None:
    if done == total or done * 10 // total != (done - 1) * 10 // total:
        print(f"{done}/{total} calls  {_counts(outcomes)}", file=sys.stderr, flush=True)


def _counts(outcomes: Counter[str]) -> str:
    return " ".join(f"{glyph}{outcomes[name]}" for name, glyph in GLYPHS.items() if outcomes[name])


def summarise(console: Console, summary: Summary, out: Path, seconds: float) -> None:
    """Print what the person at 6 pm needs: the unexpected first, then the counts, then where to look."""
    for row in summary.unexpected[:MOST_SHOWN]:
        console.print(_unexpected(row), soft_wrap=False)
    hidden = len(summary.unexpected) - MOST_SHOWN
    if hidden > 0:
        console.print(f"… and {hidden} more, in {out / 'index.html'}", markup=False)
    for entry in summary.stale:
        console.print(f"! ledger entry {entry} matches nothing", markup=False)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("checks", _pairs(summary.statuses))
    table.add_row("outcomes", _pairs(summary.outcomes))
    if summary.claims:
        table.add_row("claims", _pairs(summary.claims))
    busy = ", ".join(f"{name} {used:.1f} s" for name, used in sorted(summary.seconds.items()))
    table.add_row("time", f"{seconds:.1f} s, of which in the frameworks: {busy}")
    table.add_row("report", str(out / "index.html"))
    console.print(table)
    for reason in summary.lost.values():
        console.print(f"incomplete: {reason}", markup=False)
    console.print(Text(_verdict(summary), style="bold"))


def _unexpected(row: dict[str, Any]) -> str:
    glyph = GLYPHS[row["outcome"]]
    if row["type"] == "claim":
        return f"{glyph} {row['api']}: claim {row['claim']} {row['verdict']}\n    {row['why']}"
    kind = row["kind"] or row["status"]
    return f"{glyph} {row['api']} {row['check']} {kind}\n    {row['case']}\n    {row['message']}"


def _pairs(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def _verdict(summary: Summary) -> str:
    code = summary.exit_code
    if code == Exit.OK:
        return "nothing unexpected"
    if code == Exit.UNEXPECTED:
        return f"{len(summary.unexpected) + len(summary.stale)} unexpected results"
    return "no verdict: " + (
        "nothing ran" if code == Exit.NOTHING_RAN else "the run is incomplete or the harness failed"
    )
