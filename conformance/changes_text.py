"""A comparison of two runs as text: for a terminal, for a step summary in Markdown, as JSON. Pure."""

import textwrap
from collections.abc import Iterator

import msgspec

from conformance.changes import LISTS, Changes
from conformance.changes_groups import TITLES, Group, grouped, tallied, verdict, way
from conformance.report.facts import plural, shorten

SCHEMA = "conformance-compare/1.0"
MOST_GROUPS = {"newly_failing": 30}
OTHER_GROUPS = 10
MOST_CASES = 3
MOST_MESSAGE = 200
GLYPHS = {"newly_failing": "✗", "newly_passing": "✓", "unanswered": "!"}
ONE_SIDED = ("added", "removed")


def render(changes: Changes, format: str, width: int = 80) -> str:  # noqa: A002 - as the option is called
    """Write a comparison as `terminal`, `markdown` or `json`, without a newline at its end."""
    if format == "json":
        return as_json(changes)
    lines = _markdown(changes) if format == "markdown" else _terminal(changes, width)
    return "\n".join(lines)


def as_json(changes: Changes) -> str:
    """Write every change, sorted: the same two runs give the same bytes."""
    counts = {name: len(found) for name, found in changes.listed().items()}
    whole = {"schema": SCHEMA, "worse": changes.worse, "counts": counts, **msgspec.to_builtins(changes)}
    encoded = msgspec.json.encode(whole, order="sorted")
    return msgspec.json.format(encoded, indent=1).decode()


def _shown(name: str) -> int:
    return MOST_GROUPS.get(name, OTHER_GROUPS)


def _one_line(text: str) -> str:
    return " ".join(shorten(text, MOST_MESSAGE).split())


# On a terminal


def _terminal(changes: Changes, width: int) -> Iterator[str]:
    yield from _wrapped(f"from  {', '.join(changes.before)}", width, "", "      ")
    yield from _wrapped(f"to    {', '.join(changes.after)}", width, "", "      ")
    for warning in changes.warnings:
        yield from _wrapped(f"! {warning}", width, "", "  ")
    if changes.environment:
        yield ""
        yield "How the runs were made"
        wide = max(len(each.what) for each in changes.environment)
        for each in changes.environment:
            said = f"{each.what:<{wide}}  {_one_line(each.before)} → {_one_line(each.after)}"
            yield from _wrapped(said, width, "  ", "    ")
    for name in LISTS:
        found = getattr(changes, name)
        if found:
            yield ""
            yield f"{GLYPHS.get(name, '·')} {TITLES[name]}: {plural(len(found), 'check')}"
            yield from (
                _terminal_tally(changes, name) if name in ONE_SIDED else _terminal_list(changes, name, width)
            )
    yield ""
    yield from _wrapped(verdict(changes), width, "", "  ")


def _terminal_list(changes: Changes, name: str, width: int) -> Iterator[str]:
    groups = grouped(getattr(changes, name))
    for group in groups[: _shown(name)]:
        yield from _wrapped(f"{group.op}, {group.backend}: {way(group)}", width, "  ", "      ")
        yield from _wrapped(", ".join(group.apis), width, "    ", "      ")
        yield from _wrapped(f"{', '.join(group.checks)}{_cases(group)}", width, "    ", "      ")
        if name == "newly_failing" and group.message:
            yield from _wrapped(_one_line(group.message), width, "    ", "      ")
        for case in group.cases[:MOST_CASES]:
            if case:
                yield f"      {case}"
        if len(group.cases) > MOST_CASES:
            yield f"      … and {len(group.cases) - MOST_CASES:,} more"
    if len(groups) > _shown(name):
        yield f"  … and {plural(len(groups) - _shown(name), 'more group')}: --format html or json has all"


def _terminal_tally(changes: Changes, name: str) -> Iterator[str]:
    tally = tallied(getattr(changes, name))
    for op, api, total, failing in tally[:OTHER_GROUPS]:
        yield f"  {op}, {api}: {_counted(total, failing)}"
    if len(tally) > OTHER_GROUPS:
        yield f"  … and {plural(len(tally) - OTHER_GROUPS, 'more API')}"


def _counted(total: int, failing: int) -> str:
    return plural(total, "check") + (f", {failing:,} failing" if failing else "")


def _cases(group: Group) -> str:
    known = f"; known as {', '.join(group.ledger)}" if group.ledger else ""
    count = len([case for case in group.cases if case])
    return (f": {plural(count, 'case')}" if count else "") + known


def _wrapped(text: str, width: int, first: str, rest: str) -> list[str]:
    """Wrap between words only: an id stays in one piece, to be copied."""
    wrapper = textwrap.TextWrapper(max(width, 20), initial_indent=first, subsequent_indent=rest)
    wrapper.break_long_words = wrapper.break_on_hyphens = False
    return wrapper.wrap(text)


# In Markdown


def _markdown(changes: Changes) -> Iterator[str]:
    yield f"### {'✗' if changes.worse else '✓'} {verdict(changes)}"
    yield ""
    yield f"From {_text(', '.join(changes.before))} to {_text(', '.join(changes.after))}."
    for warning in changes.warnings:
        yield f"\n> **Mind:** {_text(warning)}"
    if changes.environment:
        yield "\n| how the runs were made | first | second |\n|---|---|---|"
        for each in changes.environment:
            yield f"| {_text(each.what)} | {_text(each.before)} | {_text(each.after)} |"
    for name in LISTS:
        found = getattr(changes, name)
        if found:
            yield f"\n#### {TITLES[name]}: {plural(len(found), 'check')}\n"
            yield from _markdown_tally(changes, name) if name in ONE_SIDED else _markdown_list(changes, name)


def _markdown_list(changes: Changes, name: str) -> Iterator[str]:
    groups = grouped(getattr(changes, name))
    yield "| operator | API | check | before → after | cases |\n|---|---|---|---|---|"
    for group in groups[: _shown(name)]:
        apis = ", ".join(map(_code, group.apis[:MOST_CASES]))
        apis += f" and {len(group.apis) - MOST_CASES} more" if len(group.apis) > MOST_CASES else ""
        example = next(filter(None, group.cases), "")
        count = len([case for case in group.cases if case])
        cases = f"{count:,}: {_code(example)}" if example else ""
        checks = ", ".join(map(_code, group.checks))
        yield f"| {_code(group.op)} | {apis} | {checks} | {_text(way(group))} | {cases} |"
    if len(groups) > _shown(name):
        yield f"\n… and {plural(len(groups) - _shown(name), 'more group')}."


def _markdown_tally(changes: Changes, name: str) -> Iterator[str]:
    tally = tallied(getattr(changes, name))
    for op, api, total, failing in tally[:OTHER_GROUPS]:
        yield f"- {_code(op)}, {_code(api)}: {_counted(total, failing)}"
    if len(tally) > OTHER_GROUPS:
        yield f"- … and {plural(len(tally) - OTHER_GROUPS, 'more API')}"


def _text(said: str) -> str:
    """Escape what Markdown or HTML would read as theirs, within one cell of a table."""
    plain = _one_line(said).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{mark}" if mark in "\\`*_[]|#~@" else mark for mark in plain)


def _code(name: str) -> str:
    """Write a name as code, in which only a backtick and, in a table, a bar mean anything."""
    return f"`{' '.join(name.split()).replace('`', chr(0x2019)).replace('|', chr(92) + '|')}`"
