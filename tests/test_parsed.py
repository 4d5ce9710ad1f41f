"""Op files that were read before: they say the same, and are read again when they are not the same."""

import shutil
from dataclasses import fields
from pathlib import Path

import pytest

from conformance import parsed
from conformance.adapters import BACKENDS
from conformance.errors import InvalidFileError
from conformance.load import load_operator, load_suite, shipped_cases
from conformance.yamlfile import YamlFile

FILES = [shipped_cases() / each for each in ("loss/multi_margin_loss.yaml", "activation/logsumexp.yaml")]
HUBER = shipped_cases() / "loss" / "huber_loss.yaml"


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is read in a folder of this test."""
    monkeypatch.setenv("CONFORMANCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "parsed"


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail whoever reads YAML from now on."""

    def read(*_: object) -> None:
        raise AssertionError("read as YAML")

    monkeypatch.setattr(YamlFile, "__init__", read)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_that_was_read_before_says_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field of every case, types and all; YAML is not read again."""
    first = load_operator(path)
    forbid(monkeypatch)
    second = load_operator(path)
    assert (first.digest, first.ids) == (second.digest, second.ids)
    assert repr(first.decl) == repr(second.decl)
    assert repr(first.apis) == repr(second.apis)
    names = [field.name for field in fields(first.cases[0]) if field.name != "op"]
    for one, other in zip(first.cases, second.cases, strict=True):
        assert [repr(getattr(one, name)) for name in names] == [repr(getattr(other, name)) for name in names]


def test_one_bit_makes_another_file(tmp_path: Path, kept: Path) -> None:
    """And a copy of the same bits elsewhere is the same, under its own name."""
    first, second = tmp_path / "a" / HUBER.name, tmp_path / "b" / HUBER.name
    for path in (first, second):
        path.parent.mkdir()
        shutil.copy(HUBER, path)
    load_operator(first)
    assert load_operator(second).cases[0].where.startswith(str(second))
    assert len(list(kept.glob("*/*"))) == 1
    second.write_text(HUBER.read_text().replace('summary: "', 'summary: "now ', 1))
    assert load_operator(second).summary == f"now {load_operator(first).summary}"
    assert len(list(kept.glob("*/*"))) == 2


def test_what_is_not_valid_is_not_kept(tmp_path: Path, kept: Path) -> None:
    """It is refused as often as it is read, at its place."""
    path = tmp_path / HUBER.name
    path.write_text(HUBER.read_text().replace("kind: floating", "kind: floatin", 1))
    for _ in range(2):
        with pytest.raises(InvalidFileError, match=r"huber_loss\.yaml:\d+:\d+: "):
            load_operator(path)
    assert not list(kept.glob("*/*"))


def test_what_is_known_is_held_against_the_backends_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is bound to a backend that is gone is refused, wherever it stands."""
    load_operator(HUBER)
    monkeypatch.delitem(BACKENDS, "mindspore")
    with pytest.raises(InvalidFileError, match=r"huber_loss\.yaml:\d+:\d+: .*in no namespace of a backend"):
        load_operator(HUBER)


def test_a_known_file_says_where_as_the_file_does() -> None:
    """Of cases it knows it; for the rest, and for every complaint, it reads."""
    load_operator(HUBER)
    known, read = parsed.recall(HUBER), YamlFile(HUBER)
    assert known is not None
    for path in (("cases", 0, "case"), ("cases", 7, "case"), ("apis",), ("cases", 3, "matrix", "dtype")):
        assert known.where(path) == read.where(path)
        assert str(known.fail(path, "what", "remedy")) == str(read.fail(path, "what", "remedy"))


def test_a_damaged_entry_is_read_anew(kept: Path) -> None:
    """As if it were not there."""
    ids = load_operator(HUBER).ids
    (entry,) = kept.glob("*/*")
    entry.write_bytes(entry.read_bytes()[:-40])
    assert load_operator(HUBER).ids == ids


def test_a_folder_that_cannot_be_written_costs_time_only(kept: Path) -> None:
    """Nothing is kept, everything is loaded."""
    kept.parent.mkdir()
    kept.write_text("in the way")
    (op,) = load_suite(HUBER)
    assert op.ids
