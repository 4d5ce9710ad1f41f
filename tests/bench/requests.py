"""Requests on disk, in the order in which a run sends them: each with its length before it."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from conformance.types import Request

_LENGTH = 8


class Recorded(msgspec.Struct, frozen=True, array_like=True):
    """A request, and the pair on whose behalf it is sent (a follow-up call may be of another case)."""

    case: str
    backend: str
    request: Request


def write_request(file: IO[bytes], recorded: Recorded) -> None:
    """Append one."""
    content = msgspec.msgpack.encode(recorded)
    file.write(len(content).to_bytes(_LENGTH, "little") + content)


def read_requests(path: Path, begin: int = 0) -> Iterator[tuple[int, Recorded]]:
    """Yield the requests from place `begin` on, with their places; those before it are not decoded."""
    decoder = msgspec.msgpack.Decoder(Recorded)
    place = 0
    with path.open("rb") as file:
        while head := file.read(_LENGTH):
            length = int.from_bytes(head, "little")
            if place < begin:
                file.seek(length, 1)
            else:
                yield place, decoder.decode(file.read(length))
            place += 1
