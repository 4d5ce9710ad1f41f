"""What a run says on a terminal: live progress, then the answer, at 80 columns."""

import sys
import textwrap
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
        _say(console, _unexpected(row, console.width))
    hidden = summary.surprises - MOST_SHOWN
    if hidden > 0:
        _say(console, f"… and {hidden} more, in {out / 'index.html'}")
    for entry in summary.stale:
        _say(console, f"! ledger entry {entry} matches nothing")
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("checks", _pairs(summary.statuses))
    table.add_row("outcomes", _pairs(summary.outcomes))
    if summary.claims:
        table.add_row("claims", _pairs(summary.claims))
    if summary.titles:
        table.add_row("backends", ", ".join(summary.titles[name] for name in sorted(summary.titles)))
    busy = ", ".join(f"{name} {used:.1f} s" for name, used in sorted(summary.seconds.items()))
    table.add_row("time", f"{seconds:.1f} s, of which in the frameworks: {busy}")
    console.print(table)
    _say(console, f"report    {out / 'index.html'}")
    for reason in summary.lost.values():
        _say(console, _wrapped(f"incomplete: {reason}", console.width))
    for trouble in summary.troubles:
        _say(console, _wrapped(f"not used: {trouble}", console.width))
    for loss in summary.losses:
        _say(console, _wrapped(f"recovered: {loss}", console.width))
    console.print(Text(_verdict(summary), style="bold"))


def _say(console: Console, text: str) -> None:
    """Print as it stands: ids are full of brackets, which are no markup, and are never broken."""
    console.print(Text(text), soft_wrap=True)


def _wrapped(text: str, width: int, indent: str = "") -> str:
    """Wrap between words only: a path or an id stays in one piece, to be copied."""
    wrapper = textwrap.TextWrapper(width, initial_indent=indent, subsequent_indent="    ")
    wrapper.break_long_words = wrapper.break_on_hyphens = False
    return wrapper.fill(text)


def _unexpected(row: dict[str, Any], width: int) -> str:
    glyph = GLYPHS[row["outcome"]]
    if row["type"] == "claim":
        head, why = f"{glyph} {row['api']}: claim {row['claim']} {row['verdict']}", row["why"]
    else:
        head, why = f"{glyph} {row['api']} {row['check']} {row['kind'] or row['status']}", row["message"]
        head += f"\n    {row['case']}"
    return f"{head}\n{_wrapped(why, width, '    ')}"


def _pairs(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def _verdict(summary: Summary) -> str:
    code = summary.exit_code
    if code == Exit.OK:
        return "nothing unexpected"
    if code == Exit.UNEXPECTED:
        return f"{summary.surprises + len(summary.stale)} unexpected results"
    if summary.troubles and not (summary.lost or summary.statuses["harness"] or summary.outcomes["notrun"]):
        return "everything ran, but not wherever it was to run"
    return "no verdict: " + (
        "nothing ran" if code == Exit.NOTHING_RAN else "the run is incomplete or the harness failed"
    )
