"""Focal losses: cross-entropies that count a case the less, the better it is predicted."""

import numpy as np

from conformance.arithmetic import add, total
from conformance.arrays import NDArray
from conformance.definition import reference
from conformance.elementary import power

from .shared import one_hot, reduced, reduced_vjp
from .stable import log_softmax_of, sigmoid_of, softmax_of, softplus_of


@reference(differentiable=("input", "target", "normalizer"))
def sigmoid_focal_loss(
    input: NDArray,
    target: NDArray,
    normalizer: NDArray | None = None,
    alpha: float = 0.25,
    gamma: float = 2.0,
    reduction: str = "sum",
) -> NDArray:
    """−[y · α · (1 − p)^γ · log p + (1 − y) · (1 − α) · p^γ · log(1 − p)] / n, elementwise, with p = σ(x).

    Shapes: input and target [*], the same; normalizer n [1] or []; losses [*].
    Source: https://www.paddlepaddle.org.cn/documentation/docs/en/3.3/api/paddle/nn/functional/sigmoid_focal_loss_en.html
    """
    hit, miss = _focal(input, gamma)
    return reduced(_over(_blend(target, alpha, hit, miss), normalizer), reduction)


@sigmoid_focal_loss.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    target: NDArray,
    normalizer: NDArray | None,
    alpha: float,
    gamma: float,
    reduction: str,
) -> dict[str, NDArray]:
    kind = input.dtype.type
    each = reduced_vjp(cotangent, input.shape, reduction)
    scaled = _over(each, normalizer)
    hit, miss = _focal(input, gamma)
    p, q = sigmoid_of(input), sigmoid_of(-input)
    # d q/dx = −p·q and d softplus(−x)/dx = −q, so d q^γ·softplus(−x)/dx = −q^γ·(γ·p·softplus(−x) + q)
    falls = -_power_of_sigmoid(-input, gamma) * (kind(gamma) * p * softplus_of(-input) + q)
    rises = _power_of_sigmoid(input, gamma) * (kind(gamma) * q * softplus_of(input) + p)
    grads = {
        "input": scaled * _blend(target, alpha, falls, rises),
        "target": scaled * (kind(alpha) * hit - (kind(1) - kind(alpha)) * miss),
    }
    if normalizer is not None:
        falling = -each * _over(_over(_blend(target, alpha, hit, miss), normalizer), normalizer)
        grads["normalizer"] = total(falling).reshape(normalizer.shape)
    return grads


def _focal(x: NDArray, gamma: float) -> tuple[NDArray, NDArray]:
    """Return −(1 − p)^γ · log p and −p^γ · log(1 − p)."""
    return (
        _power_of_sigmoid(-x, gamma) * softplus_of(-x),
        _power_of_sigmoid(x, gamma) * softplus_of(x),
    )


def _power_of_sigmoid(x: NDArray, gamma: float) -> NDArray:
    """σ(x)^γ, which is 1 for γ = 0 even where σ(x) has underflowed to 0."""
    return power(sigmoid_of(x), x.dtype.type(gamma))


def _blend(y: NDArray, alpha: float, positive: NDArray, negative: NDArray) -> NDArray:
    """Return y · α · positive + (1 − y) · (1 − α) · negative."""
    kind = y.dtype.type
    return np.asarray(y * kind(alpha) * positive + (kind(1) - y) * (kind(1) - kind(alpha)) * negative)


def _over(values: NDArray, normalizer: NDArray | None) -> NDArray:
    return values if normalizer is None else values / normalizer.reshape(())


@reference(differentiable=("input", "weight"))
def focal_loss(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    gamma: float = 2.0,
    reduction: str = "mean",
) -> NDArray:
    """−w[t] · (1 − p_t)^γ · log p_t with p = softmax(x) over the classes and t the label.

    Shapes: input [N, C]; target [N, 1], class indices, for losses [N], or [N, C], ones and zeros, for
    losses [N, C]; weight [C].
    Source: https://www.mindspore.cn/docs/en/r2.10.0/api_python/nn/mindspore.nn.FocalLoss.html
    """
    losses = _softmax_focal(input, gamma) * _by_class(weight)
    return reduced(_marked(losses, target), reduction)


@focal_loss.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    target: NDArray,
    weight: NDArray | None,
    gamma: float,
    reduction: str,
) -> dict[str, NDArray]:
    kind, marks = input.dtype.type, _marks(input, target)
    shape = input.shape if target.shape[1] > 1 else input.shape[:1]
    each = reduced_vjp(cotangent, shape, reduction)
    each = each if target.shape[1] > 1 else each[:, np.newaxis]
    zero = kind(0)
    scaled = np.where(marks, np.broadcast_to(each * _by_class(weight), input.shape), zero)
    p, logs = softmax_of(input, 1), log_softmax_of(input, 1)
    rest = _all_but(p)
    # With f(p) = −(1 − p)^γ · log p, p·f'(p) = γ·p·(1 − p)^(γ−1)·log p − (1 − p)^γ,
    # and dp_i/dx_j = p_i·(δ − p_j).
    inner = kind(gamma) * power(rest, kind(gamma) - kind(1)) * p * logs - power(rest, kind(gamma))
    inner = np.where(marks, scaled * inner, zero)
    others = np.expand_dims(total(inner, axis=1), 1) - inner
    grads = {"input": inner * rest - p * others}
    if weight is not None:
        losses = np.where(marks, each * _softmax_focal(input, gamma), zero)
        grads["weight"] = total(losses, axis=0)
    return grads


@focal_loss.variant
def mean_by_weights(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    gamma: float = 2.0,
    reduction: str = "mean",
) -> NDArray:
    """Take the mean as Σ w · loss / Σ w, the sum over the weights of the labels."""
    losses = focal_loss.function(input, target, weight, gamma, "none")
    if reduction != "mean" or weight is None:
        return reduced(losses, reduction)
    weights = _marked(np.broadcast_to(weight, input.shape), target)
    return np.asarray(total(losses) / total(weights))


@focal_loss.variant
def weight_for_each_row(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    gamma: float = 2.0,
    reduction: str = "mean",
) -> NDArray:
    """Take the weight [N] as one number for each sample, not one for each class."""
    losses = _marked(_softmax_focal(input, gamma), target)
    return reduced(losses if weight is None else losses * weight, reduction)


@focal_loss.variant
def a_loss_for_each_class(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    gamma: float = 2.0,
    reduction: str = "mean",
) -> NDArray:
    """Keep the class axis where nothing is reduced: losses [N, C], 0 for every class but the label's."""
    losses = _softmax_focal(input, gamma) * _by_class(weight)
    return reduced(np.where(_marks(input, target), losses, losses.dtype.type(0)), reduction)


def _softmax_focal(x: NDArray, gamma: float) -> NDArray:
    return -power(_all_but(softmax_of(x, 1)), x.dtype.type(gamma)) * log_softmax_of(x, 1)


def _all_but(p: NDArray) -> NDArray:
    """1 − p_i, as the sum of the other probabilities [N, C], which does not cancel.

    In the other orders of adding it is (p_i + others) − p_i, as an honest program has it from 1 − p_i.
    """
    classes = p.shape[1]
    others = np.where(np.eye(classes, dtype=bool), p.dtype.type(0), p[:, np.newaxis, :])
    return add(p, -p, total(others, axis=2))


def _marks(x: NDArray, target: NDArray) -> NDArray:
    """Say which classes count: the label's alone (target [N, 1]), or those marked 1 (target [N, C])."""
    return np.asarray(target != 0) if target.shape[1] > 1 else one_hot(target[:, 0], x.shape[1])


def _marked(losses: NDArray, target: NDArray) -> NDArray:
    kept = np.where(_marks(losses, target), losses, losses.dtype.type(0))
    return kept if target.shape[1] > 1 else total(kept, axis=1)


def _by_class(weight: NDArray | None) -> NDArray | int:
    return 1 if weight is None else weight
