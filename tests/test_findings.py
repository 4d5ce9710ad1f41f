"""The table of findings: mechanisms and failing checks by operator and framework; what nobody explains."""

from pathlib import Path
from typing import Any

import pytest

from conformance.errors import UsageError
from conformance.findings import BEGIN, END, findings, rewritten
from conformance.ledger import Entry, Ledger
from conformance.load import Operator, load_operator

TEXT = """
op: hinge_embedding_loss
family: loss
summary: two APIs of two frameworks
tensors:
  input: {kind: floating}
  target: {kind: floating}
params: {}
apis:
  torch.nn.functional.hinge_embedding_loss: {doc: x, call: [input, target]}
  paddle.nn.functional.hinge_embedding_loss: {doc: x, call: [input, target]}
cases:
  - {case: plain, why: one, inputs: {input: [0.5], target: [1]}}
"""
BACKENDS: list[dict[str, Any]] = [
    {"type": "backend", "backend": "torch", "version": "2.13.0+cpu"},
    {"type": "backend", "backend": "paddle", "version": "3.3.1"},
]


@pytest.fixture(scope="module")
def op() -> Operator:
    """Load the op file above."""
    return load_operator(Path("x.yaml"), TEXT)


def entry(name: str, reason: str) -> Entry:
    """Make a ledger entry."""
    return Entry(name, "hinge_embedding_loss", ["*"], ["output"], "value", ">=0", reason, "unreported", "2.0")


def row(ledger: str | None, backend: str = "torch", **more: Any) -> dict[str, Any]:
    """Make a failing result of a stream."""
    names = {"type": "result", "op": "hinge_embedding_loss", "backend": backend, "status": "fail"}
    return {**names, "ledger": ledger, "nondeterministic": False, **more}


def cells(op: Operator, rows: list[dict[str, Any]], *entries: Entry) -> list[str]:
    """Return the cells of the op's line, the operator's own apart."""
    table = findings([*BACKENDS, *rows], [op], Ledger({"torch": list(entries)}))
    return [cell.strip() for cell in table.splitlines()[-1].strip("|").split("|")][1:]


def test_the_heading_names_the_versions_without_their_builds(op: Operator) -> None:
    """One column a framework, in the order of the adapters, whether it ran or not."""
    heading = findings(BACKENDS, [op], Ledger({})).splitlines()[0]
    assert heading == "| operator | cases × APIs | torch 2.13.0 | paddle 3.3.1 | mindspore |"


def test_nothing_wrong_and_no_api_are_two_things(op: Operator) -> None:
    """A tick where an API was bound, a dash where there is none."""
    assert cells(op, []) == ["1 × 2", "✓", "✓", "–"]
    assert cells(op, [row(None, status="pass")])[1] == "✓"


def test_entries_of_one_reason_are_one_mechanism(op: Operator) -> None:
    """However many entries it takes; each failing check counts."""
    known = (entry("a", "one"), entry("b", "one"), entry("c", "two"))
    assert cells(op, [row("a"), row("b"), row("b")], *known)[1] == "1 / 3"
    assert cells(op, [row("a"), row("c")], *known)[1] == "2 / 2"


def test_what_varies_is_a_mechanism_and_no_number(op: Operator) -> None:
    """Its checks fail by luck, passes included: counting them would not give the same table twice."""
    lucky = row("a", status="pass", nondeterministic=True)
    assert cells(op, [lucky, row("a", nondeterministic=True)], entry("a", "one"))[1] == "1 / 0"


def test_refuted_claims_are_counted_apart(op: Operator) -> None:
    """Beside the discrepancies, under the framework whose document it is."""
    claim = {"type": "claim", "op": op.name, "backend": "torch", "verdict": "refuted"}
    assert cells(op, [row("a"), claim, claim], entry("a", "one"))[1] == "1 / 1, 2 refuted"
    assert cells(op, [{**claim, "verdict": "confirmed"}])[1] == "✓"


@pytest.mark.parametrize("ledger", [None, "gone"])
def test_what_nobody_explains_is_named(op: Operator, ledger: str | None) -> None:
    """A failure without an entry cannot hide in a table of known ones."""
    assert cells(op, [row("a"), row(ledger)], entry("a", "one"))[1] == "1 / 1, **1 unexplained**"


def test_a_document_keeps_everything_but_its_table() -> None:
    """What stands between the marks is replaced; a document without marks is refused."""
    text = f"# Title\n\n{BEGIN}\nold\n{END}\n\nAfter.\n"
    once = rewritten(text, "| new |")
    assert once == f"# Title\n\n{BEGIN}\n| new |\n{END}\n\nAfter.\n"
    assert rewritten(once, "| new |") == once
    for broken in ("# Title\n", f"{BEGIN}\n", f"{END}\n"):
        with pytest.raises(UsageError, match="the document has no"):
            rewritten(broken, "| new |")
