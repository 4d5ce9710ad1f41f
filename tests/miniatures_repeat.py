"""Miniatures whose results vary, each in one way; and slow or hanging ones, for runs that are interrupted."""

import ctypes
import os
import time
from itertools import count

import numpy as np

from conformance.arrays import NDArray
from tests.miniatures import Arrays, Hangs, Honest, Params, Segfaults

_calls = count()


def _moved(values: NDArray, steps: int) -> NDArray:
    """Move each number by that many ULP of one: little enough to conform, if it is one."""
    return np.asarray(values * (1 + steps * np.finfo(values.dtype).eps)).astype(values.dtype)


class Uninitialised(Honest):
    """Returns something else at every call, as memory that nobody wrote does."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Move every other result by one ULP."""
        return _moved(super().output(arrays, params), next(_calls) % 2)


class PerProcess(Honest):
    """Returns what depends on the process alone."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Add a number made from that of the process."""
        loss = super().output(arrays, params)
        return np.asarray(loss + loss.dtype.type(1 + os.getpid() % 1009 / 8))


class Remembers(Honest):
    """Returns what depends on the cases before this one."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Add how many other inputs there have been."""
        self._seen = {**getattr(self, "_seen", {}), repr((arrays, params)): None}
        loss = super().output(arrays, params)
        return np.asarray(loss + loss.dtype.type(list(self._seen).index(repr((arrays, params)))))


class GradientVaries(Honest):
    """Gives another gradient at every other call."""

    def gradients(self, arrays: Arrays, params: Params, cotangent: NDArray) -> dict[str, NDArray | None]:
        """Move that by the input."""
        found = super().gradients(arrays, params, cotangent)
        assert found["input"] is not None
        return {**found, "input": _moved(found["input"], next(_calls) % 2)}


class NanVaries(Honest):
    """Returns NaN, of one sign and of the other: the same result."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Return NaN in the right shape."""
        loss = super().output(arrays, params)
        return np.full_like(loss, np.copysign(np.nan, next(_calls) % 2 - 0.5))


class RaisesAtTimes(Honest):
    """Refuses every other call."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Raise, or not."""
        if next(_calls) % 2:
            raise ValueError("not this time")
        return super().output(arrays, params)


class DiesTheSecondTime(Segfaults):
    """Survives the guilty case once in a process."""

    _survived = False

    def misbehave(self) -> None:
        """Die if this is not the first time."""
        if self._survived:
            super().misbehave()
        self._survived = True


class Slow(Honest):
    """Takes its time, so that there is a moment to be interrupted at."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Sleep first."""
        time.sleep(0.05)
        return super().output(arrays, params)


class HangsInNativeCode(Hangs):
    """Never answers, and lets no other thread of its process run."""

    def misbehave(self) -> None:
        """Sleep with the interpreter's lock held."""
        ctypes.PyDLL(None).sleep(600)
