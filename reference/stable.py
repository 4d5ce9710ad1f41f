"""Functions of logits that losses share, each in the form that neither overflows nor cancels."""

import numpy as np

from conformance.arithmetic import total
from conformance.arrays import NDArray
from conformance.elementary import exp, log, log1p


def softplus_of(z: NDArray) -> NDArray:
    """Return log(1 + e^z) = max(0, z) + log1p(e^−|z|), elementwise."""
    return np.asarray(np.maximum(z, z.dtype.type(0)) + log1p(exp(-abs(z))))


def sigmoid_of(z: NDArray) -> NDArray:
    """Return 1 / (1 + e^−z), elementwise, from e^−|z|, which cannot overflow."""
    one, small = z.dtype.type(1), exp(-abs(z))
    return np.asarray(np.where(z >= 0, one, small) / (one + small))


def logsumexp_of(x: NDArray, axis: int) -> NDArray:
    """Return log Σ e^x along `axis`, which stays with length 1; the largest element is taken out first."""
    shift = _largest(x, axis)
    return np.asarray(shift + log(np.expand_dims(total(exp(x - shift), axis=axis), axis)))


def log_softmax_of(x: NDArray, axis: int) -> NDArray:
    """Return x − log Σ e^x along `axis`, with the largest element taken out of both."""
    shifted = x - _largest(x, axis)
    return np.asarray(shifted - log(np.expand_dims(total(exp(shifted), axis=axis), axis)))


def softmax_of(x: NDArray, axis: int) -> NDArray:
    """Return e^x / Σ e^x along `axis`, with the largest element taken out of both."""
    small = exp(x - _largest(x, axis))
    return np.asarray(small / np.expand_dims(total(small, axis=axis), axis))


def _largest(x: NDArray, axis: int) -> NDArray:
    """Return the largest element along `axis`, kept with length 1; 0 where it is not finite."""
    largest = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    return np.asarray(np.where(np.isfinite(largest), largest, x.dtype.type(0)))


def unbroadcast(gradient: NDArray, shape: tuple[int, ...]) -> NDArray:
    """Sum a gradient over the axes along which its input [shape] was broadcast."""
    gradient = np.asarray(gradient)
    while gradient.ndim > len(shape):
        gradient = total(gradient, axis=0)
    for axis, size in enumerate(shape):
        if size == 1 and gradient.shape[axis] != 1:
            gradient = np.expand_dims(total(gradient, axis=axis), axis)
    return gradient
