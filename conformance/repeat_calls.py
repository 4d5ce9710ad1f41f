"""The calls of `--repeat N`: asked warm and fresh, counted, and judged once all of a pair are answered."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec
import numpy as np

from conformance.arrays import numpy_dtype
from conformance.compare import Check
from conformance.load import Api, Case
from conformance.pool import Answer, Lost, Pool
from conformance.question import Packed, request_for, resolved_params
from conformance.repeat import KIND, Tally
from conformance.types import Array, Request

if TYPE_CHECKING:
    from conformance.line import Line
    from conformance.oracle import Expectation

PLACE = 999
"""Where its row stands among those of a pair: behind the case's own, before the relations'."""
MOST_IN_MEMORY = 32_000_000


class Store:
    """The first results, in a file: a run has hundreds of thousands."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(MOST_IN_MEMORY)  # noqa: SIM115 - as long as the run

    def put(self, array: Array) -> tuple[int, Array]:
        """Keep an array; return what `get` takes."""
        self._file.seek(0, 2)
        start = self._file.tell()
        self._file.write(array.data)
        return start, Array(array.dtype, array.shape, b"")

    def get(self, kept: tuple[int, Array]) -> Array:
        """Return an array that was kept."""
        start, head = kept
        self._file.seek(start)
        size = int(np.prod(head.shape)) * numpy_dtype(head.dtype).itemsize
        return msgspec.structs.replace(head, data=self._file.read(size))


@dataclass
class Repeats:
    """All repeated calls of a run.

    Attributes:
        times: N of `--repeat N`, at least 2.
        varying: what was seen to vary, also where it is known or accuses nobody: (case, message) by API.

    """

    times: int
    varying: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    _tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    _due: dict[int, tuple[Tally, bool]] = field(default_factory=dict)
    _store: Store = field(default_factory=Store)
    _pairs: int = 0
    _heard: int = 0

    @property
    def rounds(self) -> int:
        """How many rounds of fresh workers there are."""
        return self.times - 1

    def warm(self, line: "Line", case: Case, api: Api, first: Request) -> list[Request]:
        """Return the calls to be made directly after the first one."""
        tally = self._tallies[case.id, api.name] = Tally(case, api)
        self._pairs += 1
        line.owed[case.id, api.name] += 1
        self._due[first.id] = tally, False
        requests = []
        for _ in range(0 if api.backend in case.isolated else self.times - 1):
            line.number += 1
            self._due[line.number] = tally, False
            requests.append(msgspec.structs.replace(first, id=line.number))
        tally.warm = 1 + len(requests)
        return requests

    def ask(self, line: "Line", pool: Pool, case: Case, apis: Sequence[Api]) -> None:
        """Ask a case of each API once more."""
        answers: dict[str, Expectation | None] = {}
        packed = Packed(case)
        for api in apis:
            tally = self._tallies.get((case.id, api.name))
            if tally is None or tally.gone is not None:  # it was not asked before, or cannot be again
                continue
            key = repr(sorted(resolved_params(case, api).items()))
            if key not in answers:
                answers[key] = line.expected(case, api)
            line.number += 1
            self._due[line.number] = tally, True
            line.origins.note(line.number, line.places[case.id, api.name])
            request = request_for(case, api, line.number, answers[key], packed)
            line.submit(pool, api.backend, request, crc32(case.id.encode()))
        line.origins.note(line.number + 1, -1)
        line.take(pool)

    def hear(self, line: "Line", backend: str, number: int, answer: Answer | Lost) -> None:
        """Count an answer, if it is to one of these calls."""
        if number not in self._due:
            return
        tally, fresh = self._due.pop(number)
        tally.hear(answer, self._store, fresh=fresh)
        if tally.calls == tally.warm + self.rounds:
            self._conclude(line, tally)
        if not fresh:
            return
        if isinstance(answer, Lost):
            line.summary.lost[backend] = answer.reason
        self._heard += 1
        if line.progress:
            total = self._pairs * self.rounds
            line.progress(min(self._heard, total), total, line.summary.outcomes)

    def close(self, line: "Line") -> None:
        """Write the verdicts on those whose backend was lost on the way."""
        for tally in list(self._tallies.values()):
            self._conclude(line, tally)

    def _conclude(self, line: "Line", tally: Tally) -> None:
        pair = tally.case.id, tally.api.name
        del self._tallies[pair]
        check = tally.check()
        line.add(tally.case, tally.api, [check], PLACE)
        self.note(check, *pair)

    def note(self, check: Check, case: str, api: str) -> None:
        """Remember what varies."""
        if check.kind == KIND or (check.status == "observed" and check.message.startswith(KIND)):
            self.varying.setdefault(api, []).append((case, check.message.removeprefix(f"{KIND}: ")))

    def told(self) -> list[str]:
        """Say, by API, how many cases vary, with an example."""
        lines = [f"{KIND}: {sum(map(len, self.varying.values()))} calls of {len(self.varying)} APIs"]
        for api, found in sorted(self.varying.items()):
            case, said = min(found)
            lines += [f"  {api}: {len(found)}, as {case}", f"    {said}"]
        return lines
