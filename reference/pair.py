"""Losses of pairs and triplets: differences, cosines and distances of vectors, under a hinge."""

import numpy as np

from conformance.arithmetic import add, gated, off_by_rounding, positive_part, reach, sign, step, total
from conformance.arrays import NDArray
from conformance.definition import reference
from conformance.elementary import arccos, cos, power, sqrt

from .shared import reduced, reduced_vjp
from .stable import log_softmax_of, softmax_of


@reference(differentiable=("input1", "input2"))
def margin_ranking_loss(
    input1: NDArray, input2: NDArray, target: NDArray, margin: float = 0.0, reduction: str = "mean"
) -> NDArray:
    """max(0, −y · (x₁ − x₂) + margin), elementwise: x₁ has to lead where y is 1, x₂ where it is −1.

    Shapes: input1, input2 and target [*], the same; losses [*].
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.MarginRankingLoss.html
    """
    hinges = _lag(input1, input2, target, margin)
    reach("open", hinges > 0)
    reach("closed", hinges < 0)
    return reduced(positive_part(hinges), reduction)


@margin_ranking_loss.vjp
def _(
    cotangent: NDArray, input1: NDArray, input2: NDArray, target: NDArray, margin: float, reduction: str
) -> dict[str, NDArray]:
    each = reduced_vjp(cotangent, input1.shape, reduction)
    second = gated(each * target.astype(input1.dtype), step(_lag(input1, input2, target, margin)))
    return {"input1": -second, "input2": second}


def _lag(input1: NDArray, input2: NDArray, target: NDArray, margin: float) -> NDArray:
    """Return by how much the one that should lead fails to, margin included [*]."""
    y = target.astype(input1.dtype)
    return add(y * input2, -y * input1, margin)


@reference(differentiable=("input1", "input2"))
def cosine_embedding_loss(
    input1: NDArray, input2: NDArray, target: NDArray, margin: float = 0.0, reduction: str = "mean"
) -> NDArray:
    """1 − cos(x₁, x₂) where the label y is 1, max(0, cos(x₁, x₂) − margin) where it is −1.

    Shapes: input1 and input2 [N, D] and target [N], or [D] and []; losses as target. With further axes,
    [N, D, *], the vectors lie along axis 1. The cosine of a vector of zeros is 0/0.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.CosineEmbeddingLoss.html
    """
    cosine = _cosine(input1, input2)
    dissimilar = add(cosine, -margin)
    reach("similar", target == 1)
    reach("dissimilar above the margin", (target == -1) & (dissimilar > 0))
    reach("dissimilar below the margin", (target == -1) & (dissimilar < 0))
    losses = np.where(target == 1, cosine.dtype.type(1) - cosine, positive_part(dissimilar))
    return reduced(losses, reduction)


@cosine_embedding_loss.vjp
def _(
    cotangent: NDArray, input1: NDArray, input2: NDArray, target: NDArray, margin: float, reduction: str
) -> dict[str, NDArray]:
    axis = _vector_axis(input1)
    cosine = _cosine(input1, input2)
    each = reduced_vjp(cotangent, target.shape, reduction)
    slope = np.where(target == 1, cosine.dtype.type(-1), step(add(cosine, -margin)))
    slope = np.expand_dims((each * slope).reshape(cosine.shape), axis)
    scale1, unit1, norm1 = _unit(input1, axis)
    scale2, unit2, norm2 = _unit(input2, axis)
    along = np.expand_dims(cosine, axis)
    # The norm is divided by in two steps, for its square and even itself may be out of range.
    return {
        "input1": gated((unit2 - along * unit1) / norm1 / scale1, slope),
        "input2": gated((unit1 - along * unit2) / norm2 / scale2, slope),
    }


@cosine_embedding_loss.variant
def margin_outside_the_clamp(
    input1: NDArray, input2: NDArray, target: NDArray, margin: float = 0.0, reduction: str = "mean"
) -> NDArray:
    """max(0, cos(x₁, x₂)) − margin where the label is −1: the margin after the clamp, so below 0 too."""
    cosine = _cosine(input1, input2)
    dissimilar = positive_part(cosine) - margin
    return reduced(np.where(target == 1, cosine.dtype.type(1) - cosine, dissimilar), reduction)


def _vector_axis(x: NDArray) -> int:
    return min(1, x.ndim - 1)


def _unit(x: NDArray, axis: int) -> tuple[NDArray, NDArray, NDArray]:
    """Return a power of two, x divided by its length, and that length divided by the power of two.

    Powers of two change no digit, and keep the squares in range. A length, however it is come by, is good
    to a rounding.
    """
    scale = _power_of_two(x, axis)
    scaled = x / scale
    norm = off_by_rounding(sqrt(np.expand_dims(total(scaled * scaled, axis=axis), axis)))
    return scale, scaled / norm, norm


def _cosine(x1: NDArray, x2: NDArray) -> NDArray:
    """Return x₁·x₂ / (‖x₁‖ ‖x₂‖) along the axis of the vectors."""
    axis = _vector_axis(x1)
    scaled1, scaled2 = x1 / _power_of_two(x1, axis), x2 / _power_of_two(x2, axis)
    squares = total(scaled1 * scaled1, axis=axis), total(scaled2 * scaled2, axis=axis)
    # √a · √b, √(ab), a division before the product: programs differ by a rounding here.
    lengths = off_by_rounding(np.asarray(sqrt(squares[0]) * sqrt(squares[1])))
    return np.asarray(total(scaled1 * scaled2, axis=axis) / lengths)


def _power_of_two(x: NDArray, axis: int) -> NDArray:
    """Return the power of two next to the largest |x| along `axis`; 1 where that is 0 or not finite."""
    largest = np.max(abs(x), axis=axis, keepdims=True, initial=x.dtype.type(0))
    exponent = np.frexp(largest)[1] - 1
    usable = np.isfinite(largest) & (largest > 0)
    return np.asarray(np.where(usable, np.ldexp(np.ones_like(largest), exponent), x.dtype.type(1)))


@reference(differentiable=("anchor", "positive", "negative"))
def triplet_margin_loss(
    anchor: NDArray,
    positive: NDArray,
    negative: NDArray,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> NDArray:
    """max(0, d(a, p) − d(a, n) + margin) with d(x, y) = ‖x − y + ε‖_p along the last axis.

    With `swap` d(a, n) is min(d(a, n), d(p, n)). ε, added to each difference, is PairwiseDistance's.
    Shapes: anchor, positive, negative [N, D] or [D], the same; losses [N] or [].
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.TripletMarginLoss.html
    """
    to_positive, to_negative, between = (
        _norm(add(x, -y, eps), p) for x, y in _sides(anchor, positive, negative)
    )
    return _triplet(to_positive, to_negative, between, margin, swap, reduction)


@triplet_margin_loss.vjp
def _(
    cotangent: NDArray,
    anchor: NDArray,
    positive: NDArray,
    negative: NDArray,
    margin: float,
    p: float,
    eps: float,
    swap: bool,
    reduction: str,
) -> dict[str, NDArray]:
    sides = [add(x, -y, eps) for x, y in _sides(anchor, positive, negative)]
    distances = [_norm(z, p) for z in sides]
    # d(a, n) counts with a minus: its slope is taken at the opposite end of its kinks.
    slopes = [_slope_of_norm(sides[0], p), -_slope_of_norm(-sides[1], p), _slope_of_norm(sides[2], p)]
    return _triplet_vjp(cotangent, distances, slopes, margin, swap, reduction)


@reference(differentiable=("anchor", "positive", "negative"))
def triplet_margin_with_distance_loss(
    anchor: NDArray,
    positive: NDArray,
    negative: NDArray,
    distance: str | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> NDArray:
    """max(0, d(a, p) − d(a, n) + margin) with a distance d of the caller's choice.

    None is PairwiseDistance's ‖x − y + 1e-6‖, `euclidean` ‖x − y‖, `l1` Σ |x − y|, `squared` Σ (x − y)²,
    each along the last axis. With `swap` d(a, n) is min(d(a, n), d(p, n)).
    Shapes: anchor, positive, negative [N, *, D], the same; losses [N, *].
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.TripletMarginWithDistanceLoss.html
    """
    sides = [_difference(x, y, distance) for x, y in _sides(anchor, positive, negative)]
    to_positive, to_negative, between = (_distance(z, distance) for z in sides)
    return _triplet(to_positive, to_negative, between, margin, swap, reduction)


@triplet_margin_with_distance_loss.vjp
def _(
    cotangent: NDArray,
    anchor: NDArray,
    positive: NDArray,
    negative: NDArray,
    distance: str | None,
    margin: float,
    swap: bool,
    reduction: str,
) -> dict[str, NDArray]:
    sides = [_difference(x, y, distance) for x, y in _sides(anchor, positive, negative)]
    distances = [_distance(z, distance) for z in sides]
    slopes = [
        _slope_of_distance(sides[0], distance),
        -_slope_of_distance(-sides[1], distance),
        _slope_of_distance(sides[2], distance),
    ]
    return _triplet_vjp(cotangent, distances, slopes, margin, swap, reduction)


@triplet_margin_with_distance_loss.variant
def euclidean_by_default(
    anchor: NDArray,
    positive: NDArray,
    negative: NDArray,
    distance: str | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> NDArray:
    """Take ‖x − y‖ as the default distance, with nothing added to the difference."""
    return np.asarray(
        triplet_margin_with_distance_loss.function(
            anchor, positive, negative, distance or "euclidean", margin, swap, reduction
        )
    )


def _sides(anchor: NDArray, positive: NDArray, negative: NDArray) -> tuple[tuple[NDArray, NDArray], ...]:
    """Return the ends of a triangle's sides: anchor to positive, anchor to negative, positive to negative."""
    return (anchor, positive), (anchor, negative), (positive, negative)


def _difference(x: NDArray, y: NDArray, distance: str | None) -> NDArray:
    return add(x, -y) if distance else add(x, -y, x.dtype.type(1e-6))


def _triplet(
    to_positive: NDArray, to_negative: NDArray, between: NDArray, margin: float, swap: bool, reduction: str
) -> NDArray:
    """Return the losses [N] of the distances [N], reduced."""
    if swap:
        reach("swapped", between < to_negative)
        to_negative = np.minimum(to_negative, between)
    hinges = add(to_positive, -to_negative, margin)
    reach("open", hinges > 0)
    reach("closed", hinges < 0)
    return reduced(positive_part(hinges), reduction)


def _triplet_vjp(
    cotangent: NDArray,
    distances: list[NDArray],
    slopes: list[NDArray],
    margin: float,
    swap: bool,
    reduction: str,
) -> dict[str, NDArray]:
    """Return the gradients, given the distances [N] and their slopes by the differences [N, D]."""
    to_positive, to_negative, between = distances
    one = to_positive.dtype.type(1)
    swapped = step(add(to_negative, -between)) if swap else np.zeros_like(to_negative)
    hinges = add(to_positive, -(np.minimum(to_negative, between) if swap else to_negative), margin)
    opened = gated(reduced_vjp(cotangent, hinges.shape, reduction), step(hinges))
    pull, push, apart = (
        gated(slope, share[..., np.newaxis])
        for slope, share in zip(slopes, (opened, opened * (one - swapped), opened * swapped), strict=True)
    )
    if not swap:
        return {"anchor": pull - push, "positive": -pull, "negative": push}
    return {"anchor": pull - push, "positive": -pull - apart, "negative": push + apart}


def _norm(z: NDArray, p: float) -> NDArray:
    """‖z‖_p along the last axis, good to a rounding; powers of two keep the powers in range."""
    if np.isinf(p):
        return np.asarray(np.max(abs(z), axis=-1, initial=z.dtype.type(0)))
    if p == 1:
        return total(abs(z), axis=-1)
    scale = _power_of_two(z, -1)
    scaled = abs(z) / scale
    if p == 2:
        return np.asarray(off_by_rounding(sqrt(total(scaled * scaled, axis=-1))) * np.squeeze(scale, -1))
    root = z.dtype.type(1) / z.dtype.type(p)
    return np.asarray(power(total(power(scaled, p), axis=-1), root) * np.squeeze(scale, -1))


def _slope_of_norm(z: NDArray, p: float) -> NDArray:
    """Derivative of ‖z‖_p: sign(z) · (|z| / ‖z‖)^(p − 1), each place; where z is 0 throughout, within ±1.

    For p = ∞ the largest |z| takes all; where several are the largest, each may take from nothing to all.
    """
    size = abs(z)
    if np.isinf(p):
        largest = np.max(size, axis=-1, keepdims=True, initial=z.dtype.type(0))
        tied = np.sum(size == largest, axis=-1, keepdims=True) > 1
        taken = step(np.where(tied | np.isnan(size), size - largest, np.where(size == largest, 1, -1)))
        return np.asarray(sign(z) * taken.astype(z.dtype))
    if p == 1:
        return sign(z)
    scale = _power_of_two(z, -1)
    norm = np.expand_dims(_norm(z / scale, p), -1)
    at_kink = sign(np.where(norm == 0, z, z.dtype.type(1)))
    if p == 2:
        return np.where(norm == 0, at_kink, z / scale / norm)
    return np.where(norm == 0, at_kink, np.sign(z) * power(size / scale / norm, p - 1))


def _distance(z: NDArray, distance: str | None) -> NDArray:
    """Return the distance along the last axis, of differences z."""
    if distance == "squared":
        return total(z * z, axis=-1)
    return _norm(z, 1 if distance == "l1" else 2)


def _slope_of_distance(z: NDArray, distance: str | None) -> NDArray:
    if distance == "squared":
        return np.asarray(z.dtype.type(2) * z)
    return _slope_of_norm(z, 1 if distance == "l1" else 2)


@reference(differentiable=("logits",))
def margin_cross_entropy(
    logits: NDArray,
    label: NDArray,
    margin1: float = 1.0,
    margin2: float = 0.5,
    margin3: float = 0.0,
    scale: float = 64.0,
    reduction: str = "mean",
) -> NDArray:
    """Cross entropy of scale · cos θ, where the label's class has cos(margin1 · θ + margin2) − margin3.

    Shapes: logits [N, C], which hold cos θ, label [N] or [N, 1]; losses [N, 1].
    Source: https://www.paddlepaddle.org.cn/documentation/docs/en/3.3/api/paddle/nn/functional/margin_cross_entropy_en.html
    """
    chosen = _chosen(logits, label)
    scores = _scores(logits, chosen, margin1, margin2, margin3, scale)
    log_probability = np.where(chosen, log_softmax_of(scores, 1), logits.dtype.type(0))
    return reduced(-total(log_probability, axis=1)[:, np.newaxis], reduction)


@margin_cross_entropy.vjp
def _(
    cotangent: NDArray,
    logits: NDArray,
    label: NDArray,
    margin1: float,
    margin2: float,
    margin3: float,
    scale: float,
    reduction: str,
) -> dict[str, NDArray]:
    chosen = _chosen(logits, label)
    one = logits.dtype.type(1)
    each = reduced_vjp(cotangent, (len(logits), 1), reduction) * scale
    probability = softmax_of(_scores(logits, chosen, margin1, margin2, margin3, scale), 1)
    # 1 − the label's probability, summed from the others: no cancellation where the label has nearly all.
    others = np.where(chosen, logits.dtype.type(0), probability)
    rest = np.expand_dims(total(others, axis=1), 1)
    angle = margin1 * arccos(logits) + margin2
    bent = margin1 * off_by_rounding(np.sin(angle)) / sqrt((one - logits) * (one + logits))
    if margin1 == 1 and margin2 == 0:
        bent = np.ones_like(logits)
    return {"logits": each * np.where(chosen, -rest * bent, others)}


def _chosen(logits: NDArray, label: NDArray) -> NDArray:
    """Mark the label's class of each row: bool [N, C] from labels [N] or [N, 1]."""
    return np.asarray(label.reshape(-1, 1) == np.arange(logits.shape[1]))


def _scores(
    logits: NDArray, chosen: NDArray, margin1: float, margin2: float, margin3: float, scale: float
) -> NDArray:
    """Return scale · cos θ [N, C], with the margins in the label's class."""
    bent = cos(margin1 * arccos(logits) + margin2) - margin3
    if margin1 == 1 and margin2 == 0:
        bent = logits - margin3
    return np.asarray(scale * np.where(chosen, bent, logits))
