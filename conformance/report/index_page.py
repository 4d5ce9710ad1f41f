"""The index: is anything unexpected, what ran, where each framework stands, the matrix, equal errors."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from conformance.report.clusters import Cluster, clusters
from conformance.report.facts import KINDS, in_order
from conformance.report.links import INDEX, family_page
from conformance.report.matrix import ApiLine, OpTable, matrix
from conformance.report.others import Surprise, answer, claims_id, surprises
from conformance.report.site import Page, Site
from conformance.report.verdicts import ABOUT, SHOWS, marks, standings

MOST_SURPRISES = 40
MOST_CLUSTERS = 25
MOST_LINES = 600  # of the matrix on one page; an operator with more keeps its table whole


def pages(site: Site) -> Iterator[Page]:
    """Yield the index, and the matrix by family where it is too large for one page."""
    facts = site.facts
    tables = matrix(facts, {op.name: op.summary for op in site.suite}, marks(facts))
    plan = arrange(tables)
    yield Page(INDEX, "index.html", _answer(site) | _overview(site) | _matrix(plan, tables))
    for path, members in plan.pages.items():
        context = _filters(members) | {"family": members[0].family or "other", "tables": members}
        yield Page(path, "family.html", context | {"claims_id": claims_id})


@dataclass
class Plan:
    """Where the tables of the matrix stand."""

    here: list[OpTable]
    folded: list[OpTable]
    pages: dict[str, list[OpTable]]

    @property
    def place(self) -> dict[str, str]:
        """The page of each operator's table that does not stand on the index."""
        return {table.op: path for path, tables in self.pages.items() for table in tables}


def arrange(tables: list[OpTable], most: int = MOST_LINES) -> Plan:
    """Keep the index small: fold operators that conform everywhere, then split what is left by family.

    Args:
        tables: one an operator.
        most: lines that one page may have.

    """
    if sum(len(table.lines) for table in tables) <= most:
        return Plan(tables, [], {})
    folded = [table for table in tables if table.conforms]
    rest = [table for table in tables if not table.conforms]
    if sum(len(table.lines) for table in rest) <= most:
        return Plan(rest, folded, {})
    families: dict[str, list[list[OpTable]]] = defaultdict(lambda: [[]])
    for table in rest:
        parts = families[table.family]
        if parts[-1] and sum(len(each.lines) for each in [*parts[-1], table]) > most:
            parts.append([])
        parts[-1].append(table)
    placed = {
        family_page(family or "other", number): part
        for family, parts in families.items()
        for number, part in enumerate(parts, 1)
    }
    return Plan([], folded, placed)


def _answer(site: Site) -> dict[str, Any]:
    """Return what the page says first: whether anything is unexpected, and what."""
    found = surprises(site.facts, site.groups, site.entries)
    beyond = found[MOST_SURPRISES:]
    return {
        "answer": answer(site.facts, found),
        "surprises": found[:MOST_SURPRISES],
        "more_surprises": len(beyond),
        "backends_with_more": in_order(
            (each.backend for each in beyond if each.backend), [row["backend"] for row in site.facts.backends]
        ),
        "examples": _examples(site, found[:MOST_SURPRISES]),
    }


def _examples(site: Site, found: list[Surprise]) -> list[list[tuple[str, str]]]:
    """Share the links to discrepancies among the surprises: as many as the list has room for."""
    share = max(1, MOST_SURPRISES // max(1, len(found)))
    return [[key for key in each.examples if key in site.discrepancies][:share] for each in found]


def _overview(site: Site) -> dict[str, Any]:
    """Return the standing of each backend and the clusters of equal errors."""
    found = clusters(site.facts.results)
    behind: dict[str, list[Cluster]] = defaultdict(list)
    for each in found[MOST_CLUSTERS:]:
        behind[each.backend].append(each)
    return {
        "standings": standings(site.facts, {name: entry.reason for name, entry in site.entries.items()}),
        "clusters": found[:MOST_CLUSTERS],
        "more_clusters": {backend: len(each) for backend, each in behind.items()},
    }


def _matrix(plan: Plan, tables: list[OpTable]) -> dict[str, Any]:
    """Return the tables of the index, the operators that stand elsewhere, and the filters."""
    elsewhere = [table for members in plan.pages.values() for table in members]
    return _filters(elsewhere or plan.here) | {
        "tables": plan.here,
        "every_table": tables,
        "folded": plan.folded,
        "elsewhere": elsewhere,
        "place": plan.place,
        "claims_id": claims_id,
        "op_joint": {table.op: _joint(table.lines) for table in elsewhere},
    }


def _joint(lines: list[ApiLine]) -> str:
    """Write what the filter may ask of an operator as a whole."""
    return ";".join(sorted({one for line in lines for one in line.joint.split(";") if one}))


def _filters(tables: list[OpTable]) -> dict[str, Any]:
    """Return the canned filters with their counts, and the choices of the selects."""
    lines = [line for table in tables for line in table.lines]
    counted = {
        name: (
            sum(bool(line.marks.counts[name]) for line in lines),
            sum(line.marks.counts[name] for line in lines),
        )
        for name in SHOWS
    }
    words = {each for line in lines for one in line.marks.sets for each in one}
    choices = {
        "family": sorted({table.family for table in tables if table.family}),
        "backend": list(dict.fromkeys(name for table in tables for name in table.backends)),
        "dtype": sorted({dtype for line in lines for dtype in line.dtypes if dtype}),
        "kind": [kind for kind in KINDS if kind in words],
    }
    return {
        "canned": [(name, said, ABOUT[name], *counted[name]) for name, said in SHOWS.items()],
        "choices": {name: found for name, found in choices.items() if len(found) > 1},
    }
