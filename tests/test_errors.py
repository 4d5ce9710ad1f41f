"""What people are told: in one message, with its place, however long the value is that they are told of."""

import pickle

import pytest

from conformance.errors import InvalidFileError

PLACE = "run.jsonl:3:1"


@pytest.mark.parametrize("what", ["wrong", "x" * 800, "é" * 800, "\n".join("x" * 800 for _ in range(40))])
def test_what_can_be_read_stays_as_it_is(what: str) -> None:
    """Lists of what is missing have many lines, and long ones."""
    error = InvalidFileError(PLACE, what, what)
    assert (error.what, error.remedy) == (what, what)
    assert str(error) == f"{PLACE}: {what}\n  {what}"


def test_a_long_line_loses_its_middle() -> None:
    """What is wrong stands before a value, and where it is behind."""
    error = InvalidFileError(PLACE, "Invalid enum value '" + "x" * 1_000_000 + "' - at `$.domain`", "mend it")
    assert str(error).startswith(f"{PLACE}: Invalid enum value 'xxx")
    assert str(error).endswith("xxx' - at `$.domain`\n  mend it")
    assert "x … (999,297 more characters) … x" in str(error)
    assert len(error.what) <= 800


def test_a_long_list_loses_its_end() -> None:
    """And says how much of it."""
    error = InvalidFileError(PLACE, "\n".join(map(str, range(1_000))))
    assert error.what.splitlines()[38:] == ["38", "… (961 more lines)"]


@pytest.mark.parametrize("what", ["x" * 801, "x" * 1_000_000, "\n".join(["x" * 900] * 1_000)])
def test_a_message_is_cut_once(what: str) -> None:
    """On its way from another process it is made again."""
    error = InvalidFileError(PLACE, what, what)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own
