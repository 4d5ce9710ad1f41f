"""Which cases of which APIs a run takes, and in which part of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import blake2b

from conformance.backends import BackendSpec
from conformance.errors import NothingRanError
from conformance.expand import Keep, everything
from conformance.globs import glob
from conformance.load import Api, Case, Operator
from conformance.plan import Plan


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
            api.backend in self._names
            and (not self.ops or case.op.name in self.ops)
            and (not self.apis or any(glob(p, api.name) for p in self.apis))
            and (not self.keyword or self.keyword in case.id or glob(self.keyword, case.id))
            and (self.shard[1] == 1 or in_shard(case.id, self.shard))
        )

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(spec.name for spec in self.backends)

    def check(self, suite: list[Operator]) -> None:
        """Refuse an empty selection.

        Raises:
            NothingRanError: it is empty.

        """
        if next(self._questions(suite), None) is None:
            raise NothingRanError("the selection matches no case")

    def plan(self, suite: list[Operator]) -> Plan:
        """Return what is to be run, in order of the suite.

        Raises:
            NothingRanError: the selection is empty.

        """
        self.check(suite)
        return Plan(self._questions(suite))

    def _questions(self, suite: list[Operator]) -> Iterator[tuple[Case, list[Api]]]:
        for op in suite:
            for case in op.cases:
                if apis := [api for api in op.apis if self.takes(case, api)]:
                    yield case, apis

    @property
    def whole(self) -> bool:
        """Whether every case of the selected ops and backends is in: only then is an unused entry stale."""
        return not self.apis and not self.keyword and not self.foreign and self.shard[1] == 1


def keeps(shard: tuple[int, int]) -> Keep:
    """Return what tells whether a case id is in a shard; every one is where there is one shard only."""
    return everything if shard[1] == 1 else partial(in_shard, shard=shard)


def in_shard(case: str, shard: tuple[int, int]) -> bool:
    """Whether a case id falls into shard i of n: the same on every machine."""
    return int.from_bytes(blake2b(case.encode(), digest_size=8).digest()) % shard[1] == shard[0] - 1
