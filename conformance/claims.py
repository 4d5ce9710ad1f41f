"""Claims: statements of the frameworks' documentation, confirmed or refuted by running them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.adapters.written import NotCompiledError
from conformance.arrays import from_wire
from conformance.compare import Check, compare
from conformance.globs import after_op, any_of, glob
from conformance.load import Api, Case, Operator
from conformance.opfile import ClaimDecl
from conformance.oracle import Exact, Expectation
from conformance.pool import Answer, Fault, Lost, Unsent
from conformance.types import Array, Death, Raised, Reply

if TYPE_CHECKING:
    import re

MOST_EVIDENCE = 8
FORMULA = "formula"
"""How the ids of claims begin that say which formula a document prints."""

Heard = tuple[str, bool, str]
"""A claim's id, whether it holds on one case, and what was seen."""

Variant = Callable[[Case, Api, str], Exact]


@dataclass
class Verdict:
    """What a run found out about one claim of one API."""

    op: Operator
    api: Api
    claim: ClaimDecl
    confirming: list[str] = field(default_factory=list)
    refuting: list[str] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)
    disagrees_with: list[str] = field(default_factory=list)

    def in_order(self, cases: list[str]) -> list[str]:
        """Sort cases as their file has them: answers come from several workers, in no fixed order."""
        places = {case: place for place, case in enumerate(self.op.ids)}
        return sorted(cases, key=lambda case: places.get(case, len(places)))

    @property
    def said(self) -> str:
        """What the first case that refutes the claim did."""
        first = self.in_order(self.refuting)[:1]
        return f"{first[0]}: {self.words.get(first[0], '')}" if first else ""

    @property
    def states(self) -> str:
        """Which formula the document prints: a variant, or, in a claim about the formula, the definition."""
        about_formula = self.claim.claim.startswith(FORMULA) and self.claim.conforms
        return self.claim.variant or ("the definition" if about_formula else "")

    @property
    def verdict(self) -> str:
        """`confirmed`, `refuted`, `untestable` or, where no evidence ran, `notrun`.

        A requirement on the caller that nothing enforces is not refuted: the document promises no error.
        """
        if self.claim.untestable is not None or (self.claim.refused and self.refuting):
            return "untestable"
        if self.refuting:
            return "refuted"
        return "confirmed" if self.confirming else "notrun"

    def _why(self) -> str:
        if self.claim.refused and self.refuting:
            return f"a requirement on the caller; no error is promised, and {self.said}"
        return self.said

    def row(self, source: str) -> dict[str, Any]:
        """Return the claim as a line of the stream."""
        found = self.in_order(self.refuting or self.confirming)
        wrong = self.verdict == "refuted" or self.disagrees_with
        return {
            "type": "claim",
            "op": self.op.name,
            "api": self.api.name,
            "backend": self.api.backend,
            "claim": self.claim.claim,
            "says": self.claim.says,
            "source": source,
            "verdict": self.verdict,
            "why": self.claim.untestable or self._why(),
            "evidence": found[:MOST_EVIDENCE],
            "evidence_count": len(found),
            "kind": "documentation" if wrong else "",
            "states": self.states,
            "disagrees_with": self.disagrees_with,
        }


class Claims:
    """All claims about the APIs of a run; told of every answer, asked for verdicts at the end."""

    def __init__(self, variant: Variant) -> None:
        self._variant = variant
        self._verdicts: dict[tuple[str, str, str], Verdict] = {}
        self._evidence: dict[tuple[str, str], list[tuple[ClaimDecl, re.Pattern[str]]]] = {}

    def expect(self, op: Operator, api: Api) -> None:
        """Take up the claims of an API."""
        self._evidence[op.name, api.name] = [(claim, any_of(claim.cases)) for claim in api.claims]
        for claim in api.claims:
            self._verdicts[op.name, api.name, claim.claim] = Verdict(op, api, claim)

    def hear(
        self,
        case: Case,
        api: Api,
        expected: Expectation | None,
        answer: Answer | Lost | Unsent,
        checks: list[Check],
    ) -> list[Heard]:
        """Hold one answer against every claim that names this case as evidence, and return what each got."""
        if not api.claims or isinstance(answer, Lost | Fault | Unsent) or _eager(answer):
            return []  # none is the backend's word
        name = after_op(case.id)
        heard = [
            (claim.claim, *self._holds(claim, case, api, expected, answer, checks))
            for claim, cases in self._evidence[case.op.name, api.name]
            if cases.fullmatch(name)
        ]
        self.note(case.op.name, api.name, case.id, heard)
        return heard

    def note(self, op: str, api: str, case: str, heard: list[Heard]) -> None:
        """Take down what a case says of claims: in this run, or in one that is resumed."""
        for claim, held, said in heard:
            verdict = self._verdicts[op, api, claim]
            (verdict.confirming if held else verdict.refuting).append(case)
            if not held:
                verdict.words[case] = said

    def verdicts(self) -> list[Verdict]:
        """Return every claim's verdict, in order of op, API and document.

        Documents that print different formulas for one op disagree, even where each code keeps to its own.
        """
        found = list(self._verdicts.values())
        printed = {(v.op.name, v.api.name, v.states) for v in found if v.states}
        for one in (v for v in found if v.claim.variant):
            others = {api for op, api, _ in printed if op == one.op.name and api != one.api.name}
            one.disagrees_with = sorted(
                api for api in others if (one.op.name, api, one.claim.variant) not in printed
            )
        return found

    def _holds(
        self,
        claim: ClaimDecl,
        case: Case,
        api: Api,
        expected: Expectation | None,
        answer: Answer | Lost | Unsent,
        checks: list[Check],
    ) -> tuple[bool, str]:
        if not isinstance(answer, Reply):
            return False, checks[0].message
        output = answer.output
        if claim.raises is not None:
            held = isinstance(output, Raised) and output.category in claim.raises
            return held, _what_happened(output)
        if claim.refused or claim.accepted:
            return isinstance(output, Raised) == claim.refused, _what_happened(output)
        if claim.conforms is not None:
            wanted = [c for c in checks if any(glob(p, c.check) for p in claim.conforms)]
            bad = [c for c in wanted if not _conforms(c)]
            return bool(wanted) and not bad, bad[0].message if bad else "no such check"
        if isinstance(output, Raised):
            return False, _what_happened(output)
        if claim.variant is not None:
            check = compare("output", output, self._variant(case, api, claim.variant))
            return check.status == "pass", check.message
        return _printed(claim.printed, output, expected)


def _eager(answer: Reply | Death) -> bool:
    """Whether the call was to be compiled, and was not: no document speaks of that."""
    output = answer.output if isinstance(answer, Reply) else None
    return isinstance(output, Raised) and output.exception == NotCompiledError.__name__


def _conforms(check: Check) -> bool:
    if check.kind == "mutated_process":
        return True  # what it computed is right: a document that says how does not say what else it does
    return check.status == "pass" or (check.status == "observed" and ": conforms" in check.message)


def _what_happened(output: Array | Raised) -> str:
    if isinstance(output, Raised):
        first = output.message.splitlines()[0] if output.message else ""
        return f"raised {output.exception}: {first[:160]}"
    return f"returned {output.dtype}{list(output.shape)}"


def _printed(printed: Any, output: Array, expected: Expectation | None) -> tuple[bool, str]:
    """Compare to the digits that a document prints: half of the last digit, and the oracle's bound."""
    texts = np.array(printed, dtype=object)
    values = texts.astype(str).astype(np.float64)
    half = np.array([_half_digit(text) for text in texts.reshape(-1)]).reshape(values.shape)
    got = from_wire(output).astype(np.float64)
    if got.shape != values.shape:
        return False, f"printed shape {list(values.shape)}, got {list(got.shape)}"
    bound = 0.0 if expected is None else expected.output.bound.astype(np.float64)
    return bool(np.all(abs(got - values) <= half + bound)), f"printed {printed}, got {got.tolist()}"


def _half_digit(text: Any) -> float:
    """Half a unit of the last printed digit: `0.6666667` is known to 5e-8, `1.5e-07` to 5e-9."""
    mantissa, _, exponent = str(text).lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(0.5 * 10.0 ** (int(exponent or 0) - decimals))
