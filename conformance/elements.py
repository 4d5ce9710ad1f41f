"""How far off each element of a result is, also where NaN, infinities or undecided ones are. Pure."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.arrays import NDArray, powers, spacing
from conformance.errors import HarnessError
from conformance.oracle import Exact, overflow
from conformance.plain import Figures, beside, largest, magnitude, outside, pieces, relative


@dataclass(slots=True)
class Elements:
    """What is known of a result, element by element; of an error only where both sides are numbers.

    Attributes:
        figures: the largest errors, and where they are.
        ratio: the error as a multiple of its bound; 0 where a mask decides, or nobody.
        off: whether the error is above its bound.
        wrong: whether NaN, +∞ or −∞ stands there and should not, or should and does not.
        powers: of the error in ULP, `arrays.EXACT` where there is none.
        relative: the largest relative error of those above their bound; None: an exact 0 is among them.
        special: whether NaN or an infinity can be anywhere, on either side.

    """

    figures: Figures
    ratio: NDArray
    off: NDArray
    wrong: NDArray
    powers: NDArray
    relative: Any = 0.0
    special: bool = False


def elements_of(value: NDArray, exact: Exact) -> Elements:
    """Hold each element of a result against the exact value.

    Raises:
        HarnessError: an error is NaN, for a bound is.

    """
    size, shape = value.size, value.shape
    off, wrong = np.zeros((2, size), bool)
    found = Elements(Figures(), np.empty(size), off, wrong, np.empty(size, np.int32))
    given = [each.reshape(-1) for each in (value, exact.low, exact.high, exact.bound, exact.undecided)]
    for piece in pieces(size):
        _hold(found, piece, [each[piece] for each in given], exact)
    for name in ("ratio", "off", "wrong", "powers"):
        setattr(found, name, getattr(found, name).reshape(shape))
    return found


def _hold(found: Elements, piece: slice, given: list[NDArray], exact: Exact) -> None:
    """Hold a piece of the elements against theirs."""
    value, low, high, bound, undecided = given
    wide, same = value.astype(low.dtype), exact.low is exact.high
    number = np.isfinite(low) if same else np.isfinite(low) & np.isfinite(high)
    finite, decided = np.isfinite(value) & number, ~undecided
    error, size = outside(wide, low, high, same=same), magnitude(low, high, same=same)
    if not finite.all() or not exact.reach < overflow(exact):
        wrong = _wrong_masks(wide, (low, high, bound), finite, overflow(exact))
        found.wrong[piece] = wrong & decided
        found.special = True
    if not (held := finite & decided).all():
        error = np.where(held, error, 0)
    ratio = error / bound
    most = found.figures.take(piece.start, error, ratio)
    if math.isnan(most):
        raise HarnessError("a comparison yielded NaN")
    found.ratio[piece] = ratio
    counted = beside(low, high, same=same) & decided & number
    part, ulp = relative(error, size, counted), error / spacing(exact.dtype, size)
    found.figures.take_relative(part)
    found.figures.take_ulp(piece.start, ulp, counted)
    found.powers[piece] = powers(ulp)
    if most > 1:
        off = found.off[piece] = ratio > 1
        _take_relative(found, part[off & ~found.wrong[piece]])


def _take_relative(found: Elements, part: NDArray) -> None:
    """Take down the relative errors of elements that are off."""
    if part.size and found.relative is not None:
        found.relative = max(found.relative, largest(part)) if bool(np.all(part > 0)) else None


def _wrong_masks(
    wide: NDArray, given: tuple[NDArray, NDArray, NDArray], finite: NDArray, infinity: Any
) -> NDArray:
    """Where NaN or an infinity is misplaced; `finite`: where neither result nor exact value is one."""
    low, high, bound = given
    # Elsewhere nothing is infinite, nor has to be.
    special = ~finite | (low >= infinity) | (high <= -infinity)
    wrong = np.zeros_like(special)
    if special.any():
        wrong[special] = _misplaced(wide[special], low[special], high[special], bound[special], infinity)
    return np.asarray(wrong)


def _misplaced(wide: NDArray, low: NDArray, high: NDArray, bound: NDArray, infinity: Any) -> NDArray:
    """Say where NaN, +∞ or −∞ stands and should not, or should and does not."""
    wrong = np.isnan(wide) != np.isnan(low)
    for sign in (1, -1):
        inner, outer = (low, high) if sign > 0 else (-high, -low)
        must = inner - np.where(np.isfinite(inner), bound, 0) >= infinity
        may = outer + np.where(np.isfinite(outer), bound, 0) >= infinity
        infinite = wide == sign * np.inf
        wrong |= (must & ~infinite) | (infinite & ~may)
    return np.asarray(wrong)
