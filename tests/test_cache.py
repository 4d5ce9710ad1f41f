"""The oracle's cache: what comes out is what went in, and whatever is wrong with it costs time only."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance import cache
from conformance.cache import OracleCache, fingerprint, key
from conformance.folders import cache_folder
from conformance.load import load_suite
from conformance.oracle import Exact, Expectation
from conformance.run import expectation, resolved_params
from conformance.suite import Api, Case


def question(pattern: str) -> tuple[Case, Api]:
    (op,) = load_suite(None, [pattern.partition("/")[0]])
    return next(case for case in op.cases if case.id.startswith(pattern)), op.apis[0]


def asked(store: OracleCache, case: Case, api: Api) -> Expectation:
    found = store.answer(case, resolved_params(case, api), lambda: expectation(case, api))
    assert found is not None
    return found


def parts(expected: Expectation) -> dict[str, Any]:
    """Return every array of an expectation, by name."""
    exacts = {"output": expected.output, **expected.gradients}
    exacts |= {f"second.{name}": exact for name, exact in expected.second.items()}
    return {
        f"{name}.{part}": array for name, exact in exacts.items() for part, array in arrays(exact).items()
    }


def arrays(exact: Exact) -> dict[str, Any]:
    below = exact.low if exact.below is None else exact.below
    named = {"low": exact.low, "high": exact.high, "bound": exact.bound, "undecided": exact.undecided}
    return {**named, "below": below, **exact.terms}


@pytest.mark.parametrize(
    "pattern",
    [
        "multi_margin_loss/on-the-kink",
        "multi_margin_loss/nan",
        "huber_loss/second-order",
        "huber_loss/pairs[bfloat16",
        "softmax/rank-0",
        "ctc_loss/basic",
    ],
)
def test_an_answer_comes_back_bit_by_bit(tmp_path: Path, pattern: str) -> None:
    """Kinks, NaN, second derivatives, narrow dtypes, rank 0: dtype, shape and every value."""
    case, api = question(pattern)
    store = OracleCache(tmp_path)
    first, again = asked(store, case, api), asked(store, case, api)
    assert (store.hits, store.misses) == (1, 1)
    computed, read = parts(first), parts(again)
    assert computed.keys() == read.keys()
    for name, array in computed.items():
        assert (array.dtype, array.shape) == (read[name].dtype, read[name].shape), name
        assert np.array_equal(array, read[name], equal_nan=True), name
        if array.dtype.kind == "f":
            assert np.array_equal(np.signbit(array), np.signbit(read[name])), name


def test_another_question_is_another_entry() -> None:
    """Inputs, parameters, what to differentiate by, and the name that the cotangent is drawn by."""
    case, api = question("huber_loss/basic")
    params = resolved_params(case, api)
    other = replace(case, specs={**case.specs, "input": {"full": [9], "value": 2.0}})
    keys = [
        key(case, params),
        key(case, {**params, "delta": 0.75}),
        key(replace(case, gradients=()), params),
        key(replace(case, id="huber_loss/another"), params),
        key(other, params),
    ]
    assert len(set(keys)) == len(keys)
    assert key(case, dict(reversed(params.items()))) == keys[0]


def test_another_reference_or_numpy_is_another_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the folder can be out of date: what it was computed by is in its name."""
    fingerprint.cache_clear()
    before = fingerprint()
    monkeypatch.setattr(np, "__version__", "9.9")
    fingerprint.cache_clear()
    assert fingerprint() != before
    monkeypatch.undo()
    monkeypatch.setattr(cache, "_SOURCES", cache._SOURCES[:-1])
    fingerprint.cache_clear()
    assert fingerprint() != before
    monkeypatch.undo()
    fingerprint.cache_clear()
    assert fingerprint() == before


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_entry_is_computed_anew(tmp_path: Path, damage: str) -> None:
    """A wrong oracle would accuse the innocent: an entry that is not what was written is no entry."""
    case, api = question("huber_loss/basic")
    store = OracleCache(tmp_path)
    good = parts(asked(store, case, api))
    (path,) = (p for p in tmp_path.rglob("*") if p.is_file())
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        {
            "cut": data[:-7],
            "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "empty": b"",
            "foreign": b"not an entry",
        }[damage]
    )
    again = parts(asked(store, case, api))
    assert store.misses == 2
    assert all(np.array_equal(good[name], again[name]) for name in good)
    asked(store, case, api)
    assert store.hits == 1


def test_what_was_not_read_for_longest_goes_first(tmp_path: Path) -> None:
    """Over its limit the folder shrinks; what a run has just read stays."""
    store = OracleCache(tmp_path)
    cases = [question(f"huber_loss/{name}") for name in ("basic[float32", "basic[float64", "basic[float16")]
    for case, api in cases:
        asked(store, case, api)
    files = sorted((p for p in tmp_path.rglob("*") if p.is_file()), key=str)
    for age, path in enumerate(files):
        os.utime(path, (1000 + age, 1000 + age))
    asked(store, *cases[0])  # read again: the youngest now
    store.limit = sum(path.stat().st_size for path in files) - 1
    store.trim()
    left = [path for path in files if path.exists()]
    assert len(left) == 2
    asked(store, *cases[0])
    assert store.hits == 2


def test_many_at_once_write_the_same_entry_whole(tmp_path: Path) -> None:
    """Two runs in one folder: each reads all of an entry or none of it."""
    case, api = question("huber_loss/basic")
    _ = case.tensors
    good = parts(expectation(case, api))  # type: ignore[arg-type]

    def work(_: int) -> bool:
        read = parts(asked(OracleCache(tmp_path), case, api))
        return all(np.array_equal(good[name], read[name]) for name in good)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40)))
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 1


def test_a_folder_that_cannot_be_used_costs_time_only(tmp_path: Path) -> None:
    """A file in its place, say: the run goes on."""
    (tmp_path / "taken").write_text("a file")
    case, api = question("huber_loss/basic")
    store = OracleCache(tmp_path / "taken")
    assert asked(store, case, api).output.low.size
    store.trim()
    assert (tmp_path / "taken").read_text() == "a file"


def test_a_large_answer_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading it back would cost as much as computing it."""
    monkeypatch.setattr(cache, "LARGEST", 100)
    case, api = question("huber_loss/basic")
    asked(OracleCache(tmp_path), case, api)
    assert list(tmp_path.iterdir()) == []


def test_where_the_folder_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As other programs have it, and by our own variable."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CONFORMANCE_CACHE", raising=False)
    assert cache_folder() == tmp_path / "op-conformance"
    monkeypatch.setenv("CONFORMANCE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
