"""The plan of a run: of each case the APIs that are asked about it, in the order of the suite.

A pair of them is a number: a run of a million cases has many millions of pairs, and holds none of them.
"""

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import overload

from conformance.suite import Api, Case, Operator

Pair = tuple[str, str]
"""A case's id and an API's name."""
Apis = tuple[Api, ...]


class Plan(Sequence[tuple[Case, Api]]):
    """All pairs of a run; each has its place, by which the lines of the stream are put in order."""

    def __init__(self, questions: Iterable[tuple[Case, Sequence[Api]]] = ()) -> None:
        self.cases: list[Case] = []
        self._apis: list[Apis] = []
        self._firsts, self._end = array("Q"), 0
        self._at: dict[str, int] = {}
        known: dict[tuple[int, ...], Apis] = {}
        for case, apis in questions:
            self._at[case.id] = len(self.cases)
            self.cases.append(case)
            # All cases of an op are mostly asked of the same APIs: that is one object.
            self._apis.append(known.setdefault(tuple(map(id, apis)), tuple(apis)))
            self._firsts.append(self._end)
            self._end += len(apis)

    def __len__(self) -> int:
        """How many pairs there are."""
        return self._end

    @overload
    def __getitem__(self, place: int) -> tuple[Case, Api]: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[tuple[Case, Api]]: ...
    def __getitem__(self, place: int | slice) -> tuple[Case, Api] | Sequence[tuple[Case, Api]]:
        """Return the pair at a place."""
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(self._end))]
        if not 0 <= place < self._end:
            raise IndexError(place)
        at = bisect_right(self._firsts, place) - 1
        return self.cases[at], self._apis[at][place - self._firsts[at]]

    def __iter__(self) -> Iterator[tuple[Case, Api]]:
        """Yield the pairs in order."""
        return ((case, api) for case, apis in self.questions() for api in apis)

    def questions(self, *, backwards: bool = False) -> Iterator[tuple[Case, Apis]]:
        """Yield each case with the APIs that are asked about it, or all of that from behind."""
        if not backwards:
            yield from zip(self.cases, self._apis, strict=True)
            return
        for case, apis in zip(reversed(self.cases), reversed(self._apis), strict=True):
            yield case, apis[::-1]

    def without(self, settled: Container[Pair]) -> "Plan":
        """Return what is left to be asked."""
        if not settled:
            return self
        left = (
            (case, [a for a in apis if (case.id, a.name) not in settled]) for case, apis in self.questions()
        )
        return Plan((case, apis) for case, apis in left if apis)

    def bindings(self) -> list[tuple[Operator, Api]]:
        """Return each API with its op, in the order in which they are first asked."""
        found: dict[Pair, tuple[Operator, Api]] = {}
        last: Apis = ()
        for case, apis in self.questions():
            if apis is not last:
                last = apis
                for api in apis:
                    found.setdefault((case.op.name, api.name), (case.op, api))
        return list(found.values())

    def calls(self) -> Counter[str]:
        """Count what each backend will be asked, its follow-up calls left out."""
        return Counter(api.backend for apis in self._apis for api in apis)

    @property
    def places(self) -> "Places":
        """The places of pairs, by their names."""
        return Places(self)

    def place(self, pair: Pair) -> int | None:
        """Return the place of a pair, None if it is none of these."""
        at = self._at.get(pair[0])
        if at is None:
            return None
        for n, api in enumerate(self._apis[at]):
            if api.name == pair[1]:
                return self._firsts[at] + n
        return None


class Places:
    """The places of a plan's pairs, as a dictionary has them."""

    def __init__(self, plan: Plan) -> None:
        self._place = plan.place

    def __getitem__(self, pair: Pair) -> int:
        """Return a pair's place."""
        place = self._place(pair)
        if place is None:
            raise KeyError(pair)
        return place

    def __contains__(self, pair: Pair) -> bool:
        """Whether there is such a pair."""
        return self._place(pair) is not None
