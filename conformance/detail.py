"""What a report shows of a failing comparison, element by element. Pure: arrays in, a small record out."""

import math
from typing import Any

import numpy as np

from conformance.arrays import NDArray
from conformance.oracle import Exact

HEAT_ROWS, HEAT_COLUMNS = 24, 48
WORST = 10
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def detail(wide: NDArray, exact: Exact, numbers: dict[str, NDArray], wrong: NDArray) -> dict[str, Any]:
    """Describe where and by how much a result is off.

    Args:
        wide: the result, in the oracle's precision.
        exact: the oracle's answer.
        numbers: `error`, `ratio` and `ulp` of each element; 0 where a mask decides.
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
        "shape": list(wide.shape),
        "nan": int(np.count_nonzero(np.isnan(wide))),
        "inf": int(np.count_nonzero(np.isinf(wide))),
        "expected_nan": int(np.count_nonzero(np.isnan(exact.low))),
        "expected_inf": int(np.count_nonzero(np.isinf(exact.low))),
        "max_rel": _relative(numbers, wrong, exact.undecided),
        "yardstick": {"max_abs": float(np.max(working)), "over_bound": float(np.max(working / exact.bound))},
        "heat": _heat(numbers["ratio"], wrong, exact.undecided),
        "ulp_histogram": _histogram(numbers["ulp"][~(wrong | exact.undecided)]),
        "worst": _worst(wide, exact, numbers, wrong),
    }


def _relative(numbers: dict[str, NDArray], wrong: NDArray, undecided: NDArray) -> float | None:
    outside = (numbers["ratio"] > 1) & ~wrong & ~undecided
    relative = numbers["relative"][outside]
    return float(np.max(relative)) if relative.size and bool(np.all(relative > 0)) else None


def _heat(ratio: NDArray, wrong: NDArray, undecided: NDArray) -> dict[str, Any]:
    """Reduce to a grid of at most 24 × 48 blocks, each as bad as the worst element in it."""
    with np.errstate(divide="ignore"):
        level = np.floor((np.log10(ratio) + 3) * 2)
    code = np.where(ratio > 0, np.clip(level, 0, len(_DIGITS) - 1) + 1, 0)
    code = np.where(wrong, len(_DIGITS) + 1, np.where(undecided, -1, code)).astype(np.int64)
    columns = code.shape[-1] if code.ndim else 1
    grid = code.reshape(-1, columns)
    block = [math.ceil(grid.shape[0] / HEAT_ROWS), math.ceil(columns / HEAT_COLUMNS)]
    padded = np.pad(grid, [(0, -grid.shape[0] % block[0]), (0, -columns % block[1])], constant_values=-1)
    rows, wide = padded.shape[0] // block[0], padded.shape[1] // block[1]
    worst = padded.reshape(rows, block[0], wide, block[1]).max(axis=(1, 3))
    letters = "." + _DIGITS + "!" + " "  # the last one is reached as −1
    return {"block": block, "levels": ["".join(letters[c] for c in row) for row in worst.tolist()]}


def _histogram(ulp: NDArray) -> list[list[int | None]]:
    """Count errors in ULP by powers of two: [p, count] for [2**p, 2**(p+1)); [None, count] for exact ones."""
    exactly = int(np.count_nonzero(ulp == 0))
    found: list[list[int | None]] = [[None, exactly]] if exactly else []
    off = ulp[ulp > 0]  # in the oracle's precision: of a tiny exact value they may exceed float64
    powers, counts = np.unique(np.floor(np.log2(off[np.isfinite(off)])).astype(int), return_counts=True)
    return found + [[int(p), int(n)] for p, n in zip(powers, counts, strict=True)]


def _worst(wide: NDArray, exact: Exact, numbers: dict[str, NDArray], wrong: NDArray) -> list[dict[str, Any]]:
    """Return the elements furthest out: what is misplaced first, then by error/bound, then in order."""
    badness = np.where(wrong, np.inf, numbers["ratio"]).reshape(-1)
    outside = np.flatnonzero(badness > 1)
    order = outside[np.argsort(-badness[outside], kind="stable")][:WORST]
    found = []
    for flat in order:
        at = tuple(int(i) for i in np.unravel_index(flat, wide.shape))
        found.append(
            {
                "at": list(at),
                "got": float(wide[at]),
                "low": float(exact.low[at]),
                "high": float(exact.high[at]),
                "bound": float(exact.bound[at]),
                "ratio": float(numbers["ratio"][at]),
                "ulp": float(numbers["ulp"][at]),
            }
        )
    return found
