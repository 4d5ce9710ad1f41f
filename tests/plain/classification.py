"""Losses of classification in loops over 50-digit numbers: softmax as it is printed, one sample at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from conformance.arrays import NDArray
from tests.plain import PROBLEMS, REDUCTIONS, Params, Problem, Tensors, eighths, plain
from tests.plain.number import INF, NAN, Number, exp, log, number, total

Row = list[Number]


def _samples(tensor: Any, axis: int) -> list[Row]:
    """Read [*, C, *] sample by sample, in order of the other axes: a list of C numbers each."""
    array = np.asarray(tensor, object)
    if array.ndim == 1:
        return [[number(x) for x in array]]
    last = np.moveaxis(array, axis, -1)
    return [[number(x) for x in last[place]] for place in np.ndindex(last.shape[:-1])]


def _log_softmax(row: Row) -> Row:
    """x_c − log Σ e^x, the printed formula: 50 digits have a range without end."""
    if any(np.isnan(float(x.value)) or x.value == INF for x in row):
        return [Number(NAN, NAN) for _ in row]
    if all(x.value == -INF for x in row):
        return [Number(NAN, NAN) for _ in row]
    whole = log(total(exp(x) for x in row))
    return [x - whole for x in row]


def _scores(tensor: Any, axis: int, params: Params) -> list[Row]:
    rows = _samples(tensor, axis)
    if params.get("use_softmax", True):
        return [_log_softmax(row) for row in rows]
    return [[log(p) for p in row] for row in rows]


def _weights(t: Tensors, classes: int) -> Row | None:
    weight = t.get("weight")
    return None if weight is None else [number(weight[c]) for c in range(classes)]


def _sum(terms: list[tuple[Number, Number]]) -> Number:
    """Σ coefficient·score; a class whose coefficient is the constant 0 is not in the sum."""
    return total(a * b for a, b in terms if a.value != 0 or a.slope != 0)


def _by_labels(t: Tensors, params: Params, scores: list[Row], labels: list[int]) -> list[Number]:
    """Losses of samples with labels, reduced."""
    e, ignored = number(params.get("label_smoothing", 0.0)), params["ignore_index"]
    by_class = params.get("weighting", "class") == "class"
    losses, divisors = [], []
    for row, label in zip(scores, labels, strict=True):
        if label == ignored:
            losses.append(Number(0))
            continue
        weights = _weights(t, len(row))
        ones = weights or [Number(1)] * len(row)
        mixed = [(1 - e if c == label else Number(0)) + e / len(row) for c in range(len(row))]
        expected = _sum(list(zip(mixed, ones, strict=True)))
        if by_class:
            losses.append(
                -_sum(
                    [
                        (q * w if e.value else q, s if e.value else w * s)
                        for q, w, s in zip(mixed, ones, row, strict=True)
                    ]
                )
            )
            divisors.append(ones[label])
        else:
            losses.append(-expected * _sum(list(zip(mixed, row, strict=True))))
            divisors.append(expected)
    if params.get("reduction", "none") == "mean":
        return [total(losses) / total(divisors)]
    return [total(losses)] if params.get("reduction") == "sum" else losses


def _by_probabilities(t: Tensors, params: Params, scores: list[Row], target: list[Row]) -> list[Number]:
    """Losses of samples with a probability for each class, reduced."""
    e = number(params.get("label_smoothing", 0.0))
    losses, divisors = [], []
    weighted = t.get("weight") is not None and params.get("weighting", "class") == "sample"
    for row, given in zip(scores, target, strict=True):
        ones = _weights(t, len(row)) or [Number(1)] * len(row)
        mixed = [(1 - e) * q + e / len(row) if e.value else q for q in given]
        if weighted:
            expected = total(q * w for q, w in zip(mixed, ones, strict=True))
            losses.append(-expected * total(q * s for q, s in zip(mixed, row, strict=True)))
            divisors.append(expected)
        else:
            losses.append(-total(q * w * s for q, w, s in zip(mixed, ones, row, strict=True)))
            divisors.append(Number(1))
    if params.get("reduction", "none") == "mean":
        return [total(losses) / total(divisors)]
    return [total(losses)] if params.get("reduction") == "sum" else losses


def _labels(target: Any) -> list[int]:
    return [int(float(getattr(y, "value", y))) for y in np.asarray(target, object).reshape(-1)]


@plain
def cross_entropy(t: Tensors, params: Params) -> list[Number]:
    """−w[y] log softmax(x)[y]; smoothed labels are a mixture."""
    return _by_labels(t, params, _scores(t["input"], params["axis"], params), _labels(t["target"]))


@plain
def cross_entropy_probabilities(t: Tensors, params: Params) -> list[Number]:
    """−Σ w q log softmax(x)."""
    scores = _scores(t["input"], params["axis"], params)
    return _by_probabilities(t, params, scores, _samples(t["target"], params["axis"]))


@plain
def nll_loss(t: Tensors, params: Params) -> list[Number]:
    """−w[y] x[y]."""
    return _by_labels(t, params, _samples(t["input"], 1), _labels(t["target"]))


@plain
def softmax_with_cross_entropy(t: Tensors, params: Params) -> list[Number]:
    """The same losses, never reduced."""
    scores = _scores(t["logits"], params["axis"], {})
    return _by_labels({}, {"ignore_index": params["ignore_index"]}, scores, _labels(t["label"]))


def _linear(t: Tensors) -> list[Row]:
    """Log-softmax of the logits x·Wᵀ + b, computed one by one."""
    x, matrix = np.asarray(t["input"], object), np.asarray(t["linear_weight"], object)
    batch = [x] if x.ndim == 1 else list(x)
    bias = t.get("linear_bias")
    logits = np.empty((len(batch), *matrix.shape[:-1]), object)
    for place in np.ndindex(logits.shape):
        products = (number(a) * number(b) for a, b in zip(batch[place[0]], matrix[place[1:]], strict=True))
        logits[place] = total(products) + (0 if bias is None else number(bias[place[1:]]))
    return _scores(logits, 1, {})


@plain
def linear_cross_entropy(t: Tensors, params: Params) -> list[Number]:
    """Cross entropy of x·Wᵀ + b and labels."""
    ignored = -100 if params["ignore_index"] is None else params["ignore_index"]
    return _by_labels(t, params | {"ignore_index": ignored}, _linear(t), _labels(t["target"]))


@plain
def linear_cross_entropy_probabilities(t: Tensors, params: Params) -> list[Number]:
    """Cross entropy of x·Wᵀ + b and probabilities."""
    return _by_probabilities(t, params, _linear(t), _samples(t["target"], 1))


# -- strategies ------------------------------------------------------------------------------------------

SMOOTHINGS = (0.0, 0.125, 1.0)
IGNORED = (-100, 1, 7)
SHAPES = (((3,), 0), ((2, 3), 1), ((3, 2), 1), ((2, 3, 2), 1), ((2, 2, 3), -1), ((3, 2), 0))


@st.composite
def _weight(draw: st.DrawFn, classes: int) -> dict[str, NDArray]:
    if not draw(st.booleans()):
        return {}
    return {"weight": draw(eighths((classes,), 1, 24))}


@st.composite
def _labels_of(draw: st.DrawFn, shape: tuple[int, ...], classes: int, ignored: int | None) -> NDArray:
    """Draw labels, the first of which counts: the mean of nothing has no derivative."""
    legal = [c for c in range(classes) if c != ignored]
    size = int(np.prod(shape))
    first = draw(st.sampled_from(legal))
    others = st.sampled_from([*legal, *legal, -100 if ignored is None else ignored])
    rest = draw(st.lists(others, min_size=size, max_size=size))
    return np.array([first, *rest][:size], np.int64).reshape(shape)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    axis = axis % len(shape)
    return shape[:axis] + shape[axis + 1 :]


@st.composite
def _params(draw: st.DrawFn) -> Params:
    return {
        "label_smoothing": draw(st.sampled_from(SMOOTHINGS)),
        "reduction": draw(st.sampled_from(REDUCTIONS)),
        "weighting": draw(st.sampled_from(("class", "sample"))),
        "use_softmax": draw(st.booleans()),
    }


@st.composite
def _cross_entropy(draw: st.DrawFn) -> Problem:
    shape, axis = draw(st.sampled_from(SHAPES))
    params = draw(_params()) | {"axis": axis, "ignore_index": draw(st.sampled_from(IGNORED))}
    low = -24 if params["use_softmax"] else 1
    tensors = {"input": draw(eighths(shape, low)), **draw(_weight(shape[axis]))}
    labels = draw(_labels_of(_without(shape, axis), shape[axis], params["ignore_index"]))
    return Problem(tensors | {"target": labels}, params)


@st.composite
def _soft_cross_entropy(draw: st.DrawFn) -> Problem:
    shape, axis = draw(st.sampled_from(SHAPES))
    params = draw(_params()) | {"axis": axis}
    low = -24 if params["use_softmax"] else 1
    tensors = {"input": draw(eighths(shape, low)), **draw(_weight(shape[axis]))}
    return Problem(tensors | {"target": draw(eighths(shape, 1, 8))}, params)


@st.composite
def _nll(draw: st.DrawFn) -> Problem:
    shape = draw(st.sampled_from([(3,), (2, 3), (3, 2), (2, 3, 2)]))
    classes = shape[1] if len(shape) > 1 else shape[0]
    params = _some(draw(_params()), "label_smoothing", "reduction")
    params["ignore_index"] = draw(st.sampled_from(IGNORED))
    rest = () if len(shape) == 1 else _without(shape, 1)
    labels = draw(_labels_of(rest, classes, params["ignore_index"]))
    return Problem({"input": draw(eighths(shape)), "target": labels, **draw(_weight(classes))}, params)


@st.composite
def _softmax_with(draw: st.DrawFn) -> Problem:
    shape, axis = draw(st.sampled_from(SHAPES))
    params: Params = {"axis": axis, "ignore_index": draw(st.sampled_from(IGNORED))}
    kept = list(shape)
    kept[axis] = 1
    labels = draw(_labels_of(tuple(kept), shape[axis], params["ignore_index"]))
    return Problem({"logits": draw(eighths(shape)), "label": labels}, params)


@st.composite
def _linear_tensors(draw: st.DrawFn) -> tuple[dict[str, NDArray], tuple[int, ...], tuple[int, ...]]:
    """Draw the tensors but the target, and the shapes of the batch and of the classes."""
    batch: tuple[int, ...] = draw(st.sampled_from([(), (2,)]))
    classes: tuple[int, ...] = draw(st.sampled_from([(3,), (3, 2)] if batch else [(3,)]))
    tensors = {"input": draw(eighths((*batch, 2), -8, 8))}
    tensors["linear_weight"] = draw(eighths((*classes, 2), -8, 8))
    if draw(st.booleans()):
        tensors["linear_bias"] = draw(eighths(classes, -8, 8))
    return tensors | draw(_weight(3)), batch, classes


def _some(params: Params, *names: str) -> Params:
    return {name: params[name] for name in names}


@st.composite
def _linear_labels(draw: st.DrawFn) -> Problem:
    tensors, batch, classes = draw(_linear_tensors())
    params = _some(draw(_params()), "label_smoothing", "reduction")
    params["ignore_index"] = draw(st.sampled_from([None, -100, 1]))
    labels = draw(_labels_of((*batch, *classes[1:]), 3, params["ignore_index"]))
    return Problem(tensors | {"target": labels}, params)


@st.composite
def _linear_soft(draw: st.DrawFn) -> Problem:
    tensors, batch, classes = draw(_linear_tensors())
    params = _some(draw(_params()), "label_smoothing", "reduction")
    return Problem(tensors | {"target": draw(eighths((*batch, *classes), 1, 8))}, params)


_STRATEGIES: dict[str, Callable[[], st.SearchStrategy[Problem]]] = {
    "cross_entropy": _cross_entropy,
    "cross_entropy_probabilities": _soft_cross_entropy,
    "nll_loss": _nll,
    "softmax_with_cross_entropy": _softmax_with,
    "linear_cross_entropy": _linear_labels,
    "linear_cross_entropy_probabilities": _linear_soft,
}
PROBLEMS |= {op: strategy() for op, strategy in _STRATEGIES.items()}
