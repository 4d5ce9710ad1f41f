"""Rows of scores and their targets: the pieces that the losses of classification are made of.

A row is one sample's scores [C]; its target is a label or a probability for each class. The coefficients
b of the log-probabilities decide the loss, −Σ_c b_c·log p_c, and its gradient, p·Σ b − b.
"""

import numpy as np

from conformance.arithmetic import add, gated, off_by_rounding, reach, total
from conformance.arrays import NDArray
from conformance.elementary import exp, log

from .shared import at_target, one_hot, reduced_vjp
from .stable import log_softmax_rows


def rows(tensor: NDArray, axis: int) -> NDArray:
    """Bring [*, C, *] with the classes on `axis` to rows [M, C]; one sample [C] is one row."""
    moved = np.moveaxis(tensor, axis if tensor.ndim > 1 else 0, -1)
    return moved.reshape(int(np.prod(moved.shape[:-1])), moved.shape[-1])


def unrowed(rows: NDArray, like: NDArray, axis: int) -> NDArray:
    """Bring rows [M, C] back to the shape of `like`."""
    axis = axis if like.ndim > 1 else 0
    return np.moveaxis(rows.reshape(np.moveaxis(like, axis, -1).shape), -1, axis)


def labelled(
    input: NDArray, target: NDArray, axis: int, ignore_index: int | None
) -> tuple[NDArray, NDArray, NDArray]:
    """Return the rows [M, C], their labels [M] (0 where ignored), and which of them count [M].

    A label that is no class, of which the definition says nothing, is taken for the nearest that is one.
    """
    x, y = rows(input, axis), target.reshape(-1).astype(np.int64)
    counts = reach("counted", y != ignore_index) if ignore_index is not None else np.ones(len(y), bool)
    reach("ignored", ~counts)
    return x, np.where(counts, np.clip(y, 0, x.shape[1] - 1), 0), counts


def soft(
    input: NDArray, target: NDArray, axis: int, label_smoothing: float
) -> tuple[NDArray, NDArray, tuple[int, ...]]:
    """Return the rows [M, C], their smoothed probabilities [M, C], and the shape of the losses."""
    x, q = rows(input, axis), rows(target, axis)
    if label_smoothing != 0:
        even = x.dtype.type(label_smoothing) / x.dtype.type(x.shape[1])
        q = (x.dtype.type(1) - x.dtype.type(label_smoothing)) * q + even
        reach("smoothed", np.ones(len(x)))
    return x, q, np.moveaxis(input, axis if input.ndim > 1 else 0, -1).shape[:-1]


def mixture(y: NDArray, x: NDArray, label_smoothing: float) -> NDArray:
    """(1 − ε)·(1 at the label) + ε/C [M, C]; without smoothing 0 and 1."""
    hot = one_hot(y, x.shape[1]).astype(x.dtype)
    if label_smoothing == 0:
        return hot
    even = x.dtype.type(label_smoothing) / x.dtype.type(x.shape[1])
    return np.asarray((x.dtype.type(1) - x.dtype.type(label_smoothing)) * hot + even)


def product(coefficients: NDArray, values: NDArray) -> NDArray:
    """Return coefficients · values, 0 where the coefficient is: what is not in the sum is not read."""
    coefficients, values = np.broadcast_arrays(coefficients, values)
    return np.asarray(np.where(coefficients == 0, values.dtype.type(0), coefficients * values))


def log_probabilities(x: NDArray, *, use_softmax: bool) -> NDArray:
    """Log-softmax of each row [M, C], or the logarithm of the probabilities that it holds already."""
    if not use_softmax:
        reach("already probabilities", np.ones(len(x)))
        return log(x)
    reach("logits", np.ones(len(x)))
    return log_softmax_rows(x)


def beside(value: NDArray, whole: NDArray) -> NDArray:
    """Return a value that an honest program finds as a part of, or the difference from, a larger number.

    It has that number's rounding errors: its last digits, and the error of the function that gave it.
    """
    held = np.where(np.isfinite(whole), whole, whole.dtype.type(0))
    return np.asarray(add(held, -held, value) + (off_by_rounding(held) - held))


def but_one(values: NDArray) -> NDArray:
    """For each class the sum of all the others [M, C], without cancellation where the values are positive."""
    largest = one_hot(np.argmax(abs(values), axis=1), values.shape[1])
    rest = total(np.where(largest, values.dtype.type(0), values), axis=1)[:, np.newaxis]
    return np.where(largest, rest, total(values, axis=1)[:, np.newaxis] - values)


def pulled(each: NDArray, x: NDArray, coefficients: NDArray, *, use_softmax: bool) -> NDArray:
    """Gradient of each·(−Σ_c b_c·log p_c) by the rows [M, C]: each·(p·Σ b − b), −each·b/p without softmax.

    p·Σ b − b is p·(Σ of the other b) − b·(Σ of the other p), which does not cancel on a sure hit; an honest
    program takes the difference, which has no value where b is infinite.
    """
    if not use_softmax:
        return product(coefficients, -each[:, np.newaxis] / x)
    p, zero = exp(log_probabilities(x, use_softmax=True)), x.dtype.type(0)
    slope = p * but_one(coefficients) - coefficients * but_one(p)
    slope = slope + gated(np.where(np.isfinite(coefficients), zero, coefficients), np.zeros_like(slope))
    return np.asarray(each[:, np.newaxis] * beside(slope, p * total(coefficients, axis=1)[:, np.newaxis]))


def row_weights(y: NDArray, x: NDArray, weight: NDArray | None, label_smoothing: float) -> NDArray:
    """Σ_c w_c·q_c of each row [M]: its label's weight where nothing is smoothed."""
    if weight is None:
        return np.ones(len(y), x.dtype)
    return total(product(mixture(y, x, label_smoothing), np.broadcast_to(weight, x.shape)), axis=1)


def label_losses(
    scores: NDArray, y: NDArray, weight: NDArray | None, label_smoothing: float, weighting: str
) -> NDArray:
    """Loss of each row [M] of log-probabilities [M, C], before it is known whether its label counts."""
    weights = np.ones(scores.shape[1], scores.dtype) if weight is None else weight
    if label_smoothing == 0:
        return -weights[y] * at_target(scores, y)[:, 0]
    reach("smoothed", np.ones(len(y)))
    mixed = mixture(y, scores, label_smoothing)
    if weighting == "class":
        return -total(mixed * weights * scores, axis=1)
    return -row_weights(y, scores, weight, label_smoothing) * total(mixed * scores, axis=1)


def row_shares(
    x: NDArray,
    y: NDArray,
    counts: NDArray,
    weight: NDArray | None,
    label_smoothing: float,
    weighting: str,
) -> NDArray:
    """What each row adds to the divisor of the mean [M]: nothing where its label is ignored."""
    shares = row_weights(y, x, weight, label_smoothing if weighting == "sample" else 0.0)
    return np.where(counts, shares, x.dtype.type(0))


def soft_losses(
    x: NDArray, q: NDArray, weight: NDArray | None, weighting: str, *, use_softmax: bool
) -> tuple[NDArray, NDArray]:
    """Loss of each row [M] for the probabilities q [M, C], and Σ_c w_c·q_c [M]."""
    scores = log_probabilities(x, use_softmax=use_softmax)
    shares = np.ones(len(x), x.dtype) if weight is None else total(q * weight, axis=1)
    if weight is None or weighting == "class":
        return -total(q * scores if weight is None else q * weight * scores, axis=1), shares
    return -shares * total(q * scores, axis=1), shares


def shared_out(
    cotangent: NDArray, losses: NDArray, shares: NDArray, reduction: str
) -> tuple[NDArray, NDArray]:
    """Cotangent of each row's loss [M], and of its share in the divisor of a mean [M]."""
    if reduction != "mean":
        return reduced_vjp(cotangent, losses.shape, reduction).reshape(-1), np.zeros_like(losses)
    whole = total(shares)
    each = np.broadcast_to(cotangent / whole, losses.shape)
    return each, np.broadcast_to(-cotangent * (total(losses) / whole) / whole, losses.shape)


def column(counts: NDArray, x: NDArray) -> NDArray:
    """Return 1 for the rows that count, else 0, as a column [M, 1]."""
    return counts[:, np.newaxis].astype(x.dtype)
