"""The commands about runs that are over: report, compare, merge, findings, ledger."""

import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.cli_app import DEFAULT_OUT, CasesOption, LedgerOption, app
from conformance.errors import Exit

if TYPE_CHECKING:
    from conformance.changes import Changes
    from conformance.ledger import Ledger
    from conformance.load import Operator
    from conformance.report.facts import Facts
    from conformance.stream import Row


class ReportFormat(StrEnum):
    """What `report` can write."""

    HTML = "html"
    JSON = "json"
    MARKDOWN = "markdown"
    JUNIT = "junit"
    ANNOTATIONS = "annotations"
    BADGES = "badges"


class CompareFormat(StrEnum):
    """How `compare` can say it."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    HTML = "html"
    JSON = "json"


@app.command("report")
def report_command(
    runs: Annotated[list[Path], typer.Argument(help="run.jsonl or report.json; several are merged.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder (html, badges) or file to write.")
    ] = None,
    form: Annotated[ReportFormat, typer.Option("--format", help="What to write.")] = ReportFormat.HTML,
    against: Annotated[
        Path | None, typer.Option("--against", help="An earlier run: the site and the summary compare.")
    ] = None,
    cases: CasesOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Write the report of a run: a static site, or a form that a machine or a summary reads."""
    from conformance.ledger import load_ledger  # noqa: PLC0415 - what a command needs, it loads
    from conformance.load import load_suite  # noqa: PLC0415
    from conformance.publish.formats import write_badges, write_report  # noqa: PLC0415 - only here
    from conformance.report.facts import facts_of  # noqa: PLC0415

    suite, known = load_suite(cases, backends=_bound(runs)), load_ledger(ledger)
    rows = list(_rows(runs, suite, known, foreign=cases is not None and ledger is None))
    facts = facts_of(rows)
    changes = _changes(against, facts) if against else None
    if form is ReportFormat.HTML:
        from conformance.report.site import Site, write_site  # noqa: PLC0415

        print(write_site(Site(facts, suite, known, changes), out or DEFAULT_OUT))
    elif form is ReportFormat.BADGES:
        for path in write_badges(facts, out or DEFAULT_OUT / "badges"):
            print(path)
    else:
        write_report(form.value, rows, facts, suite, known, out, changes=changes)


@app.command("compare")
def compare_command(
    old: Annotated[Path, typer.Argument(help="The earlier run: run.jsonl or report.json.")],
    new: Annotated[Path, typer.Argument(help="The later run.")],
    form: Annotated[CompareFormat, typer.Option("--format", help="How to say it.")] = CompareFormat.TERMINAL,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder (html) or file; else it is printed.")
    ] = None,
    cases: CasesOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Say what differs between two runs; exit 1 when anything newly fails, 3 when one is not complete."""
    from conformance.changes import compare_runs  # noqa: PLC0415 - only here
    from conformance.changes_text import render  # noqa: PLC0415
    from conformance.report.facts import read_facts  # noqa: PLC0415

    before, facts = read_facts(old), read_facts(new)
    changes = compare_runs(before, facts)
    if form is CompareFormat.HTML:
        from conformance.ledger import load_ledger  # noqa: PLC0415
        from conformance.load import load_suite  # noqa: PLC0415
        from conformance.report.links import COMPARE  # noqa: PLC0415
        from conformance.report.site import Site, write_site  # noqa: PLC0415

        site = Site(facts, load_suite(cases, backends=_bound([new])), load_ledger(ledger), changes)
        print(write_site(site, out or DEFAULT_OUT).with_name(COMPARE))
    else:
        from rich.console import Console  # noqa: PLC0415

        text = render(changes, form.value, Console().width)
        if out is None:
            print(text)
        else:
            out.write_text(text + "\n", encoding="utf-8")
    complete = before.complete and facts.complete
    raise typer.Exit(Exit.UNEXPECTED if changes.worse else Exit.OK if complete else Exit.HARNESS)


@app.command("merge")
def merge_command(
    runs: Annotated[list[Path], typer.Argument(help="The run.jsonl of every shard and backend.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where run.jsonl goes.")] = DEFAULT_OUT,
    cases: CasesOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Join shards, and runs of other backends, into one run; exit as that run would have."""
    from conformance.ledger import load_ledger  # noqa: PLC0415
    from conformance.load import load_suite  # noqa: PLC0415
    from conformance.merge import merged  # noqa: PLC0415 - only here
    from conformance.stream import write_stream  # noqa: PLC0415

    foreign = cases is not None and ledger is None
    # Of the cases their ids are enough, and of the rows one at a time.
    suite = load_suite(cases, backends=_bound(runs), keep=lambda _: False)
    rows = merged(runs, suite, load_ledger(ledger), foreign=foreign)
    end = write_stream(out / "run.jsonl", rows)
    print(out / "run.jsonl")
    raise typer.Exit(int(end["exit"]))


def _rows(runs: list[Path], suite: list["Operator"], known: "Ledger", *, foreign: bool) -> Iterator["Row"]:
    from conformance.fold import read_run  # noqa: PLC0415
    from conformance.merge import merge  # noqa: PLC0415

    return (
        read_run(runs[0], partial=True)
        if len(runs) == 1
        else iter(merge(runs, suite, known, foreign=foreign))
    )


def _bound(runs: list[Path]) -> list[str]:
    """Return the third-party backends that these runs bound and that are installed here too."""
    from conformance import plugins  # noqa: PLC0415
    from conformance.fold import read_run  # noqa: PLC0415

    if not plugins.installed():
        return []
    heads = [next(read_run(path, partial=True), {}) for path in runs]
    bound = [name for head in heads for name in (head.get("suite") or {}).get("bindings") or ()]
    return plugins.among(name.partition("/")[0] for name in bound)


def _changes(against: Path, facts: "Facts") -> "Changes":
    from conformance.changes import compare_runs  # noqa: PLC0415
    from conformance.report.facts import read_facts  # noqa: PLC0415

    return compare_runs(read_facts(against), facts)


@app.command("findings")
def findings_command(
    results: Annotated[Path, typer.Argument(help="A run.jsonl.")] = DEFAULT_OUT / "run.jsonl",
    write: Annotated[
        Path | None, typer.Option("--write", help="Put the table between the marks of this document.")
    ] = None,
) -> None:
    """Print what a run found, by operator and framework, as a table in Markdown."""
    from conformance.findings import findings, rewritten  # noqa: PLC0415 - only here
    from conformance.fold import read_run  # noqa: PLC0415
    from conformance.ledger import load_ledger  # noqa: PLC0415
    from conformance.load import load_suite  # noqa: PLC0415

    table = findings(list(read_run(results)), load_suite(), load_ledger())
    if write is None:
        print(table)
    else:
        write.write_text(rewritten(write.read_text(), table))


ledger_app = typer.Typer(help="The ledger of known discrepancies.", no_args_is_help=True)
app.add_typer(ledger_app, name="ledger")


@ledger_app.command("update")
def ledger_update_command(
    results: Annotated[Path, typer.Argument(help="A run.jsonl.")] = DEFAULT_OUT / "run.jsonl",
    cases: CasesOption = None,
) -> None:
    """Propose entries for a run's unexpected results; each needs a reason before `check` accepts it."""
    from conformance.load import load_suite  # noqa: PLC0415
    from conformance.propose import proposals  # noqa: PLC0415 - only here
    from conformance.stream import read_stream  # noqa: PLC0415

    suite = load_suite(cases, backends=_bound([results]))
    sys.stdout.write(proposals(list(read_stream(results, partial=True)), suite))
