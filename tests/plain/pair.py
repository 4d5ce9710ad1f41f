"""The losses of `reference/pair.py`, plainly: vector by vector, place by place."""

from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from tests.plain import (
    KINK,
    PROBLEMS,
    REDUCTIONS,
    WIDE,
    Number,
    Params,
    Problem,
    Tensors,
    eighths,
    number,
    plain,
    reduce_,
)
from tests.plain.number import absolute, arccos, cos, exp, log, maximum, minimum, power, sqrt, total

Vector = list[Number]


@plain
def margin_ranking_loss(t: Tensors, params: Params) -> list[Number]:
    """max(0, −y (x₁ − x₂) + margin)."""
    triples = zip(t["input1"].flat, t["input2"].flat, t["target"].flat, strict=True)
    losses = [maximum(0, -number(y) * (x1 - x2) + params["margin"]) for x1, x2, y in triples]
    return reduce_(losses, params["reduction"])


@plain
def cosine_embedding_loss(t: Tensors, params: Params) -> list[Number]:
    """Take 1 − cos where the label is 1 and max(0, cos − margin) where it is −1."""
    axis = 0 if t["input1"].ndim == 1 else 1
    pairs = zip(_vectors(t["input1"], axis), _vectors(t["input2"], axis), strict=True)
    losses = []
    for (x1, x2), label in zip(pairs, t["target"].flat, strict=True):
        inner = total(a * b for a, b in zip(x1, x2, strict=True))
        cosine = inner / (_length(x1) * _length(x2))
        similar = float(getattr(label, "value", label)) == 1
        losses.append(1 - cosine if similar else maximum(0, cosine - params["margin"]))
    return reduce_(losses, params["reduction"])


@plain
def triplet_margin_loss(t: Tensors, params: Params) -> list[Number]:
    """max(0, ‖a − p + ε‖_p − ‖a − n + ε‖_p + margin)."""
    p, eps = params["p"], params["eps"]

    def distance(x: Vector, y: Vector) -> Number:
        sizes = [absolute(a - b + eps) for a, b in zip(x, y, strict=True)]
        if p == np.inf:
            return _largest(sizes)
        summed = total(power(size, p) for size in sizes)
        return sqrt(summed) if p == 2 else power(summed, 1 / number(p))

    return _triplets(t, params, distance)


@plain
def triplet_margin_with_distance_loss(t: Tensors, params: Params) -> list[Number]:
    """max(0, d(a, p) − d(a, n) + margin) for a distance d by name."""

    def distance(x: Vector, y: Vector) -> Number:
        gaps = [a - b for a, b in zip(x, y, strict=True)]
        if params["distance"] == "l1":
            return total(absolute(gap) for gap in gaps)
        if params["distance"] == "squared":
            return total(gap * gap for gap in gaps)
        return _length([gap + (0 if params["distance"] else 1e-6) for gap in gaps])

    return _triplets(t, params, distance)


@plain
def margin_cross_entropy(t: Tensors, params: Params) -> list[Number]:
    """−log softmax of scale · cos θ at the label, whose θ and cosine are moved by the margins."""
    m1, m2, m3, scale = (params[name] for name in ("margin1", "margin2", "margin3", "scale"))
    losses = []
    for row, label in zip(t["logits"], t["label"].flat, strict=True):
        scores = [scale * x for x in row]
        scores[label] = scale * (cos(m1 * arccos(row[label]) + m2) - m3)
        losses.append(log(total(exp(score) for score in scores)) - scores[label])
    return reduce_(losses, params["reduction"])


def _triplets(t: Tensors, params: Params, distance: Any) -> list[Number]:
    losses = []
    rows = (_vectors(t[name], t[name].ndim - 1) for name in ("anchor", "positive", "negative"))
    for a, p, n in zip(*rows, strict=True):
        apart = distance(a, n)
        if params["swap"]:
            apart = minimum(apart, distance(p, n))
        losses.append(maximum(0, distance(a, p) - apart + params["margin"]))
    return reduce_(losses, params["reduction"])


def _vectors(tensor: Any, axis: int) -> list[Vector]:
    """List the vectors along an axis, in the order of the places that are left."""
    last = np.moveaxis(tensor, axis, -1)
    return [list(last[place]) for place in np.ndindex(last.shape[:-1])]


def _length(vector: Vector) -> Number:
    return sqrt(total(x * x for x in vector))


def _largest(numbers: Vector) -> Number:
    result = number(0)
    for each in numbers:
        result = maximum(result, each)
    return result


# -- problems -----------------------------------------------------------------------------------------


@st.composite
def ranking(draw: st.DrawFn) -> Problem:
    """Draw pairs whose hinge is not on its kink."""
    shape = draw(st.sampled_from([(5,), (2, 3), ()]))
    # Odd sixteenths as the margin: no difference of eighths can meet them.
    margin = draw(st.integers(-12, 12)) / 8 + 1 / 16
    target = np.array(draw(st.lists(st.sampled_from([-1, 1]), min_size=6, max_size=6)), WIDE)
    tensors = {name: np.asarray(draw(eighths(shape))) for name in ("input1", "input2")}
    size = int(np.prod(shape))
    tensors["target"] = target[:size].reshape(shape)
    return Problem(tensors, {"margin": margin, "reduction": draw(st.sampled_from(REDUCTIONS))})


@st.composite
def cosines(draw: st.DrawFn) -> Problem:
    """Draw vectors that are not zero, whose cosine is not at the margin."""
    shape, labels = draw(st.sampled_from([((2, 3), (2,)), ((3,), ()), ((2, 2, 2), (2, 2))]))
    axis = 0 if len(shape) == 1 else 1
    # No place is 0, so no vector is.
    x1, x2 = (draw(eighths(shape)) + 1 / WIDE(16) for _ in range(2))
    cosine = (x1 * x2).sum(axis) / np.sqrt((x1 * x1).sum(axis) * (x2 * x2).sum(axis))
    assume(np.all(1 - abs(cosine) > KINK))  # 1 − cos of parallel vectors is all rounding
    margin = draw(st.integers(-7, 7)) / 8
    assume(np.all(abs(cosine - margin) > KINK))
    target = np.array(draw(st.lists(st.sampled_from([-1, 1]), min_size=4, max_size=4)), np.int64)
    tensors: Tensors = {"input1": x1, "input2": x2}
    tensors["target"] = target[: int(np.prod(labels))].reshape(labels)
    return Problem(tensors, {"margin": margin, "reduction": draw(st.sampled_from(REDUCTIONS))})


def _sides(tensors: dict[str, Any]) -> list[Any]:
    pairs = (("anchor", "positive"), ("anchor", "negative"), ("positive", "negative"))
    return [tensors[x] - tensors[y] for x, y in pairs]


def _smooth(distances: list[Any], params: Params) -> bool:
    """Whether neither the hinge nor the swap is near its kink."""
    near, far, between = distances
    if params["swap"] and np.any(abs(far - between) < KINK):
        return False
    far = np.minimum(far, between) if params["swap"] else far
    return not np.any(abs(near - far + params["margin"]) < KINK)


@st.composite
def _triplet(draw: st.DrawFn) -> dict[str, Any]:
    """Draw three tensors whose differences are nowhere 0, nor as large in two places."""
    shape = draw(st.sampled_from([(2, 2), (3,), (1, 4)]))
    offsets = {"anchor": 0, "positive": WIDE(1) / 32, "negative": WIDE(3) / 32}
    ramp = np.arange(shape[-1], dtype=WIDE) / 128
    return {
        name: draw(eighths(shape)) + offset + ramp * place
        for place, (name, offset) in enumerate(offsets.items())
    }


@st.composite
def triplets(draw: st.DrawFn) -> Problem:
    """Draw triplets under a norm of any degree."""
    tensors = draw(_triplet())
    params: Params = {
        "margin": draw(st.integers(1, 16)) / 8,
        "p": draw(st.sampled_from([1.0, 2.0, 3.0, 1.5, np.inf])),
        "eps": draw(st.sampled_from([0.0, 2.0**-20, 1 / 512])),
        "swap": draw(st.booleans()),
        "reduction": draw(st.sampled_from(REDUCTIONS)),
    }
    p = params["p"]

    sizes = [abs(z + params["eps"]) for z in _sides(tensors)]
    assume(_smooth([s.max(-1) if np.isinf(p) else (s**p).sum(-1) ** (1 / p) for s in sizes], params))
    return Problem(tensors, params)


@st.composite
def distant_triplets(draw: st.DrawFn) -> Problem:
    """Draw triplets under a distance by name."""
    tensors = draw(_triplet())
    params: Params = {
        "distance": draw(st.sampled_from([None, "euclidean", "l1", "squared"])),
        "margin": draw(st.integers(0, 16)) / 8,
        "swap": draw(st.booleans()),
        "reduction": draw(st.sampled_from(REDUCTIONS)),
    }

    gaps = _sides(tensors)
    squared = [(z * z).sum(-1) for z in gaps]
    euclidean = [np.sqrt(s) for s in squared]
    known = {"l1": [abs(z).sum(-1) for z in gaps], "squared": squared}
    assume(_smooth(known.get(str(params["distance"]), euclidean), params))
    return Problem(tensors, params)


@st.composite
def angles(draw: st.DrawFn) -> Problem:
    """Draw cosines inside (−1, 1) and labels."""
    rows, classes = draw(st.sampled_from([(2, 3), (1, 4), (3, 2)]))
    label = np.array([draw(st.integers(0, classes - 1)) for _ in range(rows)], np.int64)
    if draw(st.booleans()):
        label = label[:, np.newaxis]
    params: Params = {
        "margin1": draw(st.sampled_from([1.0, 0.75, 1.5])),
        "margin2": draw(st.sampled_from([0.0, 0.5, 0.25])),
        "margin3": draw(st.sampled_from([0.0, 0.375])),
        "scale": draw(st.sampled_from([1.0, 8.0, 64.0])),
        "reduction": draw(st.sampled_from(REDUCTIONS)),
    }
    logits = draw(eighths((rows, classes), -7, 7))
    return Problem({"logits": logits, "label": label}, params)


PROBLEMS["margin_ranking_loss"] = ranking()
PROBLEMS["cosine_embedding_loss"] = cosines()
PROBLEMS["triplet_margin_loss"] = triplets()
PROBLEMS["triplet_margin_with_distance_loss"] = distant_triplets()
PROBLEMS["margin_cross_entropy"] = angles()
