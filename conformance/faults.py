"""Faults: what a backend can get wrong about any op, derived from the op's own declaration.

No op has code here. A fault either transforms one quantity of an honest reply (everywhere, in a part of
the array, or under a condition on the case), or computes that quantity from altered arguments or
arithmetic. One that cannot exist for an op (it has no such parameter) is not planted; everything else is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from conformance.alterations import alterations
from conformance.arrays import NDArray, largest_finite
from conformance.conditions import Condition, conditions, contents, has_signed_zero, param_conditions
from conformance.load import Case, Operator
from conformance.probes import Probes
from conformance.trial import Alter, Call, Trial, raised
from conformance.types import Raised, Reply

Transform = Callable[[NDArray], NDArray]
Answer = Callable[[Trial], Reply | None]


@dataclass(frozen=True)
class Fault:
    """One way of being wrong.

    Attributes:
        name: what is wrong, and when.
        reply: what it replies on a trial, None where it does not come into play.
        impossible: why this op cannot be wrong so, if it cannot.

    """

    name: str
    reply: Answer
    impossible: str = ""


def plant(op: Operator, trials: list[Trial], outside: list[Call]) -> Iterator[Fault]:
    """Derive every fault that this op can have, and name those that it cannot.

    Args:
        op: the op.
        trials: its cases that have an answer.
        outside: its cases that no definition covers, or that every API's document excludes.

    """
    probes = Probes(trials)
    when = conditions(op, trials)
    # What an input holds that has no derivative (a label of ±1) can be outside the definition.
    fixed = [name for name in op.decl.tensors if name not in op.definition.differentiable]
    excluded = [call for call in outside if call.case.domain != "undefined"]
    undefined = {name: _undefined(condition, trials, excluded) for name, condition in when.items()}
    for name in fixed:
        undefined |= {n: _undefined(c, trials, outside) for n, c in contents(op, name).items()}
    for name in op.decl.params:
        undefined |= {
            n: _undefined(c, trials, outside) for n, c in param_conditions(op, name, trials).items()
        }
        undefined[f"{name} without its sign"] = undefined.get(f"where {name} is negative", "")
    undefined |= dict.fromkeys(_unclaimed(op, trials), "every API's document excludes it")
    instead = alterations(op, trials, probes)
    for quantity in ("output", *(f"grad.{name}" for name in op.definition.differentiable)):
        yield from _spoiling(op, quantity, probes)
        for name, condition in when.items():
            impossible = undefined[name] or _no_elements(op, quantity, name)
            yield Fault(f"{quantity}: wrong {name}", _transformed(quantity, spoiled, condition), impossible)
        for name, alteration in instead.items():
            reply = _altered(quantity, name, alteration.evaluate)
            impossible = undefined.get(name, "") or alteration.impossible(quantity)
            yield Fault(f"{quantity}: {name}", reply, impossible)
    for name, condition in when.items():
        yield Fault(f"raises {name}", _instead("output", raised("call"), condition), undefined[name])
    for name in op.decl.tensors:
        yield Fault(f"changes its {name}", _mutating(name))


def _spoiling(op: Operator, quantity: str, probes: Probes) -> Iterator[Fault]:
    """Yield the faults that need no knowledge of the formula: what comes back is spoiled."""
    for name, transform in TRANSFORMS.items():
        impossible = ""
        if name.startswith("NaN becomes"):
            impossible = probes.never(quantity, "NaN", np.isnan)
        elif name.startswith("∞ becomes"):
            impossible = probes.never(quantity, "infinite", np.isinf)
        elif name in OF_AXES:
            impossible = probes.single(quantity) or ("column" in name and probes.narrow(quantity)) or ""
        yield Fault(f"{quantity}: {name}", _transformed(quantity, transform), impossible)
    if quantity == "output":
        signed = any(case.signed_zero for case in op.cases)
        impossible = "" if signed else "no case says that the definition selects a zero"
        reply = _transformed(quantity, _unsigned, has_signed_zero)
        yield Fault("output: −0.0 becomes 0.0", reply, impossible)
    else:
        yield Fault(f"{quantity}: missing", _instead(quantity, None))
        yield Fault(f"{quantity}: raises", _instead(quantity, raised("backward")))


def _unclaimed(op: Operator, trials: list[Trial]) -> set[str]:
    """Return the conditions on dtypes, also of labels, that cases are in but none that an API claims."""
    claimed = {condition for trial in trials for condition in _dtypes(trial.case)}
    return {condition for case in op.cases for condition in _dtypes(case)} - claimed


def _dtypes(case: Case) -> set[str]:
    labels = {f"for {case.dtypes[n]} {n}" for n in case.specs if case.op.decl.tensors[n].kind == "label"}
    return {f"for {case.dtype}", *labels}


def _undefined(condition: Condition, trials: list[Trial], outside: list[Call]) -> str:
    """Whether the cases themselves say that a condition is outside the definition, and never inside."""
    if any(map(condition, trials)) or not any(map(condition, outside)):
        return ""
    return "its cases are declared undefined, or excluded by every document"


def _no_elements(op: Operator, quantity: str, condition: str) -> str:
    """Whether a quantity cannot have elements under a condition: no gradient by what is absent or empty."""
    name = quantity.removeprefix("grad.")
    if condition == f"without {name}":
        return "no gradient by what is absent"
    empty = condition == "for an empty input" and quantity != "output" and not op.decl.tensors[name].optional
    return "the gradient by an empty input is empty" if empty else ""


def _transformed(quantity: str, transform: Transform, condition: Condition | None = None) -> Answer:
    def reply(trial: Trial) -> Reply | None:
        if quantity not in trial.honest or (condition is not None and not condition(trial)):
            return None
        with np.errstate(all="ignore"):
            return trial.reply({quantity: transform(trial.honest[quantity])})

    return reply


def _altered(quantity: str, name: str, alteration: Alter) -> Answer:
    def reply(trial: Trial) -> Reply | None:
        values = trial.altered(name, alteration) if quantity in trial.honest else None
        return None if values is None else trial.reply({quantity: values[quantity]})

    return reply


def _instead(quantity: str, value: Raised | None, condition: Condition | None = None) -> Answer:
    def reply(trial: Trial) -> Reply | None:
        if quantity not in trial.honest or (condition is not None and not condition(trial)):
            return None
        return trial.reply({quantity: value})

    return reply


def _mutating(name: str) -> Answer:
    return lambda trial: trial.reply({}, (name,)) if name in trial.case.tensors else None


# -- transforms of an array ---------------------------------------------------------------------------


def _wide(function: Transform) -> Transform:
    """Apply a function in float64, which holds every dtype exactly, and round back."""
    return lambda array: np.asarray(function(array.astype(np.float64))).astype(array.dtype)


@_wide
def spoiled(array: NDArray) -> NDArray:
    """Give plainly wrong values: no zero, NaN or infinity stays what it is."""
    return np.where(np.isfinite(array), array * 1.5 + 1, 0)


def _spoiled_at(*index: slice | int) -> Transform:
    """Spoil a part: an index of axis 0, or `slice(None)` and an index of the last axis."""

    def transform(array: NDArray) -> NDArray:
        if not array.ndim:
            return array
        where = (index[0],) if len(index) == 1 else (..., index[-1])
        result = array.copy()
        part = result[where]
        if np.size(part):
            result[where] = spoiled(np.asarray(part))
        return result

    return lambda array: transform(array) if array.size else array


def _spoiled_flat(index: slice | int) -> Transform:
    return lambda array: _spoiled_at(index)(array.reshape(-1)).reshape(array.shape)


def _first_finite_to_nan(array: NDArray) -> NDArray:
    result = array.reshape(-1).copy()
    finite = np.flatnonzero(np.isfinite(result))
    result[finite[:1]] = np.nan
    return result.reshape(array.shape)


def _finite_infinities(array: NDArray) -> NDArray:
    largest = array.dtype.type(largest_finite(array.dtype.name))
    return np.where(np.isinf(array), np.where(array > 0, largest, -largest), array)


def _unsigned(array: NDArray) -> NDArray:
    return np.where(array == 0, array.dtype.type(0), array)


WIDER = {"float16": "float32", "bfloat16": "float32", "float32": "float64"}
NARROWER = {"float64": "float32", "float32": "float16"}

TRANSFORMS: dict[str, Transform] = {
    "scaled by 1.001": _wide(lambda array: array * 1.001),
    "zeroed": np.zeros_like,
    "negated": np.negative,
    "NaN becomes 0": lambda array: np.where(np.isnan(array), array.dtype.type(0), array),
    "NaN becomes ∞": lambda array: np.where(np.isnan(array), array.dtype.type(np.inf), array),
    "∞ becomes the largest number": _finite_infinities,
    "one NaN": _first_finite_to_nan,
    "wider dtype": lambda array: array.astype(WIDER.get(array.dtype.name, array.dtype)),
    "narrower dtype": lambda array: array.astype(NARROWER.get(array.dtype.name, array.dtype)),
    "last element wrong": lambda array: _spoiled_flat(-1)(array) if array.size else array,
    "first row wrong": _spoiled_at(0),
    "last row wrong": _spoiled_at(-1),
    "wrong from the 9th element on": _spoiled_flat(slice(8, None)),
    "wrong from the 9th column on": _spoiled_at(slice(None), slice(8, None)),
    "wrong from the 9th row on": _spoiled_at(slice(8, None)),
    "an axis too many": lambda array: array[np.newaxis],
    "axes of one squeezed": np.squeeze,
    "empty": lambda array: array.reshape(-1)[:0],
}

OF_AXES = (
    "first row wrong",
    "last row wrong",
    "axes of one squeezed",
    *(n for n in TRANSFORMS if "9th" in n),
)
"""Those that need an axis to tell on."""
