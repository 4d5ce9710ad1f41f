"""Regression losses in loops over 50-digit numbers: the textbook's cases, and a sum of derivatives."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from conformance.arrays import NDArray
from tests.plain import PROBLEMS, Params, Problem, Tensors, eighths, plain, reduce_, reductions
from tests.plain.number import CONTEXT, NAN, Number, absolute, number, sqrt, total

SIXTEENTH = np.longdouble(1) / 16
SHAPES = (
    ((), ()),
    ((5,), (5,)),
    ((2, 3), (2, 3)),
    ((2, 1, 3), (2, 1, 3)),
    ((2, 3), (3,)),
    ((3,), (2, 3)),
    ((3, 1), (1, 2)),
    ((2, 2), ()),
)


def _errors(t: Tensors) -> tuple[list[Number], tuple[int, ...]]:
    """Return every x − y, in order, and their shape."""
    x, y = np.broadcast_arrays(_as_array(t["input"]), _as_array(t["target"]))
    return [x[place] - y[place] for place in np.ndindex(x.shape)], x.shape


def _as_array(tensor: Any) -> NDArray:
    array = np.empty(np.shape(tensor), object)
    for place in np.ndindex(array.shape):
        array[place] = number(tensor[place])
    return array


def _losses(t: Tensors, params: Params, loss: Callable[[Number], Number]) -> list[Number]:
    errors, shape = _errors(t)
    losses = [loss(error) for error in errors]
    if t.get("weight") is not None:
        weight = np.broadcast_to(_as_array(t["weight"]), shape)
        losses = [one * weight[place] for one, place in zip(losses, np.ndindex(shape), strict=True)]
    return reduce_(losses, params["reduction"])


def _piecewise(error: Number, edge: Number, inside: Callable[[Number], Number], outside: Number) -> Number:
    """Return `inside` of an error smaller than the edge, else `outside`."""
    if CONTEXT.isnan(error.value):
        return Number(NAN, NAN)
    return inside(error) if absolute(error) < edge else outside


@plain
def l1_loss(t: Tensors, params: Params) -> list[Number]:
    """|x − y|, the sum of a positive and a negative part."""
    return _losses(t, params, absolute)


@plain
def mse_loss(t: Tensors, params: Params) -> list[Number]:
    """(x − y)²."""
    return _losses(t, params, lambda error: error * error)


@plain
def smooth_l1_loss(t: Tensors, params: Params) -> list[Number]:
    """0.5 (x − y)² / beta if |x − y| < beta, |x − y| − 0.5 beta otherwise."""
    beta = number(params["beta"])

    def loss(error: Number) -> Number:
        return _piecewise(error, beta, lambda e: e * e / (2 * beta), absolute(error) - beta / 2)

    return _losses(t, params, loss)


@plain
def huber_loss(t: Tensors, params: Params) -> list[Number]:
    """0.5 (x − y)² if |x − y| < delta, delta |x − y| − 0.5 delta² otherwise."""
    delta = number(params["delta"])

    def loss(error: Number) -> Number:
        return _piecewise(error, delta, lambda e: e * e / 2, delta * absolute(error) - delta * delta / 2)

    return _losses(t, params, loss)


@plain
def rmse_loss(t: Tensors, params: Params) -> list[Number]:
    """Root of the mean of the squares."""
    del params
    errors, _ = _errors(t)
    return [sqrt(total(error * error for error in errors) / len(errors))]


@plain
def l2_loss(t: Tensors, params: Params) -> list[Number]:
    """Half of the sum of the squares."""
    del params
    x = _as_array(t["input"])
    return [total(x[place] * x[place] for place in np.ndindex(x.shape)) / 2]


@st.composite
def _pairs(draw: st.DrawFn) -> dict[str, NDArray]:
    """Draw inputs and targets whose differences are odd sixteenths: no kink at a multiple of an eighth."""
    one, other = draw(st.sampled_from(SHAPES))
    return {"input": draw(eighths(one)) + SIXTEENTH, "target": draw(eighths(other))}


@st.composite
def _weighted(draw: st.DrawFn) -> dict[str, NDArray]:
    tensors = draw(_pairs())
    if draw(st.booleans()):
        tensors["weight"] = draw(eighths(tensors["input"].shape))
    return tensors


edges = st.integers(1, 32).map(lambda eighth: eighth / 8)

for op in ("l1_loss", "mse_loss"):
    PROBLEMS[op] = st.builds(Problem, _weighted(), reductions)
PROBLEMS["smooth_l1_loss"] = st.builds(
    lambda tensors, params, beta: Problem(tensors, params | {"beta": beta}),
    _pairs(),
    reductions,
    st.just(0.0) | edges,
)
PROBLEMS["huber_loss"] = st.builds(
    lambda tensors, params, delta: Problem(tensors, params | {"delta": delta}), _weighted(), reductions, edges
)
PROBLEMS["rmse_loss"] = st.builds(Problem, _pairs())
PROBLEMS["l2_loss"] = st.builds(
    lambda x: Problem({"input": x}), st.sampled_from([(), (1,), (5,), (2, 3), (2, 1, 3)]).flatmap(eighths)
)
