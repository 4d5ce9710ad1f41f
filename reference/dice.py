"""Dice losses: one less the overlap of a prediction and a mask, as a share of their sizes.

Three frameworks' APIs go by this name and compute three functions. For a hard prediction (each p is 0 or 1)
and its one-hot mask all agree, sample by sample; for soft ones the squares in `dice_loss_squared` make the
denominator smaller, and no factor converts one into the other.
"""

import numpy as np

from conformance.arithmetic import add, clamped_below, gated, positive_part, reach, step, total
from conformance.arrays import NDArray
from conformance.definition import reference
from conformance.elementary import exp, expm1, power

from .stable import log_softmax_of, sigmoid_of, softmax_of

SMOOTH = 1e-5  # of the binary losses that a multi-class loss is made of


@reference(differentiable=("input",))
def dice_loss(input: NDArray, target: NDArray, epsilon: float = 1e-5) -> NDArray:
    """Mean over the samples of 1 − 2·Σ p·y / (Σ p + Σ y + ε), with y the one-hot form of the labels.

    Shapes: input [N, ..., D] with D categories, target [N, ..., 1] with labels from 0 to D − 1; the loss
    is a scalar. Each sum runs over all of a sample.
    Source: https://www.paddlepaddle.org.cn/documentation/docs/en/3.3/api/paddle/nn/functional/dice_loss_en.html
    """
    p, y = _by_sample(input, target)
    overlap, size = _overlap(p, y), _size(p, y, epsilon)
    scores = p.dtype.type(1) - p.dtype.type(2) * overlap / size
    return np.asarray(total(scores) / p.dtype.type(len(p)))


@dice_loss.vjp
def _(cotangent: NDArray, input: NDArray, target: NDArray, epsilon: float) -> dict[str, NDArray]:
    p, y = _by_sample(input, target)
    overlap, size = _overlap(p, y)[:, np.newaxis], _size(p, y, epsilon)[:, np.newaxis]
    share = p.dtype.type(2) * cotangent / p.dtype.type(len(p))
    return {"input": (share * ((overlap / size - y.astype(p.dtype)) / size)).reshape(input.shape)}


@dice_loss.variant
def epsilon_in_both(input: NDArray, target: NDArray, epsilon: float = 1e-5) -> NDArray:
    """1 − (2·Σ p·y + ε) / (Σ p + Σ y + ε): ε in the numerator as well."""
    p, y = _by_sample(input, target)
    overlap = p.dtype.type(2) * _overlap(p, y) + epsilon
    return np.asarray(total(p.dtype.type(1) - overlap / _size(p, y, epsilon)) / p.dtype.type(len(p)))


def _by_sample(input: NDArray, target: NDArray) -> tuple[NDArray, NDArray]:
    """Return the predictions and whether each is of its label's category, both [N, everything else]."""
    rest = int(np.prod(input.shape[1:]))
    y = target == np.arange(input.shape[-1])
    return input.reshape(len(input), rest), y.reshape(len(input), rest)


def _overlap(p: NDArray, y: NDArray) -> NDArray:
    return total(np.where(y, p, p * p.dtype.type(0)), axis=1)


def _size(p: NDArray, y: NDArray, epsilon: float) -> NDArray:
    return add(total(p, axis=1), total(y.astype(p.dtype), axis=1), epsilon)


@reference(differentiable=("input", "target"))
def dice_loss_squared(input: NDArray, target: NDArray, smooth: float = 1e-5) -> NDArray:
    """1 − 2·Σ p·t / (Σ p² + Σ t² + ε), one number for all that is given.

    Shapes: input and target [*], the same; the loss is a scalar.
    Source: https://www.mindspore.cn/docs/en/r2.10.0/api_python/nn/mindspore.nn.DiceLoss.html
    """
    return _squared(input, target, smooth)


@dice_loss_squared.vjp
def _(cotangent: NDArray, input: NDArray, target: NDArray, smooth: float) -> dict[str, NDArray]:
    return {
        "input": _squared_slope(cotangent, input, target, smooth),
        "target": _squared_slope(cotangent, target, input, smooth),
    }


@dice_loss_squared.variant
def per_sample(input: NDArray, target: NDArray, smooth: float = 1e-5) -> NDArray:
    """One loss for each sample, along the first axis."""
    return np.array([_squared(p, t, smooth) for p, t in zip(input, target, strict=True)], input.dtype)


@dice_loss_squared.variant
def sum_of_sizes(input: NDArray, target: NDArray, smooth: float = 1e-5) -> NDArray:
    """1 − 2·Σ p·t / (Σ |p| + Σ |t| + ε): a size that is a sum, not a sum of squares."""
    size = add(total(abs(input)), total(abs(target)), smooth)
    return np.asarray(input.dtype.type(1) - input.dtype.type(2) * total(input * target) / size)


def _squared(p: NDArray, t: NDArray, smooth: float) -> NDArray:
    size = add(total(p * p), total(t * t), smooth)
    return np.asarray(p.dtype.type(1) - p.dtype.type(2) * total(p * t) / size)


def _squared_slope(cotangent: NDArray, p: NDArray, t: NDArray, smooth: float) -> NDArray:
    """Return the derivative by p of the loss that is symmetric in p and t, times the cotangent."""
    two, size = p.dtype.type(2), add(total(p * p), total(t * t), smooth)
    share, ratio = two * cotangent / size, two * total(p * t) * power(size, -1)  # a quotient may be a product
    return add(share * ratio * p, -share * t)


@reference(differentiable=("input", "target", "weight"))
def multi_class_dice_loss(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    ignore_index: int | None = None,
    activation: str = "softmax",
) -> NDArray:
    """Σ_c w[c] · (1 − 2·Σ p·t / (Σ p² + Σ t² + 1e−5)) / C, each sum over class c, with p the activation of x.

    Shapes: input and target [N, C, *], the same; weight [C, K], each row of which multiplies the loss of
    its class; the result is [K], without weights a scalar. An ignored class adds nothing, but is counted
    in C. A softmax runs along the last axis, which is the axis of the classes if there is no other.
    Source: https://www.mindspore.cn/docs/en/r2.10.0/api_python/nn/mindspore.nn.MultiClassDiceLoss.html
    """
    p, smooth = _activated(input, activation), input.dtype.type(SMOOTH)
    losses = [_squared(p[:, c], target[:, c], smooth) for c in range(input.shape[1])]
    rows = _weighted(np.array(losses, input.dtype), weight, ignore_index)
    return np.asarray(total(rows, axis=0) / input.dtype.type(input.shape[1]))


@multi_class_dice_loss.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    target: NDArray,
    weight: NDArray | None,
    ignore_index: int | None,
    activation: str,
) -> dict[str, NDArray]:
    p, smooth, classes = _activated(input, activation), input.dtype.type(SMOOTH), input.shape[1]
    share = np.asarray(cotangent / input.dtype.type(classes))
    by_p, by_target = np.zeros_like(p), np.zeros_like(target)
    by_weight = None if weight is None else np.zeros_like(weight)
    for c in range(classes):
        if c == ignore_index:
            continue
        if weight is not None and by_weight is not None:
            by_weight[c] = share * _squared(p[:, c], target[:, c], smooth)
        each = share if weight is None else total(share * weight[c])
        by_p[:, c] = _squared_slope(each, p[:, c], target[:, c], smooth)
        by_target[:, c] = _squared_slope(each, target[:, c], p[:, c], smooth)
    found = {"input": _activated_vjp(by_p, input, p, activation), "target": by_target}
    return found if by_weight is None else found | {"weight": by_weight}


@multi_class_dice_loss.variant
def mean_of_counted(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    ignore_index: int | None = None,
    activation: str = "softmax",
) -> NDArray:
    """Divide by the number of classes that are not ignored."""
    classes = input.shape[1]
    counted = classes - (ignore_index is not None and 0 <= ignore_index < classes)
    loss = multi_class_dice_loss.function(input, target, weight, ignore_index, activation)
    return np.asarray(loss * input.dtype.type(classes) / input.dtype.type(counted))


def _weighted(losses: NDArray, weight: NDArray | None, ignore_index: int | None) -> NDArray:
    """Multiply each class's loss [C] by its row of weights [C, K]; an ignored class becomes 0."""
    rows = losses if weight is None else losses[:, np.newaxis] * weight
    ignored = reach("ignored class", np.arange(len(losses)) == (-1 if ignore_index is None else ignore_index))
    return np.where(ignored if weight is None else ignored[:, np.newaxis], losses.dtype.type(0), rows)


def _activated(x: NDArray, activation: str) -> NDArray:
    """Apply the activation of that name."""
    if activation == "softmax":
        return softmax_of(x, x.ndim - 1)
    if activation == "logsoftmax":
        return log_softmax_of(x, x.ndim - 1)
    if activation == "sigmoid":
        return sigmoid_of(x)
    if activation == "tanh":
        return _tanh(x)
    above = positive_part(x)
    return above if activation == "relu" else -clamped_below(-above, x.dtype.type(-6))


def _activated_vjp(cotangent: NDArray, x: NDArray, p: NDArray, activation: str) -> NDArray:
    """Pull a cotangent of the activation p of x back to x."""
    one, last = x.dtype.type(1), x.ndim - 1
    if activation == "softmax":
        return np.asarray(p * (cotangent - np.expand_dims(total(cotangent * p, axis=last), last)))
    if activation == "logsoftmax":
        return np.asarray(cotangent - exp(p) * np.expand_dims(total(cotangent, axis=last), last))
    if activation == "sigmoid":
        return np.asarray(cotangent * (p * (one - p)))
    if activation == "tanh":
        return np.asarray(cotangent * (one - p * p))
    opened = gated(cotangent, step(x))
    return opened if activation == "relu" else gated(opened, step(x.dtype.type(6) - x))


def _tanh(z: NDArray) -> NDArray:
    """(e^z − e^−z) / (e^z + e^−z), from e^−2|z| − 1, which neither overflows nor cancels."""
    small = expm1(-z.dtype.type(2) * abs(z))
    return np.asarray(np.sign(z) * -small / (small + z.dtype.type(2)))
