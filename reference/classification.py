"""Losses of classification: the logarithm of the probability that a row of scores gives to its target.

Every one brings its input to rows [M, C], the class axis last, and its target to [M] or [M, C]; the
coefficients of the log-probabilities then decide both the loss and its gradient.
"""

import numpy as np

from conformance.arithmetic import add, gated, total
from conformance.arrays import NDArray
from conformance.definition import reference

from .rows import (
    column,
    label_losses,
    labelled,
    log_probabilities,
    mixture,
    product,
    pulled,
    row_shares,
    row_weights,
    shared_out,
    soft,
    soft_losses,
    unrowed,
)
from .shared import one_hot, reduced, reduced_vjp


@reference(differentiable=("input", "weight"))
def cross_entropy(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    axis: int = 1,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    weighting: str = "class",
    use_softmax: bool = True,
) -> NDArray:
    """−Σ_c w_c·q_c·log softmax(x)_c, where q = (1 − ε)·(1 at the label) + ε/C; 0 where the label is ignored.

    The mean divides the sum by Σ w[y] over the labels that count. With `weighting` sample the row's loss is
    (Σ_c w_c·q_c)·(−Σ_c q_c·log p_c) and the mean divides by Σ_n Σ_c w_c·q_nc: the same where ε = 0. Without
    softmax the input holds the probabilities themselves.
    Shapes: input [N, C, *] (C on `axis`) or [C], target and losses [N, *] or []; a target [N, 1, *] keeps
    its axis; weight [C].
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.CrossEntropyLoss.html
    """
    x, y, counts = labelled(input, target, axis, ignore_index)
    scores = log_probabilities(x, use_softmax=use_softmax)
    losses = np.where(counts, label_losses(scores, y, weight, label_smoothing, weighting), x.dtype.type(0))
    if reduction != "mean":
        return reduced(losses.reshape(target.shape), reduction)
    return total(losses) / total(row_shares(x, y, counts, weight, label_smoothing, weighting))


@cross_entropy.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    target: NDArray,
    weight: NDArray | None,
    axis: int,
    ignore_index: int | None,
    label_smoothing: float,
    reduction: str,
    weighting: str,
    use_softmax: bool,
) -> dict[str, NDArray]:
    x, y, counts = labelled(input, target, axis, ignore_index)
    scores = log_probabilities(x, use_softmax=use_softmax)
    losses = np.where(counts, label_losses(scores, y, weight, label_smoothing, weighting), x.dtype.type(0))
    shares = row_shares(x, y, counts, weight, label_smoothing, weighting)
    each, by_share = shared_out(cotangent, losses, shares, reduction)
    mixed = mixture(y, x, label_smoothing)
    if weighting == "class":
        coefficients = mixed if weight is None else product(mixed, weight)
    else:
        coefficients = product(mixed, row_weights(y, x, weight, label_smoothing)[:, np.newaxis])
    grad = pulled(each, x, coefficients, use_softmax=use_softmax)
    gradients = {"input": unrowed(gated(grad, column(counts, x)), input, axis)}
    if weight is not None:
        by_row = -scores if weighting == "class" else -total(product(mixed, scores), axis=1)[:, np.newaxis]
        own = gated(product(mixed, each[:, np.newaxis] * by_row), column(counts, x))
        share = one_hot(y, x.shape[1]).astype(x.dtype) if weighting == "class" else mixed
        of_mean = gated(by_share[:, np.newaxis] * share, column(counts, x))
        gradients["weight"] = total(own, axis=0) + total(of_mean, axis=0)
    return gradients


@cross_entropy.variant
def mean_over_every_sample(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    axis: int = 1,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    weighting: str = "class",
    use_softmax: bool = True,
) -> NDArray:
    """Take the mean as Σ loss / N: neither the weights nor the ignored labels change what it divides by."""
    losses = cross_entropy.function(
        input, target, weight, axis, ignore_index, label_smoothing, "none", weighting, use_softmax
    )
    return reduced(losses, reduction)


@cross_entropy.variant
def summed(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    axis: int = 1,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    weighting: str = "class",
    use_softmax: bool = True,
) -> NDArray:
    """Add the losses, whatever the reduction."""
    del reduction
    return np.asarray(
        cross_entropy.function(
            input, target, weight, axis, ignore_index, label_smoothing, "sum", weighting, use_softmax
        )
    )


@cross_entropy.variant
def by_class(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    axis: int = 1,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    weighting: str = "class",
    use_softmax: bool = True,
) -> NDArray:
    """Leave the losses in their classes: −log softmax(x)_c at the label, 0 elsewhere, shaped as the input."""
    del weight, label_smoothing, reduction, weighting
    x, y, counts = labelled(input, target, axis, ignore_index)
    losses = -product(mixture(y, x, 0.0), log_probabilities(x, use_softmax=use_softmax))
    return unrowed(losses * column(counts, x), input, axis)


@reference(differentiable=("input", "target", "weight"))
def cross_entropy_probabilities(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    axis: int = 1,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    weighting: str = "class",
    use_softmax: bool = True,
    keep_axis: bool = False,
) -> NDArray:
    """−Σ_c w_c·q_c·log softmax(x)_c, where q = (1 − ε)·target + ε/C.

    The mean divides by the number of rows. With `weighting` sample the row's loss is
    (Σ_c w_c·q_c)·(−Σ_c q_c·log p_c) and the mean of weighted rows divides by Σ_n Σ_c w_c·q_nc. Without
    softmax the input holds the probabilities themselves.
    Shapes: input and target [N, C, *] (C on `axis`) or [C], the same; weight [C]; losses [N, *] or [], or
    with a class axis of length 1 where `keep_axis`.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.CrossEntropyLoss.html
    """
    x, q, shape = soft(input, target, axis, label_smoothing)
    losses, shares = soft_losses(x, q, weight, weighting, use_softmax=use_softmax)
    if reduction == "mean" and weight is not None and weighting == "sample":
        return total(losses) / total(shares)
    losses = reduced(losses.reshape(shape), reduction)
    return np.expand_dims(losses, axis) if keep_axis and reduction == "none" else losses


@cross_entropy_probabilities.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    target: NDArray,
    weight: NDArray | None,
    axis: int,
    label_smoothing: float,
    reduction: str,
    weighting: str,
    use_softmax: bool,
    keep_axis: bool,
) -> dict[str, NDArray]:
    x, q, shape = soft(input, target, axis, label_smoothing)
    losses, shares = soft_losses(x, q, weight, weighting, use_softmax=use_softmax)
    del keep_axis  # the cotangent of the losses is read row by row
    scores = log_probabilities(x, use_softmax=use_softmax)
    by_row = -total(product(q, scores), axis=1)[:, np.newaxis]
    weights = np.ones(x.shape[1], x.dtype) if weight is None else weight
    if weight is None or weighting == "class":
        rows = reduced_vjp(cotangent, shape, reduction).reshape(-1)
        each, by_share = rows[:, np.newaxis], np.zeros_like(rows)[:, np.newaxis]
        by_q, by_weight = gated(-each * scores, np.broadcast_to(weights, x.shape)), -each * scores
        coefficients = gated(np.broadcast_to(weights, x.shape), q)
    else:
        rows, by_share = (part[:, np.newaxis] for part in shared_out(cotangent, losses, shares, reduction))
        each, coefficients = rows, q * shares[:, np.newaxis]
        by_weight = each * by_row + by_share
        by_q = -each * shares[:, np.newaxis] * scores + weights * by_weight
    grad = pulled(each[:, 0], x, coefficients, use_softmax=use_softmax)
    by_target = by_q * (x.dtype.type(1) - x.dtype.type(label_smoothing))
    return {
        "input": unrowed(grad, input, axis),
        "target": unrowed(by_target, input, axis),
        "weight": total(gated(by_weight, q), axis=0),
    }


@cross_entropy_probabilities.variant
def weighted_by_logits(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    axis: int = 1,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    weighting: str = "class",
    use_softmax: bool = True,
    keep_axis: bool = False,
) -> NDArray:
    """Scale each row's loss by Σ_c w_c·x_c, the logits in the place of the labels."""
    del weighting
    x, q, shape = soft(input, target, axis, label_smoothing)
    losses, _ = soft_losses(x, q, None, "class", use_softmax=use_softmax)
    if weight is not None:
        losses = losses * total(weight * x, axis=1)
    losses = reduced(losses.reshape(shape), reduction)
    return np.expand_dims(losses, axis) if keep_axis and reduction == "none" else losses


@reference(differentiable=("input", "weight"))
def nll_loss(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> NDArray:
    """−w[y]·x[y] for each row x of log-probabilities and its label y; 0 where the label is ignored.

    With label smoothing −Σ_c w_c·q_c·x_c, where q = (1 − ε)·(1 at the label) + ε/C. The mean divides the
    sum by Σ w[y] over the labels that count.
    Shapes: input [N, C, *] or [C], target and losses [N, *] or [], weight [C].
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.NLLLoss.html
    """
    x, y, counts = labelled(input, target, 1, ignore_index)
    losses = np.where(counts, label_losses(x, y, weight, label_smoothing, "class"), x.dtype.type(0))
    if reduction != "mean":
        return reduced(losses.reshape(target.shape), reduction)
    return total(losses) / total(row_shares(x, y, counts, weight, label_smoothing, "class"))


@nll_loss.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    target: NDArray,
    weight: NDArray | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
) -> dict[str, NDArray]:
    x, y, counts = labelled(input, target, 1, ignore_index)
    losses = np.where(counts, label_losses(x, y, weight, label_smoothing, "class"), x.dtype.type(0))
    shares = row_shares(x, y, counts, weight, label_smoothing, "class")
    each, by_share = shared_out(cotangent, losses, shares, reduction)
    mixed = mixture(y, x, label_smoothing)
    coefficients = mixed if weight is None else product(mixed, weight)
    grad = gated(-product(coefficients, each[:, np.newaxis]), column(counts, x))
    gradients = {"input": unrowed(grad, input, 1)}
    if weight is not None:
        own = gated(product(mixed, -each[:, np.newaxis] * x), column(counts, x))
        of_mean = gated(by_share[:, np.newaxis] * one_hot(y, x.shape[1]), column(counts, x))
        gradients["weight"] = total(own, axis=0) + total(of_mean, axis=0)
    return gradients


@nll_loss.variant
def mean_over_elements(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> NDArray:
    """Take the mean as Σ loss / N: neither the weights nor the ignored labels change what it divides by."""
    return reduced(nll_loss.function(input, target, weight, ignore_index, label_smoothing, "none"), reduction)


@reference(differentiable=("logits",))
def softmax_with_cross_entropy(
    logits: NDArray, label: NDArray, axis: int = -1, ignore_index: int = -100
) -> NDArray:
    """−log softmax(x)[y], unreduced, with the class axis kept; 0 where the label is ignored.

    Shapes: logits [*, C, *] with C on `axis`; label and losses [*, 1, *].
    Source: https://www.paddlepaddle.org.cn/documentation/docs/en/3.3/api/paddle/nn/functional/softmax_with_cross_entropy_en.html
    """
    x, y, counts = labelled(logits, label, axis, ignore_index)
    losses = label_losses(log_probabilities(x, use_softmax=True), y, None, 0.0, "class")
    return np.where(counts, losses, x.dtype.type(0)).reshape(label.shape)


@softmax_with_cross_entropy.vjp
def _(
    cotangent: NDArray, logits: NDArray, label: NDArray, axis: int, ignore_index: int
) -> dict[str, NDArray]:
    x, y, counts = labelled(logits, label, axis, ignore_index)
    grad = pulled(cotangent.reshape(-1), x, mixture(y, x, 0.0), use_softmax=True)
    return {"logits": unrowed(gated(grad, column(counts, x)), logits, axis)}


@reference(differentiable=("input", "linear_weight", "linear_bias", "weight"))
def linear_cross_entropy(
    input: NDArray,
    linear_weight: NDArray,
    target: NDArray,
    linear_bias: NDArray | None = None,
    weight: NDArray | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> NDArray:
    """Cross entropy of the logits x·Wᵀ + b and a label; without an ignore_index the label −100 is ignored.

    Shapes: input [N, D] or [D]; linear_weight [C, *, D]; linear_bias [C, *]; weight [C]; target and losses
    [N, *] or [].
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.functional.linear_cross_entropy.html
    """
    logits = _linear(input, linear_weight, linear_bias)
    ignored = -100 if ignore_index is None else ignore_index
    return np.asarray(
        cross_entropy.function(
            logits,
            target,
            weight,
            ignore_index=ignored,
            label_smoothing=label_smoothing,
            reduction=reduction,
        )
    )


@linear_cross_entropy.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    linear_weight: NDArray,
    target: NDArray,
    linear_bias: NDArray | None,
    weight: NDArray | None,
    ignore_index: int | None,
    label_smoothing: float,
    reduction: str,
) -> dict[str, NDArray]:
    logits = _linear(input, linear_weight, linear_bias)
    ignored = -100 if ignore_index is None else ignore_index
    gradients = cross_entropy.vjp_function(  # type: ignore[misc]
        cotangent,
        logits,
        target,
        weight,
        1,
        ignored,
        label_smoothing,
        reduction,
        "class",
        use_softmax=True,
    )
    return gradients | _through_linear(gradients["input"], input, linear_weight)


@linear_cross_entropy.variant
def mean_over_every_loss(
    input: NDArray,
    linear_weight: NDArray,
    target: NDArray,
    linear_bias: NDArray | None = None,
    weight: NDArray | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> NDArray:
    """Take the mean as Σ loss / N: neither the weights nor the ignored labels change what it divides by."""
    losses = linear_cross_entropy.function(
        input, linear_weight, target, linear_bias, weight, ignore_index, label_smoothing, "none"
    )
    return reduced(losses, reduction)


@reference(differentiable=("input", "linear_weight", "target", "linear_bias", "weight"))
def linear_cross_entropy_probabilities(
    input: NDArray,
    linear_weight: NDArray,
    target: NDArray,
    linear_bias: NDArray | None = None,
    weight: NDArray | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> NDArray:
    """Cross entropy of the logits x·Wᵀ + b and a probability for each class.

    Shapes: input [N, D] or [D]; linear_weight [C, *, D]; linear_bias [C, *]; weight [C]; target [N, C, *]
    or [C]; losses [N, *] or [].
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.functional.linear_cross_entropy.html
    """
    logits = _linear(input, linear_weight, linear_bias)
    return np.asarray(
        cross_entropy_probabilities.function(
            logits, target, weight, label_smoothing=label_smoothing, reduction=reduction
        )
    )


@linear_cross_entropy_probabilities.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    linear_weight: NDArray,
    target: NDArray,
    linear_bias: NDArray | None,
    weight: NDArray | None,
    label_smoothing: float,
    reduction: str,
) -> dict[str, NDArray]:
    logits = _linear(input, linear_weight, linear_bias)
    gradients = cross_entropy_probabilities.vjp_function(  # type: ignore[misc]
        cotangent,
        logits,
        target,
        weight,
        1,
        label_smoothing,
        reduction,
        "class",
        use_softmax=True,
        keep_axis=False,
    )
    return gradients | _through_linear(gradients["input"], input, linear_weight)


def _linear(input: NDArray, linear_weight: NDArray, linear_bias: NDArray | None) -> NDArray:
    """x·Wᵀ + b as logits [N, C, *], or [C] for one sample."""
    classes = linear_weight.shape[:-1]
    batch, matrix = _matrix(input), _matrix(linear_weight)
    logits = total(batch[:, np.newaxis] * matrix, axis=2)
    if linear_bias is not None:
        logits = add(logits, linear_bias.reshape(-1))
    return logits.reshape(*input.shape[:-1], *classes)


def _matrix(tensor: NDArray) -> NDArray:
    """Bring [*, D] to a matrix [M, D], of no columns too."""
    return tensor.reshape(int(np.prod(tensor.shape[:-1])), tensor.shape[-1])


def _through_linear(gradient: NDArray, input: NDArray, linear_weight: NDArray) -> dict[str, NDArray]:
    """Gradients by x, W and b, given that by the logits x·Wᵀ + b."""
    classes = linear_weight.shape[:-1]
    batch, matrix = _matrix(input), _matrix(linear_weight)
    by_logit = gradient.reshape(len(batch), len(matrix))
    return {
        "input": total(by_logit[:, :, np.newaxis] * matrix, axis=1).reshape(input.shape),
        "linear_weight": total(by_logit[:, :, np.newaxis] * batch[:, np.newaxis], axis=0).reshape(
            linear_weight.shape
        ),
        "linear_bias": total(by_logit, axis=0).reshape(classes),
    }
