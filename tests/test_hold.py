"""Large tensors by file: the same bits arrive, one serves all; what is damaged or not ours is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from conformance.adapters.base import same_bits
from conformance.adapters.layouts import numpy_of
from conformance.arrays import from_wire, to_wire
from conformance.hold import LONG, Held, Hold
from conformance.types import Array, Binding, Raised, Reply, Request

resource = pytest.importorskip("resource", reason="POSIX only")

LARGE = np.arange(LONG // 4, dtype=np.float32)
SMALL = LARGE[:4]


def asked(number: int = 1, **more: Array) -> Request:
    """Make a request of a large and a small tensor."""
    tensors = {"input": to_wire(LARGE), "other": to_wire(SMALL), **more}
    return Request(number, Binding("toy.op", {}), tensors, {})


def answer(number: int = 1) -> Reply:
    """Make a reply of large tensors and others."""
    return Reply(
        number, to_wire(LARGE), {"input": to_wire(-LARGE), "other": None}, second={"input": to_wire(SMALL)}
    )


def names(folder: Path) -> list[str]:
    """Name the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_large_tensor_is_written_once_and_arrives(tmp_path: Path) -> None:
    """Whoever asks about it, in whatever place: the worker reads the same bits; the small one was sent."""
    hold, held = Hold(tmp_path), Held(str(tmp_path))
    whole = replace(asked(), cotangent=to_wire(LARGE), directions={"input": to_wire(-LARGE)})
    sent = [hold.request(asked(7)), hold.request(whole)]
    assert len(names(tmp_path)) == 2
    assert [each.tensors["input"].data for each in sent] == [b"", b""]
    assert sent[0].tensors["other"] == to_wire(SMALL)
    assert hold.size(sent[0].held) == LARGE.nbytes
    assert hold.size(sent[1].held) == 2 * LARGE.nbytes
    read = held.request(sent[1])
    assert read.cotangent is not None
    for array, expected in (
        (read.tensors["input"], LARGE),
        (read.cotangent, LARGE),
        (read.directions["input"], -LARGE),
    ):
        np.testing.assert_array_equal(numpy_of(array), expected)


def test_what_is_small_is_left_alone(tmp_path: Path) -> None:
    """It is the very same request, and reply; nothing is written."""
    hold, held = Hold(tmp_path), Held(str(tmp_path))
    request = Request(1, Binding("toy.op", {}), {"input": to_wire(SMALL)}, {})
    replies = Reply(1, to_wire(SMALL), {"input": None}), Reply(2, Raised("call", "value", "ValueError", "no"))
    assert hold.request(request) is request
    assert held.request(request) is request
    assert all(held.reply(reply) is reply for reply in replies)
    assert names(tmp_path) == []


def test_a_reply_arrives_and_leaves_nothing(tmp_path: Path) -> None:
    """Its files are gone once they are read."""
    sent = Held(str(tmp_path)).reply(answer())
    assert sent.held
    assert len(names(tmp_path)) == 2
    assert all(name.startswith(f"{os.getpid()}-1-") for name in names(tmp_path))
    assert Hold(tmp_path).reply(sent) == answer()
    assert names(tmp_path) == []


def test_a_reply_is_sent_where_no_file_can_be_written(tmp_path: Path) -> None:
    """A full disk costs time, and no result."""
    sent = Held(str(tmp_path / "missing")).reply(answer())
    assert Hold(tmp_path).reply(sent) == answer()


def test_a_request_is_sent_where_no_file_can_be_written(tmp_path: Path) -> None:
    """The same on this side; it is tried again for the next, and what was cut is not left."""
    hold = Hold(tmp_path / "missing")
    assert hold.request(asked()) == asked()
    assert not hold.sizes
    hold.folder.mkdir()
    assert hold.request(asked()).held


def test_what_a_full_disk_cuts_is_not_left(tmp_path: Path) -> None:
    """On either side: half a tensor is none."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LONG // 2, before[1]))
    try:
        assert Hold(tmp_path).request(asked()) == asked()
        sent = Held(str(tmp_path)).reply(answer())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == []
    assert Hold(tmp_path).reply(sent) == answer()


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "1-2", "1-2-3/..", "0" * 40])
def test_a_worker_cannot_name_a_file_that_is_not_its_own(tmp_path: Path, name: str) -> None:
    """What it says is read as no path; the file stays."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"keep")
    hold = Hold(tmp_path / "held")
    hold.folder.mkdir()
    claimed = Reply(1, Array("float32", (1,), b"", held=name), held=True)
    with pytest.raises(ValueError, match="no file of a worker's"):
        hold.reply(claimed)
    assert secret.read_bytes() == b"keep"


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """The lane makes a fault of it."""
    with pytest.raises(FileNotFoundError):
        Hold(tmp_path).reply(Reply(1, Array("float32", (1,), b"", held="1-2-3"), held=True))


def test_what_is_lent_can_be_borrowed_by_another_run(tmp_path: Path) -> None:
    """Bit for bit, and only if its bits are those of its name: a damaged file is removed."""
    first, second, third = (Hold(tmp_path / name) for name in ("first", "second", "third"))
    for hold in (first, second, third):
        hold.folder.mkdir()
    (name,) = first.request(asked()).held
    kept = tmp_path / "kept" / name
    assert first.lend(name, kept)
    assert second.borrow(name, kept)
    np.testing.assert_array_equal(
        from_wire(replace(to_wire(LARGE), data=(second.folder / name).read_bytes())), LARGE
    )
    kept.write_bytes(kept.read_bytes()[:-1] + b"!")
    assert not third.borrow(name, kept)
    assert not kept.exists()
    assert names(third.folder) == []
    assert second.borrow(name, kept)  # it has its own


@pytest.mark.parametrize("content", [None, b""])
def test_what_is_gone_cannot_be_borrowed(tmp_path: Path, content: bytes | None) -> None:
    """Nor what is empty."""
    hold = Hold(tmp_path / "held")
    hold.folder.mkdir()
    if content is not None:
        (tmp_path / "kept").write_bytes(content)
    assert not hold.borrow("0" * 40, tmp_path / "kept")
    assert hold.sizes == {}


def test_nothing_is_lent_to_a_folder_that_cannot_be(tmp_path: Path) -> None:
    """A file stands in its place."""
    hold = Hold(tmp_path)
    (name,) = hold.request(asked()).held
    (tmp_path / "file").touch()
    assert not hold.lend(name, tmp_path / "file" / name)


@pytest.mark.parametrize("count", [8 * 5, 8 * 5 + 3])
def test_bits_are_the_same_or_not(count: int) -> None:
    """Of bytes and of a file's memory, in whole words or not; a NaN is what its bits are."""
    data = np.full(count, 0xFF, np.uint8).tobytes()
    other = data[:-1] + b"\x00"
    for given in (data, memoryview(data)):
        assert same_bits(data, given)  # type: ignore[arg-type]
        assert not same_bits(other, given)  # type: ignore[arg-type]
        assert not same_bits(data[:-1], given)  # type: ignore[arg-type]
