"""Conditions on a case: the corners in which an op may be wrong while it is right everywhere else."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from conformance.alterations import values_of
from conformance.arrays import FLOATING, NDArray
from conformance.load import Operator
from conformance.trial import LAYOUT_RANK, Call, Trial, can_tell, laid_out
from conformance.types import Scalar

Condition = Callable[[Call], bool]


def conditions(op: Operator, trials: list[Trial]) -> dict[str, Condition]:
    """Return the conditions under which this op can be wrong, each read as "wrong …" or "raises …"."""
    found: dict[str, Condition] = {f"for {dtype}": _of_dtype(dtype) for dtype in FLOATING}
    found["for an empty input"] = lambda call: any(t.size == 0 for t in call.case.tensors.values())
    found["for one row"] = lambda call: call.first.shape[:1] == (1,)
    found["for more than 8 rows"] = lambda call: call.first.shape[:1] > (8,)
    for rank in sorted({trial.first.ndim for trial in trials}):
        found[f"for rank {rank}"] = _of_rank(rank)
    for name, decl in op.decl.tensors.items():
        found |= _tensor_conditions(op, name, trials)
        if decl.optional:
            found[f"without {name}"] = _without(name)
    for name in op.decl.params:
        found |= param_conditions(op, name, trials)
    return found


def _tensor_conditions(op: Operator, name: str, trials: list[Trial]) -> dict[str, Condition]:
    found: dict[str, Condition] = {}
    given = [trial.case.tensors[name] for trial in trials if name in trial.case.tensors]
    for layout in LAYOUT_RANK:
        if any(can_tell(tensor, layout) for tensor in given):
            found[f"for {layout} {name}"] = partial(laid_out, name=name, layout=layout)
    if op.decl.tensors[name].kind == "label":
        for dtype in ("int32", "int64"):
            found[f"for {dtype} {name}"] = _of_label_dtype(name, dtype)
    return found | contents(op, name)


def contents(op: Operator, name: str) -> dict[str, Condition]:
    """Return the conditions on what a floating input holds."""
    if op.decl.tensors[name].kind == "label":
        return {}
    return {f"where {name} has {what}": _containing(name, test) for what, test in CONTENTS.items()}


CONTENTS: dict[str, Callable[[NDArray], Any]] = {
    "NaN": np.isnan,
    "∞": np.isposinf,
    "−∞": np.isneginf,
    "zeros": lambda tensor: tensor == 0,
    "negatives": lambda tensor: tensor < 0,
}

RANGES: dict[str, Callable[[float], bool]] = {
    "negative": lambda value: value < 0,
    "zero": lambda value: value == 0,
    "whole": lambda value: value > 0 and value.is_integer(),
    "fractional": lambda value: not value.is_integer(),
    "above 100": lambda value: value > 100,
}


def param_conditions(op: Operator, name: str, trials: list[Trial]) -> dict[str, Condition]:
    """Return the conditions on the value of a parameter."""
    if not isinstance(op.decl.params[name].default, float):
        return {f"for {name} {value}": _of_value(name, value) for value in values_of(name, trials)}
    found = {f"where {name} is {what}": _in_range(name, test) for what, test in RANGES.items()}
    found[f"where {name} is an int"] = lambda call: isinstance(call.case.params.get(name), int)
    found[f"where {name} is left out"] = lambda call: name not in call.case.params
    return found


def _of_dtype(dtype: str) -> Condition:
    return lambda call: call.case.dtype == dtype


def _of_rank(rank: int) -> Condition:
    return lambda call: call.first.ndim == rank


def _of_value(name: str, value: Scalar) -> Condition:
    return lambda call: call.params[name] == value


def _of_label_dtype(name: str, dtype: str) -> Condition:
    return lambda call: call.case.dtypes.get(name) == dtype


def _in_range(name: str, test: Callable[[float], bool]) -> Condition:
    def condition(call: Call) -> bool:
        value = call.params[name]
        return isinstance(value, float) and test(value)

    return condition


def _containing(name: str, test: Callable[[NDArray], Any]) -> Condition:
    return lambda call: name in call.case.tensors and bool(np.any(test(call.case.tensors[name])))


def _without(name: str) -> Condition:
    return lambda call: name not in call.case.tensors


def has_signed_zero(call: Call) -> bool:
    """Whether the definition fixes the sign of a zero here."""
    return call.case.signed_zero
