"""Which cases of which APIs a run takes, and in which part of it."""

from dataclasses import dataclass
from hashlib import blake2b

from conformance.backends import BackendSpec
from conformance.errors import NothingRanError
from conformance.globs import glob
from conformance.load import Api, Case, Operator


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

    def plan(self, suite: list[Operator]) -> list[tuple[Case, Api]]:
        """Return what is to be run, in order of the suite.

        Raises:
            NothingRanError: the selection is empty.

        """
        found = [(case, api) for op in suite for case in op.cases for api in op.apis if self.takes(case, api)]
        if not found:
            raise NothingRanError("the selection matches no case")
        return found

    @property
    def whole(self) -> bool:
        """Whether every case of the selected ops and backends is in: only then is an unused entry stale."""
        return not self.apis and not self.keyword and not self.foreign and self.shard[1] == 1


def in_shard(case: str, shard: tuple[int, int]) -> bool:
    """Whether a case id falls into shard i of n: the same on every machine."""
    return int.from_bytes(blake2b(case.encode(), digest_size=8).digest()) % shard[1] == shard[0] - 1
