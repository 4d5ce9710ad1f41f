"""The rules that fuzzing holds loaders to: each is noticed when it is broken, and the corpus breaks none."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from conformance.errors import HarnessError, InvalidFileError
from tests.fuzz.rules import LOADERS, BrokenRuleError, Loader, holds, warm
from tests.fuzz.trees import mutated, places


def refuse(where: str) -> Callable[[Path], object]:
    """Return a loader that refuses everything at that place of its file."""

    def load(path: Path) -> object:
        raise InvalidFileError(f"{path}{where}", "wrong")

    return load


def fault(path: Path) -> object:
    raise HarnessError(f"{path}:1:1: wrong")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "another exception": (lambda _: LOADERS["x"], "KeyError"),
    "no place": (refuse(""), "no file:line:column"),
    "no column": (refuse(":3"), "no file:line:column"),
    "line 0": (refuse(":0:1"), "no file:line:column"),
    "an escape sequence": (refuse(":1:1: \x1b[2J"), "a terminal would obey it"),
    "another exit code": (fault, "exit 3"),
    "a command": (lambda _: os.system("true"), "os.system"),  # noqa: S605, S607 - that it never runs is the test
    "evaluated text": (lambda _: eval("1 + 1"), "exec"),  # noqa: S307 - the same
    "a file written": (lambda path: (path.parent / "other").write_bytes(b""), "open"),
}


@pytest.mark.parametrize(("load", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_is_noticed(load: Callable[[Path], object], says: str, tmp_path: Path) -> None:
    with pytest.raises(BrokenRuleError, match=says):
        holds(Loader(load, "x.yaml", list), tmp_path, b"a: 1")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("load", [refuse(":1:1"), Path.read_bytes])
def test_what_a_loader_may_do(load: Callable[[Path], object], tmp_path: Path) -> None:
    """It may read its file, and refuse it."""
    holds(Loader(load, "x.yaml", list), tmp_path, b"a: 1")


@pytest.mark.parametrize("name", LOADERS)
def test_seeds(name: str, tmp_path: Path) -> None:
    """No seed breaks a rule, and there are trees to change among them."""
    loader, trees = LOADERS[name], 0
    warm(loader, tmp_path)
    for data in loader.seeds():
        holds(loader, tmp_path, data)
        with suppress(ValueError, InvalidFileError):
            trees += bool(places(loader.parse(data.decode())))
    assert trees


def test_a_tree_is_changed_the_same_way_again() -> None:
    """What libFuzzer replays from a seed has to be what it ran."""
    trees = [mutated({"a": [1, {"b": 2}], "c": "x"}, Random(7)) for _ in range(2)]  # noqa: S311 - no secret
    assert repr(trees[0]) == repr(trees[1]) != repr({"a": [1, {"b": 2}], "c": "x"})
