"""The near side: one worker process per backend, kept fed, timed, and replaced when it dies.

A worker answers in order, one request at a time, and is synchronised after each: so the first request
without an answer is the one that killed it. That request gets the `Death`; the others are sent again.
"""

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import execnet
import msgspec

import conformance
from conformance import worker
from conformance.adapters import BACKENDS
from conformance.errors import HarnessError
from conformance.types import Death, Environment, Reply, Request

MAX_RESTARTS_IN_A_ROW = 3
STARTUP_SECONDS = 180.0
STDERR_LINES = 12
STACK_LINES = 4
DYING_SECONDS = 10.0


@dataclass(frozen=True)
class Fault:
    """The harness's own failure about one request: an answer to a question that was not asked."""

    message: str


Answer = Reply | Death | Fault


@dataclass(frozen=True)
class Lost:
    """A backend that is gone for the rest of the run, and why: its cases are `notrun`."""

    reason: str


@dataclass(frozen=True)
class Unsent:
    """A call that was not made, for the API has no argument for something that the case gives."""

    reason: str


@dataclass(frozen=True)
class BackendSpec:
    """A backend to run: its name, its adapter (`module:Class`), and the interpreter, if not ours."""

    name: str
    adapter: str
    python: str = sys.executable
    paths: tuple[str, ...] = ()


def backend_spec(text: str) -> BackendSpec:
    """Read `NAME` or `NAME=PYTHON`.

    Raises:
        UsageError: there is no such backend, or no such interpreter.

    """
    from conformance.errors import UsageError  # noqa: PLC0415 - beside its only use

    name, _, python = text.partition("=")
    if name not in BACKENDS:
        raise UsageError(f"no backend {name!r}; there are {', '.join(BACKENDS)}")
    if python and shutil.which(python) is None:
        raise UsageError(f"backend {name}: {python} is not an executable interpreter")
    return BackendSpec(name, BACKENDS[name], python or sys.executable)


@dataclass
class _Worker:
    """One backend's process and what it still owes us."""

    spec: BackendSpec
    key: str
    events: "queue.Queue[tuple[str, int, Any]]"
    scratch: Path
    generation: int = 0
    environment: Environment | None = None
    owed: deque[Request] = field(default_factory=deque)
    waiting_since: float = 0.0
    deaths_in_a_row: int = 0
    lost: str = ""
    group: Any = None
    gateway: Any = None
    channel: Any = None

    def start(self) -> None:
        self.generation += 1
        self.environment = None
        self.waiting_since = time.monotonic()
        environ = _adapter_class(self.spec).environ
        variables = "".join(f"//env:{key}={value}" for key, value in environ.items())
        self.group = execnet.Group()
        self.gateway = self.group.makegateway(
            f"popen//python={self.spec.python}//chdir={self.scratch}{variables}"
        )
        self.channel = self.gateway.remote_exec(worker.BOOTSTRAP)
        self.channel.send((self.spec.adapter, str(self.log), [*self.spec.paths, str(self.own)]))
        key, generation, events = self.key, self.generation, self.events
        self.channel.setcallback(lambda item: events.put((key, generation, item)), endmarker=None)

    @property
    def own(self) -> Path:
        """A folder with this package and nothing else, for the worker's path.

        Another interpreter must not find its framework, or its NumPy, in our site-packages.
        """
        folder = self.scratch / "own"
        if not folder.exists():
            folder.mkdir()
            (folder / "conformance").symlink_to(Path(conformance.__file__).parent)
        return folder

    @property
    def log(self) -> Path:
        return self.scratch / f"worker-{self.generation}.log"

    def send(self, request: Request) -> None:
        if not self.owed:
            self.waiting_since = time.monotonic()
        self.owed.append(request)
        self._transmit(request)

    def _transmit(self, request: Request) -> None:
        if self.environment is not None:
            try:
                self.channel.send(msgspec.msgpack.encode(request))
            except OSError:  # already dying; its end marker is on the way and will resend
                return

    def ready(self, environment: Environment) -> None:
        self.environment = environment
        self.waiting_since = time.monotonic()
        for request in self.owed:
            self._transmit(request)

    def stop(self, patience: float = 0.5) -> int | None:
        """End the process; return its exit status if it had ended by itself."""
        process: subprocess.Popen[bytes] = self.gateway._io.popen  # noqa: SLF001 - execnet offers no other way
        try:
            status: int | None = process.wait(patience)
        except subprocess.TimeoutExpired:
            status = None
            process.kill()
        self.group.terminate(timeout=1.0)
        return status

    def last_words(self) -> str:
        if not self.log.exists():
            return ""
        said, fatal, dump = self.log.read_text(errors="replace")[-64_000:].rpartition("Fatal Python error: ")
        if not fatal:
            return _tail(dump, STDERR_LINES)
        # What the native code said last stands before faulthandler's dump of every thread.
        stack = dump.partition("Current thread")[2].splitlines()[1 : 1 + STACK_LINES]
        frames = [line for line in stack if line.startswith("  File")]
        return "\n".join([_tail(said, STDERR_LINES), fatal + dump.partition("\n")[0], *frames]).strip()


def _adapter_class(spec: BackendSpec) -> Any:
    module, _, name = spec.adapter.partition(":")
    return getattr(__import__(module, fromlist=[name]), name)


def _tail(text: str, lines: int) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])


class Pool:
    """All workers of a run. `submit` questions, take `answers` as they come."""

    def __init__(self, specs: list[BackendSpec], timeout: float = 30.0, window: int = 32) -> None:
        self._timeout, self._window = timeout, window
        self._events: queue.Queue[tuple[str, int, Any]] = queue.Queue()
        self._scratch = Path(tempfile.mkdtemp(prefix="conformance-"))
        self._workers: dict[str, _Worker] = {}
        self._lanes: dict[str, list[_Worker]] = {}
        for spec in specs:
            self._lanes[spec.name] = []
            for lane in range(_adapter_class(spec).lanes):
                key = f"{spec.name}-{lane}"
                folder = self._scratch / key
                folder.mkdir()
                self._workers[key] = _Worker(spec, key, self._events, folder)
                self._lanes[spec.name].append(self._workers[key])

    def __enter__(self) -> Self:
        for each in self._workers.values():
            each.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._workers.values():
            each.generation += 1  # whatever still arrives is nobody's
            each.stop(patience=0.0)
        shutil.rmtree(self._scratch, ignore_errors=True)

    def environments(self) -> dict[str, Environment | Lost]:
        """Wait until every worker is ready or lost, and say which."""
        while any(w.environment is None and not w.lost for w in self._workers.values()):
            for _ in self._step(0.2):
                raise HarnessError("an answer before the first question")
        found: dict[str, Environment | Lost] = {}
        for name, workers in self._lanes.items():
            environment = workers[0].environment
            lost = self.lost(name)
            found[name] = environment if environment is not None and not lost else Lost(lost)
        return found

    def lost(self, backend: str) -> str:
        """Why a backend is gone, or the empty string."""
        return next((each.lost for each in self._lanes[backend] if each.lost), "")

    def submit(self, backend: str, request: Request, lane: int = 0) -> None:
        """Queue a request for a backend that is not lost; what is in one lane is done in order."""
        workers = self._lanes[backend]
        workers[lane % len(workers)].send(request)

    def answers(self, *, until_idle: bool = False) -> Iterator[tuple[str, int, Answer | Lost]]:
        """Yield (backend, request id, answer); return when every backend has room (or owes nothing)."""
        while True:
            yield from self._step(0.0)
            limit = 0 if until_idle else self._window - 1
            if all(len(w.owed) <= limit for w in self._workers.values()):
                return
            yield from self._step(0.05)

    def _step(self, wait: float) -> Iterator[tuple[str, int, Answer | Lost]]:
        try:
            key, generation, item = self._events.get(timeout=wait) if wait else self._events.get_nowait()
        except queue.Empty:
            yield from self._check_clocks()
            return
        each = self._workers[key]
        if generation == each.generation:
            yield from self._handle(each, item)
        if not wait:
            yield from self._step(0.0)

    def _handle(self, each: _Worker, item: Any) -> Iterator[tuple[str, int, Answer | Lost]]:
        if item is None:
            yield from self._bury(each, "crash")
        elif item[0] == "ready":
            each.ready(msgspec.msgpack.decode(item[1], type=Environment))
        elif item[0] == "failed":
            yield from self._lose(each, f"backend {each.spec.name} cannot start: {item[1]}")
        else:
            reply = msgspec.msgpack.decode(item[1], type=Reply)
            if not each.owed or reply.id != each.owed[0].id:
                yield from self._disown(each, reply)
                return
            each.deaths_in_a_row = 0
            answered = each.owed.popleft()
            each.waiting_since = time.monotonic()
            if answered.isolated:
                each.generation += 1
                each.stop(patience=0.0)
                each.start()
            yield each.spec.name, reply.id, reply

    def _check_clocks(self) -> Iterator[tuple[str, int, Answer | Lost]]:
        for each in self._workers.values():
            waited = time.monotonic() - each.waiting_since
            if each.lost:
                continue
            if each.environment is None and waited > STARTUP_SECONDS:
                yield from self._lose(
                    each, f"backend {each.spec.name} did not start in {STARTUP_SECONDS:.0f} s"
                )
            elif each.environment is not None and each.owed and waited > self._timeout:
                yield from self._bury(each, "timeout")

    def _bury(self, each: _Worker, how: str) -> Iterator[tuple[str, int, Answer | Lost]]:
        each.generation += 1
        # A process whose channel closed is dying by itself; killed too early it would lose its signal.
        status = each.stop(DYING_SECONDS if how == "crash" else 0.0)
        each.generation -= 1
        words = each.last_words()
        each.deaths_in_a_row += 1
        name = _signal_name(status)
        if each.environment is None or each.deaths_in_a_row > MAX_RESTARTS_IN_A_ROW * 4:
            starting = each.environment is None
            when = "while starting" if starting else f"{each.deaths_in_a_row} times in a row"
            yield from self._lose(each, f"backend {each.spec.name} died {when} ({name}): {words[-300:]}")
            return
        guilty = each.owed.popleft() if each.owed else None
        each.start()
        if guilty is not None:
            if how == "timeout":
                death = Death("timeout", f"no answer in {self._timeout:g} s", "", words)
            else:
                death = Death("crash", f"the process died: {name}", name, words)
            yield each.spec.name, guilty.id, death

    def _disown(self, each: _Worker, reply: Reply) -> Iterator[tuple[str, int, Answer | Lost]]:
        """An answer out of order: what that worker says can no longer be matched to a question."""
        expected = each.owed.popleft() if each.owed else None
        each.generation += 1
        each.stop()
        each.start()
        if expected is not None:
            message = f"asked request {expected.id}, was answered {reply.id}: the worker was replaced"
            yield each.spec.name, expected.id, Fault(message)

    def _lose(self, each: _Worker, reason: str) -> Iterator[tuple[str, int, Answer | Lost]]:
        each.lost = reason
        each.generation += 1
        each.stop()
        while each.owed:
            yield each.spec.name, each.owed.popleft().id, Lost(reason)


def _signal_name(status: int | None) -> str:
    if status is None:
        return "closed its channel"
    if status < 0:
        try:
            return signal.Signals(-status).name
        except ValueError:
            return f"signal {-status}"
    return f"exit status {status}"


def own_environment() -> dict[str, str]:
    """Environment variables that change results and are recorded with a run."""
    keys = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "FLAGS_use_mkldnn", "ATEN_CPU_CAPABILITY")
    return {key: os.environ[key] for key in keys if key in os.environ}
