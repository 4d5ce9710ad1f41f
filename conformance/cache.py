"""The oracle's answers on disk, by what they were computed from: another run need not compute them again.

An entry's name is a hash of everything that decides its content: the sources of the reference and of the
oracle, NumPy, the platform, the inputs, the parameters, the cotangent. So nothing is ever out of date; it is
only never asked for again, and goes when the folder grows over its limit. Each entry has a hash of itself:
a file that was cut or damaged is computed anew, for a wrong oracle would accuse the innocent.
"""

import platform
import sys
import zlib
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from conformance import entries
from conformance.arrays import NDArray, numpy_dtype
from conformance.folders import cache_folder
from conformance.oracle import Exact, Expectation
from conformance.suite import Case
from conformance.types import Scalar

LIMIT = 2 << 30
"""Bytes that the folder may hold; the entries that were not read for longest go first."""
LARGEST = 64 << 20
"""Bytes of the largest entry that is kept."""
LONG = 1 << 16
"""Bytes from which an array is compressed: large cases repeat themselves, and shrink to a twentieth."""

_SOURCES = (
    *("arithmetic", "arrays", "cache", "definition", "elementary", "entries"),
    *("oracle", "question", "second", "suite", "values"),
)


class _Stored(msgspec.Struct, array_like=True):
    """An array: its dtype, its shape, its bytes (deflated, if `long`)."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes
    long: bool = False


class _Answer(msgspec.Struct, array_like=True):
    """An `Exact`; None stands for what equals `low`, or for nowhere."""

    low: _Stored
    high: _Stored | None
    below: _Stored | None
    bound: _Stored
    terms: dict[str, _Stored]
    undecided: _Stored | None
    dtype: str


class _Entry(msgspec.Struct, array_like=True):
    output: _Answer
    gradients: dict[str, _Answer]
    second: dict[str, _Answer]


_decoder = msgspec.msgpack.Decoder(_Entry)


class OracleCache:
    """A folder of the oracle's answers, safe to share between runs at the same time."""

    def __init__(self, folder: Path | None = None, limit: int = LIMIT) -> None:
        self.folder = folder or cache_folder() / "oracle"
        self.limit = limit
        self.hits = self.misses = 0

    def answer(
        self, case: Case, params: dict[str, Scalar], compute: Callable[[], Expectation | None]
    ) -> Expectation | None:
        """Return what was computed before for these inputs, else compute it and keep it.

        A folder that cannot be read or written costs time and nothing else.
        """
        if case.domain == "undefined":
            return None
        path = entries.place(self.folder, key(case, params))
        kept = _read(path)
        if kept is not None:
            self.hits += 1
            return kept
        self.misses += 1
        expected = compute()
        if expected is not None:
            _write(path, expected)
        return expected

    def trim(self) -> None:
        """If it has grown, remove what was not read for longest until the folder is within its limit."""
        if self.misses:  # else it is as the run before left it, and to look takes a second
            entries.trim(self.folder, self.limit)


def key(case: Case, params: dict[str, Scalar]) -> str:
    """Name the question that is put to the oracle by all that decides its answer."""
    digest = blake2b(fingerprint().encode(), digest_size=20)
    # The cotangent and the directions of second derivatives are drawn by the case's id.
    told = (case.id, case.dtype, sorted(params.items()), case.gradients, case.second)
    digest.update(repr(told).encode())
    for name, tensor in case.tensors.items():
        digest.update(f"{name}{tensor.dtype.name}{tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()


@cache
def fingerprint() -> str:
    """Name the oracle itself: its sources, the references', NumPy, and the machine's arithmetic."""
    ours, references = Path(str(files("conformance"))), Path(str(files("conformance.reference")))
    digest = blake2b(digest_size=16)
    for path in (*(ours / f"{name}.py" for name in _SOURCES), *sorted(references.glob("*.py"))):
        digest.update(path.read_bytes())
    about = (np.__version__, sys.version, platform.machine(), platform.libc_ver(), platform.processor())
    digest.update(repr(about).encode())
    return digest.hexdigest()


def _read(path: Path) -> Expectation | None:
    if (content := entries.read(path)) is None:
        return None
    entry = _decoder.decode(content)
    return Expectation(_unpack(entry.output), _each(_unpack, entry.gradients), _each(_unpack, entry.second))


def _write(path: Path, expected: Expectation) -> None:
    entry = _Entry(_pack(expected.output), _each(_pack, expected.gradients), _each(_pack, expected.second))
    content = msgspec.msgpack.encode(entry)
    if len(content) <= LARGEST:
        entries.write(path, content)


def _each(convert: Callable[[Any], Any], found: dict[str, Any]) -> dict[str, Any]:
    return {name: convert(value) for name, value in found.items()}


def _pack(exact: Exact) -> _Answer:
    return _Answer(
        _stored(exact.low),
        _unless_equal(exact.high, exact.low),
        None if exact.below is None else _unless_equal(exact.below, exact.low),
        _stored(exact.bound),
        {name: _stored(term) for name, term in exact.terms.items()},
        _stored(exact.undecided) if exact.undecided.any() else None,
        exact.dtype,
    )


def _unless_equal(array: NDArray, low: NDArray) -> _Stored | None:
    equal = np.array_equal(array, low, equal_nan=True) and bool(np.all(np.signbit(array) == np.signbit(low)))
    return None if equal else _stored(array)


def _stored(array: NDArray) -> _Stored:
    data, long = np.ascontiguousarray(array).tobytes(), array.nbytes >= LONG
    return _Stored(array.dtype.name, array.shape, zlib.compress(data, 1) if long else data, long)


def _unpack(answer: _Answer) -> Exact:
    low = _array(answer.low)
    return Exact(
        low,
        low if answer.high is None else _array(answer.high),
        _array(answer.bound),
        {name: _array(term) for name, term in answer.terms.items()},
        np.zeros(low.shape, bool) if answer.undecided is None else _array(answer.undecided),
        answer.dtype,
        None if answer.below is None else _array(answer.below),
    )


def _array(stored: _Stored) -> NDArray:
    data = zlib.decompress(stored.data) if stored.long else stored.data
    return np.frombuffer(data, numpy_dtype(stored.dtype)).reshape(stored.shape)
