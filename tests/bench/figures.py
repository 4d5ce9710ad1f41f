"""What a bench says: named figures, each with the target that it is held against, as a table and as JSON."""

from itertools import groupby

import msgspec

WIDTH = 80


class Figure(msgspec.Struct, frozen=True):
    """One measured number; with a target, it should be no larger."""

    section: str
    name: str
    value: float
    unit: str
    target: float | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether there is a target and the number is over it."""
        return self.target is not None and not self.value <= self.target


def ratio(part: float, whole: float) -> float:
    """Return part/whole; infinity where the whole is nothing, so that it is over every target."""
    return part / whole if whole > 0 else float("inf")


def number(value: float) -> str:
    """Write a number with three significant digits, and a large one whole."""
    if value != value or abs(value) == float("inf"):  # noqa: PLR0124 - NaN alone differs from itself
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(figures: list[Figure]) -> str:
    """Lay the figures out in lines of at most 80 columns, one section after the other."""
    lines = []
    for section, members in groupby(figures, key=lambda figure: figure.section):
        lines += [section, "─" * len(section), *(line for each in members for line in _lines(each)), ""]
    missed = [f"{each.section}: {each.name}" for each in figures if each.missed]
    lines += [f"over target: {name}"[:WIDTH] for name in missed] or ["every target is met"]
    return "\n".join(lines)


def _lines(figure: Figure) -> list[str]:
    """Return a figure's line and, below it, the note that does not fit beside it."""
    target = "" if figure.target is None else f"≤ {number(figure.target)}"
    verdict = "" if figure.target is None else "over" if figure.missed else "ok"
    name = figure.name if len(figure.name) <= 42 else f"{figure.name[:41]}…"
    line = f"  {name:<42} {number(figure.value):>9} {figure.unit:<9} {target:<8} {verdict}".rstrip()
    return [line[:WIDTH], *([f"    {figure.note}"[:WIDTH]] if figure.note else [])]


def as_json(figures: list[Figure], about: dict[str, object]) -> bytes:
    """Encode the figures and what they were measured with; infinities, which JSON lacks, as null."""
    encoded = msgspec.json.encode({"about": about, "figures": figures})
    return msgspec.json.format(encoded, indent=1) + b"\n"
