"""Mutated case files, ledgers and streams either load or are refused: nothing else leaves a loader.

`CONFORMANCE_FUZZ` is how many files to try of each kind, instead of a number that a test run can afford.
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.changes import compare_runs
from conformance.errors import InvalidFileError
from conformance.ledger import load_ledger
from conformance.load import load_operator
from conformance.report.facts import read_facts
from conformance.stream import read_stream
from tests.corpus.read import HERE

EXAMPLES = int(os.environ.get("CONFORMANCE_FUZZ", "150"))
FUZZ = settings(
    max_examples=EXAMPLES,
    derandomize="CONFORMANCE_FUZZ" not in os.environ,
    deadline=5000,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([1 << 63, -(1 << 64), 10**40, 0, -1, 1 << 24]),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["*", "float32", "none", "torch.load", "up(1e999)", "max", "plain*", "__class__", "- at `$.x`"]
    ),
    st.just([]),
    st.just({}),
    st.lists(st.integers() | st.text(max_size=3), max_size=4),
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=3), max_size=3),
)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) in a document."""
    pairs = list(
        node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    )
    return [(node, key) for key, _ in pairs] + [place for _, child in pairs for place in places(child)]


def mutate(document: Any, data: st.DataObject) -> Any:
    """Delete, duplicate, rename, retype or swap something, up to four times."""
    for _ in range(data.draw(st.integers(1, 4))):
        found = places(document)
        if not found:
            break
        node, key = found[data.draw(st.integers(0, len(found) - 1))]
        change = data.draw(
            st.sampled_from(["delete", "duplicate", "rename", "retype", "retype", "wrap", "swap"])
        )
        if change == "delete":
            del node[key]
        elif change == "retype":
            node[key] = data.draw(ODD)
        elif change == "wrap":
            node[key] = data.draw(st.sampled_from([[node[key]], {"a": node[key]}, str(node[key])]))
        elif change == "swap":
            other, at = found[data.draw(st.integers(0, len(found) - 1))]
            # Copies: a value inside itself cannot be written down.
            node[key], other[at] = json.loads(json.dumps(other[at])), json.loads(json.dumps(node[key]))
        elif isinstance(node, list):
            node.insert(data.draw(st.integers(0, len(node))), json.loads(json.dumps(node[key])))
        else:
            node[data.draw(st.text(max_size=8))] = json.loads(json.dumps(node[key]))
    return document


def bytewise(whole: bytes, data: st.DataObject) -> bytes:
    """Replace, insert or cut out some bytes."""
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(whole)))
        new = data.draw(
            st.binary(max_size=6) | st.sampled_from([b"\n", b"&a ", b"*a", b"!!", b"[[", b"}", b"\t", b"'"])
        )
        whole = whole[:start] + new + whole[start + data.draw(st.integers(0, 20)) :]
    return whole


def refusal(load: Callable[[], Any]) -> InvalidFileError | None:
    """Load; return the refusal, None if it loads. Whatever else is raised goes on, and fails the test."""
    try:
        load()
    except InvalidFileError as error:
        return error
    return None


def is_one_message(refused: InvalidFileError, path: Path) -> bool:
    """Whether a refusal says file, line and column, and in one line what is wrong there."""
    place = re.fullmatch(re.escape(str(path)) + r":[1-9]\d*:[1-9]\d*", refused.where)
    return place is not None and refused.what != "" and "\n" not in refused.what


def load_cases(path: Path) -> None:
    """Load a case file and build its inputs, as `check` does."""
    for case in load_operator(path).cases:
        try:
            _ = case.tensors
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise InvalidFileError(case.where, str(error)) from error


def compare(path: Path) -> None:
    """Read a run in both ways, and compare it with itself: nothing has changed."""
    list(read_stream(path))
    facts = read_facts(path)
    assert not any(compare_runs(facts, facts).listed().values())


LOADERS: dict[str, Callable[[Path], Any]] = {
    "valid.yaml": load_cases,
    "ledger.yaml": lambda path: load_ledger(path.parent),
    "run.jsonl": compare,
}


@pytest.mark.parametrize("name", LOADERS)
@FUZZ
@given(data=st.data())
def test_bytes(name: str, data: st.DataObject, tmp_path: Path) -> None:
    """Whatever bytes are changed."""
    path = tmp_path / name
    path.write_bytes(bytewise((HERE / name).read_bytes(), data))
    refused = refusal(lambda: LOADERS[name](path))
    assert refused is None or is_one_message(refused, path), refused


@pytest.mark.parametrize("name", ["valid.yaml", "ledger.yaml"])
@FUZZ
@given(data=st.data())
def test_structure_of_yaml(name: str, data: st.DataObject, tmp_path: Path) -> None:
    """Whatever is moved, deleted, doubled or of another type in a case file or a ledger."""
    document = mutate(yaml.safe_load((HERE / name).read_text(encoding="utf-8")), data)
    path = tmp_path / name
    # JSON is YAML, but for floats without a point and for long lines of escapes: both dialects are tried.
    text = json.dumps(document) if data.draw(st.booleans()) else yaml.safe_dump(document, allow_unicode=True)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    refused = refusal(lambda: LOADERS[name](path))
    assert refused is None or is_one_message(refused, path), refused


@FUZZ
@given(data=st.data())
def test_structure_of_streams(data: st.DataObject, tmp_path: Path) -> None:
    """Whatever is moved, deleted, doubled or of another type in a stream."""
    rows = [json.loads(line) for line in (HERE / "run.jsonl").read_text(encoding="utf-8").splitlines()]
    path = tmp_path / "run.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in mutate(rows, data)), encoding="utf-8")
    refused = refusal(lambda: LOADERS["run.jsonl"](path))
    assert refused is None or is_one_message(refused, path), refused
