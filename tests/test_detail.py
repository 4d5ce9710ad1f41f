"""What a report shows of a failing comparison."""

import math
from typing import Any

import numpy as np
import pytest

from conformance.arrays import to_wire
from conformance.compare import Check, compare
from conformance.detail import HEAT_COLUMNS, HEAT_ROWS
from conformance.oracle import Exact

BOUND = 1e-3


def held(got: Any, low: Any, *, high: Any = None, undecided: Any = None) -> Check:
    low = np.asarray(low, np.longdouble)
    high = low if high is None else np.asarray(high, np.longdouble)
    bound = np.full(low.shape, BOUND, np.longdouble)
    loose = np.zeros(low.shape, bool) if undecided is None else np.asarray(undecided)
    exact = Exact(low, high, bound, {"working": bound / 10}, loose, "float32")
    return compare("output", to_wire(np.asarray(got, np.float32)), exact)


def test_what_conforms_has_figures_and_no_detail() -> None:
    """The mean and the place of the largest ULP feed the accuracy table; nothing else is kept."""
    check = held([1.0, 1.0 + 2**-23], [1.0, 1.0])
    assert check.detail is None
    assert check.mean_ulp == pytest.approx(0.5)
    assert check.at_max_ulp == {"at": [1], "got": 1.0 + 2**-23, "exact": 1.0, "ulp": 1.0}
    assert held([1.0], [1.0]).at_max_ulp is None


def test_an_error_at_an_exact_zero_is_counted_in_no_ulp() -> None:
    """Its spacing is that of the smallest number: 1e45 ULP would bury every other figure of a table."""
    check = held([1e-4, 1.0 + 2**-22], [0.0, 1.0])
    assert check.at_max_ulp is not None
    assert check.at_max_ulp["ulp"] == check.mean_ulp == 2.0
    assert held([1e-4], [0.0]).mean_ulp is None


def test_counts_of_nan_and_infinity_got_and_expected() -> None:
    """Which side has them says who is wrong."""
    detail = held([np.nan, np.inf, 1.0, np.nan], [np.nan, 1.0, np.inf, 2.0]).detail
    assert detail is not None
    assert [detail[n] for n in ("nan", "inf", "expected_nan", "expected_inf")] == [2, 1, 1, 1]
    assert detail["yardstick"]["over_bound"] == pytest.approx(0.1)


def test_the_relative_error_is_of_what_is_outside_and_of_no_exact_zero() -> None:
    """A large relative error within the bound is nobody's fault."""
    detail = held([1e-4, 2.0, 1.0], [1e-5, 1.0, 1.0]).detail
    assert detail is not None
    assert detail["max_rel"] == 1.0
    assert held([1.0, 2.0], [0.0, 1.0]).detail["max_rel"] is None  # type: ignore[index]


@pytest.mark.parametrize(
    ("error", "letter"),
    [(0.0, "."), (BOUND * 1e-4, "0"), (BOUND * 1.5, "6"), (BOUND * 150, "a"), (1e30, "z")],
)
def test_heat_is_the_logarithm_of_error_over_bound(error: float, letter: str) -> None:
    """A digit d stands for d/2 − 3, the last one for all that is above."""
    detail = held([[error, 1.0]], [[0.0, 0.0]]).detail
    assert detail is not None
    assert detail["heat"]["levels"][0][0] == letter


def test_heat_marks_what_is_misplaced_and_what_nobody_decides() -> None:
    """Neither is a number."""
    detail = held([[np.nan, 5.0, 0.0]], [[0.0, 0.0, 0.0]], undecided=[[False, True, False]]).detail
    assert detail is not None
    assert detail["heat"] == {"block": [1, 1], "levels": ["! ."]}


def test_a_large_tensor_is_reduced_by_blocks_that_keep_their_worst() -> None:
    """One wrong element in a million stays visible."""
    got = np.zeros((4, 250, 1000))
    got[3, 249, 999] = 1.0
    detail = held(got, np.zeros_like(got)).detail
    assert detail is not None
    levels = detail["heat"]["levels"]
    assert len(levels) <= HEAT_ROWS
    assert all(len(row) <= HEAT_COLUMNS for row in levels)
    assert "".join(levels).replace(".", "") == levels[-1][-1] != "."


def test_histogram_counts_every_decided_number_once() -> None:
    """By powers of two, exact ones apart."""
    ulp = 2.0**-23
    detail = held([1.0, 1.0 + ulp, 1.0 + 3 * ulp, 2.0, np.nan], [1.0] * 5).detail
    assert detail is not None
    assert detail["ulp_histogram"] == [[None, 1], [0, 1], [1, 1], [23, 1]]


def test_worst_elements_come_in_order_of_how_far_they_are_out() -> None:
    """Misplaced ones first, never more than ten, and none that conforms."""
    got = np.arange(20, dtype=np.float64)
    got[5] = np.nan
    detail = held(got, np.zeros(20)).detail
    assert detail is not None
    places = [each["at"] for each in detail["worst"]]
    assert places == [[5], *([n] for n in range(19, 10, -1))]
    assert math.isnan(detail["worst"][0]["got"])
    assert [each["at"] for each in held([0.0, 1.0], [0.0, 0.0]).detail["worst"]] == [[1]]  # type: ignore[index]


def test_a_scalar_has_a_heat_of_one() -> None:
    """Rank 0 is no special case for a reader."""
    detail = held(1.0, 0.0).detail
    assert detail is not None
    assert detail["shape"] == []
    assert [len(row) for row in detail["heat"]["levels"]] == [1]
    assert detail["worst"][0]["at"] == []
