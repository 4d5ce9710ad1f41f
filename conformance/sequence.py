"""Which earlier calls it takes to make a call fail that answers alone.

What its process had been asked is on disk. It is replayed in fresh processes, whole and then in parts, until
few calls are left without which the last one answers; what is returned has been seen to fail.
"""

import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event
from typing import IO, Any, Literal, TypeVar

from conformance.backends import BackendSpec
from conformance.child import Call, Child, batch
from conformance.types import Death

MAX_DEATHS_IN_A_ROW = 12
REPLAYS = 24
SECONDS = 120.0
IN_FLIGHT = 64
BATCH = 16
POLL = 0.25
DYING_SECONDS = 5.0

T = TypeVar("T")


class SpentError(Exception):
    """There were as many replays, or seconds, as a search may take."""


def shrink(history: Sequence[T], fails: Callable[[list[T]], bool]) -> tuple[list[T], bool]:
    """Leave what it takes of a history that fails as a whole, though nothing of it does not.

    The shortest end of it that still fails begins with a call that is needed; that call is kept, and the
    search goes on behind it until what is kept fails by itself. At last each is left out once.

    Returns:
        A part that was seen to fail, and whether the search came to its end.

    """
    best, kept, rest = list(history), list[T](), list(history)
    try:
        while rest and not (kept and fails(kept)):
            low, high = 0, len(rest)
            while high - low > 1:
                middle = (low + high) // 2
                if fails(part := kept + rest[-middle:]):
                    high, best = middle, part
                else:
                    low = middle
            kept.append(rest[-high])
            rest = rest[len(rest) - high + 1 :]
        best = list(kept)
        for each in kept[:-1] if len(kept) > 1 else []:
            fewer = [other for other in best if other != each]
            if fails(fewer):
                best = fewer
    except SpentError:
        return best, False
    return best, True


class History:
    """The calls that one process was sent, in order, on disk: memory must not grow with a run."""

    _HEAD = struct.Struct("<qI")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb", buffering=1 << 17)

    def add(self, calls: list[Call]) -> None:
        """Append what is being sent."""
        pack, write = self._HEAD.pack, self._file.write
        for call in calls:
            write(pack(call.id, len(call.data)))
            write(call.data)

    def close(self) -> None:
        """Write what is not written yet."""
        self._file.close()

    def discard(self) -> None:
        """Forget everything."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    @classmethod
    def before(cls, path: Path, culprit: int) -> list["Recorded"]:
        """Say where the calls stand that were sent before one, in order."""
        found: list[Recorded] = []
        with path.open("rb") as file:
            while len(head := file.read(cls._HEAD.size)) == cls._HEAD.size:
                number, size = cls._HEAD.unpack(head)
                if number == culprit:
                    break
                found.append(Recorded(number, file.tell(), size))
                file.seek(size, 1)
        return found


@dataclass(frozen=True, slots=True)
class Recorded:
    """Where a call stands in a history."""

    id: int
    offset: int
    size: int


@dataclass(frozen=True)
class Failure:
    """How a call failed: as a crash with its signal, or by not answering."""

    status: Literal["crash", "timeout"]
    said: str
    signal: str = ""
    words: str = ""

    def death(self, more: str = "", sequence: tuple[int, ...] = ()) -> Death:
        """Make it an answer."""
        return Death(self.status, self.said + more, self.signal, self.words, sequence)


@dataclass(frozen=True)
class Suspicion:
    """A call that failed once, where others had been made before; then it was made alone."""

    call: Call
    failure: Failure
    history: Path
    after: int
    alone: float = 0.0
    """Seconds until it answered alone."""

    def death(self, because: str) -> Death:
        """Make it an answer that says why no more is known."""
        return self.failure.death(f"; {self._calls(self.after)} had been made before, and {because}")

    def only_after(self, sequence: tuple[int, ...], *, complete: bool) -> Death:
        """Make it an answer with what it takes."""
        more = "" if complete else " (perhaps not all of them needed)"
        return self.failure.death(
            f"; alone it answers, it fails only after {self._calls(len(sequence))}{more}", sequence
        )

    def not_again(self) -> Death:
        """Make it an answer that says that nothing can be repeated."""
        return self.failure.death(
            f"; once, after {self._calls(self.after)}, and not again: neither alone nor after the same calls"
        )

    @staticmethod
    def _calls(count: int) -> str:
        return f"{count} earlier call{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class Limits:
    """How long a worker may take, for an answer and to start, and how often it may die in a row."""

    timeout: float
    startup: float
    replays: int = REPLAYS
    seconds: float = SECONDS
    deaths: int = MAX_DEATHS_IN_A_ROW


class Replays:
    """Makes calls in a fresh process, and says whether the last fails as it did."""

    def __init__(self, spec: BackendSpec, suspicion: Suspicion, folder: Path, limits: Limits) -> None:
        self._spec, self._suspicion, self._folder, self._limits = spec, suspicion, folder, limits
        self._end = time.monotonic() + limits.seconds
        self._stopped = Event()
        # A call that hung has answered alone: to see it hang again, its whole time need not pass.
        self._patience = min(limits.timeout, 5.0 + 20 * suspicion.alone)
        self.made = 0

    def stop(self) -> None:
        """End the replay that is being made, and make no other."""
        self._stopped.set()

    def fails(self, calls: Sequence[Recorded]) -> bool:
        """Make the calls and then the one that failed; say whether it fails, as it did, and no other.

        Raises:
            SpentError: it would be one replay too many, or it takes too long.

        """
        if self.made >= self._limits.replays:
            raise SpentError
        self.made += 1
        said: SimpleQueue[Any] = SimpleQueue()
        child = Child(self._spec, self._folder, self._folder / f"replay-{self.made}.log", said.put)
        try:
            answered, how = self._run(child, said, calls)
        finally:
            child.kill()
            child.wait(DYING_SECONDS)
        return answered == len(calls) and how == self._suspicion.failure.status

    def _run(self, child: Child, said: "SimpleQueue[Any]", calls: Sequence[Recorded]) -> tuple[int, str]:
        """Return how many calls were answered, and how the next one failed, if it did."""
        answered = sent = 0
        ready = False
        since = time.monotonic()
        with self._suspicion.history.open("rb") as history:
            while answered <= len(calls):
                while ready and sent <= len(calls) and sent < answered + IN_FLIGHT:
                    part = self._read(history, calls[sent : sent + BATCH])
                    if sent + BATCH > len(calls):
                        part.append(self._suspicion.call)
                    child.send(batch(part))
                    sent += len(part)
                item = self._next(child, said, since, self._wait(answered, len(calls), ready=ready))
                since = time.monotonic()
                if item is None or item == "timeout":
                    return answered, "crash" if item is None else "timeout"
                if isinstance(item, bytes) or item[0] == "fault":
                    answered += 1
                elif item[0] == "ready":
                    ready = True
                else:
                    return -1, "nothing of it: " + str(item[1])
        return answered, ""

    def _wait(self, answered: int, calls: int, *, ready: bool) -> float:
        if not ready:
            return self._limits.startup
        return self._patience if answered == calls else self._limits.timeout

    def _next(self, child: Child, said: "SimpleQueue[Any]", since: float, patience: float) -> Any:
        """Wait for what the process says next; None: it died, `timeout`: it says nothing."""
        while True:
            if self._stopped.is_set() or time.monotonic() > self._end:
                raise SpentError
            try:
                return said.get(timeout=POLL)
            except Empty:
                if child.status() is not None and said.empty():
                    return None
            if time.monotonic() - since > patience:
                return "timeout"

    @staticmethod
    def _read(history: IO[bytes], calls: Sequence[Recorded]) -> list[Call]:
        part = []
        for each in calls:
            history.seek(each.offset)
            part.append(Call(each.id, history.read(each.size)))
        return part
