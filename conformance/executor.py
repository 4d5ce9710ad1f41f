"""Where workers run: on this machine, or wherever an executor starts them. This is the seam.

A lane has a seat, in which one worker after another runs, and those of its searches beside it. What a worker
says comes to `tell`, in any thread: bytes are an encoded reply, a tuple anything else, None the end of its
channel, and `Gone` that it is gone with the machine that it ran on.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from conformance.backends import BackendSpec, adapter_class
from conformance.child import Child

Tell = Callable[[Any], None]


@dataclass(frozen=True)
class Gone:
    """A worker is gone, and what it owes is to be asked of another: that is nobody's fault, and why it is."""

    why: str
    unfit: bool = False
    """It never ran: the machine cannot run this backend, and is not tried again."""


class GoneError(Exception):
    """A worker's machine does not answer: of its process nothing can be said."""


class Worker(Protocol):
    """A worker process, wherever it is. Nothing here waits for it, but for what says so."""

    def send(self, message: bytes) -> None:
        """Hand over a message; it is written as soon as the process reads."""

    def status(self) -> int | None:
        """Return the exit status if the process is known to have ended."""

    def kill(self) -> None:
        """End the process, and what it started."""

    def wait(self, seconds: float) -> None:
        """Wait until a process that was killed is gone."""

    def last_words(self) -> str:
        """Return the end of what the process wrote on its standard error; it may be asked for from afar.

        Raises:
            GoneError: nobody answers there. What it said before is told before.

        """


class Seat(Protocol):
    """Where the workers of one lane run."""

    def start(self, folder: Path, log: Path, tell: Tell) -> Worker:
        """Start a worker with a current folder and a log, of these names where it runs elsewhere.

        Raises:
            OSError: it cannot be started, here or anywhere.

        """

    def close(self) -> None:
        """Give the place back, once its workers were killed."""


class Executor(Protocol):
    """Starts the workers of a run."""

    shared: bool
    """Whether they read and write this machine's files."""

    def seat(self, spec: BackendSpec) -> Seat:
        """Find a place for the workers of a lane."""

    def least(self, spec: BackendSpec) -> int:
        """Return how many workers a backend has at least."""

    def room(self, spec: BackendSpec) -> int:
        """Return how many it may have beside those of the other backends; may wait until that is known."""

    def troubles(self) -> list[str]:
        """Say, a line each, what was asked for and could not be used: the run goes on, and is no success."""

    def close(self) -> None:
        """End what the executor has started."""


class Local:
    """Processes of this machine, one for each core that is a backend's share."""

    shared = True

    def __init__(self, backends: int = 1) -> None:
        self._backends = max(1, backends)

    def seat(self, spec: BackendSpec) -> Seat:
        """Return a seat; each start is a new process."""
        return _Here(spec)

    def least(self, spec: BackendSpec) -> int:
        """Return what the adapter asks for."""
        return int(adapter_class(spec).lanes)

    def room(self, spec: BackendSpec) -> int:
        """Return the backend's share of the cores."""
        del spec
        return cores() // self._backends

    def troubles(self) -> list[str]:
        """Return nothing: this machine is there."""
        return []

    def close(self) -> None:
        """Do nothing: whoever started a worker has ended it."""


class _Here:
    def __init__(self, spec: BackendSpec) -> None:
        self._spec = spec

    def start(self, folder: Path, log: Path, tell: Tell) -> Worker:
        return Child(self._spec, folder, log, tell)

    def close(self) -> None:
        return


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def core(place: int, run: int | None = None) -> int | None:
    """Choose the core of the worker at a place in its run, another one in each run; None: it may use any."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    ours = sorted(os.sched_getaffinity(0))
    return ours[((os.getpid() if run is None else run) + place) % len(ours)]
