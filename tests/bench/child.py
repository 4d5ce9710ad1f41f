"""One job in this process: a run whose pool notes what is asked, who dies, and when its workers are ready."""

import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar

import msgspec

import conformance.run as running
from conformance.__main__ import main as command
from conformance.cache import OracleCache
from conformance.child import Call
from conformance.ledger import load_ledger
from conformance.line import Line
from conformance.load import Api, Case, load_suite
from conformance.memo import Memo
from conformance.pool import BackendSpec, Lost, Pool, backend_spec
from conformance.selection import Selection
from conformance.types import Death, Environment, Request
from tests.bench.jobs import Job, Pair, Ran
from tests.bench.requests import Recorded, write_request
from tests.workerless import Workerless


class Notes:
    """What is seen of a run while it lasts."""

    def __init__(self) -> None:
        self.case = ""
        self.ready = 0.0
        self.asked: dict[int, str] = {}
        self.deaths: list[Pair] = []
        self.restarts = 0


NOTES = Notes()


class NotingPool(Pool):
    """Does what every pool does, and notes it."""

    def _look(self) -> None:
        """Note when the last worker has become ready: until then the parent works ahead."""
        known = [self.environment(name) for name in self._lanes]
        if lost := [state.reason for state in known if isinstance(state, Lost)]:
            raise RuntimeError(f"no bench without every backend: {lost}")
        if all(known):
            NOTES.ready = time.perf_counter()

    def submit(self, backend: str, request: Request | Call, lane: int = 0) -> None:
        """Submit, and remember the case."""
        NOTES.asked[request.id] = NOTES.case
        super().submit(backend, request, lane)

    def answers(self, *, until_idle: bool = False) -> Iterator[tuple[str, int, Any]]:
        """Hand on the answers, and remember who died."""
        for backend, number, answer in super().answers(until_idle=until_idle):
            if not NOTES.ready:
                self._look()
            if isinstance(answer, Death):
                NOTES.deaths.append((NOTES.asked[number], backend))
            yield backend, number, answer
        if not NOTES.ready:
            self._look()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, and count the workers that were started again."""
        NOTES.restarts += sum(lane._generation - 1 for lane in self._all)
        super().__exit__(kind, error, trace)


class RecordingPool(Workerless):
    """Keeps each request, and answers that its backend is lost."""

    file: ClassVar[IO[bytes]]

    def __init__(self, specs: list[BackendSpec], *_: Any, **__: Any) -> None:
        super().__init__(specs)
        self.owed = list[tuple[str, int, Lost]]()

    def environment(self, backend: str) -> Environment:
        """Say that it is ready, and when it was."""
        NOTES.ready = NOTES.ready or time.perf_counter()
        return super().environment(backend)

    def submit(self, backend: str, request: Request | Call, lane: int = 0) -> None:
        """Keep the request."""
        del lane
        if isinstance(request, Call):
            request = msgspec.msgpack.decode(request.data, type=Request)
        NOTES.asked[request.id] = NOTES.case
        write_request(self.file, Recorded(NOTES.case, backend, request))
        self.owed.append((backend, request.id, Lost("only recorded")))

    def answers(self, *, until_idle: bool = False) -> Iterator[tuple[str, int, Any]]:
        """Answer what is owed."""
        del until_idle
        owed, self.owed = self.owed, []
        yield from owed


def watch(job: Job) -> None:
    """Put the pool into every run of this process, leave the struck pairs out, and note the case in hand."""
    pool = RecordingPool if job.mode == "record" else NotingPool
    setattr(running, "Pool", pool)  # noqa: B010 - it is no name that the module offers
    struck = frozenset(job.struck)
    takes: Callable[..., bool] = Selection.takes
    ask: Callable[..., None] = Line.ask

    def without(self: Selection, case: Case, api: Api) -> bool:
        return (case.id, api.backend) not in struck and takes(self, case, api)

    def noted(self: Line, workers: Any, case: Case, *rest: Any) -> None:
        NOTES.case = case.id
        ask(self, workers, case, *rest)

    Selection.takes = without  # type: ignore[method-assign]
    Line.ask = noted  # type: ignore[assignment, method-assign]


def do(job: Job) -> None:
    """Run, as a function or as the command with all that surrounds it."""
    if job.mode == "command":
        arguments = [f"--backend={name}" for name in job.backends] + [f"--op={name}" for name in job.ops]
        cache = "--cache" if job.cache else "--no-cache"
        command(["run", "--no-site", cache, "-o", job.out, *arguments])
        return
    suite = load_suite(Path(job.cases) if job.cases else None, job.ops)
    specs = tuple(backend_spec(name) for name in job.backends)
    selection = Selection(specs, job.ops, foreign=True)
    oracle = OracleCache(Path(job.cache)) if job.cache else None
    ledger = load_ledger()
    memo = Memo(ledger, Path(job.cache).with_name("memo")) if job.cache and job.mode == "run" else None
    running.run(suite, selection, ledger, Path(job.out), oracle=oracle, memo=memo)


def peak() -> int:
    """Return the most memory that this process has had; what its parent had before it does not count."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return int(found[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main() -> None:
    """Do the job in the first file and leave what it took in the second."""
    began = time.perf_counter()
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job)
    watch(job)
    if job.mode == "record":
        with Path(job.requests).open("wb") as RecordingPool.file:
            do(job)
    else:
        do(job)
    ended = time.perf_counter()
    ran = Ran(
        NOTES.ready - began,
        ended - NOTES.ready,
        ended - began,
        len(NOTES.asked),
        tuple(dict.fromkeys(NOTES.deaths)),
        NOTES.restarts,
        peak(),
    )
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(ran))


if __name__ == "__main__":
    main()
