"""One page a backend: what is unexpected, what is known and why, how exact it is, what it leaves out."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from conformance.report.clusters import Cluster, clusters
from conformance.report.facts import FAILING, KINDS, in_order, multiple, number, unexpected
from conformance.report.groups import Group
from conformance.report.links import backend_page
from conformance.report.others import Limit, limits
from conformance.report.site import Page, Site
from conformance.report.verdicts import Standing, dtype_of, standings
from conformance.stream import Row

MOST_UNEXPECTED = 300  # links to discrepancies; the pages of the mechanisms have the others
MOST_LIMITS = 900
MOST_CLUSTERS = 250


def pages(site: Site) -> Iterator[Page]:
    """Yield a page for each backend of the run, and for each that only results name."""
    by_backend = _by_backend(site)
    stands = {
        each.backend: each
        for each in standings(site.facts, {name: entry.reason for name, entry in site.entries.items()})
    }
    for name, stand in stands.items():
        about = next((row for row in site.facts.backends if row["backend"] == name), None)
        context = _context(site, name, by_backend[name]) | {"name": name, "about": about, "stand": stand}
        yield Page(backend_page(name), "backend.html", context | _sentence(site, stand))


@dataclass
class _Share:
    """What one backend has of each list."""

    groups: list[Group] = field(default_factory=list)
    results: list[Row] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    clusters: list[Cluster] = field(default_factory=list)


def _by_backend(site: Site) -> dict[str, _Share]:
    found: dict[str, _Share] = defaultdict(_Share)
    for group in site.groups:
        found[group.backend].groups.append(group)
    for row in site.facts.results:
        found[row["backend"]].results.append(row)
    for limit in limits(site.facts, site.suite):
        found[limit.backend].limits.append(limit)
    for cluster in clusters(site.facts.results):
        found[cluster.backend].clusters.append(cluster)
    return found


def _context(site: Site, name: str, share: _Share) -> dict[str, Any]:
    order = list(dict.fromkeys(row["op"] for row in site.facts.results))
    known = mechanisms([group for group in share.groups if group.known])
    ops = in_order({each.op for each in known}, order)
    kinds = {kind for each in known for kind in each.kinds}
    new = mechanisms([group for group in share.groups if not group.known])
    keys = [key for key, rows in site.discrepancies.items() if _is_new(rows, name)]
    return {
        "unexpected": new,
        "unexpected_pages": keys[:MOST_UNEXPECTED],
        "more_unexpected": max(0, len(keys) - MOST_UNEXPECTED),
        "due": _due(share.results),
        "known": sorted(known, key=lambda each: (ops.index(each.op), -each.results)),
        "choices": {"op": sorted(ops), "kind": [kind for kind in KINDS if kind in kinds]},
        "accuracy": accuracy(share.results, order),
        "clusters": share.clusters[:MOST_CLUSTERS],
        "more_clusters": max(0, len(share.clusters) - MOST_CLUSTERS),
        "limits": share.limits[:MOST_LIMITS],
        "more_limits": max(0, len(share.limits) - MOST_LIMITS),
        "beyond": [limit for limit in share.limits if limit.conforms],
    }


def _is_new(rows: list[Row], backend: str) -> bool:
    return rows[0]["backend"] == backend and any(unexpected(row) for row in rows)


def _due(rows: list[Row]) -> Counter[str]:
    """Count, in words, the unexpected results that are no failure: not run, harness faults, stale entries."""
    late = [row for row in rows if unexpected(row) and row["status"] not in FAILING]
    return Counter("stale" if row["outcome"] == "stale" else str(row["status"]) for row in late)


def _sentence(site: Site, stand: Standing) -> dict[str, Any]:
    about = next((row for row in site.facts.backends if row["backend"] == stand.backend), None)
    claims = sum(1 for row in site.facts.claims if row.get("backend") == stand.backend and unexpected(row))
    verdict = "Yes" if stand.unexpected or claims or (about or {}).get("lost") else "No"
    silent = verdict == "No" and (not site.facts.complete or not stand.judged)
    return {"verdict": "Cannot tell" if silent else verdict, "new_claims": claims}


@dataclass
class Mechanism:
    """Groups of one operator with one reason: one row of the page."""

    op: str
    reason: str
    groups: list[Group] = field(default_factory=list)

    @property
    def causes(self) -> list[str]:
        """The ledger entries behind it, or the names of the cases."""
        return list(dict.fromkeys(group.cause for group in self.groups))

    @property
    def kinds(self) -> list[str]:
        """Its kinds of failure."""
        return list(dict.fromkeys(group.kind for group in self.groups))

    @property
    def results(self) -> int:
        """How many results fail by it."""
        return sum(len(group.rows) for group in self.groups)

    @property
    def cases(self) -> int:
        """How many cases it hits."""
        return len({row["case"] for group in self.groups for row in group.rows})

    @property
    def apis(self) -> int:
        """How many APIs it hits."""
        return len({row["api"] for group in self.groups for row in group.rows})

    @property
    def worst(self) -> str:
        """The largest error as a multiple of its bound."""
        ratios = [number(row.get("error_over_bound")) for group in self.groups for row in group.rows]
        largest = max((ratio for ratio in ratios if ratio is not None), default=0.0)
        return multiple(largest) if largest > 1 else ""

    @property
    def upstream(self) -> list[str]:
        """Where it has been reported."""
        found = dict.fromkeys(group.entry.upstream for group in self.groups if group.entry)
        return [link for link in found if link != "unreported"]


def mechanisms(groups: Iterable[Group]) -> list[Mechanism]:
    """Unite groups of one operator whose ledger entries give one reason; without an entry, of one cause."""
    found: dict[tuple[str, str], Mechanism] = {}
    for group in groups:
        reason = group.entry.reason if group.entry else ""
        key = (group.op, reason or f"\0{group.cause}")
        found.setdefault(key, Mechanism(group.op, reason)).groups.append(group)
    return list(found.values())


@dataclass
class Ulp:
    """The largest error of one quantity in one dtype, in ULP: of what conforms, and of what does not."""

    passing: float | None = None
    failing: float | None = None
    fails: int = 0

    def add(self, row: Row) -> None:
        """Count one judged result."""
        failing = row["status"] in FAILING
        self.fails += failing
        ulp = number(row.get("max_ulp"))
        if not row.get("compared") or ulp is None or ulp != ulp:  # noqa: PLR0124 - NaN
            return
        if failing:
            self.failing = max(ulp, self.failing or 0.0)
        else:
            self.passing = max(ulp, self.passing or 0.0)


@dataclass
class Accuracy:
    """The largest errors of one backend, by operator and by (dtype, quantity)."""

    dtypes: list[str]
    ops: dict[str, dict[tuple[str, str], Ulp]]


DTYPES = ("float64", "float32", "bfloat16", "float16")


def accuracy(results: Iterable[Row], order: Iterable[str]) -> Accuracy:
    """Measure the defined domain only: elsewhere a ULP says little."""
    found: dict[str, dict[tuple[str, str], Ulp]] = defaultdict(lambda: defaultdict(Ulp))
    for row in results:
        if row["status"] not in ("pass", *FAILING) or row.get("domain", "defined") != "defined":
            continue
        quantity = "gradient" if str(row["check"]).startswith("grad.") else "output"
        dtype = dtype_of(row["case"])
        if dtype:
            found[row["op"]][dtype, quantity].add(row)
    dtypes = in_order({dtype for cells in found.values() for dtype, _ in cells}, DTYPES)
    return Accuracy(dtypes, {op: found[op] for op in in_order(found, order)})
