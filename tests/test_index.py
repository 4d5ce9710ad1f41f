"""Names without loading: the same as the suite's, and never out of date."""

import shutil
from pathlib import Path

import pytest

from conformance import load
from conformance.errors import InvalidFileError
from conformance.index import KEPT, names
from conformance.load import load_suite, shipped_cases

HUBER = shipped_cases() / "loss" / "huber_loss.yaml"


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    folder = tmp_path / "cases"
    folder.mkdir()
    shutil.copy(HUBER, folder)
    return folder


def test_the_names_are_those_of_the_suite(cases: Path, tmp_path: Path) -> None:
    """Operators, APIs and cases, in order; from the files and from the index."""
    (op,) = load_suite(cases)
    for _ in range(2):
        (found,) = names(cases, tmp_path / "kept")
        assert (found.op, found.apis) == (op.name, [api.name for api in op.apis])
        assert found.cases == [case.id for case in op.cases]


def test_a_second_time_nothing_is_loaded(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is what it is for."""
    first = names(cases, tmp_path / "kept")
    monkeypatch.setattr(load, "load_suite", None)
    assert names(cases, tmp_path / "kept") == first


def test_another_file_is_loaded_anew(cases: Path, tmp_path: Path) -> None:
    """A case that was added is listed; a mistake is told, whatever the index has."""
    before = names(cases, tmp_path / "kept")
    path = cases / HUBER.name
    text = path.read_text(encoding="utf-8")
    more = "cases:\n  - case: added\n    why: More.\n    inputs: {input: [1.0], target: [2.0]}\n"
    path.write_text(text.replace("\ncases:\n", f"\n{more}", 1), encoding="utf-8")
    after = names(cases, tmp_path / "kept")
    (added,) = set(after[0].cases) - set(before[0].cases)
    assert added.startswith("huber_loss/added")
    path.write_text(text.replace("family: loss", "family: [loss]"), encoding="utf-8")
    with pytest.raises(InvalidFileError):
        names(cases, tmp_path / "kept")


def test_a_damaged_index_and_a_folder_that_cannot_be_used_cost_time_only(cases: Path, tmp_path: Path) -> None:
    """The files are there all the same."""
    good = names(cases, tmp_path / "kept")
    (kept,) = (tmp_path / "kept" / "index").iterdir()
    kept.write_bytes(b"no index")
    assert names(cases, tmp_path / "kept") == good
    (tmp_path / "taken").write_text("")
    assert names(cases, tmp_path / "taken") == good


def test_old_indexes_go(cases: Path, tmp_path: Path) -> None:
    """One for each change would fill a disk in time."""
    path = cases / HUBER.name
    for n in range(KEPT + 3):
        path.write_text(f"{path.read_text(encoding='utf-8')}# {n}\n", encoding="utf-8")
        names(cases, tmp_path / "kept")
    assert len(list((tmp_path / "kept" / "index").iterdir())) == KEPT
