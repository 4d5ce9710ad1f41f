"""The documents that claims speak of are the ones that were read."""

import json
from pathlib import Path

import pytest

from conformance.__main__ import main
from conformance.documents import (
    LOCK,
    Recorded,
    bound,
    compare,
    differences,
    digest,
    docstring,
    installed,
    main_update,
    read_lock,
)
from conformance.errors import Exit
from conformance.load import load_suite, shipped_cases

API = "torch.nn.X"
SEEN = Recorded("2.0", {API: "a"})


def test_no_document_has_changed_since_its_claims_were_written() -> None:
    """The docstrings of the installed frameworks, one process for each, against the lock file."""
    said = compare()
    assert not said, "\n".join(line for lines in said.values() for line in lines)


def test_every_bound_api_is_recorded() -> None:
    """And nothing else is."""
    recorded = {name for each in read_lock(shipped_cases()).values() for name in each.documents}
    assert recorded == {api.name for op in load_suite() for api in op.apis}


@pytest.mark.parametrize(
    ("apis", "recorded", "found", "said"),
    [
        ([API], SEEN, SEEN, []),
        ([API], SEEN, Recorded("2.0", {API: "b"}), [f"{API}: its document has changed since 2.0"]),
        ([API], SEEN, Recorded("2.0", {}), [f"{API}: the installed framework has no such API"]),
        ([API], Recorded("2.0", {}), SEEN, [f"{API}: its document is not recorded"]),
        ([], SEEN, Recorded("2.0", {}), [f"{API}: recorded, but no case file binds it"]),
        ([API], SEEN, Recorded("2.1", {API: "a"}), ["recorded for version 2.0, installed is 2.1"]),
    ],
)
def test_what_differs_is_named(apis: list[str], recorded: Recorded, found: Recorded, said: list[str]) -> None:
    """The API, and what became of its document."""
    assert differences(apis, recorded, found) == said


def test_a_document_is_the_same_however_it_is_wrapped() -> None:
    """Only words count."""
    assert digest("one\n   two") == digest("one two")
    assert digest("one two") != digest("one three")


class _Documented:
    """The class."""

    def __init__(self) -> None:
        """Make one."""


class _Bare:
    """Only the class."""


def test_a_class_is_documented_by_its_constructor_too() -> None:
    """But not by the docstring that every object's constructor has."""
    assert docstring(_Documented) == "The class.\nMake one."
    assert docstring(_Bare) == "Only the class."
    assert docstring(type("_Undocumented", (), {})) == ""


def test_an_api_that_does_not_exist_is_left_out() -> None:
    """So that the comparison can say so."""
    found = installed("torch", ["torch.nn.L1Loss", "torch.nn.NoSuchLoss"])
    assert list(found.documents) == ["torch.nn.L1Loss"]


def test_update_records_what_is_installed(tmp_path: Path) -> None:
    """After it nothing differs; before it, everything that is bound did."""
    source = next(op.file for op in load_suite() if op.name == "hinge_embedding_loss")
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / source.name).write_text(source.read_text())
    changed = main_update(tmp_path)
    assert sorted(changed) == sorted(bound(load_suite(tmp_path)))
    assert compare(tmp_path) == {}
    text = (tmp_path / "documents.json").read_text()
    assert json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n" == text


def test_a_malformed_lock_is_refused_before_a_framework_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one message, by both commands; `tests/corpus/documents.txt` has more of them."""
    (tmp_path / LOCK).write_text('{"torch": {"version": 2,\n "documents": {}}}')
    monkeypatch.setattr("conformance.documents.shipped_cases", lambda: tmp_path)
    monkeypatch.setattr("conformance.documents.installed", pytest.fail)
    for update in ([], ["--update"]):
        assert main(["documents", *update]) == Exit.USAGE
        said = capsys.readouterr().err
        assert said.startswith(f"conformance: {tmp_path / LOCK}:1:12: Expected 'str', got 'int'\n  mend it")
