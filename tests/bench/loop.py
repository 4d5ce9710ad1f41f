"""The near side of the bare loop: watch it, strike out what kills or hangs it, and add its calls up."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from conformance.adapters import BACKENDS
from conformance.worker import load_adapter
from tests.bench.jobs import Pair, Ran, environment
from tests.bench.requests import read_requests

PATIENCE = 30.0
"""Seconds that a call may take: as many as a run gives it."""
STARTING = 180.0
ROUNDS = 8


class Progress(msgspec.Struct):
    """What a bare loop has told so far."""

    imported: float | None = None
    at: int | None = None
    """The place of the call that began and has not ended."""
    seconds: dict[int, float] = {}
    done: bool = False


def progress(text: str) -> Progress:
    """Read what a bare loop told; a line that was being written when it died says nothing."""
    told = Progress(seconds={})
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        word, *rest = line.split()
        if word == "i":
            told.imported = float(rest[0])
        elif word == "b":
            told.at = int(rest[0])
        elif word == "e":
            told.at = None
            told.seconds[int(rest[0])] = float(rest[1])
        else:
            told.done = True
    return told


class Looped(msgspec.Struct):
    """What the calls of a backend took in a bare loop, and which of its cases killed or hung it."""

    seconds: float
    imported: float
    calls: int
    deaths: tuple[Pair, ...]


def bare_loop(
    backend: str, requests: Path, struck: frozenset[Pair], folder: Path, patience: float = PATIENCE
) -> Looped:
    """Run the bare loop, again and again behind each call that ends it or takes longer than `patience`.

    Raises:
        RuntimeError: it ended before its first call.

    """
    folder.mkdir(parents=True, exist_ok=True)
    cases = {recorded.case: None for _, recorded in read_requests(requests)}
    of = {place: recorded.case for place, recorded in read_requests(requests)}
    left_out = {case for case in cases if (case, backend) in struck}
    seconds: dict[int, float] = {}
    imported, begin, deaths = 0.0, 0, list[str]()
    while True:
        told = _once(BACKENDS[backend], requests, sorted(left_out), folder, begin, patience)
        seconds |= told.seconds
        imported = imported or told.imported or 0.0
        if told.done:
            break
        if told.at is None:
            raise RuntimeError(f"the bare loop of {backend} ended between two calls: see {folder}/said")
        begin = told.at + 1
        deaths.append(of[told.at])
        left_out.add(of[told.at])
    # What a case took before a later call of its own killed the process counts for nothing.
    counted = {place: each for place, each in seconds.items() if of[place] not in left_out}
    fatal = tuple((case, backend) for case in dict.fromkeys(deaths))
    return Looped(sum(counted.values()), imported, len(counted), fatal)


def _once(
    spec: str, requests: Path, left_out: list[str], folder: Path, begin: int, patience: float
) -> Progress:
    """Start the loop and wait until it ends, or until a call of it takes too long."""
    struck, told = folder / "struck.json", folder / "progress"
    struck.write_bytes(msgspec.json.encode(left_out))
    told.unlink(missing_ok=True)
    arguments = [spec, str(requests), str(struck), str(told), str(begin)]
    environ = environment(**load_adapter(spec).environ)
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.bare", *arguments],
            cwd=folder,
            env=environ,
            stdout=said,
            stderr=said,
        )
        _wait(process, told, patience)
    return progress(told.read_text() if told.exists() else "")


def _wait(process: "subprocess.Popen[bytes]", told: Path, patience: float) -> None:
    """Wait for the end; end it where its progress has stood still for too long."""
    size, since = -1, time.monotonic()
    while process.poll() is None:
        time.sleep(0.1)
        now = told.stat().st_size if told.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > (patience if size else STARTING):
            process.kill()
            process.wait()


def settled(
    bare: Callable[[frozenset[Pair]], Looped], run: Callable[[frozenset[Pair]], Ran]
) -> tuple[Looped, Ran, frozenset[Pair]]:
    """Strike pairs out until neither the bare loop nor the run loses a process; return what both took then.

    A kernel that damages memory may kill either at another call than the other, and at another one again
    once the first is left out. After a number of rounds what is measured is what there is.
    """
    struck: frozenset[Pair] = frozenset()
    looped = bare(struck)
    for _ in range(ROUNDS):
        if not looped.deaths:
            ran = run(struck)
            if not ran.deaths:
                return looped, ran, struck
            looped.deaths = ran.deaths
        struck |= frozenset(looped.deaths)
        looped = bare(struck)
    return looped, run(struck), struck
