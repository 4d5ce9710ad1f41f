"""What a report shows of a failing comparison, element by element. Pure: arrays in, a small record out."""

import math
from typing import Any

import numpy as np

from conformance.arrays import ENDLESS, EXACT, NDArray, spacing
from conformance.elements import Elements
from conformance.oracle import Exact
from conformance.plain import largest

HEAT_ROWS, HEAT_COLUMNS = 24, 48
WORST = 10
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def detail(value: NDArray, exact: Exact, found: Elements, wrong: NDArray) -> dict[str, Any]:
    """Describe where and by how much a result is off.

    Args:
        value: the result.
        exact: the oracle's answer.
        found: how far off each of its elements is.
        wrong: where NaN, ∞ or a sign of zero is misplaced.

    Returns:
        counts of NaN and infinities, got and expected; `max_rel`, the largest relative error of those
        outside their bound (None: an exact 0 among them, or none is a number); `yardstick`, the error of
        plain NumPy programs in the same dtype; `heat`, log10(error/bound) as one character an element or
        block (`.` no error, a base-36 digit d for d/2 − 3, `!` misplaced, blank undecided);
        `ulp_histogram`, counts by powers of two (None: exact); `worst`, the ten furthest out.

    """
    working = exact.terms.get("working", np.zeros_like(exact.bound))
    return {
        "dtype": exact.dtype,
        "shape": list(value.shape),
        **_special(value, exact, found),
        "max_rel": float(found.relative) if found.relative else None,
        "yardstick": {
            "max_abs": float(largest(working)),
            "over_bound": float(largest(working / exact.bound)),
        },
        "heat": _heat(found.ratio, wrong, exact.undecided),
        "ulp_histogram": _histogram(found.powers[~(wrong | exact.undecided)]),
        "worst": _worst(value, exact, found, wrong),
    }


def _special(value: NDArray, exact: Exact, found: Elements) -> dict[str, int]:
    """Count NaN and infinities, got and expected."""
    sides = (("", value), ("expected_", exact.low))
    kinds = (("nan", np.isnan), ("inf", np.isinf))
    return {
        f"{side}{kind}": int(np.count_nonzero(is_one(values))) if found.special else 0
        for side, values in sides
        for kind, is_one in kinds
    }


def _heat(ratio: NDArray, wrong: NDArray, undecided: NDArray) -> dict[str, Any]:
    """Reduce to a grid of at most 24 × 48 blocks, each as bad as the worst element in it."""
    columns = ratio.shape[-1] if ratio.ndim else 1
    block = [math.ceil(ratio.size // columns / HEAT_ROWS), math.ceil(columns / HEAT_COLUMNS)]

    def of_blocks(reduce: np.ufunc, values: NDArray) -> NDArray:
        """Reduce each block to one value."""
        grid = values.reshape(-1, columns)
        strips = reduce.reduceat(grid, np.arange(0, columns, block[1]), axis=1)
        return np.asarray(reduce.reduceat(strips, np.arange(0, len(grid), block[0]), axis=0))

    # The logarithm of a few blocks' worst, for that of every element takes longer than all the rest.
    worst = of_blocks(np.maximum, ratio)
    with np.errstate(divide="ignore"):
        level = np.floor((np.log10(worst) + 3) * 2)
    code = np.where(worst > 0, np.clip(level, 0, len(_DIGITS) - 1) + 1, 0)
    blank, misplaced = of_blocks(np.logical_and, undecided), of_blocks(np.logical_or, wrong)
    code = np.where(misplaced, len(_DIGITS) + 1, np.where(blank, -1, code)).astype(np.int64)
    letters = "." + _DIGITS + "!" + " "  # the last one is reached as −1
    return {"block": block, "levels": ["".join(letters[c] for c in row) for row in code.tolist()]}


def _histogram(found: NDArray) -> list[list[int | None]]:
    """Count errors in ULP by powers of two: [p, count] for [2**p, 2**(p+1)); [None, count] for exact ones."""
    exactly = int(np.count_nonzero(found == EXACT))
    counted: list[list[int | None]] = [[None, exactly]] if exactly else []
    off = found[(found != EXACT) & (found != ENDLESS)]
    if off.size:
        least = int(off.min())
        counts = np.bincount(off - least)
        counted += [[int(p) + least, int(counts[p])] for p in np.flatnonzero(counts)]
    return counted


def _worst(value: NDArray, exact: Exact, found: Elements, wrong: NDArray) -> list[dict[str, Any]]:
    """Return the elements furthest out: what is misplaced first, then by error/bound, then in order."""
    outside = np.flatnonzero(wrong | found.off)
    badness = np.where(wrong.reshape(-1)[outside], np.inf, found.ratio.reshape(-1)[outside])
    order = outside[np.argsort(-badness, kind="stable")][:WORST]
    worst = []
    for flat in order:
        at = tuple(int(i) for i in np.unravel_index(flat, value.shape))
        worst.append(
            {
                "at": list(at),
                "got": float(value[at]),
                "low": float(exact.low[at]),
                "high": float(exact.high[at]),
                "bound": float(exact.bound[at]),
                "ratio": float(found.ratio[at]),
                "ulp": float(_ulp(value[at].astype(exact.low.dtype), exact, at)),
            }
        )
    return worst


def _ulp(got: Any, exact: Exact, at: tuple[int, ...]) -> Any:
    """Return the error of one element in ULP; 0 where it or the exact value is no number."""
    low, high = exact.low[at], exact.high[at]
    if not np.isfinite([got, low, high]).all():
        return 0.0
    return max(low - got, got - high, 0) / spacing(exact.dtype, np.maximum(abs(low), abs(high)).reshape(1))[0]
