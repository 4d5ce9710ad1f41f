"""What differs in how two runs were made, and what that makes of a comparison. Pure."""

from collections.abc import Iterator
from typing import Any

import msgspec

from conformance.backends import titled
from conformance.report.facts import Facts, plural
from conformance.stream import Row

NONE = "–"


class Difference(msgspec.Struct, frozen=True):
    """One fact about how the runs were made that is not the same."""

    what: str
    before: str
    after: str


def titles(facts: Facts) -> tuple[str, ...]:
    """Name the frameworks of a run."""
    return tuple(_title(row) for row in facts.backends)


def _title(row: Row) -> str:
    name = titled(row)
    if name == _family(row):
        name = row.get("framework") or name
    return f"{name} {row.get('version') or ''}".strip() + (" (lost)" if row.get("lost") else "")


def _family(row: Row) -> str:
    return str(row["backend"]).partition("@")[0].partition(":")[0]


def differences(a: Facts, b: Facts) -> Iterator[Difference]:
    """Yield what differs in how the runs were made: backends first, then the suite, then the oracle."""
    for backend in _only(a, b):
        yield Difference(backend, _version(a, backend), NONE)
    for backend in _only(b, a):
        yield Difference(backend, NONE, _version(b, backend))
    shared = set(_names(a)) & set(_names(b))
    old, new = _described(a, shared), _described(b, shared)
    for what in [*new, *(key for key in old if key not in new)]:
        before, after = old.get(what, NONE), new.get(what, NONE)
        if before != after:
            yield Difference(what, _said(before, after), _said(after, before))


def _described(facts: Facts, backends: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for row in facts.backends:
        if row["backend"] in backends:
            found |= _flat(row["backend"], {k: v for k, v in row.items() if k not in ("type", "backend")})
    found |= _flat("suite", facts.run.get("suite") or {})
    found |= _flat("oracle", facts.run.get("oracle") or {})
    found |= _flat("shard", facts.run.get("shard"))
    return {what: value for what, value in found.items() if value not in ("", None)}


def _flat(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key in value for k, v in _flat(f"{name} {key}", value[key]).items()}
    return {name: value}


def _said(value: Any, other: Any) -> str:
    """Write a value; a list as its length, and what the other list lacks."""
    if not isinstance(value, list):
        return str(value)
    more = [str(each) for each in value if not isinstance(other, list) or each not in other]
    return f"{len(value)}, with {', '.join(more)}" if more else str(len(value))


def _version(facts: Facts, backend: str) -> str:
    return facts.version(backend) or "lost"


def warnings(a: Facts, b: Facts, unanswered: int) -> Iterator[str]:
    """Yield what a reader has to know before believing the lists."""
    old, new = a.run.get("suite") or {}, b.run.get("suite") or {}
    # How many cases and ops there are follows from the backends that were asked for; these do not.
    told = [key for key in ("version", "commit", "digest", "seed") if old.get(key) and new.get(key)]
    keys = [key for key in told if old[key] != new[key]]
    if keys and ("digest" in keys or "digest" not in told):
        yield f"the suites differ ({', '.join(keys)}): a change may be the suite's, not the framework's"
    if a.run.get("oracle") != b.run.get("oracle"):
        yield "the oracles differ: errors and bounds were measured with another precision"
    for name, facts in (("first", a), ("second", b)):
        if not facts.complete:
            yield f"the {name} run is not complete: what it lacks is counted as removed, added or unanswered"
    for mine, other, name in ((a, b, "first"), (b, a, "second")):
        for backend in _only(mine, other):
            count = sum(row["backend"] == backend for row in mine.results)
            yield f"only the {name} run used {backend}: its {count:,} results are left aside"
    if unanswered:
        yield f"{plural(unanswered, 'check')} without an answer in one of the runs"


def _names(facts: Facts) -> list[str]:
    return [row["backend"] for row in facts.backends]


def _only(mine: Facts, other: Facts) -> list[str]:
    return [name for name in _names(mine) if name not in _names(other)]
