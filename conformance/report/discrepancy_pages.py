"""The permalinks: one page for each case and API with a failing check, and its script as a file."""

import gc
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from conformance.ledger import Entry
from conformance.repeat import CHECK as REPEAT
from conformance.report import issue_text, links
from conformance.report.evidence import Evidence, commands, evidence, pytest_command
from conformance.report.facts import BESIDES, FAILING, Lenient, multiple, number, shorten, tail
from conformance.report.groups import cause
from conformance.report.measures import exact_of, measures
from conformance.report.pictures import Bar, Element, Heat, heat, histogram, worst_elements
from conformance.report.site import Page, Site, written
from conformance.stream import Row

Key = tuple[str, str]

CHUNK = 48
SMALL = 4 * CHUNK
"""A site with fewer pages is written in this process: others take a moment to start."""
SHORT_INPUT = 600


def write(site: Site, out: Path) -> None:
    """Write every page and script; many in processes of their own, which share what was read."""
    rows = _by_page(site)
    chunks = [list(rows)[place : place + CHUNK] for place in range(0, len(rows), CHUNK)]
    forkable = "fork" in multiprocessing.get_all_start_methods()
    if len(rows) <= SMALL or not forkable or (os.cpu_count() or 1) == 1:
        _write_chunk(site, out, rows, list(rows))
        return
    _ = site.library, site.entries  # made once, before the others start
    _SHARED.update(site=site, out=out, rows=rows, chunks=chunks)
    gc.freeze()  # the collector would touch, and so copy, every row in each process
    try:
        with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
            for _ in pool.imap_unordered(_write_shared, range(len(chunks))):
                pass
    finally:
        gc.unfreeze()
        _SHARED.clear()


_SHARED: dict[str, Any] = {}
"""What a process that was forked off finds in its memory."""


def _write_shared(place: int) -> None:
    _write_chunk(_SHARED["site"], _SHARED["out"], _SHARED["rows"], _SHARED["chunks"][place])


def _by_page(site: Site) -> dict[Key, list[Row]]:
    """Return all results, also passing ones, of each case and API that has a page; a case's together."""
    found: dict[Key, list[Row]] = {key: [] for key in sorted(site.discrepancies, key=lambda key: key[0])}
    for row in site.facts.results:
        key = (row["case"], row["api"])
        if key in found:
            found[key].append(row)
    return found


def _write_chunk(site: Site, out: Path, rows: dict[Key, list[Row]], keys: list[Key]) -> None:
    written(partial(_pages, out, rows, keys))(site, out)


def _pages(out: Path, rows: dict[Key, list[Row]], keys: list[Key], site: Site) -> Iterator[Page]:
    for key in keys:
        shown = evidence(rows[key], site.facts, site.library)
        if shown.script:
            path = out / script_path(*key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(shown.script, encoding="utf-8")
        yield Page(links.discrepancy_page(*key), "discrepancy.html", context(shown, site))


def script_path(case: str, api: str) -> str:
    """Return the path of a page's script."""
    return f"repro/{links.discrepancy_page(case, api).removeprefix('d/').removesuffix('.html')}.py"


@dataclass
class Reason:
    """Why checks of a case fail, as far as the ledger says."""

    cause: str
    entry: Entry | None
    checks: list[str]
    known: bool


@dataclass
class Pictures:
    """What is drawn of one failing check."""

    check: str
    heat: Heat | None
    bars: list[Bar]
    worst: list[Element]
    inputs: list[list[str]]
    """For each of the worst elements, what stands there in each input."""


def context(shown: Evidence, site: Site) -> dict[str, Any]:
    """Return what the template is told."""
    first = shown.first
    issue = issue_of(shown, site)
    return {
        "shown": shown,
        "row": first,
        "outcome": "known" if all(row["outcome"] == "known" for row in shown.failing) else first["outcome"],
        "causes": causes(shown.failing, site.entries),
        "lines": measures(shown.rows, shown.expected),
        "messages": _messages(shown),
        "pictures": [each for row in shown.failing if (each := pictures(row, shown))],
        "error": first["error"] or Lenient(),
        "op": site.ops.get(first["op"]),
        "commands": commands(first, shown.failing, site.facts.title(first["backend"])),
        "pytest": pytest_command(first, shown.where, site.facts.title(first["backend"])),
        "issue_title": issue_text.title(issue),
        "issue": issue_text.body(issue),
        "script_path": script_path(first["case"], first["api"]),
        "most_script": issue_text.MOST_SCRIPT,
        "failing_statuses": FAILING,
    }


def causes(failing: list[Row], entries: dict[str, Entry]) -> list[Reason]:
    """Return why each failing check fails, once for those of one cause."""
    found: dict[str, Reason] = {}
    for row in failing:
        name = cause(row)
        one = found.setdefault(name, Reason(name, entries.get(row["ledger"] or ""), [], known=True))
        one.checks.append(str(row["check"]))
        one.known &= row["outcome"] == "known"
    return list(found.values())


def pictures(row: Row, shown: Evidence) -> Pictures | None:
    """Return what is drawn of a failing check, None where nothing was compared, or all of it conforms."""
    if row["kind"] in BESIDES:
        return None
    worst = worst_elements(row)
    drawn, bars = heat(row), histogram(row)
    if not (worst or drawn or bars):
        return None
    exact = exact_of(str(row["check"]), shown.expected)  # None for a relation, whose follow-up has others
    shape = exact.low.shape if exact else ()
    inputs = [[tensor.at(each.at, shape) for tensor in shown.tensors] for each in worst]
    return Pictures(str(row["check"]), drawn, bars, worst, inputs)


def _messages(shown: Evidence) -> list[tuple[list[str], str]]:
    """Return what the suite says of checks whose verdict is not in the figures, the same words once."""
    found: dict[str, list[str]] = {}
    for row in shown.failing:
        apart = row["kind"] in ("relation", "nondeterministic", *BESIDES)
        told = (row["compared"] and not apart) or row["status"] in ("crash", "timeout")
        if row["message"] and not told and not (row["error"] or {}).get("message"):
            found.setdefault(shorten(row["message"], 900), []).append(str(row["check"]))
    return [(checks, said) for said, checks in found.items()]


def issue_of(shown: Evidence, site: Site) -> issue_text.Issue:
    """Collect what the text of an issue says."""
    first, case, api = shown.first, shown.case, shown.api
    error, about = first["error"] or {}, site.facts.run["suite"] or Lenient()
    issue = issue_text.Issue(
        verdict=shown.verdict,
        environment=_environment(first["backend"], site),
        case=first["case"],
        message="\n".join(f"{row['check']}: {row['message']}" for row in shown.failing[:6] if row["message"]),
        stderr=tail(error.get("stderr") or "", 3000),
        expected=_expectations(shown),
        variant=str(site.facts.variant(first["backend"])).lstrip(":"),
        suite=f"{about['name'] or 'op-conformance'} {about['version'] or ''}".strip(),
        script=shown.script,
    )
    if first["status"] not in ("crash", "timeout") and error.get("message"):
        issue.message = shorten(error["message"], 3000)
    if case is None or api is None:
        return issue
    issue.why, issue.summary, issue.document = case.why, case.op.summary, api.decl.doc
    issue.inputs = [
        (t.name, t.about, t.values if len(t.values) <= SHORT_INPUT else "") for t in shown.tensors
    ]
    issue.params = [f"{name} = {value} ({source})" for name, value, source in shown.params]
    return issue


def _environment(backend: str, site: Site) -> list[str]:
    row = next((each for each in site.facts.backends if each["backend"] == backend), None)
    if row is None:
        return [backend]
    suite = site.facts.run["suite"] or {}
    lines = [f"{row['framework']} {row['version']}", f"device {row['device']}, {row['mode']} mode"]
    parts = [("Python", row["python"]), ("NumPy", row["numpy"]), ("", suite.get("platform"))]
    found = [f"{name} {value}".strip() for name, value in parts if value]
    return [*lines, ", ".join(found)] if found else lines


def _expectations(shown: Evidence) -> list[str]:
    """Say for each failing comparison what is right, and by how much the result is off."""
    found = []
    for row in shown.failing[:6]:
        if not row["compared"] or row["check"] == REPEAT or str(row["check"]).startswith("relation."):
            continue
        if row["kind"] in BESIDES:
            continue
        for each in worst_elements(row)[:1]:
            where = f" at {list(each.at)}" if each.at else ""
            over = f", {multiple(number(row['error_over_bound']))} what rounding explains" if each.ulp else ""
            found.append(f"{row['check']}{where}: exact {each.exact}, got {each.got}{over}.")
    return found
