"""What changed from one run to another: newly failing first. Pure.

Checks are matched by case, API and what was asked (a promised error, `raises`, is an answer to the same
call as an `output`), and statements of documents by API and claim. Only backends that both runs used are
compared. Each difference stands in one list:

* **newly failing**: passed, was observed or unsupported, and now fails; or the process dies or hangs where
  it used to answer, be it with a refusal or a wrong value. Also a statement that was not refuted and now is.
* **newly passing**: failed, and now passes, is observed or unsupported; or a statement no longer refuted.
* **changed kind**: fails in both, in another way.
* **drifted**: passes in both, with other bits, for one of three reasons. *grew*: the largest error is more
  than four times what it was, as a multiple of the bound, and above half a ULP: below it a result is
  correctly rounded, and no further error is a drift. *inexact*: there was no error at all, and there is
  one. *parted*: its bits were those of another API of the same backend, and no longer are, although both
  still pass.
* **otherwise**: neither run accuses anybody, and the answer is of another sort: a refusal where there was
  a value, an unsupported dtype that now works, a statement that can no longer be tested. Not counted are
  other digits where the definition says nothing: some such answers vary with every call.
* **varying**: the verdict differs, and either run's ledger says that it varies from run to run.
* **unanswered**: a harness fault or a lost backend took the answer of one of the runs.
* **added**, **removed**: asked in one run only.
"""

from collections import defaultdict

import msgspec

from conformance.changes_environment import Difference, differences, titles, warnings
from conformance.report.facts import FAILING, Facts, number, question
from conformance.stream import Row

UNANSWERED = ("notrun", "harness")
DEADLY = ("crash", "timeout")
ABSENT = "absent"
"""The kind of a failure that is an API's not being there, in that version."""
GROWTH = 4.0
CORRECTLY_ROUNDED = 0.5
LISTS = (
    "newly_failing",
    "newly_passing",
    "changed_kind",
    "drifted",
    "otherwise",
    "varying",
    "unanswered",
    "added",
    "removed",
)

Key = tuple[str, str, str]
Camps = dict[tuple[str, str, str], dict[str, set[str]]]


class Side(msgspec.Struct, frozen=True):
    """What one run said of a check, or of a statement (its verdict is the status)."""

    status: str
    kind: str = ""
    error_over_bound: float | str | None = None
    max_ulp: float | str | None = None
    message: str = ""
    ledger: str | None = None

    @property
    def failing(self) -> bool:
        """Whether this accuses somebody."""
        return self.status in FAILING or self.status == "refuted"


class Change(msgspec.Struct, frozen=True):
    """One check that the two runs do not agree on. A statement has no case, and `claim.ID` as its check."""

    op: str
    api: str
    backend: str
    case: str
    check: str
    before: Side | None
    after: Side | None
    why: str = ""


class Changes(msgspec.Struct, frozen=True):
    """Everything that two runs differ in."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    environment: tuple[Difference, ...]
    warnings: tuple[str, ...]
    compared: int
    newly_failing: tuple[Change, ...] = ()
    newly_passing: tuple[Change, ...] = ()
    changed_kind: tuple[Change, ...] = ()
    drifted: tuple[Change, ...] = ()
    otherwise: tuple[Change, ...] = ()
    varying: tuple[Change, ...] = ()
    unanswered: tuple[Change, ...] = ()
    added: tuple[Change, ...] = ()
    removed: tuple[Change, ...] = ()

    @property
    def worse(self) -> bool:
        """Whether anything newly fails: the comparison then exits with 1."""
        return bool(self.newly_failing)

    def listed(self) -> dict[str, tuple[Change, ...]]:
        """Return the lists by name, in the order in which people read them."""
        return {name: getattr(self, name) for name in LISTS}


def compare_runs(a: Facts, b: Facts) -> Changes:
    """Say what changed from run `a` to run `b`."""
    shared = {row["backend"] for row in a.backends} & {row["backend"] for row in b.backends}
    old, new = _rows(a, shared), _rows(b, shared)
    camps = _camps(old), _camps(new)
    lists: dict[str, list[Change]] = {name: [] for name in LISTS}
    for key in old.keys() | new.keys():
        one, other = old.get(key), new.get(key)
        name, why = _verdict(one, other, camps)
        if name:
            lists[name].append(_change(one, other, why))
    return Changes(
        before=titles(a),
        after=titles(b),
        environment=tuple(differences(a, b)),
        warnings=tuple(warnings(a, b, len(lists["unanswered"]))),
        compared=len(old.keys() & new.keys()),
        **{name: tuple(sorted(found, key=_place)) for name, found in lists.items()},
    )


def _rows(facts: Facts, backends: set[str]) -> dict[Key, Row]:
    rows = {(r["api"], *question(r)): r for r in facts.results if r["backend"] in backends}
    claims = {
        (r["api"], f"{r['op']}/", _check(r)): r
        for r in facts.claims
        if r.get("backend", r["api"].partition(".")[0]) in backends
    }
    return rows | claims


def _check(row: Row) -> str:
    return f"claim.{row['claim']}" if row["type"] == "claim" else str(row["check"])


def _place(change: Change) -> tuple[str, ...]:
    return change.op, change.api, change.check, change.case


def _change(one: Row | None, other: Row | None, why: str) -> Change:
    row = other or one
    assert row is not None
    backend = row.get("backend") or row["api"].partition(".")[0]
    case = row.get("case") or ""
    return Change(row["op"], row["api"], backend, case, _check(row), _side(one), _side(other), why)


def _side(row: Row | None) -> Side | None:
    if row is None:
        return None
    ledger = row.get("ledger")
    if row["type"] == "claim":
        return Side(row["verdict"], message=row.get("why") or "", ledger=ledger)
    ratio, ulp = row.get("error_over_bound"), row.get("max_ulp")
    return Side(row["status"], _kind(row), ratio, ulp, row.get("message") or "", ledger)


def _camps(rows: dict[Key, Row]) -> Camps:
    """Sort the APIs of one backend that pass on one question by the bits of their answers."""
    found: Camps = defaultdict(lambda: defaultdict(set))
    for (api, case, check), row in rows.items():
        if row["type"] == "result" and row["status"] == "pass" and row.get("digest"):
            found[case, check, row["backend"]][row["digest"]].add(api)
    return found


def _verdict(one: Row | None, other: Row | None, camps: tuple[Camps, Camps]) -> tuple[str, str]:
    """Name the list that a check stands in, empty if it did not change, and why it drifted."""
    if one is None or other is None:
        return ("added" if one is None else "removed"), ""
    if one["type"] == "claim":
        return _claim(one["verdict"], other["verdict"]), ""
    was, now = (one["status"], _kind(one)), (other["status"], _kind(other))
    varies = one.get("nondeterministic") or other.get("nondeterministic")
    if was != now:
        return ("varying" if varies else _moved(was[0], now[0])), ""
    why = _drift(one, other, camps) if now[0] == "pass" and not varies else ""
    return ("drifted", why) if why else ("", "")


def _kind(row: Row) -> str:
    """Say how a check failed or, where it is only observed, which sort of answer there was."""
    error, message = row.get("error") or {}, str(row.get("message"))
    if (
        error.get("exception") == "AttributeError"
        and f"no attribute '{row['api'].rpartition('.')[2]}'" in message
    ):
        return ABSENT
    if row["status"] != "observed":
        return row.get("kind") or ""
    if error.get("exception"):
        return f"raised {error['exception']}"
    if row.get("declared"):
        return "conforms" if message.endswith(": conforms") else "differs"
    return "a value" if message.startswith("returned ") else ""


def _claim(was: str, now: str) -> str:
    """Name the list of a statement whose verdict is another."""
    if was == now:
        return ""
    if "notrun" in (was, now):
        return "unanswered"
    return "newly_failing" if now == "refuted" else "newly_passing" if was == "refuted" else "otherwise"


def _moved(was: str, now: str) -> str:
    """Name the list of a check whose status or kind is another."""
    if was in UNANSWERED or now in UNANSWERED:
        return "unanswered"
    failed, fails = was in FAILING, now in FAILING
    if (fails and not failed) or (now in DEADLY and was not in DEADLY):
        return "newly_failing"
    if failed and not fails:
        return "newly_passing"
    return "changed_kind" if fails else "otherwise"


def _drift(one: Row, other: Row, camps: tuple[Camps, Camps]) -> str:
    """Why a check that passes in both runs has drifted; empty if it has not."""
    if not one.get("digest") or one["digest"] == other.get("digest"):
        return ""
    was, now = number(one.get("error_over_bound")), number(other.get("error_over_bound"))
    ulp = number(other.get("max_ulp"))
    if was is not None and now is not None and ulp is not None:
        if was == 0 < now:
            return "inexact"
        if now > GROWTH * was and ulp > CORRECTLY_ROUNDED:
            return "grew"
    api, (case, check), backend = one["api"], question(one), one["backend"]
    old, new = (each.get((case, check, backend), {}) for each in camps)
    passing = set().union(*new.values()) if new else set()
    left = (old.get(one["digest"], set()) & passing) - new.get(other["digest"], set()) - {api}
    return f"parted from {', '.join(sorted(left))}" if left else ""
