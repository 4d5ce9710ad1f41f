"""What stands out: who disagrees alone, where the oracle is suspect, where only a gradient fails. Pure."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from conformance.report.camps import suspect_oracle
from conformance.report.facts import FAILING, Facts, unexpected
from conformance.report.groups import cause
from conformance.stream import Row

SHOWS = {
    "unexpected": "unexpected only",
    "alone": "one backend alone disagrees",
    "suspect": "all agree with each other but not with the oracle: suspect the oracle",
    "gradient": "gradients only",
    "refuted": "refuted claims",
}
ABOUT = {
    "unexpected": "a result that the ledger does not know, or that it knows and that is gone",
    "alone": "two other backends or more pass on the same question",
    "suspect": "two backends or more give the same answer, and it is not the reference's",
    "gradient": "the gradient fails where the output of the same call does not",
    "refuted": "the API's own documentation says otherwise",
}
_DTYPE = re.compile(r"\[(b?float\w*|complex\w*|u?int\w*|bool)\b")


@dataclass
class Marks:
    """What stands out about one API of one operator.

    `sets` holds, for every failing or unexpected result, its flags, dtype and kind together: only so can
    a reader ask for one backend alone *in float16* and not get one that is alone in float64.
    """

    sets: set[frozenset[str]] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def flags(self) -> list[str]:
        """The flags of this API, in the order of the filters."""
        return [name for name in SHOWS if self.counts[name]]

    @property
    def joint(self) -> str:
        """Write the sets for the filter script, without those that a larger one makes redundant."""
        largest = [one for one in self.sets if not any(one < other for other in self.sets)]
        return ";".join(sorted(" ".join(sorted(one)) for one in largest))


Place = tuple[str, str]
"""An operator and an API of it."""


def dtype_of(case: str) -> str:
    """Read the dtype from a case's id, where it stands first in the brackets; empty if there is none."""
    found = _DTYPE.search(case)
    return found[1] if found else ""


def word(text: str) -> str:
    """Keep what the filter script can split at spaces and semicolons."""
    return re.sub(r"\W+", "_", text)


def alone(rows: Iterable[Row]) -> str:
    """Return the backend that fails alone where two others or more pass, empty if there is none."""
    fails, passes = set(), set()
    for row in rows:
        if row["status"] in FAILING:
            fails.add(row["backend"])
        elif row["status"] == "pass":
            passes.add(row["backend"])
    return str(next(iter(fails))) if len(fails) == 1 and len(passes - fails) > 1 else ""


def marks(facts: Facts) -> dict[Place, Marks]:
    """Return what stands out about each API of each operator; an API of which nothing does is left out."""
    found: dict[Place, Marks] = defaultdict(Marks)
    for row, flags in _flagged(facts):
        each = found[row["op"], row["api"]]
        each.counts.update(flags)
        kind = row.get("kind") or row["status"]
        each.sets.add(frozenset(filter(None, (*flags, dtype_of(row["case"]), word(kind)))))
    for row in facts.claims:
        if row["verdict"] == "refuted" or unexpected(row):
            _mark_claim(found[row.get("op") or "", row["api"]], row)
    return dict(found)


def _mark_claim(each: Marks, row: Row) -> None:
    flags = ["refuted"] if row["verdict"] == "refuted" else []
    flags += ["unexpected"] if unexpected(row) else []
    each.counts.update(flags)
    kind = word(row.get("kind") or "documentation")
    for dtype in {dtype_of(case) for case in row.get("evidence") or [""]}:
        each.sets.add(frozenset(filter(None, (*flags, dtype, kind))))


def _flagged(facts: Facts) -> Iterator[tuple[Row, list[str]]]:
    """Yield every failing or unexpected result with its flags."""
    wrong_outputs = {
        (row["case"], row["api"])
        for row in facts.results
        if row["status"] in FAILING and not str(row["check"]).startswith("grad.")
    }
    for rows in facts.by_question.values():
        hit = [row for row in rows if row["status"] in FAILING or unexpected(row)]
        if not hit:
            continue
        lonely = alone(rows)
        # A conforming answer may have been folded without its bits: it is one all the same.
        conforming = any(row["status"] == "pass" and row.get("compared") for row in rows)
        suspect = not conforming and suspect_oracle(rows)
        for row in hit:
            failing = row["status"] in FAILING
            numeric = row["status"] == "fail" and bool(row.get("digest"))
            gradient = str(row["check"]).startswith("grad.")
            flags = {
                "unexpected": unexpected(row),
                "alone": failing and row["backend"] == lonely,
                "suspect": suspect and numeric,
                "gradient": failing and gradient and (row["case"], row["api"]) not in wrong_outputs,
            }
            yield row, [name for name, holds in flags.items() if holds]


@dataclass
class Standing:
    """Where one backend stands, in counts."""

    backend: str
    agree: int = 0
    differ: int = 0
    apis: int = 0
    judged: int = 0
    failing: int = 0
    unexpected: int = 0
    mechanisms: int = 0
    observed: int = 0
    unsupported: int = 0
    claims: int = 0
    refuted: int = 0


def standings(facts: Facts, reasons: dict[str, str]) -> list[Standing]:
    """Count, for each backend of the run, what agrees and what differs.

    Args:
        facts: the stream.
        reasons: the ledger's reason of each entry: entries with one reason are one mechanism.

    """
    found: dict[str, Standing] = {row["backend"]: Standing(row["backend"]) for row in facts.backends}
    ops: dict[str, dict[str, bool]] = defaultdict(dict)
    apis: dict[str, set[Place]] = defaultdict(set)
    causes: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in facts.results:
        name, status = row["backend"], row["status"]
        each = found.setdefault(name, Standing(name))
        failing = status in FAILING
        each.judged += failing or status == "pass"
        each.failing += failing
        each.unexpected += unexpected(row)
        each.observed += status == "observed"
        each.unsupported += status == "unsupported"
        if failing or status == "pass":
            ops[name][row["op"]] = failing or ops[name].get(row["op"], False)
        apis[name].add((row["op"], row["api"]))
        if failing:
            causes[name].add((row["op"], reasons.get(cause(row), cause(row))))
    for row in facts.claims:
        if row.get("backend") in found:
            found[row["backend"]].claims += 1
            found[row["backend"]].refuted += row["verdict"] == "refuted"
    for name, each in found.items():
        each.differ = sum(ops[name].values())
        each.agree = len(ops[name]) - each.differ
        each.apis, each.mechanisms = len(apis[name]), len(causes[name])
    return list(found.values())
