"""The matrix: operators × APIs, each cell `output | gradient`, the domains apart. Pure."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from conformance.report.facts import DOMAINS, FAILING, KINDS, Facts, in_order, multiple, number, plural
from conformance.report.verdicts import Marks, Place, dtype_of
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
    def state(self) -> str:
        """`pass`, `known` if the ledger knows every failure, else `regression`."""
        return "pass" if not self.failing else "regression" if self.unexpected else "known"

    @property
    def why(self) -> str:
        """Name the most frequent kind of failure, and how many others there are."""
        if not self.kinds:
            return ""
        kind, count = min(self.kinds.items(), key=lambda each: (-each[1], each[0]))
        others = len(self.kinds) - 1
        said = f"{KINDS.get(kind, kind)} {count:,}"
        return f"{said}, {plural(others, 'other kind')}" if others else said


@dataclass
class ApiLine:
    """One API of one operator: its cells by (domain, quantity), and what was not judged."""

    api: str
    cells: dict[tuple[str, str], Cell] = field(default_factory=lambda: defaultdict(Cell))
    others: Counter[str] = field(default_factory=Counter)
    dtypes: set[str] = field(default_factory=set)
    marks: Marks = field(default_factory=Marks)

    def add(self, row: Row) -> None:
        """Count one result of this API."""
        if row["status"] not in JUDGED:
            self.others[row["status"]] += 1
            return
        self.dtypes.add(dtype_of(row["case"]))
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

    @property
    def joint(self) -> str:
        """What the filter may ask of this line: its dtypes, and flags with dtype and kind together."""
        marked = self.marks.joint
        bare = sorted(
            dtype for dtype in self.dtypes if dtype and dtype not in marked.replace(";", " ").split()
        )
        return ";".join(filter(None, (marked, *bare)))

    @property
    def judged(self) -> int:
        """How many results of this API were judged."""
        return sum(cell.total for cell in self.cells.values())

    @property
    def failing(self) -> int:
        """How many of them fail."""
        return sum(cell.failing for cell in self.cells.values())

    @property
    def unexpected(self) -> int:
        """How many of them the ledger does not know."""
        return sum(cell.unexpected for cell in self.cells.values())


@dataclass
class OpTable:
    """The matrix of one operator: lines of APIs by backend."""

    op: str
    family: str
    summary: str
    backends: dict[str, list[ApiLine]]
    failing: int
    total: int
    domains: Counter[str]

    @property
    def lines(self) -> list[ApiLine]:
        """All lines, of every backend."""
        return [line for lines in self.backends.values() for line in lines]

    @property
    def conforms(self) -> bool:
        """Whether there is nothing to say of any API but how much conforms."""
        return not any(line.failing or line.missing or line.marks.sets for line in self.lines)

    @property
    def state(self) -> str:
        """`pass`, `known` or `regression`, of all lines together."""
        if any(line.unexpected or line.missing or line.marks.counts["unexpected"] for line in self.lines):
            return "regression"
        return "known" if self.failing else "pass"


def matrix(
    facts: Facts, summaries: dict[str, str], marked: dict[Place, Marks] | None = None
) -> list[OpTable]:
    """Return a table per operator, its APIs in the order of the stream, grouped by backend."""
    families: dict[str, str] = {}
    ops: dict[str, dict[str, dict[str, ApiLine]]] = {}
    domains: dict[str, Counter[str]] = defaultdict(Counter)
    for row in facts.results:
        lines = ops.setdefault(row["op"], {}).setdefault(row["backend"], {})
        lines.setdefault(row["api"], ApiLine(row["api"])).add(row)
        domains[row["op"]][row.get("domain", "defined")] += 1
        families.setdefault(row["op"], row.get("family") or "")
    for (op, api), marks in (marked or {}).items():
        for lines in ops.get(op, {}).values():
            if api in lines:
                lines[api].marks = marks
    order = [row["backend"] for row in facts.backends]
    return [
        _table(OpTable(op, families[op], summaries.get(op, ""), {}, 0, 0, domains[op]), ops[op], order)
        for op in ops
    ]


def _table(table: OpTable, lines: dict[str, dict[str, ApiLine]], order: list[str]) -> OpTable:
    table.backends = {name: list(lines[name].values()) for name in in_order(lines, order)}
    table.failing = sum(line.failing for line in table.lines)
    table.total = sum(line.judged for line in table.lines)
    table.domains = Counter({domain: table.domains[domain] for domain in DOMAINS})
    return table
