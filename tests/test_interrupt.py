"""However a run ends early, in real processes: what finished is kept, and one message says how to go on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.errors import Exit
from conformance.stream import read_stream

HERE = Path(__file__).parent
CALLS, ROWS = 6, 13

# A worker owes one answer at a time, for six cases would all be in flight at once.
PROGRAM = """
import sys
from functools import partial
from conformance import interrupt, lane, pool, run
from conformance.adapters import BACKENDS
from conformance.__main__ import main
BACKENDS["miniature"] = "tests.miniatures_repeat:" + sys.argv.pop(1)
interrupt.PATIENCE, lane.EAGER = 0.5, 1
pool.Pool = run.Pool = partial(run.Pool, window=1)
main()
"""


class Run:
    """`conformance run` of a miniature, in a process of its own; `does` is what a shell does with it."""

    def __init__(self, folder: Path, name: str, *options: str, does: str = 'exec "$@"') -> None:
        self.out = folder / "out"
        (folder / "ledger").mkdir(exist_ok=True)
        files = ["--cases", str(HERE / "data" / "miniature.yaml"), "--ledger", str(folder / "ledger")]
        command = [sys.executable, "-c", PROGRAM, name, "run", "--backend", "miniature", *files]
        command += ["--no-site", "--no-cache", "-o", str(self.out), *options]
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", does, "sh", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(HERE.parent), "TMPDIR": str(folder)},
            start_new_session=True,
            text=True,
        )

    @property
    def part(self) -> Path:
        """The stream as long as it is not finished."""
        return self.out / "run.jsonl.part"

    @property
    def settled(self) -> int:
        """How many calls are finished."""
        return self.part.read_bytes().count(b'"settled"') if self.part.exists() else 0

    def until(self, settled: int) -> "Run":
        """Wait until so many calls are finished."""
        ends = time.monotonic() + 60
        while self.settled < settled:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < ends
            time.sleep(0.005)
        return self

    def ended(self, code: int) -> str:
        """Wait for its end, and return what it said on standard error."""
        _, said = self.process.communicate(timeout=60)
        assert self.process.returncode == code, said
        assert "Traceback" not in said
        return said

    def results(self) -> list[str]:
        """Return the status of each check of the finished stream."""
        rows = read_stream(self.out / "run.jsonl")
        return [row["status"] for row in rows if row["type"] == "result"]

    def go_on(self) -> None:
        """Resume it, with a backend that hangs no more, and have all of it."""
        again = Run(self.out.parent, "Slow", "--resume", str(self.part))
        again.ended(Exit.OK)
        assert again.results() == ["pass"] * ROWS
        assert not self.part.exists()


def left(folder: Path) -> list[int]:
    """Return the processes that are in that folder: workers are in the scratch folder of their run."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if each.readlink().is_relative_to(folder):
                found.append(int(each.parent.name))
        except OSError:
            continue
    return found


@pytest.fixture(autouse=True)
def _no_worker_is_left(tmp_path: Path) -> Iterator[None]:
    """However it ended."""
    yield
    ends = time.monotonic() + 5
    while (found := left(tmp_path)) and time.monotonic() < ends:
        time.sleep(0.02)
    assert not found


def test_ctrl_c_finishes_what_is_in_flight(tmp_path: Path) -> None:
    """Sent to the whole group, as a terminal does: the stream ends as incomplete, and can be resumed."""
    run = Run(tmp_path, "Slow").until(1)
    os.killpg(run.process.pid, signal.SIGINT)
    said = run.ended(Exit.INTERRUPTED)
    assert "what is in flight is finished first; Ctrl-C again stops at once" in said
    assert f"interrupted; {run.settled} of {CALLS} calls are finished" in said
    assert f"the same command with --resume {run.part} goes on" in said
    assert 0 < run.settled < CALLS
    rows = list(read_stream(run.part, partial=True))
    assert {row["status"] for row in rows if row["type"] == "result"} == {"pass"}
    assert (rows[-1]["type"], rows[-1]["complete"], rows[-1]["exit"]) == ("end", False, Exit.INTERRUPTED)
    run.go_on()


def test_a_run_with_repeats_is_resumed_as_one(tmp_path: Path) -> None:
    """What was judged stays; with another number it is another run."""
    run = Run(tmp_path, "Slow", "--repeat", "2").until(1)
    run.process.send_signal(signal.SIGINT)
    said = run.ended(Exit.INTERRUPTED)
    assert f"interrupted; {run.settled} of {CALLS} calls are finished" in said
    assert 0 < run.settled < CALLS
    said = Run(tmp_path, "Slow", "--repeat", "3", "--resume", str(run.part)).ended(Exit.USAGE)
    assert "cannot be resumed: selection was" in said
    again = Run(tmp_path, "Slow", "--repeat", "2", "--resume", str(run.part))
    told, _ = again.process.communicate(timeout=60)
    assert again.results() == ["pass"] * (ROWS + CALLS)
    assert "nondeterministic: 0 calls of 0 APIs" in told


def test_ctrl_c_twice_does_not_wait(tmp_path: Path) -> None:
    """Not for a kernel that hangs, either; nor does a third one keep the worker alive."""
    run = Run(tmp_path, "HangsInNativeCode").until(3)
    for _ in range(3):
        os.killpg(run.process.pid, signal.SIGINT)
        time.sleep(0.1)
    said = run.ended(Exit.INTERRUPTED)
    assert f"what finished is in {run.part}" in said
    assert run.settled >= 3


def test_sigterm_is_one_ctrl_c_with_little_patience(tmp_path: Path) -> None:
    """What sends it sends SIGKILL soon."""
    run = Run(tmp_path, "HangsInNativeCode").until(3)
    run.process.terminate()
    began = time.monotonic()
    assert "SIGTERM: stopping; what is in flight has 0.5 s" in run.ended(Exit.INTERRUPTED)
    assert time.monotonic() - began < 10
    assert run.settled >= 3


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As `nohup` has it: the run goes on to its end."""
    run = Run(tmp_path, "Slow", does='trap "" HUP; exec "$@"').until(1)
    run.process.send_signal(signal.SIGHUP)
    run.ended(Exit.OK)
    assert run.results() == ["pass"] * ROWS


@pytest.mark.skipif(sys.platform != "linux", reason="only there a worker that hangs is told")
def test_a_worker_that_hangs_does_not_outlive_its_parent(tmp_path: Path) -> None:
    """Killed, the parent can end nothing, and a call that keeps the interpreter hears nothing."""
    run = Run(tmp_path, "HangsInNativeCode").until(3)
    time.sleep(0.3)
    assert left(tmp_path)
    run.process.kill()
    run.process.communicate()


def test_a_disk_that_is_full_costs_nothing_that_finished(tmp_path: Path) -> None:
    """A limit on the size of files is met in the middle of a line: one message, and a run to resume."""
    run = Run(tmp_path, "Slow", does='ulimit -f 10; exec "$@"')
    said = run.ended(Exit.HARNESS)
    assert f"conformance: cannot write {run.part}: File too large" in said
    assert "raise the limit (`ulimit -f`)" in said
    assert f"the same command with --resume {run.part} goes on" in said
    assert 0 < run.settled < CALLS
    assert not run.part.read_bytes().endswith(b"\n")
    run.go_on()


def test_a_file_system_that_is_full(tmp_path: Path) -> None:
    """The same with a real one, of a few pages, where a user may mount it."""
    (tmp_path / "out").mkdir()
    mount = f"mount -t tmpfs -o size=8k none {tmp_path / 'out'}"
    if subprocess.run(
        ["/usr/bin/env", "unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False
    ).returncode:
        pytest.skip("no file system can be mounted here")
    keep = f'{mount} && "$@"; code=$?; cp {tmp_path}/out/run.jsonl.part {tmp_path}/kept; exit $code'
    run = Run(tmp_path, "Slow", does=f"exec unshare -rm /bin/sh -c '{keep}' sh \"$@\"")
    said = run.ended(Exit.HARNESS)
    assert "No space left on device\n  the disk is full: make room" in said
    shutil.copy(tmp_path / "kept", run.part)
    assert 0 < run.settled < CALLS


def test_a_folder_that_is_removed_is_made_again(tmp_path: Path) -> None:
    """The system keeps a file that is open: nothing is lost."""
    run = Run(tmp_path, "Slow").until(1)
    shutil.rmtree(run.out)
    run.ended(Exit.OK)
    assert run.results() == ["pass"] * ROWS


def test_a_folder_that_cannot_be_made_again_is_one_message(tmp_path: Path) -> None:
    """Something else has its name."""
    run = Run(tmp_path, "Slow").until(1)
    shutil.rmtree(run.out)
    run.out.touch()
    said = run.ended(Exit.HARNESS)
    assert f"conformance: cannot write {run.out / 'run.jsonl'}: " in said


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path: Path) -> None:
    """Before anything starts."""
    (tmp_path / "out").touch()
    said = Run(tmp_path, "Slow").ended(Exit.HARNESS)
    assert said.startswith(f"conformance: {tmp_path / 'out'}: ")
    assert len(said.splitlines()) <= 2


@pytest.mark.parametrize("does", ['exec "$@" 2>&-', 'exec "$@" <&- >&- 2>&-'])
def test_closed_descriptors_are_not_taken_for_files(tmp_path: Path, does: str) -> None:
    """The stream must not become standard error: the run has its results and its verdict."""
    run = Run(tmp_path, "Slow", does=does)
    run.ended(Exit.OK)
    assert run.results() == ["pass"] * ROWS


@pytest.mark.parametrize(
    "does", ['{{ "$@"; echo $? > {code}; }} | head -n 0', '{{ "$@" 2>&1; echo $? > {code}; }} | head -n 0']
)
def test_a_reader_that_goes_away_costs_no_result(tmp_path: Path, does: str) -> None:
    """The run goes on to its end, quietly, and exits with its verdict."""
    code = tmp_path / "code"
    run = Run(tmp_path, "Slow", does=does.format(code=code))
    run.ended(0)
    assert code.read_text().strip() == "0"
    assert run.results() == ["pass"] * ROWS


def test_a_list_whose_reader_goes_away_ends_quietly() -> None:
    """`conformance list --ids | head`."""
    command = f"{sys.executable} -m conformance list --ids; echo $? >&2"
    done = subprocess.run(
        ["/bin/sh", "-c", f"{{ {command}; }} | head -n 1"], capture_output=True, text=True, check=False
    )
    assert done.stderr.split() == [str(int(Exit.INTERRUPTED))]
    assert len(done.stdout.splitlines()) == 1
