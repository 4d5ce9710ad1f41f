"""Dice losses, as the textbook has them, in loops over 50-digit numbers."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.plain import PROBLEMS, WIDE, Params, Problem, Tensors, eighths, plain
from tests.plain.number import Number, exp, log, maximum, minimum, number, total

NOTHING = Number(0)


@plain
def dice_loss(t: Tensors, params: Params) -> list[Number]:
    """For each sample, twice what the right categories are given over all that is given and right."""
    x, labels = np.asarray(t["input"], object), t["target"]
    samples = []
    for n in range(x.shape[0]):
        overlap, size = NOTHING, number(params["epsilon"])
        for place in np.ndindex(x.shape[1:]):
            right = int(labels[(n, *place[:-1], 0)]) == place[-1]
            one = number(x[(n, *place)])
            size = size + one + (1 if right else 0)
            overlap = overlap + (one if right else NOTHING)
        samples.append(1 - 2 * overlap / size)
    return [total(samples) / len(samples)]


def _binary(p: list[Number], t: list[Number], smooth: Any) -> Number:
    dot = total(a * b for a, b in zip(p, t, strict=True))
    return 1 - 2 * dot / (total(a * a for a in p) + total(b * b for b in t) + number(smooth))


def _flat(tensor: Any) -> list[Number]:
    return [number(one) for one in np.asarray(tensor, object).reshape(-1)]


@plain
def dice_loss_squared(t: Tensors, params: Params) -> list[Number]:
    """1 − 2 p·t / (p·p + t·t + smooth)."""
    return [_binary(_flat(t["input"]), _flat(t["target"]), params["smooth"])]


@plain
def multi_class_dice_loss(t: Tensors, params: Params) -> list[Number]:
    """Average the binary losses of the activations, class by class."""
    p, target = _activated(np.asarray(t["input"], object), params["activation"]), t["target"]
    weight = t.get("weight")
    sums = [NOTHING] * (1 if weight is None else np.shape(weight)[1])
    for c in range(p.shape[1]):
        if c != params["ignore_index"]:
            loss = _binary(_flat(p[:, c]), _flat(target[:, c]), 1e-5)
            sums = [s + (loss if weight is None else loss * weight[c, k]) for k, s in enumerate(sums)]
    return [s / p.shape[1] for s in sums]


def _activated(x: Any, activation: str) -> Any:
    """Apply an activation to each number, or to each row along the last axis."""
    found = np.empty(x.shape, object)
    for place in np.ndindex(x.shape):
        z = number(x[place])
        if activation in ("softmax", "logsoftmax"):
            share = 1 / total(exp(number(other) - z) for other in x[place[:-1]])
            found[place] = share if activation == "softmax" else log(share)
        elif activation == "sigmoid":
            found[place] = 1 / (1 + exp(-z))
        elif activation == "tanh":
            found[place] = 1 - 2 / (exp(2 * z) + 1)
        else:
            above = maximum(0, z)
            found[place] = above if activation == "relu" else minimum(above, 6)
    return found


# -- problems -----------------------------------------------------------------------------------------


@st.composite
def dice_problem(draw: st.DrawFn) -> Problem:
    """Draw probabilities of up to three categories, with and without places."""
    shape = draw(st.sampled_from([(2, 3), (1, 2), (3, 1), (2, 2, 3), (1, 2, 2, 2)]))
    size = int(np.prod(shape[:-1]))
    labels = draw(st.lists(st.integers(0, shape[-1] - 1), min_size=size, max_size=size))
    tensors = {"input": draw(eighths(shape, 1, 8)), "target": np.array(labels).reshape(*shape[:-1], 1)}
    return Problem(tensors, {"epsilon": draw(st.sampled_from([1e-5, 0.0, 0.5]))})


@st.composite
def squared_problem(draw: st.DrawFn) -> Problem:
    """Draw any rank."""
    shape = draw(st.sampled_from([(), (4,), (2, 3), (2, 1, 3)]))
    tensors = {"input": draw(eighths(shape, 1, 12)), "target": draw(eighths(shape, -8, 8))}
    return Problem(tensors, {"smooth": draw(st.sampled_from([1e-5, 0.5]))})


@st.composite
def multi_class_problem(draw: st.DrawFn) -> Problem:
    """Draw each activation, off the kinks at 0 and 6, with and without weights and an ignored class."""
    shape = draw(st.sampled_from([(2, 3), (1, 2), (2, 2, 2)]))
    tensors = {
        "input": draw(eighths(shape, -16, 60)) + WIDE(1) / 16,
        "target": draw(eighths(shape, 1, 8)),
    }
    if draw(st.booleans()):
        tensors["weight"] = draw(eighths((shape[1], draw(st.integers(1, 2))), -8, 8))
    names = ["softmax", "logsoftmax", "relu", "relu6", "tanh", "sigmoid"]
    params = {
        "activation": draw(st.sampled_from(names)),
        "ignore_index": draw(st.sampled_from([None, 0, 1, 7])),
    }
    return Problem(tensors, params)


PROBLEMS["dice_loss"] = dice_problem()
PROBLEMS["dice_loss_squared"] = squared_problem()
PROBLEMS["multi_class_dice_loss"] = multi_class_problem()
