"""What the bench has processes of their own do, and how it starts one: measurements share nothing."""

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent.parent
Pair = tuple[str, str]
"""A case's id and a backend's name."""


class Job(msgspec.Struct, frozen=True):
    """A run without some pairs: the function alone, the whole command, or only as far as its requests."""

    mode: str
    """`run`, `command` or `record`."""
    out: str
    backends: tuple[str, ...]
    ops: tuple[str, ...] = ()
    cases: str | None = None
    struck: tuple[Pair, ...] = ()
    cache: str | None = None
    """Folder of the oracle's answers; None: they are not kept."""
    requests: str = ""
    """Where `record` writes."""


class Ran(msgspec.Struct, frozen=True):
    """What a run took."""

    ready: float
    """Seconds from the beginning of the run until its workers were ready."""
    seconds: float
    """Seconds from then until it returned."""
    whole: float
    """Seconds of the whole process, from its start to its end."""
    asked: int
    deaths: tuple[Pair, ...]
    restarts: int
    peak: int
    """Bytes of memory of the parent, at most."""


def environment(**more: str) -> dict[str, str]:
    """Return the environment in which a child finds this package and the bench, wherever it stands."""
    path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
    return {**os.environ, "PYTHONPATH": path, **more}


def python(*arguments: str, cwd: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run our interpreter to its end; its words are shown only when it fails."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def perform(job: Job) -> Ran:
    """Have a process do a job."""
    folder = Path(job.out)
    folder.mkdir(parents=True, exist_ok=True)
    asked, answered = folder / "job.json", folder / "ran.json"
    asked.write_bytes(msgspec.json.encode(job))
    # The command keeps the oracle's answers below this folder, in `oracle`.
    kept = {"CONFORMANCE_CACHE": str(Path(job.cache).parent)} if job.cache else {}
    began = time.perf_counter()
    python("-m", "tests.bench.child", str(asked), str(answered), cwd=folder, **kept)
    whole = time.perf_counter() - began
    return msgspec.structs.replace(msgspec.json.decode(answered.read_bytes(), type=Ran), whole=whole)
