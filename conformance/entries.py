"""A folder of entries that runs share: each is whole, or is not there, and what is damaged is thrown away."""

import os
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

_CHECKSUM = 32


def place(folder: Path, name: str) -> Path:
    """Say where an entry is, among not too many others."""
    return folder / name[:2] / name[2:]


def read(path: Path) -> bytes | None:
    """Return the content of an entry, which counts as read now; None: it is not there, or it was damaged."""
    try:
        data = path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    content, checksum = data[:-_CHECKSUM], data[-_CHECKSUM:]
    if sha256(content).digest() != checksum:
        with suppress(OSError):
            path.unlink()
        return None
    return content


def write(path: Path, content: bytes) -> bool:
    """Keep an entry; say whether it was: a folder that cannot be written costs time and nothing else."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Under a name of its own until it is whole: a reader sees all of an entry or none.
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content + sha256(content).digest())
        Path(name).replace(path)
        return True
    return False


def trim(folder: Path, limit: int) -> None:
    """Remove what was not read for longest until a folder's entries are within a limit, in bytes."""
    found = []
    for path in folder.glob("*/*"):
        with suppress(OSError):  # another run may have removed it
            state = path.stat()
            found.append((state.st_mtime, state.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= limit:
            return
        with suppress(OSError):
            path.unlink()
        total -= size
