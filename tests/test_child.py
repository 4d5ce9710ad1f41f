"""What a worker writes is read as it was written, however it is cut on its way."""

import os
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.child import GATHERED, MAX_MESSAGE, _Pipe

LENGTHS = (9, 1, 0, 9, 70_000, 9, GATHERED + 5, 9, 3 * GATHERED, 4, 9)


@pytest.fixture(name="ends")
def _ends() -> Any:
    """Two pipes: what a process reads from and writes to."""
    (out, inside), (outside, into) = os.pipe(), os.pipe()
    process: Any = SimpleNamespace(stdin=os.fdopen(inside, "wb", 0), stdout=os.fdopen(outside, "rb", 0))
    yield _Pipe(process), out, into
    for file in (process.stdin, process.stdout):
        file.close()
    os.close(out)


def feed(descriptor: int, data: bytes, size: int) -> threading.Thread:
    """Write in pieces of a size, beside us, and close."""

    def write() -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view[:size]) :]
        os.close(descriptor)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("size", [1009, 65_536, 1 << 23])
def test_messages_come_whole(ends: Any, size: int) -> None:
    """Small ones behind each other, and those that are longer than what is read at once."""
    pipe, _, into = ends
    messages = [bytes([place + 1]) * length for place, length in enumerate(LENGTHS)]
    writer = feed(into, b"".join(messages), size)
    assert [pipe.read(length) for length in LENGTHS] == messages
    with pytest.raises(EOFError, match="the end"):
        pipe.read(9)
    writer.join(5)


def test_an_end_within_a_message_is_one(ends: Any) -> None:
    """What is there of it is no message."""
    pipe, _, into = ends
    feed(into, b"12345", 5).join(5)
    with pytest.raises(EOFError, match="the end"):
        pipe.read(9)


@pytest.mark.parametrize("count", [-1, MAX_MESSAGE + 1])
def test_a_length_that_no_message_has_is_refused(ends: Any, count: int) -> None:
    """It is text that was read as a length; nothing is reserved for it."""
    pipe, _, into = ends
    feed(into, b"x" * 99, 99).join(5)
    with pytest.raises(EOFError, match=f"{count} bytes"):
        pipe.read(count)


def test_replies_gather_before_they_are_read(ends: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pause for all that is there, and none where something is left from before."""
    pauses: list[float] = []
    monkeypatch.setattr("conformance.child.time.sleep", pauses.append)
    pipe, _, into = ends
    feed(into, b"a" * 9 + b"b" * 9 + b"c" * 9, 27).join(5)
    assert [pipe.read(9) for _ in range(3)] == [b"a" * 9, b"b" * 9, b"c" * 9]
    assert len(pauses) == 1


def test_what_is_written_arrives_whole(ends: Any) -> None:
    """More than a pipe holds."""
    pipe, out, into = ends
    os.close(into)
    data = bytes(range(256)) * 4000
    writer = threading.Thread(target=pipe.write, args=(data,), daemon=True)
    writer.start()
    got = b""
    while len(got) < len(data):
        got += os.read(out, 1 << 16)
    writer.join(5)
    assert got == data
