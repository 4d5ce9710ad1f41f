"""Where each backend stands, in counts of operators. Pure."""

from collections import defaultdict
from dataclasses import dataclass

from conformance.backends import titled
from conformance.report.facts import FAILING, Facts, plural


@dataclass(frozen=True)
class Standing:
    """The operators of one backend by what its APIs do.

    Attributes:
        backend: its name.
        label: its name and version, as a badge has it.
        lost: why it could not be used; empty otherwise.
        agree: operators with judged results, none of them failing.
        differ: operators with a failing result, known or not.
        unsupported: operators that it has APIs for, and none that answers a case that can be judged.
        unjudged: operators of which the run does not tell: cases were not run, and none failed.

    """

    backend: str
    label: str
    lost: str
    agree: tuple[str, ...]
    differ: tuple[str, ...]
    unsupported: tuple[str, ...]
    unjudged: tuple[str, ...]

    @property
    def counts(self) -> str:
        """The counts in words; what the run cannot tell is said, and never counted as agreement."""
        agree = f"{plural(len(self.agree), 'operator')} agree{'s' * (len(self.agree) == 1)}"
        said = f"{agree} · {len(self.differ):,} differ"
        said += f" · {len(self.unsupported):,} unsupported"
        return f"{said} · {len(self.unjudged):,} not run" if self.unjudged else said


def standings(facts: Facts) -> list[Standing]:
    """Return the standing of each backend, in the order of the run. An op without an API is not counted."""
    statuses: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in facts.results:
        statuses[row["backend"]][row["op"]].add(row["status"])
    found = []
    for row in facts.backends:
        name = str(row["backend"])
        places: dict[str, list[str]] = defaultdict(list)
        for op in sorted(statuses[name]):
            places[_place(statuses[name][op])].append(op)
        parts = (tuple(places[place]) for place in ("agree", "differ", "unsupported", "unjudged"))
        version = str(row.get("version") or "").partition("+")[0]
        found.append(Standing(name, f"{titled(row)} {version}".strip(), str(row.get("lost") or ""), *parts))
    return found


def _place(statuses: set[str]) -> str:
    if statuses & set(FAILING):
        return "differ"
    if statuses & {"notrun", "harness"}:
        return "unjudged"
    return "agree" if "pass" in statuses else "unsupported"
