"""Probes: which faults an op cannot have, found by trying, so that none is left out on a hunch.

A fault is impossible if the definition itself shows it to change nothing: a gradient that does not depend
on the weights cannot misread them. A probe moves something grossly in every case; only if no case
responds is the fault impossible. What no case lets us try stays possible, and survives.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

from conformance.arrays import NDArray
from conformance.oracle import is_floating
from conformance.trial import CannotEvaluateError, Trial, Values

Predicate = Callable[[NDArray], NDArray]


class Probes:
    """Answers about one op, each found once: the reason why something is impossible, or nothing."""

    def __init__(self, trials: list[Trial]) -> None:
        self._trials = trials
        self.independent_of_tensor = cache(self._independent_of_tensor)
        self.independent_of_param = cache(self._independent_of_param)
        self.never = cache(self._never)
        self.continuous = cache(self._continuous)
        self.unclamped = cache(self._unclamped)
        self.single = cache(self._single)
        self.narrow = cache(self._narrow)

    def _independent_of_tensor(self, quantity: str, name: str) -> str:
        tried = False
        for trial in self._asked(quantity):
            if name in trial.case.tensors and trial.honest[quantity].size:
                tried = True
                moved = {**trial.case.tensors, name: _moved(trial.case.tensors[name])}
                if _responds(trial, quantity, tensors=moved):
                    return ""
        return f"{quantity} does not depend on {name}" if tried else ""

    def _independent_of_param(self, quantity: str, name: str) -> str:
        values = sorted({trial.params[name] for trial in self._trials}, key=repr)
        for trial in self._asked(quantity):
            given = trial.params[name]
            for other in [given + 0.75] if isinstance(given, float) else values:
                if _responds(trial, quantity, params={name: other}):
                    return ""
        return f"{quantity} does not depend on {name}" if len(values) > 1 else ""

    def _never(self, quantity: str, what: str, predicate: Predicate) -> str:
        """Put NaN and infinities into every floating input, and look whether the quantity shows any."""
        for trial in self._asked(quantity):
            for tensors in _extremes(trial):
                with suppress(CannotEvaluateError):
                    if predicate(trial.evaluate(tensors=tensors)[quantity]).any():
                        return ""
        return f"no input makes {quantity} {what}"

    def _continuous(self, quantity: str) -> str:
        """Turn every step of every clamp round: a quantity that stays the same takes none."""
        for trial in self._asked(quantity):
            if _responds(trial, quantity, turned_steps=True):
                return ""
        return f"{quantity} is continuous where a clamp begins"

    def _unclamped(self, quantity: str) -> str:
        for trial in self._asked(quantity):
            if _responds(trial, quantity, clamp_shift=-np.inf):
                return ""
        return f"{quantity} has no clamp"

    def _single(self, quantity: str) -> str:
        always = all(trial.honest[quantity].ndim == 0 for trial in self._asked(quantity))
        return f"{quantity} is always a single number" if always else ""

    def _narrow(self, quantity: str) -> str:
        shapes = [trial.honest[quantity].shape for trial in self._asked(quantity)]
        columns = max((shape[1] for shape in shapes if len(shape) > 1), default=0)
        return f"{quantity} never has two columns" if columns < 2 else ""

    def _asked(self, quantity: str) -> Iterator[Trial]:
        return (trial for trial in self._trials if quantity in trial.honest)


def _responds(trial: Trial, quantity: str, **altered: Any) -> bool:
    """Whether the definition answers otherwise, or not at all."""
    try:
        return _differs(trial, quantity, trial.evaluate(**altered))
    except CannotEvaluateError:
        return True


def _differs(trial: Trial, quantity: str, values: Values) -> bool:
    theirs, ours = values[quantity], trial.honest[quantity]
    return theirs.shape != ours.shape or theirs.tobytes() != ours.tobytes()


def _moved(tensor: NDArray) -> NDArray:
    if is_floating(tensor):
        with np.errstate(all="ignore"):
            return (tensor.astype(np.float64) * 1.5 + 0.25).astype(tensor.dtype)
    return next_label(tensor)


def next_label(labels: NDArray) -> NDArray:
    """Take each label for the next one, the largest for the smallest: all stay legal labels."""
    if not labels.size:
        return labels
    return np.where(labels == labels.max(), labels.min(), labels + 1).astype(labels.dtype)


def _extremes(trial: Trial) -> Iterator[dict[str, NDArray]]:
    for name in trial.case.op.definition.differentiable:
        tensor = trial.case.tensors.get(name)
        if tensor is None or not tensor.size:
            continue
        for place in (0, -1):
            for value in (np.nan, np.inf, -np.inf):
                extreme = tensor.copy()
                extreme.reshape(-1)[place] = value
                yield {**trial.case.tensors, name: extreme}
