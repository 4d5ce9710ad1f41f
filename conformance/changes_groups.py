"""Changes in groups that a person can read: one op, one backend, one way of changing. Pure."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from conformance.changes import ABSENT, Change, Changes, Side
from conformance.report.facts import KINDS, number

NOT_ASKED = "not asked"
TITLES = {
    "newly_failing": "Newly failing",
    "newly_passing": "Newly passing",
    "changed_kind": "Fails in another way",
    "drifted": "Drifted within the bound",
    "otherwise": "Answers otherwise, and nobody is accused",
    "varying": "Varies from run to run",
    "unanswered": "No answer in one of the runs",
    "added": "Added",
    "removed": "Removed",
}
ABOUT = {
    "newly_failing": "Passed, was observed or unsupported, and now fails; or now ends the process or hangs.",
    "newly_passing": "Failed, and no longer does.",
    "changed_kind": "Fails in both runs, with another verdict.",
    "drifted": "Passes in both, with other bits: the error grew more than four times, there was none "
    "before, or APIs of one framework no longer give the same bits.",
    "otherwise": "A refusal where there was a value, a dtype that now works, a statement that can no longer "
    "be tested.",
    "varying": "The ledger says that these results vary from run to run, so another verdict may be chance.",
    "unanswered": "Not run, or lost to a fault of the harness.",
    "added": "Asked in the second run only.",
    "removed": "Asked in the first run only.",
}
STATUSES = {
    "pass": "conforms",
    "observed": "observed",
    "unsupported": "unsupported",
    "error": KINDS["error"],
    "crash": KINDS["crash"],
    "timeout": KINDS["timeout"],
    "notrun": "not run",
    "harness": "harness fault",
}


@dataclass(frozen=True)
class Group:
    """Changes that are one to a reader: the same before, the same after, on the same cases."""

    op: str
    backend: str
    before: str
    after: str
    why: str
    apis: tuple[str, ...]
    checks: tuple[str, ...]
    cases: tuple[str, ...]
    changes: tuple[Change, ...]

    @property
    def size(self) -> int:
        """How many checks it unites."""
        return len(self.changes)

    @property
    def ledger(self) -> tuple[str, ...]:
        """The ledger entries that know of it, on either side."""
        sides = (side for change in self.changes for side in (change.before, change.after))
        return tuple(sorted({side.ledger for side in sides if side is not None and side.ledger}))

    @property
    def message(self) -> str:
        """What the second run said of the first case that it says anything about; else the first run."""
        for pick in (_after, _before):
            for change in self.changes:
                side = pick(change)
                if side is not None and side.message:
                    return side.message
        return ""

    @property
    def worst(self) -> tuple[str, str]:
        """The largest error before and after in ULP; empty without numbers."""
        return _worst(map(_before, self.changes)), _worst(map(_after, self.changes))


def label(side: Side | None) -> str:
    """Say in words what a run found."""
    if side is None:
        return NOT_ASKED
    if side.kind == ABSENT:
        return "is not there"
    if side.status == "observed" and side.kind:
        return f"observed, {side.kind}"
    if side.status == "fail":
        return KINDS.get(side.kind, side.kind or "fails")
    return STATUSES.get(side.status, side.status)


def grouped(changes: Iterable[Change]) -> list[Group]:
    """Unite changes of one kind: an API's cases, then its checks, then APIs that change alike."""
    by_check = _united(
        changes, lambda c: (c.op, c.backend, c.api, c.check, label(c.before), label(c.after), _way(c))
    )
    by_api = _united(by_check, lambda found: (found[0].op, found[0].api, *_alike(found)))
    flat = [tuple(change for part in parts for change in part) for parts in by_api]
    by_op = _united(flat, lambda found: (found[0].op, found[0].backend, _checks(found), *_alike(found)))
    groups = [_group(tuple(change for part in parts for change in part)) for parts in by_op]
    return sorted(groups, key=lambda g: (g.op, g.apis, g.checks, g.before, g.after, g.cases))


def tallied(changes: Iterable[Change]) -> list[tuple[str, str, int, int]]:
    """Count added or removed checks by op and API: (op, API, checks, of which failing)."""
    total, failing = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for change in changes:
        side = change.after or change.before
        total[change.op, change.api] += 1
        failing[change.op, change.api] += side is not None and side.failing
    return [(op, api, total[op, api], failing[op, api]) for op, api in sorted(total)]


def verdict(changes: Changes) -> str:
    """Say in one sentence what a reader has come for."""
    said = [f"{len(changes.newly_failing):,} newly failing" if changes.worse else "Nothing newly fails"]
    for name, word in (
        ("newly_passing", "newly passing"),
        ("changed_kind", "failing in another way"),
        ("drifted", "drifted"),
        ("unanswered", "unanswered"),
        ("added", "added"),
        ("removed", "removed"),
    ):
        found: tuple[Change, ...] = getattr(changes, name)
        failing = sum(change.after is not None and change.after.failing for change in found)
        if found:
            said.append(
                f"{len(found):,} {word}"
                + (f" ({failing:,} of them failing)" if failing and name == "added" else "")
            )
    return f"{', '.join(said)}, of {changes.compared:,} compared."


def way(group: Group) -> str:
    """Say what became what; where both sides pass, how the result drifted."""
    if not group.why:
        subject = "what its document says: " if group.checks[0].startswith("claim.") else ""
        return f"{subject}{group.before} → {group.after}"
    before, after = group.worst
    how = {
        "grew": "the error grew",
        "inexact": "no longer exact",
        "parted": "no longer the bits of another API",
    }[group.why]
    return f"{how}, worst {before} → {after} ULP" if before and after else how


def _before(change: Change) -> Side | None:
    return change.before


def _after(change: Change) -> Side | None:
    return change.after


def _way(change: Change) -> str:
    return change.why.partition(" ")[0]


def _united(items: Iterable[Any], key: Callable[[Any], tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    found: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for item in items:
        found[key(item)].append(item)
    return [tuple(parts) for parts in found.values()]


def _alike(found: tuple[Change, ...]) -> tuple[Any, ...]:
    one = found[0]
    return label(one.before), label(one.after), _way(one), tuple(sorted({c.case for c in found}))


def _checks(found: tuple[Change, ...]) -> tuple[str, ...]:
    return tuple(sorted({change.check for change in found}))


def _group(found: tuple[Change, ...]) -> Group:
    one = found[0]
    before, after, why, cases = _alike(found)
    apis = tuple(sorted({change.api for change in found}))
    return Group(one.op, one.backend, before, after, why, apis, _checks(found), cases, found)


def _worst(sides: Iterable[Side | None]) -> str:
    found = [number(side.max_ulp) for side in sides if side is not None]
    largest = max((ulp for ulp in found if ulp is not None), default=None)
    return "" if largest is None else f"{largest:.2g}"
