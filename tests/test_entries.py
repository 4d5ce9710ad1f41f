"""Entries that runs share: whole or not there."""

import os
from pathlib import Path

import pytest

from conformance import entries


def test_what_was_kept_is_read_and_counts_as_read_now(tmp_path: Path) -> None:
    path = entries.place(tmp_path, "abcdef")
    assert path == tmp_path / "ab" / "cdef"
    assert entries.write(path, b"content")
    os.utime(path, (1, 1))
    assert entries.read(path) == b"content"
    assert path.stat().st_mtime > 1
    assert list(path.parent.iterdir()) == [path]  # nothing half written is left beside it


@pytest.mark.parametrize("damage", [b"", b"x", b"content", b"content" + bytes(32)])
def test_what_is_damaged_is_thrown_away(tmp_path: Path, damage: bytes) -> None:
    """It is computed anew: a wrong entry would accuse the innocent."""
    path = tmp_path / "entry"
    path.write_bytes(damage)
    assert entries.read(path) is None
    assert not path.exists()


def test_a_bit_that_changed_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "entry"
    entries.write(path, b"content")
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    assert entries.read(path) is None


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    assert entries.read(tmp_path / "entry") is None


def test_a_folder_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert not entries.write(tmp_path / "file" / "entry", b"content")


def test_what_was_not_read_for_longest_goes_first(tmp_path: Path) -> None:
    paths = [entries.place(tmp_path, f"{number}entry") for number in (11, 12, 13)]
    for age, path in enumerate(paths):
        entries.write(path, bytes(100))
        os.utime(path, (1000 - age, 1000 - age))
    size = paths[0].stat().st_size
    entries.trim(tmp_path, 2 * size)
    assert [path.exists() for path in paths] == [True, True, False]
    entries.trim(tmp_path, 2 * size)
    assert [path.exists() for path in paths] == [True, True, False]
