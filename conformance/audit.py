"""`conformance audit`: how many planted faults would the cases catch, and which would get through.

Each fault of each op is put into an honest backend's replies, one case after the other, and judged on
the same path as a framework's. The first check that fails catches it. A fault that no check catches is
a survivor: a case is missing.
"""

import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import msgspec
import numpy as np

from conformance.arrays import to_wire
from conformance.claims import Claims
from conformance.compare import Check
from conformance.errors import HarnessError
from conformance.faults import Fault, plant
from conformance.judge import declared_unsupported, judge, promised
from conformance.load import Api, Case, Operator, evidence, inexpressible
from conformance.opfile import ClaimDecl
from conformance.run import expectation, variant
from conformance.trial import Call, Trial
from conformance.types import Category, Phase, Raised, Reply

MOST_ELEMENTS = 100_000
"""Larger cases are left out, for time: what only they could catch counts as a survivor."""

LEAST_CAUGHT = 0.99
"""The share of planted faults that the cases of an op have to catch."""

WIDTH = 80
HEADINGS = ("op", "caught / planted", "impossible", "cases")
FINE = ("pass", "observed", "unsupported")


class Survivor(msgspec.Struct, frozen=True):
    """A fault that the cases let through.

    Attributes:
        fault: its name.
        accepted: why no case can catch it, as the op file says; empty where it says nothing.
        why: `never exercised` if it changed no bit of any reply; else it `survived` every comparison.
        changed: how many replies it changed.
        closest: of those, the case in which it came nearest to its bound, and how near.

    """

    fault: str
    why: Literal["never exercised", "survived"]
    changed: int = 0
    closest: str = ""
    error_over_bound: float = 0.0
    accepted: str = ""


class Score(msgspec.Struct, frozen=True):
    """What an audit says of one op.

    Attributes:
        op: its name.
        planted, caught: how many faults were tried, and how many a check caught.
        survivors: the others.
        impossible: the faults that this op cannot have, each with the reason: not among the planted.
        cases: how many cases were used.
        left_out: the ids of those that were too large, or that no API claims.
        stale: faults that the op file calls uncatchable and that were caught.

    """

    op: str
    planted: int
    caught: int
    survivors: tuple[Survivor, ...]
    impossible: tuple[tuple[str, str], ...]
    cases: int
    left_out: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether 99 % are caught and the reason for each of the others is known."""
        explained = all(survivor.accepted for survivor in self.survivors)
        return explained and not self.stale and self.caught >= LEAST_CAUGHT * self.planted


def audit(operators: list[Operator], most_elements: int = MOST_ELEMENTS) -> list[Score]:
    """Plant every fault of every op and count those that its cases catch.

    Raises:
        HarnessError: an honest backend does not pass: nothing said about faults would mean anything.

    """
    return [_audit(op, most_elements) for op in operators]


def _audit(op: Operator, most_elements: int) -> Score:
    trials, left_out = _trials(op, most_elements)
    if not trials:  # no API can be asked anything here, so no case can catch anything
        return Score(op.name, 0, 0, (), (), 0, left_out)
    for trial in trials:
        _require_fine(trial.case, judge(trial.case, trial.api, trial.expected, trial.honest_reply))
    asked = {trial.case.id for trial in trials}
    small = [case for case in op.cases if _elements(case) <= most_elements]
    outside = [Call(case, op.apis[0]) for case in small if case.id not in asked]
    tally = _Tally()
    for fault in plant(op, trials, outside):
        if fault.impossible:
            tally.impossible.append((fault.name, fault.impossible))
        else:
            tally.count(_hunt(fault, trials))
    for api, claim in _promises(op):
        _break(op, api, claim, tally)
    caught = tally.planted - len(tally.survivors)
    reasons, equivalent = op.decl.survivors, op.decl.equivalent
    alike = [survivor.fault for survivor in tally.survivors if survivor.fault in equivalent]
    survivors = tuple(
        msgspec.structs.replace(survivor, accepted=reasons.get(survivor.fault, ""))
        for survivor in tally.survivors
        if survivor.fault not in equivalent
    )
    stale = {*reasons, *equivalent} - {survivor.fault for survivor in survivors} - {*alike}
    impossible = (*tally.impossible, *((fault, equivalent[fault]) for fault in alike))
    planted = tally.planted - len(alike)
    names = tuple(sorted(stale))
    return Score(op.name, planted, caught, survivors, impossible, len(trials), left_out, names)


@dataclass
class _Tally:
    planted: int = 0
    survivors: list[Survivor] = field(default_factory=list)
    impossible: list[tuple[str, str]] = field(default_factory=list)

    def count(self, survivor: Survivor | None) -> None:
        self.planted += 1
        if survivor is not None:
            self.survivors.append(survivor)


def _trials(op: Operator, most_elements: int) -> tuple[list[Trial], tuple[str, ...]]:
    """Pair every case that has an answer with an API that claims it, the small cases first."""
    trials, left_out = [], []
    for case in op.cases:
        if case.domain == "undefined":
            continue
        able = (api for api in op.apis if not inexpressible(case, api))
        api = next((api for api in able if declared_unsupported(case, api) is None), None)
        expected = expectation(case, api) if api and _elements(case) <= most_elements else None
        if api is None or expected is None:
            left_out.append(case.id)
        else:
            trials.append(Trial(case, api, expected))
    return sorted(trials, key=lambda trial: _elements(trial.case)), tuple(left_out)


def _elements(case: Case) -> int:
    return max(tensor.size for tensor in case.tensors.values())


def _require_fine(case: Case, checks: list[Check]) -> None:
    for check in checks:
        if check.status not in FINE:
            what = f"an honest backend's {check.check} is a {check.status}"
            raise HarnessError(f"{case.id}: {what}: {check.message}")


def _hunt(fault: Fault, trials: list[Trial]) -> Survivor | None:
    """Put a fault into one case after the other until a check fails; return it if none does."""
    changed, closest, nearest = 0, "", 0.0
    for trial in trials:
        reply = fault.reply(trial)
        if reply is None or reply == trial.honest_reply:
            continue
        changed += 1
        checks = judge(trial.case, trial.api, trial.expected, reply)
        if any(check.status not in FINE for check in checks):
            return None
        ratio = max((check.error_over_bound or 0.0 for check in checks), default=0.0)
        if ratio > nearest or not closest:
            closest, nearest = trial.case.id, ratio
    why: Literal["never exercised", "survived"] = "survived" if changed else "never exercised"
    return Survivor(fault.name, why, changed, closest, nearest)


# -- promised errors ----------------------------------------------------------------------------------


def _promises(op: Operator) -> Iterator[tuple[Api, ClaimDecl]]:
    """Yield the claims that promise an error on a case without an answer of its own."""
    for api in op.apis:
        for claim in api.claims:
            if claim.raises and any(case.domain == "undefined" for case in _evidence(op, claim)):
                yield api, claim


def _held_to(op: Operator, api: Api, claim: ClaimDecl) -> list[Case]:
    """Return the undefined cases on which a promise is judged, once an API that keeps it has passed them."""
    undefined = [case for case in _evidence(op, claim) if case.domain == "undefined"]
    sent = [case for case in undefined if not inexpressible(case, api)]
    cases = [case for case in sent if declared_unsupported(case, api) is None]
    for case in cases:
        checks, refuted = _hold(case, api, claim, _raise("call", (claim.raises or ["value"])[0]))
        _require_fine(case, checks)
        if refuted:
            raise HarnessError(f"{case.id}: a kept promise refutes {claim.claim!r} of {api.name}")
    return cases


def _evidence(op: Operator, claim: ClaimDecl) -> list[Case]:
    return [case for case in op.cases if any(evidence(pattern, case) for pattern in claim.cases)]


def _break(op: Operator, api: Api, claim: ClaimDecl, tally: _Tally) -> None:
    """Break a promise in every way."""
    what = f"{api.name}: promised error {claim.claim!r}"
    cases = _held_to(op, api, claim)
    if not cases:
        tally.impossible.append((what, "a promise about what is declared unsupported is not judged"))
        return
    for how, broken in _breaches(cases[0], api, claim).items():
        caught = any(_is_caught(case, api, claim, broken) for case in cases)
        tally.count(None if caught else Survivor(f"{what} {how}", "survived"))


def _breaches(case: Case, api: Api, claim: ClaimDecl) -> dict[str, Reply]:
    number = to_wire(np.ones((), np.float32))
    category = (claim.raises or ["value"])[0]
    broken = {
        "not raised": Reply(0, number),
        "raised only when read": _raise("read", category),
        "raised only by the gradient": Reply(0, number, {"input": _raise("backward", category).output}),
        "raised as an internal error": _raise("call", "internal"),
    }
    others = [c for c in get_args(Category) if c != "internal" and c not in promised(case, api)]
    return broken | ({"raised in another category": _raise("call", others[0])} if others else {})


def _raise(phase: Phase, category: Category) -> Reply:
    return Reply(0, Raised(phase, category, "PlantedError", "planted"))


def _hold(case: Case, api: Api, claim: ClaimDecl, reply: Reply) -> tuple[list[Check], bool]:
    """Judge a reply to an undefined case, and say whether it refutes the claim, as a run would."""
    checks = judge(case, api, None, reply)
    alone = replace(api, claims=(claim,))
    claims = Claims(variant)
    claims.expect(case.op, alone)
    claims.hear(case, alone, None, reply, checks)
    return checks, claims.verdicts()[0].verdict == "refuted"


def _is_caught(case: Case, api: Api, claim: ClaimDecl, reply: Reply) -> bool:
    checks, refuted = _hold(case, api, claim, reply)
    return refuted or any(check.status not in FINE for check in checks)


# -- for people ---------------------------------------------------------------------------------------


def render(scores: list[Score]) -> str:
    """Return caught / planted per op, each survivor with what it means, in 80 columns."""
    width = max([2, *(len(score.op) for score in scores)])
    rows = [
        (score.op, f"{score.caught} / {score.planted}", str(len(score.impossible)), str(score.cases))
        for score in scores
    ]
    lines = [f"{op:<{width}}  {caught:>16}  {no:>10}  {n:>5}" for op, caught, no, n in (HEADINGS, *rows)]
    for score in scores:
        lines += _reasons(score)
        if score.left_out:
            lines += ["", *_wrapped(f"{score.op}: left out of the audit: {', '.join(score.left_out)}")]
        if score.survivors:
            lines += ["", *_wrapped(f"{score.op}: survivors, each a missing case or with its reason")]
        for survivor in score.survivors:
            why = f": {survivor.accepted}" if survivor.accepted else ""
            lines += _wrapped(f"  {survivor.fault} ({_meaning(survivor)}){why}")
        for fault in score.stale:
            lines += ["", *_wrapped(f"{score.op}: said to be uncatchable, but caught: {fault}")]
    return "\n".join(lines)


def _reasons(score: Score) -> list[str]:
    """Say why faults are impossible, and how many for each reason."""
    counted = Counter(reason for _, reason in score.impossible)
    if not counted:
        return []
    said = "; ".join(f"{reason} ({number})" for reason, number in counted.items())
    return ["", *_wrapped(f"{score.op}: impossible: {said}")]


def _meaning(survivor: Survivor) -> str:
    if survivor.why == "never exercised":
        return "never exercised: no case where it would change a bit"
    if not survivor.closest:
        return "survived"
    near = f"{survivor.error_over_bound:.2g} of the bound in {survivor.closest}"
    return f"survived {survivor.changed} cases; nearest: {near}"


def _wrapped(text: str) -> list[str]:
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(text.lstrip(), WIDTH, initial_indent=indent, subsequent_indent=indent + "    ")
