"""Alterations: an op computed from other arguments, or in other arithmetic, than the case says."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np

from conformance.adapters.layouts import memory_of
from conformance.arrays import NDArray, unit_roundoff
from conformance.load import Operator
from conformance.probes import Probes, next_label
from conformance.trial import LAYOUT_RANK, Alter, Trial, Values, can_tell, laid_out
from conformance.types import Scalar

# A threshold moved by just over the spacing at one (2u): arguments about 1 large, one rounding away
# from the kink on either side, land on its wrong side. Less could be the rounding of an honest sum.
CLAMP_ROUNDINGS = 2.5


@dataclass(frozen=True)
class Alteration:
    """What is computed instead, and why it is impossible in a quantity (nothing where it is possible)."""

    evaluate: Alter
    impossible: Callable[[str], str] = lambda _: ""


def alterations(op: Operator, trials: list[Trial], probes: Probes) -> dict[str, Alteration]:
    """Return what this op can be computed from instead, by name."""
    found: dict[str, Alteration] = {}
    for name, param in op.decl.params.items():
        for how, evaluate in _params(op, name, trials).items():
            about_default = "default" in how.removeprefix(name)
            impossible = partial(probes.independent_of_param, name=name)
            found[how] = Alteration(evaluate, _required if param.required and about_default else impossible)
    for name, decl in op.decl.tensors.items():
        for how, evaluate in _tensors(op, name, trials).items():
            found[how] = Alteration(evaluate, partial(probes.independent_of_tensor, name=name))
        if decl.optional:
            found[f"{name} ignored"] = Alteration(_without(name), partial(_absent, probes, name))
    for name in op.definition.variants:
        found[f"the variant {name}"] = Alteration(_variant(name), _formula_only)
    found["the cotangent ignored"] = Alteration(_unit_cotangent, _backward_only)
    for way, sign in (("up", 1), ("down", -1)):
        found[f"clamp one rounding {way}"] = Alteration(_clamp(sign * CLAMP_ROUNDINGS), probes.continuous)
    found["clamp left out"] = Alteration(_clamp(-np.inf), probes.unclamped)
    return found


def _required(_: str) -> str:
    return "no API has a default for it"


def _absent(probes: Probes, name: str, quantity: str) -> str:
    if quantity == f"grad.{name}":
        return "no gradient by what is absent"
    return probes.independent_of_tensor(quantity, name)


def _formula_only(quantity: str) -> str:
    return "" if quantity == "output" else "a variant is a formula without a derivative"


def _backward_only(quantity: str) -> str:
    return "an output has no cotangent" if quantity == "output" else ""


def values_of(name: str, trials: list[Trial]) -> list[Scalar]:
    """Return the values that a discrete parameter takes in the cases, in a stable order."""
    return sorted({trial.params[name] for trial in trials}, key=repr)


# -- parameters ---------------------------------------------------------------------------------------


def _params(op: Operator, name: str, trials: list[Trial]) -> dict[str, Alter]:
    found = {f"{name} ignored": _ignored(name)}
    if isinstance(op.decl.params[name].default, float):
        for how, change in CHANGES.items():
            found[f"{name} {how}"] = _changed(name, change)
        found[f"{name} has another default"] = _other_default(name, lambda value: value + 1)
        return found
    values = values_of(name, trials)
    for old, new in permutations(values, 2):
        found[f"{name} {old} taken for {new}"] = _replaced(name, old, new)
    for new in values:
        if new != op.decl.params[name].default:
            found[f"{name} defaults to {new}"] = _other_default(name, _constant(new))
    if {"mean", "none"} <= set(values):
        found["the mean divided by one less"] = _mean_of_one_less(name)
    return found


CHANGES: dict[str, Callable[[Any], Scalar]] = {
    "scaled by 1.001": lambda value: value * 1.001,
    "one too large": lambda value: value + 1,
    "cut to a whole number": lambda value: float(np.trunc(value)),
    "without its sign": abs,
}


def _ignored(name: str) -> Alter:
    def evaluate(trial: Trial) -> Values | None:
        default = trial.api.decl.defaults.get(name, trial.case.op.decl.params[name].default)
        given = name in trial.case.params and trial.params[name] != default
        return trial.evaluate(params={name: default}) if given else None

    return evaluate


def _changed(name: str, change: Callable[[Any], Scalar]) -> Alter:
    return lambda trial: trial.evaluate(params={name: change(trial.params[name])})


def _other_default(name: str, change: Callable[[Any], Scalar]) -> Alter:
    changed = _changed(name, change)
    return lambda trial: None if name in trial.case.params else changed(trial)


def _constant(value: Scalar) -> Callable[[Any], Scalar]:
    return lambda _: value


def _replaced(name: str, old: Scalar, new: Scalar) -> Alter:
    return lambda trial: trial.evaluate(params={name: new}) if trial.params[name] == old else None


def _mean_of_one_less(name: str) -> Alter:
    def evaluate(trial: Trial) -> Values | None:
        if trial.params[name] != "mean":
            return None
        # Output and gradients of a mean are a sum's over the same count: how many "none" would return.
        count = trial.evaluate(params={name: "none"})["output"].size
        if count < 2:
            return None
        factor = count / (count - 1)
        with np.errstate(all="ignore"):
            return {n: (v.astype(np.float64) * factor).astype(v.dtype) for n, v in trial.honest.items()}

    return evaluate


# -- tensors ------------------------------------------------------------------------------------------


def _tensors(op: Operator, name: str, trials: list[Trial]) -> dict[str, Alter]:
    decl, found = op.decl.tensors[name], dict[str, Alter]()
    if decl.optional:
        found[f"{name} off by one place"] = _tensor(name, lambda tensor: np.roll(tensor, 1))
    if decl.kind == "label":
        found[f"{name} off by one"] = _tensor(name, next_label)
    for layout in LAYOUT_RANK:
        if any(can_tell(t.case.tensors[name], layout) for t in trials if name in t.case.tensors):
            found[f"{layout} {name} read as if contiguous"] = _misread(name, layout)
    return found


def _tensor(name: str, change: Callable[[NDArray], NDArray]) -> Alter:
    def evaluate(trial: Trial) -> Values | None:
        if name not in trial.case.tensors:
            return None
        return trial.evaluate(tensors={**trial.case.tensors, name: change(trial.case.tensors[name])})

    return evaluate


def _without(name: str) -> Alter:
    def evaluate(trial: Trial) -> Values | None:
        rest = {n: t for n, t in trial.case.tensors.items() if n != name}
        return trial.evaluate(tensors=rest) if len(rest) < len(trial.case.tensors) else None

    return evaluate


def _misread(name: str, layout: str) -> Alter:
    """Read a view's memory from its start as if it had no strides: what a kernel blind to them sees."""

    def evaluate(trial: Trial) -> Values | None:
        if not laid_out(trial, name, layout):
            return None
        tensor = trial.case.tensors[name]
        memory = memory_of(tensor, layout).reshape(-1)
        misread = np.resize(np.append(memory, np.zeros(tensor.size, tensor.dtype)), tensor.shape)
        return trial.evaluate(tensors={**trial.case.tensors, name: misread})

    return evaluate


# -- the formula --------------------------------------------------------------------------------------


def _variant(name: str) -> Alter:
    return lambda trial: trial.evaluate(variant=name)


def _unit_cotangent(trial: Trial) -> Values | None:
    return trial.evaluate(unit_cotangent=True)


def _clamp(roundings: float) -> Alter:
    return lambda trial: trial.evaluate(clamp_shift=roundings * unit_roundoff(trial.case.dtype))
