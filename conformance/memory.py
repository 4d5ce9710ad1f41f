"""Memory: collect garbage when the process has grown, and let a worker grow only so far.

A forced collection per case costs more than the cases do; none at all lets cycles of tensors pile up.
"""

import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GIB = 1 << 30
RISE = 256 << 20
ROOM = 8 * GIB
VARIABLE = "CONFORMANCE_WORKER_MEMORY"
"""How many GiB a worker may use beyond what its framework needs to start; 0 is no limit."""
MEMORY = "the memory it may use"
"""What a reply names as altered when little of it is left."""
WRITTEN = 64 << 20
KEPT = 16 << 20
_STATM = Path("/proc/self/statm")
_LINUX = sys.platform.startswith("linux")
_RESIDENT, _DATA = 1, 5  # the fields of `statm`


def _pages(place: int) -> int:
    return int(_STATM.read_bytes().split()[place]) * os.sysconf("SC_PAGE_SIZE")


def resident() -> int | None:
    """Return how many bytes of this process are in memory (elsewhere than on Linux: were, at most)."""
    if _LINUX:
        return _pages(_RESIDENT)
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 - POSIX only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Watermark:
    """Collects garbage once the process has grown by `rise` bytes since it last did.

    The size is read at every `looks`-th look, or once `seconds` have passed.
    """

    def __init__(self, rise: int = RISE, looks: int = 64, seconds: float = 0.25) -> None:
        self._rise, self._every, self._seconds = rise, looks, seconds
        self._looks, self._last = 0, time.monotonic()
        self._base = resident() or 0

    def take_over(self) -> None:
        """Spare what exists now from collection for good, and leave the rest to the looks alone.

        Where the size of a process is not known, the interpreter goes on as it does.
        """
        if resident() is not None:
            gc.collect()
            gc.freeze()
            gc.disable()
        self._base = resident() or 0

    def due(self) -> bool:
        """Whether it is time to read the size again."""
        self._looks += 1
        now = time.monotonic()
        if self._looks < self._every and now - self._last < self._seconds:
            return False
        self._looks, self._last = 0, now
        return True

    def look(self) -> bool:
        """Collect if it is time to look and the process has grown; say whether it was done."""
        return self.due() and self.collect()

    def collect(self) -> bool:
        """Collect if the process has grown; say whether it was done."""
        size = resident()
        if size is None or size < self._base + self._rise:
            # What was given back since is no growth when it is taken again.
            self._base = min(self._base, size or 0)
            return False
        gc.collect()
        self._base = resident() or 0
        return True


@contextmanager
def sparing() -> Iterator[None]:
    """Leave collection to a `Watermark` for a while: what exists now is looked at by nobody.

    A run keeps a suite of hundreds of thousands of objects; the interpreter's own collections walk them
    again and again, and find nothing.
    """
    was = gc.isenabled()
    if resident() is not None:
        gc.freeze()
        gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was:
            gc.enable()


def room() -> int:
    """Return how many bytes a worker may use beyond its framework: 8 GiB, or half of a smaller machine."""
    if given := os.environ.get(VARIABLE):
        return int(float(given) * GIB)
    if not _LINUX:
        return 0
    return min(ROOM, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)


class Limit:
    """What a process may still allocate from now on: beyond it a call gets an error, and no machine dies.

    It counts private memory that can be written (Linux's RLIMIT_DATA): address space that a framework
    only reserves is free. Other systems have no such limit, and there nothing is limited.
    """

    def __init__(self, beyond: int) -> None:
        self.beyond = beyond if _LINUX else 0
        if not self.beyond:
            return
        import resource  # noqa: PLC0415 - POSIX only

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        self.bytes = _pages(_DATA) + beyond
        if hard != resource.RLIM_INFINITY:
            self.bytes = min(self.bytes, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (self.bytes, hard))

    def spent(self) -> bool:
        """Whether more than half of the room is taken: what comes next might pay for what came before."""
        return self.beyond > 0 and _pages(_DATA) > self.bytes - self.beyond // 2


def limit_files() -> None:
    """Let this process write no file beyond 64 MiB: a thread that prints for ever must not fill the disk."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - POSIX only

    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    soft = WRITTEN if hard == resource.RLIM_INFINITY else min(WRITTEN, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def allow_files(size: int) -> None:
    """Let this process write files of so many bytes at least, if whoever limits it allows that."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - POSIX only

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if soft != resource.RLIM_INFINITY and soft < size:
        wanted = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.setrlimit(resource.RLIMIT_FSIZE, (wanted, hard))


def shorten(descriptor: int) -> None:
    """Empty a log that has grown long, so that there is room for last words."""
    try:
        if os.fstat(descriptor).st_size > KEPT:
            os.ftruncate(descriptor, 0)
    except OSError:  # closed, or no file
        return
