"""Functions of logits that losses share, each in the form that neither overflows nor cancels.

Sums of exponentials are kept as e^largest · (1 + rest), so that nothing small is lost beside the 1.
Programs that keep 1 + rest lose it, as every framework does; `kept_as` is where their rounding comes in.
"""

from typing import NamedTuple

import numpy as np

from conformance.arithmetic import add, off_by_rounding, total
from conformance.arrays import NDArray
from conformance.elementary import exp, log1p


def softplus_of(z: NDArray) -> NDArray:
    """Return log(1 + e^z) = max(0, z) + log1p(e^−|z|), elementwise."""
    return np.asarray(np.maximum(z, z.dtype.type(0)) + log1p(exp(-abs(z))))


def sigmoid_of(z: NDArray) -> NDArray:
    """Return 1 / (1 + e^−z), elementwise, from e^−|z|, which cannot overflow."""
    one, small = z.dtype.type(1), exp(-abs(z))
    return np.asarray(np.where(z >= 0, one, small) / (one + small))


def logsumexp_of(x: NDArray, axis: int) -> NDArray:
    """Return log Σ e^x along `axis`, which stays with length 1; the largest element is taken out first."""
    split = split_off_largest(np.moveaxis(x, axis, -1))
    return np.expand_dims(np.asarray(split.shift + log_of_sum(split)), axis)


def log_softmax_of(x: NDArray, axis: int) -> NDArray:
    """Return x − log Σ e^x along `axis`, with the largest element taken out of both."""
    return np.moveaxis(log_softmax_rows(np.moveaxis(x, axis, -1)), -1, axis)


def softmax_of(x: NDArray, axis: int) -> NDArray:
    """Return e^x / Σ e^x along `axis`, with the largest element taken out of both."""
    return np.moveaxis(softmax_rows(np.moveaxis(x, axis, -1)), -1, axis)


class Split(NamedTuple):
    """Σ e^x along the last axis as e^shift · (1 + rest), and where the largest element stands [..., 1]."""

    shift: NDArray
    rest: NDArray
    place: NDArray


def split_off_largest(rows: NDArray) -> Split:
    """Take the largest element out of a sum of exponentials; one of nothing, or of e^−∞, has rest −1."""
    if not rows.shape[-1]:
        empty = np.zeros(rows.shape[:-1], rows.dtype)
        return Split(empty, empty - rows.dtype.type(1), empty.astype(np.int64)[..., np.newaxis])
    place = np.expand_dims(np.argmax(rows, axis=-1), -1)
    largest = np.take_along_axis(rows, place, axis=-1)
    shift = np.where(np.isfinite(largest), largest, rows.dtype.type(0))
    small = exp(rows - shift)
    mine = np.take_along_axis(small, place, axis=-1)
    np.put_along_axis(small, place, rows.dtype.type(0), axis=-1)
    return Split(shift[..., 0], (mine - rows.dtype.type(1))[..., 0] + total(small, axis=-1), place)


def roundings(value: NDArray) -> NDArray:
    """Return the error that an honest sum of addends of that size may have; exactly 0 in the oracle."""
    large = value * value.dtype.type(1.5)
    return np.asarray(np.where(np.isfinite(value), off_by_rounding(large) - large, value.dtype.type(0)))


def kept_as(kept: NDArray, small: NDArray) -> NDArray:
    """Return `small`, as exact as it is for those who keep 1 + small, or 1 − small, instead of it."""
    one = small.dtype.type(1)
    rounding = np.where(np.isfinite(kept), off_by_rounding(kept) - kept, small.dtype.type(0))
    return np.asarray(add(one, -one, small) + rounding)


def log_of_sum(split: Split) -> NDArray:
    """Return log(1 + rest)."""
    return log1p(kept_as(split.rest.dtype.type(1) + split.rest, split.rest))


def log_softmax_rows(rows: NDArray) -> NDArray:
    """Return x − log Σ e^x along the last axis."""
    split = split_off_largest(rows)
    return add(rows, -split.shift[..., np.newaxis], -log_of_sum(split)[..., np.newaxis])


def softmax_rows(rows: NDArray) -> NDArray:
    """Return e^x / Σ e^x along the last axis."""
    split = split_off_largest(rows)
    small = exp(rows - split.shift[..., np.newaxis])
    return np.asarray(small / (rows.dtype.type(1) + split.rest)[..., np.newaxis])


def unbroadcast(gradient: NDArray, shape: tuple[int, ...]) -> NDArray:
    """Sum a gradient over the axes along which its input [shape] was broadcast."""
    gradient = np.asarray(gradient)
    while gradient.ndim > len(shape):
        gradient = total(gradient, axis=0)
    for axis, size in enumerate(shape):
        if size == 1 and gradient.shape[axis] != 1:
            gradient = np.expand_dims(total(gradient, axis=axis), axis)
    return gradient
