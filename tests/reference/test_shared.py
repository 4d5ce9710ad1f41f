"""The shared pieces of losses: batching, labels, reductions and their derivatives."""

from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

# Not an import statement: the package is `reference/` here and `conformance.reference` once installed.
shared = import_module("conformance.reference.shared")
at_target, batched, one_hot = shared.at_target, shared.batched, shared.one_hot
reduced, reduced_vjp = shared.reduced, shared.reduced_vjp

LOSSES = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])


@pytest.mark.parametrize(("reduction", "expected"), [("sum", 63.0), ("mean", 10.5)])
def test_reduced_to_a_scalar(reduction: str, expected: float) -> None:
    """The sum of all, or that divided by their number: rank 0, in the dtype of the losses."""
    for kind in (np.float16, np.float32, np.float64, np.longdouble):
        result = reduced(LOSSES.astype(kind), reduction)
        assert result == expected
        assert result.shape == ()
        assert result.dtype == kind


def test_reduced_by_none_is_the_losses() -> None:
    """None leaves shape and values alone."""
    assert reduced(LOSSES, "none") is LOSSES


def test_the_sum_of_nothing_is_0_and_its_mean_0_over_0() -> None:
    """Zero losses add up to 0; their mean is NaN, not 0."""
    empty = np.zeros((0, 3))
    assert reduced(empty, "sum") == 0
    with np.errstate(invalid="ignore"):
        assert np.isnan(reduced(empty, "mean"))
    assert reduced(empty, "none").shape == (0, 3)


@given(
    st.sampled_from(["none", "mean", "sum"]),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.integers(-8, 8),
)
def test_reduced_vjp_is_the_transpose_of_reduced(
    reduction: str, shape: tuple[int, ...], cotangent: int
) -> None:
    """⟨v, reduced(d)⟩ = ⟨reducedᵀ(v), d⟩ for every direction: a reduction is linear."""
    size = int(np.prod(shape))
    if reduction == "mean" and size == 0:
        return
    direction = (np.arange(size, dtype=np.longdouble) - 3).reshape(shape)
    out = reduced(direction, reduction)
    v = np.full(out.shape, cotangent, np.longdouble)
    pulled = reduced_vjp(v, shape, reduction)
    assert pulled.shape == shape
    assert abs(np.sum(v * out) - np.sum(pulled * direction)) <= 1e-16 * max(
        1.0, float(np.sum(abs(direction)))
    )


@pytest.mark.parametrize(
    ("shape", "rank", "expected"), [((4,), 2, (1, 4)), ((3, 4), 2, (3, 4)), ((), 1, (1,))]
)
def test_batched_adds_one_axis_where_one_is_missing(
    shape: tuple[int, ...], rank: int, expected: tuple[int, ...]
) -> None:
    """A sample becomes a batch of one; a batch stays what it is."""
    assert batched(np.zeros(shape), rank).shape == expected


def test_one_hot_marks_the_label_and_nothing_for_a_label_outside() -> None:
    """One True a row; −1 and C mark none."""
    assert one_hot(np.array([2, 0, -1, 3]), 3).astype(int).tolist() == [
        [0, 0, 1],
        [1, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
    ]


@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_at_target_picks_one_of_each_row(kind: str) -> None:
    """input[n, target[n]] as a column, for either label dtype."""
    picked = at_target(LOSSES, np.array([2, 0], kind))
    assert picked.tolist() == [[4.0], [8.0]]
