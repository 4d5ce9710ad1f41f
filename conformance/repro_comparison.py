"""The part of a repro script that holds a result against the exact values, as `conformance.compare` does."""

from typing import Any

import numpy as np

from conformance.arrays import largest_finite, unit_roundoff
from conformance.oracle import Exact
from conformance.repro_literals import index, number

ALL_ELEMENTS = 64
"""Up to so many elements are compared; of a larger result the worst and a few others."""


def comparison_text(exact: Exact, worst: tuple[int, ...], *, signed: bool, repeated: bool) -> str:
    """Write the expected values and the comparison of `got` with them, down to the exit.

    Args:
        exact: the oracle's answer.
        worst: an index that must be among the elements of a large result.
        signed: the sign of a zero counts.
        repeated: compare each of `repeats` and judge by the worst.

    """
    parts = (_table(exact, worst), _distance(exact, signed=signed))
    return "\n\n".join(parts) + (_REPEATED if repeated else _ONCE) + _VERDICT


def _table(exact: Exact, worst: tuple[int, ...]) -> str:
    """Write the expected elements: all of a small result, else the worst and a few others."""
    shape, size = exact.low.shape, exact.low.size
    flat = np.arange(size)
    if size > ALL_ELEMENTS:
        flat = np.linspace(0, size - 1, 8).astype(int)
        if len(worst) == len(shape):
            flat = np.union1d(flat, [int(np.ravel_multi_index(worst, shape))])
    lines = []
    for place in flat:
        at = tuple(int(i) for i in np.unravel_index(int(place), shape))
        if not exact.undecided[at]:
            low, high = (_written(end[at], exact.dtype) for end in (exact.low, exact.high))
            value = low if low == high else f"({low}, {high})"
            lines.append(f"    ({index(at)}, {value}, {number(float(exact.bound[at]))}),")
    comment = "# index, exact value, bound: how far from it rounding may put an honest result"
    if exact.kinks:
        comment += "\n# A pair is a kink, where every slope between its ends is right."
    if size > len(lines):
        comment += f"\n# ({len(lines)} of {size} elements)"
    return "\n".join([comment, "EXPECTED = [", *lines, "]"])


def _written(value: Any, dtype: str) -> str:
    """Write an exact value: float64 is precise enough to judge the smaller dtypes, not itself."""
    return number(value if dtype == "float64" else np.float64(value))


def _distance(exact: Exact, *, signed: bool) -> str:
    overflow = largest_finite(exact.dtype) * (1 + unit_roundoff(exact.dtype) / 2)
    signs = "\n    if low == 0 and got == 0:  # this op passes the zero on, so its sign counts"
    signs += "\n        return 0.0 if np.signbit(low) == np.signbit(got) else np.inf"
    return _DISTANCE.format(overflow=overflow, dtype=exact.dtype, signs=signs if signed else "")


_DISTANCE = '''\
OVERFLOW = np.longdouble({overflow!r})  # from here on a {dtype} rounds to infinity


def distance(got, low, high, bound):
    """How far `got` lies outside [low, high], in bounds; infinite where NaN or infinity are misplaced."""
    if np.isnan(low) or np.isnan(got):
        return 0.0 if np.isnan(low) and np.isnan(got) else np.inf
    if np.isinf(got):
        return 0.0 if (high + bound >= OVERFLOW if got > 0 else low - bound <= -OVERFLOW) else np.inf
    if low - bound >= OVERFLOW or high + bound <= -OVERFLOW:
        return np.inf{signs}
    return float(max(low - got, got - high, 0.0) / bound)


def compare(got):
    """The elements that are wrong, the worst first."""
    wrong = []
    for index, exact, bound in EXPECTED:
        low, high = map(np.longdouble, exact if isinstance(exact, tuple) else (exact, exact))
        error = distance(np.longdouble(got[index]), low, high, bound)
        if error > 1:
            wrong.append((error, index, got[index], low, high, bound))
    return sorted(wrong, key=lambda each: -each[0])'''

_ONCE = """


wrong = compare(got)
"""

_REPEATED = """


wrong = max(map(compare, repeats), key=len)
"""

_VERDICT = """\
for error, index, value, low, high, bound in wrong[:10]:
    exact = f"{low:.9g}" if low == high or np.isnan(low) else f"in [{low:.9g}, {high:.9g}]"
    print(f"{index}: got {value:.9g}, expected {exact}, bound {bound:.3g}: {error:.3g} x the bound")
print(f"{len(wrong)} of {len(EXPECTED)} elements are wrong")
sys.exit(1 if wrong else 0)
"""
