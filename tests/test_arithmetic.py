"""The arithmetic of references: each way of evaluating them changes what it says, and nothing else."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from conformance.arithmetic import (
    Arithmetic,
    add,
    arithmetic,
    gated,
    positive_part,
    slope_of_power,
    step,
    total,
)

NAN, INF = np.nan, np.inf
Z = np.array([-1.0, 0.0, 2.0, NAN])


@pytest.mark.parametrize(("order", "expected"), [(2, 1.0), (1, 0.0), (0, 0.0)])
def test_add_rounds_in_the_order_of_the_context(order: int, expected: float) -> None:
    """(big − big) + 1 keeps the 1; the other two orders lose it in the first addition."""
    with arithmetic(Arithmetic(order=order)):
        assert add(np.float32(1e20), np.float32(-1e20), np.float32(1.0)) == expected


def test_add_of_two_is_plain_addition() -> None:
    """Where there is no third addend no order can matter."""
    with arithmetic(Arithmetic(order=0)):
        assert add(np.float64(0.1), np.float64(0.2)) == 0.1 + 0.2


@pytest.mark.parametrize(
    ("summation", "expected"), [("sequential", 0.0), ("reversed", 4.0), ("pairwise", None)]
)
def test_total_runs_in_the_order_of_the_context(summation: str, expected: float | None) -> None:
    """Small numbers behind a big one are lost one by one; before it they survive as their sum."""
    values = np.array([2.0**25, 1, 1, 1, 1, -(2.0**25)], np.float32)
    if summation == "reversed":
        values = np.array([-(2.0**25), 2.0**25, 1, 1, 1, 1], np.float32)
    with arithmetic(Arithmetic(summation=summation)):
        result = total(values)
    assert result.dtype == np.float32
    if expected is None:
        assert result == np.sum(values)
    else:
        assert result == expected


def test_total_of_half_types_is_accumulated_in_float32() -> None:
    """4096 ones in float16 are 4096: accumulated in float16, the sum would stop at 2048."""
    ones = np.ones(4096, np.float16)
    for summation in ("pairwise", "sequential", "reversed"):
        with arithmetic(Arithmetic(summation=summation)):
            assert total(ones) == 4096
            assert total(ones).dtype == np.float16


@pytest.mark.parametrize("summation", ["pairwise", "sequential", "reversed"])
def test_total_along_an_axis_and_of_nothing(summation: str) -> None:
    """Every summation sums along the axis it is told, and a sum of nothing is 0."""
    with arithmetic(Arithmetic(summation=summation)):
        assert total(np.arange(6.0).reshape(2, 3), axis=1).tolist() == [3.0, 12.0]
        assert total(np.arange(6.0).reshape(2, 3), axis=0).tolist() == [3.0, 5.0, 7.0]
        assert total(np.arange(6.0).reshape(2, 3)) == 15.0
        assert total(np.zeros((0, 3)), axis=0).tolist() == [0.0, 0.0, 0.0]
        assert total(np.zeros((3, 0)), axis=1).tolist() == [0.0, 0.0, 0.0]


def test_positive_part_keeps_nan_and_dtype() -> None:
    """max(0, NaN) is NaN, as IEEE 754 `maximum` has it, and nothing is promoted."""
    result = positive_part(Z.astype(np.float16))
    assert result.dtype == np.float16
    assert np.array_equal(result, [0, 0, 2, NAN], equal_nan=True)
    assert positive_part(np.array([INF, -INF])).tolist() == [INF, 0.0]


@pytest.mark.parametrize("kink", [0.0, 0.5, 1.0])
def test_step_is_what_the_context_says_at_the_kink_and_at_nan(kink: float) -> None:
    """0 below, 1 above; at 0 and NaN the context decides, and how many met them is counted."""
    with arithmetic(Arithmetic(kink=kink, at_nan=0.25)) as mode:
        assert step(Z).tolist() == [0.0, kink, 1.0, 0.25]
        assert step(np.array([-0.0])).tolist() == [kink]
    assert (mode.kinks, mode.nans) == (2, 1)
    assert len(mode.steps) == 2


def test_replay_keeps_an_evaluation_on_its_branch() -> None:
    """Replayed steps are those of the recording, whatever the arguments are now."""
    with arithmetic(Arithmetic()) as recording:
        step(np.array([-1.0, 1.0]))
        step(np.array([5.0]))
    with arithmetic(Arithmetic(replay=recording.steps)) as mode:
        assert step(np.array([1.0, -1.0], np.float32)).tolist() == [0.0, 1.0]
        again = step(np.array([-5.0], np.float32))
    assert again.tolist() == [1.0]
    assert again.dtype == np.float32
    assert mode.kinks == 0


def test_a_shifted_clamp_moves_value_and_slope_together() -> None:
    """The planted fault opens the hinge late, or early, and its kink with it."""
    z = np.array([0.25, 0.5, 1.0])
    with arithmetic(Arithmetic(clamp_shift=0.5, kink=0.75)) as mode:
        assert positive_part(z).tolist() == [0.0, 0.5, 1.0]
        assert step(z).tolist() == [0.0, 0.75, 1.0]
    assert mode.kinks == 1
    with arithmetic(Arithmetic(clamp_shift=-0.5)):
        assert positive_part(np.array([-0.25, -1.0])).tolist() == [-0.25, 0.0]


def test_slope_of_power() -> None:
    """Power 1 is the step; power 2 is 2·max(0, z), continuous at 0; at NaN both are the context's."""
    with arithmetic(Arithmetic(kink=1.0, at_nan=0.0)):
        assert slope_of_power(Z, 1).tolist() == [0.0, 1.0, 1.0, 0.0]
        assert slope_of_power(Z, 2).tolist() == [0.0, 0.0, 4.0, 0.0]
        assert slope_of_power(Z.astype(np.float16), 2).dtype == np.float16


def test_a_closed_gate_multiplies_or_selects() -> None:
    """∞ × 0 is NaN for a program that multiplies and 0 for one that selects; both are counted."""
    value, slope = np.array([INF, NAN, INF, 3.0]), np.array([0.0, 0.0, 1.0, 0.0])
    with arithmetic(Arithmetic()) as multiplies:
        assert np.array_equal(gated(value, slope), [NAN, NAN, INF, 0.0], equal_nan=True)
    with arithmetic(Arithmetic(select=True)) as selects:
        assert gated(value, slope).tolist() == [0.0, 0.0, INF, 0.0]
    assert multiplies.gates == selects.gates == 2


def test_a_context_ends_with_its_block_even_by_an_exception() -> None:
    """Nothing leaks: inner contexts give way to outer ones, and those to the default."""
    kink = np.zeros(1)
    with arithmetic(Arithmetic(kink=1.0)):
        with pytest.raises(IndexError), arithmetic(Arithmetic(replay=[])):
            step(kink)
        assert step(kink) == 1.0
    assert step(kink) == 0.0


def test_a_context_belongs_to_its_thread() -> None:
    """Another thread evaluates by the default, not by what this one has set."""
    with arithmetic(Arithmetic(kink=1.0)), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: float(step(np.zeros(1))[0])).result() == 0.0


def test_no_warning_leaves_a_context() -> None:
    """Overflow and NaN are results here, not warnings; NumPy's settings are restored afterwards."""
    before = np.geterr()
    with np.errstate(all="raise"), arithmetic(Arithmetic()):
        assert add(np.float32(3e38), np.float32(3e38)) == INF
    assert np.geterr() == before
