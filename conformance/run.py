"""The straight line: load → oracle → worker → compare → classify → stream → report."""

import platform
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import numpy as np

import conformance
from conformance.arrays import to_wire
from conformance.cache import OracleCache
from conformance.claims import Claims
from conformance.compare import Check
from conformance.errors import Exit, NothingRanError
from conformance.globs import glob
from conformance.judge import declared_unsupported, judge
from conformance.ledger import Ledger
from conformance.load import Api, Case, Operator, inexpressible, wire_params, wire_tensors
from conformance.oracle import EXTENDED, ORACLE_DTYPE, Exact, Expectation, exact_gradients, exact_output
from conformance.pool import BackendSpec, Lost, Pool, Unsent
from conformance.relate import hold
from conformance.relations import Relation, related, relations
from conformance.second import exact_second
from conformance.stream import StreamWriter
from conformance.suite import suite_commit, suite_digest
from conformance.types import Request, Scalar


@dataclass(frozen=True)
class Selection:
    """What to run: backends, ops, APIs (globs), and a substring or glob of the case id."""

    backends: tuple[BackendSpec, ...]
    ops: tuple[str, ...] = ()
    apis: tuple[str, ...] = ()
    keyword: str = ""
    foreign: bool = False
    """The case files are not those that the ledger was written for."""
    shard: tuple[int, int] = (1, 1)
    """(i, n): of n parts of the cases, by a hash of their ids, the i-th."""

    def takes(self, case: Case, api: Api) -> bool:
        """Whether the selection contains this case of this API."""
        return (
            api.backend in {spec.name for spec in self.backends}
            and (not self.ops or case.op.name in self.ops)
            and (not self.apis or any(glob(p, api.name) for p in self.apis))
            and (not self.keyword or self.keyword in case.id or glob(self.keyword, case.id))
            and in_shard(case.id, self.shard)
        )

    @property
    def whole(self) -> bool:
        """Whether every case of the selected ops and backends is in: only then is an unused entry stale."""
        return not self.apis and not self.keyword and not self.foreign and self.shard[1] == 1


def in_shard(case: str, shard: tuple[int, int]) -> bool:
    """Whether a case id falls into shard i of n: the same on every machine."""
    return int.from_bytes(blake2b(case.encode(), digest_size=8).digest()) % shard[1] == shard[0] - 1


@dataclass
class Summary:
    """A run's counts, and what it exits with."""

    statuses: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    claims: Counter[str] = field(default_factory=Counter)
    stale: list[str] = field(default_factory=list)
    unexpected: list[dict[str, Any]] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def exit_code(self) -> Exit:
        """3 where the harness or the environment failed, 1 where anything was unexpected, else 0."""
        if self.lost or self.statuses["harness"] or self.outcomes["notrun"]:
            return Exit.HARNESS
        if not sum(self.statuses.values()):
            return Exit.NOTHING_RAN
        return Exit.UNEXPECTED if self.unexpected or self.stale else Exit.OK


RELATED = 1000
"""Where the rows of relations stand after those of the case itself."""

Progress = Callable[[int, int, Counter[str]], None]


def expectation(case: Case, api: Api) -> Expectation | None:
    """Evaluate the oracle for a case as this API sees it; None where the definition says nothing."""
    if case.domain == "undefined":
        return None
    params = resolved_params(case, api)
    definition = case.op.definition
    output = exact_output(definition, case.tensors, params, case.dtype)
    wanted = tuple(name for name in case.gradients if name in definition.differentiable)
    ct = case.cotangent(output.low.shape).astype(case.tensors[_first_floating(case)].dtype)
    gradients = exact_gradients(definition, case.tensors, params, case.dtype, ct, wanted) if wanted else {}
    second = {
        name: exact_second(definition, case.tensors, params, case.dtype, ct, name, case.direction(name))
        for name in case.second
    }
    return Expectation(output, gradients, second)


def variant(case: Case, api: Api, name: str) -> Exact:
    """Evaluate a documented variant of the op on a case."""
    params = resolved_params(case, api)
    return exact_output(case.op.definition, case.tensors, params, case.dtype, variant=name)


def resolved_params(case: Case, api: Api) -> dict[str, Scalar]:
    """Return every parameter's value: the case's, else the default that this API documents."""
    documented = {n: api.decl.defaults.get(n, p.default) for n, p in case.op.decl.params.items()}
    resolved = {**documented, **case.params}
    real = {n for n, p in case.op.decl.params.items() if isinstance(p.default, float)}
    return {n: float(v) if n in real and isinstance(v, int) else v for n, v in resolved.items()}


def request_for(case: Case, api: Api, number: int, expected: Expectation | None) -> Request:
    """Build what the worker is asked: inputs, parameters and a cotangent, never an expected value."""
    ct, directions = None, {}
    if expected is not None and case.gradients:
        kind = case.tensors[_first_floating(case)].dtype
        ct = to_wire(case.cotangent(expected.output.low.shape).astype(kind))
        directions = {n: to_wire(case.direction(n).astype(case.tensors[n].dtype)) for n in case.second}
    tensors, params = wire_tensors(case, api), wire_params(case, api)
    return Request(number, api.binding, tensors, params, case.gradients, ct, directions, case.isolated)


def run(
    suite: list[Operator],
    selection: Selection,
    ledger: Ledger,
    out: Path,
    *,
    timeout: float = 30.0,
    progress: Progress | None = None,
    argv: list[str] | None = None,
    oracle: OracleCache | None = None,
) -> Summary:
    """Run a selection and leave `out`/run.jsonl; with `oracle`, its answers are looked up there first.

    Raises:
        NothingRanError: the selection is empty.

    """
    plan = [(case, api) for op in suite for case in op.cases for api in op.apis if selection.takes(case, api)]
    if not plan:
        raise NothingRanError("the selection matches no case")
    stream = StreamWriter(out / "run.jsonl")
    line = _Line(suite, selection, ledger, stream, plan, progress, oracle)
    try:
        with Pool(list(selection.backends), timeout) as pool:
            line.header(pool, argv or sys.argv[1:])
            for case, apis in _by_case(plan):
                line.ask(pool, case, apis)
            line.take(pool, until_idle=True)
            line.close()
    except BaseException:
        stream.abandon()
        raise
    stream.finish()
    if oracle is not None:
        oracle.trim()
    return line.summary


def _by_case(plan: list[tuple[Case, Api]]) -> Iterator[tuple[Case, list[Api]]]:
    case, apis = plan[0][0], list[Api]()
    for each, api in plan:
        if each is not case:
            yield case, apis
            case, apis = each, []
        apis.append(api)
    yield case, apis


@dataclass
class _Family:
    """A case of an API with its relations: the answers to its calls, as far as they have come."""

    case: Case
    api: Api
    relations: list[Relation]
    number: int
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
class _Line:
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
    families: dict[int, _Family] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    number: int = 0
    done: int = 0

    def __post_init__(self) -> None:
        self.claims = Claims(variant)
        heard: set[tuple[str, str]] = set()
        for case, api in self.plan:
            if (case.op.name, api.name) not in heard:
                heard.add((case.op.name, api.name))
                self.claims.expect(case.op, api)

    def header(self, pool: Pool, argv: list[str]) -> None:
        precision = {
            "dtype": "longdouble" if EXTENDED else ORACLE_DTYPE.name,
            "mantissa": int(np.finfo(ORACLE_DTYPE).nmant),
            "extended": EXTENDED,
        }
        suite = {
            "name": "op-conformance",
            "version": conformance.__version__,
            "ops": sorted({case.op.name for case, _ in self.plan}),
            "cases": len({case.id for case, _ in self.plan}),
            "platform": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "numpy": np.__version__,
            "digest": suite_digest(self.suite),
            "commit": suite_commit(),
            "seed": "the name of each case and tensor",
        }
        self.stream.write(
            {
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
            },
            (0,),
        )
        for place, (name, state) in enumerate(pool.environments().items()):
            if isinstance(state, Lost):
                self.summary.lost[name] = state.reason
                row: dict[str, Any] = {
                    "backend": name,
                    "framework": name,
                    "version": "",
                    "lost": state.reason,
                }
            else:
                self.versions[name] = state.version
                row = msgspec.to_builtins(state)
            self.stream.write({"type": "backend", **row}, (1, place))

    def ask(self, pool: Pool, case: Case, apis: list[Api]) -> None:
        """Evaluate the oracle once for all APIs that document the same defaults, and ask each API."""
        answers: dict[str, Expectation | None] = {}
        for api in apis:
            self.number += 1
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
        family = self.families[self.number] = _Family(case, api, found, self.number)
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
                    self.stream.write(row, (2, family.number, RELATED + place))
        if number not in self.asked:
            return
        case, api, expected = self.asked.pop(number)
        if isinstance(answer, Lost):
            self.summary.lost[backend] = answer.reason
        self.summary.seconds[backend] = self.summary.seconds.get(backend, 0.0) + getattr(
            answer, "seconds", 0.0
        )
        checks = judge(case, api, expected, answer)
        self.claims.hear(case, api, expected, answer, checks)
        for place, check in enumerate(checks):
            self.stream.write(self._row(case, api, check), (2, number, place))
        self.done += 1
        if self.progress:
            self.progress(self.done, len(self.plan), self.summary.outcomes)

    def _row(self, case: Case, api: Api, check: Check) -> dict[str, Any]:
        version = self.versions.get(api.backend, "0")
        outcome, entry, why = self.ledger.classify(case, api, check, version)
        self.summary.statuses[check.status] += 1
        self.summary.outcomes[outcome] += 1
        message = f"{check.message} [{why}]" if why else check.message
        declared = declared_unsupported(case, api)
        row = {
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


def _first_floating(case: Case) -> str:
    return next(
        name for name, decl in case.op.decl.tensors.items() if decl.kind == "floating" and name in case.specs
    )
