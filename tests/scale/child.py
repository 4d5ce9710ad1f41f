"""One stage in this process: what it took, and the most memory of its own that the process has had.

Pages of files that are mapped are not counted: the stream, when it is put in order; the system can drop them.
"""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import msgspec

from conformance.backends import BackendSpec
from conformance.changes import compare_runs
from conformance.fold import fold, read_run, write_folded
from conformance.ledger import Ledger
from conformance.load import Operator, load_suite
from conformance.merge import merged
from conformance.report.facts import read_facts
from conformance.run import run
from conformance.selection import Selection, keeps
from conformance.stream import write_stream
from tests.scale.miniature import Answering, Oracle
from tests.scale.suites import define


class Job(msgspec.Struct, frozen=True):
    """What to do: `load`, `run`, `merge`, `compare` or `fold`."""

    stage: str
    cases: str
    """Folder of the op files."""
    ops: int
    out: str
    backends: tuple[str, ...] = ()
    shard: tuple[int, int] = (1, 1)
    streams: tuple[str, ...] = ()


class Took(msgspec.Struct, frozen=True):
    """What it took."""

    seconds: float
    """On a processor."""
    peak: int
    """Bytes of memory, at most."""
    calls: int = 0
    size: int = 0
    """Bytes of what it wrote."""


class Peak(Thread):
    """Looks at the memory of this process all the time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self._ended = 0, Event()
        self._status = Path("/proc/self/status")

    def run(self) -> None:
        """Look, until it is ended."""
        while not self._ended.wait(0.01):
            self.look()

    def look(self) -> None:
        """Look once."""
        found = re.search(r"RssAnon:\s*(\d+) kB", self._status.read_text())
        assert found is not None
        self.most = max(self.most, int(found[1]) << 10)

    def end(self) -> int:
        """Return the most that there was."""
        self._ended.set()
        self.join()
        self.look()
        return self.most


def selection(job: Job) -> Selection:
    """Return what a run takes of the suite."""
    specs = tuple(BackendSpec(name, "none:None") for name in job.backends)
    return Selection(specs, foreign=True, shard=job.shard)


def load(job: Job) -> list[Operator]:
    """Load what the run of a shard loads."""
    return load_suite(Path(job.cases), keep=keeps(job.shard))


def do_load(job: Job) -> tuple[int, int]:
    """Load, and choose what to run."""
    return len(selection(job).plan(load(job))), 0


def do_run(job: Job) -> tuple[int, int]:
    """Run all the line, with answers that come at once."""
    chosen, out = selection(job), Path(job.out)
    pool = Answering(list(chosen.backends))
    summary = run(load(job), chosen, Ledger({}), out, pool=pool, oracle=Oracle(), argv=[])
    assert set(summary.statuses) == {"pass"}, summary.statuses
    return sum(pool.calls.values()), (out / "run.jsonl").stat().st_size


def do_merge(job: Job) -> tuple[int, int]:
    """Join the streams of all shards."""
    target = Path(job.out) / "run.jsonl"
    suite = load_suite(Path(job.cases), keep=lambda _: False)
    write_stream(target, merged([Path(each) for each in job.streams], suite, Ledger({}), foreign=True))
    return len(job.streams), target.stat().st_size


def do_compare(job: Job) -> tuple[int, int]:
    """Compare two runs."""
    before, after = (read_facts(Path(each)) for each in job.streams)
    changes = compare_runs(before, after)
    assert not changes.worse
    return len(before.results), 0


def do_fold(job: Job) -> tuple[int, int]:
    """Write the folded report of a run."""
    target = Path(job.out) / "report.json.gz"
    write_folded(target, fold(read_run(Path(job.streams[0]))))
    return 0, target.stat().st_size


STAGES: dict[str, Callable[[Job], tuple[int, int]]] = {
    "load": do_load,
    "run": do_run,
    "merge": do_merge,
    "compare": do_compare,
    "fold": do_fold,
}


def main() -> None:
    """Do the job in the first file and leave what it took in the second."""
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job)
    define(job.ops)
    peak = Peak()
    peak.start()
    began = time.process_time()
    calls, size = STAGES[job.stage](job)
    took = Took(time.process_time() - began, peak.end(), calls, size)
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(took))


if __name__ == "__main__":
    main()
