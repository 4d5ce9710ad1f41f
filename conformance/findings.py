"""What a run found, as a table in Markdown: one row an operator, one column a framework."""

from collections import Counter, defaultdict
from typing import Any

from conformance.adapters import BACKENDS
from conformance.backends import titled
from conformance.errors import UsageError
from conformance.ledger import FAILING, Ledger
from conformance.load import Operator

BEGIN, END = "<!-- findings: begin -->", "<!-- findings: end -->"
Row = dict[str, Any]


def findings(rows: list[Row], suite: list[Operator], ledger: Ledger) -> str:
    """Return the table: per op its cases and APIs, and per framework `mechanisms / failing checks`.

    A mechanism is a reason of the ledger, however many entries it takes; what reads memory that nobody
    wrote varies from run to run and is left out of the count of checks. Unexplained failures are named.
    """
    ran = {row["backend"]: row for row in rows if row["type"] == "backend"}
    titles = {name: f"{titled(row)} {row['version'].partition('+')[0]}" for name, row in ran.items()}
    reasons = {e.id: e.reason for entries in ledger.entries.values() for e in entries}
    mechanisms: dict[tuple[str, str], set[str]] = defaultdict(set)
    failing: Counter[tuple[str, str]] = Counter()
    refuted: Counter[tuple[str, str]] = Counter()
    unexplained: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if row["type"] == "result" and (row["status"] in FAILING or row["nondeterministic"]):
            _count(row, (row["op"], row["backend"]), reasons, mechanisms, failing, unexplained)
        elif row["type"] == "claim" and row["verdict"] == "refuted":
            refuted[row["op"], row["backend"]] += 1
    heading = " | ".join(titles.get(name, name).strip() for name in BACKENDS)
    lines = [f"| operator | cases × APIs | {heading} |", f"|---|---|{'---|' * len(BACKENDS)}"]
    for op in suite:
        cells = []
        for name in BACKENDS:
            key = (op.name, name)
            parts = [f"{len(mechanisms[key])} / {failing[key]}"] if mechanisms[key] else []
            parts += [f"{refuted[key]} refuted"] if refuted[key] else []
            parts += [f"**{unexplained[key]} unexplained**"] if unexplained[key] else []
            bound = any(api.backend == name for api in op.apis)
            cells.append(", ".join(parts) or ("✓" if bound else "–"))
        lines.append(f"| `{op.name}` | {len(op.cases)} × {len(op.apis)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _count(
    row: Row,
    key: tuple[str, str],
    reasons: dict[str, str],
    mechanisms: dict[tuple[str, str], set[str]],
    failing: Counter[tuple[str, str]],
    unexplained: Counter[tuple[str, str]],
) -> None:
    if row["ledger"] in reasons:
        mechanisms[key].add(reasons[row["ledger"]])
        failing[key] += not row["nondeterministic"]
    else:
        unexplained[key] += 1


def rewritten(text: str, table: str) -> str:
    """Put a table between the marks of a document.

    Raises:
        UsageError: the document has no such marks.

    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"the document has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"
