"""Which subgradient each API takes at the kinks, as its results show it. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from conformance.report.facts import in_order
from conformance.stream import Row

ENDS = ("below", "middle", "above", "mixed")
"""The slope below the kinks throughout a result, the middle, the slope above, or no single one."""


@dataclass
class Convention:
    """What APIs of one backend, which all do the same, take on one check."""

    backend: str
    check: str
    apis: list[str]
    counts: Counter[str]
    examples: dict[str, str]


@dataclass
class _Seen:
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)


def conventions(rows: Iterable[Row], order: list[str]) -> list[Convention]:
    """Count the conventions by backend, check and API; APIs that agree in all of it share a line."""
    seen: dict[tuple[str, str, str], _Seen] = {}
    for row in rows:
        end = row.get("convention")
        if end in ENDS:
            each = seen.setdefault((row["backend"], row["check"], row["api"]), _Seen())
            each.counts[end] += 1
            each.examples.setdefault(end, row["case"])
    lines: dict[tuple[str, ...], Convention] = {}
    for (backend, check, api), each in seen.items():
        same = (backend, check, *(str(each.counts[end]) for end in ENDS), *sorted(each.examples.values()))
        line = lines.setdefault(same, Convention(backend, check, [], each.counts, each.examples))
        line.apis.append(api)
    place = {name: i for i, name in enumerate(in_order({line.backend for line in lines.values()}, order))}
    return sorted(lines.values(), key=lambda line: (place[line.backend], line.check))
