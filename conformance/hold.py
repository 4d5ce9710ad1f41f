"""Large tensors go to workers and come back by file: through a pipe each would be copied a dozen times.

A run has one folder for them. A file of ours is named by its bits and written once, for all APIs of all
backends; it stays until the run ends, for a search may make any call again. One of a worker's is named by
its request, and gone once it is read. What cannot be written is sent, and so is all that workers get which
do not share our files.
"""

import mmap
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from msgspec.structs import replace

from conformance.types import Array, Reply, Request

LONG = 1 << 16
"""Bytes from which a tensor is held in a file."""
_REPLY = re.compile(r"[0-9]+-[0-9]+-[0-9]+")


class Hold:
    """The near side: what this run has written for its workers, and what they have written for it."""

    def __init__(self, folder: Path, *, shared: bool = True) -> None:
        self.folder, self.shared = folder, shared
        self.sizes: dict[str, int] = {}
        """Of what is there, in bytes."""

    def request(self, request: Request) -> Request:
        """Leave the large tensors of a request in files, and their names in it."""
        if not self.shared:
            return request
        names: list[str] = []

        def out(array: Array) -> Array:
            if len(array.data) < LONG or not (name := self._write(array.data)):
                return array
            names.append(name)
            return replace(array, data=b"", held=name)

        held = _each_asked(request, out)
        return replace(held, held=tuple(dict.fromkeys(names))) if names else request

    def sent(self, request: Request) -> bool:
        """Whether a request has large tensors, and they are in it."""
        long = [False]

        def look(array: Array) -> Array:
            long[0] |= len(array.data) >= LONG
            return array

        _each_asked(request, look)
        return long[0]

    def size(self, names: tuple[str, ...]) -> int:
        """Return how many bytes some of our files have together."""
        return sum(self.sizes[name] for name in names)

    def lend(self, name: str, path: Path) -> bool:
        """Give a copy of one of our files to somebody else; say whether it was possible."""
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, other = tempfile.mkstemp(dir=path.parent)
            os.close(handle)
            shutil.copyfile(self.folder / name, other)
            Path(other).replace(path)
            return True
        return False

    def borrow(self, name: str, path: Path) -> bool:
        """Take a tensor over from a file that should hold it; False: it does not, or nobody sees it."""
        if not self.shared:
            return False
        if name in self.sizes:
            return True
        try:
            os.utime(path)
            own = self.folder / name
            shutil.copyfile(path, own)
            with own.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                found, size = _named(data), len(data)
        except (OSError, ValueError):  # it is gone, or empty
            return False
        if found == name:
            self.sizes[name] = size
            return True
        for damaged in (own, path):
            damaged.unlink(missing_ok=True)
        return False

    def reply(self, reply: Reply) -> Reply:
        """Read the large tensors of a reply, and remove their files.

        Raises:
            OSError: one is not there.
            ValueError: the name is none that a worker gives.

        """

        def take(array: Array) -> Array:
            if not array.held:
                return array
            if not _REPLY.fullmatch(array.held):
                raise ValueError(f"{array.held!r} is no file of a worker's")
            path = self.folder / array.held
            data = path.read_bytes()
            path.unlink()
            return replace(array, data=data, held="")

        return replace(_each_answered(reply, take), held=False)

    def _write(self, data: bytes) -> str:
        """Write a tensor unless it is there; return its name, or the empty string where it cannot be."""
        name = _named(data)
        if name not in self.sizes:
            try:
                (self.folder / name).write_bytes(data)
            except OSError:  # the disk is full
                (self.folder / name).unlink(missing_ok=True)
                return ""
            self.sizes[name] = len(data)
        return name


class Held:
    """The far side: a worker's, in the same folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def request(self, request: Request) -> Request:
        """Put the large tensors of a request where small ones are."""
        return _each_asked(request, self._mapped) if request.held else request

    def reply(self, reply: Reply) -> Reply:
        """Leave the large tensors of a reply in files; where none can be written they are sent."""
        count = 0

        def out(array: Array) -> Array:
            nonlocal count
            if len(array.data) < LONG:
                return array
            count += 1
            name = f"{os.getpid()}-{reply.id}-{count}"
            path = f"{self._folder}/{name}"
            try:
                with open(path, "wb") as file:  # noqa: PTH123 - as cheap as can be
                    file.write(array.data)
            except OSError:
                with suppress(OSError):
                    os.unlink(path)  # noqa: PTH108 - the same
                return array
            return replace(array, data=b"", held=name)

        return replace(_each_answered(reply, out), held=True) if _has_long(reply) else reply

    def _mapped(self, array: Array) -> Array:
        if not array.held:
            return array
        with open(f"{self._folder}/{array.held}", "rb") as file:  # noqa: PTH123 - as above
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return replace(array, data=cast("bytes", data), held="")  # all that reads it takes any buffer


def _named(data: Any) -> str:
    return sha256(data).hexdigest()[:40]


def _each_asked(request: Request, change: Callable[[Array], Array]) -> Request:
    return replace(
        request,
        tensors={name: change(array) for name, array in request.tensors.items()},
        cotangent=request.cotangent and change(request.cotangent),
        directions={name: change(array) for name, array in request.directions.items()},
    )


def _each_answered(reply: Reply, change: Callable[[Array], Array]) -> Reply:
    def changed(given: Any) -> Any:
        return change(given) if isinstance(given, Array) else given

    return replace(
        reply,
        output=changed(reply.output),
        gradients={name: changed(each) for name, each in reply.gradients.items()},
        second={name: changed(each) for name, each in reply.second.items()},
    )


def _has_long(reply: Reply) -> bool:
    given = (reply.output, *reply.gradients.values(), *reply.second.values())
    return any(isinstance(each, Array) and len(each.data) >= LONG for each in given)
