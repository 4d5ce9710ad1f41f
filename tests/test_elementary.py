"""Elementary functions: NumPy's own, in every dtype, and off by one rounding where the context says so."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from conformance import elementary
from conformance.arithmetic import Arithmetic, arithmetic, clamped_below, sign
from conformance.arrays import NDArray

KINDS = (np.longdouble, np.float64, np.float32, np.float16, ml_dtypes.bfloat16)
FUNCTIONS = (elementary.exp, elementary.log, elementary.log1p, elementary.expm1, elementary.cos)
X = [0.25, 0.5, 0.75, 1.5, 3.0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_agree_with_numpy(function: Callable[[NDArray], NDArray], kind: Any) -> None:
    """In the context's default, a function is NumPy's, of the same dtype."""
    x = np.array(X, kind)
    assert function(x).dtype == x.dtype
    assert np.array_equal(function(x), getattr(np, function.__name__)(x))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_an_honest_library_is_off_by_a_rounding(kind: Any) -> None:
    """Under `libm` results move by one spacing at most, some up and some down, and always in the same way."""
    x = np.array(np.linspace(0.1, 3, 64), kind)
    right = np.exp(x).astype(np.float64)
    with arithmetic(Arithmetic(libm=7)):
        moved = elementary.exp(x).astype(np.float64)
    with arithmetic(Arithmetic(libm=7)):
        again = elementary.exp(x).astype(np.float64)
    eps = float(ml_dtypes.finfo(kind).eps)
    assert np.array_equal(moved, again)
    assert {-1.0, 1.0} <= set(np.sign(moved - right))
    assert np.all(abs(moved - right) <= 2 * eps * right)


def test_every_library_gets_one_and_zero_right() -> None:
    """e^0 = 1, log 1 = 0 and what is not finite stay as they are."""
    with arithmetic(Arithmetic(libm=7)):
        assert np.array_equal(elementary.exp(np.array([0.0, -np.inf, np.inf])), [1, 0, np.inf])
        assert elementary.log(np.array([1.0]))[0] == 0


def test_the_sign_of_zero_is_an_interval() -> None:
    """At a kink of |z| the slope is −1 at one end and 1 at the other."""
    z = np.array([-2.0, 0.0, 3.0])
    ends = []
    for kink in (0.0, 1.0):
        with arithmetic(Arithmetic(kink=kink)):
            ends.append(sign(z).tolist())
    assert ends == [[-1, -1, 1], [-1, 1, 1]]


def test_a_clamp_from_below() -> None:
    """max(z, least), with NaN kept."""
    found = clamped_below(np.array([-1.0, 0.5, np.nan]), 0.25)
    assert found[:2].tolist() == [0.25, 0.5]
    assert np.isnan(found[2])
