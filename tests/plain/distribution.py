"""Likelihoods and divergences, as the textbook has them, in loops over 50-digit numbers."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from conformance.arrays import NDArray
from tests.plain import PROBLEMS, WIDE, Params, Problem, Tensors, eighths, plain, reduce_, reductions
from tests.plain.number import CONTEXT, INF, Number, exp, log, maximum, number, total

SHAPES = ((), (1,), (5,), (2, 3), (3, 1, 2))
BROADCAST = (
    ((5,), (5,)),
    ((2, 3), (2, 3)),
    ((2, 3), (1, 3)),
    ((2, 3), (3,)),
    ((2, 2), ()),
    ((2, 1, 3), (2, 2, 3)),
)


def _together(*arrays: Any) -> tuple[list[tuple[Number, ...]], tuple[int, ...]]:
    """Return the elements that broadcasting brings together, in order, and the common shape."""
    wide = np.broadcast_arrays(*(np.asarray(array, object) for array in arrays))
    return [tuple(number(one[place]) for one in wide) for place in np.ndindex(wide[0].shape)], wide[0].shape


@plain
def kl_div(t: Tensors, params: Params) -> list[Number]:
    """Sum y log(y / e^x) with y the target, or of a logarithm its exponential; the number of rows divides."""
    pairs, _ = _together(t["input"], t["target"])
    losses = [_divergence(x, y, log_target=params["log_target"]) for x, y in pairs]
    if params["reduction"] == "batchmean":
        shape = np.shape(t["input"])
        return [total(losses) / (shape[0] if shape else 1)]
    return reduce_(losses, params["reduction"])


def _divergence(x: Number, y: Number, *, log_target: bool) -> Number:
    if log_target:
        return exp(y) * (y - x)
    if y.value == 0:  # y log y goes to 0 there, vertically
        return Number(0, -INF if y.slope else 0) - y * x
    return y * log(y) - y * x


@plain
def poisson_nll_loss(t: Tensors, params: Params) -> list[Number]:
    """Rate less t times its logarithm, and √(2πt) (t/e)^t for t! where t is above 1."""
    pairs, _ = _together(t["input"], t["target"])
    losses = []
    for x, y in pairs:
        loss = exp(x) - y * x if params["log_input"] else x - y * log(x + number(params["eps"]))
        if params["full"] and y > 1:
            loss = loss + y * (log(y) - 1) + log(2 * CONTEXT.pi * y) / 2
        losses.append(loss)
    return reduce_(losses, params["reduction"])


@plain
def gaussian_nll_loss(t: Tensors, params: Params) -> list[Number]:
    """−log of the normal density, its constant on request, at a variance of at least eps."""
    x, var = np.asarray(t["input"], object), np.asarray(t["var"], object)
    if var.ndim == x.ndim - 1 and var.shape == x.shape[:-1]:
        var = var.reshape((*var.shape, 1))
    triples, _ = _together(x, t["target"], var)
    losses = []
    for mean, sample, given in triples:
        least = maximum(given, params["eps"])
        v = Number(least.value, given.slope) if params["through_clamp"] else least
        loss = (log(v) + (mean - sample) * (mean - sample) / v) / 2
        losses.append(loss + log(2 * CONTEXT.pi) / 2 if params["full"] else loss)
    return reduce_(losses, params["reduction"])


# -- problems -----------------------------------------------------------------------------------------


@st.composite
def kl_div_problem(draw: st.DrawFn) -> Problem:
    """Draw shapes that broadcast, a target that is a probability, possibly above 1, or a logarithm."""
    shape, other = draw(st.sampled_from(BROADCAST + tuple((s, s) for s in SHAPES)))
    logarithm = draw(st.booleans())
    target = draw(eighths(other, -16, 8)) if logarithm else draw(eighths(other, 2, 12))
    tensors = {"input": draw(eighths(shape, -24, 8)), "target": target}
    reduction = draw(st.sampled_from(["none", "mean", "sum", "batchmean"]))
    return Problem(tensors, {"log_target": logarithm, "reduction": reduction})


@st.composite
def poisson_nll_problem(draw: st.DrawFn) -> Problem:
    """Draw logarithms or rates, targets that are no counts, and below, but not at, the jump at 1."""
    shape = draw(st.sampled_from(SHAPES))
    logarithm, full = draw(st.booleans()), draw(st.booleans())
    x = draw(eighths(shape, -16, 16)) if logarithm else draw(eighths(shape, 4, 40))
    tensors = {"input": x, "target": draw(eighths(shape, -8, 40)) + WIDE(1) / 16}
    params = {"log_input": logarithm, "full": full, "eps": draw(st.sampled_from([1e-8, 0.0, 0.25]))}
    return Problem(tensors, params | draw(reductions))


@st.composite
def gaussian_nll_problem(draw: st.DrawFn) -> Problem:
    """Draw every shape of a variance, on both sides of the clamp where the clamp is followed."""
    shape = draw(st.sampled_from([(3,), (2, 3), (2, 2, 2)]))
    target = draw(st.sampled_from([shape, (*shape[:-1], 1)]))
    var = draw(st.sampled_from([shape, (*shape[:-1], 1), shape[:-1]]))
    through = draw(st.booleans())
    tensors = {
        "input": draw(eighths(shape)),
        "target": draw(eighths(target)),
        "var": _variances(draw, var, lowest=8 if through else 1),
    }
    params = {"full": draw(st.booleans()), "eps": 0.8125, "through_clamp": through}
    return Problem(tensors, params | draw(reductions))


def _variances(draw: st.DrawFn, shape: tuple[int, ...], lowest: int) -> NDArray:
    return draw(eighths(shape, lowest, 32))


PROBLEMS["kl_div"] = kl_div_problem()
PROBLEMS["poisson_nll_loss"] = poisson_nll_problem()
PROBLEMS["gaussian_nll_loss"] = gaussian_nll_problem()
