"""Claims: every way to verify a statement, confirmed by the answer it describes and refuted by another."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from conformance.arrays import numpy_dtype, to_wire
from conformance.claims import MOST_EVIDENCE, Claims, Verdict
from conformance.judge import judge
from conformance.load import Case, Operator, load_operator
from conformance.pool import Fault, Lost, Unsent
from conformance.run import expectation, variant
from conformance.types import Array, Category, Death, Raised, Reply

API = "torch.nn.functional.multi_margin_loss"
TEXT = """
op: multi_margin_loss
family: loss
summary: what is claimed
tensors:
  input: {kind: floating}
  target: {kind: label}
  weight: {kind: floating, optional: true}
params:
  p: {default: 1}
  margin: {default: 1.0}
  reduction: {default: mean}
apis:
  torch.nn.functional.multi_margin_loss:
    doc: https://example.org/doc
    call: [input, target, weight, p, margin, reduction]
cases:
  - case: plain
    why: One row.
    inputs: {input: [[0.1, 0.2, 0.4, 0.8]], target: [3], weight: [1, 1, 1, 2]}
    params: {p: 2}
    matrix: {reduction: [none, mean, sum]}
  - case: bad
    why: A label that does not exist.
    domain: undefined
    inputs: {input: [[0.1, 0.2]], target: [7]}
  - case: many
    why: More evidence than is listed.
    inputs: {input: [[0.5, 0.25]], target: [0]}
    matrix: {margin: [1.0, 2.0, 3.0, 4.0, 5.0], reduction: [none, sum]}
claims:
  torch.nn.functional.multi_margin_loss:
    - {CLAIM}
"""


def load(claim: str) -> Operator:
    """Load the op file above with one claim."""
    text = TEXT.replace("{CLAIM}", "{claim: it, says: so, " + claim + "}")
    return load_operator(Path("claims.yaml"), text)


def verdict(claim: str, answer: Any, only: str = "") -> Verdict:
    """Give that answer (or what it makes of a case) to every case, and take the verdict."""
    op = load(claim)
    claims = Claims(variant)
    claims.expect(op, op.apis[0])
    for case in op.cases:
        if only not in case.id:
            continue
        expected = expectation(case, op.apis[0])
        given = answer(case) if callable(answer) else answer
        checks = judge(case, op.apis[0], expected, given)
        claims.hear(case, op.apis[0], expected, given, checks)
    (found,) = claims.verdicts()
    return found


def computed(case: Case, name: str = "", *, scale: float = 1.0, **gradients: Any) -> Reply:
    """Reply with the definition's (or a variant's) output and gradients; zeros where there are none."""
    expected = expectation(case, case.op.apis[0])
    if expected is None:
        return Reply(1, numbers(0.0), {})
    exact = variant(case, case.op.apis[0], name) if name else expected.output
    pulled: dict[str, Array | Raised | None] = {
        n: to_wire(e.low.astype(np.float32)) for n, e in expected.gradients.items()
    }
    return Reply(1, to_wire((exact.low * scale).astype(np.float32)), pulled | gradients)


def numbers(*values: float, dtype: str = "float32") -> Array:
    """Make an array of rank 1."""
    return to_wire(np.array(values, numpy_dtype(dtype)))


def scalar(value: float) -> Reply:
    """Reply with a scalar."""
    return Reply(1, to_wire(np.array(value, np.float32)))


def refused(category: Category) -> Reply:
    """Reply with an exception."""
    return Reply(1, Raised("call", category, f"{category.title()}Error", "label out of range\nat kernel.cc"))


def half(case: Case) -> Reply:
    """Reply with half of everything."""
    return computed(case, scale=0.5)


def altering(reply: Reply) -> Reply:
    """Reply the same, and leave the process altered: no document of a formula speaks of that."""
    return replace(reply, altered=("flush-to-zero",))


def mutating(reply: Reply) -> Reply:
    """Reply the same, and leave the input changed: the formula no longer holds of what the caller has."""
    return replace(reply, mutated=("input",))


WEIGHTED = 'cases: ["plain*"], variant: weight_inside_power'


@pytest.mark.parametrize(
    ("claim", "answer", "expected"),
    [
        ('cases: ["plain*"], conforms: [output]', computed, "confirmed"),
        ('cases: ["plain*"], conforms: [output]', half, "refuted"),
        ('cases: ["plain*"], conforms: [output]', lambda c: computed(c, input=None), "confirmed"),
        ('cases: ["plain*"], conforms: ["grad.*"]', half, "confirmed"),
        ('cases: ["plain*"], conforms: ["grad.*"]', lambda c: computed(c, input=None), "refuted"),
        ('cases: ["plain*"], conforms: ["*"]', lambda c: computed(c, weight=None), "refuted"),
        ('cases: ["plain*"], conforms: [output]', lambda c: altering(computed(c)), "confirmed"),
        ('cases: ["plain*"], conforms: [output]', lambda c: altering(half(c)), "refuted"),
        ('cases: ["plain*"], conforms: [output]', lambda c: mutating(computed(c)), "refuted"),
        ('cases: ["plain*"], conforms: [grad.nothing]', computed, "refuted"),
        ('cases: ["plain*"], conforms: [output]', refused("value"), "refuted"),
        ('cases: ["bad*"], raises: [value, index]', refused("index"), "confirmed"),
        ('cases: ["bad*"], raises: [value, index]', refused("type"), "refuted"),
        ('cases: ["bad*"], raises: [value]', refused("internal"), "refuted"),
        ('cases: ["bad*"], raises: [value]', scalar(0.0), "refuted"),
        ('cases: ["bad*"], raises: [value]', Death("crash", "died: SIGSEGV"), "refuted"),
        ('cases: ["bad*"], refused: true', refused("runtime"), "confirmed"),
        ('cases: ["bad*"], refused: true', scalar(0.0), "untestable"),
        ('cases: ["bad*"], refused: true', Death("crash", "died: SIGSEGV"), "untestable"),
        ('cases: ["bad*"], accepted: true', scalar(0.0), "confirmed"),
        ('cases: ["bad*"], accepted: true', refused("value"), "refuted"),
        ('cases: ["bad*"], accepted: true', Death("timeout", "no answer"), "refuted"),
        (WEIGHTED, lambda c: computed(c, "weight_inside_power"), "confirmed"),
        (WEIGHTED, computed, "refuted"),
        (WEIGHTED, refused("value"), "refuted"),
        ('cases: ["plain*mean]"], printed: "0.305"', scalar(0.305), "confirmed"),
        ('cases: ["plain*mean]"], printed: "0.305"', scalar(0.306), "refuted"),
        ('cases: ["plain*mean]"], printed: "0.305"', refused("value"), "refuted"),
    ],
)
def test_each_way_to_verify(claim: str, answer: Any, expected: str) -> None:
    """Confirmed by what the claim says; else refuted, or untestable where it only asks the caller."""
    found = verdict(claim, answer)
    assert found.verdict == expected
    assert bool(found.said) == (expected != "confirmed")
    assert bool(found.confirming) == (expected == "confirmed")


def test_an_untestable_claim_has_its_reason_and_no_evidence() -> None:
    """Nothing that runs changes it."""
    found = verdict('untestable: "a purpose, not a behaviour"', half)
    assert found.verdict == "untestable"
    assert found.row("https://x")["why"] == "a purpose, not a behaviour"
    assert found.row("https://x")["evidence"] == []


@pytest.mark.parametrize(
    "answer",
    [
        Lost("cannot be imported"),
        Fault("answered another question"),
        Unsent("no argument for it"),
        Reply(1, Raised("call", "unsupported", "NotCompiledError", "ran eager")),
    ],
)
def test_what_is_not_the_backends_word_decides_nothing(answer: Lost | Fault | Unsent | Reply) -> None:
    """A backend that is gone, a fault of ours, or a call in another mode, neither confirms nor refutes."""
    assert verdict('cases: ["plain*"], conforms: [output]', answer).verdict == "notrun"


def test_only_the_cases_named_are_evidence() -> None:
    """Whatever happens elsewhere, the verdict hangs on the claim's own cases."""
    found = verdict(
        'cases: ["plain*sum]"], conforms: [output]', lambda c: computed(c) if "sum" in c.id else half(c)
    )
    assert found.verdict == "confirmed"
    assert found.confirming == ["multi_margin_loss/plain[float32,sum]"]
    assert verdict('cases: ["plain*sum]"], conforms: [output]', computed, only="bad").verdict == "notrun"


def test_one_case_against_it_refutes_a_claim() -> None:
    """And the first such case is named, with what happened."""
    found = verdict(
        'cases: ["plain*"], conforms: [output]', lambda c: half(c) if "sum" in c.id else computed(c)
    )
    assert found.verdict == "refuted"
    assert found.refuting == ["multi_margin_loss/plain[float32,sum]"]
    assert found.said.startswith("multi_margin_loss/plain[float32,sum]: got ")


def test_a_row_of_the_stream_has_its_evidence_counted_and_cut() -> None:
    """At most a few ids, the full count, the source and the words of the document."""
    row = verdict('cases: ["many*"], conforms: [output]', computed).row("https://example.org/doc")
    assert len(row["evidence"]) == MOST_EVIDENCE
    assert row["evidence_count"] == 10
    assert (row["type"], row["api"], row["backend"]) == ("claim", API, "torch")
    assert (row["claim"], row["says"], row["verdict"]) == ("it", "so", "confirmed")
    assert row["source"] == "https://example.org/doc"


@pytest.mark.parametrize(
    ("printed", "got", "holds"),
    [
        ('"0.305"', 0.3054, True),
        ('"0.305"', 0.3056, False),
        ('"0.305"', 0.3046, True),
        ('"0.305"', 0.3044, False),
        ('"0.31"', 0.305, True),
        ('"0.305000"', 0.305002, False),
        ('"3.05e-01"', 0.3054, True),
        ('"3.05e-01"', 0.31, False),
        ('"3e-1"', 0.34, True),
        ('"3e-1"', 0.36, False),
        ('"1.5e-06"', 0.0, False),
        ('"0.305"', np.nan, False),
        ('"0.305"', np.inf, False),
    ],
)
def test_printed_digits_are_known_to_half_a_unit_of_the_last(printed: str, got: float, holds: bool) -> None:
    """Trailing zeros are digits too, and an exponent moves them all."""
    found = verdict(f'cases: ["plain*mean]"], printed: {printed}', scalar(got))
    assert found.verdict == ("confirmed" if holds else "refuted")


@pytest.mark.parametrize("printed", ['["0.305"]', '[["0.305"]]', '["0.305", "0.305"]'])
def test_a_printed_shape_is_part_of_what_is_printed(printed: str) -> None:
    """A scalar is not [1]: nothing is broadcast."""
    found = verdict(f'cases: ["plain*mean]"], printed: {printed}', scalar(0.305))
    assert found.verdict == "refuted"
    assert "printed shape" in found.said
    assert (
        verdict('cases: ["plain*none]"], printed: ["0.305"]', Reply(1, numbers(0.305))).verdict == "confirmed"
    )


# -- what a document states, beside what its code does ---------------------------------------------------

SAYS = {
    "torch": "{claim: formula, says: the usual, cases: ['plain*'], conforms: [output]}",
    "variant": "{claim: formula-of-p, says: inside, cases: ['plain*'], variant: weight_inside_power}",
    "other": "{claim: rounding, says: of no formula, cases: ['plain*'], conforms: [output]}",
}


def stated(*pairs: tuple[str, str]) -> dict[str, Verdict]:
    """Load APIs with one claim each, hear what each document says, and return the verdicts by API."""
    head, _, _ = TEXT.partition("claims:")
    binding = "    doc: https://example.org/doc\n    call: [input, target, weight, p, margin, reduction]\n"
    apis = "".join(f"  {api}:\n{binding}" for api, _ in pairs)
    claims = "".join(f"  {api}:\n    - {SAYS[said]}\n" for api, said in pairs)
    before, _, after = head.partition(f"  {API}:\n{binding}")
    op = load_operator(Path("claims.yaml"), f"{before}{apis}{after}claims:\n{claims}")
    heard = Claims(variant)
    for api in op.apis:
        heard.expect(op, api)
    for case, api in ((c, a) for c in op.cases for a in op.apis if c.name == "plain"):
        expected = expectation(case, api)
        reply = computed(case, "weight_inside_power" if SAYS["variant"] in str(dict(pairs)) else "")
        heard.hear(case, api, expected, reply, judge(case, api, expected, reply))
    return {found.api.name: found for found in heard.verdicts()}


def test_documents_that_print_different_formulas_disagree() -> None:
    """Each code may keep to its own document: it is the variant that disagrees with the others."""
    found = stated(
        (API, "torch"), ("paddle.nn.MultiMarginLoss", "variant"), ("torch.nn.MultiMarginLoss", "other")
    )
    assert found[API].states == "the definition"
    assert found["paddle.nn.MultiMarginLoss"].states == "weight_inside_power"
    assert found["torch.nn.MultiMarginLoss"].states == ""
    assert found["paddle.nn.MultiMarginLoss"].disagrees_with == [API]
    assert found[API].disagrees_with == found["torch.nn.MultiMarginLoss"].disagrees_with == []


def test_documents_that_print_the_same_variant_agree() -> None:
    """Two documents with one formula are not each other's discrepancy."""
    found = stated((API, "variant"), ("torch.nn.MultiMarginLoss", "variant"))
    assert [each.disagrees_with for each in found.values()] == [[], []]


def test_a_wrong_statement_is_a_matter_of_documentation() -> None:
    """Refuted, or another formula than the others': the row says that the document is at fault."""
    refuted = verdict('cases: ["plain*"], conforms: [output]', half).row("https://x")
    right = verdict('cases: ["plain*"], conforms: [output]', computed).row("https://x")
    assert (refuted["verdict"], refuted["kind"]) == ("refuted", "documentation")
    assert (right["verdict"], right["kind"], right["states"]) == ("confirmed", "", "")
    apart = stated((API, "torch"), ("paddle.nn.MultiMarginLoss", "variant"))["paddle.nn.MultiMarginLoss"]
    row = apart.row("https://x")
    assert (row["kind"], row["states"], row["disagrees_with"]) == (
        "documentation",
        "weight_inside_power",
        [API],
    )
