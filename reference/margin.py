"""Margin losses: sums of hinges max(0, z), so every derivative is built from steps."""

import numpy as np

from conformance.arithmetic import add, gated, positive_part, slope_of_power, step, total
from conformance.arrays import NDArray
from conformance.definition import reference

from .shared import at_target, batched, one_hot, reduced, reduced_vjp


@reference(differentiable=("input", "weight"))
def multi_margin_loss(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    p: int = 1,
    margin: float = 1.0,
    reduction: str = "mean",
) -> NDArray:
    """w[y] · Σ_{i≠y} max(0, margin − x[y] + x[i])^p / C for each row x [C] of the input and its label y.

    Shapes: input [N, C] or [C], target [N] or [], weight [C]; losses [N] or []. The weight stands
    outside the power.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.MultiMarginLoss.html
    """
    x, y = batched(input, 2), batched(target, 1)
    hinges = positive_part(_gaps(x, y, margin))
    losses = _weights(weight, y, x) * total(hinges**p, axis=1) / x.dtype.type(x.shape[1])
    return reduced(losses.reshape(target.shape), reduction)


@multi_margin_loss.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    target: NDArray,
    weight: NDArray | None,
    p: int,
    margin: float,
    reduction: str,
) -> dict[str, NDArray]:
    x, y = batched(input, 2), batched(target, 1)
    gaps, classes = _gaps(x, y, margin), x.dtype.type(x.shape[1])
    each = batched(reduced_vjp(cotangent, target.shape, reduction), 1)
    others = gated((each * _weights(weight, y, x) / classes)[:, np.newaxis], slope_of_power(gaps, p))
    others = np.where(one_hot(y, x.shape[1]), x.dtype.type(0), others)
    grad = np.where(one_hot(y, x.shape[1]), -total(others, axis=1)[:, np.newaxis], others)
    unweighted = each * total(positive_part(gaps) ** p, axis=1) / classes
    by_class = total(np.where(one_hot(y, x.shape[1]), unweighted[:, np.newaxis], x.dtype.type(0)), axis=0)
    return {"input": grad.reshape(input.shape), "weight": by_class}


@multi_margin_loss.variant
def weight_inside_power(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    p: int = 1,
    margin: float = 1.0,
    reduction: str = "mean",
) -> NDArray:
    """Σ_{i≠y} max(0, w[y] · (margin − x[y] + x[i]))^p / C: the weight inside the clamp and the power."""
    x, y = batched(input, 2), batched(target, 1)
    gaps = _weights(weight, y, x)[:, np.newaxis] * add(margin, -at_target(x, y), x)
    hinges = positive_part(np.where(one_hot(y, x.shape[1]), x.dtype.type(-np.inf), gaps))
    return reduced((total(hinges**p, axis=1) / x.dtype.type(x.shape[1])).reshape(target.shape), reduction)


@multi_margin_loss.variant
def weighted_mean(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    p: int = 1,
    margin: float = 1.0,
    reduction: str = "mean",
) -> NDArray:
    """Take the mean as Σ loss / Σ w[y], the weighted mean of other losses, not Σ loss / N."""
    losses = multi_margin_loss.function(input, target, weight, p, margin, "none")
    if reduction != "mean":
        return reduced(losses, reduction)
    return total(losses) / total(_weights(weight, batched(target, 1), batched(input, 2)))


def _gaps(x: NDArray, y: NDArray, margin: float) -> NDArray:
    """Return margin − x[y] + x[i] [N, C]; at i = y, which the sum leaves out, −∞ (no hinge, no step)."""
    gaps = add(margin, -at_target(x, y), x)
    return np.where(one_hot(y, x.shape[1]), x.dtype.type(-np.inf), gaps)


def _weights(weight: NDArray | None, y: NDArray, x: NDArray) -> NDArray:
    """Return w[y] [N]; ones where there is no weight."""
    return np.ones(len(y), x.dtype) if weight is None else weight[y]


@reference(differentiable=("input",))
def hinge_embedding_loss(
    input: NDArray, target: NDArray, margin: float = 1.0, reduction: str = "mean"
) -> NDArray:
    """Return x where the label y is 1, max(0, margin − x) where it is −1, elementwise.

    Shapes: input and target [*], the same; losses [*]. The label is one of two values, so the loss has
    no derivative by it.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.HingeEmbeddingLoss.html
    """
    return reduced(np.where(target == 1, input, positive_part(add(margin, -input))), reduction)


@hinge_embedding_loss.vjp
def _(
    cotangent: NDArray, input: NDArray, target: NDArray, margin: float, reduction: str
) -> dict[str, NDArray]:
    each = reduced_vjp(cotangent, input.shape, reduction)
    return {"input": np.where(target == 1, each, -each * step(add(margin, -input)))}


@reference(differentiable=("input",))
def multilabel_margin_loss(input: NDArray, target: NDArray, reduction: str = "mean") -> NDArray:
    """Σ_j Σ_{i ∉ y} max(0, 1 − x[y_j] + x[i]) / C, where y is the row's labels before its first −1.

    Shapes: input and target [N, C] or [C], the same; losses [N] or []. A label that stands twice counts
    twice.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.MultiLabelMarginLoss.html
    """
    x, y = batched(input, 2), batched(target, 2)
    summed = np.zeros(len(x), x.dtype)
    for label, gaps in _label_gaps(x, y):
        hinges = np.where(label[:, np.newaxis] < 0, x.dtype.type(0), positive_part(gaps))
        summed = summed + total(hinges, axis=1)
    return reduced((summed / x.dtype.type(x.shape[1])).reshape(input.shape[:-1]), reduction)


@multilabel_margin_loss.vjp
def _(cotangent: NDArray, input: NDArray, target: NDArray, reduction: str) -> dict[str, NDArray]:
    x, y = batched(input, 2), batched(target, 2)
    each = batched(reduced_vjp(cotangent, input.shape[:-1], reduction), 1)
    share = (each / x.dtype.type(x.shape[1]))[:, np.newaxis]
    grad = np.zeros_like(x)
    for label, gaps in _label_gaps(x, y):
        others = np.where(label[:, np.newaxis] < 0, x.dtype.type(0), gated(share, step(gaps)))
        others = np.where(np.isneginf(gaps), x.dtype.type(0), others)
        grad = grad + np.where(one_hot(label, x.shape[1]), -total(others, axis=1)[:, np.newaxis], others)
    return {"input": grad.reshape(input.shape)}


def _label_gaps(x: NDArray, y: NDArray) -> list[tuple[NDArray, NDArray]]:
    """For each label slot j: the labels y_j [N] (−1: none) and 1 − x[y_j] + x[i] [N, C], −∞ for i ∈ y."""
    valid = np.logical_and.accumulate(y >= 0, axis=1)
    labels = np.where(valid, y, -1)
    width = int(valid.sum(axis=1).max(initial=0))
    is_target = np.zeros(x.shape, bool)
    for j in range(width):
        is_target |= one_hot(labels[:, j], x.shape[1])
    pairs = []
    for j in range(width):
        gaps = add(x.dtype.type(1), -at_target(x, np.maximum(labels[:, j], 0)), x)
        pairs.append((labels[:, j], np.where(is_target, x.dtype.type(-np.inf), gaps)))
    return pairs
