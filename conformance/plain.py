"""How far off a result is in which every element is a number: what most comparisons come down to. Pure.

In pieces that fit a processor's cache: an array of millions of elements that passes through memory for
every figure takes several times as long.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.arrays import NDArray, spacing
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


def figures_of(value: NDArray, exact: Exact) -> Figures | None:
    """Compare as numbers alone; None where NaN, an infinity or an undecided element asks for more."""
    limit = overflow(exact) - exact.reach
    if not limit > 0 or exact.undecided.any():
        return None
    got, low, bound = value.reshape(-1), exact.low.reshape(-1), exact.bound.reshape(-1)
    high = low if exact.low is exact.high else exact.high.reshape(-1)
    figures = Figures()
    for start in range(0, got.size, PIECE):
        piece = slice(start, start + PIECE)
        wide = got[piece].astype(low.dtype)
        if high is low:
            error, magnitude = abs(wide - low[piece]), abs(low[piece])
            counted = magnitude > 0
        else:
            error = np.maximum(np.maximum(low[piece] - wide, wide - high[piece]), 0)
            magnitude = np.maximum(abs(low[piece]), abs(high[piece]))
            counted = (low[piece] != 0) & (high[piece] != 0)
        # False where anything is infinite, or NaN, which `max` of an array hands on.
        if not error.max() < limit:
            return None
        _take(figures, start, error, error / bound[piece])
        figures.counted += int(np.count_nonzero(counted))
        if error.any():  # most elements of most results are exact: their other figures are 0
            _take_relative(figures, error, magnitude)
            _take_ulp(figures, start, error / spacing(exact.dtype, magnitude), counted)
    return figures


def _take(figures: Figures, start: int, error: NDArray, ratio: NDArray) -> None:
    at = int(ratio.argmax())
    if ratio[at] > figures.ratio:
        figures.ratio, figures.worst = ratio[at], start + at
    figures.error = max(figures.error, error.max())


def _take_relative(figures: Figures, error: NDArray, magnitude: NDArray) -> None:
    relative = np.divide(error, magnitude, out=np.zeros_like(error), where=magnitude > 0)
    figures.relative = max(figures.relative, relative.max())


def _take_ulp(figures: Figures, start: int, ulp: NDArray, counted: NDArray) -> None:
    figures.ulp = max(figures.ulp, ulp.max())
    beside = np.where(counted, ulp, 0)
    at = int(beside.argmax())
    if beside[at] > figures.furthest:
        figures.furthest, figures.furthest_at = beside[at], start + at
    figures.total += ulp[counted].sum()
