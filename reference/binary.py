"""Binary cross-entropies and what is built on them: each a sum of softplus or of logarithms."""

import numpy as np

from conformance.arithmetic import add, clamped_below, reach, step, total
from conformance.arrays import NDArray
from conformance.definition import reference
from conformance.elementary import log, log1p

from .shared import reduced, reduced_vjp
from .stable import sigmoid_of, softplus_of, unbroadcast


@reference(differentiable=("input", "target", "weight", "pos_weight"))
def binary_cross_entropy_with_logits(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    pos_weight: NDArray | None = None,
    reduction: str = "mean",
) -> NDArray:
    """−w · [p · y · log σ(x) + (1 − y) · log(1 − σ(x))], elementwise, for logits x and targets y in [0, 1].

    Shapes: input and target [*], the same; weight and pos_weight [any that broadcasts to it]; losses [*].
    The logarithms are −softplus(−x) and −softplus(x), which neither overflow nor cancel.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.BCEWithLogitsLoss.html
    """
    return reduced(_times(_with_logits(input, target, pos_weight), weight), reduction)


@binary_cross_entropy_with_logits.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    target: NDArray,
    weight: NDArray | None,
    pos_weight: NDArray | None,
    reduction: str,
) -> dict[str, NDArray]:
    one = input.dtype.type(1)
    each = reduced_vjp(cotangent, input.shape, reduction)
    hit, miss = softplus_of(-input), softplus_of(input)
    scaled = _times(each, weight)
    # d softplus(±x)/dx = ±σ(±x)
    slope = (one - target) * sigmoid_of(input) - _times(target * sigmoid_of(-input), pos_weight)
    by_target = -input if pos_weight is None else pos_weight * hit - miss
    grads = {"input": scaled * slope, "target": scaled * by_target}
    if weight is not None:
        losses = _with_logits(input, target, pos_weight)
        grads["weight"] = unbroadcast(each * losses, weight.shape)
    if pos_weight is not None:
        grads["pos_weight"] = unbroadcast(scaled * target * hit, pos_weight.shape)
    return grads


@binary_cross_entropy_with_logits.variant
def weighted_mean(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    pos_weight: NDArray | None = None,
    reduction: str = "mean",
) -> NDArray:
    """Take the mean as Σ w · loss / Σ w, not Σ w · loss / N."""
    losses = _times(_with_logits(input, target, pos_weight), weight)
    return _weighted_mean(losses, weight, reduction)


@binary_cross_entropy_with_logits.variant
def weight_per_sample(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    pos_weight: NDArray | None = None,
    reduction: str = "mean",
) -> NDArray:
    """Take a 1-D weight [N] as one number for each sample, along axis 0 and not along the last."""
    losses = _with_logits(input, target, pos_weight)
    return reduced(_times(losses, _by_sample(weight, losses)), reduction)


def _with_logits(x: NDArray, y: NDArray, pos_weight: NDArray | None) -> NDArray:
    """Return p · y · softplus(−x) + (1 − y) · softplus(x), of x's shape."""
    return np.asarray(_times(y * softplus_of(-x), pos_weight) + (x.dtype.type(1) - y) * softplus_of(x))


def _times(values: NDArray, weight: NDArray | None) -> NDArray:
    """Scale by a weight that broadcasts to the values; no weight is ones."""
    return values if weight is None else np.asarray(weight * values)


def _weighted_mean(losses: NDArray, weight: NDArray | None, reduction: str) -> NDArray:
    if reduction != "mean" or weight is None:
        return reduced(losses, reduction)
    return total(losses) / total(np.broadcast_to(weight, losses.shape))


def _by_sample(weight: NDArray | None, losses: NDArray) -> NDArray | None:
    return weight if weight is None else weight.reshape((-1,) + (1,) * (losses.ndim - 1))


@reference(differentiable=("input", "target", "weight"))
def binary_cross_entropy(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    log_floor: float | None = None,
    reduction: str = "mean",
) -> NDArray:
    """−w · [y · log x + (1 − y) · log(1 − x)], elementwise, for probabilities x and targets y in [0, 1].

    Shapes: input and target [*], the same; weight [any that broadcasts to it]; losses [*]. With a
    `log_floor` each logarithm is max(log_floor, log ·), so that x = 0 and x = 1 have a finite loss.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.BCELoss.html
    """
    return reduced(_times(_of_probabilities(input, target, log_floor), weight), reduction)


@binary_cross_entropy.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    target: NDArray,
    weight: NDArray | None,
    log_floor: float | None,
    reduction: str,
) -> dict[str, NDArray]:
    each = reduced_vjp(cotangent, input.shape, reduction)
    scaled = _times(each, weight)
    hit, miss = _logs(input, log_floor)
    slope = _slope_of_probability(input, target, log_floor)
    grads = {"input": scaled * slope, "target": scaled * (miss - hit)}
    if weight is not None:
        grads["weight"] = unbroadcast(each * _of_probabilities(input, target, log_floor), weight.shape)
    return grads


@binary_cross_entropy.variant
def mean_by_weight(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    log_floor: float | None = None,
    reduction: str = "mean",
) -> NDArray:
    """Take the mean as Σ w · loss / Σ w, not Σ w · loss / N."""
    losses = _times(_of_probabilities(input, target, log_floor), weight)
    return _weighted_mean(losses, weight, reduction)


@binary_cross_entropy.variant
def weight_by_sample(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    log_floor: float | None = None,
    reduction: str = "mean",
) -> NDArray:
    """Take a 1-D weight [N] as one number for each sample, along axis 0 and not along the last."""
    losses = _of_probabilities(input, target, log_floor)
    return reduced(_times(losses, _by_sample(weight, losses)), reduction)


def _of_probabilities(x: NDArray, y: NDArray, log_floor: float | None) -> NDArray:
    hit, miss = _logs(x, log_floor)
    return np.asarray(-(y * hit) - (x.dtype.type(1) - y) * miss)


def _logs(x: NDArray, log_floor: float | None) -> tuple[NDArray, NDArray]:
    """Return log x and log(1 − x), the latter exact for small x; both at least `log_floor`."""
    hit, miss = log(x), log1p(-x)
    if log_floor is None:
        return hit, miss
    reach("floored", (hit < log_floor) | (miss < log_floor))
    reach("unfloored", (hit > log_floor) & (miss > log_floor))
    return clamped_below(hit, log_floor), clamped_below(miss, log_floor)


def _slope_of_probability(x: NDArray, y: NDArray, log_floor: float | None) -> NDArray:
    """Return (1 − y) / (1 − x) − y / x, where no term is floored as (x − y) / (x · (1 − x)).

    A floored logarithm has no slope.
    """
    one, zero = x.dtype.type(1), x.dtype.type(0)
    slope = np.asarray((x - y) / (x * (one - x)))
    if log_floor is None:
        return slope
    above, below = step(log(x) - log_floor), step(log1p(-x) - log_floor)
    hit = np.where(above == 0, zero, -y / x * above)
    miss = np.where(below == 0, zero, (one - y) / (one - x) * below)
    return np.asarray(np.where((above == 1) & (below == 1), slope, hit + miss))


@reference(differentiable=("input",))
def soft_margin_loss(input: NDArray, target: NDArray, reduction: str = "mean") -> NDArray:
    """log(1 + exp(−y · x)), elementwise, for scores x and labels y of 1 or −1.

    Shapes: input and target [*], the same; losses [*]. Evaluated as softplus, which does not overflow.
    The label is one of two values, so the loss has no derivative by it.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.SoftMarginLoss.html
    """
    return reduced(softplus_of(-target.astype(input.dtype) * input), reduction)


@soft_margin_loss.vjp
def _(cotangent: NDArray, input: NDArray, target: NDArray, reduction: str) -> dict[str, NDArray]:
    each = reduced_vjp(cotangent, input.shape, reduction)
    label = target.astype(input.dtype)
    return {"input": -each * label * sigmoid_of(-label * input)}


@reference(differentiable=("input", "target", "weight"))
def multilabel_soft_margin_loss(
    input: NDArray, target: NDArray, weight: NDArray | None = None, reduction: str = "mean"
) -> NDArray:
    """−Σ_i w[i] · (y[i] · log σ(x[i]) + (1 − y[i]) · log(1 − σ(x[i]))) / C for each sample.

    Shapes: input and target [N, C], or [N, C, *] with a sample at each place of *; weight [C]; losses [N]
    or [N, *].
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.MultiLabelSoftMarginLoss.html
    """
    losses = _by_class(_with_logits(input, target, None), weight)
    return reduced(total(losses, axis=1) / input.dtype.type(input.shape[1]), reduction)


@multilabel_soft_margin_loss.vjp
def _(
    cotangent: NDArray, input: NDArray, target: NDArray, weight: NDArray | None, reduction: str
) -> dict[str, NDArray]:
    one = input.dtype.type(1)
    each = reduced_vjp(cotangent, (input.shape[0], *input.shape[2:]), reduction)
    share = np.broadcast_to(np.expand_dims(each, 1) / input.dtype.type(input.shape[1]), input.shape)
    scaled = _by_class(share, weight)
    slope = (one - target) * sigmoid_of(input) - target * sigmoid_of(-input)
    grads = {"input": scaled * slope, "target": scaled * (softplus_of(-input) - softplus_of(input))}
    if weight is not None:
        by_place = np.moveaxis(share * _with_logits(input, target, None), 1, -1)
        grads["weight"] = unbroadcast(by_place, weight.shape)
    return grads


@multilabel_soft_margin_loss.variant
def mean_over_weights(
    input: NDArray, target: NDArray, weight: NDArray | None = None, reduction: str = "mean"
) -> NDArray:
    """Take the mean as Σ w · loss / Σ w over samples and classes, not over their number."""
    losses = _by_class(_with_logits(input, target, None), weight)
    if reduction == "mean":
        return _weighted_mean(losses, _by_class(np.ones_like(losses), weight), reduction)
    return reduced(total(losses, axis=1) / input.dtype.type(input.shape[1]), reduction)


@multilabel_soft_margin_loss.variant
def unsummed(
    input: NDArray, target: NDArray, weight: NDArray | None = None, reduction: str = "mean"
) -> NDArray:
    """Keep the class axis where nothing is reduced: losses [N, C], as a document has them."""
    losses = _by_class(_with_logits(input, target, None), weight)
    return reduced(losses, reduction)


@multilabel_soft_margin_loss.variant
def weight_for_each_sample(
    input: NDArray, target: NDArray, weight: NDArray | None = None, reduction: str = "mean"
) -> NDArray:
    """Take the weight [N, 1] as one number for each sample, not one for each class."""
    losses = _times(_with_logits(input, target, None), weight)
    return reduced(total(losses, axis=1) / input.dtype.type(input.shape[1]), reduction)


def _by_class(values: NDArray, weight: NDArray | None) -> NDArray:
    """Scale values [N, C, *] by a weight [C]."""
    return _times(values, weight if weight is None else weight.reshape((-1,) + (1,) * (values.ndim - 2)))


@reference(differentiable=("input", "target"))
def log_loss(input: NDArray, target: NDArray, epsilon: float = 1e-4) -> NDArray:
    """−y · log(x + ε) − (1 − y) · log(1 − x + ε), elementwise, for probabilities x.

    Shapes: input and target [N, 1]; losses [N, 1].
    Source: https://www.paddlepaddle.org.cn/documentation/docs/en/3.3/api/paddle/nn/functional/log_loss_en.html
    """
    hit, miss = _shifted(input, epsilon)
    return np.asarray(-(target * log(hit)) - (input.dtype.type(1) - target) * log(miss))


@log_loss.vjp
def _(cotangent: NDArray, input: NDArray, target: NDArray, epsilon: float) -> dict[str, NDArray]:
    hit, miss = _shifted(input, epsilon)
    slope = (input.dtype.type(1) - target) / miss - target / hit
    return {"input": cotangent * slope, "target": cotangent * (log(miss) - log(hit))}


def _shifted(x: NDArray, epsilon: float) -> tuple[NDArray, NDArray]:
    """Return x + ε and 1 − x + ε."""
    shift = x.dtype.type(epsilon)
    return add(x, shift), add(x.dtype.type(1), -x, shift)
