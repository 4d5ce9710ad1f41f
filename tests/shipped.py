"""The shipped suite as tests need it: loaded once a process, and a spread-out sample of its cases."""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from hashlib import blake2b
from itertools import chain, islice, zip_longest

from conformance.load import Api, Case, Operator, inexpressible, load_suite

SEEDS = ("hinge_embedding_loss", "multi_margin_loss", "multilabel_margin_loss")
"""The ops that every case is looked at of; of the others a sample is enough."""


@cache
def suite() -> tuple[Operator, ...]:
    """Load the shipped case files; a test that changes an op loads one of its own."""
    return tuple(load_suite())


def able(case: Case) -> Api:
    """Return the first API that a case can be put to."""
    return next(api for api in case.op.apis if not inexpressible(case, api))


def spread(op: Operator, most: int, *domains: str) -> list[Case]:
    """Choose small cases of an op, at most so many, the same in every run.

    Each domain and dtype has its turn, and a name comes again only when the others are through.
    """
    return list(islice((case for case in _in_turn(op, domains) if _small(case)), most))


def _in_turn(op: Operator, domains: tuple[str, ...]) -> Iterator[Case]:
    kinds: dict[tuple[str, str], list[Case]] = defaultdict(list)
    for case in sorted(op.cases, key=_place):
        if case.domain in domains and not all(inexpressible(case, api) for api in op.apis):
            kinds[case.domain, case.dtype].append(case)
    mixed = [case for case in chain(*zip_longest(*kinds.values())) if case is not None]
    rounds: dict[str, int] = defaultdict(int)
    order = []
    for case in mixed:
        order.append(rounds[case.name])
        rounds[case.name] += 1
    return (case for _, case in sorted(zip(order, mixed, strict=True), key=lambda pair: pair[0]))


def _place(case: Case) -> bytes:
    return blake2b(case.id.encode(), digest_size=8).digest()


def _small(case: Case) -> bool:
    return max(tensor.size for tensor in case.tensors.values()) < 1e5
