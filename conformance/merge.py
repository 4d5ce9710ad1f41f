"""Join finished streams, of shards or of backends, to the stream that one run would have left.

What does not belong together is refused, and the message names it: a job that merges the wrong files
must not be green.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, NoReturn

from conformance.adapters import BACKENDS
from conformance.backends import Variant
from conformance.claims import MOST_EVIDENCE, Claims, Verdict
from conformance.errors import InvalidFileError, UsageError
from conformance.ledger import Ledger
from conformance.load import Operator
from conformance.merge_checks import Stream, check_streams, read
from conformance.merge_places import Places
from conformance.run import Summary
from conformance.stream import Row


def merge(paths: list[Path], suite: list[Operator], ledger: Ledger, *, foreign: bool = False) -> list[Row]:
    """Return the rows of the one stream that these make together, as `merged` yields them."""
    return list(merged(paths, suite, ledger, foreign=foreign))


def merged(
    paths: list[Path], suite: list[Operator], ledger: Ledger, *, foreign: bool = False
) -> Iterator[Row]:
    """Yield the rows of the one stream that these make together; one result of each stream is in memory.

    `suite` and `ledger` are those of the runs, of the suite the ids of cases; `foreign` says that the ledger
    was not written for the suite.

    Raises:
        InvalidFileError: a stream is unfinished, or does not belong to the others; the message says why.
        UsageError: no stream is named.

    """
    if not paths:
        raise UsageError("no stream to merge")
    places = Places(suite)
    streams = sorted((read(path, places, n) for n, path in enumerate(paths, 1)), key=_place)
    check_streams(streams, suite, paths)
    return _Merge(streams, suite, Ledger(ledger.entries, wheres=ledger.wheres), foreign, places).rows()


def _place(stream: Stream) -> tuple[list[int], list[str], int]:
    """Order streams by backend, then by shard, so that the order of the files does not matter."""
    known = list(BACKENDS)
    ranks = [known.index(name) if name in known else len(known) for name in stream.names]
    return ranks, stream.names, stream.shard[0]


@dataclass
class _Merge:
    """Streams that belong together, and what they are read against."""

    streams: list[Stream]
    suite: list[Operator]
    ledger: Ledger
    foreign: bool
    places: Places

    def __post_init__(self) -> None:
        """Count what was run of each API; the results stay where they are."""
        self.summary = Summary()
        self.backends = {str(row["backend"]): row for s in self.streams for row in s.backends}
        self.pairs = sum((stream.pairs for stream in self.streams), Counter[tuple[str, str, str]]())
        for stream in self.streams:
            if stream.unknown is not None:
                _unknown(stream.unknown)

    def rows(self) -> Iterator[Row]:
        """Return the rows in the order of a run; what is wrong with them is said before the first."""
        whole = self._whole()
        self.ledger.hits.update(name for stream in self.streams for name in stream.hits)
        return self._rows(whole, list(self._claims(whole)))

    def _rows(self, whole: set[str], claims: list[Row]) -> Iterator[Row]:
        yield self._header()
        yield from self.backends.values()
        # Each is in order, and the checks of one call stay as they stand in their stream.
        parts = (stream.results(self.places) for stream in self.streams)
        for _, row in heapq.merge(*parts, key=itemgetter(0)):
            self.summary.statuses[row["status"]] += 1
            self.summary.outcomes[row["outcome"]] += 1
            if row["outcome"] in ("regression", "stale"):
                self.summary.surprise(row)
            yield row
        yield from claims
        yield from self._stale(whole)
        yield self._end()

    def _header(self) -> Row:
        runs = [stream.run for stream in self.streams]
        suite = dict(runs[0]["suite"])
        suite["ops"] = sorted({name for run in runs for name in run["suite"].get("ops", ())})
        digests = {op: digest for run in runs for op, digest in run["suite"].get("files", {}).items()}
        suite["files"] = dict(sorted(digests.items()))
        if bound := {name: of for run in runs for name, of in (run["suite"].get("bindings") or {}).items()}:
            suite["bindings"] = dict(sorted(bound.items()))
        suite["cases"] = self.places.used
        for key in ("platform", "python", "numpy"):
            if key in suite:
                suite[key] = " / ".join(dict.fromkeys(str(run["suite"].get(key, "")) for run in runs))
        argv = ["merge", *(str(stream.path) for stream in self.streams)]
        return runs[0] | {"suite": suite, "argv": argv, "shard": "1/1"}

    def _whole(self) -> set[str]:
        """Return the sharded backends that ran every case of their ops: their unused entries are stale."""
        if self.foreign:
            return set()
        found = set()
        for name in (name for stream in self.streams if stream.shard[1] > 1 for name in stream.names):
            ran = {(op, api): n for (backend, op, api), n in self.pairs.items() if backend == name}
            ops = {op for op, _ in ran}
            due = {
                (op.name, api.name): len(op.ids)
                for op in self.suite
                for api in op.apis
                if op.name in ops and api.backend == name
            }
            if all(ran.get(pair) == n for pair, n in due.items()):
                found.add(name)
        return found

    def _claims(self, whole: set[str]) -> Iterator[Row]:
        sharded = {name for stream in self.streams if stream.shard[1] > 1 for name in stream.names}
        told: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
        for row in (row for stream in self.streams for row in stream.claims):
            told[row["op"], row["api"], row["claim"]].append(row)
        heard = {(op, api) for _, op, api in self.pairs}
        claims = Claims(_no_variant)
        for op in self.suite:
            for api in op.apis:
                if (op.name, api.name) in heard:
                    claims.expect(op, api)
        verdicts = claims.verdicts()
        for verdict in verdicts:
            parts = told[verdict.op.name, verdict.api.name, verdict.claim.claim]
            if not parts:
                self._untold(verdict)
            row = self._verdict(verdict, parts)
            backend = verdict.api.backend
            if backend in sharded:
                row |= self._reclassified(verdict, whole=backend in whole)
            else:
                row |= {"outcome": parts[0]["outcome"], "ledger": parts[0].get("ledger")}
            self.summary.claims[row["verdict"]] += 1
            if row["outcome"] in ("regression", "stale"):
                self.summary.surprise(row)
            yield row

    def _verdict(self, verdict: Verdict, parts: list[Row]) -> Row:
        """Join what the shards found: one that refutes decides, as one case of a whole run would."""
        ranks = ("refuted", "untestable", "confirmed", "notrun")
        decisive = min((row["verdict"] for row in parts), key=ranks.index)
        found = [row for row in parts if row["verdict"] == decisive]
        evidence = sorted(
            {case for row in found for case in row["evidence"]}, key=self.places.cases.__getitem__
        )
        refuting = decisive == "refuted" or (verdict.claim.refused and decisive == "untestable")
        (verdict.refuting if refuting else verdict.confirming).extend(evidence)
        # The reason quotes the first case that shows it.
        first = min(found, key=lambda row: self.places.cases[row["evidence"][0]] if row["evidence"] else -1)
        count = sum(int(row.get("evidence_count", len(row["evidence"]))) for row in found)
        return verdict.row(verdict.api.decl.doc) | {
            "why": first.get("why", ""),
            "evidence": evidence[:MOST_EVIDENCE],
            "evidence_count": count,
        }

    def _reclassified(self, verdict: Verdict, *, whole: bool) -> dict[str, Any]:
        """Classify a claim by all of its evidence: a shard lets a part pass that confirms what is refuted."""
        version = str(self.backends[verdict.api.backend]["version"])
        variant = Variant.of(self.backends[verdict.api.backend])
        about = verdict.op.name, verdict.api, verdict.claim.claim, verdict.verdict
        outcome, entry, _ = self.ledger.classify_claim(*about, version, variant)
        if outcome == "stale" and not whole:
            outcome, entry = "ok", ""
        return {"outcome": outcome, "ledger": entry or None}

    def _untold(self, verdict: Verdict) -> NoReturn:
        backend = verdict.api.backend
        path = next(stream.path for stream in self.streams if backend in stream.names)
        raise InvalidFileError(
            str(path),
            f"no verdict on the claim {verdict.claim.claim!r} of {verdict.api.name}",
            "merge with the case files that the run was made with",
        )

    def _stale(self, whole: set[str]) -> Iterator[Row]:
        """Yield entries that matched nothing: what whole runs said, and what no shard of a whole matched."""
        ops = {op for _, op, _ in self.pairs}
        said = {
            row["ledger"]: row for stream in self.streams if stream.shard[1] == 1 for row in stream.ledger
        }
        for backend in self.backends:
            rows = [row for row in said.values() if row["backend"] == backend]
            if backend in whole:
                rows = [
                    {
                        "type": "ledger",
                        "ledger": entry.id,
                        "backend": backend,
                        "outcome": "stale",
                        "message": "matches nothing",
                    }
                    for entry in self.ledger.unmatched(backend, ops, Variant.of(self.backends[backend]))
                ]
            self.summary.stale.extend(str(row["ledger"]) for row in rows)
            yield from rows

    def _end(self) -> Row:
        summary = self.summary
        return {
            "type": "end",
            "complete": True,
            "counts": dict(sorted(summary.statuses.items())),
            "outcomes": dict(sorted(summary.outcomes.items())),
            "claims": dict(sorted(summary.claims.items())),
            "exit": int(summary.exit_code),
        }


def _unknown(row: Row) -> NoReturn:
    raise UsageError(
        f"the suite has no {row['case']} of {row['api']}, which a stream has: "
        "merge with the case files that the run was made with"
    )


def _no_variant(*_: Any) -> NoReturn:
    raise AssertionError("a merge evaluates nothing")
