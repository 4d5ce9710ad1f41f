"""The line that every case travels: ask the oracle and the workers, judge and classify what they answer."""

import platform
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import msgspec
import numpy as np

import conformance
from conformance.cache import OracleCache
from conformance.claims import Claims
from conformance.compare import Check
from conformance.judge import declared_unsupported, judge
from conformance.ledger import Ledger
from conformance.load import Api, Case, Operator, inexpressible
from conformance.oracle import EXTENDED, ORACLE_DTYPE, Expectation
from conformance.pool import Lost, Pool, Unsent
from conformance.question import expectation, request_for, resolved_params, variant
from conformance.relate import hold
from conformance.relations import Relation, related, relations
from conformance.selection import Selection
from conformance.stream import HEARD, SETTLED, Row, StreamWriter
from conformance.suite import file_digests, suite_commit, suite_digest
from conformance.summary import Progress, Summary
from conformance.types import Request

Pair = tuple[str, str]
"""A case's id and an API's name."""

RELATED = 1000
"""Where the rows of relations stand after those of the case itself."""


@dataclass
class _Family:
    """A case of an API with its relations: the answers to its calls, as far as they have come."""

    case: Case
    api: Api
    relations: list[Relation]
    number: int
    place: int
    follow: list[tuple[int, ...]] = field(default_factory=list)
    answers: dict[int, Any] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every call has its answer."""
        return all(n in self.answers for numbers in [(self.number,), *self.follow] for n in numbers)

    def checks(self) -> list[Check]:
        """Judge the relations."""
        source = self.answers[self.number]
        pairs = zip(self.relations, self.follow, strict=True)
        return [hold(relation, source, [self.answers[n] for n in numbers]) for relation, numbers in pairs]


@dataclass
class Line:
    """The state of one run between asking and answering."""

    suite: list[Operator]
    selection: Selection
    ledger: Ledger
    stream: StreamWriter
    plan: list[tuple[Case, Api]]
    progress: Progress | None
    oracle: OracleCache | None = None
    summary: Summary = field(default_factory=Summary)
    asked: dict[int, tuple[Case, Api, Expectation | None]] = field(default_factory=dict)
    places: dict[Pair, int] = field(default_factory=dict)
    owed: Counter[Pair] = field(default_factory=Counter)
    """How many parts of a pair (its own checks, its relations) have still to be written."""
    failed: set[Pair] = field(default_factory=set)
    """Pairs that did not run or met a fault of ours: a resumed run asks them again."""
    families: dict[int, _Family] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    head: Row = field(default_factory=dict)
    environments: dict[str, Row] = field(default_factory=dict)
    number: int = 0
    done: int = 0

    def __post_init__(self) -> None:
        self.claims = Claims(variant)
        self.places = {(case.id, api.name): place for place, (case, api) in enumerate(self.plan)}
        heard: set[tuple[str, str]] = set()
        for case, api in self.plan:
            if (case.op.name, api.name) not in heard:
                heard.add((case.op.name, api.name))
                self.claims.expect(case.op, api)

    def header(self, pool: Pool, argv: list[str]) -> None:
        """Write what runs, and what each backend says of itself."""
        precision = {
            "dtype": "longdouble" if EXTENDED else ORACLE_DTYPE.name,
            "mantissa": int(np.finfo(ORACLE_DTYPE).nmant),
            "extended": EXTENDED,
        }
        ops = {case.op.name for case, _ in self.plan}
        suite = {
            "name": "op-conformance",
            "version": conformance.__version__,
            "ops": sorted(ops),
            "cases": len({case.id for case, _ in self.plan}),
            "platform": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "numpy": np.__version__,
            "digest": suite_digest(self.suite),
            "files": file_digests([op for op in self.suite if op.name in ops]),
            "commit": suite_commit(),
            "seed": "the name of each case and tensor",
        }
        self.head = {
            "type": "run",
            "schema": conformance.SCHEMA,
            "suite": suite,
            "oracle": precision,
            "argv": argv,
            "shard": "{}/{}".format(*self.selection.shard),
            "selection": {
                "ops": sorted(self.selection.ops),
                "apis": sorted(self.selection.apis),
                "keyword": self.selection.keyword,
                "foreign": self.selection.foreign,
            },
        }
        self.stream.write(self.head, (0,))
        for place, (name, state) in enumerate(pool.environments().items()):
            if isinstance(state, Lost):
                self.summary.lost[name] = state.reason
                row: Row = {
                    "backend": name,
                    "framework": name,
                    "version": "",
                    "lost": state.reason,
                }
            else:
                self.versions[name] = state.version
                row = msgspec.to_builtins(state)
            self.environments[name] = {"type": "backend", **row}
            self.stream.write(self.environments[name], (1, place))

    def ask(self, pool: Pool, case: Case, apis: list[Api]) -> None:
        """Evaluate the oracle once for all APIs that document the same defaults, and ask each API."""
        answers: dict[str, Expectation | None] = {}
        for api in apis:
            self.number += 1
            self.owed[case.id, api.name] += 1
            if why := inexpressible(case, api):
                self.asked[self.number] = (case, api, None)
                self.hear(api.backend, self.number, Unsent(why))
                continue
            key = repr(sorted(resolved_params(case, api).items()))
            if key not in answers:
                answers[key] = self.expected(case, api)
            self.asked[self.number] = (case, api, answers[key])
            expected = answers[key]
            requests = [request_for(case, api, self.number, expected)]
            if expected is not None and related(case, api):
                requests += self.follow_up(case, api, expected)
            # The same case is always in the same lane: some kernels depend on what ran before.
            lane = crc32(case.id.encode())
            for request in requests:
                self.submit(pool, api.backend, request, lane)
        self.take(pool)

    def expected(self, case: Case, api: Api) -> Expectation | None:
        """Evaluate the oracle, or look up what it said before."""
        if self.oracle is None:
            return expectation(case, api)
        return self.oracle.answer(case, resolved_params(case, api), lambda: expectation(case, api))

    def submit(self, pool: Pool, backend: str, request: Request, lane: int) -> None:
        """Hand a request to its backend, or hear at once that the backend is gone."""
        if reason := pool.lost(backend):
            self.hear(backend, request.id, Lost(reason))
        else:
            pool.submit(backend, request, lane)

    def follow_up(self, case: Case, api: Api, expected: Expectation) -> list[Request]:
        """Return the follow-up calls of the case that is being asked."""
        found = relations(case, api, expected, resolved_params(case, api))
        place = self.places[case.id, api.name]
        family = self.families[self.number] = _Family(case, api, found, self.number, place)
        self.owed[case.id, api.name] += 1
        requests = []
        for relation in found:
            numbers = []
            for other, through in relation.calls:
                self.number += 1
                self.families[self.number] = family
                numbers.append(self.number)
                same = other is case and through is api
                requests.append(request_for(other, through, self.number, expected if same else None))
            family.follow.append(tuple(numbers))
        return requests

    def take(self, pool: Pool, *, until_idle: bool = False) -> None:
        """Hear what has been answered; with `until_idle`, wait for all of it."""
        for backend, number, answer in pool.answers(until_idle=until_idle):
            self.hear(backend, number, answer)

    def hear(self, backend: str, number: int, answer: Any) -> None:
        """Compare, classify, stream one answer."""
        family = self.families.pop(number, None)
        if family is not None:
            family.answers[number] = answer
            if family.complete:
                for place, check in enumerate(family.checks()):
                    row = self._row(family.case, family.api, check)
                    self.stream.write(row, (2, family.place, RELATED + place))
                self.settle(family.case, family.api)
        if number not in self.asked:
            return
        case, api, expected = self.asked.pop(number)
        if isinstance(answer, Lost):
            self.summary.lost[backend] = answer.reason
        self.summary.seconds[backend] = self.summary.seconds.get(backend, 0.0) + getattr(
            answer, "seconds", 0.0
        )
        checks = judge(case, api, expected, answer)
        heard = self.claims.hear(case, api, expected, answer, checks)
        for place, check in enumerate(checks):
            self.stream.write(self._row(case, api, check), (2, self.places[case.id, api.name], place))
        if heard:
            self.stream.note({"type": HEARD, "case": case.id, "api": api.name, "claims": heard})
        if any(check.status in ("notrun", "harness") for check in checks):
            self.failed.add((case.id, api.name))
        self.settle(case, api)
        self.done += 1
        if self.progress:
            self.progress(self.done, len(self.plan), self.summary.outcomes)

    def settle(self, case: Case, api: Api) -> None:
        """Note that a part of a pair is written; once all are, nothing of it has to be run again."""
        pair = (case.id, api.name)
        self.owed[pair] -= 1
        if not self.owed[pair]:
            del self.owed[pair]
            if pair not in self.failed:
                self.stream.note({"type": SETTLED, "case": case.id, "api": api.name})

    def _row(self, case: Case, api: Api, check: Check) -> dict[str, Any]:
        version = self.versions.get(api.backend, "0")
        outcome, entry, why = self.ledger.classify(case, api, check, version)
        self.summary.statuses[check.status] += 1
        self.summary.outcomes[outcome] += 1
        message = f"{check.message} [{why}]" if why else check.message
        declared = declared_unsupported(case, api)
        row: Row = {
            "type": "result",
            "case": case.id,
            "op": case.op.name,
            "family": case.op.family,
            "api": api.name,
            "backend": api.backend,
            "domain": case.domain,
            **msgspec.to_builtins(check),
            "outcome": outcome,
            "ledger": entry or None,
            "message": message,
            "declared": declared.why if declared else None,
            "nondeterministic": self.ledger.is_nondeterministic(api.backend, entry),
        }
        if outcome not in ("ok", "known"):
            self.summary.unexpected.append(row)
        return row

    def copy(self, case: Case, api: Api, check: Check, row: Row, place: int) -> None:
        """Take over a row of an earlier part of this run, as the ledger of today has it."""
        outcome, entry, _ = self.ledger.classify(case, api, check, self.versions.get(api.backend, "0"))
        if (outcome, entry or None) != (row["outcome"], row["ledger"]):
            row = {**row, "outcome": outcome, "ledger": entry or None}
        self.summary.statuses[check.status] += 1
        self.summary.outcomes[outcome] += 1
        if outcome not in ("ok", "known"):
            self.summary.unexpected.append(row)
        self.stream.write(row, (2, self.places[case.id, api.name], place))

    def close(self) -> None:
        """Give the claims' verdicts, name the entries that matched nothing, and count."""
        for place, verdict in enumerate(self.claims.verdicts()):
            version = self.versions.get(verdict.api.backend, "0")
            row = verdict.row(verdict.api.decl.doc)
            known = self.ledger.classify_claim(
                verdict.op.name, verdict.api, verdict.claim.claim, verdict.verdict, version
            )
            if not self.selection.whole and known[0] == "stale":
                known = ("ok", "", "")  # a part of the evidence can confirm what the whole refutes
            row |= {"outcome": known[0], "ledger": known[1] or None}
            self.summary.claims[verdict.verdict] += 1
            self.stream.write(row, (3, place))
            if known[0] in ("regression", "stale"):
                self.summary.unexpected.append(row)
        if self.selection.whole:
            ops = {case.op.name for case, _ in self.plan}
            for backend in self.versions:
                for entry in self.ledger.unmatched(backend, ops):
                    self.summary.stale.append(entry.id)
                    row = {"type": "ledger", "ledger": entry.id, "backend": backend, "outcome": "stale"}
                    self.stream.write({**row, "message": "matches nothing"}, (4, len(self.summary.stale)))
        complete = not self.summary.lost
        counts = dict(sorted(self.summary.statuses.items()))
        self.stream.write(
            {
                "type": "end",
                "complete": complete,
                "counts": counts,
                "outcomes": dict(sorted(self.summary.outcomes.items())),
                "claims": dict(sorted(self.summary.claims.items())),
                "exit": int(self.summary.exit_code),
                **({} if self.selection.shard[1] == 1 else {"hits": sorted(self.ledger.hits)}),
            },
            (5,),
        )
