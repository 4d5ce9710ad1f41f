"""Rows, streams and sites for the tests of the reports."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec

from conformance.ledger import Entry, Ledger
from conformance.load import Operator, load_operator
from conformance.report.facts import read_facts
from conformance.report.site import Site, write_site
from conformance.stream import jsonable

HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(2)> \"' &amp; {{ 7*7 }} \x00 \u202e"

TORCH = "torch.nn.functional.multi_margin_loss"
TORCH_CLASS = "torch.nn.MultiMarginLoss"
PADDLE = "paddle.nn.functional.multi_margin_loss"

OP = """
op: multi_margin_loss
family: loss
summary: "the hinge of every wrong class <b>"
tensors:
  input: {kind: floating}
  target: {kind: label}
params:
  p: {default: 1}
  margin: {default: 1.0}
  reduction: {default: mean}
apis:
  torch.nn.functional.multi_margin_loss:
    {doc: "https://example.org/f", call: [input, target, p, margin, reduction]}
  torch.nn.MultiMarginLoss:
    {doc: "https://example.org/c", init: [p, margin, reduction], call: [input, target]}
  paddle.nn.functional.multi_margin_loss:
    {doc: "https://example.org/p", call: {input: input, target: label, p: p, reduction: reduction}}
cases:
"""

CASE = """
  - case: NAME
    why: A row with its label in front.
    inputs: {input: [[1.0, 0.5, -0.25], [0.0, 2.0, 0.125]], target: [0, 2]}
    matrix: {dtype: [float16, bfloat16, float32, float64], p: [1, 2], reduction: [none, mean, sum]}
"""

BASIC = "multi_margin_loss/basic[float32,p=1,none]"
WRONG: dict[str, Any] = {
    "status": "fail",
    "kind": "value",
    "message": "at [1]: got 0, exact 1.25, bound 2.5e-07",
    "compared": 2,
    "mismatched": 1,
    "error_over_bound": 5e6,
    "max_abs": 1.25,
    "worst": [1],
    "expected": 1.25,
    "got": 0.0,
    "bound": 2.5e-7,
    "bound_terms": {"rounding": 2.5e-8, "sensitivity": 2.5e-8, "working": 1.25e-8},
    "outcome": "regression",
    "digest": "aaaa",
}
REFUSED: dict[str, Any] = {
    "status": "fail",
    "kind": "raises",
    "outcome": "regression",
    "message": "raised RuntimeError at call: no kernel",
    "error": {
        "phase": "call",
        "category": "runtime",
        "exception": "RuntimeError",
        "message": "no kernel\nat x.cc",
    },
}
CRASHED: dict[str, Any] = {
    "status": "crash",
    "kind": "",
    "outcome": "regression",
    "message": "the process died: SIGSEGV",
    "error": {"signal": "SIGSEGV", "stderr": "Fatal Python error"},
}


def suite(*names: str) -> list[Operator]:
    text = OP + "".join(CASE.replace("NAME", name) for name in names or ("basic",))
    return [load_operator(Path("/x/cases/loss/multi_margin_loss.yaml"), text)]


def result(case: str = BASIC, api: str = TORCH, check: str = "output", **more: Any) -> dict[str, Any]:
    ours = {"type": "result", "case": case, "op": "multi_margin_loss", "family": "loss", "api": api}
    state = {
        "backend": api.partition(".")[0],
        "domain": "defined",
        "check": check,
        "status": "pass",
        "kind": "",
    }
    numbers = {"message": "", "compared": 2, "error_over_bound": 0.25, "outcome": "ok", "ledger": None}
    return {**ours, **state, **numbers, "declared": None, "digest": "ffff", "error": None, **more}


def stream(folder: Path, rows: list[dict[str, Any]], *, end: dict[str, Any] | None = None) -> Path:
    suite_row = {"name": "op-conformance", "version": "0.1.0", "ops": ["multi_margin_loss"], "cases": 24}
    head = {"type": "run", "schema": "conformance/1.0", "suite": suite_row, "argv": ["--op", "x"]}
    backends = [
        {
            "type": "backend",
            "backend": name,
            "framework": name,
            "version": "1.2.3",
            "device": "cpu",
            "mode": "eager",
        }
        for name in ("torch", "paddle")
    ]
    last = {"type": "end", "complete": True, "exit": 0} if end is None else end
    path = folder / "run.jsonl"
    lines = [
        head | {"oracle": {"dtype": "float128", "mantissa": 63}},
        *backends,
        *rows,
        *([last] if last else []),
    ]
    path.write_bytes(b"".join(msgspec.json.encode(jsonable(line)) + b"\n" for line in lines))
    return path


def entry(name: str, **more: Any) -> Ledger:
    given = {"op": "multi_margin_loss", "api": ["*"], "check": ["*"], "kind": "value", "versions": "==1.2.3"}
    words = {"reason": "It forgets the margin.", "upstream": "https://example.org/issue/7", "since": "0.1.0"}
    return Ledger({"torch": [Entry(id=name, **{**given, **words, **more})]})


def site(folder: Path, rows: list[dict[str, Any]], ledger: Ledger | None = None, **more: Any) -> Path:
    """Write the whole site of a stream of these rows; return its index."""
    facts = read_facts(stream(folder, rows, **more))
    return write_site(Site(facts, suite(), ledger or Ledger({})), folder)


def page(folder: Path, rows: list[dict[str, Any]], ledger: Ledger | None = None, **more: Any) -> str:
    return site(folder, rows, ledger, **more).read_text("utf-8")


def text_of(html: str) -> str:
    body = re.sub(r"<(script|style)>.*?</\1>", "", html, flags=re.DOTALL)
    joined = re.sub(r"</?(wbr|span|code|strong|em|b|i|a)\b[^>]*>", "", body)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", joined))


class Tags(HTMLParser):
    """Collects what a browser would act on, and whether every element is closed in its order."""

    VOID = ("meta", "br", "wbr", "input", "img", "link", "hr")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element and its attributes."""
        self.seen.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the element that was opened last, and no other."""
        assert self.open.pop() == tag
