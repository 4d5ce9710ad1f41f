"""Element by element: what is known of a large result is what is known of its parts."""

from typing import Any

import numpy as np
import pytest

from conformance.arrays import EXACT, NDArray
from conformance.elements import Elements, elements_of
from conformance.errors import HarnessError
from conformance.oracle import Exact
from conformance.plain import PIECE

SIZE = 2 * PIECE + 10
BEHIND = PIECE + 3
"""A place in the second piece."""


def exactly(low: NDArray, high: NDArray | None = None, undecided: NDArray | None = None) -> Exact:
    """Make an exact answer in float32 with a bound of 1e-3."""
    low = low.astype(np.longdouble)
    high = low if high is None else high.astype(np.longdouble)
    loose = np.zeros(low.shape, bool) if undecided is None else undecided
    return Exact(low, high, np.full(low.shape, 1e-3, np.longdouble), {}, loose, "float32")


def ones() -> NDArray:
    """Return a result that spans several pieces."""
    return np.ones(SIZE, np.float32)


def changed(place: int, value: float) -> NDArray:
    """Return ones, but for one element."""
    values = ones()
    values[place] = value
    return values


def test_a_single_error_is_found_in_any_piece() -> None:
    """Its place, its multiple of the bound, its power of two in ULP; nothing else is off."""
    found = elements_of(changed(BEHIND, 1.5), exactly(ones()))
    assert found.figures.worst == found.figures.furthest_at == BEHIND
    assert float(found.figures.ratio) == pytest.approx(500)
    assert np.flatnonzero(found.off).tolist() == np.flatnonzero(found.ratio).tolist() == [BEHIND]
    assert found.powers[BEHIND] == 22
    assert set(np.delete(found.powers, BEHIND)) == {EXACT}
    assert found.figures.counted == SIZE
    assert float(found.figures.total) == 2**22
    assert float(found.relative) == 0.5
    assert not found.wrong.any()
    assert not found.special


@pytest.mark.parametrize(("got", "wanted"), [(np.nan, 1.0), (np.inf, 1.0), (1.0, np.nan), (np.inf, -np.inf)])
def test_what_is_no_number_is_misplaced_and_has_no_error(got: float, wanted: float) -> None:
    """Also where all other pieces hold numbers alone."""
    found = elements_of(changed(BEHIND, got), exactly(changed(BEHIND, wanted)))
    assert np.flatnonzero(found.wrong).tolist() == [BEHIND]
    assert not found.off.any()
    assert found.figures.ratio == 0
    assert found.special


def test_a_finite_number_where_infinity_has_to_be_is_misplaced() -> None:
    """The exact value is beyond the largest number: nothing is infinite on either side."""
    exact = exactly(changed(BEHIND, 1.0).astype(np.longdouble))
    exact.low[BEHIND] = np.longdouble(1e39)
    assert np.flatnonzero(elements_of(ones(), exact).wrong).tolist() == [BEHIND]


def test_what_nobody_decides_is_neither_off_nor_misplaced_nor_counted() -> None:
    """An undecided element may be anything."""
    loose = np.zeros(SIZE, bool)
    loose[[2, BEHIND]] = True
    got = changed(BEHIND, np.nan)
    got[2] = 7.0
    found = elements_of(got, exactly(ones(), undecided=loose))
    assert not found.off.any()
    assert not found.wrong.any()
    assert found.figures.counted == SIZE - 2


def test_an_error_is_how_far_it_is_outside_the_interval() -> None:
    """Within it is none; above and below are the same."""
    low, high = ones(), ones() + 1
    for value, ratio in ((1.5, 0), (2.25, 250), (0.75, 250)):
        found = elements_of(changed(BEHIND, value), exactly(low, high))
        assert float(found.figures.ratio) == pytest.approx(ratio)


def test_an_exact_zero_among_those_that_are_off_leaves_no_relative_error() -> None:
    """It is infinitely far off, relatively: a figure of the others would say less than is wrong."""
    got = changed(3, 1.5)
    got[BEHIND] = 0.5
    found = elements_of(got, exactly(changed(BEHIND, 0.0)))
    assert found.off.sum() == 2
    assert found.relative is None


def test_a_bound_that_is_no_number_is_a_fault_of_ours() -> None:
    """Whatever the pieces behind it hold."""
    exact = exactly(ones())
    exact.bound[3] = np.nan
    with pytest.raises(HarnessError, match="NaN"):
        elements_of(ones(), exact)


def test_a_large_result_is_its_small_ones() -> None:
    """Every figure and mask, with everything in it that a result can have."""
    draw = np.random.Generator(np.random.PCG64(5))
    low = draw.normal(size=SIZE) * 10.0 ** draw.integers(-3, 3, SIZE)
    high = np.where(draw.random(SIZE) < 0.3, low + 1, low)
    got = (low + draw.normal(size=SIZE) * 1e-3).astype(np.float32)
    for values, special in ((low, np.nan), (high, np.inf), (got, -np.inf), (got, np.nan), (low, 0.0)):
        values[draw.random(SIZE) < 0.01] = special
    high = np.maximum(low, high)
    loose = draw.random(SIZE) < 0.1

    def of(part: Any) -> Elements:
        return elements_of(got[part], exactly(low[part], high[part], loose[part]))

    whole = of(slice(None))
    parts = [of(slice(start, start + 1000)) for start in range(0, SIZE, 1000)]
    for name in ("ratio", "off", "wrong", "powers"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert np.array_equal(getattr(whole, name), joined), name
    for name in ("ratio", "error", "relative", "ulp", "furthest"):
        assert getattr(whole.figures, name) == max(getattr(part.figures, name) for part in parts), name
    assert whole.figures.counted == sum(part.figures.counted for part in parts)
    assert float(whole.figures.total) == pytest.approx(float(sum(part.figures.total for part in parts)))
    assert whole.wrong.any()
    assert whole.off.any()
