"""Execute many repro scripts of one framework in one process, which imports the framework once."""

import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

BROKEN = 70
"""A script that ended in an exception: that is its own fault, neither 0 nor 1 by its judgement."""
STUCK = 124

# Answers `NUMBER STATUS` lines on a descriptor of its own: frameworks print on 1 and 2, from C++ too.
_DRIVER = """
import ctypes, os, runpy, sys, traceback
home = os.getcwd()
try:
    settle = ctypes.CDLL("libm.so.6").fesetenv
except OSError:
    settle = lambda _: None
answers = os.fdopen(os.dup(1), "w", 1)
null = os.open(os.devnull, os.O_WRONLY)
os.dup2(null, 1)
for path in sys.argv[1:]:
    sys.argv = [path]
    try:
        runpy.run_path(path, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 70
    print(path, status, file=answers)
    # A call that leaves flush-to-zero on, or goes elsewhere, is found so by its own script only.
    settle(ctypes.c_void_p(-1))
    os.chdir(home)
os._exit(0)
"""


def execute_many(
    scripts: dict[str, str],
    python: str = sys.executable,
    timeout: float = 120.0,
    environ: dict[str, str] | None = None,
) -> dict[str, int]:
    """Run scripts, all of one framework, in turn; return the exit status of each.

    One process runs them with `runpy`, so that thousands do not each pay for the import. A script that
    kills it gets the negative signal, as `subprocess` has it, one that takes longer than `timeout` seconds
    124; the others go on in a new process. An exception that a script lets out counts as 70, never as its
    verdict, 1. What the scripts print on stdout is dropped, stderr too unless a script breaks.
    """
    statuses: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="repro-") as folder:
        names = {}
        for place, (name, text) in enumerate(scripts.items()):
            path = Path(folder) / f"repro_{place:06}.py"
            path.write_text(text, encoding="utf-8")
            names[str(path)] = name
        waiting: list[str] = list(names)
        while waiting:
            done, guilty = _one_process(waiting, python, timeout, folder, environ or {})
            statuses |= {names[each]: status for each, status in done}
            waiting = waiting[len(done) :]
            if waiting and guilty is not None:
                statuses[names[waiting.pop(0)]] = guilty
    return statuses


def _one_process(
    paths: list[str], python: str, timeout: float, folder: str, environ: dict[str, str]
) -> tuple[list[tuple[str, int]], int | None]:
    """Run as many as one process survives: what each answered, and how the next one ended it, if it did."""
    done: list[tuple[str, int]] = []
    chunk = paths[:2000]  # a command line has an end
    with (Path(folder) / "stderr").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own scripts
            [python, "-c", _DRIVER, *chunk],
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            # What compilers leave goes with the scripts.
            env={"OMP_NUM_THREADS": "1", **os.environ, "TMPDIR": folder, **environ},
        )
        assert process.stdout is not None
        lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=_forward, args=(process.stdout, lines), daemon=True).start()
        while len(done) < len(chunk):
            try:
                line = lines.get(timeout=timeout)
            except queue.Empty:
                process.kill()
                process.wait()
                return done, STUCK
            if not line:
                return done, process.wait()
            path, status = line.split()
            done.append((path.decode(), int(status)))
        process.wait()
    _report_broken(done, Path(folder) / "stderr")
    return done, None


def _forward(source: IO[bytes], lines: "queue.Queue[bytes]") -> None:
    with source:
        for line in source:
            lines.put(line)
    lines.put(b"")


def _report_broken(done: list[tuple[str, int]], log: Path) -> None:
    if any(status == BROKEN for _, status in done):
        sys.stderr.write(log.read_text(errors="replace")[-4000:])
