"""The arithmetic that references are written in, and the contexts that vary it.

A reference never branches on a float by itself: it adds with `add`, sums with `total` and clamps with
`positive_part`/`step`. So one formula can be evaluated exactly, with an honest implementation's other
orders of rounding, at either end of a kink, with its steps frozen, or with a planted fault.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

from conformance.arrays import NDArray


@dataclass
class Arithmetic:
    """One way of evaluating a reference.

    Attributes:
        order: which of three addends is added last (0, 1, 2): honest programs differ in this.
        summation: `pairwise`, `sequential` or `reversed`: honest programs differ in this too.
        kink: the value of the step at a kink: 0 and 1 are the two ends of the subdifferential.
        at_nan: the value of the step where its argument is NaN, where no mathematics fixes it.
        select: whether a slope of 0 selects 0 (True) or multiplies, which tells on infinities and NaN.
        clamp_shift: planted fault: the threshold of every clamp, moved off zero by this much.
        libm: not 0: every elementary function is off by one rounding, up or down at random, as a libm may be.
        replay: steps to use instead of computing them: keeps a perturbed evaluation on its branch.
        steps: the steps taken so far, for `replay`.
        kinks, nans, gates: how many elements met a kink, a NaN, or a zero slope times a non-finite number.
        reached: how many elements went through each branch that the reference names.

    """

    order: int = 2
    summation: str = "pairwise"
    kink: float = 0.0
    at_nan: float = 0.0
    select: bool = False
    clamp_shift: float = 0.0
    libm: int = 0
    replay: list[NDArray] | None = None
    steps: list[NDArray] = field(default_factory=list)
    kinks: int = 0
    nans: int = 0
    gates: int = 0
    reached: Counter[str] = field(default_factory=Counter)


_current: ContextVar[Arithmetic] = ContextVar("arithmetic")


@contextmanager
def arithmetic(mode: Arithmetic) -> Iterator[Arithmetic]:
    """Evaluate references under `mode` inside the block."""
    token = _current.set(mode)
    try:
        with np.errstate(all="ignore"):
            yield mode
    finally:
        _current.reset(token)


def _mode() -> Arithmetic:
    try:
        return _current.get()
    except LookupError:
        return Arithmetic()


def add(first: Any, second: Any, third: Any | None = None) -> NDArray:
    """Add first + second (+ third), rounded in the order that the context names."""
    if third is None:
        return np.asarray(first + second)
    terms = [first, second, third]
    last = terms.pop(_mode().order)
    return np.asarray((terms[0] + terms[1]) + last)


def total(values: NDArray, axis: int | None = None) -> NDArray:
    """Sum along `axis` (None: over everything); 16-bit floats are accumulated in float32, as is customary."""
    kind = values.dtype
    if kind.itemsize == 2 and kind.kind not in "iu":
        values = values.astype(np.float32)
    summation = _mode().summation
    if axis is None:
        values, axis = values.reshape(-1), 0
    if summation == "reversed":
        values = np.flip(values, axis)
    if summation == "sequential" and values.shape[axis]:
        return np.asarray(np.take(np.add.accumulate(values, axis=axis), -1, axis=axis)).astype(kind)
    return np.asarray(np.sum(values, axis=axis)).astype(kind)


def reach(branch: str, taken: Any) -> NDArray:
    """Count the elements [any shape] that take a named branch of the definition; return them as bool."""
    mask = np.asarray(taken, bool)
    _mode().reached[branch] += int(np.count_nonzero(mask))
    return mask


def sign(z: NDArray) -> NDArray:
    """Derivative of |z|: −1 below, 1 above; at z = 0 the set of subgradients is [−1, 1]."""
    return np.asarray(z.dtype.type(2) * step(z) - z.dtype.type(1))


def clamped_below(z: NDArray, least: Any) -> NDArray:
    """max(z, least), elementwise; NaN stays NaN. Its derivative is `step(z - least)`."""
    return np.where(z < least + _mode().clamp_shift, np.broadcast_to(z.dtype.type(least), z.shape), z)


def off_by_rounding(value: NDArray) -> NDArray:
    """Return the value of an elementary function, as exact as the context says its library is.

    A library is good to a rounding, but for 0 and 1, which every library gets right.
    """
    mode = _mode()
    if not mode.libm:
        return value
    mode.libm += 1
    eps = float(ml_dtypes.finfo(value.dtype).eps)
    signs = np.random.Generator(np.random.PCG64(mode.libm)).integers(0, 2, value.shape) * 2.0 - 1.0
    moved = value * (1 + signs * eps).astype(value.dtype)
    return np.where((value == 1) | ~np.isfinite(moved), value, moved)


def positive_part(z: NDArray) -> NDArray:
    """max(0, z), elementwise; NaN stays NaN (IEEE 754-2019 `maximum`)."""
    return np.where(z < _mode().clamp_shift, np.zeros_like(z), z)


def step(z: NDArray) -> NDArray:
    """Derivative of `positive_part`: 0 below, 1 above, and at z = 0 what the context says.

    The set of subgradients at the kink is [0, 1]; evaluating with `kink` 0 and 1 gives its ends.
    """
    mode = _mode()
    if mode.replay is not None:
        mode.steps.append(mode.replay[len(mode.steps)])
        return mode.steps[-1].astype(z.dtype)
    shifted = z.astype(np.longdouble) - mode.clamp_shift if mode.clamp_shift else z
    kink, nan = shifted == 0, np.isnan(z)
    mode.kinks += int(np.count_nonzero(kink))
    mode.nans += int(np.count_nonzero(nan))
    taken = np.where(kink, mode.kink, (shifted > 0).astype(np.float64))
    mode.steps.append(np.where(nan, mode.at_nan, taken).astype(z.dtype))
    return mode.steps[-1]


def slope_of_power(z: NDArray, p: int) -> NDArray:
    """Derivative of positive_part(z)**p: p·max(0, z)^(p−1), a step for p = 1.

    At a NaN it is what `step` says there, whatever p: the slope at a NaN is fixed by nothing.
    """
    slope = step(z)
    if p == 1:
        return slope
    return np.where(np.isnan(z), slope, z.dtype.type(p) * positive_part(z) ** (p - 1))


def gated(value: NDArray, slope: NDArray) -> NDArray:
    """Scale a cotangent by a slope. Honest programs multiply by a zero slope or select 0 instead."""
    mode = _mode()
    product = np.asarray(value * slope)
    closed = (slope == 0) & np.isnan(product)
    mode.gates += int(np.count_nonzero(closed))
    return np.where(closed, slope, product) if mode.select else product
