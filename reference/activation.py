"""Activations that losses are made of: functions of logits and their derivatives.

Sums of exponentials are kept as e^largest · (1 + rest), and 1 − p as a number of its own, so that nothing
overflows and nothing small is lost beside a 1. Programs that keep 1 + rest, or p alone, lose it, as every
framework does; `stable.kept_as` is where their rounding comes in.
"""

import numpy as np

from conformance.arithmetic import add, reach, step, total
from conformance.arrays import NDArray
from conformance.definition import reference
from conformance.elementary import exp

from .stable import (
    kept_as,
    log_of_sum,
    log_softmax_rows,
    roundings,
    sigmoid_of,
    softmax_rows,
    softplus_of,
    split_off_largest,
)

Axes = int | tuple[int, ...] | None


@reference(differentiable=("input",))
def log_softmax(input: NDArray, axis: int | None = -1) -> NDArray:
    """log(e^x[i] / Σ_j e^x[j]) = x[i] − log Σ_j e^x[j] for each slice x along the axis.

    Shapes: input and output [*], the same. Without an axis it is the first for ranks 0, 1 and 3, else the
    second, as `softmax` has it.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.LogSoftmax.html
    """
    rows = _rows(input, _chosen(input, axis))
    return _back(log_softmax_rows(rows), input, _chosen(input, axis))


@log_softmax.vjp
def _(cotangent: NDArray, input: NDArray, axis: int | None) -> dict[str, NDArray]:
    rows, each = (_rows(t, _chosen(input, axis)) for t in (input, cotangent))
    others = _summed(each) - each
    grad = each * _complement(rows) - exp(log_softmax_rows(rows)) * others
    return {"input": _back(grad, input, _chosen(input, axis))}


@reference(differentiable=("input",))
def softmax(input: NDArray, axis: int | None = -1) -> NDArray:
    """e^x[i] / Σ_j e^x[j] for each slice x along the axis.

    Shapes: input and output [*], the same. Without an axis it is the first for ranks 0, 1 and 3, else the
    second: the rule that printed examples of axis-less calls follow.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.Softmax.html
    """
    rows = _rows(input, _chosen(input, axis))
    return _back(softmax_rows(rows), input, _chosen(input, axis))


@softmax.vjp
def _(cotangent: NDArray, input: NDArray, axis: int | None) -> dict[str, NDArray]:
    rows, each = (_rows(t, _chosen(input, axis)) for t in (input, cotangent))
    if not rows.size:
        return {"input": np.zeros_like(input)}
    # v − Σ p·v, with v[largest] taken out of both: exact where one p is all but 1. Programs that keep the
    # sum alone have it as exact as their p, whose sum is 1 within a few roundings.
    largest = np.take_along_axis(each, split_off_largest(rows).place, axis=-1)
    p = softmax_rows(rows)
    others = _summed(p * (each - largest))
    grad = p * (add(each, -largest, -others) - roundings(_summed(p * abs(each))))
    return {"input": _back(grad, input, _chosen(input, axis))}


@reference(differentiable=("input",))
def logsumexp(input: NDArray, axis: Axes = None, keepdim: bool = False) -> NDArray:
    """Log Σ e^x over the axis, over several axes, or (none given, or an empty list) over all elements.

    Shapes: input [*]; output: without the axes, or with length 1 along them where `keepdim`. The sum of
    nothing is 0, and its logarithm −∞.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.logsumexp.html
    """
    split = split_off_largest(_joined(input, _all_axes(input, axis)))
    value = split.shift + log_of_sum(split)
    kept = tuple(1 if n in _all_axes(input, axis) else size for n, size in enumerate(input.shape))
    return np.asarray(value).reshape(kept if keepdim else _remaining(input, axis))


@logsumexp.vjp
def _(cotangent: NDArray, input: NDArray, axis: Axes, keepdim: bool) -> dict[str, NDArray]:
    del keepdim
    axes = _all_axes(input, axis)
    rows = _joined(input, axes)
    split = split_off_largest(rows)
    # Many programs keep the output, shift + log, and subtract it as it was rounded.
    shift, log = split.shift[..., np.newaxis], log_of_sum(split)[..., np.newaxis]
    logs = add(rows, -shift, -log) - roundings(shift + log)
    grad = np.asarray(cotangent).reshape(_remaining(input, axis))[..., np.newaxis] * exp(logs)
    apart = grad.reshape((*_remaining(input, axis), *(input.shape[n] for n in axes)))
    return {"input": np.moveaxis(apart, range(-len(axes), 0), axes) if axes else apart}


@reference(differentiable=("input",))
def sigmoid(input: NDArray) -> NDArray:
    """1 / (1 + e^−x), elementwise.

    Shapes: input and output [*], the same.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.Sigmoid.html
    """
    return sigmoid_of(input)


@sigmoid.vjp
def _(cotangent: NDArray, input: NDArray) -> dict[str, NDArray]:
    kept = sigmoid_of(input)
    return {"input": cotangent * kept * kept_as(kept, sigmoid_of(-input))}


@reference(differentiable=("input",))
def log_sigmoid(input: NDArray) -> NDArray:
    """log(1 / (1 + e^−x)) = −log(1 + e^−x), elementwise.

    Shapes: input and output [*], the same.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.LogSigmoid.html
    """
    return -softplus_of(-input)


@log_sigmoid.vjp
def _(cotangent: NDArray, input: NDArray) -> dict[str, NDArray]:
    return {"input": cotangent * sigmoid_of(-input)}


@reference(differentiable=("input",))
def softplus(input: NDArray, beta: float = 1.0, threshold: float = 20.0) -> NDArray:
    """log(1 + e^(beta·x)) / beta, elementwise; x where beta·x > threshold.

    Shapes: input and output [*], the same. The jump at the threshold t is log(1 + e^−t) / beta.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.Softplus.html
    """
    scaled = beta * input
    linear = reach("linear", scaled > threshold)
    reach("smooth", ~linear)
    return np.where(linear, input, softplus_of(scaled) / beta)


@softplus.vjp
def _(cotangent: NDArray, input: NDArray, beta: float, threshold: float) -> dict[str, NDArray]:
    scaled = beta * input
    linear = step(scaled - input.dtype.type(threshold))
    slope = np.where(linear == 1, linear, linear + (input.dtype.type(1) - linear) * sigmoid_of(scaled))
    return {"input": cotangent * np.where(np.isnan(scaled), scaled, slope)}


@softplus.variant
def compared_with_the_quotient(input: NDArray, beta: float = 1.0, threshold: float = 20.0) -> NDArray:
    """Return x where x > threshold / beta: for a negative beta the other side."""
    linear = input > threshold / beta
    return np.where(linear, input, softplus_of(beta * input) / beta)


def _complement(rows: NDArray) -> NDArray:
    """1 − softmax, elementwise along the last axis."""
    if not rows.size:
        return rows
    split, p = split_off_largest(rows), softmax_rows(rows)
    one = rows.dtype.type(1)
    without = one - p
    np.put_along_axis(without, split.place, (split.rest / (one + split.rest))[..., np.newaxis], axis=-1)
    return kept_as(p, without)


def _summed(rows: NDArray) -> NDArray:
    return np.expand_dims(total(rows, axis=-1), -1)


def _chosen(input: NDArray, axis: int | None) -> int:
    """Return the axis, counted from 0; where none is given, 0 for ranks 0, 1 and 3, else 1."""
    if axis is None:
        return 0 if input.ndim in (0, 1, 3) else 1
    return axis % input.ndim if input.ndim else 0


def _rows(tensor: NDArray, axis: int) -> NDArray:
    """Move the axis last; a scalar is one row of one element."""
    return np.moveaxis(tensor, axis, -1) if tensor.ndim else tensor.reshape(1)


def _back(rows: NDArray, input: NDArray, axis: int) -> NDArray:
    return np.moveaxis(rows, -1, axis) if input.ndim else rows.reshape(())


def _all_axes(input: NDArray, axis: Axes) -> tuple[int, ...]:
    """Return the axes as numbers from 0; no axis, or an empty list of them, is all."""
    if axis is None or axis == ():
        return tuple(range(input.ndim))
    given = axis if isinstance(axis, tuple) else (axis,)
    return tuple(sorted({n % input.ndim for n in given})) if input.ndim else ()


def _remaining(input: NDArray, axis: Axes) -> tuple[int, ...]:
    return tuple(size for n, size in enumerate(input.shape) if n not in _all_axes(input, axis))


def _joined(input: NDArray, axes: tuple[int, ...]) -> NDArray:
    """Move the axes last and join them to one."""
    if not axes:
        return input[..., np.newaxis]
    size = int(np.prod([input.shape[n] for n in axes]))
    moved = np.moveaxis(input, axes, range(-len(axes), 0))
    return moved.reshape((*moved.shape[: input.ndim - len(axes)], size))
