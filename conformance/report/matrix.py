"""The matrix: operators × APIs, each cell `output | gradient`, the domains apart. Pure."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from conformance.report.facts import DOMAINS, FAILING, KINDS, Facts, in_order, multiple, number
from conformance.stream import Row

QUANTITIES = ("output", "gradient")
JUDGED = ("pass", *FAILING)


@dataclass
class Cell:
    """All judged results of one API on one quantity in one domain."""

    failing: int = 0
    total: int = 0
    unexpected: int = 0
    worst: float | None = None
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        """Count one judged result."""
        self.total += 1
        ratio = number(row.get("error_over_bound"))
        if ratio is not None and row.get("compared"):
            self.worst = max(ratio, self.worst or 0.0)
        if row["status"] in FAILING:
            self.failing += 1
            self.unexpected += row.get("outcome") != "known"
            self.kinds[row.get("kind") or row["status"]] += 1

    @property
    def shown_worst(self) -> str:
        """The largest error as a multiple of its bound."""
        return multiple(self.worst)

    @property
    def why(self) -> str:
        """Name the kinds of failure, most frequent first."""
        return ", ".join(f"{KINDS.get(kind, kind)} {count:,}" for kind, count in self.kinds.most_common())


@dataclass
class ApiLine:
    """One API of one operator: its cells by (domain, quantity), and what was not judged."""

    api: str
    cells: dict[tuple[str, str], Cell] = field(default_factory=lambda: defaultdict(Cell))
    others: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        """Count one result of this API."""
        if row["status"] not in JUDGED:
            self.others[row["status"]] += 1
            return
        domain = row.get("domain", "defined")
        gradient = str(row["check"]).startswith("grad.")
        quantity = "any" if domain == "undefined" else "gradient" if gradient else "output"
        self.cells[domain, quantity].add(row)

    def cell(self, domain: str, quantity: str) -> Cell:
        """Return a cell, an empty one where nothing was judged."""
        return self.cells.get((domain, quantity)) or Cell()

    @property
    def missing(self) -> int:
        """How many results are due to us: not run, or harness faults."""
        return self.others["notrun"] + self.others["harness"]


@dataclass
class OpTable:
    """The matrix of one operator: lines of APIs by backend."""

    op: str
    summary: str
    backends: dict[str, list[ApiLine]]
    failing: int
    total: int
    domains: Counter[str]


def matrix(facts: Facts, summaries: dict[str, str]) -> list[OpTable]:
    """Return a table per operator, its APIs in the order of the stream, grouped by backend."""
    ops: dict[str, dict[str, dict[str, ApiLine]]] = {}
    domains: dict[str, Counter[str]] = defaultdict(Counter)
    for row in facts.results:
        lines = ops.setdefault(row["op"], {}).setdefault(row["backend"], {})
        lines.setdefault(row["api"], ApiLine(row["api"])).add(row)
        domains[row["op"]][row.get("domain", "defined")] += 1
    order = [row["backend"] for row in facts.backends]
    return [_table(op, summaries.get(op, ""), ops[op], order, domains[op]) for op in ops]


def _table(
    op: str, summary: str, lines: dict[str, dict[str, ApiLine]], order: list[str], domains: Counter[str]
) -> OpTable:
    backends = {name: list(lines[name].values()) for name in in_order(lines, order)}
    cells = [cell for group in backends.values() for line in group for cell in line.cells.values()]
    in_domains = Counter({domain: domains[domain] for domain in DOMAINS})
    return OpTable(
        op, summary, backends, sum(c.failing for c in cells), sum(c.total for c in cells), in_domains
    )
