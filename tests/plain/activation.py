"""The activations in their textbook form, and strategies for their inputs."""

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from tests.plain import PROBLEMS, Number, Params, Problem, Tensors, eighths, plain
from tests.plain.number import CONTEXT, INF, NAN, exp, number, total

if TYPE_CHECKING:
    from conformance.arrays import NDArray

Row = list[Number]
Place = tuple[int, ...]


def slices(array: Any, axes: tuple[int, ...]) -> list[list[Place]]:
    """List the places of each slice along the axes, slices in the order of the axes that remain."""
    others = [[0] if n in axes else range(size) for n, size in enumerate(array.shape)]
    found = []
    for corner in product(*others):
        ranges = [range(size) if n in axes else [corner[n]] for n, size in enumerate(array.shape)]
        found.append(list(product(*ranges)))
    return found


def axes_of(axis: Any, rank: int) -> tuple[int, ...]:
    """Return the axes of a sum, counted from 0; no axis, or none in the list, is all."""
    if axis is None or axis == () or not rank:
        return tuple(range(rank))
    return tuple(n % rank for n in (axis if isinstance(axis, tuple) else (axis,)))


def each_slice(x: Any, axis: Any, one: Callable[[Row], Row]) -> Row:
    """Apply `one` to each slice along the axis; without one the rule of ranks 0, 1 and 3."""
    result = np.empty(x.shape, object)
    default = 0 if x.ndim in (0, 1, 3) else 1
    for places in slices(x, axes_of(default if axis is None else axis, x.ndim)):
        for place, value in zip(places, one([x[p] for p in places]), strict=True):
            result[place] = value
    return list(result.reshape(-1))


def log1p(z: Number) -> Number:
    """log(1 + z), where 1 + z has more digits than a Number."""
    return Number(CONTEXT.log1p(z.value), z.slope / (1 + z.value) if z.slope != 0 else 0)


def hopeless(row: Row) -> bool:
    """Whether the row holds a NaN, or nothing but −∞, whose ratios are 0/0."""
    return any(CONTEXT.isnan(x.value) for x in row) or all(x.value == -INF for x in row)


def lost(row: Row, value: Any = NAN) -> Number:
    """Return a value whose slope is NaN if anything in the row moves."""
    return Number(value, NAN if any(x.slope != 0 for x in row) else 0)


@plain
def softmax(t: Tensors, params: Params) -> Row:
    """Return 1 / Σ_j e^(x[j] − x[i]) for each x[i]; 0 for one of −∞."""

    def one(row: Row) -> Row:
        if hopeless(row):
            return [lost(row)] * len(row)
        return [
            number(0) if x.value == -INF else 1 / total(number(1) if y is x else exp(y - x) for y in row)
            for x in row
        ]

    return each_slice(t["input"], params["axis"], one)


@plain
def log_softmax(t: Tensors, params: Params) -> Row:
    """Return −log Σ_j e^(x[j] − x[i]) for each x[i]; what is −∞ stays so, and moves with x[i]."""

    def one(row: Row) -> Row:
        if hopeless(row):
            return [lost(row)] * len(row)
        return [
            x - log_of_sum(row) if x.value == -INF else -log1p(total(exp(y - x) for y in row if y is not x))
            for x in row
        ]

    return each_slice(t["input"], params["axis"], one)


def log_of_sum(row: Row) -> Number:
    """Logarithm of Σ e^x: x + log(1 + Σ e^(y − x)) for the largest x."""
    if not row or any(CONTEXT.isnan(x.value) for x in row):
        return lost(row, NAN if row else -INF)
    largest = max(row, key=lambda x: x.value)
    if abs(largest.value) == INF:
        return lost(row, largest.value)
    return largest + log1p(total(exp(y - largest) for y in row if y is not largest))


@plain
def logsumexp(t: Tensors, params: Params) -> Row:
    """Take the logarithm of Σ e^x over each slice."""
    x = t["input"]
    return [log_of_sum([x[p] for p in places]) for places in slices(x, axes_of(params["axis"], x.ndim))]


def log_of_one_and_exp(z: Number) -> Number:
    """log(1 + e^z), which is z + log(1 + e^−z)."""
    return z + log1p(exp(-z)) if z > 1 else log1p(exp(z))


@plain
def sigmoid(t: Tensors, params: Params) -> Row:
    """Return 1 / (1 + e^−x), and where that is ∞/∞ e^x / (1 + e^x)."""
    del params
    return [1 / (1 + exp(-x)) if x > -1 else exp(x) / (1 + exp(x)) for x in t["input"].reshape(-1)]


@plain
def log_sigmoid(t: Tensors, params: Params) -> Row:
    """Return −log(1 + e^−x)."""
    del params
    return [-log_of_one_and_exp(-x) for x in t["input"].reshape(-1)]


@plain
def softplus(t: Tensors, params: Params) -> Row:
    """Return log(1 + e^(beta·x)) / beta, or x above the threshold."""
    beta, threshold = number(params["beta"]), number(params["threshold"])
    return [
        x if beta * x > threshold else log_of_one_and_exp(beta * x) / beta for x in t["input"].reshape(-1)
    ]


@st.composite
def shapes(draw: st.DrawFn, least: int = 0) -> tuple[int, ...]:
    """Draw up to 3 axes of up to 3."""
    return tuple(draw(st.lists(st.integers(1, 3), min_size=least, max_size=3)))


@st.composite
def along_an_axis(draw: st.DrawFn) -> Problem:
    """Draw logits and an axis, counted from either end or left to the rule."""
    x: NDArray = draw(shapes(1).flatmap(eighths))
    axis = draw(st.one_of(st.none(), st.integers(-x.ndim, x.ndim - 1)))
    return Problem({"input": x}, {"axis": axis})


@st.composite
def over_axes(draw: st.DrawFn) -> Problem:
    """Draw logits and one axis, several, or none."""
    x: NDArray = draw(shapes(1).flatmap(eighths))
    some = st.lists(st.integers(0, x.ndim - 1), unique=True).map(tuple)
    axis = draw(st.one_of(st.none(), st.integers(-x.ndim, x.ndim - 1), some))
    return Problem({"input": x}, {"axis": axis, "keepdim": draw(st.booleans())})


@st.composite
def with_threshold(draw: st.DrawFn) -> Problem:
    """Draw inputs whose product with beta is a multiple of 1/16, and a threshold between two of those."""
    x = draw(shapes().flatmap(eighths))
    params = {
        "beta": draw(st.sampled_from([-1.0, 0.5, 1.0, 2.0])),
        "threshold": draw(st.integers(-16, 40)) / 8 + 1 / 32,
    }
    return Problem({"input": x}, params)


anything = shapes().flatmap(eighths).map(lambda x: Problem({"input": x}))

PROBLEMS["log_softmax"] = along_an_axis()
PROBLEMS["softmax"] = along_an_axis()
PROBLEMS["logsumexp"] = over_axes()
PROBLEMS["sigmoid"] = anything
PROBLEMS["log_sigmoid"] = anything
PROBLEMS["softplus"] = with_threshold()
