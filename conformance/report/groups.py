"""Discrepancies in groups that a person can read: one cause, one group. Pure."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from hashlib import blake2b

from conformance.ledger import Entry
from conformance.report.facts import DOMAINS, FAILING, KINDS, multiple, number
from conformance.stream import Row

EVERY_CHECK = "every check"
Key = tuple[str, ...]


@dataclass
class Group:
    """Failing results of one backend with one cause, as far as the ledger or the case's name tells."""

    domain: str
    op: str
    backend: str
    check: str
    kind: str
    cause: str
    known: bool
    entry: Entry | None = None
    rows: list[Row] = field(default_factory=list)

    @property
    def id(self) -> str:
        """A name that is stable between reports of the same findings."""
        key = (self.domain, self.op, self.backend, self.check, self.kind, self.cause, str(self.known))
        return f"d-{blake2b(chr(0).join(key).encode(), digest_size=5).hexdigest()}"

    @property
    def outcome(self) -> str:
        """`known` or `regression`."""
        return "known" if self.known else "regression"

    @property
    def what(self) -> str:
        """The kind, in words."""
        if self.check == "raises" and self.kind == "raises":
            return "raises, but later than promised"
        return KINDS.get(self.kind, self.kind)

    @property
    def apis(self) -> list[str]:
        """The APIs hit, in the order of the stream."""
        return list(dict.fromkeys(row["api"] for row in self.rows))

    @property
    def cases(self) -> int:
        """How many cases are hit."""
        return len({row["case"] for row in self.rows})

    @property
    def worst(self) -> str:
        """The largest error as a multiple of its bound; empty where no number was out of its bound."""
        ratios = [number(row.get("error_over_bound")) for row in self.rows]
        largest = max((r for r in ratios if r is not None), default=0.0)
        return multiple(largest) if largest > 1 else ""

    @property
    def ids(self) -> list[tuple[list[str], list[str]]]:
        """All case ids, by the set of APIs that each one fails for."""
        apis: dict[str, dict[str, None]] = defaultdict(dict)
        for row in self.rows:
            apis[row["case"]][row["api"]] = None
        found: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for case, names in apis.items():
            found[tuple(names)].append(case)
        return [(list(names), cases) for names, cases in found.items()]

    @property
    def statuses(self) -> Counter[str]:
        """The statuses of the results."""
        return Counter(row["status"] for row in self.rows)


def group(results: list[Row], entries: dict[str, Entry]) -> list[Group]:
    """Group the failing results; unexpected before known, the defined domain first."""
    found: dict[Key, Group] = {}
    for row in results:
        if row["status"] not in FAILING:
            continue
        made = _empty(row, entries)
        found.setdefault((made.id,), made).rows.append(row)
    return sorted(found.values(), key=_place)


def cause(row: Row) -> str:
    """Name why a result fails, as far as is known: the ledger's entry, else the case without its variant."""
    return str(row.get("ledger") or row["case"].partition("[")[0])


def _empty(row: Row, entries: dict[str, Entry]) -> Group:
    kind = row.get("kind") or row["status"]
    # A refusal or a crash is one event, whatever number of quantities is missed by it.
    whole = row["status"] != "fail" or (kind == "raises" and row["check"] != "raises")
    return Group(
        domain=row.get("domain", "defined"),
        op=row["op"],
        backend=row["backend"],
        check=EVERY_CHECK if whole else row["check"],
        kind=kind,
        cause=cause(row),
        known=row.get("outcome") == "known",
        entry=entries.get(row.get("ledger") or ""),
    )


def _place(found: Group) -> tuple[int, bool, str, str, int]:
    domain = DOMAINS.index(found.domain) if found.domain in DOMAINS else len(DOMAINS)
    return domain, found.known, found.op, found.backend, -len(found.rows)
