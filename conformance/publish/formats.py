"""What a run leaves behind, and the forms that a report can be asked for."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.fold import encode, fold, read_run, write_folded
from conformance.ledger import Ledger
from conformance.load import Operator
from conformance.publish.annotations import annotations
from conformance.publish.badge import badges
from conformance.publish.junit import junit
from conformance.publish.markdown import markdown
from conformance.report.facts import Facts, facts_of
from conformance.report.site import Site, write_site
from conformance.stream import Row

if TYPE_CHECKING:
    from conformance.changes import Changes

REPORT = "report.json.gz"


def write_run(out: Path, suite: list[Operator], ledger: Ledger, *, site: bool) -> None:
    """Write beside `out`/run.jsonl its folded report and, with `site`, the site and the badges."""
    folded = fold(read_run(out / "run.jsonl", partial=True))
    write_folded(out / REPORT, folded)
    if site:
        facts = facts_of(read_run(out / REPORT, partial=True))
        write_site(Site(facts, suite, ledger), out)
        write_badges(facts, out / "badges")


def write_badges(facts: Facts, folder: Path) -> list[Path]:
    """Write a badge of each backend, for shields and as an image; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in badges(facts).items():
        (folder / name).write_text(text, encoding="utf-8")
        written.append(folder / name)
    return written


def write_report(
    form: str,
    rows: Iterable[Row],
    facts: Facts,
    suite: list[Operator],
    ledger: Ledger,
    out: Path | None,
    *,
    changes: "Changes | None" = None,
) -> None:
    """Write a report that machines or summaries read to a file, or print it."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    if form == "json" and out is not None and out.suffix == ".gz":
        write_folded(out, fold(rows))
        return
    if form == "json":
        data = encode(fold(rows))
    elif form == "junit":
        data = junit(facts)
    elif form == "markdown":
        data = markdown(facts, changes).encode()
    else:
        data = "".join(f"{line}\n" for line in annotations(facts, suite, Path.cwd(), ledger)).encode()
    if out is None:
        sys.stdout.buffer.write(data)
    else:
        out.write_bytes(data)
