"""Whether streams belong together: the same suite, each shard once, no result twice, all of them finished."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from operator import itemgetter
from pathlib import Path
from typing import Any, NoReturn

from conformance.errors import InvalidFileError
from conformance.load import Operator
from conformance.merge_places import Place, Places
from conformance.run import in_shard
from conformance.stream import Row, read_stream

SAME_SUITE = ("name", "version", "commit", "digest", "seed")
SAME_BACKEND = ("framework", "version", "device", "mode", "flags", "numpy")


@dataclass
class Stream:
    """One finished stream, its rows by kind; its results stay in the file, for there may be millions."""

    path: Path
    run: Row = field(default_factory=dict)
    backends: list[Row] = field(default_factory=list)
    claims: list[Row] = field(default_factory=list)
    ledger: list[Row] = field(default_factory=list)
    end: Row = field(default_factory=dict)
    pairs: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """How many cases it has of each backend, op and API."""
    named: set[str] = field(default_factory=set)
    """The ledger entries that its results name."""
    twice: tuple[Row, int] | None = None
    """The first result that another stream has too, and the number of that."""
    unknown: Row | None = None
    """The first result that the suite has no place for."""
    astray: Row | None = None
    """The first result that stands behind those of a later case."""
    last: int = -1
    """The place of the case that was read last."""

    @property
    def names(self) -> list[str]:
        """The backends, in the order of the run."""
        return [str(row["backend"]) for row in self.backends]

    @property
    def shard(self) -> tuple[int, int]:
        """(i, n): it is the i-th of n."""
        i, _, n = str(self.run.get("shard", "1/1")).partition("/")
        if i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n):
            return int(i), int(n)
        raise InvalidFileError(f"{self.path}:1:1", f"shard {self.run['shard']!r} is not I/N")

    @property
    def hits(self) -> set[str]:
        """Ids of the ledger entries that matched something: as the run counted, else as its rows name."""
        if "hits" in self.end:
            return set(self.end["hits"])
        return self.named | {str(row["ledger"]) for row in self.claims if row.get("ledger")}

    def results(self, places: Places) -> Iterator[tuple[Place, Row]]:
        """Read the results once more, each with its place, in the order of the suite; cases are in it."""
        waiting = list[tuple[Place, Row]]()
        for row in read_stream(self.path, partial=True):
            place = places.of(row) if row["type"] == "result" else None
            if place is None:
                continue
            if waiting and place[0] != waiting[-1][0][0]:
                yield from sorted(waiting, key=itemgetter(0))
                waiting.clear()
            waiting.append((place, row))
        yield from sorted(waiting, key=itemgetter(0))

    def take(self, row: Row, places: Places, number: int) -> None:
        """Note whose a result is, the first of its case and API."""
        place = places.of(row)
        if place is None:
            self.unknown = self.unknown or row
            return
        if place[0] < self.last:
            self.astray = self.astray or row
        self.last = place[0]
        before = places.take(place, number)
        if before != number:
            self.pairs[row["backend"], row["op"], row["api"]] += 1
        if before not in (0, number):
            self.twice = self.twice or (row, before)


def read(path: Path, places: Places, number: int) -> Stream:
    """Read a stream that is finished, the `number`-th, counted from 1.

    Raises:
        InvalidFileError: it is not a stream, did not end, or a backend was lost on the way.

    """
    stream = Stream(path)
    lists = {"backend": stream.backends, "claim": stream.claims, "ledger": stream.ledger}
    last = None
    for row in read_stream(path, partial=True):
        kind = row["type"]
        if kind == "result":
            if last != (pair := (row["case"], row["api"])):
                last = pair
                stream.take(row, places, number)
            if row.get("ledger"):
                stream.named.add(str(row["ledger"]))
        elif kind in lists:
            lists[kind].append(row)
        elif kind == "run":
            stream.run = row
        elif kind == "end":
            stream.end = row
    lost = [f"{row['backend']} was lost: {row['lost']}" for row in stream.backends if row.get("lost")]
    if not stream.end:
        _refuse(path, "the run did not finish: no `end` line", "run this shard again")
    if stream.end.get("complete") is not True or lost:
        _refuse(path, f"the run is incomplete: {'; '.join(lost) or 'a backend was lost'}", "run it again")
    _ = stream.shard
    return stream


def check_streams(streams: list[Stream], suite: list[Operator], order: Sequence[Path] = ()) -> None:
    """Refuse streams that do not make one run; `order` has their files as they were read.

    Raises:
        InvalidFileError: naming the streams, and in what they differ or what is missing.

    """
    first = streams[0]
    for one, other in combinations(streams, 2):
        _check_bindings(one, other)
    for other in streams[1:]:
        for key in SAME_SUITE:
            _same(first, other, f"suite.{key}", first.run["suite"].get(key), other.run["suite"].get(key))
        for key in ("oracle", "selection"):
            _same(first, other, key, first.run.get(key), other.run.get(key))
    by_backend: dict[str, list[Stream]] = defaultdict(list)
    for stream in streams:
        for name in stream.names:
            by_backend[name].append(stream)
    for name, parts in by_backend.items():
        _check_environment(name, parts)
        _check_shards(name, parts)
        _check_ops(name, parts, suite)
    _check_places(streams, order)


def _check_bindings(first: Stream, other: Stream) -> None:
    """Refuse two streams that bind the same op to the same backend by different files."""
    ours, theirs = (stream.run["suite"].get("bindings") or {} for stream in (first, other))
    for name in sorted(ours.keys() & theirs.keys()):
        _same(first, other, f"suite.bindings.{name}", ours[name], theirs[name])


def _check_environment(name: str, parts: list[Stream]) -> None:
    first, *others = [(part, row) for part in parts for row in part.backends if row["backend"] == name]
    for part, row in others:
        for key in SAME_BACKEND:
            _same(first[0], part, f"{name}'s {key}", first[1].get(key), row.get(key))


def _check_shards(name: str, parts: list[Stream]) -> None:
    have: dict[int, Stream] = {}
    _, of = parts[0].shard
    for part in parts:
        i, n = part.shard
        _same(parts[0], part, f"the number of {name}'s shards", of, n)
        if i in have:
            _refuse(part.path, f"shard {i}/{n} of {name} is in {have[i].path} too", "name each stream once")
        have[i] = part
    missing = [f"{i}/{of}" for i in range(1, of + 1) if i not in have]
    if missing:
        there = ", ".join(str(have[i].path) for i in sorted(have))
        _refuse(there, f"shard {', '.join(missing)} of {name} is missing", "name the streams of all shards")


def _check_ops(name: str, parts: list[Stream], suite: list[Operator]) -> None:
    """Refuse a shard that ran none of an op's cases while another ran some, unless none fell to it."""
    selection = parts[0].run.get("selection") or {}
    if len(parts) == 1 or selection.get("apis") or selection.get("keyword"):
        return
    ran = {id(part): {op for backend, op, _ in part.pairs if backend == name} for part in parts}
    together = set().union(*ran.values())
    for part in parts:
        for op in suite:
            if op.name not in together - ran[id(part)] or not any(a.backend == name for a in op.apis):
                continue
            if any(in_shard(case, part.shard) for case in op.ids):
                _refuse(part.path, f"different ops: {name} ran {op.name} in another shard, not in this one")


def _check_places(streams: list[Stream], order: Sequence[Path]) -> None:
    for stream in streams:
        if stream.twice is not None:
            row, number = stream.twice
            what = f"duplicate: {row['case']} of {row['api']} is in {order[number - 1]} too"
            _refuse(stream.path, what, "name each stream once")
    for stream in streams:
        if stream.astray is not None:
            what = f"{stream.astray['case']} stands behind later cases of the suite"
            _refuse(stream.path, what, "merge with the case files that the run was made with")


def _same(first: Stream, other: Stream, what: str, ours: Any, theirs: Any) -> None:
    if ours != theirs:
        _refuse(other.path, f"{what} is {theirs!r}, but {ours!r} in {first.path}", "merge runs of one suite")


def _refuse(where: Path | str, what: str, remedy: str = "") -> NoReturn:
    raise InvalidFileError(str(where), what, remedy)
