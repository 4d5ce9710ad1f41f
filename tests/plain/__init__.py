"""Every op once more, in plain loops over 50-digit numbers, with strategies that draw its inputs.

A module here is named as the file of `reference/` whose ops it holds. It shares no code with them: it is
what proves the references, and what confirms every accusation in the ledger a second time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from conformance.arrays import NDArray
from conformance.definition import definitions
from tests.plain.number import Number, exactly, number, total

WIDE = np.longdouble
REDUCTIONS = ("none", "mean", "sum")
Params = dict[str, Any]
Tensors = dict[str, Any]
"""Tensors by name: object arrays of `Number` where they are floating, NumPy's integers else."""

Formula = Callable[[Tensors, Params], list[Number]]


@dataclass
class Problem:
    """An op's arguments at a smooth point: no step or kink within 1/64 of any input."""

    tensors: dict[str, NDArray]
    params: Params = field(default_factory=dict)

    def output(self, op: str, **changed: NDArray) -> NDArray:
        """Evaluate the reference, with some tensors changed."""
        return definitions()[op](self.tensors | changed, self.params)


PLAIN: dict[str, Formula] = {}
PROBLEMS: dict[str, st.SearchStrategy[Problem]] = {}
KINK = 1 / 64


def plain(formula: Formula) -> Formula:
    """Register the plain formula of the op of its name: (tensors, every parameter) -> outputs, flat."""
    PLAIN[formula.__name__] = formula
    return formula


def numbers(array: NDArray, along: tuple[int, ...] | None = None) -> Any:
    """Return an object array of the same numbers; at index `along` the slope is 1."""
    result = np.empty(array.shape, object)
    for place in np.ndindex(array.shape):
        result[place] = Number(exactly(array[place]), 1 if place == along else 0)
    return result


def reduce_(losses: list[Number], reduction: str) -> list[Number]:
    """Reduce a flat list of losses: none, sum, or mean over their number."""
    if reduction == "none":
        return losses
    summed = total(losses)
    return [summed / len(losses)] if reduction == "mean" else [summed]


@st.composite
def eighths(draw: st.DrawFn, shape: tuple[int, ...], low: int = -24, high: int = 24) -> NDArray:
    """Draw multiples of 1/8 between low/8 and high/8, as longdouble [shape]."""
    size = int(np.prod(shape))
    drawn = draw(st.lists(st.integers(low, high), min_size=size, max_size=size))
    return np.array(drawn, WIDE).reshape(shape) / 8


reductions = st.sampled_from([{"reduction": name} for name in REDUCTIONS])


def load_all() -> None:
    """Import every module beside this one, so that its formulas are registered."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem not in ("__init__", "number"):
            import_module(f"tests.plain.{path.stem}")


__all__ = [
    "KINK",
    "PLAIN",
    "PROBLEMS",
    "Number",
    "Problem",
    "eighths",
    "number",
    "numbers",
    "plain",
    "reduce_",
]
