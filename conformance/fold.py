"""The folded run, `report.json`: what a report, a comparison and a publication need of a stream, and no more.

What conforms is folded to a few figures of three digits; what does not stays as it is. Folding loses
nothing that any page shows, so a site is always made from what was folded, also right after a run.
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from conformance.arrays import FLOATING
from conformance.errors import InvalidFileError
from conformance.schema import BackendRow, ClaimRow, EndRow, LedgerRow, Number, RunRow
from conformance.stream import Row, read_stream
from conformance.stream_rows import FoldedCase, FoldedResult, FoldedRun, too_deep, unlike
from conformance.types import Domain, Outcome, Status

REPORT_SCHEMA = "conformance-report/1.0"
LIMIT = 1 << 30
"""Bytes of the largest report that is read, unpacked: what is larger is a bomb, or not ours."""
SMALL, PACKED = 1 << 25, 64
"""Bytes that any packed report may unpack to, and how often its own size above: ours are 14 times it."""
MANY, DENSE = 1_000_000, 8
"""From so many values on, how few bytes of text they take: ours 19. Unpacked, the shortest take 200."""

_MAGIC = b"\x1f\x8b"
_REMEDY = "a report is what `conformance report --format json` wrote; write it again"


class Result(msgspec.Struct, omit_defaults=True):
    """One check of one API on one case; what is left out has its default."""

    status: Status = "pass"
    kind: str = ""
    outcome: Outcome = "ok"
    message: str = ""
    compared: int = 0
    undecided: int = 0
    mismatched: int = 0
    error_over_bound: Number = None
    max_abs: Number = None
    max_rel: Number = None
    max_ulp: Number = None
    mean_ulp: Number = None
    at_max_ulp: dict[str, Any] | None = None
    worst: list[int] | None = None
    expected: Any = None
    got: Number = None
    bound: Number = None
    bound_terms: dict[str, Number] = {}
    convention: str = ""
    digest: str = ""
    error: dict[str, Any] | None = None
    detail: dict[str, Any] | None = None
    ledger: str | None = None
    declared: str | None = None
    nondeterministic: bool = False


class CaseResults(msgspec.Struct):
    """What every API did on one case: by API, then by check."""

    op: str
    family: str
    domain: Domain
    apis: dict[str, dict[str, Result]]


class Folded(msgspec.Struct):
    """A whole run."""

    schema: Literal["conformance-report/1.0"]
    run: RunRow
    backends: list[BackendRow]
    apis: dict[str, str]
    """The backend of every API."""
    results: dict[str, CaseResults]
    claims: list[ClaimRow]
    ledger: list[LedgerRow]
    end: EndRow | None


DEFAULTS: dict[str, Any] = {
    name: field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    for name, field in ((f.name, f) for f in msgspec.structs.fields(Result))
}
_OF_A_PASS = ("compared", "undecided", "error_over_bound", "max_ulp", "mean_ulp", "convention", "digest")
_OF_EVERY = ("status", "kind", "outcome", "ledger", "declared", "nondeterministic")
_ROUNDED = ("error_over_bound", "max_ulp", "mean_ulp")


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema of `report.json` (2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "conformance report: a folded run",
        **msgspec.json.schema(Folded),
    }


def fold(rows: Iterable[Row]) -> dict[str, Any]:
    """Fold the rows of a stream; the order of cases, APIs and checks is that of the rows."""
    folded: dict[str, Any] = {
        "schema": REPORT_SCHEMA, "run": {}, "backends": [], "apis": {},
        "results": {}, "claims": [], "ledger": [], "end": None,
    }  # fmt: skip
    lists = {"backend": folded["backends"], "claim": folded["claims"], "ledger": folded["ledger"]}
    farthest: dict[tuple[str, ...], tuple[float, dict[str, Any], Any]] = {}
    for row in rows:
        kind = row["type"]
        if kind == "result":
            _fold_result(folded, row, farthest)
        elif kind in lists:
            lists[kind].append(row)
        elif kind in ("run", "end"):
            folded[kind] = row
    for _, kept, at in farthest.values():
        kept["at_max_ulp"] = at
    return folded


def _fold_result(
    folded: dict[str, Any], row: Row, farthest: dict[tuple[str, ...], tuple[float, dict[str, Any], Any]]
) -> None:
    case = row["case"]
    about = {
        "op": row["op"],
        "family": row.get("family", ""),
        "domain": row.get("domain", "defined"),
        "apis": {},
    }
    folded["apis"].setdefault(row["api"], row["backend"])
    kept = _kept(row)
    folded["results"].setdefault(case, about)["apis"].setdefault(row["api"], {})[row["check"]] = kept
    if row["status"] == "pass" and row.get("at_max_ulp"):
        # Of all that conform, an accuracy table shows the element that is furthest off.
        key = (row["op"], row["api"], row["check"].partition(".")[0], _dtype(case), about["domain"])
        ulp = float(row["at_max_ulp"].get("ulp") or 0.0)
        if key not in farthest or ulp > farthest[key][0]:
            farthest[key] = (ulp, kept, row["at_max_ulp"])


def _kept(row: Row) -> dict[str, Any]:
    """Return what is folded of a row: all of a failure, the figures of a pass, the reason of a limit."""
    status = row["status"]
    if status == "pass":
        names: tuple[str, ...] = _OF_A_PASS + _OF_EVERY
        names += ("message",) if row["check"] == "raises" or not row.get("compared") else ()
    elif status == "unsupported":
        names = _OF_EVERY + (() if row.get("declared") else ("message",))
    else:
        names = tuple(DEFAULTS)
    kept = {n: row[n] for n in names if n in row and row[n] is not None and row[n] != DEFAULTS[n]}
    if status == "pass":
        kept |= {n: float(f"{kept[n]:.3g}") for n in _ROUNDED if isinstance(kept.get(n), float)}
    return kept


def _dtype(case: str) -> str:
    arguments = case.partition("[")[2].rstrip("]").split(",")
    return next((name for name in FLOATING if name in arguments), "")


def unfold(folded: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows of a folded run, in the order of its stream."""
    yield {**folded["run"], "type": "run"}
    yield from ({**row, "type": "backend"} for row in folded["backends"])
    backends = folded["apis"]
    for case, about in folded["results"].items():
        common = {"type": "result", "case": case, **{n: about[n] for n in ("op", "family", "domain")}}
        for api, checks in about["apis"].items():
            for check, kept in checks.items():
                whose = {**common, "api": api, "backend": backends[api], "check": check}
                # The second time for what else a later version keeps: it does not say whose this is.
                yield {**whose, **DEFAULTS, **kept, **whose}
    yield from ({**row, "type": "claim"} for row in folded["claims"])
    yield from ({**row, "type": "ledger"} for row in folded["ledger"])
    if folded["end"]:
        yield {**folded["end"], "type": "end"}


def encode(folded: dict[str, Any]) -> bytes:
    """Return `report.json`: the same run gives the same bytes."""
    return msgspec.json.encode(folded) + b"\n"


def write_folded(path: Path, folded: dict[str, Any]) -> None:
    """Write a folded run, compressed where the name ends in `.gz`; without a time in it."""
    data = encode(folded)
    path.write_bytes(gzip.compress(data, 9, mtime=0) if path.suffix == ".gz" else data)


def read_run(path: Path, *, partial: bool = False) -> Iterator[Row]:
    """Yield the rows of a run: a `run.jsonl`, or a folded `report.json`, also compressed.

    Raises:
        InvalidFileError: neither of them, of a major version we do not know, or, unless `partial`, not
            finished.

    """
    if path.exists() and not path.is_file():  # a pipe that nobody writes to would be waited for
        raise InvalidFileError(f"{path}:1:1", "not a file: not a run", "name a run.jsonl or a report.json")
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == _MAGIC
        with gzip.open(path) if compressed else path.open("rb") as file:
            head = file.read(400)
            if not head:
                raise InvalidFileError(f"{path}:1:1", "empty: not a run", "run it again")
            if b'"conformance-report/' not in head.partition(b",")[0]:
                yield from read_stream(path, partial=partial)
                return
            size = path.stat().st_size
            # No more than there can be: memory for as much as is asked for is taken before anything is read.
            most = min(LIMIT, max(SMALL, PACKED * size) if compressed else size)
            rest = file.read(most)
        if what := _too_large(rest, most):
            raise InvalidFileError(f"{path}:1:1", f"{what}: not a report of ours", _REMEDY)
        folded = msgspec.json.decode(head + rest)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidFileError(f"{path}:1:1", f"damaged: {error}", _REMEDY) from error
    except OSError as error:
        raise InvalidFileError(str(path), f"cannot be read: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidFileError(f"{path}:1:1", f"not a folded run: {error}", _REMEDY) from error
    _check_version(path, folded)
    if what := too_deep(folded) or _mistake(folded):
        raise InvalidFileError(f"{path}:1:1", f"not a folded run: {what}", _REMEDY)
    if not partial and not (folded["end"] or {}).get("complete"):
        raise InvalidFileError(f"{path}:1:1", "the run did not finish", "run it again")
    yield from unfold(folded)


def _too_large(rest: bytes, most: int) -> str:
    """Say if there is more than was read, or would be of what is made of it; else nothing."""
    if len(rest) == most:
        return f"more than {most:,} bytes"
    values = sum(map(rest.count, (b",", b"[", b"{")))
    return f"{values:,} values" if values > max(MANY, len(rest) // DENSE) else ""


def _check_version(path: Path, folded: Any) -> None:
    theirs, ours = folded.get("schema") if isinstance(folded, dict) else None, REPORT_SCHEMA
    if isinstance(theirs, str) and theirs.partition(".")[0] != ours.partition(".")[0]:
        known = f"{ours.partition('.')[0]}.x"
        remedy = "read it with the version that wrote it, or write it again with this one"
        raise InvalidFileError(f"{path}:1:1", f"schema {theirs!r}; this reader knows {known}", remedy)


def _mistake(folded: Any) -> str:
    """Say what is of another type than it has to be, or missing, and of which result; else nothing."""
    if said := unlike(folded, FoldedRun):
        return _of_results(folded) or said
    for case, about in folded["results"].items():
        for api in about["apis"]:
            if api not in folded["apis"]:
                return f"{api!r} answered {case!r} and is not among the `apis`"
    return ""


def _of_results(folded: Any) -> str:
    """Say which result is wrong and in what: there are thousands, and msgspec calls each `[...]`."""
    for case, about in _pairs(_pairs(folded).get("results")).items():
        if said := unlike(about, FoldedCase):
            for api, checks in _pairs(_pairs(about).get("apis")).items():
                for check, kept in _pairs(checks).items():
                    if inner := unlike(kept, FoldedResult):
                        return f"{inner}, of {check!r} of {api!r} on {case!r}"
            return f"{said}, of {case!r}"
    return ""


def _pairs(node: Any) -> dict[str, Any]:
    return node if isinstance(node, dict) else {}
