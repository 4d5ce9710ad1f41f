"""Where a case of an API stands in a suite, and which stream has it: numbers, for there may be millions."""

from array import array

from conformance.load import Operator
from conformance.stream import Row

Place = tuple[int, int]
"""That of a case in the suite, and of an API in its op."""


class Places:
    """The places of a suite, and of each the number of the stream that has taken it."""

    def __init__(self, suite: list[Operator]) -> None:
        ids = (name for op in suite for name in op.ids)
        self.cases = {name: place for place, name in enumerate(ids)}
        self.apis = {(op.name, api.name): n for op in suite for n, api in enumerate(op.apis)}
        self._most = max((len(op.apis) for op in suite), default=0)
        self._taken = array("I", bytes(4 * self._most * len(self.cases)))

    def of(self, row: Row) -> Place | None:
        """Return the place of a result, None if the suite has none for it."""
        case, api = self.cases.get(row["case"]), self.apis.get((row["op"], row["api"]))
        return None if case is None or api is None else (case, api)

    def take(self, place: Place, number: int) -> int:
        """Take a place for a stream, counted from 1; return the number of that which has it already, or 0."""
        at = place[0] * self._most + place[1]
        before, self._taken[at] = self._taken[at], number
        return before

    @property
    def used(self) -> int:
        """How many cases have a result."""
        most, taken = self._most, self._taken
        return sum(any(taken[at : at + most]) for at in range(0, len(taken), most or 1))
