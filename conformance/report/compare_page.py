"""The page that compares a run with an earlier one: what newly fails, first."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from conformance.changes import LISTS, Change, Changes
from conformance.changes_groups import ABOUT, TITLES, Group, grouped, tallied, verdict, way
from conformance.report import links
from conformance.report.facts import shorten
from conformance.report.site import Page, Site

MOST_GROUPS = {"newly_failing": 200}
OTHER_GROUPS = 50
MOST_CASES = {"newly_failing": 40}
OTHER_CASES = 12
MOST_IDS = 3000
"""Of all ids on the page: it stays below a megabyte, and `--format json` has the rest."""
OPEN_GROUPS = 3
BADGES = {"newly_failing": "regression", "newly_passing": "pass", "changed_kind": "known"}
ONE_SIDED = ("added", "removed")

Link = Callable[[str, str], str]


@dataclass(frozen=True)
class Shown:
    """A group as the page shows it: its first cases, each with its page if the site has one."""

    group: Group
    cases: list[tuple[str, str]]
    hidden: int
    open: bool = False

    @property
    def what(self) -> str:
        """What became what."""
        return way(self.group)

    @property
    def message(self) -> str:
        """What the run said of one of its cases."""
        return shorten(self.group.message, 300)


@dataclass(frozen=True)
class Section:
    """One list of changes."""

    name: str
    title: str
    about: str
    badge: str
    count: int
    shown: list[Shown] = field(default_factory=list)
    hidden: int = 0
    tally: list[tuple[str, str, int, int]] = field(default_factory=list)


def pages(site: Site) -> Iterator[Page]:
    """Yield the comparison, if the site has one."""
    if site.changes is None:
        return

    def link(case: str, api: str) -> str:
        return links.discrepancy_page(case, api) if (case, api) in site.discrepancies else ""

    yield Page(links.COMPARE, "compare.html", _context(site.changes, link))


def _context(changes: Changes, link: Link) -> dict[str, object]:
    budget = [MOST_IDS]
    listed = changes.listed()
    sections = [_section(name, listed[name], link, budget) for name in LISTS if listed[name]]
    return {"changes": changes, "verdict": verdict(changes), "sections": sections}


def _section(name: str, found: tuple[Change, ...], link: Link, budget: list[int]) -> Section:
    badge = BADGES.get(name, "")
    if name in ONE_SIDED:
        tally = tallied(found)
        return Section(name, TITLES[name], ABOUT[name], badge, len(found), tally=tally[:MOST_IDS])
    groups = grouped(found)
    most = MOST_GROUPS.get(name, OTHER_GROUPS)
    shown = [_shown(name, group, link, budget, place) for place, group in enumerate(groups[:most])]
    return Section(name, TITLES[name], ABOUT[name], badge, len(found), shown, len(groups) - len(shown))


def _shown(name: str, group: Group, link: Link, budget: list[int], place: int) -> Shown:
    ids = [case for case in group.cases if case]
    few = ids[: min(MOST_CASES.get(name, OTHER_CASES), budget[0])]
    budget[0] -= len(few)
    cases = [(case, next(filter(None, (link(case, api) for api in group.apis)), "")) for case in few]
    return Shown(group, cases, len(ids) - len(few), name == "newly_failing" and place < OPEN_GROUPS)
