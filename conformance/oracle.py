"""The oracle: the reference in higher precision, with a bound derived for each element.

The bound of an element is K·(u·|exact| + sensitivity + |working − exact|) plus one rounding of the
smallest subnormal. `u` is the unit roundoff of the case's dtype; `sensitivity` how far the exact result
moves when every input moves by one rounding, with the steps of the kinks held; `working` the reference
in the case's own dtype, evaluated in every order that an honest program might use (the worst counts).
Nothing in it is tuned to a backend.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np

from conformance.arithmetic import Arithmetic, arithmetic
from conformance.arrays import NDArray, largest_finite, numpy_dtype, smallest_subnormal, unit_roundoff
from conformance.definition import Definition
from conformance.errors import HarnessError
from conformance.types import Scalar

# One constant per quantity, for all ops, dtypes and backends. Calibrated on honest NumPy programs that
# are not among the working orders (tests/test_calibration.py prints the margins); never raised.
K_OUTPUT = 4.0
K_GRADIENT = 4.0

# How an honest program may compute: (which of three addends comes last, how a sum runs, which way each
# elementary function is off by a rounding; 0: not at all).
HONEST_ORDERS = (
    (2, "pairwise", 0),
    (1, "sequential", 1 << 16),
    (0, "reversed", 1 << 17),
    (0, "pairwise", 1 << 18),
    (2, "sequential", 1 << 19),
)

EXTENDED = np.finfo(np.longdouble).nmant >= 63
ORACLE_DTYPE: np.dtype[Any] = np.dtype(np.longdouble if EXTENDED else np.float64)

# Above this many elements float64 is the oracle of float32 and narrower cases: it is 2**29 times finer than
# they are, four times faster than longdouble, and its own error is in the bound.
LARGE = 1 << 20


@dataclass(frozen=True)
class Exact:
    """The exact answer of one quantity, elementwise.

    Attributes:
        low, high: the exact value; they differ where a kink leaves an interval of subgradients.
        bound: how far outside [low, high] a conforming result may lie, finite and positive.
        terms: the three parts of the bound before K, by name: where the bound came from.
        undecided: where no mathematics fixes the value (the slope at a NaN): compared with nothing.
        dtype: the dtype that the result must have.
        below: the value with the slope that holds below each kink (its step not taken); the other end of
            the interval has the slope above. None: `low`.
        kinks: how many elements are intervals.

    """

    low: NDArray
    high: NDArray
    bound: NDArray
    terms: dict[str, NDArray]
    undecided: NDArray
    dtype: str
    below: NDArray | None = None

    @property
    def kinks(self) -> int:
        """How many elements are intervals."""
        return int(np.count_nonzero(self.low < self.high))

    @cached_property
    def reach(self) -> Any:
        """The largest magnitude among the exact values and the largest bound, together; NaN where one is."""
        ends = (self.low,) if self.low is self.high else (self.low, self.high)
        return np.max([abs(end).max() for end in ends]) + self.bound.max()


def overflow(exact: Exact) -> Any:
    """Return the least number that rounds to infinity in the dtype of a result."""
    return _overflow(exact.dtype, exact.low.dtype.type)


@cache
def _overflow(dtype: str, oracle: Any) -> Any:
    u = np.longdouble(unit_roundoff(dtype))
    # Round to nearest: beyond the largest number, (2 − 2u)·2**e, by half a spacing, u·2**e, is infinity.
    return oracle(np.longdouble(largest_finite(dtype)) * (1 + u / (2 - 2 * u)))


@dataclass(frozen=True)
class Expectation:
    """What the oracle says of one case: its output, its gradients, and how it was computed."""

    output: Exact
    gradients: dict[str, Exact]
    second: dict[str, Exact] = field(default_factory=dict)
    verdicts: dict[tuple[str, str], Any] = field(default_factory=dict)
    """Checks already made, by name and bits: functional and class forms mostly return the same bits."""


def oracle_for(tensors: Mapping[str, NDArray], dtype: str) -> np.dtype[Any]:
    """Return the dtype that the reference is evaluated in for these inputs."""
    large = max((tensor.size for tensor in tensors.values()), default=0) > LARGE
    return np.dtype(np.float64) if large and dtype != "float64" else ORACLE_DTYPE


@dataclass(frozen=True)
class _Inputs:
    """One evaluation's arguments: a definition (or a variant of it), tensors, parameters, cotangent."""

    definition: Definition
    tensors: dict[str, NDArray]
    params: dict[str, Scalar]
    variant: str = ""

    def output(self, mode: Arithmetic) -> NDArray:
        with arithmetic(mode):
            return self.definition(self.tensors, self.params, self.variant)

    def pull_back(self, cotangent: NDArray, mode: Arithmetic) -> dict[str, NDArray]:
        with arithmetic(mode):
            return self.definition.pull_back(cotangent, self.tensors, self.params)

    def cast(self, kind: np.dtype[Any]) -> "_Inputs":
        tensors = {n: t.astype(kind) if is_floating(t) else t for n, t in self.tensors.items()}
        return _Inputs(self.definition, tensors, self.params, self.variant)


def is_floating(array: NDArray) -> bool:
    """Whether an array is of a floating dtype (bfloat16 included)."""
    return array.dtype.kind not in "iub"


def exact_output(
    definition: Definition,
    tensors: Mapping[str, NDArray],
    params: Mapping[str, Scalar],
    dtype: str,
    *,
    variant: str = "",
    oracle: np.dtype[Any] | None = None,
) -> Exact:
    """Evaluate the op (or a documented variant of it) on `tensors`, already rounded to their dtypes."""
    oracle = oracle or oracle_for(tensors, dtype)
    given = _Inputs(definition, dict(tensors), dict(params), variant)
    wide = given.cast(oracle)
    value = wide.output(Arithmetic())
    sensitivity = _largest(_apart(m.output(Arithmetic()), value) for m in _moved(wide, dtype, value))
    working = _largest(
        _distance(given.output(Arithmetic(order=order, summation=s, libm=libm)), value, value)
        for order, s, libm in HONEST_ORDERS
    )
    return _bounded(value, value, sensitivity, working, dtype, K_OUTPUT, oracle)


def exact_gradients(
    definition: Definition,
    tensors: Mapping[str, NDArray],
    params: Mapping[str, Scalar],
    dtype: str,
    cotangent: NDArray,
    wanted: tuple[str, ...],
    *,
    oracle: np.dtype[Any] | None = None,
) -> dict[str, Exact]:
    """Evaluate vᵀJ for each wanted input; at kinks, both ends of the set of subgradients."""
    oracle = oracle or oracle_for(tensors, dtype)
    given = _Inputs(definition, dict(tensors), dict(params))
    wide, wide_cotangent = given.cast(oracle), cotangent.astype(oracle)
    hulls, first, mode = _subgradients(wide, wide_cotangent, wanted)
    kinks = (0.0, 1.0) if mode.kinks else (0.0,)
    moved = [m.pull_back(wide_cotangent, Arithmetic(replay=mode.steps)) for m in _moved(wide, dtype, None)]
    working = _working_error(given, cotangent, {n: h[:2] for n, h in hulls.items()}, kinks)
    # A program may sum first and apply the cotangent last: then its terms are those of a cotangent of ±1,
    # with other mantissas and other roundings.
    unit = np.sign(cotangent)
    unit_hulls, _, _ = _subgradients(wide, unit.astype(oracle), wanted)
    last = _working_error(given, unit, {n: h[:2] for n, h in unit_hulls.items()}, kinks)
    largest = float(np.max(np.abs(wide_cotangent), initial=0.0))
    exact = {}
    for name, (low, high, undecided) in hulls.items():
        sensitivity = _largest(_apart(m[name], first[name]) for m in moved)
        error = np.maximum(working[name], last[name] * largest)
        result = _bounded(low, high, sensitivity, error, dtype, K_GRADIENT, oracle)
        exact[name] = Exact(low, high, result.bound, result.terms, undecided, dtype, first[name])
    return exact


def _subgradients(
    wide: _Inputs, cotangent: NDArray, wanted: tuple[str, ...]
) -> tuple[dict[str, tuple[NDArray, NDArray, NDArray]], dict[str, NDArray], Arithmetic]:
    """Evaluate both ends of every kink: {input: (low, high, undecided)}, the first end and its record."""
    mode = Arithmetic(kink=0.0)
    ends = [wide.pull_back(cotangent, mode)]
    if mode.kinks:
        ends.append(wide.pull_back(cotangent, Arithmetic(kink=1.0)))
    if mode.nans:
        ends += [wide.pull_back(cotangent, Arithmetic(at_nan=value)) for value in (1.0, np.nan)]
    if mode.nans or mode.gates:
        ends.append(wide.pull_back(cotangent, Arithmetic(select=True)))
    nans = bool(mode.nans or mode.gates)
    return {name: _hull([end[name] for end in ends], nans=nans) for name in wanted}, ends[0], mode


def _working_error(
    given: _Inputs, cotangent: NDArray, ends: dict[str, tuple[NDArray, NDArray]], kinks: tuple[float, ...]
) -> dict[str, NDArray]:
    """Largest error of the VJP in the case's own dtype, over the honest orders and the ends of kinks."""
    evaluations = [
        given.pull_back(cotangent, Arithmetic(order=order, summation=summation, libm=libm, kink=kink))
        for order, summation, libm in HONEST_ORDERS
        for kink in kinks
    ]
    return {n: _largest(_distance(e[n], *ends[n]) for e in evaluations) for n in ends}


def _hull(ends: list[NDArray], *, nans: bool) -> tuple[NDArray, NDArray, NDArray]:
    """Interval over the ends of a kink; undecided where the value hangs on the slope at a NaN."""
    low, high = ends[0].copy(), ends[0].copy()
    undecided = np.zeros(low.shape, bool)
    for end in ends[1:]:
        differs = ~((end == ends[0]) | (np.isnan(end) & np.isnan(ends[0])))
        undecided |= differs & (np.isnan(end) | np.isnan(ends[0])) & nans
        low, high = np.fmin(low, end), np.fmax(high, end)
    return low, high, undecided


def _moved(wide: _Inputs, dtype: str, value: NDArray | None) -> Iterator[_Inputs]:
    """Yield the inputs moved by one rounding: along the derivative, against it, and with random signs.

    A float parameter moves only where the dtype cannot hold it: then every program must round it.
    """
    u = unit_roundoff(dtype)
    slopes: dict[str, NDArray] = {}
    if value is not None and not wide.variant:
        slopes = wide.pull_back(np.ones_like(value), Arithmetic(kink=1.0))
    rng = np.random.Generator(np.random.PCG64(0))
    for draw in (1.0, -1.0, 0.0):
        tensors = dict(wide.tensors)
        for name, tensor in tensors.items():
            # A label held in a float is a name, not a quantity: only what can be differentiated by moves.
            if name in wide.definition.differentiable:
                with np.errstate(all="ignore"):
                    sign = np.sign(slopes.get(name, np.ones_like(tensor)) * tensor) * draw
                if draw == 0.0 or name not in slopes:
                    sign = rng.integers(0, 2, tensor.shape) * 2.0 - 1.0
                # A float64 oracle of a float64 case cannot move by half a spacing.
                by = max(tensor.dtype.type(u), np.finfo(tensor.dtype).eps)
                with np.errstate(all="ignore"):
                    tensors[name] = tensor * (1 + np.where(np.isnan(sign), 0, sign) * by)
        params: dict[str, Scalar] = {}
        for name, number in wide.params.items():
            with np.errstate(over="ignore"):  # to infinity, as rounding does
                inexact = isinstance(number, float) and float(numpy_dtype(dtype).type(number)) != number
            params[name] = float(number) * (1 + (draw or 1.0) * u) if inexact else number  # type: ignore[arg-type]
        yield _Inputs(wide.definition, tensors, params, wide.variant)


def _largest(candidates: Iterator[NDArray]) -> NDArray:
    """Elementwise maximum; a candidate that is not finite there (overflowed, NaN) does not count."""
    worst: NDArray | None = None
    for candidate in candidates:
        with np.errstate(all="ignore"):
            finite = np.where(np.isfinite(candidate), candidate, 0)
        worst = finite if worst is None else np.maximum(worst, finite)
    if worst is None:
        raise HarnessError("no evaluation to take the largest of")
    return worst


def _apart(one: NDArray, other: NDArray) -> NDArray:
    with np.errstate(all="ignore"):
        return np.asarray(abs(one - other))


def _distance(result: NDArray, low: NDArray, high: NDArray) -> NDArray:
    """How far a result lies outside [low, high], elementwise."""
    with np.errstate(all="ignore"):
        wide = result.astype(low.dtype)
        return np.asarray(np.maximum(np.maximum(low - wide, wide - high), 0))


def _bounded(
    low: NDArray,
    high: NDArray,
    sensitivity: NDArray,
    working: NDArray,
    dtype: str,
    k: float,
    oracle: np.dtype[Any],
) -> Exact:
    own = float(np.finfo(oracle).eps) / 2 / unit_roundoff(dtype)
    with np.errstate(all="ignore"):
        magnitude = np.maximum(abs(low), abs(high))
        magnitude = np.where(np.isfinite(magnitude), magnitude, 0)
        magnitude = np.minimum(magnitude, largest_finite(dtype))
        rounding = magnitude * unit_roundoff(dtype)
        # The oracle's own error counts where it is not far finer than the dtype (float64 on float64).
        evaluation = (rounding + sensitivity + working) * own
        bound = k * (rounding + sensitivity + working + evaluation) + smallest_subnormal(dtype)
    if not np.all(np.isfinite(bound) & (bound > 0)):
        raise HarnessError("the oracle derived a bound that is not a positive number")
    terms = {"rounding": rounding, "sensitivity": sensitivity, "working": working}
    return Exact(low, high, bound, terms, np.zeros(low.shape, bool), dtype)
