"""The mechanisms: one page for each ledger entry, and one for each cause that the ledger does not know."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from conformance.ledger import Entry
from conformance.report import links
from conformance.report.evidence import Evidence, chosen, evidence
from conformance.report.facts import FAILING, KINDS, in_order, multiple, number
from conformance.report.groups import cause
from conformance.report.measures import terms
from conformance.report.site import Page, Site
from conformance.stream import Row

MOST_ROWS = 1500
"""A page with more discrepancies is split."""


@dataclass
class Discrepancy:
    """One line of the table: a case of an API, and its checks that fail for this cause."""

    case: str
    api: str
    checks: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    ratio: float | None = None
    known: bool = True

    def add(self, row: Row) -> None:
        """Count one failing check."""
        self.checks.append(str(row["check"]))
        kind = row["kind"] or row["status"]
        self.kinds += [kind] if kind not in self.kinds else []
        self.ratio = _larger(self.ratio, row)
        self.known &= row["outcome"] == "known"

    @property
    def worst(self) -> str:
        """The largest error as a multiple of its bound."""
        return multiple(self.ratio)

    @property
    def outcome(self) -> str:
        """`known` or `regression`."""
        return "known" if self.known else "regression"

    @property
    def what(self) -> str:
        """The kinds, in words."""
        return ", ".join(KINDS.get(kind, kind) for kind in self.kinds)

    @property
    def dtype(self) -> str:
        """The dtype, as the case's id has it."""
        return dtype_of(self.case)


@dataclass
class Mechanism:
    """Everything that a run found with one cause."""

    cause: str
    entry: Entry | None = None
    rows: list[Row] = field(default_factory=list)
    passing: list[Row] = field(default_factory=list)
    """Results that the entry speaks of and that do not fail."""
    claims: list[Row] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)

    @property
    def unexpected(self) -> int:
        """How many of its failing results the ledger does not cover."""
        return sum(row["outcome"] != "known" for row in self.rows)

    @property
    def state(self) -> str:
        """In a word: `regression`, `stale`, `known`, or `notrun` where the run holds nothing of it."""
        if self.unexpected:
            return "regression"
        claims = {row["outcome"] for row in self.claims}
        if self.stale or "stale" in claims or any(row["outcome"] == "stale" for row in self.passing):
            return "stale"
        if "regression" in claims:
            return "regression"
        return "known" if self.rows or self.claims else "notrun"

    @property
    def ops(self) -> list[str]:
        """The operators concerned."""
        named = [self.entry.op] if self.entry else []
        return list(dict.fromkeys([*named, *(row["op"] for row in (*self.rows, *self.claims))]))

    @property
    def backends(self) -> list[str]:
        """The backends concerned."""
        return list(dict.fromkeys(row["backend"] for row in (*self.rows, *self.passing, *self.claims)))

    @property
    def worst(self) -> str:
        """The largest error as a multiple of its bound."""
        ratio: float | None = None
        for row in self.rows:
            ratio = _larger(ratio, row)
        return multiple(ratio) if ratio and ratio > 1 else ""

    @property
    def discrepancies(self) -> list[Discrepancy]:
        """The lines of its table, worst first among unexpected and known."""
        found: dict[tuple[str, str], Discrepancy] = {}
        for row in self.rows:
            key = (row["case"], row["api"])
            found.setdefault(key, Discrepancy(*key)).add(row)
        return sorted(found.values(), key=lambda each: (each.known, -(each.ratio or 0.0)))


def mechanisms(site: Site) -> list[Mechanism]:
    """Unite all results of one cause; every entry of the ledger has one, also where nothing matched."""
    found: dict[str, Mechanism] = {}

    def of(name: str) -> Mechanism:
        return found.setdefault(links.mechanism_page(name), Mechanism(name, site.entries.get(name)))

    for name in site.entries:
        of(name)
    for row in site.facts.results:
        if row["status"] in FAILING:
            of(cause(row)).rows.append(row)
        elif row["ledger"]:
            of(row["ledger"]).passing.append(row)
    for row in site.facts.claims:
        if row["ledger"]:
            of(row["ledger"]).claims.append(row)
    for row in site.facts.ledger:
        of(row["ledger"]).stale.append(str(row["message"] or "stale"))
    return list(found.values())


def pages(site: Site) -> Iterator[Page]:
    """Yield the pages of every mechanism."""
    paged = {row["op"] for row in (*site.facts.results, *site.facts.claims)}
    for mechanism in mechanisms(site):
        yield from _pages(mechanism, site, paged)


def _pages(mechanism: Mechanism, site: Site, paged: set[str]) -> Iterator[Page]:
    listed = mechanism.discrepancies
    path = links.mechanism_page(mechanism.cause)
    parts = [listed[place : place + MOST_ROWS] for place in range(0, len(listed), MOST_ROWS)] or [[]]
    paths = [path, *(part_page(mechanism.cause, number) for number in range(2, len(parts) + 1))]
    shown = _example(mechanism, site)
    common = {
        "mechanism": mechanism,
        "entry": mechanism.entry,
        "paged": paged,
        "total": len(listed),
        "counted": counted(mechanism.rows),
        "shown": shown,
        "terms": terms(shown.first) if shown else "",
        "failing_pages": site.discrepancies,
        "paths": paths,
    }
    for place, part in enumerate(parts):
        first = place * MOST_ROWS + 1
        context = {"part": place + 1, "first": first, "discrepancies": part, "filters": _filters(part)}
        yield Page(paths[place], "mechanism.html", common | context)


def part_page(name: str, part: int) -> str:
    """Return the path of a further part; ids of the ledger end in `-2`, so a part does not."""
    return f"{links.mechanism_page(name).removesuffix('.html')}.part{part}.html"


def _example(mechanism: Mechanism, site: Site) -> Evidence | None:
    """Return one discrepancy to show in short."""
    if not mechanism.rows:
        return None
    row = chosen(mechanism.rows, site.library)
    same = [each for each in mechanism.rows if (each["case"], each["api"]) == (row["case"], row["api"])]
    return evidence(same, site.facts, site.library, scripted=False)


@dataclass
class Counted:
    """Failing results by API and dtype (lines) and check (columns)."""

    checks: list[str]
    lines: list[tuple[str, str, list[tuple[int, str]]]]


def counted(rows: list[Row]) -> Counted:
    """Count failing results, with the worst multiple of the bound in each place."""
    counts: Counter[tuple[str, str, str]] = Counter()
    ratios: dict[tuple[str, str, str], float | None] = {}
    for row in rows:
        key = (str(row["api"]), dtype_of(row["case"]), str(row["check"]))
        counts[key] += 1
        ratios[key] = _larger(ratios.get(key), row)
    checks = in_order((check for _, _, check in counts), ("output", "raises"))
    places = sorted({key[:2] for key in counts})
    lines = [
        (
            api,
            dtype,
            [(counts[api, dtype, check], multiple(ratios.get((api, dtype, check)))) for check in checks],
        )
        for api, dtype in places
    ]
    return Counted(checks, lines)


def dtype_of(case: str) -> str:
    """Read the dtype of a case off its id, where it stands first in the brackets."""
    return case.partition("[")[2].partition("]")[0].partition(",")[0]


def _larger(ratio: float | None, row: Row) -> float | None:
    """Return the larger of a multiple and the one of a row that compared something."""
    other = number(row["error_over_bound"]) if row["compared"] else None
    return max((each for each in (ratio, other) if each is not None), default=None)


def _filters(listed: list[Discrepancy]) -> dict[str, list[str]]:
    """Return the choices of the filter, of those that make a choice."""
    choices: dict[str, Any] = {
        "outcome": {each.outcome for each in listed},
        "api": {each.api for each in listed},
        "kind": {each.what for each in listed},
        "dtype": {each.dtype for each in listed},
    }
    return {name: sorted(found) for name, found in choices.items() if len(found) > 1}
