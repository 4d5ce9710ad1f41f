"""Runs of a toy operator, as facts, for the tests of what is published."""

from pathlib import Path
from typing import Any

from conformance.load import Operator, load_operator
from conformance.report.facts import Facts, facts_of

Row = dict[str, Any]

HOSTILE = (
    "a|b `c` <script>alert(1)</script>\n::error::x\r\n| [x](http://y) @me \x00\x1b[31m\u202e&amp; ]]> %0A"
)
TORCH, PADDLE = "torch.nn.functional.toy", "paddle.nn.functional.toy"
CASE = "multi_margin_loss/basic[float32,none]"
OP = """
op: multi_margin_loss
family: loss
summary: a toy
tensors:
  input: {kind: floating}
  target: {kind: label}
params:
  reduction: {default: mean}
apis:
  torch.nn.functional.toy: {doc: "https://example.org/t", call: [input, target, reduction]}
  paddle.nn.functional.toy: {doc: "https://example.org/p", call: [input, target, reduction]}
cases:
  - case: basic
    why: Two of each.
    inputs: {input: [[1.0, 0.5], [0.0, 2.0]], target: [0, 1]}
    matrix: {dtype: [float32], reduction: [none, mean, sum]}
"""


def suite(root: Path) -> list[Operator]:
    """Return a suite whose one file is below `root`."""
    return [load_operator(root / "cases" / "loss" / "multi_margin_loss.yaml", OP)]


def result(case: str = CASE, api: str = TORCH, op: str = "multi_margin_loss", **more: Any) -> Row:
    """Return a result, one that conforms unless `more` says otherwise."""
    about: Row = {"type": "result", "case": case, "op": op, "family": "loss", "api": api}
    about |= {"backend": api.partition(".")[0], "domain": "defined", "check": "output", "status": "pass"}
    return {**about, "kind": "", "outcome": "ok", "compared": 4, "message": "", "ledger": None, **more}


def wrong(case: str = CASE, api: str = TORCH, **more: Any) -> Row:
    """Return a result that nobody has explained."""
    said: Row = {"status": "fail", "kind": "value", "outcome": "regression", "message": "got 1, exact 2"}
    return result(case, api, **(said | {"error_over_bound": 10.0} | more))


def claim(verdict: str = "refuted", outcome: str = "regression", **more: Any) -> Row:
    """Return a claim of torch's document."""
    about: Row = {"type": "claim", "op": "multi_margin_loss", "api": TORCH, "backend": "torch"}
    said: Row = {"claim": "formula", "says": "the mean", "source": "https://example.org/t", "why": "no"}
    return {
        **about,
        **said,
        "verdict": verdict,
        "outcome": outcome,
        "evidence": [CASE],
        "evidence_count": 1,
        **more,
    }


def stale(entry: str = "old") -> Row:
    """Return the row of a ledger entry that matches nothing."""
    about = {"type": "ledger", "ledger": entry, "backend": "torch", "outcome": "stale"}
    return {**about, "message": "matches nothing"}


def rows(*results: Row, lost: str = "", end: bool = True) -> list[Row]:
    """Return the rows of a run of torch and paddle."""
    about = {"name": "op-conformance", "version": "0.1.0", "ops": ["multi_margin_loss"], "cases": 3}
    head: Row = {"type": "run", "schema": "conformance/1.0", "suite": about | {"commit": "c0ffee" * 6}}
    head |= {"oracle": {"dtype": "longdouble", "mantissa": 63}, "argv": ["run"], "shard": "1/1"}
    backends: list[Row] = [
        {"type": "backend", "backend": name, "framework": name, "version": "1.2.3+cpu", "device": "cpu"}
        for name in ("torch", "paddle")
    ]
    if lost:
        backends[1] |= {"lost": lost, "version": ""}
    last = {"type": "end", "complete": not lost, "counts": {}, "outcomes": {}, "claims": {}, "exit": 0}
    return [head, *backends, *results, *([last] if end else [])]


def facts(*results: Row, lost: str = "", end: bool = True) -> Facts:
    """Return the facts of such a run."""
    return facts_of(rows(*results, lost=lost, end=end))
