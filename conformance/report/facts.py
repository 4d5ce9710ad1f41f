"""What a stream says, sorted by kind of row, and the words in which the report says it. Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.backends import PLAIN, Variant, titled
from conformance.fold import fold, read_run, unfold
from conformance.stream import Row

FAILING = ("fail", "error", "crash", "timeout")
BESIDES = ("mutated_input", "mutated_process")
"""Kinds of failures whose numbers conform: what is wrong is what the call did besides."""
UNEXPECTED = ("regression", "stale", "notrun", "harness")
DOMAINS = ("defined", "extended", "undefined")

GLYPHS = {
    "pass": "✓",
    "ok": "✓",
    "confirmed": "✓",
    "fail": "✗",
    "regression": "✗",
    "refuted": "✗",
    "known": "◆",
    "stale": "↻",
    "observed": "○",
    "unsupported": "–",
    "untestable": "–",
    "error": "!",
    "crash": "▼",
    "timeout": "◷",
    "notrun": "…",
    "harness": "#",
    "lost": "#",
}
WORDS = {"notrun": "not run", "harness": "harness fault", "ok": "as expected"}

KINDS = {
    "relation": "broken relation",
    "documentation": "document and code differ",
    "value": "wrong value",
    "dtype": "wrong dtype",
    "shape": "wrong shape",
    "nonfinite": "NaN or ∞ misplaced",
    "grad_missing": "no gradient",
    "grad_extra": "gradient where none is due",
    "grad_value": "wrong gradient",
    "raises": "refuses",
    "no_raise": "accepts what its documentation rejects",
    "mutated_input": "changes its input",
    "mutated_process": "changes its process",
    "nondeterministic": "varies from call to call",
    "error": "internal error",
    "crash": "crashes the process",
    "timeout": "does not answer in time",
}

ABOUT_DOMAIN = {
    "defined": "the mathematics fixes the answer",
    "extended": "NaN, infinities, overflow: IEEE 754 arithmetic on the definition fixes the answer",
    "undefined": "the definition says nothing; an API is held only to what its own documentation promises, "
    "and to not crashing",
}


class Lenient(dict[str, Any]):
    """A row in which a key that the writer left out reads as None."""

    def __missing__(self, key: str) -> None:
        return None


@dataclass
class Facts:
    """The rows of one stream."""

    run: Row = field(default_factory=Lenient)
    backends: list[Row] = field(default_factory=list)
    results: list[Row] = field(default_factory=list)
    claims: list[Row] = field(default_factory=list)
    ledger: list[Row] = field(default_factory=list)
    end: Row = field(default_factory=Lenient)
    by_question: dict[tuple[str, str], list[Row]] = field(default_factory=lambda: defaultdict(list))

    @property
    def complete(self) -> bool:
        """Whether the run reached its end with every backend."""
        return self.end.get("complete") is True

    @property
    def lost(self) -> list[Row]:
        """Return the backends that were asked for and could not be used."""
        return [row for row in self.backends if row.get("lost")]

    def version(self, backend: str) -> str:
        """Return the version of a backend's framework, empty if the stream does not say."""
        return next((str(row["version"]) for row in self.backends if row["backend"] == backend), "")

    def title(self, backend: str) -> str:
        """Name a backend with its mode and device, as it is asked for: `torch:compile`."""
        return next((titled(row) for row in self.backends if row["backend"] == backend), backend)

    def variant(self, backend: str) -> Variant:
        """Return the mode and device of a backend."""
        return next((Variant.of(row) for row in self.backends if row["backend"] == backend), PLAIN)

    def count(self, key: str) -> Counter[str]:
        """Count the results by `status` or `outcome`, from the rows themselves."""
        return Counter(str(row.get(key, "")) for row in self.results)

    def answers(self, row: Row) -> list[Row]:
        """Return what every API did on the same question: the same case and the same check."""
        return self.by_question[question(row)]


def accused(row: Row) -> bool:
    """Whether a result has a page of its own: it fails, known or not, is stale, or is our own fault.

    What did not run has none: of a lost backend that would be all there is.
    """
    return row["status"] in (*FAILING, "harness") or row.get("outcome") == "stale"


def unexpected(row: Row) -> bool:
    """Whether a result, a claim or an entry of the ledger is not as the ledger has it.

    A claim that nothing of a run speaks of is no news: a part of the cases has a part of the evidence, and
    that a backend is gone, its results say.
    """
    outcome = row.get("outcome") or "ok"
    return outcome not in ("ok", "known") and not (row["type"] == "claim" and outcome == "notrun")


def question(row: Row) -> tuple[str, str]:
    """Name what was asked; a promised error (`raises`) is an answer to the same call as an `output`."""
    check = str(row["check"])
    return str(row["case"]), "output" if check == "raises" else check


def read_facts(stream: Path) -> Facts:
    """Read a stream or a folded report, also of a run that did not end: the report then says so."""
    return facts_of(read_run(stream, partial=True))


def facts_of(rows: Iterable[Row]) -> Facts:
    """Sort the rows of a run; they are folded first, so a site is the same from a stream and a report."""
    facts = Facts()
    lists = {
        "backend": facts.backends,
        "result": facts.results,
        "claim": facts.claims,
        "ledger": facts.ledger,
    }
    for raw in unfold(fold(rows)):
        row, kind = _lenient(raw), raw["type"]
        if kind == "run":
            facts.run = row
        elif kind == "end":
            facts.end = row
        elif kind in lists:
            lists[kind].append(row)
        if kind == "result":
            facts.by_question[question(row)].append(row)
    return facts


def _lenient(value: Any) -> Any:
    return Lenient({key: _lenient(each) for key, each in value.items()}) if isinstance(value, dict) else value


def number(value: Any) -> float | None:
    """Read a number of a stream, where NaN and infinities are strings."""
    return None if value is None or isinstance(value, list | dict) else float(value)


def show(value: Any) -> str:
    """Write a value of a stream for people: 9 digits, intervals as [low, high]."""
    if isinstance(value, list):
        return f"[{', '.join(show(v) for v in value)}]"
    if isinstance(value, bool) or value is None or not isinstance(value, int | float | str):
        return str(value)
    if isinstance(value, str):
        return value.replace("Infinity", "∞").replace("-", "−") if value.endswith("Infinity") else value
    return f"{value:.9g}"


def multiple(ratio: float | None) -> str:
    """Write an error as a multiple of its bound."""
    if ratio is None:
        return ""
    if math.isinf(ratio):
        return "∞×"
    ratio += 0.0  # of −0.0, zero
    if 0 < ratio < 0.01:
        return "<0.01×"
    if ratio < 1e5:
        return f"{ratio:.2g}×" if ratio < 100 else f"{ratio:,.0f}×"
    digits, _, power = f"{ratio:.1e}".partition("e")
    return f"{digits}e{int(power)}×"


def plural(count: int, noun: str) -> str:
    """Write a count with its noun."""
    if count == 1:
        return f"1 {noun}"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{count:,} {noun[:-1]}ies"
    return f"{count:,} {noun}s"


def shorten(text: Any, most: int = 1500) -> str:
    """Cut a long text (a native stack trace), and say so."""
    whole = str(text)
    return whole if len(whole) <= most else f"{whole[:most]}\n… ({len(whole) - most:,} more characters)"


def tail(text: Any, most: int = 1500) -> str:
    """Keep the end of a long text (standard error of a process that died), and say so."""
    whole = str(text)
    return whole if len(whole) <= most else f"({len(whole) - most:,} earlier characters) …\n{whole[-most:]}"


def in_order(names: Iterable[str], order: Iterable[str]) -> list[str]:
    """Sort names as `order` has them, the rest alphabetically behind."""
    known = {name: place for place, name in enumerate(order)}
    return sorted(set(names), key=lambda name: (known.get(name, len(known)), name))
