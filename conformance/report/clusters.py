"""Refusals and crashes that say the same, whatever the numbers and shapes in their messages. Pure."""

import re
from collections import Counter
from dataclasses import dataclass, field

from conformance.report.facts import FAILING
from conformance.stream import Row

# In this order: a quoted word may hold numbers, an address is one, and a shape is made of them.
_VARYING = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"0x[0-9a-fA-F]+"), "…"),
    (re.compile(r"`[^`\n]*`|\"[^\"\n]*\"|(?<!\w)'[^'\n]*'"), "'…'"),
    (re.compile(r"\b(b?float|complex|u?int)\d+\b|\bbool\b", re.IGNORECASE), "dtype"),
    (re.compile(r"[\[({]\s*(?:[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?\s*,?\s*)+[\])}]"), "[…]"),
    (re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"), "N"),
    (re.compile(r"(\w*_)\d+\b"), r"\1N"),
    (re.compile(r"\bdtype(?:,? dtype)+"), "dtype …"),
    (re.compile(r"\bN(?:, N)+"), "N, …"),
    (re.compile(r"-{4,}|={4,}"), " "),
    (re.compile(r"\s+"), " "),
    (re.compile(r"(\S.{6,60}?[;,]) ?(?:\1 ?)+"), r"\1 … "),
)
KEPT = 300


@dataclass
class Cluster:
    """Failing results of one backend with one message."""

    backend: str
    what: str
    message: str
    example: Row
    rows: int = 0
    cases: set[str] = field(default_factory=set)
    apis: Counter[str] = field(default_factory=Counter)
    ops: set[str] = field(default_factory=set)
    unexpected: int = 0


def normalised(message: str) -> str:
    """Replace what varies from case to case: quoted words, addresses, dtypes, shapes, numbers."""
    # A message of a compiled framework may run to pages of stack; what it is about stands in front.
    text = message[:4000]
    for pattern, placeholder in _VARYING:
        text = pattern.sub(placeholder, text)
    return text.strip()[:KEPT]


def clusters(results: list[Row]) -> list[Cluster]:
    """Group the failing results that raised, crashed or hung: unexpected first, then those of most cases."""
    found: dict[tuple[str, str, str], Cluster] = {}
    seen: dict[str, str] = {}
    for row in results:
        error = row.get("error")
        if not error or row["status"] not in FAILING:
            continue
        what = str(error.get("exception") or error.get("signal") or row["status"])
        said = str(error.get("message") or row.get("message") or "")
        if said not in seen:
            seen[said] = normalised(said)
        key = (row["backend"], what, seen[said])
        each = found.setdefault(key, Cluster(*key, example=row))
        each.rows += 1
        each.cases.add(row["case"])
        each.apis[row["api"]] += 1
        each.ops.add(row["op"])
        if (row.get("outcome") or "ok") != "known":
            each.example = row if not each.unexpected else each.example
            each.unexpected += 1
    return sorted(found.values(), key=lambda c: (-bool(c.unexpected), -len(c.cases), c.backend, c.message))
