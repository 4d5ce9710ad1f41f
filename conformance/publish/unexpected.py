"""The unexpected, in groups and the worst first: what all forms of publication lead with. Pure."""

import shlex
from dataclasses import dataclass, field

from conformance.report.facts import DOMAINS, KINDS, Facts, number, unexpected
from conformance.stream import Row

SEVERITY = ("harness", "crash", "timeout", "error", "fail", "refuted", "stale", "notrun")
CONFORMS_NOW = "conforms, though the ledger says it fails"
HOLDS_NOW = "holds, though the ledger says it is refuted"
MATCHES_NOTHING = "ledger entry that matches nothing"
NOT_RUN = "not run"


@dataclass
class Surprise:
    """Unexpected rows of one API of one operator that are alike."""

    rank: int
    op: str
    api: str
    what: str
    backend: str = ""
    """As it is asked for, with its mode and device."""
    rows: list[Row] = field(default_factory=list)

    @property
    def worst(self) -> Row:
        """The row to look at first: the surest accusation, then the largest error."""
        return min(self.rows, key=lambda row: (_domain(row), -(number(row.get("error_over_bound")) or 0.0)))

    @property
    def case(self) -> str:
        """The case of the worst row; empty for what has none."""
        return str(self.worst.get("case") or "")

    @property
    def check(self) -> str:
        """What the worst row is about."""
        row = self.worst
        named = {"claim": f"claim.{row.get('claim')}", "ledger": str(row.get("ledger"))}
        return named.get(str(row["type"]), str(row.get("check") or ""))

    @property
    def message(self) -> str:
        """What the worst row says."""
        return said(self.worst)

    @property
    def command(self) -> str:
        """The command that shows it again; empty where there is nothing to call."""
        if self.worst["type"] == "ledger" or not self.op:
            return ""
        return command(self.worst, self.backend)


def command(row: Row, backend: str) -> str:
    """Return the command that asks the same question again of a backend, named as it is asked for."""
    start, api = f"conformance run --backend {shlex.quote(backend)}", shlex.quote(str(row["api"]))
    if row["type"] == "claim":
        return f"{start} --api {api} --op {shlex.quote(str(row['op']))}"
    return f"{start} --api {api} -k {shlex.quote(str(row['case']))}"


def said(row: Row) -> str:
    """Return what a row says; of an exception, the first line with a word, for some begin with a rule."""
    if row["type"] == "claim":
        return str(row.get("why") or "")
    message, error = str(row.get("message") or ""), row.get("error") or {}
    lines = [line for line in str(error.get("message") or "").splitlines() if any(map(str.isalnum, line))]
    if lines and error.get("exception") and not any(line in message for line in lines[:1]):
        return f"raised {error['exception']} at {error.get('phase')}: {lines[0]}"
    return message


def what(row: Row) -> str:
    """Say in words what is wrong with an unexpected row."""
    if row["type"] == "ledger":
        return MATCHES_NOTHING
    if row["type"] == "claim":
        return HOLDS_NOW if row["outcome"] == "stale" else "document refuted"
    if row["outcome"] == "stale":
        return CONFORMS_NOW
    if row["status"] == "notrun":
        return NOT_RUN
    if row["status"] == "harness":
        return "harness fault"
    kind = str(row.get("kind") or row["status"])
    return KINDS.get(kind, kind)


def surprises(facts: Facts) -> list[Surprise]:
    """Group the unexpected by operator, API and what is wrong; the most severe first, then as they ran."""
    found: dict[tuple[str, ...], Surprise] = {}
    for row in (*facts.results, *facts.claims, *facts.ledger):
        if not unexpected(row):
            continue
        rank, said = _rank(row), what(row)
        op, api = str(row.get("op") or ""), str(row.get("api") or row["backend"])
        if row["type"] == "ledger":
            key: tuple[str, ...] = (said, str(row["ledger"]))
        elif said == NOT_RUN:  # one backend that is gone is one fact, whatever it was to run
            op, api = "", str(row["backend"])
            key = (said, api)
        else:
            key = (said, op, api)
        found.setdefault(key, Surprise(rank, op, api, said, facts.title(row["backend"]))).rows.append(row)
    return sorted(found.values(), key=lambda group: (group.rank, _domain(group.worst)))


def _rank(row: Row) -> int:
    if row["type"] == "ledger" or row["outcome"] == "stale":
        return SEVERITY.index("stale")
    named = "refuted" if row["type"] == "claim" else str(row["status"])
    return SEVERITY.index(named) if named in SEVERITY else SEVERITY.index("fail")


def _domain(row: Row) -> int:
    domain = row.get("domain")
    return DOMAINS.index(domain) if domain in DOMAINS else len(DOMAINS)


def incomplete(facts: Facts) -> list[str]:
    """Say why a run is no whole run; nothing where it is."""
    said = [f"{row['backend']} was lost: {row['lost']}" for row in facts.lost]
    if not facts.end:
        said.append("the stream has no end: the run did not finish")
    elif not facts.complete and not said:
        said.append("a backend did not answer to the end")
    return said
