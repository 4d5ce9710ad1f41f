"""YAML with positions: what is refused, and that the complaint names the right line and column."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from conformance.errors import Exit, InvalidFileError
from conformance.yamlfile import YamlFile

HERE = Path("cases/x.yaml")


class Leaf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A leaf of the test's own format."""

    size: int
    names: list[str] = []


class Tree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document of the test's own format."""

    title: str
    leaves: list[Leaf] = []
    named: dict[str, Leaf] = {}
    grid: dict[str, dict[str, list[int]]] = {}


def refusal(text: str) -> InvalidFileError:
    """Return the error that parsing `text` ends with."""
    with pytest.raises(InvalidFileError) as caught:
        YamlFile(HERE, text)
    return caught.value


def mismatch(text: str) -> InvalidFileError:
    """Return the error that converting `text` to a Tree ends with."""
    document = YamlFile(HERE, text)
    with pytest.raises(InvalidFileError) as caught:
        document.convert(Tree)
    return caught.value


def test_plain_data() -> None:
    """Scalars, lists and mappings come out as Python's own, and their places are remembered."""
    document = YamlFile(HERE, "a: 1\nb:\n  - x\n  - {c: 1.5, d: [true, null]}\n")
    assert document.data == {"a": 1, "b": ["x", {"c": 1.5, "d": [True, None]}]}
    assert document.where(("b", 1, "d")) == f"{HERE}:4:14"
    assert document.line(("b", 0)) == 3


def test_where_falls_back_to_the_nearest_parent() -> None:
    """A path that no node has is placed at its nearest parent, and at the top in the end."""
    document = YamlFile(HERE, "a: 1\nb:\n  c: 2\n")
    assert document.where(("b", "nope", 3)) == f"{HERE}:2:1"
    assert document.where(("nope",)) == f"{HERE}:1:1"


@pytest.mark.parametrize(
    ("text", "at", "says"),
    [
        ("a: [1, 2\nb: 3\n", "2:2", "did not find expected"),
        ("a: 1\n\t- b\n", "2:1", "a tab character"),
        ("a: 1\n---\nb: 2\n", "2:1", "another document"),
        ("a: 1\nb: 2\na: 3\n", "3:1", "'a' stands twice"),
        ("x:\n  a: 1\n  a: 1\n", "3:3", "'a' stands twice"),
        ("a: 1\n2: b\n", "2:1", "key 2 is not a string"),
        ("a: 1\non: b\n", "2:1", "key True is not a string"),
        ("a:\n  ? [1]\n  : 2\n", "2:5", "key [1] is not a string"),
        ("a: 1\nb: &x [1]\n", "2:4", "anchors and aliases"),
        ("a: 1\nb: *x\n", "2:4", "anchors and aliases"),
        ("a: {<<: {b: 1}}\n", "1:5", "constructor for the tag"),
        ("a: 1\nb: !!bool maybe\n", "2:4", "'maybe' is not a bool"),
        ("a: 1\nb: !!timestamp later\n", "2:4", "'later' is not a timestamp"),
        ("a: 1\nb: 2026-13-45\n", "2:4", "'2026-13-45' is not a timestamp"),
        ("a: 1\nb: !!int x\n", "2:4", "'x' is not a int"),
        ("a: \x01\n", "1:4", "not valid YAML"),
    ],
)
def test_invalid_yaml_is_placed(text: str, at: str, says: str) -> None:
    """Whatever is wrong with the YAML itself is reported at its line and column, as exit 4."""
    error = refusal(text)
    assert error.where == f"{HERE}:{at}"
    assert says in error.what
    assert error.exit_code == Exit.USAGE


@pytest.mark.parametrize(
    "value",
    [
        "!!python/name:os.system x",
        "!!python/object:os.Popen {cmd: x}",
        "!!python/object/apply:os.system [echo]",
        "!!python/tuple [1, 2]",
        "!!set {x, y}",
        "!mine {x: 1}",
        "!mine x",
    ],
)
def test_tags_are_refused(value: str) -> None:
    """No tag builds an object, and none is dropped in silence: on scalars, lists and mappings alike."""
    error = refusal(f"a: 1\nb: {value}\n")
    assert error.where == f"{HERE}:2:4"
    assert "tag" in error.what


def test_billion_laughs_cost_nothing() -> None:
    """A document whose aliases would expand to 10**9 elements is refused at its first anchor."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert refusal("\n".join(lines)).where == f"{HERE}:1:5"


@pytest.mark.parametrize("depth", [25, 1_000, 500_000])
@pytest.mark.parametrize("bracket", ["[", "{a: "])
def test_deep_nesting_is_refused(bracket: str, depth: int) -> None:
    """Nesting deeper than 24 is refused before anything recurses into it (500 000 levels crashed once)."""
    error = refusal(bracket * depth)
    assert error.where == f"{HERE}:1:{24 * len(bracket) + 1}"
    assert "24 levels" in error.what


def test_nesting_up_to_the_limit_is_read() -> None:
    """Twenty-four levels are within the limit."""
    data: Any = YamlFile(HERE, "[" * 24 + "]" * 24).data
    for _ in range(23):
        (data,) = data
    assert data == []


def test_oversized_file_is_refused(tmp_path: Path) -> None:
    """A file above the limit is refused unread, with what to do."""
    path = tmp_path / "big.yaml"
    path.write_bytes(b"a: " + b"x" * 4_000_000)
    with pytest.raises(InvalidFileError, match="larger than 4000000 bytes") as caught:
        YamlFile(path)
    assert caught.value.remedy == "split the file"


def test_not_utf8_is_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are refused, with the offset of the first bad one."""
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a: caf\xe9\n")
    with pytest.raises(InvalidFileError, match="not UTF-8 at byte 6"):
        YamlFile(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is the user's error, with the system's reason."""
    with pytest.raises(InvalidFileError, match="cannot be read: No such file"):
        YamlFile(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["", "# only a comment\n"])
def test_empty_file_does_not_convert(text: str) -> None:
    """An empty document is no document: converting it says so at 1:1."""
    error = mismatch(text)
    assert error.where == f"{HERE}:1:1"
    assert "null" in error.what


@pytest.mark.parametrize(
    ("text", "at", "says"),
    [
        ("title: 3\n", "1:1", "Expected 'str', got 'int'"),
        ("title: x\nleaves:\n  - size: 1\n  - size: one\n", "4:5", "Expected 'int', got 'str'"),
        ("title: x\nleaves:\n  - size: 1\n    names: [a, 2]\n", "4:16", "Expected 'str', got 'int'"),
        ("title: x\nleaves:\n  - size: 1\n  - names: []\n", "4:5", "missing required field 'size'"),
        ("title: x\nleaves:\n  - size: 1\n    colour: red\n", "4:5", "unknown field 'colour'"),
        ("leaves: []\n", "1:1", "missing required field 'title'"),
        ("title: x\ntypo: 1\n", "2:1", "unknown field 'typo'"),
        ("[1]\n", "1:1", "Expected 'object', got 'array'"),
    ],
)
def test_schema_mismatch_is_placed(text: str, at: str, says: str) -> None:
    """What does not fit the format is reported at its own node; a missing field at its object."""
    error = mismatch(text)
    assert error.where == f"{HERE}:{at}"
    assert says in error.what
    assert error.exit_code == Exit.USAGE


def test_schema_mismatch_below_free_keys_is_placed() -> None:
    """Below a mapping with free keys, which msgspec calls `[...]`, the guilty key is still found."""
    text = "title: x\nnamed:\n  good: {size: 1}\n  bad: {size: 1, names: 7}\n  later: {size: 2}\n"
    assert mismatch(text).where == f"{HERE}:4:18"
    text = "title: x\ngrid:\n  a: {b: [1]}\n  c:\n    d: [1]\n    e: [1, 2,\n        x]\n"
    assert mismatch(text).where == f"{HERE}:7:9"


def test_unknown_field_below_free_keys_is_placed() -> None:
    """The unknown field itself is pointed at, not the object that holds it."""
    text = "title: x\nnamed:\n  good: {size: 1}\n  bad:\n    size: 1\n    sise: 2\n"
    assert mismatch(text).where == f"{HERE}:6:5"


def test_error_text_is_one_message() -> None:
    """An error reads `file:line:column: what`, then the remedy on a line of its own."""
    error = YamlFile(HERE, "a: 1\n").fail(("a",), "is wrong", "mend it")
    assert str(error) == f"{HERE}:1:1: is wrong\n  mend it"
