"""Checking files by themselves, on several cores: the same mistakes at the same places."""

import pickle
import shutil
from pathlib import Path

import pytest

from conformance.checking import FEW, check_files
from conformance.errors import InvalidFileError, UsageError
from conformance.load import load_suite, shipped_cases

OPS = ("dice_loss", "huber_loss", "l1_loss", "l2_loss", "log_loss", "mse_loss")


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    for name in OPS:
        shutil.copy(shipped_cases() / "loss" / f"{name}.yaml", tmp_path)
    return tmp_path


def spoil(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace("family: loss", "family: [loss]"), "utf-8")


def test_many_files_are_checked_as_few_are(cases: Path) -> None:
    """In order of their paths, with their names and counts."""
    assert len(OPS) > FEW
    found = check_files(cases)
    suite = load_suite(cases)
    assert [each.op for each in found] == [op.name for op in suite] == list(OPS)
    assert [each.cases for each in found] == [[case.id for case in op.cases] for op in suite]
    assert [each.claims for each in found] == [sum(len(a.claims) for a in op.apis) for op in suite]
    (one,) = check_files(cases, ["l1_loss"])
    assert one == found[2]


def test_the_first_mistake_is_told_with_its_place(cases: Path) -> None:
    """Whichever process found it, and whichever was faster."""
    for name in ("mse_loss", "huber_loss"):
        spoil(cases / f"{name}.yaml")
    with pytest.raises(InvalidFileError) as caught:
        check_files(cases)
    assert caught.value.where.startswith(f"{cases / 'huber_loss.yaml'}:2:")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - our own bytes


def test_an_operator_that_stands_twice_or_nowhere_is_refused(cases: Path) -> None:
    """By names that are given, and by what is in the files."""
    with pytest.raises(UsageError, match="no operator 'nope'; there are dice_loss, huber_loss"):
        check_files(cases, ["nope"])
    shutil.copy(cases / "l1_loss.yaml", cases / "z.yaml")
    with pytest.raises(InvalidFileError, match=r"z\.yaml:1:1: op 'l1_loss' stands in .*l1_loss\.yaml too"):
        check_files(cases)
