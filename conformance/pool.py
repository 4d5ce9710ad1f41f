"""The near side: one lane of workers per backend (or more), kept fed, timed, and replaced when they die."""

import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from conformance.backends import BackendSpec, adapter_class, backend_spec
from conformance.child import HELD, Call
from conformance.executor import Executor, Local, core
from conformance.hold import Hold
from conformance.lane import Answer, Fault, Lane, Lost
from conformance.sequence import MAX_DEATHS_IN_A_ROW, REPLAYS, SECONDS, Limits
from conformance.types import Environment, Request

__all__ = [
    "MAX_DEATHS_IN_A_ROW", "Answer", "BackendSpec", "Fault", "Lost", "Pool", "Unsent", "backend_spec",
]  # fmt: skip

STARTUP_SECONDS = 180.0
TICK_SECONDS = 0.05
WORTH = 5000
"""Calls that are worth the start of another worker: it imports its framework for seconds."""
AWAY_SECONDS = 1.0
Said = tuple[str, int, Answer | Lost]


@dataclass(frozen=True)
class Unsent:
    """A call that was not made, for the API has no argument for something that the case gives."""

    reason: str


class Pool:
    """All workers of a run. `submit` questions, take `answers` as they come.

    Args:
        specs: the backends.
        timeout: seconds that a worker may take for one answer.
        window: how many requests a worker may owe, so that the next is there when it has answered one.
        startup: seconds that it may take until it is ready.
        replays: how often at most a process's calls are repeated to see which of them a failure takes.
        seconds: and how long.
        deaths: after how many deaths without an answer between them a backend is given up.
        executor: what starts the workers; without it, this machine. Whoever made it closes it.
        workers: how many each backend has, if that is not to be found out.

    """

    def __init__(  # noqa: PLR0913 - what a run may set
        self,
        specs: list[BackendSpec],
        timeout: float = 30.0,
        window: int = 64,
        *,
        startup: float = STARTUP_SECONDS,
        replays: int = REPLAYS,
        seconds: float = SECONDS,
        deaths: int = MAX_DEATHS_IN_A_ROW,
        executor: Executor | None = None,
        workers: int = 0,
    ) -> None:
        self.executor = executor or Local(len(specs))
        self.workers = workers
        self._events: SimpleQueue[tuple[Lane, int, Any]] = SimpleQueue()
        self._scratch = Path(tempfile.mkdtemp(prefix="conformance-"))
        self.hold = Hold(self._scratch / HELD, shared=self.executor.shared)
        self.hold.folder.mkdir()
        self._early: deque[Said] = deque()
        self._looked = 0.0
        self._started = False
        self.timeout = timeout
        self._window, self._limits = window, Limits(timeout, startup, replays, seconds, deaths)
        self._specs = specs
        self._lanes: dict[str, list[Lane]] = {spec.name: [] for spec in specs}
        self._all: list[Lane] = []
        self._spinning = 0
        for spec in specs:
            for _ in range(workers or self.executor.least(spec)):
                self._add(spec)

    def _add(self, spec: BackendSpec) -> None:
        lanes = self._lanes[spec.name]
        folder = self._scratch / f"{spec.name}-{len(lanes)}"
        folder.mkdir()
        if adapter_class(spec).spins:
            self._spinning += 1
            # Elsewhere the number is a place among the cores there.
            spec = replace(spec, core=core(self._spinning) if self.executor.shared else self._spinning)
        seat = self.executor.seat(spec)
        lane = Lane(spec, folder, self._window, self._limits, self.hold, seat, self._events.put)
        lanes.append(lane)
        self._all.append(lane)
        if self._started:
            lane.start()

    def widen(self, calls: Mapping[str, int]) -> None:
        """Give a backend with so many calls all workers that there is room for, if that is worth it.

        Before anything is submitted: the same case is always in the same lane.
        """
        for spec in [] if self.workers else self._specs:
            worth = calls[spec.name] // WORTH
            if worth > len(self._lanes[spec.name]):
                for _ in range(len(self._lanes[spec.name]), min(self.executor.room(spec), worth)):
                    self._add(spec)

    def losses(self) -> list[str]:
        """Say, a line each, which workers were gone with their machines, and what was asked again."""
        return [
            f"a worker of {lane.spec.name} was lost: {why}; "
            f"{again} call{'' if again == 1 else 's'} asked again"
            for lane in self._all
            for why, again in lane.losses
        ]

    def start(self) -> None:
        """Start the workers, unless they have started: their frameworks take seconds to import."""
        if not self._started:
            self._started = True
            for lane in self._all:
                lane.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; whatever they still say is nobody's."""
        for lane in self._all:
            lane.close()
        for lane in self._all:
            lane.join(5.0)
        shutil.rmtree(self._scratch, ignore_errors=True)

    def environments(self) -> dict[str, Environment | Lost]:
        """Wait until every worker is ready or lost, and say which; answers that come meanwhile are kept."""
        while any(lane.known is None and not lane.lost for lane in self._all):
            self._early.extend(self._drain(TICK_SECONDS))
        return {name: state for name in self._lanes if (state := self.environment(name)) is not None}

    def environment(self, backend: str) -> Environment | Lost | None:
        """Say what is known of a backend by now, without waiting; None: it is still starting.

        `answers` and `environments` are what hears of it.
        """
        if reason := self.lost(backend):
            return Lost(reason)
        # Any of its workers will do: one may have answered before another has started.
        return next((lane.known for lane in self._lanes[backend] if lane.known is not None), None)

    def lost(self, backend: str) -> str:
        """Why a backend is gone, or the empty string."""
        return next((lane.lost for lane in self._lanes[backend] if lane.lost), "")

    def submit(self, backend: str, request: Request | Call, lane: int = 0) -> None:
        """Queue a request, also before its worker is ready; what is in one lane is done in order."""
        lanes = self._lanes[backend]
        chosen = lanes[lane % len(lanes)]
        if chosen.lost:
            self._early.append((backend, request.id, Lost(chosen.lost)))
        else:
            chosen.submit(request if isinstance(request, Call) else self.call(request))

    def call(self, request: Request) -> Call:
        """Encode a request, its large tensors left in files."""
        held = self.hold.request(request)
        return Call.of(held, self.hold.size(held.held))

    def withdraw(self) -> None:
        """Forget what no worker has been sent yet: it will have no answer."""
        for lane in self._all:
            lane.withdraw()

    def answers(self, *, until_idle: bool = False) -> Iterator[Said]:
        """Yield (backend, request id, answer); return when every backend has room (or owes nothing).

        Only with `until_idle` is it looked into what failed after others: until then those have no answer.
        """
        while True:
            while self._early:
                yield self._early.popleft()
            yield from self._drain()
            for lane in self._all if until_idle else ():
                yield from self._named(lane, lane.search())
            if all(lane.idle if until_idle else lane.has_room for lane in self._all):
                return
            yield from self._drain(TICK_SECONDS)

    def _drain(self, wait: float = 0.0) -> Iterator[Said]:
        """Yield what follows from all that has been said, waiting for the first of it, and from the clock."""
        events = self._events
        while True:
            try:
                lane, generation, item = events.get(timeout=wait) if wait else events.get_nowait()
            except Empty:
                break
            wait = 0.0
            for number, answer in lane.hear(generation, item):
                yield lane.spec.name, number, answer
        now = time.monotonic()
        if (since := now - self._looked) < TICK_SECONDS:
            return
        self._looked = now
        # After a long absence of ours what was said meanwhile may not have been read yet.
        if since < AWAY_SECONDS:
            for lane in self._all:
                yield from self._named(lane, lane.tick(now))

    @staticmethod
    def _named(lane: Lane, said: list[tuple[int, Answer | Lost]]) -> Iterator[Said]:
        return ((lane.spec.name, number, answer) for number, answer in said)
