"""Focal losses in loops over 50-digit numbers."""

import numpy as np
from hypothesis import strategies as st

from conformance.arrays import NDArray
from tests.plain import PROBLEMS, REDUCTIONS, Params, Problem, Tensors, eighths, plain, reduce_
from tests.plain.binary import minus_log_sigmoid
from tests.plain.number import Number, exp, log, number, power, total


def _sigmoid(x: Number) -> Number:
    return 1 / (1 + exp(-x))


@plain
def sigmoid_focal_loss(t: Tensors, params: Params) -> list[Number]:
    """−[y α (1 − p)^γ log p + (1 − y) (1 − α) p^γ log(1 − p)] / n, where 1 − σ(x) = σ(−x)."""
    alpha, gamma = number(params["alpha"]), params["gamma"]
    losses = []
    for place in np.ndindex(t["input"].shape):
        x, y = number(t["input"][place]), number(t["target"][place])
        hit = y * alpha * power(_sigmoid(-x), gamma) * minus_log_sigmoid(x)
        loss = hit + (1 - y) * (1 - alpha) * power(_sigmoid(x), gamma) * minus_log_sigmoid(-x)
        normalizer = t.get("normalizer")
        losses.append(loss if normalizer is None else loss / number(normalizer.reshape(-1)[0]))
    return reduce_(losses, params["reduction"])


@plain
def focal_loss(t: Tensors, params: Params) -> list[Number]:
    """−w (1 − p)^γ log p, p = e^x / Σ e^x, of the label's class, or of every class marked 1."""
    samples, classes = t["input"].shape
    target, weight = t["target"], t.get("weight")
    losses = []
    for n in range(samples):
        row = [number(t["input"][n, c]) for c in range(classes)]
        exponentials = [exp(x) for x in row]
        for c in range(classes):
            marked = target[n, c] != 0 if target.shape[1] > 1 else target[n, 0] == c
            if not marked:
                losses += [Number(0)] * (target.shape[1] > 1)
                continue
            others = total(exponentials[:c] + exponentials[c + 1 :])
            everything = total(exponentials)
            loss = -power(others / everything, params["gamma"]) * log(exponentials[c] / everything)
            losses.append(loss if weight is None else number(weight[c]) * loss)
    return reduce_(losses, params["reduction"])


@st.composite
def _detections(draw: st.DrawFn) -> dict[str, NDArray]:
    """Draw an input, soft labels and perhaps a normalizer."""
    shape = draw(st.sampled_from([(), (4,), (2, 3), (2, 1, 2)]))
    tensors = {"input": draw(eighths(shape)), "target": draw(eighths(shape, 0, 8))}
    if draw(st.booleans()):
        tensors["normalizer"] = draw(eighths(draw(st.sampled_from([(), (1,)])), 4, 40))
    return tensors


@st.composite
def _rows(draw: st.DrawFn) -> dict[str, NDArray]:
    """Draw logits [N, C], labels as indices or as marks, and perhaps class weights."""
    samples, classes = draw(st.sampled_from([(1, 2), (3, 2), (2, 4)]))
    marks = draw(st.booleans())
    size = samples * (classes if marks else 1)
    drawn = draw(st.lists(st.integers(0, 1 if marks else classes - 1), min_size=size, max_size=size))
    tensors = {
        "input": draw(eighths((samples, classes))),
        "target": np.array(drawn, np.int64).reshape(samples, -1),
    }
    if draw(st.booleans()):
        tensors["weight"] = draw(eighths((classes,)))
    return tensors


gammas = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5])
PROBLEMS["sigmoid_focal_loss"] = st.builds(
    Problem,
    _detections(),
    st.fixed_dictionaries(
        {
            "alpha": st.sampled_from([0.0, 0.25, 0.5, 1.0]),
            "gamma": gammas,
            "reduction": st.sampled_from(REDUCTIONS),
        }
    ),
)
PROBLEMS["focal_loss"] = st.builds(
    Problem,
    _rows(),
    st.fixed_dictionaries({"gamma": gammas, "reduction": st.sampled_from(REDUCTIONS)}),
)
