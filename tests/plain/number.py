"""Numbers of 50 digits that carry a derivative: the second, independent way to every value and gradient.

A plain formula written over these numbers gives the loss and, by forward-mode differentiation, its
derivative along one input element. It shares no line with the references: other formulas (the textbook's,
for nothing overflows or cancels here), another direction of differentiation, another arithmetic.
"""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np

CONTEXT = mpmath.mp.clone()
CONTEXT.dps = 50
INF, NAN = CONTEXT.inf, CONTEXT.nan


class Number:
    """A value and its slope along the chosen direction."""

    __slots__ = ("slope", "value")

    def __init__(self, value: Any, slope: Any = 0) -> None:
        self.value, self.slope = CONTEXT.mpf(value), CONTEXT.mpf(slope)

    def __add__(self, other: Any) -> Number:
        o = number(other)
        return Number(self.value + o.value, self.slope + o.slope)

    def __sub__(self, other: Any) -> Number:
        return self + -number(other)

    def __mul__(self, other: Any) -> Number:
        o = number(other)
        return Number(self.value * o.value, _times(self.slope, o.value) + _times(o.slope, self.value))

    def __truediv__(self, other: Any) -> Number:
        o = number(other)
        ratio = quotient(self.value, o.value)
        return Number(ratio, quotient(self.slope - _times(o.slope, ratio), o.value) if _moves(self, o) else 0)

    def __neg__(self) -> Number:
        return Number(-self.value, -self.slope)

    def __radd__(self, other: Any) -> Number:
        return number(other) + self

    def __rsub__(self, other: Any) -> Number:
        return number(other) - self

    def __rmul__(self, other: Any) -> Number:
        return number(other) * self

    def __rtruediv__(self, other: Any) -> Number:
        return number(other) / self

    def __lt__(self, other: Any) -> bool:
        return bool(self.value < number(other).value)

    def __gt__(self, other: Any) -> bool:
        return bool(self.value > number(other).value)

    def __le__(self, other: Any) -> bool:
        return bool(self.value <= number(other).value)

    def __ge__(self, other: Any) -> bool:
        return bool(self.value >= number(other).value)

    def __repr__(self) -> str:
        return f"Number({self.value}, {self.slope})"


def number(value: Any) -> Number:
    """Return a Number; a float or an int is taken exactly."""
    if isinstance(value, Number):
        return value
    if isinstance(value, np.floating):
        return Number(exactly(value))
    return Number(value.item() if isinstance(value, np.generic) else value)


def exactly(value: Any) -> Any:
    """Return a NumPy float, longdouble included, as the same number of 50 digits."""
    wide = np.longdouble(value)
    if not np.isfinite(wide):
        return CONTEXT.mpf(float(wide))
    numerator, denominator = wide.as_integer_ratio()
    return CONTEXT.mpf(numerator) / denominator


def quotient(a: Any, b: Any) -> Any:
    """Return a / b as IEEE 754 has it: by zero an infinity, 0 / 0 NaN."""
    if b == 0:
        return NAN if a == 0 or CONTEXT.isnan(a) else (INF if a > 0 else -INF)
    return a / b


def _times(slope: Any, factor: Any) -> Any:
    # What does not move stays still, whatever it is multiplied with.
    return slope * factor if slope != 0 else CONTEXT.mpf(0)


def _moves(*numbers: Number) -> bool:
    return any(n.slope != 0 for n in numbers)


def exp(x: Any) -> Number:
    """e^x."""
    x = number(x)
    value = CONTEXT.exp(x.value)
    return Number(value, _times(x.slope, value))


def log(x: Any) -> Number:
    """Natural logarithm: −∞ at 0, NaN below."""
    x = number(x)
    if not x.value > 0:
        return Number(-INF if x.value == 0 else NAN, _times(x.slope, INF if x.value == 0 else NAN))
    return Number(CONTEXT.log(x.value), x.slope / x.value)


def sqrt(x: Any) -> Number:
    """Square root: NaN below 0."""
    x = number(x)
    if not x.value > 0:
        return Number(0 if x.value == 0 else NAN, _times(x.slope, INF if x.value == 0 else NAN))
    root = CONTEXT.sqrt(x.value)
    return Number(root, x.slope / (2 * root))


def power(x: Any, exponent: Any) -> Number:
    """x^exponent for a constant exponent."""
    x, p = number(x), number(exponent).value
    if x.value == 0 and p < 1:
        return Number(1 if p == 0 else (0 if p > 0 else INF), _times(x.slope, 0 if p == 0 else INF))
    if x.value < 0 and not CONTEXT.isint(p):
        return Number(NAN, _times(x.slope, NAN))
    return Number(x.value**p, _times(x.slope, p * x.value ** (p - 1)))


def cos(x: Any) -> Number:
    """Cosine."""
    x = number(x)
    return Number(CONTEXT.cos(x.value), -_times(x.slope, CONTEXT.sin(x.value)))


def arccos(x: Any) -> Number:
    """Inverse cosine."""
    x = number(x)
    if abs(x.value) > 1:
        return Number(NAN, NAN)
    return Number(CONTEXT.acos(x.value), -quotient(x.slope, CONTEXT.sqrt(1 - x.value**2)))


def absolute(x: Any) -> Number:
    """|x|; at 0 the slope of the right-hand side."""
    given = number(x)
    return -given if given.value < 0 else given


def maximum(a: Any, b: Any) -> Number:
    """Return the larger; NaN if either is; `a` where they are equal."""
    one, other = number(a), number(b)
    if CONTEXT.isnan(one.value) or CONTEXT.isnan(other.value):
        return Number(NAN, NAN)
    return other if other.value > one.value else one


def minimum(a: Any, b: Any) -> Number:
    """Return the smaller; NaN if either is; `a` where they are equal."""
    return -maximum(-number(a), -number(b))


def total(numbers: Any) -> Number:
    """Sum of any number of them; of none, 0."""
    result = Number(0)
    for each in numbers:
        result = result + each
    return result
