"""One run to a folder: a second one would write into the first one's stream."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from conformance.errors import UsageError


@contextmanager
def claimed(out: Path) -> Iterator[None]:
    """Hold a folder while a run writes to it; the system lets go of it when the process dies.

    Raises:
        UsageError: another run holds it.

    """
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"another run is writing to {out}\n  wait for it, or choose another folder: -o"
        ) from None
    try:
        yield
    finally:
        lock.release()
