"""The line that every case travels: ask the oracle and the workers, judge and classify what they answer."""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from conformance.cache import OracleCache
from conformance.child import Call
from conformance.errors import HarnessError
from conformance.judge import judge
from conformance.load import Api, Case, inexpressible
from conformance.memory import Watermark
from conformance.oracle import Exact, Expectation
from conformance.origins import Origins, attached, told
from conformance.pool import Lost, Pool, Unsent
from conformance.question import Packed, expectation, request_for, resolved_params
from conformance.record import RELATED
from conformance.relate import Family
from conformance.relations import exactly, related, relations
from conformance.remember import Recalled, Remembering
from conformance.summary import Progress
from conformance.types import Request, Scalar


@dataclass
class Line(Remembering):
    """The state of one run between asking and answering."""

    progress: Progress | None = None
    oracle: OracleCache | None = None
    asked: dict[int, tuple[Case, Api, Expectation | None]] = field(default_factory=dict)
    families: dict[int, Family] = field(default_factory=dict)
    origins: Origins = field(default_factory=Origins)
    unsent: dict[str, deque[tuple[int, Unsent]]] = field(default_factory=lambda: defaultdict(deque))
    memory: Watermark = field(default_factory=Watermark)
    number: int = 0

    def ask(self, pool: Pool, case: Case, apis: list[Api]) -> None:
        """Ask each API about a case."""
        self.open(case)
        question = Question(case)
        # The same case is always in the same lane: some kernels depend on what ran before.
        lane = crc32(case.id.encode())
        for api in apis:
            first = self.number + 1
            self.origins.note(first, self.places[case.id, api.name])
            self.owed[case.id, api.name] += 1
            calls = self.recall(case, api, first)
            why = inexpressible(case, api) if not calls else ""
            if why:
                self.unsent[api.backend].append((first, Unsent(why)))
            if calls is not None:
                self.number += max(1, len(calls))
            elif why:
                self.number += 1
                self.asked[first] = (case, api, None)
                self.keep(case, api, [], first)
            else:
                calls = self.calls(question, api, first)
            for call in calls or ():
                self.submit(pool, api.backend, call, lane)
        self.origins.note(self.number + 1, -1)
        self.take(pool)

    def calls(self, question: "Question", api: Api, first: int) -> list[Call]:
        """Return all calls of a pair that no earlier run is known to have made, numbered from `first`."""
        requests = self.requests(question, api)
        related = len(self.families[first].relations) if first in self.families else 0
        return self.keep(question.case, api, requests, first, related)

    def requests(self, question: "Question", api: Api) -> list[Request]:
        """Evaluate the oracle once for all APIs that document the same defaults; return all calls of one."""
        case, packed = question.case, question.packed
        key = repr(sorted(resolved_params(case, api).items()))
        if key not in question.answers:
            question.answers[key] = self.expected(case, api)
        expected = question.answers[key]
        self.number += 1
        self.asked[self.number] = (case, api, expected)
        requests = [request_for(case, api, self.number, expected, packed)]
        if expected is not None and related(case, api):
            requests += self.follow_up(case, api, expected, packed)
        if self.repeats is not None:
            requests[1:1] = self.repeats.warm(self, case, api, requests[0])
        return requests

    def expected(self, case: Case, api: Api) -> Expectation | None:
        """Evaluate the oracle, or look up what it said before."""
        if self.oracle is None:
            return expectation(case, api)
        return self.oracle.answer(case, resolved_params(case, api), lambda: expectation(case, api))

    def exactly(self, case: Case, params: dict[str, Scalar]) -> Exact:
        """Evaluate the oracle for the output of a follow-up call, or look it up."""
        if self.oracle is None:
            return exactly(case, params)
        found = self.oracle.answer(case, params, lambda: Expectation(exactly(case, params), {}))
        assert found is not None
        return found.output

    def submit(self, pool: Pool, backend: str, request: Request | Call, lane: int) -> None:
        """Hand a request to its backend, or hear at once that the backend is gone."""
        if reason := pool.lost(backend):
            self.hear(backend, request.id, Lost(reason))
        else:
            pool.submit(backend, request, lane)

    def follow_up(self, case: Case, api: Api, expected: Expectation, packed: Packed) -> list[Request]:
        """Return the follow-up calls of the case that is being asked."""
        found = relations(case, api, expected, resolved_params(case, api), self.exactly)
        place = self.places[case.id, api.name]
        family = self.families[self.number] = Family(case, api, found, self.number, place)
        self.owed[case.id, api.name] += 1
        requests = []
        for relation in found:
            numbers = []
            for other, through in relation.calls:
                self.number += 1
                self.families[self.number] = family
                numbers.append(self.number)
                same = other is case and through is api
                requests.append(
                    request_for(
                        other,
                        through,
                        self.number,
                        expected if same else None,
                        packed if other is case else None,
                    )
                )
            family.follow.append(tuple(numbers))
        return requests

    def take(self, pool: Pool, *, until_idle: bool = False) -> None:
        """Hear what has been answered; with `until_idle`, wait for all of it."""
        for backend, number, answer in pool.answers(until_idle=until_idle):
            if not self.meet(pool, backend):
                raise HarnessError(f"{backend} answered before it said what it is")
            self.hear(backend, number, answer)
        if until_idle:
            self.meet_all(pool)
        for backend, waiting in self.unsent.items():
            if waiting and self.meet(pool, backend):  # its version decides what the ledger says
                while waiting:
                    self.hear(backend, *waiting.popleft())
        self.memory.look()

    def hear(self, backend: str, number: int, answer: Any) -> None:
        """Compare, classify, stream one answer."""
        if (pair := self.recalled.pop(number, None)) is not None:
            pair.answers[number] = answer
            if len(pair.answers) == len(pair.numbers):
                self._compare_with_kept(backend, pair)
            return
        self.answered(number, answer)
        if after := self.origins.names(answer, self.plan):
            answer = told(answer, after)
        if self.repeats is not None:
            self.repeats.hear(self, backend, number, answer)
        self._relate(number, answer)
        if number not in self.asked:
            return
        case, api, expected = self.asked.pop(number)
        if isinstance(answer, Lost):
            self.summary.lost[backend] = answer.reason
        checks = judge(case, api, expected, answer)
        if after:
            checks = attached(checks, after)
        heard = self.claims.hear(case, api, expected, answer, checks)
        self.put(case, api, checks)
        self.heard(case, api, heard)
        if any(check.status in ("notrun", "harness") for check in checks):
            self.failed.add((case.id, api.name))
        self.settle(case, api)
        self._count(backend, answer)

    def _count(self, backend: str, answer: Any) -> None:
        """Hand over what is written of an answer, and say how far the run has come."""
        seconds = getattr(answer, "seconds", 0.0)
        self.summary.seconds[backend] = self.summary.seconds.get(backend, 0.0) + seconds
        self.stream.flush()
        self.done += 1
        if self.progress:
            self.progress(self.done, len(self.plan), self.summary.outcomes)

    def _compare_with_kept(self, backend: str, pair: Recalled) -> None:
        """Write a pair as an earlier run did if its answers are the same; else judge them."""
        case, api = pair.case, pair.api
        first = pair.numbers.start
        if pair.confirmed(self.versions.get(backend, "")):
            self.claims.note(case.op.name, api.name, case.id, pair.kept.heard)
            self.again(pair)
            self._count(backend, pair.answers[first])
            return
        if isinstance(pair.answers[first], Unsent):
            self.asked[first] = (case, api, None)
            self.keep(case, api, [], first)
        else:
            latest, self.number = self.number, first - 1
            self.calls(Question(case), api, first)
            self.number = latest
        for number in pair.numbers:
            self.hear(backend, number, pair.answers[number])

    def _relate(self, number: int, answer: Any) -> None:
        """Judge the relations of a case once all of its calls are answered."""
        family = self.families.pop(number, None)
        if family is None:
            return
        family.answers[number] = answer
        if family.complete:
            self.put(family.case, family.api, family.checks(), RELATED)
            self.settle(family.case, family.api)
            self.stream.flush()


class Question:
    """A case that is being asked: packed once, and the oracle's answers by parameters."""

    def __init__(self, case: Case) -> None:
        self.case, self.packed = case, Packed(case)
        self.answers: dict[str, Expectation | None] = {}
