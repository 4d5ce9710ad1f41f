"""What is neither pass nor discrepancy: claims, observations, declared limits; and the first answer. Pure."""

from collections import defaultdict
from dataclasses import dataclass, field

from conformance.ledger import Entry
from conformance.load import Operator
from conformance.report.camps import Camp, camps
from conformance.report.facts import DOMAINS, FAILING, Facts, plural, shorten, unexpected
from conformance.report.groups import Group
from conformance.report.links import CLAIMS, LEDGER, mechanism_page, slug
from conformance.stream import Row

VERDICTS = ("refuted", "confirmed", "untestable", "notrun")
ENTRY = "ledger entry "


@dataclass
class ApiClaims:
    """The claims about one API, by verdict."""

    op: str
    api: str
    backend: str
    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))

    def of(self, verdict: str) -> list[Row]:
        """Return the claims with that verdict."""
        return self.rows.get(verdict, [])

    @property
    def id(self) -> str:
        """Name the place of these claims in the page."""
        return claims_id(self.op, self.api)

    @property
    def sources(self) -> list[str]:
        """The documents that the claims are from."""
        return list(dict.fromkeys(str(row["source"]) for rows in self.rows.values() for row in rows))


def claims_id(op: str, api: str) -> str:
    """Name the place of an API's claims in the page: an id has no spaces, an API's name might."""
    return "claims-" + "".join(c if c.isalnum() else "-" for c in f"{op}-{api}")


def claims_by_api(rows: list[Row]) -> list[ApiClaims]:
    """Group the claims by API, in the order of the stream."""
    found: dict[tuple[str, str], ApiClaims] = {}
    for row in rows:
        key = (row.get("op", ""), row["api"])
        each = found.setdefault(key, ApiClaims(key[0], row["api"], row.get("backend", "")))
        each.rows[row["verdict"]].append(row)
    return list(found.values())


@dataclass
class Observation:
    """What every API did on one question that the definition leaves open."""

    domain: str
    op: str
    case: str
    check: str
    camps: list[Camp]
    count: int


def observations(facts: Facts) -> dict[str, list[Observation]]:
    """Return, by domain, every question with an observed answer; declared limits are apart."""
    found: dict[str, list[Observation]] = {domain: [] for domain in DOMAINS}
    for (case, check), rows in facts.by_question.items():
        seen = [row for row in rows if row["status"] == "observed" and not row.get("declared")]
        if seen:
            domain = seen[0].get("domain", "defined")
            one = Observation(domain, seen[0]["op"], case, check, camps(rows), len(seen))
            found.setdefault(domain, []).append(one)
    return {domain: each for domain, each in found.items() if each}


@dataclass
class Limit:
    """What an API's documentation excludes, and what the API did with it all the same."""

    api: str
    why: str
    source: str = ""
    backend: str = ""
    op: str = ""
    refused: int = 0
    conforms: int = 0
    differs: int = 0


def limits(facts: Facts, suite: list[Operator]) -> list[Limit]:
    """Return the declared limits that the run met, by operator and API."""
    sources = {(api.name, u.why): u.source for op in suite for api in op.apis for u in api.decl.unsupported}
    found: dict[tuple[str, str, str], Limit] = {}
    for row in facts.results:
        if not row.get("declared") or row["status"] not in ("unsupported", "observed"):
            continue
        api, why = row["api"], row["declared"]
        new = Limit(api, why, sources.get((api, why), ""), row["backend"], row["op"])
        limit = found.setdefault((row["op"], api, why), new)
        if row["status"] == "unsupported":
            limit.refused += 1
        elif ": conforms" in row.get("message", ""):
            limit.conforms += 1
        else:
            limit.differs += 1
    return list(found.values())


@dataclass
class Surprise:
    """One line of what is unexpected."""

    outcome: str
    title: str
    text: str
    link: str = ""
    cases: list[str] = field(default_factory=list)
    examples: list[tuple[str, str]] = field(default_factory=list)
    """(case, API) of results with a page of their own: one for each API, then more."""
    backend: str = ""


def surprises(facts: Facts, groups: list[Group], entries: dict[str, Entry]) -> list[Surprise]:
    """List everything unexpected: what failed to run first, then regressions, then stale entries."""
    found = [
        Surprise("lost", f"{r['backend']} could not be used", shorten(r["lost"], 400), backend=r["backend"])
        for r in facts.lost
    ]
    found += _results(facts, entries)
    found += [_regression(g) for g in groups if not g.known]
    for row in facts.claims:
        if unexpected(row):
            place = (
                claims_id(row.get("op") or "", row["api"]) if row["verdict"] == "refuted" else "unexpected"
            )
            link = f"{CLAIMS}#{place}"
            title = f"{row['api']}: claim {row['claim']} is {row['verdict']}"
            found.append(Surprise(row["outcome"], title, row.get("says") or "", link))
    for row in facts.ledger:
        if unexpected(row):
            link = _ledger_place(row["ledger"], entries)
            found.append(Surprise("stale", f"{ENTRY}{row['ledger']}", row.get("message", ""), link))
    order = ("lost", "harness", "notrun", "regression")
    return sorted(found, key=lambda each: order.index(each.outcome) if each.outcome in order else len(order))


def _regression(found: Group) -> Surprise:
    pages = list(dict.fromkeys((row["case"], row["api"]) for row in found.rows))
    title = f"{found.backend} {found.what}: {found.cause}"
    first = {api: (case, api) for case, api in reversed(pages)}
    examples = list(dict.fromkeys([*(first[api] for api in found.apis), *pages]))
    link = mechanism_page(found.cause)
    return Surprise("regression", title, _size(found), link, examples=examples, backend=found.backend)


def _results(facts: Facts, entries: dict[str, Entry]) -> list[Surprise]:
    """Results that are not failures of a backend: not run, harness faults, stale entries."""
    together: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for row in facts.results:
        if row["status"] in ("harness", "notrun"):
            key = (row["status"], f"{row['backend']}: {row['op']}", row.get("message", ""))
        elif row.get("outcome") == "stale":
            name = row.get("ledger") or ""
            reason = f" Its reason was: {entries[name].reason}" if name in entries else ""
            key = ("stale", f"{ENTRY}{name}", f"It says these fail; they do not.{reason}")
        elif row.get("outcome") not in ("ok", "known") and row["status"] not in FAILING:
            key = (row["outcome"], f"{row['backend']}: {row['op']}", row.get("message", ""))
        else:
            continue
        together[key].append(f"{row['case']} {row['check']} {row['api']}")
    return [
        Surprise(
            outcome,
            title,
            f"{plural(len(cases), 'result')}. {shorten(text, 400)}",
            _ledger_place(title.removeprefix(ENTRY), entries),
            cases,
        )
        for (outcome, title, text), cases in together.items()
    ]


def _ledger_place(name: str, entries: dict[str, Entry]) -> str:
    """Return the link to an entry of the ledger, empty if it has none of that name."""
    return f"{LEDGER}#{slug(name)}" if name in entries else ""


def _size(found: Group) -> str:
    worst = f", worst {found.worst} its bound" if found.worst else ""
    return f"{found.domain} domain, {found.check}: {plural(len(found.rows), 'result')}{worst}"


def answer(facts: Facts, found: list[Surprise]) -> tuple[str, str]:
    """Answer in a word and a sentence whether anything is unexpected."""
    outcomes, statuses = facts.count("outcome"), facts.count("status")
    total = plural(len(facts.results), "result")
    if not facts.results:
        return "Nothing ran", "The stream has no results, so it shows nothing about any backend."
    if found:
        wrong = "; ".join(_wrong(facts, found))
        unfinished = "" if facts.complete else " The run is not complete."
        return "Yes", f"Among {total}: {wrong}.{unfinished}"
    if not facts.complete:
        return "Cannot tell", f"The run did not finish. What it reached, {total}, is as expected."
    entries = len({row["ledger"] for row in facts.results if row.get("outcome") == "known"})
    known = f"{plural(outcomes['known'], 'failure')} known to the ledger ({plural(entries, 'entry')})"
    rest = f"{statuses['observed']:,} observed, {statuses['unsupported']:,} declared unsupported"
    return "No", f"All {total} are as expected: {statuses['pass']:,} pass, {known}, {rest}."


def _wrong(facts: Facts, found: list[Surprise]) -> list[str]:
    """Name what is unexpected, with counts, in order of how bad it is."""
    outcomes, faults = facts.count("outcome"), facts.count("status")["harness"]
    unused = sum(1 for surprise in found if surprise.outcome == "stale" and not surprise.cases)
    claims = sum(map(unexpected, facts.claims))
    counted = [
        (len(facts.lost), "lost backend"),
        (faults, "harness fault"),
        (outcomes["notrun"], "result that did not run"),
        (outcomes["regression"] - faults, "regression"),
        (outcomes["stale"] + unused, "stale ledger entry"),
        (claims, "claim with a new verdict"),
    ]
    return [_counted(count, noun) for count, noun in counted if count > 0]


def _counted(count: int, noun: str) -> str:
    head, _, tail = noun.partition(" that ")
    head, joint, more = (head, " that ", tail) if tail else noun.partition(" with ")
    return plural(count, head) + joint + more
