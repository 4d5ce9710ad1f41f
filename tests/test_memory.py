"""Memory: garbage is collected when the process has grown, and allocation has an end."""

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from conformance.memory import GIB, KEPT, ROOM, VARIABLE, Watermark, resident, room, shorten

MIB = 1 << 20
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited on Linux only")


class Node:
    """A reference cycle that holds memory, as a tensor and its graph do."""

    def __init__(self, size: int) -> None:
        self.own = self
        self.data = np.ones(size, np.uint8)


@pytest.fixture
def manual() -> Iterator[None]:
    """Collect garbage only when told to."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def garbage(size: int) -> weakref.ref[Node]:
    """Make a cycle that nobody holds; the reference is dead once it is collected."""
    return weakref.ref(Node(size))


@pytest.mark.usefixtures("manual")
def test_a_cycle_of_big_arrays_is_collected_once_the_process_has_grown() -> None:
    """Above the mark, at the next look that is due; the memory is there again."""
    mark = Watermark(rise=64 * MIB, looks=1)
    before = resident()
    assert before is not None
    gone = garbage(200 * MIB)
    assert mark.look()
    assert gone() is None
    after = resident()
    assert after is not None
    assert after < before + 64 * MIB


@pytest.mark.usefixtures("manual")
def test_nothing_is_collected_below_the_mark() -> None:
    """A look that finds little growth leaves everything as it is."""
    mark = Watermark(rise=256 * MIB, looks=1)
    kept = garbage(16 * MIB)
    assert not any(mark.look() for _ in range(10))
    assert kept() is not None


@pytest.mark.usefixtures("manual")
def test_what_is_held_is_collected_for_once_only() -> None:
    """Growth that is no garbage moves the mark: the next look does not try again."""
    mark = Watermark(rise=64 * MIB, looks=1)
    held = np.ones(200 * MIB, np.uint8)
    assert [mark.look() for _ in range(3)] == [True, False, False]
    del held
    assert not mark.look()
    again = np.ones(200 * MIB, np.uint8)  # grown again, from the lower size
    assert mark.look()
    del again


@pytest.mark.usefixtures("manual")
def test_the_size_is_read_at_some_looks_or_after_some_time() -> None:
    """Of 64 quick looks one costs something."""
    mark = Watermark(looks=64, seconds=60.0)
    assert [mark.due() for _ in range(128)].count(True) == 2
    assert Watermark(looks=64, seconds=0.0).due()


@pytest.mark.usefixtures("manual")
def test_what_is_there_at_the_start_is_spared() -> None:
    """The framework's own objects are not gone through again."""
    gc.enable()
    kept = Node(10)
    Watermark().take_over()
    assert not gc.isenabled()
    assert gc.get_freeze_count() > 1000
    assert kept.own is kept


def test_the_room_is_given_or_follows_from_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable counts GiB, fractions too; without it a small machine gives half of its memory."""
    monkeypatch.setenv(VARIABLE, "0.5")
    assert room() == GIB // 2
    monkeypatch.setenv(VARIABLE, "0")
    assert room() == 0
    monkeypatch.delenv(VARIABLE)
    assert room() <= ROOM
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 1 << 20, "SC_PAGE_SIZE": 4096}.get)
    if sys.platform.startswith("linux"):
        assert room() == 2 * GIB


LIMITED = """
import numpy as np
from conformance.memory import Limit, limit_files
limit = Limit(512 << 20)
assert not limit.spent()
kept = np.ones(300 << 20, np.uint8)
assert limit.spent()
try:
    np.empty(1 << 40, np.uint8)
except MemoryError:
    print("refused")
del kept
assert not limit.spent()
limit_files()
try:
    with open("large", "wb") as file:
        for _ in range(100):
            file.write(bytes(1 << 20))
except OSError as error:
    print(error.strerror)
"""


@linux
def test_beyond_the_limit_a_process_is_refused_and_lives(tmp_path: Path) -> None:
    """A terabyte is an exception, half of the room is said to be spent, and no file fills the disk."""
    path = os.pathsep.join([str(Path.cwd()), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", LIMITED],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.stdout.splitlines() == ["refused", "File too large"]


def test_a_long_log_is_emptied_and_a_short_one_kept(tmp_path: Path) -> None:
    """So that there is room for last words; what is no open file is left alone."""
    log = tmp_path / "log"
    log.write_bytes(b"few words")
    with log.open("ab") as file:
        shorten(file.fileno())
        assert log.stat().st_size == 9
        file.truncate(KEPT + 1)
        shorten(file.fileno())
        assert log.stat().st_size == 0
    shorten(10**6)
