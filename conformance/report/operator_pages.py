"""The operators' pages, for a person who ports a model: what is defined, what each API does with it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from textwrap import shorten
from typing import Any

from conformance.globs import after_op, glob
from conformance.load import Operator
from conformance.report import links
from conformance.report.accuracy import accuracy
from conformance.report.camps import Camp
from conformance.report.conventions import conventions
from conformance.report.facts import DOMAINS, FAILING, in_order
from conformance.report.formula import sources, typeset
from conformance.report.groups import Group
from conformance.report.mapping import mapping
from conformance.report.matrix import ApiLine
from conformance.report.others import ApiClaims, Observation, claims_by_api, observations
from conformance.report.parameters import coverage
from conformance.report.site import Page, Site
from conformance.stream import Row

OBSERVED_IN_PAGE = 250_000  # characters of observations that an operator's page carries itself
FIRST_CASES = 3
REASON = 260  # characters of a ledger's reason in a list


def pages(site: Site) -> Iterator[Page]:
    """Yield the page of every operator that the stream has results or claims of."""
    index = Index(site)
    for op in index.names:
        yield from _pages(site, index, op)


def _pages(site: Site, index: "Index", op: str) -> Iterator[Page]:
    order = [str(row["backend"]) for row in site.facts.backends]
    rows, known = index.rows[op], site.ops.get(op)
    lines = api_lines(rows, order)
    observed = patterns(index.observed[op])
    apart = links.op_page(f"{op}-observed") if _length(observed) > OBSERVED_IN_PAGE else ""
    standings = standing(site.facts.backends, lines, index.claims[op])
    context: dict[str, Any] = {
        "op": op,
        "known": known,
        "formula": typeset(known.decl.formula) if known else [],
        "sources": sources(known.definition) if known else [],
        "mapping": mapping(known, order) if known else None,
        "coverage": coverage(known) if known else None,
        "standing": standings,
        "domains_counted": domains_counted(rows),
        "lines": lines,
        "differences": differences(known, rows) if known else [],
        "mechanisms": mechanisms(index.groups[op], order),
        "conventions": conventions(rows, order),
        "accuracy": accuracy(rows, site.library.cases, order),
        "claims": index.claims[op],
        "observed": observed,
        "observed_apart": apart,
        "discrepancies": site.discrepancies,
    }
    yield Page(links.op_page(op), "operator.html", context)
    if apart:
        yield Page(apart, "operator_observed.html", context)


class Index:
    """The stream by operator, gone through once for all pages."""

    def __init__(self, site: Site) -> None:
        self.rows: dict[str, list[Row]] = defaultdict(list)
        for row in site.facts.results:
            self.rows[row["op"]].append(row)
        self.groups: dict[str, list[Group]] = defaultdict(list)
        for each in site.groups:
            self.groups[each.op].append(each)
        self.claims: dict[str, list[ApiClaims]] = defaultdict(list)
        for claim in claims_by_api(site.facts.claims):
            self.claims[claim.op].append(claim)
        self.observed: dict[str, list[Observation]] = defaultdict(list)
        for found in observations(site.facts).values():
            for one in found:
                self.observed[one.op].append(one)

    @cached_property
    def names(self) -> list[str]:
        """The operators of the stream, sorted."""
        return sorted({*self.rows, *self.claims})


def api_lines(rows: Iterable[Row], order: list[str]) -> dict[str, list[ApiLine]]:
    """Return a line of the matrix for each API, by backend."""
    lines: dict[str, dict[str, ApiLine]] = {}
    for row in rows:
        lines.setdefault(row["backend"], {}).setdefault(row["api"], ApiLine(row["api"])).add(row)
    return {backend: list(lines[backend].values()) for backend in in_order(lines, order)}


def domains_counted(rows: Iterable[Row]) -> dict[str, int]:
    """Count the results by domain."""
    counted = Counter(row.get("domain", "defined") for row in rows)
    return {domain: counted[domain] for domain in DOMAINS}


@dataclass(frozen=True)
class Standing:
    """Where one backend stands on one operator."""

    backend: str
    apis: int
    failing: int = 0
    judged: int = 0
    unexpected: int = 0
    missing: int = 0
    refuted: int = 0
    lost: str = ""

    @property
    def state(self) -> str:
        """The status to show: the worst first."""
        if self.lost:
            return "lost"
        if self.unexpected or self.missing:
            return "regression"
        return "known" if self.failing else "pass" if self.judged else "unsupported"


def standing(backends: list[Row], lines: dict[str, list[ApiLine]], claims: list[ApiClaims]) -> list[Standing]:
    """Return where each backend of the run stands, those without an API of the operator left out."""
    found = []
    for row in backends:
        name = row["backend"]
        cells = [cell for line in lines.get(name, []) for cell in line.cells.values()]
        refuted = sum(len(each.of("refuted")) for each in claims if each.backend == name)
        if name in lines or refuted or row.get("lost"):
            one = Standing(
                backend=name,
                apis=len(lines.get(name, [])),
                failing=sum(cell.failing for cell in cells),
                judged=sum(cell.total for cell in cells),
                unexpected=sum(cell.unexpected for cell in cells),
                missing=sum(line.missing for line in lines.get(name, [])),
                refuted=refuted,
                lost=row.get("lost") or "",
            )
            found.append(one)
    return found


@dataclass
class Proof:
    """The cases that prove a difference, and the results among them that have a page."""

    pattern: str
    cases: int
    failing: dict[str, str] = field(default_factory=dict)
    """The first failing case of each API."""


def differences(op: Operator, rows: list[Row]) -> list[tuple[str, list[Proof]]]:
    """Return each semantic difference with its proving cases."""
    failing = [row for row in rows if row["status"] in FAILING]
    found = []
    for each in op.decl.differences:
        proofs = []
        for pattern in each.cases:
            proof = Proof(pattern, sum(glob(pattern, after_op(case.id)) for case in op.cases))
            for row in failing:
                if glob(pattern, after_op(row["case"])):
                    proof.failing.setdefault(row["api"], row["case"])
            proofs.append(proof)
        found.append((each.says, proofs))
    return found


@dataclass
class Mechanism:
    """All that one backend gets wrong for one reason on one operator."""

    backend: str
    known: bool
    groups: list[Group] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """`known` or `regression`."""
        return "known" if self.known else "regression"

    @property
    def reason(self) -> str:
        """The gist of the ledger's reason, empty where there is none."""
        whole = next((each.entry.reason for each in self.groups if each.entry), "")
        return shorten(whole, width=REASON, placeholder=" …")

    @property
    def causes(self) -> list[str]:
        """The ledger's entries, or the cases that are not in it: each has a page."""
        return list(dict.fromkeys(each.cause for each in self.groups))

    @property
    def results(self) -> int:
        """How many results it hits."""
        return sum(len(each.rows) for each in self.groups)

    @property
    def places(self) -> dict[str, list[str]]:
        """The first failing cases of each API, in the order of the stream."""
        found: dict[str, dict[str, None]] = {}
        for row in (row for each in self.groups for row in each.rows):
            cases = found.setdefault(row["api"], {})
            if len(cases) < FIRST_CASES:
                cases.setdefault(row["case"])
        return {api: list(cases) for api, cases in found.items()}


def mechanisms(groups: list[Group], order: list[str]) -> list[Mechanism]:
    """Unite groups of one backend and reason: unexpected first, then in the order of the backends."""
    found: dict[tuple[str, str, bool], Mechanism] = {}
    for each in groups:
        key = (each.backend, each.entry.reason if each.entry else each.cause, each.known)
        found.setdefault(key, Mechanism(each.backend, each.known)).groups.append(each)
    place = {name: i for i, name in enumerate(in_order({each.backend for each in groups}, order))}
    return sorted(found.values(), key=lambda one: (one.known, place[one.backend], -one.results, one.causes))


@dataclass
class Pattern:
    """Questions that every API answered in the same way."""

    domain: str
    camps: list[Camp]
    questions: dict[str, list[str]] = field(default_factory=dict)
    """The cases by check."""


def patterns(observed: list[Observation]) -> list[Pattern]:
    """Put questions together that the same APIs answered in the same ways."""
    found: dict[tuple[object, ...], Pattern] = {}
    for one in observed:
        key = (one.domain, *((camp.status, camp.said, *camp.apis) for camp in one.camps))
        pattern = found.setdefault(key, Pattern(one.domain, one.camps))
        pattern.questions.setdefault(one.check, []).append(one.case)
    return sorted(found.values(), key=lambda each: DOMAINS.index(each.domain))


def _length(observed: list[Pattern]) -> int:
    """Estimate how many characters the observations take in a page."""
    said = sum(len(camp.said) + sum(map(len, camp.apis)) * 2 for each in observed for camp in each.camps)
    cases = sum(len(case) + 24 for each in observed for cases in each.questions.values() for case in cases)
    return said + cases
