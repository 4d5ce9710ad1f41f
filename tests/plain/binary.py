"""Binary cross-entropies in loops over 50-digit numbers, from σ(x) = 1 / (1 + e^−x) and logarithms."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st

from conformance.arrays import NDArray
from tests.plain import PROBLEMS, REDUCTIONS, Params, Problem, Tensors, eighths, plain, reduce_, reductions
from tests.plain.number import CONTEXT, INF, Number, exp, log, maximum, number, total

Place = tuple[int, ...]
SHAPES = ((), (5,), (2, 3), (2, 1, 3))


def log_one_plus(z: Any) -> Number:
    """log(1 + z): 50 digits are too few to add 1 to a very small z first."""
    z = number(z)
    if not z.value > -1:
        return log(z + 1)
    return Number(INF if z.value == INF else CONTEXT.log1p(z.value), z.slope / (1 + z.value))


def minus_log_sigmoid(x: Any) -> Number:
    """−log σ(x) = log(1 + e^−x)."""
    return log_one_plus(exp(-number(x)))


def each(t: Tensors, name: str) -> Iterator[tuple[Place, Number]]:
    """Yield every element of a tensor with its place."""
    for place in np.ndindex(t[name].shape):
        yield place, number(t[name][place])


def weight_at(t: Tensors, name: str, place: Place) -> Number:
    """Return the element of a weight that broadcasting brings to this place; 1 without a weight."""
    weight = t.get(name)
    if weight is None:
        return Number(1)
    trailing = place[len(place) - weight.ndim :]
    return number(weight[tuple(i if n > 1 else 0 for i, n in zip(trailing, weight.shape, strict=True))])


@plain
def binary_cross_entropy_with_logits(t: Tensors, params: Params) -> list[Number]:
    """−w [p y log σ(x) + (1 − y) log(1 − σ(x))], where 1 − σ(x) = σ(−x)."""
    losses = []
    for place, x in each(t, "input"):
        y = number(t["target"][place])
        hit = weight_at(t, "pos_weight", place) * (y * minus_log_sigmoid(x))
        losses.append(weight_at(t, "weight", place) * (hit + (1 - y) * minus_log_sigmoid(-x)))
    return reduce_(losses, params["reduction"])


@plain
def binary_cross_entropy(t: Tensors, params: Params) -> list[Number]:
    """−w [y log x + (1 − y) log(1 − x)], each logarithm at least the floor."""
    floor = params["log_floor"]

    def floored(logarithm: Number) -> Number:
        return logarithm if floor is None else maximum(logarithm, floor)

    losses = []
    for place, x in each(t, "input"):
        y = number(t["target"][place])
        loss = -(y * floored(log(x)) + (1 - y) * floored(log_one_plus(-x)))
        losses.append(weight_at(t, "weight", place) * loss)
    return reduce_(losses, params["reduction"])


@plain
def soft_margin_loss(t: Tensors, params: Params) -> list[Number]:
    """log(1 + e^(−y x)), elementwise."""
    losses = [minus_log_sigmoid(number(t["target"][place]) * x) for place, x in each(t, "input")]
    return reduce_(losses, params["reduction"])


@plain
def multilabel_soft_margin_loss(t: Tensors, params: Params) -> list[Number]:
    """Σ_i w[i] (y[i] log(1 + e^−x[i]) + (1 − y[i]) log(1 + e^x[i])) / C for each sample."""
    shape = t["input"].shape
    losses = []
    for n, *rest in np.ndindex(shape[0], *shape[2:]):
        terms = []
        for c in range(shape[1]):
            x, y = number(t["input"][(n, c, *rest)]), number(t["target"][(n, c, *rest)])
            weight = weight_at(t, "weight", (c,))
            terms.append(weight * (y * minus_log_sigmoid(x) + (1 - y) * minus_log_sigmoid(-x)))
        losses.append(total(terms) / shape[1])
    return reduce_(losses, params["reduction"])


@plain
def log_loss(t: Tensors, params: Params) -> list[Number]:
    """−y log(x + ε) − (1 − y) log(1 − x + ε), elementwise."""
    epsilon = number(params["epsilon"])
    losses = []
    for place, x in each(t, "input"):
        y = number(t["target"][place])
        losses.append(-(y * log(x + epsilon)) - (1 - y) * log_one_plus(epsilon - x))
    return losses


def probabilities(shape: Place) -> st.SearchStrategy[NDArray]:
    """Draw odd multiples of 1/32 between 0 and 1."""
    return eighths(shape, 0, 15).map(lambda drawn: (drawn * 16 + 1) / 32)


def soft_labels(shape: Place) -> st.SearchStrategy[NDArray]:
    """Draw eighths between 0 and 1, both ends included."""
    return eighths(shape, 0, 8)


@st.composite
def elementwise(
    draw: st.DrawFn, values: Callable[[Place], st.SearchStrategy[NDArray]], weights: tuple[str, ...]
) -> dict[str, NDArray]:
    """Draw an input, soft labels, and weights that broadcast."""
    shape = draw(st.sampled_from(SHAPES))
    tensors = {"input": draw(values(shape)), "target": draw(soft_labels(shape))}
    for name in weights:
        if draw(st.booleans()):
            tensors[name] = draw(eighths(draw(st.sampled_from([shape, shape[-1:]]))))
    return tensors


@st.composite
def signed(draw: st.DrawFn) -> dict[str, NDArray]:
    """Draw an input and labels of ±1."""
    shape = draw(st.sampled_from(SHAPES))
    return {"input": draw(eighths(shape)), "target": draw(eighths(shape, 0, 1)) * 16 - 1}


@st.composite
def classes(draw: st.DrawFn) -> dict[str, NDArray]:
    """Draw an input [N, C] or [N, C, H], soft labels and perhaps weights [C]."""
    shape = draw(st.sampled_from([(2, 3), (1, 4), (3, 1), (2, 2, 2)]))
    tensors = {"input": draw(eighths(shape)), "target": draw(soft_labels(shape))}
    if draw(st.booleans()):
        tensors["weight"] = draw(eighths(shape[1:2]))
    return tensors


PROBLEMS["binary_cross_entropy_with_logits"] = st.builds(
    Problem, elementwise(eighths, ("weight", "pos_weight")), reductions
)
PROBLEMS["binary_cross_entropy"] = st.builds(
    Problem,
    elementwise(probabilities, ("weight",)),
    st.fixed_dictionaries(
        {"reduction": st.sampled_from(REDUCTIONS), "log_floor": st.sampled_from([None, -1.0, -100.0])}
    ),
)
PROBLEMS["soft_margin_loss"] = st.builds(Problem, signed(), reductions)
PROBLEMS["multilabel_soft_margin_loss"] = st.builds(Problem, classes(), reductions)
PROBLEMS["log_loss"] = st.builds(
    Problem,
    elementwise(probabilities, ()),
    st.sampled_from([0.0, 0.0625, 0.5]).map(lambda epsilon: {"epsilon": epsilon}),
)
