"""Arrays as frameworks are given them: values without ml_dtypes, and the memory under each layout."""

import numpy as np

from conformance.arrays import NDArray, bfloat16_as_float32, float32_as_bfloat16
from conformance.types import Array


def numpy_of(array: Array) -> NDArray:
    """Unpack an array without ml_dtypes: bfloat16 comes as float32, which holds it exactly."""
    if array.dtype == "bfloat16":
        return bfloat16_as_float32(array)
    return np.frombuffer(array.data, array.dtype).reshape(array.shape).copy()


def bfloat16_bits(values: NDArray) -> NDArray:
    """Return the raw bits of float32 values that are bfloat16 numbers: a framework's cast changes a NaN's."""
    return np.frombuffer(float32_as_bfloat16(values).data, np.uint16).reshape(values.shape).copy()


def laid_out_so(layout: str, values: NDArray) -> bool:
    """Whether a layout makes any difference to an array of this shape."""
    if layout == "expanded":
        return values.ndim > 0 and len(values) > 0
    return layout != "contiguous" and values.ndim > (1 if layout == "transposed" else 0)


def memory_of(values: NDArray, layout: str) -> NDArray:
    """Return what lies in memory under a layout, in order: what a kernel blind to views reads."""
    if layout == "transposed":
        return reversed_axes(values)
    if layout == "strided":
        return interleaved(values)
    if layout == "sliced":
        return padded(values)
    return values[:1].copy() if layout == "expanded" else values


def interleaved(values: NDArray) -> NDArray:
    """Give twice as many columns, the odd ones holding other values: what a kernel blind to strides reads."""
    wide = np.empty((*values.shape[:-1], 2 * values.shape[-1]), values.dtype)
    wide[..., ::2] = values
    wide[..., 1::2] = np.flip(values, -1)
    return wide


def padded(values: NDArray) -> NDArray:
    """Put a row of other values before and behind: what a kernel blind to a slice's offset reads."""
    other = np.zeros((1, *values.shape[1:]), values.dtype)
    return np.concatenate([other, values, other])


def reversed_axes(values: NDArray) -> NDArray:
    """Copy with the axes reversed: reversing them again as a view gives the values, transposed in memory."""
    return np.ascontiguousarray(values.T)
