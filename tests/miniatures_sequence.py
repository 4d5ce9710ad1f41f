"""Miniatures whose fault is not in one call: they misbehave on the guilty case only after others, or once."""

import ctypes
import time
from pathlib import Path

from conformance.arrays import NDArray
from conformance.types import Environment
from tests.miniatures import Arrays, Honest, Params


class _Remembers(Honest):
    """Honest, but for what it does on the guilty case once it has seen others."""

    needed: frozenset[str] = frozenset()

    def start(self) -> Environment:
        """Begin without a memory."""
        self._seen: set[str] = set()
        return super().start()

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Misbehave if the margin is 2 and what it takes has been seen."""
        if params.get("margin") == 2.0:
            if self.needed <= self._seen:
                self.misbehave()
        else:
            self._seen.add(str(params["reduction"]))
        return super().output(arrays, params)

    def misbehave(self) -> None:
        """Read what is not ours."""
        ctypes.string_at(0)


class DiesAfterTwo(_Remembers):
    """Dies after a case with reduction none and one with sum; those with mean do not matter."""

    needed = frozenset({"none", "sum"})


class HangsAfterOne(_Remembers):
    """Hangs after a case with reduction mean."""

    needed = frozenset({"mean"})

    def misbehave(self) -> None:
        """Sleep for an hour."""
        time.sleep(3600)


class DiesOnce(_Remembers):
    """Dies once in a run, whatever it is asked."""

    def misbehave(self) -> None:
        """Die, if it has not been done."""
        mark = Path.cwd().parent / "died"  # what all workers of a run share
        if not mark.exists():
            mark.touch()
            super().misbehave()


class BindsWhatIsNotPublic(Honest):
    """Resolves, on the guilty case, a name that no case has any business with."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Call what the adapter refuses to call."""
        if params.get("margin") == 2.0:
            self._resolve("os.system")
        return super().output(arrays, params)
