"""What a call can leave altered in its process: looked at before and after, put back, and named.

A kernel that leaves flush-to-zero on is wrong for everybody who computes after it. Each look costs a
few microseconds, so it is taken at every request. It sees the thread that makes the calls (rounding,
flush-to-zero) and what Python sees (a `setenv` of native code is not in `os.environ`).
"""

import locale
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conformance.process_floating import floating
from conformance.process_random import numpy_random, python_random

State = tuple[Any, ...]
SIGNALS = [getattr(signal, n) for n in ("SIGALRM", "SIGCHLD", "SIGINT", "SIGTERM") if hasattr(signal, n)]
# Without its wrapper, which makes an enumeration's member of every answer at ten times the cost.
_handler: Callable[[int], Any] = getattr(sys.modules.get("_signal"), "getsignal", signal.getsignal)


@dataclass(frozen=True)
class Probe:
    """One thing: how it is looked at (cheaply), named once it has changed, and put back.

    `names` answers the empty string for a change that is nobody's fault. What an import may do as well
    (`imported`) is left as it is, and blamed on nobody, if the call imported a module: a framework that
    loads a part of itself at the first call sets variables, and relies on them.
    """

    look: Callable[[], Any]
    names: Callable[[Any, Any], str]
    put_back: Callable[[Any], None]
    imported: bool = False


class Process:
    """The probes that this platform has."""

    def __init__(self) -> None:
        self._probes = probes()
        self._looks = tuple(probe.look for probe in self._probes)

    def look(self) -> State:
        """Return the state of the process; equal states compare equal."""
        return (len(sys.modules), *[look() for look in self._looks])

    def put_back(self, before: State) -> tuple[str, ...]:
        """Make the process what it was, and name what a call has altered since."""
        after = self.look()
        if after == before:
            return ()
        imported = after[0] != before[0]
        named = []
        for probe, was, now in zip(self._probes, before[1:], after[1:], strict=True):
            if was != now and not (imported and probe.imported):
                name = probe.names(was, now)  # before it is put back: some look again, closely
                probe.put_back(was)
                named.append(name)
        return tuple(name for name in named if name)


def probes() -> list[Probe]:
    """Return what is looked at, the arithmetic first: it must be right before anything is computed."""
    python, numpy = python_random(), numpy_random()
    found = [
        Probe(floating.look, floating.names, floating.put_back),
        Probe(_folder, lambda _, __: "the current folder", _enter),
        Probe(_environment, _variables, _restore_environment, imported=True),
        Probe(python.look, python.names, python.put_back),
        Probe(numpy.look, numpy.names, numpy.put_back),
        Probe(np.geterr, lambda _, __: "NumPy's handling of errors", lambda was: _discard(np.seterr(**was))),
        Probe(sys.getrecursionlimit, lambda _, __: "the recursion limit", sys.setrecursionlimit),
        Probe(lambda: (*sys.path,), lambda _, __: "the import path", _restore_path, imported=True),
        Probe(_numerals, lambda _, __: "the locale", _restore_locale),
        Probe(_handlers, lambda _, __: "a signal handler", _restore_handlers, imported=True),
    ]
    if hasattr(signal, "getitimer"):
        found.append(Probe(_alarm, lambda _, now: "a pending alarm" if now else "", _cancel))
    return found


def _discard(_: object) -> None:
    """Make a statement of an expression."""


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - a third of the cost of Path.cwd
    except OSError:  # it was deleted
        return ""


def _enter(folder: str) -> None:
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        os.chdir(folder)


def _environment() -> dict[Any, Any]:
    return os.environ._data.copy()  # type: ignore[attr-defined, no-any-return] # noqa: SLF001 - 100 times faster


def _changed(was: dict[Any, Any], now: dict[Any, Any]) -> list[Any]:
    return sorted(key for key in {*was, *now} if was.get(key) != now.get(key))


def _variables(was: dict[Any, Any], now: dict[Any, Any]) -> str:
    names = [os.fsdecode(key) for key in _changed(was, now)]
    return f"the environment ({', '.join(names[:4])}{', …' if len(names) > 4 else ''})"


def _restore_environment(was: dict[Any, Any]) -> None:
    for key in _changed(was, _environment()):
        if key in was:
            os.environ[os.fsdecode(key)] = os.fsdecode(was[key])
        else:
            del os.environ[os.fsdecode(key)]


def _restore_path(was: tuple[str, ...]) -> None:
    sys.path[:] = was


def _numerals() -> str:
    return locale.setlocale(locale.LC_NUMERIC)


def _restore_locale(was: str) -> None:
    locale.setlocale(locale.LC_NUMERIC, was)


def _handlers() -> list[Any]:
    return [_handler(number) for number in SIGNALS]


def _restore_handlers(was: list[Any]) -> None:
    for number, handler in zip(SIGNALS, was, strict=True):
        if handler is not None:  # one that was not installed from Python cannot be put back
            signal.signal(number, handler)


def _alarm() -> bool:
    return signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _cancel(_: bool) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
