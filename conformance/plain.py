"""How far off a result is in which every element is a number: what most comparisons come down to. Pure.

In pieces that fit a processor's cache: an array of millions of elements that passes through memory for
every figure takes several times as long.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.arrays import NDArray, absolute, spacing
from conformance.oracle import Exact, overflow

PIECE = 1 << 14
"""Elements that are looked at together."""


@dataclass(slots=True)
class Figures:
    """The largest errors of a result, and where they are, as places in C order.

    `ratio` is error/bound, largest at `worst`; `ulp` counts in the spacing at the exact value. `furthest`
    is the largest of the errors in ULP that stand beside an exact value other than 0, `total` their sum
    over the `counted` such elements: around 0 the spacing is that of the smallest numbers.
    """

    error: Any = 0.0
    ratio: Any = -1.0
    worst: int = 0
    relative: Any = 0.0
    ulp: Any = 0.0
    furthest: Any = 0.0
    furthest_at: int = 0
    total: Any = 0.0
    counted: int = 0

    def take(self, start: int, error: NDArray, ratio: NDArray) -> Any:
        """Take down the errors of a piece that begins at `start`; return the largest multiple of a bound."""
        at = int(ratio.argmax())
        if not ratio[at] <= self.ratio:  # larger, or NaN
            self.ratio, self.worst = ratio[at], start + at
        self.error = max(self.error, largest(error))
        return ratio[at]

    def take_relative(self, part: NDArray) -> None:
        """Take down errors relative to the exact value."""
        self.relative = max(self.relative, largest(part))

    def take_ulp(self, start: int, ulp: NDArray, counted: NDArray) -> None:
        """Take down errors in ULP, and which of them stand beside an exact value other than 0."""
        count = int(np.count_nonzero(counted))
        self.counted += count
        off = ulp if count == ulp.size else np.where(counted, ulp, 0)
        at = int(off.argmax())
        if off[at] > self.furthest:
            self.furthest, self.furthest_at = off[at], start + at
        self.ulp = max(self.ulp, off[at] if off is ulp else largest(ulp))
        self.total += off.sum()


def figures_of(value: NDArray, exact: Exact) -> Figures | None:
    """Compare as numbers alone; None where an element is outside its bound, undecided, NaN or infinite."""
    if not exact.reach < overflow(exact) or exact.undecided.any():
        return None
    got, low, bound = value.reshape(-1), exact.low.reshape(-1), exact.bound.reshape(-1)
    same = exact.low is exact.high
    high = low if same else exact.high.reshape(-1)
    figures = Figures()
    for piece in pieces(got.size):
        if not np.isfinite(got[piece]).all():
            return None
        lower, upper = low[piece], high[piece]
        error = outside(got[piece].astype(low.dtype), lower, upper, same=same)
        figures.take(piece.start, error, error / bound[piece])
        if not figures.ratio <= 1:
            return None
        counted = beside(lower, upper, same=same)
        if error.any():
            size = magnitude(lower, upper, same=same)
            figures.take_relative(relative(error, size, counted))
            figures.take_ulp(piece.start, error / spacing(exact.dtype, size), counted)
        else:  # as in most pieces of most results: the other figures are 0
            figures.counted += int(np.count_nonzero(counted))
    return figures


def pieces(size: int) -> Iterator[slice]:
    """Yield the pieces of so many elements."""
    return (slice(start, start + PIECE) for start in range(0, size, PIECE))


def outside(wide: NDArray, low: NDArray, high: NDArray, *, same: bool) -> NDArray:
    """Return how far numbers are outside [low, high], which are the `same` or an interval."""
    return absolute(wide - (low if same else np.clip(wide, low, high)))


def magnitude(low: NDArray, high: NDArray, *, same: bool) -> NDArray:
    """Return the larger of |low| and |high|."""
    if same:
        return absolute(low.copy())
    opposite = -low
    return np.where(opposite > high, opposite, high)


def beside(low: NDArray, high: NDArray, *, same: bool) -> NDArray:
    """Say where the exact value is another number than 0, for around 0 an ULP is that of the smallest."""
    return np.asarray(low != 0 if same else (low != 0) & (high != 0))


def relative(error: NDArray, size: NDArray, counted: NDArray) -> NDArray:
    """Return errors relative to exact values of that size; 0 where that is 0, and nowhere if all count."""
    if counted.all():
        return error / size
    return np.divide(error, size, out=np.zeros_like(error), where=size > 0)


def largest(values: NDArray) -> Any:
    """Return the largest, NaN if one is: in a third of the time that `max` takes for long doubles."""
    return values.reshape(-1)[values.argmax()]
