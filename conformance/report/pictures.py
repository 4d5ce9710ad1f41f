"""What the report draws of a failing comparison: a heatmap, a histogram, the worst elements. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from conformance.report.facts import multiple, number, plural, show
from conformance.stream import Row

CELL = 10
MOST_BARS = 14
SMALLEST_POWER, LARGEST_POWER = -8, 1100
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_AT_THE_BOUND = 6  # the digit d stands for log10(error/bound) in [d/2 − 3, d/2 − 2.5)


@dataclass(frozen=True)
class Level:
    """One step of the heatmap's scale: a class for the colour, a height of the mark, and words."""

    name: str
    height: float
    words: str


EXACT = Level("none", 0.16, "no error")
SCALE = (
    (4, Level("calm", 0.4, "within the bound, up to a tenth of it")),
    (_AT_THE_BOUND, Level("near", 0.6, "within the bound")),
    (8, Level("out", 0.8, "outside, up to 10×")),
    (12, Level("far", 0.9, "outside, up to 1 000×")),
    (len(_DIGITS), Level("lost", 1.0, "outside, beyond 1 000×")),
)
MISPLACED = Level("mask", 1.0, "NaN, ∞ or sign of zero misplaced")
UNDECIDED = Level("open", 0.0, "not compared: no mathematics fixes it")
LEVELS = (EXACT, *(level for _, level in SCALE), MISPLACED, UNDECIDED)
_OUTSIDE = ("out", "far", "lost", "mask")


def level_of(letter: str) -> Level:
    """Return the step of the scale that a letter of `detail.heat.levels` stands for."""
    if letter == "!":
        return MISPLACED
    if letter == ".":
        return EXACT
    digit = _DIGITS.find(letter)
    return next((level for below, level in SCALE if 0 <= digit < below), UNDECIDED)


@dataclass(frozen=True)
class Mark:
    """A run of equal cells in one row of the heatmap."""

    x: float
    y: float
    width: float
    height: float


@dataclass
class Heat:
    """A heatmap as the page draws it."""

    rows: int
    columns: int
    block: tuple[int, int]
    marks: dict[str, list[Mark]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def legend(self) -> list[tuple[Level, int]]:
        """The steps of the scale that occur, with how many cells are of each."""
        return [(level, self.counts[level.name]) for level in LEVELS if self.counts[level.name]]

    @property
    def unit(self) -> str:
        """What one cell is."""
        down, across = self.block
        if (down, across) == (1, 1):
            return "one element"
        return f"a block of {down} × {across} elements, as bad as the worst of them"

    @property
    def outside(self) -> int:
        """How many cells are outside their bound."""
        return sum(self.counts[name] for name in _OUTSIDE)

    @property
    def label(self) -> str:
        """Say in words what the picture shows."""
        steps = "; ".join(f"{level.words}: {count:,}" for level, count in self.legend)
        size = f"{plural(self.rows, 'row')} of {plural(self.columns, 'cell')}"
        return f"Error over bound, {size}, each {self.unit}. {steps}."


def heat(row: Row) -> Heat | None:
    """Lay out the heatmap of one check, None where the stream has none."""
    given = (row["detail"] or {}).get("heat") or {}
    lines = [str(line) for line in given.get("levels") or []]
    columns = max(map(len, lines), default=0)
    if not columns:
        return None
    down, across = [int(n) for n in given.get("block") or (1, 1)][:2]
    found = Heat(len(lines), columns, (down, across))
    for y, line in enumerate(lines):
        for x, width, letter in _runs(line):
            level = level_of(letter)
            found.counts[level.name] += width
            if level.height:
                found.marks.setdefault(level.name, []).append(_mark(x, y, width, level.height))
    return found


def _mark(x: int, y: int, width: int, height: float) -> Mark:
    gap = round((1 - height) / 2 * CELL, 1)
    return Mark(x * CELL, y * CELL + gap, width * CELL, round(height * CELL, 1))


def _runs(line: str) -> list[tuple[int, int, str]]:
    """Split a row into runs of cells of one level: (first, length, letter)."""
    found: list[tuple[int, int, str]] = []
    for x, letter in enumerate(line):
        if found and level_of(found[-1][2]) is level_of(letter):
            first, length, same = found[-1]
            found[-1] = (first, length + 1, same)
        else:
            found.append((x, 1, letter))
    return found


@dataclass(frozen=True)
class Bar:
    """One bar of the histogram."""

    label: str
    count: int
    share: float


def histogram(row: Row) -> list[Bar]:
    """Return the counts of errors in ULP by powers of two, neighbours together where there are many."""
    given = (row["detail"] or {}).get("ulp_histogram") or []
    powers: Counter[int] = Counter()
    for p, n in given:
        if p is not None:  # a stream may hold a power that no dtype has: the loop below has an end
            powers[min(max(int(p), SMALLEST_POWER), LARGEST_POWER)] += int(n)
    exactly = sum(int(n) for p, n in given if p is None)
    counted = [("exact", exactly)] if exactly else []
    if powers:
        low, high = min(powers), max(powers)
        step = -(-(high - low + 1) // MOST_BARS)
        for start in range(low, high + 1, step):
            count = sum(powers[p] for p in range(start, start + step))
            below = "below" if start == SMALLEST_POWER else f"{_power(start)} to"
            counted.append((f"{below} {_power(start + step)}", count))
    largest = max((count for _, count in counted), default=0)
    return [Bar(label, count, count / largest) for label, count in counted] if largest else []


def _power(p: int) -> str:
    """Write 2**p: as a number where that is short."""
    return f"{2.0**p:,.10g}" if -4 <= p <= 16 else f"2^{p}".replace("-", "−")


@dataclass(frozen=True)
class Element:
    """One of the elements that are furthest out."""

    at: tuple[int, ...]
    got: str
    exact: str
    bound: str
    ratio: str
    ulp: str


def worst_elements(row: Row) -> list[Element]:
    """Return the worst elements of a check; of a stream without them, the worst one."""
    given = (row["detail"] or {}).get("worst")
    if given:
        return [_element(each) for each in given]
    if not row["compared"] or row["worst"] is None:
        return []
    low, high = _ends(row["expected"])
    only = {"at": row["worst"], "got": row["got"], "low": low, "high": high, "bound": row["bound"]}
    return [_element(only | {"ratio": row["error_over_bound"] if row["kind"] != "nonfinite" else None})]


def _element(each: dict[str, Any]) -> Element:
    low, high = each.get("low"), each.get("high")
    ulp, ratio = number(each.get("ulp")), number(each.get("ratio"))
    return Element(
        at=tuple(int(i) for i in each.get("at") or ()),
        got=show(each.get("got")),
        exact=show(low) if low == high else f"[{show(low)}, {show(high)}]",
        bound=short(each.get("bound")),
        ratio=multiple(ratio) if ratio else "misplaced",
        ulp=f"{ulp:.3g}" if ulp else "",
    )


def _ends(expected: Any) -> tuple[Any, Any]:
    return (expected[0], expected[-1]) if isinstance(expected, list) and expected else (expected, expected)


def short(value: Any) -> str:
    """Write a number with three digits, NaN and ∞ as they are."""
    parsed = number(value)
    if parsed is None:
        return ""
    return show(value) if isinstance(value, str) else f"{parsed:.3g}"
