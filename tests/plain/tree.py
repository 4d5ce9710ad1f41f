"""Losses over trees of classes: −log of a product of probabilities, one factor for each choice."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.plain import PROBLEMS, Number, Params, Problem, Tensors, eighths, plain
from tests.plain.number import exp, log, total


def _dot(row: Any, weights: Any) -> Number:
    return total(a * b for a, b in zip(row, weights, strict=True))


def _cost(z: Number) -> Number:
    """−log σ(z) = log(1 + e^−z); below 1e-15 by its series, for 50 digits do not hold 1 + e^−z there."""
    small = exp(-z)
    return small * (1 - small / 2 + small * small / 3) if small < 1e-15 else log(1 + small)


def _path(leaf: int) -> list[tuple[int, int]]:
    """Climb from a leaf to the root of a tree in heap order: (node, 1 if it was left to the right)."""
    found = []
    while leaf > 1:
        parent, right = divmod(leaf, 2)
        found.append((parent, right))
        leaf = parent
    return found


@plain
def hsigmoid_loss(t: Tensors, params: Params) -> list[Number]:
    """−Σ log σ(±z), the sign + where the path goes right."""
    losses = []
    for n, label in enumerate(t["label"].reshape(-1)):
        if t.get("path_table") is not None:
            path = [(int(k) + 1, int(c)) for k, c in zip(t["path_table"][n], t["path_code"][n], strict=True)]
        else:
            path = _path(int(label) + params["num_classes"])
        choices = []
        for node, right in path:
            z = _dot(t["input"][n], t["weight"][node - 1])
            if t.get("bias") is not None:
                z = z + t["bias"].reshape(-1)[node - 1]
            choices.append(z if right else -z)
        losses.append(total(_cost(z) for z in choices))
    return losses


@plain
def adaptive_log_softmax(t: Tensors, params: Params) -> list[Number]:
    """Log of the probability of the head's entry times that of the class within its cluster."""
    del params
    tails = [(t[f"tail{k}_in"], t[f"tail{k}_out"]) for k in (1, 2) if t.get(f"tail{k}_in") is not None]
    x = t["input"] if t["target"].ndim else t["input"][np.newaxis]
    frequent = len(t["head_weight"]) - len(tails)
    results = []
    for row, label in zip(x, t["target"].reshape(-1), strict=True):
        head = [_dot(row, weights) for weights in t["head_weight"]]
        if t.get("head_bias") is not None:
            head = [score + bias for score, bias in zip(head, t["head_bias"], strict=True)]
        entry, within = int(label.value if isinstance(label, Number) else label), Number(0)
        if entry >= frequent:
            place, cluster = entry - frequent, 0
            while place >= len(tails[cluster][1]):
                place, cluster = place - len(tails[cluster][1]), cluster + 1
            into, out = tails[cluster]
            hidden = [_dot(row, weights) for weights in into]
            within = _log_share([_dot(hidden, weights) for weights in out], place)
            entry = frequent + cluster
        results.append(_log_share(head, entry) + within)
    return results


@plain
def adaptive_log_softmax_with_loss(t: Tensors, params: Params) -> list[Number]:
    """Mean over the batch of −log p."""
    each = adaptive_log_softmax(t, params)
    return [-total(each) / len(each)]


def _log_share(scores: list[Number], place: int) -> Number:
    return log(exp(scores[place]) / total(exp(score) for score in scores))


@st.composite
def _trees(draw: st.DrawFn) -> Problem:
    rows, features, classes = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(2, 6))
    tensors = {
        "input": draw(eighths((rows, features), -16, 16)),
        "label": np.array(draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows))),
        "weight": draw(eighths((classes - 1, features), -16, 16)),
    }
    if draw(st.booleans()):
        tensors["label"] = tensors["label"].reshape(-1, 1)
    if draw(st.booleans()):
        tensors["bias"] = draw(eighths((classes - 1, 1), -16, 16))
    if draw(st.booleans()):
        size = rows * draw(st.integers(1, 3))
        table = draw(st.lists(st.integers(0, classes - 2), min_size=size, max_size=size))
        codes = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
        tensors |= {
            "path_table": np.array(table).reshape(rows, -1),
            "path_code": np.array(codes).reshape(rows, -1),
        }
    return Problem(tensors, {"num_classes": classes})


@st.composite
def _clusters(draw: st.DrawFn) -> Problem:
    features, frequent = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    sizes = draw(st.lists(st.integers(1, 2), min_size=1, max_size=2))
    shape: tuple[int, ...] = draw(st.sampled_from([(), (1,), (3,)]))
    count = int(np.prod(shape))
    labels = st.lists(st.integers(0, frequent + sum(sizes) - 1), min_size=count, max_size=count)
    head = frequent + len(sizes)
    tensors = {
        "input": draw(eighths((*shape, features), -16, 16)),
        "target": np.array(draw(labels)).reshape(shape),
        "head_weight": draw(eighths((head, features), -16, 16)),
    }
    if draw(st.booleans()):
        tensors["head_bias"] = draw(eighths((head,), -16, 16))
    for number, size in enumerate(sizes, 1):
        hidden = draw(st.integers(1, 2))
        tensors[f"tail{number}_in"] = draw(eighths((hidden, features), -8, 8))
        tensors[f"tail{number}_out"] = draw(eighths((size, hidden), -8, 8))
    return Problem(tensors)


PROBLEMS["hsigmoid_loss"] = _trees()
PROBLEMS["adaptive_log_softmax"] = _clusters()
PROBLEMS["adaptive_log_softmax_with_loss"] = _clusters()
