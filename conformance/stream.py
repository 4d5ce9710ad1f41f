"""`run.jsonl`: one JSON object a line, flushed as it is known, in canonical order once complete.

While a run lasts, results stand in the order in which backends answered; a run that dies keeps them.
A complete run is rewritten in the order of the cases, so that the same run gives the same bytes.
"""

import math
import os
from array import array
from collections.abc import Iterable, Iterator
from math import isfinite
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from conformance import SCHEMA
from conformance.errors import InvalidFileError
from conformance.stream_rows import mistake

Row = dict[str, Any]
_PLAIN = frozenset((str, int, bool, type(None)))
MAX_LINE = 4_000_000

_MADE_BY = "a stream is what `conformance run` wrote; run it again"


def jsonable(value: Any) -> Any:
    """Prepare a value for JSON: NaN and infinities are strings, tuples lists."""
    kind = type(value)
    if kind in _PLAIN or (kind is float and isfinite(value)):
        return value
    if isinstance(value, dict):
        # Most of what a row holds is plain; a call for each would be most of the time that it takes.
        return {
            str(k): v if (kind := type(v)) in _PLAIN or (kind is float and isfinite(v)) else jsonable(v)
            for k, v in value.items()
        }
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        return value if isfinite(value) else ("Infinity" if value > 0 else "-Infinity")
    return [jsonable(v) for v in value] if isinstance(value, list | tuple) else value


_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_TEXT = ("message", "check", "kind", "convention", "digest")


def unjson(row: Row) -> Row:
    """Turn the strings that stand for NaN and infinities in a row's numbers back into floats."""
    return {k: v if k in _TEXT else _SPECIAL.get(v, v) if isinstance(v, str) else v for k, v in row.items()}


ASKED, HEARD, SETTLED = "asked", "heard", "settled"
"""Rows of a stream that did not finish: which backends it asks, what claims got from a case, and a
(case, API) that is all there."""


_encode = msgspec.json.Encoder().encode


class StreamWriter:
    """Writes a stream: `write` and `flush` as things happen, `finish` once they all have."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = path.with_suffix(".jsonl.part")
        self._file: IO[bytes] = self._partial.open("w+b")
        # Numbers, not tuples: a run of a million cases writes tens of millions of rows.
        self._orders, self._starts = array("Q"), array("Q")
        self._end = 0

    def write(self, row: Row, order: tuple[int, ...]) -> bytes:
        """Append one row; `order` is its place in the finished stream. It is safe after `flush`."""
        line = _encode(jsonable(row)) + b"\n"
        self.copy(line, order)
        return line

    def copy(self, line: bytes, order: tuple[int, ...]) -> None:
        """Append a row as it was written before."""
        self._orders.append(_packed(order))
        self._starts.append(self._end)
        self._append(line)

    def note(self, row: Row) -> None:
        """Append a row that only a run which is resumed needs: a finished stream does not have it."""
        self._append(_encode(jsonable(row)) + b"\n")

    def _append(self, line: bytes) -> None:
        self._file.write(line)
        self._end += len(line)

    def flush(self) -> None:
        """Hand over what was written: nothing of it is lost if the process dies now."""
        self._file.flush()

    def finish(self) -> None:
        """Rewrite in canonical order, and only then give the stream its name."""
        target = self.path.with_suffix(".jsonl.new")
        self.flush()
        order = np.argsort(np.array(self._orders, np.uint64), kind="stable")
        with target.open("wb") as out, mmap(self._file.fileno(), 0, access=ACCESS_READ) as written:
            for place in order:
                start = self._starts[place]
                out.write(written[start : written.find(b"\n", start) + 1])
            out.flush()
            os.fsync(out.fileno())
        self._file.close()
        target.replace(self.path)
        self._partial.unlink()

    def abandon(self) -> Path:
        """Close what there is, under its partial name: no finished result is lost."""
        self._file.close()
        return self._partial


_SHIFTS = (60, 24, 0)


def _packed(order: tuple[int, ...]) -> int:
    """Pack up to three numbers, below 2**4, 2**36 and 2**24, into one that sorts as they do."""
    return sum(number << shift for number, shift in zip(order, _SHIFTS, strict=False))


def write_stream(path: Path, rows: Iterable[Row]) -> Row:
    """Write the rows of a finished stream, which are in order already; return the last."""
    stream, row = StreamWriter(path), Row()
    for place, row in enumerate(rows):
        stream.write(row, (0, place))
    stream.finish()
    return row


def read_stream(path: Path, *, partial: bool = False) -> Iterator[Row]:
    """Yield the rows of a stream.

    Raises:
        InvalidFileError: not a stream of a major version we know; or, unless `partial`, one that did
            not end.

    """
    ended, number = False, 0
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE + 1), b""), 1):
                row = _row(path, number, line, partial=partial)
                if row is None:
                    break
                if number == 1:
                    _check_version(path, row)
                _check_row(f"{path}:{number}:1", row, first=number == 1)
                ended = row["type"] == "end" and row.get("complete") is True
                yield row
    except OSError as error:
        raise InvalidFileError(str(path), f"cannot be read: {error.strerror}") from error
    if not ended and not partial:
        raise InvalidFileError(
            f"{path}:{number + 1}:1", "the run did not finish: no `end` line", "run it again"
        )


def _row(path: Path, number: int, line: bytes, *, partial: bool) -> Row | None:
    if len(line) > MAX_LINE:
        raise InvalidFileError(f"{path}:{number}:1", f"a line longer than {MAX_LINE} bytes", _MADE_BY)
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if partial and not line.endswith(b"\n"):
            return None  # the line that was being written when the run died
        raise InvalidFileError(f"{path}:{number}:1", f"not JSON: {error}", _MADE_BY) from error
    if not isinstance(row, dict) or not isinstance(row.get("type"), str):
        raise InvalidFileError(f"{path}:{number}:1", "not an object with a `type`", _MADE_BY)
    return row


def _check_row(where: str, row: Row, *, first: bool) -> None:
    if row["type"] == "run" and not first:
        raise InvalidFileError(where, "a second run begins", "one stream is one run; `merge` joins several")
    if what := mistake(row):
        raise InvalidFileError(where, what, _MADE_BY)


def _check_version(path: Path, row: Row) -> None:
    ours = SCHEMA.partition(".")[0]
    theirs = str(row.get("schema", ""))
    if row["type"] != "run" or theirs.partition(".")[0] != ours:
        raise InvalidFileError(f"{path}:1:1", f"schema {theirs or 'missing'!r}; this reader knows {ours}.x")
