"""`run.jsonl`: one JSON object a line, flushed as it is known, in canonical order once complete.

While a run lasts, results stand in the order in which backends answered; a run that dies keeps them.
A complete run is rewritten in the order of the cases, so that the same run gives the same bytes.
"""

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from conformance import SCHEMA
from conformance.errors import InvalidFileError

Row = dict[str, Any]


def jsonable(value: Any) -> Any:
    """Prepare a value for JSON: NaN and infinities are strings, tuples lists."""
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(v) for v in value]
    return value


_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_TEXT = ("message", "check", "kind", "convention", "digest")


def unjson(row: Row) -> Row:
    """Turn the strings that stand for NaN and infinities in a row's numbers back into floats."""
    return {k: v if k in _TEXT else _SPECIAL.get(v, v) if isinstance(v, str) else v for k, v in row.items()}


class StreamWriter:
    """Writes a stream: `write` as things happen, `finish` once they all have."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = path.with_suffix(".jsonl.part")
        self._file: IO[bytes] = self._partial.open("w+b")
        self._lines: list[tuple[tuple[int, ...], int, int]] = []

    def write(self, row: Row, order: tuple[int, ...]) -> None:
        """Append one row now; `order` is its place in the finished stream."""
        line = msgspec.json.encode(jsonable(row)) + b"\n"
        self._lines.append((order, self._file.tell(), len(line)))
        self._file.write(line)
        self._file.flush()

    def finish(self) -> None:
        """Rewrite in canonical order, and only then give the stream its name."""
        target = self.path.with_suffix(".jsonl.new")
        with target.open("wb") as out:
            for _, start, length in sorted(self._lines):
                self._file.seek(start)
                out.write(self._file.read(length))
            out.flush()
            os.fsync(out.fileno())
        self._file.close()
        target.replace(self.path)
        self._partial.unlink()

    def abandon(self) -> Path:
        """Close what there is, under its partial name: no finished result is lost."""
        self._file.close()
        return self._partial


def write_stream(path: Path, rows: Iterable[Row]) -> None:
    """Write the rows of a finished stream, which are in order already."""
    stream = StreamWriter(path)
    for place, row in enumerate(rows):
        stream.write(row, (place,))
    stream.finish()


def read_stream(path: Path, *, partial: bool = False) -> Iterator[Row]:
    """Yield the rows of a stream.

    Raises:
        InvalidFileError: not a stream of a major version we know; or, unless `partial`, one that did
            not end.

    """
    ended = False
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                row = _row(path, number, line, partial=partial)
                if row is None:
                    break
                if number == 1:
                    _check_version(path, row)
                ended = row.get("type") == "end" and row.get("complete") is True
                yield row
    except OSError as error:
        raise InvalidFileError(str(path), f"cannot be read: {error.strerror}") from error
    if not ended and not partial:
        raise InvalidFileError(str(path), "the run did not finish: no `end` line", "run it again")


def _row(path: Path, number: int, line: bytes, *, partial: bool) -> Row | None:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if partial and not line.endswith(b"\n"):
            return None  # the line that was being written when the run died
        raise InvalidFileError(f"{path}:{number}:1", f"not JSON: {error}") from error
    if not isinstance(row, dict) or "type" not in row:
        raise InvalidFileError(f"{path}:{number}:1", "not an object with a `type`")
    return row


def _check_version(path: Path, row: Row) -> None:
    ours = SCHEMA.partition(".")[0]
    theirs = str(row.get("schema", ""))
    if row["type"] != "run" or theirs.partition(".")[0] != ours:
        raise InvalidFileError(f"{path}:1:1", f"schema {theirs or 'missing'!r}; this reader knows {ours}.x")
