"""Regimes: the places where kernels go wrong, and whether a case is in them.

A regime is demanded of every op that can be in it, and measured on the inputs as they are built. A case
file exempts its op from one with a reason; what is neither reached nor exempt is a missing case.
"""

from collections.abc import Callable

import numpy as np

from conformance.adapters.layouts import laid_out_so
from conformance.arrays import FLOATING, NDArray, largest_finite, neighbour
from conformance.oracle import is_floating
from conformance.suite import Case, Operator

LENGTHS = (0, 1, 2, 7, 8, 9, 16, 17, 33, 1000)
RANKS = (0, 1, 2, 3, 4, 5)
SPREADS = (50, 100, 200, 10_000)
LAYOUTS = ("transposed", "strided", "sliced", "expanded")

Measure = Callable[[Case], bool]


def regimes(op: Operator) -> dict[str, Measure]:
    """Return the regimes that the cases of an op have to reach, by name, with what measures each."""
    found: dict[str, Measure] = {}
    for name, decl in op.decl.tensors.items():
        if decl.kind == "label":
            found |= _of_labels(name)
        elif name in op.definition.differentiable:
            found |= _of_numbers(name, decl.holds)
        for layout in LAYOUTS:
            found[f"{name} {layout}"] = _laid_out(name, layout)
    first = next(iter(op.decl.tensors))
    for length in LENGTHS:
        found[f"batch {length}"] = _long(first, 0, length)
        found[f"last {length}"] = _long(first, -1, length)
    for rank in RANKS:
        found[f"rank {rank}"] = _of_rank(first, rank)
    return found


def unreached(op: Operator) -> list[str]:
    """Return the regimes that no case is in and that the case file does not exempt."""
    wanted = {n: m for n, m in regimes(op).items() if n not in op.decl.exempt}
    for case in op.cases:
        wanted = {name: measure for name, measure in wanted.items() if not measure(case)}
    return list(wanted)


def _of_numbers(name: str, holds: str) -> dict[str, Measure]:
    found = {
        f"{name} nan": _some(name, np.isnan),
        f"{name} +inf": _some(name, np.isposinf),
        f"{name} -inf": _some(name, np.isneginf),
        f"{name} nan beside finite": _both(name, np.isnan, np.isfinite),
        f"{name} zero": _some(name, lambda x: x == 0),
        f"{name} denormal": _denormal(name),
        f"{name} largest": _largest(name),
    }
    if holds == "logit":
        found |= {f"{name} spread {spread}": _spread(name, spread) for spread in SPREADS}
    if holds == "probability":
        found[f"{name} one"] = _some(name, lambda x: x == 1)
        found[f"{name} next to zero"] = _some(name, lambda x: (x > 0) & (x < 1e-6))
        found[f"{name} next to one"] = _next_to_one(name)
    return found


def _of_labels(name: str) -> dict[str, Measure]:
    return {
        f"{name} first": _some(name, lambda y: y == 0),
        f"{name} last": _last(name),
        f"{name} int32": lambda case: case.dtypes.get(name) == "int32",
        f"{name} int64": lambda case: case.dtypes.get(name) == "int64",
        f"{name} out of range": lambda case: case.domain == "undefined" and name in case.specs,
    }


def _last(name: str) -> Measure:
    """Whether a label is the last of as many as some axis of the first tensor is long."""

    def measure(case: Case) -> bool:
        labels, first = case.tensors.get(name), case.tensors[next(iter(case.specs))]
        if labels is None or not labels.size or case.domain == "undefined":
            return False
        return int(labels.max()) + 1 in first.shape

    return measure


def _some(name: str, predicate: Callable[[NDArray], NDArray]) -> Measure:
    def measure(case: Case) -> bool:
        tensor = case.tensors.get(name)
        return tensor is not None and bool(np.any(predicate(_wide(tensor))))

    return measure


def _both(name: str, one: Callable[[NDArray], NDArray], other: Callable[[NDArray], NDArray]) -> Measure:
    first, second = _some(name, one), _some(name, other)
    return lambda case: first(case) and second(case)


def _wide(tensor: NDArray) -> NDArray:
    """Return floats as float64; a float64 is handed on, for nobody writes to it."""
    return tensor.astype(np.float64, copy=False) if is_floating(tensor) else tensor


def _denormal(name: str) -> Measure:
    def measure(case: Case) -> bool:
        if case.dtypes.get(name) not in FLOATING:
            return False
        least = float(2.0 ** {"float16": -14, "float64": -1022}.get(case.dtypes[name], -126))
        return _some(name, lambda x: (x != 0) & (abs(x) < least))(case)

    return measure


def _largest(name: str) -> Measure:
    def measure(case: Case) -> bool:
        if case.dtypes.get(name) not in FLOATING:
            return False
        return _some(name, lambda x: abs(x) == largest_finite(case.dtypes[name]))(case)

    return measure


def _next_to_one(name: str) -> Measure:
    def measure(case: Case) -> bool:
        if case.dtypes.get(name) not in FLOATING:
            return False
        below = neighbour(1.0, case.dtypes[name], up=False)
        return _some(name, lambda x: x == below)(case)

    return measure


def _spread(name: str, spread: float) -> Measure:
    def measure(case: Case) -> bool:
        tensor = case.tensors.get(name)
        if tensor is None or not tensor.size:
            return False
        finite = _wide(tensor)[np.isfinite(_wide(tensor))]
        # As drawn: the ends of an interval are not hit exactly.
        return bool(finite.size) and 0.8 * spread <= float(np.max(abs(finite))) <= 2 * spread

    return measure


def _laid_out(name: str, layout: str) -> Measure:
    def measure(case: Case) -> bool:
        tensor = case.tensors.get(name)
        return tensor is not None and case.layouts[name] == layout and laid_out_so(layout, tensor)

    return measure


def _long(name: str, axis: int, length: int) -> Measure:
    def measure(case: Case) -> bool:
        tensor = case.tensors[name]
        return tensor.ndim > 0 and tensor.shape[axis] == length

    return measure


def _of_rank(name: str, rank: int) -> Measure:
    return lambda case: case.tensors[name].ndim == rank
