"""What is written of a run: each check classified by the ledger, each row in its place, all counted."""

import platform
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import numpy as np

import conformance
from conformance.claims import Claims
from conformance.compare import Check
from conformance.judge import declared_unsupported
from conformance.ledger import Ledger
from conformance.load import Api, Case, Operator
from conformance.oracle import EXTENDED, ORACLE_DTYPE
from conformance.plan import Pair, Plan
from conformance.pool import Lost, Pool
from conformance.question import variant
from conformance.repeat import CHECK, classify, only_repeats
from conformance.repeat_calls import Repeats
from conformance.selection import Selection
from conformance.stream import ASKED, SETTLED, Row, StreamWriter
from conformance.suite import binding_digests, file_digests, suite_commit, suite_digest
from conformance.summary import Summary
from conformance.types import Outcome

RELATED = 1000
"""Where the rows of relations stand after those of the case itself."""


@dataclass
class Record:
    """A run's stream and counts, as far as they have come."""

    suite: list[Operator]
    selection: Selection
    ledger: Ledger
    stream: StreamWriter
    plan: Plan
    repeats: Repeats | None = None
    summary: Summary = field(default_factory=Summary)
    left: Counter[str] = field(default_factory=Counter)
    """How many pairs of a case that was asked have still to be settled."""
    owed: Counter[Pair] = field(default_factory=Counter)
    """How many parts of a pair (its own checks, its relations) have still to be written."""
    failed: set[Pair] = field(default_factory=set)
    """Pairs that did not run or met a fault of ours: a resumed run asks them again."""
    versions: dict[str, str] = field(default_factory=dict)
    head: Row = field(default_factory=dict)
    environments: dict[str, Row] = field(default_factory=dict)
    done: int = 0
    settled: int = 0

    def __post_init__(self) -> None:
        self.claims = Claims(variant)
        self.backends = [spec.name for spec in self.selection.backends]
        self.variants = {spec.name: spec.variant for spec in self.selection.backends}
        self.titles = [f"{name}{self.variants[name]}" for name in self.backends]
        """The backends as they were asked for: in which mode, on which device."""
        self.places = self.plan.places
        for op, api in self.plan.bindings():
            self.claims.expect(op, api)

    def header(self, argv: list[str]) -> None:
        """Write what runs."""
        precision = {
            "dtype": "longdouble" if EXTENDED else ORACLE_DTYPE.name,
            "mantissa": int(np.finfo(ORACLE_DTYPE).nmant),
            "extended": EXTENDED,
        }
        ops = {op.name for op, _ in self.plan.bindings()}
        suite = {
            "name": "op-conformance",
            "version": conformance.__version__,
            "ops": sorted(ops),
            "cases": len(self.plan.cases),
            "platform": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "numpy": np.__version__,
            "digest": suite_digest(self.suite),
            "files": file_digests([op for op in self.suite if op.name in ops]),
            "commit": suite_commit(),
            "seed": "the name of each case and tensor",
        }
        if bindings := binding_digests([op for op in self.suite if op.name in ops]):
            suite["bindings"] = bindings
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
                **({"repeat": self.repeats.times} if self.repeats else {}),
            },
        }
        self.stream.write(self.head, (0,))
        self.stream.note({"type": ASKED, "backends": self.titles})
        self.stream.flush()

    def meet(self, pool: Pool, name: str) -> bool:
        """Write what a backend says of itself, the first time that it is heard of; False: not yet."""
        if name in self.environments:
            return True
        state = pool.environment(name)
        if state is None:
            return False
        if isinstance(state, Lost):
            self.summary.lost[name] = state.reason
            row: Row = {"backend": name, "framework": name, "version": "", "lost": state.reason}
        else:
            self.versions[name] = state.version
            self.summary.titles[name] = f"{name}{self.variants[name]} {state.version}"
            row = msgspec.to_builtins(state)
        self.environments[name] = {"type": "backend", **row}
        self.stream.write(self.environments[name], (1, self.backends.index(name)))
        return True

    def meet_all(self, pool: Pool) -> None:
        """Wait until every backend has said what it is, or that it cannot start."""
        for name in pool.environments():
            self.meet(pool, name)

    def settle(self, case: Case, api: Api) -> None:
        """Note that a part of a pair is written; once all are, nothing of it has to be run again."""
        pair = (case.id, api.name)
        self.owed[pair] -= 1
        if not self.owed[pair]:
            del self.owed[pair]
            self.left[case.id] -= 1
            if not self.left[case.id]:  # its inputs are not needed any more
                del self.left[case.id]
                case.__dict__.pop("tensors", None)
            self.settled += 1
            if pair not in self.failed:
                self.stream.note({"type": SETTLED, "case": case.id, "api": api.name})

    def rows(self, case: Case, api: Api, checks: list[Check]) -> Iterator[Row]:
        """Classify the checks of a pair, and make them lines of the stream."""
        version = self.versions.get(api.backend, "0")
        declared = declared_unsupported(case, api)
        about = {
            "type": "result",
            "case": case.id,
            "op": case.op.name,
            "family": case.op.family,
            "api": api.name,
            "backend": api.backend,
            "domain": case.domain,
        }
        for check in checks:
            outcome, entry, why = self.classify(case, api, check, version)
            self.summary.statuses[check.status] += 1
            self.summary.outcomes[outcome] += 1
            row: Row = {
                **about,
                **msgspec.structs.asdict(check),
                "outcome": outcome,
                "ledger": entry or None,
                "message": f"{check.message} [{why}]" if why else check.message,
                "declared": declared.why if declared else None,
                "nondeterministic": self.ledger.is_nondeterministic(api.backend, entry),
            }
            if outcome in ("regression", "stale"):
                self.summary.surprise(row)
            yield row

    def classify(self, case: Case, api: Api, check: Check, version: str) -> tuple[Outcome, str, str]:
        """Return the outcome of a check, the entry behind it, and why if it is not `ok` or `known`."""
        variant = self.variants[api.backend]
        if check.check == CHECK:
            return classify(self.ledger, case, api, check, version, variant)
        return self.ledger.classify(case, api, check, version, variant)

    def add(self, case: Case, api: Api, checks: list[Check], first: int) -> None:
        """Write a part of a pair that came after its own checks, from that place on."""
        for place, row in enumerate(self.rows(case, api, checks), first):
            self.stream.write(row, (2, self.places[case.id, api.name], place))
        if any(check.status in ("notrun", "harness") for check in checks):
            self.failed.add((case.id, api.name))
        self.settle(case, api)
        self.stream.flush()

    def copy(self, case: Case, api: Api, check: Check, row: Row, place: int) -> None:
        """Take over a row of an earlier part of this run, as the ledger of today has it."""
        if check.check == CHECK and self.repeats is not None:
            check = msgspec.structs.replace(check, message=row["message"], detail=row.get("detail"))
            self.repeats.note(check, case.id, api.name)
        outcome, entry, _ = self.classify(case, api, check, self.versions.get(api.backend, "0"))
        if (outcome, entry or None) != (row["outcome"], row["ledger"]):
            row = {**row, "outcome": outcome, "ledger": entry or None}
        self.summary.statuses[check.status] += 1
        self.summary.outcomes[outcome] += 1
        if outcome in ("regression", "stale"):
            self.summary.surprise(row)
        self.stream.write(row, (2, self.places[case.id, api.name], place))

    def close(self) -> None:
        """Give the claims' verdicts, name the entries that matched nothing, and count."""
        for place, verdict in enumerate(self.claims.verdicts()):
            version = self.versions.get(verdict.api.backend, "0")
            row = verdict.row(verdict.api.decl.doc)
            about = verdict.op.name, verdict.api, verdict.claim.claim, verdict.verdict
            known = self.ledger.classify_claim(*about, version, self.variants[verdict.api.backend])
            if not self.selection.whole and known[0] == "stale":
                known = ("ok", "", "")  # a part of the evidence can confirm what the whole refutes
            row |= {"outcome": known[0], "ledger": known[1] or None}
            self.summary.claims[verdict.verdict] += 1
            self.stream.write(row, (3, place))
            if known[0] in ("regression", "stale"):
                self.summary.surprise(row)
        if self.repeats is None:  # what nobody asked is not unheard of
            entries = (entry for each in self.ledger.entries.values() for entry in each)
            self.ledger.hits.update(entry.id for entry in entries if only_repeats(entry))
        if self.selection.whole:
            ops = {op.name for op, _ in self.plan.bindings()}
            for backend in self.versions:
                for entry in self.ledger.unmatched(backend, ops, self.variants[backend]):
                    self.summary.stale.append(entry.id)
                    row = {"type": "ledger", "ledger": entry.id, "backend": backend, "outcome": "stale"}
                    self.stream.write({**row, "message": "matches nothing"}, (4, len(self.summary.stale)))
        self.stream.write(self.end(complete=not self.summary.lost), (5,))

    def end(self, *, complete: bool) -> Row:
        """Return the last row: what was counted."""
        return {
            "type": "end",
            "complete": complete,
            "counts": dict(sorted(self.summary.statuses.items())),
            "outcomes": dict(sorted(self.summary.outcomes.items())),
            "claims": dict(sorted(self.summary.claims.items())),
            "exit": int(self.summary.exit_code),
            **({} if self.selection.shard[1] == 1 else {"hits": sorted(self.ledger.hits)}),
        }
