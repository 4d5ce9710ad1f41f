"""Whether relations hold: from the answers to the source and the follow-up calls to checks. Pure."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from conformance.arrays import from_wire, numpy_dtype, to_wire
from conformance.compare import Check, compare
from conformance.oracle import Exact
from conformance.pool import Answer, Fault, Lost
from conformance.relations import Relation
from conformance.suite import Api, Case
from conformance.types import Array, Death, Raised


def hold(relation: Relation, source: Answer | Lost, follow: list[Answer | Lost]) -> Check:
    """Say whether a relation holds between the answers of the source and the follow-up calls."""
    for answer in (source, *follow):
        if isinstance(answer, Lost):
            return Check(relation.name, "notrun", message=answer.reason)
        if isinstance(answer, Fault):
            return Check(relation.name, "harness", message=answer.message)
    if isinstance(source, Death) or isinstance(getattr(source, "output", None), Raised):
        return Check(relation.name, "observed", message="the case itself gave no result to relate")
    replies = [source, *follow] if relation.source is not None else follow
    return next((c for a in replies if (c := _no_result(relation, a))), None) or _compared(relation, replies)


def _no_result(relation: Relation, answer: Answer | Lost) -> Check | None:
    """Return the verdict on a call that gave nothing to compare."""
    if isinstance(answer, Death):
        error = {"signal": answer.signal, "stderr": answer.stderr}
        return Check(relation.name, answer.status, message=answer.message, error=error)
    output = getattr(answer, "output", None)
    if not isinstance(output, Raised):
        return None
    said = f"{relation.says}; the other call raised {output.exception}: {output.message}"
    return Check(relation.name, "fail", "relation", said[:300])


def _compared(relation: Relation, replies: list[Any]) -> Check:
    if relation.name == "relation.inputs":
        return _verdict(relation, not replies[0].mutated, "it changed one")
    if relation.name == "relation.nonnegative":
        negative = from_wire(replies[0].output) < 0
        return _verdict(relation, not negative.any(), f"{np.count_nonzero(negative)} are")
    if relation.bound is None:
        return _bits(relation, replies)
    return _near(relation, replies[0].output, replies[1].output)


def _verdict(relation: Relation, held: bool, otherwise: str) -> Check:
    if held:
        return Check(relation.name, "pass", compared=1)
    return Check(relation.name, "fail", "relation", f"{relation.says}; {otherwise}")


def _bits(relation: Relation, replies: list[Any]) -> Check:
    one, other = replies
    gradients = {n: (g, other.gradients.get(n)) for n, g in one.gradients.items()}
    pairs = {"output": (one.output, other.output)} | {f"grad.{n}": pair for n, pair in gradients.items()}
    for name, (first, second) in pairs.items():
        if isinstance(first, Array) and first != second:
            return Check(relation.name, "fail", "relation", f"{relation.says}; its {name} differs")
    return Check(relation.name, "pass", compared=max(1, from_wire(one.output).size))


def _near(relation: Relation, one: Array, other: Array) -> Check:
    assert relation.bound is not None
    left = from_wire(one).astype(np.longdouble)
    wanted = (relation.source or (lambda values: values))(left)
    got = relation.follow(from_wire(other).astype(np.longdouble))
    if one.dtype != other.dtype or wanted.shape != got.shape:
        said = f"{one.dtype}{list(wanted.shape)} and {other.dtype}{list(got.shape)}"
        return Check(relation.name, "fail", "relation", f"{relation.says}; got {said}")
    bound = np.broadcast_to(relation.bound.astype(np.longdouble), wanted.shape)
    exact = Exact(wanted, wanted, bound, {}, np.zeros(wanted.shape, bool), one.dtype)
    found = compare(relation.name, to_wire(got.astype(numpy_dtype(one.dtype))), exact)
    if found.status != "fail":
        return found
    said = f"{relation.says}; {found.message.replace('exact', 'by that')}"
    return msgspec.structs.replace(found, kind="relation", message=said)


@dataclass
class Family:
    """A case of an API with its relations: the answers to its calls, as far as they have come."""

    case: Case
    api: Api
    relations: list[Relation]
    number: int
    place: int
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
