"""What earlier runs wrote of a pair is written again where all its answers have the same bits; see `memo`."""

from dataclasses import dataclass, field
from typing import Any

from conformance.child import Call, body
from conformance.compare import Check
from conformance.hold import Hold
from conformance.judge import check_names
from conformance.load import Api, Case
from conformance.memo import Kept, Memo, Page, hashed
from conformance.record import RELATED, Pair, Record
from conformance.stream import HEARD
from conformance.types import Reply, Request


@dataclass
class Recalled:
    """A pair that is asked again what an earlier run asked: the answers, as far as they have come."""

    case: Case
    api: Api
    kept: Kept
    numbers: range
    answers: dict[int, Any] = field(default_factory=dict)

    def confirmed(self, version: str) -> bool:
        """Whether the same version of the framework gave the same bits in all calls.

        And whether every check that is due was written then: what lacks one is judged, never passed over.
        """
        given = [self.answers[number] for number in self.numbers]
        own = sum(at < RELATED for at, _ in self.kept.lines)
        written = own, len(self.kept.lines) - own
        due = len(check_names(self.case, self.api)), self.kept.related
        if version != self.kept.version or written != due:
            return False
        if not self.kept.answers:
            return True  # no call: the API cannot express the case
        return all(isinstance(each, Reply) for each in given) and self.kept.answers == [*map(hashed, given)]


@dataclass
class Keeping:
    """A pair that is asked for the first time: what will be kept of it."""

    page: Page
    kept: Kept
    numbers: range
    hashes: dict[int, bytes] = field(default_factory=dict)
    """Of the answers; one that is no reply has none, and then nothing is kept."""


@dataclass
class Remembering(Record):
    """A record that knows what earlier runs wrote."""

    memo: Memo | None = None
    hold: Hold | None = None
    """Where workers read large tensors; None: they are sent."""
    pages: dict[str, Page] = field(default_factory=dict)
    recalled: dict[int, Recalled] = field(default_factory=dict)
    keeping: dict[int, Keeping] = field(default_factory=dict)
    kept: dict[Pair, Keeping] = field(default_factory=dict)

    def open(self, case: Case) -> None:
        """Look up what is kept of a case that will be asked now."""
        if self.memo is not None and self.hold is not None and self.repeats is None:
            self.pages[case.id] = self.memo.page(case)

    def recall(self, case: Case, api: Api, first: int) -> list[Call] | None:
        """Return the calls of a pair that an earlier run wrote, numbered from `first`; None: it did not."""
        page = self.pages.get(case.id)
        if page is None or (kept := page.pairs.get(api.name)) is None:
            return None
        assert self.hold is not None
        if not page.put_back(kept, self.hold):
            return None
        pair = Recalled(case, api, kept, range(first, first + max(1, len(kept.requests))))
        self.recalled.update(dict.fromkeys(pair.numbers, pair))
        alone = api.backend in case.isolated
        # No size of what is held: it is on disk alone, where for a new pair it is at hand here as well.
        return [
            Call.numbered(number, body, isolated=alone)
            for number, body in zip(pair.numbers, kept.requests, strict=False)
        ]

    def keep(self, case: Case, api: Api, requests: list[Request], first: int, related: int = 0) -> list[Call]:
        """Encode the calls of a pair, and take down what will become of it and of its relations."""
        page, hold = self.pages.get(case.id), self.hold
        if hold is None:
            return [Call.of(request) for request in requests]
        requests = [hold.request(request) for request in requests]
        # What must be sent whole would be kept whole, once for each API.
        if page is None or (not hold.shared and any(map(hold.sent, requests))):
            return [Call.of(request, hold.size(request.held)) for request in requests]
        assert self.memo is not None
        for request in requests:
            self.memo.grown |= page.take_over(request, hold)
        bodies = [body(request) for request in requests]
        kept = Kept("", bodies, [request.held for request in requests], related=related)
        found = Keeping(page, kept, range(first, first + len(requests)))
        self.kept[case.id, api.name] = found
        self.keeping.update(dict.fromkeys(found.numbers, found))
        return [
            Call.numbered(request.id, each, isolated=request.isolated, held=hold.size(request.held))
            for request, each in zip(requests, bodies, strict=True)
        ]

    def answered(self, number: int, answer: Any) -> None:
        """Take down the bits of an answer."""
        keeping = self.keeping.pop(number, None)
        if keeping is not None and isinstance(answer, Reply):
            keeping.hashes[number] = hashed(answer)

    def put(self, case: Case, api: Api, checks: list[Check], first: int = 0) -> None:
        """Write the rows of a pair from a place on."""
        keeping, place = self.kept.get((case.id, api.name)), self.places[case.id, api.name]
        with self.ledger.apart() as hits:
            for at, row in enumerate(self.rows(case, api, checks), first):
                line = self.stream.write(row, (2, place, at))
                if keeping is not None:
                    keeping.kept.lines.append((at, line))
                    keeping.kept.results.append((row["status"], row["outcome"]))
        if keeping is not None:
            keeping.kept.hits += hits

    def again(self, pair: Recalled) -> None:
        """Write what an earlier run wrote of a pair."""
        case, api, kept = pair.case, pair.api, pair.kept
        place = self.places[case.id, api.name]
        for (at, line), (status, outcome) in zip(kept.lines, kept.results, strict=True):
            self.stream.copy(line, (2, place, at))
            self.summary.statuses[status] += 1
            self.summary.outcomes[outcome] += 1
        self.ledger.hits.update(kept.hits)
        self.heard(case, api, kept.heard)
        self.settle(case, api)

    def heard(self, case: Case, api: Api, claims: list[tuple[str, bool, str]]) -> None:
        """Write what claims got from a pair, for a run that takes this one up, and for later ones."""
        if (keeping := self.kept.get((case.id, api.name))) is not None:
            keeping.kept.heard = claims
        if claims:
            self.stream.note({"type": HEARD, "case": case.id, "api": api.name, "claims": claims})

    def settle(self, case: Case, api: Api) -> None:
        """Once all of a pair is written, keep it; once all of a case is, leave it for the next run."""
        super().settle(case, api)
        pair = case.id, api.name
        if pair not in self.owed and (keeping := self.kept.pop(pair, None)) is not None:
            self._conclude(api, keeping)
        if case.id not in self.left and (page := self.pages.pop(case.id, None)) is not None:
            assert self.memo is not None
            self.memo.grown |= page.write()

    def _conclude(self, api: Api, keeping: Keeping) -> None:
        kept = keeping.kept
        answers = [keeping.hashes.get(number) for number in keeping.numbers]
        expected = all(outcome in ("ok", "known") for _, outcome in kept.results)
        version = self.versions.get(api.backend)  # None: it did not start
        if expected and version is not None and all(each is not None for each in answers):
            kept.version, kept.answers = version, [each for each in answers if each]
            keeping.page.keep(api.name, kept)
