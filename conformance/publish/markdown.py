"""A run as a short text in GitHub's Markdown: the unexpected first, then where each backend stands."""

import re
from collections.abc import Iterable
from typing import Any

from conformance.publish.standing import Standing, standings
from conformance.publish.unexpected import Surprise, incomplete, surprises
from conformance.report import links
from conformance.report.facts import Facts, plural
from conformance.stream import Row

MOST_BYTES = 64_000
"""GitHub keeps a mebibyte of a step's summary; an issue or a comment, where it is pasted, this much."""
MOST_GROUPS = (10, 5, 2, 0)
MOST_LINES = 60
"""Of the comparison with another run, which has a page of its own."""
_LONGEST_MESSAGE, _LONGEST_NAME = 200, 160

# What turns text around (bidirectional controls) or is not printed at all.
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ud800-\udfff\ufeff]"
)


def markdown(facts: Facts, changes: Any = None, site: str = "") -> str:
    """Return the summary: at most 64 KB, whatever the messages hold.

    `site` is where the pages of the report stand, for links; without it they are only named.
    """
    found = surprises(facts)
    for most in MOST_GROUPS:
        text = "\n\n".join(part for part in _parts(facts, found, changes, site, most) if part) + "\n"
        if len(text.encode()) <= MOST_BYTES:
            return text
    return text.encode()[: MOST_BYTES - 4].decode(errors="ignore") + "\n"


def _parts(facts: Facts, found: list[Surprise], changes: Any, site: str, most: int) -> Iterable[str]:
    yield f"# {_headline(facts, found)}"
    yield _warning(facts)
    yield _unexpected(found[:most], site)
    hidden = found[most:]
    if hidden:
        rows = sum(len(group.rows) for group in hidden)
        yield f"… and {plural(len(hidden), 'more group')}, {plural(rows, 'result')}: the report has them all."
    yield _reproduce(found[:most])
    if changes is not None:
        from conformance.changes_text import render  # noqa: PLC0415 - only where two runs are compared

        yield "## Since the earlier run"
        yield _head(render(changes, "markdown", width=80), MOST_LINES)
    yield _backends(facts)
    yield _known(facts, site)
    yield _next(facts, found, site)
    yield _strip(facts)


def _headline(facts: Facts, found: list[Surprise]) -> str:
    if incomplete(facts):
        return "No verdict: the run is incomplete"
    if not facts.results:
        return "No verdict: nothing ran"
    rows = [row for group in found for row in group.rows]
    if any(row.get("status") in ("harness", "notrun") for row in rows):
        return "No verdict: the harness failed"
    return plural(len(rows), "unexpected result") if rows else "Nothing unexpected"


def _warning(facts: Facts) -> str:
    said = incomplete(facts)
    lines = ["> [!CAUTION]", "> What is missing was not tested, and nothing below speaks of it."]
    return "\n".join([*lines, *(f"> - {code(text, 500)}" for text in said)]) if said else ""


def _unexpected(found: list[Surprise], site: str) -> str:
    if not found:
        return ""
    lines = ["## Unexpected", "", "| API | what | worst case | check | results |", "|---|---|---|---|--:|"]
    for group in found:
        case = code(group.case)
        if site and group.case:
            case = f"[{case}]({_url(site, links.discrepancy_page(group.case, group.api))})"
        said = f"**{prose(group.what)}**" + (
            f"<br>{code(group.message, _LONGEST_MESSAGE)}" if group.message else ""
        )
        count = f"{len(group.rows):,}"
        lines.append(f"| {code(group.api)} | {said} | {case} | {code(group.check)} | {count} |")
    return "\n".join(lines)


def _reproduce(found: list[Surprise]) -> str:
    commands = [_line(group.command) for group in found if group.command]
    if not commands:
        return ""
    fence = _fence("\n".join(commands), 3)
    return "\n".join(["Run the worst of each again:", "", f"{fence}sh", *commands, fence])


def _backends(facts: Facts) -> str:
    lines = [
        "## By backend",
        "",
        "| backend | operators agree | differ | unsupported | not run | checks pass | known | unexpected |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for each in standings(facts):
        rows = [row for row in facts.results if row["backend"] == each.backend]
        lines.append(f"| {' | '.join([_name(each), *_cells(each, rows)])} |")
    note = "An operator differs where any of its results does, known or not; agrees where all that can be "
    note += "judged conform; is unsupported where none can. The counts of checks are of single quantities."
    return "\n".join([*lines, "", note]) if len(lines) > 4 else ""


def _name(each: Standing) -> str:
    return f"{prose(each.label)} **(lost)**" if each.lost else prose(each.label)


def _cells(each: Standing, rows: list[Row]) -> list[str]:
    groups = (each.agree, each.differ, each.unsupported, each.unjudged)
    passed = sum(row["status"] == "pass" for row in rows)
    known = sum(row["outcome"] == "known" for row in rows)
    odd = sum(row["outcome"] not in ("ok", "known") for row in rows)
    return [f"{count:,}" for count in (*map(len, groups), passed, known, odd)]


def _known(facts: Facts, site: str) -> str:
    """Count what the ledger explains: still run every time, and no news."""
    entries: dict[str, set[str]] = {str(row["backend"]): set() for row in facts.backends}
    for row in (*facts.results, *facts.claims):
        if row["outcome"] == "known" and row.get("ledger"):
            entries.setdefault(str(row["backend"]), set()).add(row["ledger"])
    entries = {name: found for name, found in entries.items() if found}
    if not entries:
        return ""
    each = ", ".join(f"{prose(name)} {len(found):,}" for name, found in entries.items())
    ledger = f"[the ledger]({_url(site, links.LEDGER)})" if site else "the ledger"
    return f"Known discrepancies, each with its mechanism in {ledger} and executed again: {each}."


def _next(facts: Facts, found: list[Surprise], site: str) -> str:
    steps = []
    if incomplete(facts):
        steps.append("Make the run complete first: look at the job of the backend that was lost.")
    stale = [group for group in found if group.worst["outcome"] == "stale"]
    if len(stale) < len(found):
        report = f"[report]({_url(site, links.INDEX)})" if site else "report"
        steps.append(
            f"Open the case in the {report}: it has inputs, expected and got, a script with NumPy and "
            "that framework alone, and a text for an issue."
        )
        steps.append(
            "Understood, and not ours to mend? `conformance ledger update` proposes the entry; "
            "it wants the mechanism as its reason."
        )
    if stale:
        steps.append("What conforms again leaves the ledger: remove or narrow the entry that is named.")
    return "\n".join(["## What to do next", "", *(f"- {step}" for step in steps)]) if steps else ""


def _strip(facts: Facts) -> str:
    """Say what ran, in one line."""
    suite, oracle = facts.run.get("suite") or {}, facts.run.get("oracle") or {}
    said = [f"{plural(len(suite.get('ops') or ()), 'operator')}, {plural(suite.get('cases') or 0, 'case')}"]
    if suite.get("commit"):
        said.append(f"suite {suite['commit']}")
    if oracle.get("dtype"):
        said.append(f"oracle {oracle['dtype']} ({oracle.get('mantissa')} bits)")
    for row in facts.backends:
        where = [str(row[key]) for key in ("device", "mode") if row.get(key)]
        said.append(f"{row['framework']} {row['version']} ({', '.join(where)})")
    if facts.run.get("shard") not in (None, "1/1"):
        said.append(f"shard {facts.run['shard']} only")
    return prose(" · ".join(said))


def _line(text: str) -> str:
    return " ".join(_INVISIBLE.sub("\ufffd", text).split())


def _head(text: str, most: int) -> str:
    """Keep the first lines of a text, each of them whole, and say so."""
    lines = text.strip().splitlines()
    left = len(lines) - most
    return "\n".join([*lines[:most], "", f"… and {plural(left, 'more line')}."] if left > 0 else lines)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def code(text: str, most: int = _LONGEST_NAME) -> str:
    """Set text as code, in a table or out of it, so that nothing of it is read as markup."""
    line = _cut(_line(text), most)
    if not line:
        return ""
    if "|" in line:  # ends a table's cell even here, and no escape of it holds everywhere
        return f"<code>{_references(line)}</code>"
    if "`" not in line:
        return f"`{line}`"
    return f"{_fence(line, 1)} {line} {_fence(line, 1)}"


def _fence(text: str, least: int) -> str:
    """Return more backticks than stand in a row anywhere in the text."""
    return "`" * max(least, *(len(run) + 1 for run in re.findall("`+", text) or [""]))


def prose(text: str) -> str:
    """Set text as it is, so that nothing of it is read as markup."""
    return _references(_line(text), keep=" .,·()/+-−:;∞×…")


def _references(text: str, keep: str = " .,") -> str:
    return "".join(c if c.isalnum() or c in keep else f"&#{ord(c)};" for c in text)


def _url(site: str, page: str) -> str:
    return f"{site.rstrip('/')}/{page}"
