"""Annotations of a GitHub job: each points at the case in the YAML that shows what is unexpected."""

from collections.abc import Iterable
from pathlib import Path

from conformance.ledger import Ledger
from conformance.load import Operator
from conformance.publish.unexpected import Surprise, incomplete, surprises
from conformance.report.facts import Facts, plural

MOST = 50
_LONGEST = 1000


def annotations(facts: Facts, suite: list[Operator], root: Path, ledger: Ledger | None = None) -> list[str]:
    """Return the lines that a job prints: an error a group of like results, the most severe first.

    Places are relative to `root`, the repository's; what lies outside of it (an installed suite) has none.
    With the ledger, an entry that matches nothing is pointed at too.
    """
    wheres = {case.id: case.where for op in suite for case in op.cases}
    files = {op.name: str(op.file) for op in suite}
    lines = [_line("error", "", "incomplete run", said) for said in incomplete(facts)]
    found = surprises(facts)
    shown = MOST - len(lines)
    for group in found[:shown]:
        where = wheres.get(group.case) or files.get(group.op, "")
        if group.worst["type"] == "ledger" and ledger:
            where = ledger.wheres.get(group.check, "")
        lines.append(_line("error", _place(where, root), _title(group), _message(group)))
    if hidden := found[shown:]:
        more = f"{plural(len(hidden), 'more group')} of unexpected results; the report has them all"
        lines.append(_line("warning", "", "more than is shown here", more))
    return lines


def _title(group: Surprise) -> str:
    return f"{group.api}: {group.what}"


def _message(group: Surprise) -> str:
    said = [f"{group.case} {group.check}".strip() + f": {group.message}"[:_LONGEST]]
    if len(group.rows) > 1:
        said.append(f"and {plural(len(group.rows) - 1, 'more result')} like it")
    if group.command:
        said.append(group.command)
    return "\n".join(said)


def _place(where: str, root: Path) -> str:
    """Turn `file:line:column` into properties, relative to the repository; empty if it is not in there."""
    file, *numbers = where.rsplit(":", 2) if where.count(":") >= 2 else (where,)
    path = Path(file).resolve()
    if not file or not path.is_relative_to(root.resolve()):
        return ""
    place = {"file": path.relative_to(root.resolve()).as_posix()}
    place |= dict(zip(("line", "col"), numbers, strict=False))
    return ",".join(f"{name}={_property(value)}" for name, value in place.items())


def _line(level: str, place: str, title: str, message: str) -> str:
    properties = ",".join(_filled((place, f"title={_property(title)}")))
    return f"::{level} {properties}::{_data(message)}"


def _filled(parts: Iterable[str]) -> list[str]:
    return [part for part in parts if part]


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
