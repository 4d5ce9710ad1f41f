"""The ledger as a page: every known discrepancy, its age, its reason, and whether this run met it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from conformance.ledger import Entry
from conformance.report.facts import Facts
from conformance.report.links import LEDGER
from conformance.report.site import Page, Site

STATES = {
    "stale": "no longer holds",
    "unmatched": "matches nothing",
    "known": "holds",
    "varies": "varies",
    "notrun": "not run",
}
CANNED = {
    "stale": ("no longer holding", "the entry passes, or matches nothing: it has to go or to change"),
    "reported": ("reported upstream", "the entry links to the framework's tracker"),
    "unreported": ("unreported", "nobody has told the framework yet"),
    "document": ("about a document", "the entry knows a refuted claim"),
}


@dataclass
class Line:
    """One entry as the page shows it."""

    entry: Entry
    backend: str
    state: str
    results: int
    claims: int
    age: str

    @property
    def bad(self) -> bool:
        """Whether the entry no longer says what is."""
        return self.state in ("stale", "unmatched")

    @property
    def shows(self) -> list[str]:
        """The ready-made filters that keep this line."""
        holds = {
            "stale": self.bad,
            "reported": self.entry.upstream != "unreported",
            "unreported": self.entry.upstream == "unreported",
            "document": any(check.startswith("claim.") for check in self.entry.check),
        }
        return [name for name, held in holds.items() if held]


def pages(site: Site) -> Iterator[Page]:
    """Yield the one page."""
    lines = listed(site, _today(site))
    counted = Counter(name for line in lines for name in line.shows)
    canned = [(name, *CANNED[name], counted[name], counted[name]) for name in CANNED]
    choices: dict[str, Any] = {
        "backend": list(dict.fromkeys(line.backend for line in lines)),
        "op": sorted({line.entry.op for line in lines}),
    }
    context = {"lines": lines, "canned": canned, "choices": choices, "states": STATES}
    context["ran"] = {row["op"] for row in (*site.facts.results, *site.facts.claims)}
    yield Page(LEDGER, "ledger.html", context | {"bad": sum(line.bad for line in lines)})


def _today(site: Site) -> date:
    """Return the day that ages are counted to: the run's, if it says, so that a site can be built again."""
    started = str(site.facts.run.get("started") or "")
    try:
        return datetime.fromisoformat(started).date()
    except ValueError:
        return datetime.now(UTC).date()


def listed(site: Site, today: date) -> list[Line]:
    """Return a line for each entry: those that no longer hold first, then in the order of the ledger."""
    facts = site.facts
    results = Counter(str(row["ledger"]) for row in facts.results if row.get("ledger"))
    claims = Counter(str(row["ledger"]) for row in facts.claims if row.get("ledger"))
    stale = {
        str(row["ledger"])
        for row in (*facts.results, *facts.claims, *facts.ledger)
        if row.get("outcome") == "stale" and row.get("ledger")
    }
    ran = {(row["backend"], row["op"]) for row in facts.results}
    lines = [
        Line(
            entry,
            backend,
            _state(entry, stale, results[entry.id] + claims[entry.id], due=_due(facts, ran, backend, entry)),
            results[entry.id],
            claims[entry.id],
            age(entry.since, today),
        )
        for backend, entries in site.ledger.entries.items()
        for entry in entries
    ]
    return sorted(lines, key=lambda line: list(STATES).index(line.state) if line.bad else len(STATES))


def _due(facts: Facts, ran: set[tuple[str, str]], backend: str, entry: Entry) -> bool:
    """Whether an entry has to hold in what ran."""
    return (backend, entry.op) in ran and entry.holds_in(facts.variant(backend))


def _state(entry: Entry, stale: set[str], matched: int, *, due: bool) -> str:
    if entry.id in stale:
        return "stale" if matched else "unmatched"
    if matched:
        return "known"
    if entry.nondeterministic:
        return "varies"
    return "unmatched" if due else "notrun"


def age(since: str, today: date) -> str:
    """Say how old an entry is, if `since` is a date."""
    try:
        days = (today - date.fromisoformat(since)).days
    except ValueError:
        return ""
    return "1 day" if days == 1 else f"{days:,} days"
