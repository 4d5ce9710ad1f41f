"""The margin losses in plain loops."""

from itertools import product
from typing import Any

import numpy as np
from hypothesis import strategies as st

from conformance.arrays import NDArray
from tests.plain import PROBLEMS, WIDE, Number, Params, Problem, Tensors, plain, reduce_, reductions
from tests.plain.number import maximum, number, total


@plain
def multi_margin_loss(t: Tensors, params: Params) -> list[Number]:
    """w[y] · Σ_{i≠y} max(0, margin − x[y] + x[i])^p / C, row by row."""
    x, labels = t["input"], np.atleast_1d(t["target"]).tolist()
    rows = [x] if x.ndim == 1 else list(x)
    losses = []
    for row, y in zip(rows, labels, strict=True):
        hinges = [maximum(0, params["margin"] - row[y] + row[i]) for i in range(len(row)) if i != y]
        summed = total(hinge if params["p"] == 1 else hinge * hinge for hinge in hinges)
        weight = t["weight"][y] if t.get("weight") is not None else number(1)
        losses.append(weight * summed / len(row))
    return reduce_(losses, params["reduction"])


@plain
def hinge_embedding_loss(t: Tensors, params: Params) -> list[Number]:
    """Return x where y = 1, max(0, margin − x) where y = −1."""
    labels = [n.value if isinstance(n, Number) else n for n in t["target"].reshape(-1)]
    pairs = zip(t["input"].reshape(-1), labels, strict=True)
    return reduce_([x if y == 1 else maximum(0, params["margin"] - x) for x, y in pairs], params["reduction"])


@plain
def multilabel_margin_loss(t: Tensors, params: Params) -> list[Number]:
    """Σ_j Σ_{i ∉ y} max(0, 1 − x[y_j] + x[i]) / C over the labels before the first −1."""
    x, y = t["input"], t["target"]
    rows, lists = ([x], [y.tolist()]) if x.ndim == 1 else (list(x), y.tolist())
    losses = []
    for row, line in zip(rows, lists, strict=True):
        valid = line[: line.index(-1)] if -1 in line else line
        others = [i for i in range(len(row)) if i not in valid]
        losses.append(total(maximum(0, 1 - row[j] + row[i]) for j, i in product(valid, others)) / len(row))
    return reduce_(losses, params["reduction"])


@st.composite
def logits(draw: st.DrawFn, classes: int, rows: int | None) -> NDArray:
    """Draw [rows, classes], or [classes] where rows is None.

    They are k/8 + i/64 for class i ≤ 5: no difference of two classes is within 1/64 of a multiple of 1/8,
    so no clamp is within 1/64 of its kink for margins that are multiples of 1/8.
    """
    shape = (classes,) if rows is None else (rows, classes)
    size = int(np.prod(shape))
    drawn = draw(st.lists(st.integers(-24, 24), min_size=size, max_size=size))
    return np.array(drawn, WIDE).reshape(shape) / 8 + np.arange(classes, dtype=WIDE) / 64


@st.composite
def multi_margin(draw: st.DrawFn) -> Problem:
    """Draw a batch or a sample, with or without weights of either sign, p, margin and reduction."""
    classes, rows = draw(st.integers(1, 5)), draw(st.sampled_from([None, 1, 2, 3]))
    target = draw(st.lists(st.integers(0, classes - 1), min_size=rows or 1, max_size=rows or 1))
    tensors: dict[str, Any] = {
        "input": draw(logits(classes, rows)),
        "target": np.array(target if rows else target[0], np.int64),
    }
    if draw(st.booleans()):
        weights = draw(st.lists(st.integers(-8, 16), min_size=classes, max_size=classes))
        tensors["weight"] = np.array(weights, WIDE) / 8
    margin = draw(st.integers(-8, 24)) / 8
    return Problem(tensors, {"p": draw(st.sampled_from([1, 2])), "margin": margin} | draw(reductions))


@st.composite
def hinge_embedding(draw: st.DrawFn) -> Problem:
    """Draw any rank; the margin lies between the points of the inputs' grid."""
    shape = tuple(draw(st.lists(st.integers(1, 3), max_size=3)))
    size = int(np.prod(shape))
    x = draw(st.lists(st.integers(-24, 24), min_size=size, max_size=size))
    labels = draw(st.lists(st.sampled_from([-1, 1]), min_size=size, max_size=size))
    tensors = {"input": np.array(x, WIDE).reshape(shape) / 8, "target": np.array(labels, WIDE).reshape(shape)}
    return Problem(tensors, {"margin": draw(st.integers(-8, 24)) / 8 + 1 / 16} | draw(reductions))


@st.composite
def multilabel_margin(draw: st.DrawFn) -> Problem:
    """Draw labels that may repeat, end anywhere at −1, and have junk behind."""
    classes, rows = draw(st.integers(1, 5)), draw(st.sampled_from([None, 1, 2, 3]))
    x = draw(logits(classes, rows))
    labels = draw(st.lists(st.integers(-1, classes - 1), min_size=x.size, max_size=x.size))
    return Problem({"input": x, "target": np.array(labels).reshape(x.shape)}, draw(reductions))


PROBLEMS["multi_margin_loss"] = multi_margin()
PROBLEMS["hinge_embedding_loss"] = hinge_embedding()
PROBLEMS["multilabel_margin_loss"] = multilabel_margin()
