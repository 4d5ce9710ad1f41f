"""The report: what it answers, what it shows, and that nothing in a stream can break or script it."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conformance.errors import InvalidFileError
from conformance.ledger import Entry, Ledger
from conformance.load import Operator, load_operator
from conformance.report.build import write_report
from conformance.report.camps import camps, suspect_oracle
from conformance.report.facts import multiple, plural, show
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


def page(folder: Path, rows: list[dict[str, Any]], ledger: Ledger | None = None, **more: Any) -> str:
    return write_report(stream(folder, rows, **more), folder, suite(), ledger or Ledger({})).read_text(
        "utf-8"
    )


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


def test_no_is_the_answer_when_everything_is_as_expected(tmp_path: Path) -> None:
    """The person at six in the evening reads one word, and what it rests on."""
    known = {**WRONG, "outcome": "known", "ledger": "torch-margin"}
    text = text_of(
        page(tmp_path, [result(), result(api=PADDLE), result(check="output", **known)], entry("torch-margin"))
    )
    assert "Is anything unexpected? ✓ No." in text
    assert "All 3 results are as expected: 2 pass, 1 failure known to the ledger (1 entry)" in text
    assert "unexpected finding" not in text


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([result(**WRONG)], "Among 1 result: 1 regression."),
        ([result(outcome="stale", ledger="e")], "1 stale ledger entry."),
        ([result(status="notrun", outcome="notrun", message="torch is gone")], "1 result that did not run."),
        ([result(status="harness", outcome="regression")], "Among 1 result: 1 harness fault."),
        (
            [result(), {"type": "ledger", "ledger": "e", "outcome": "stale", "message": "matches nothing"}],
            "1 stale",
        ),
        (
            [result(), {"type": "backend", "backend": "mindspore", "lost": "cannot be imported"}],
            "1 lost backend",
        ),
    ],
)
def test_yes_is_the_answer_to_each_kind_of_surprise(
    tmp_path: Path, rows: list[dict[str, Any]], said: str
) -> None:
    """A regression, a stale entry, what did not run, our own faults: each is unexpected by its own name."""
    text = text_of(page(tmp_path, rows))
    assert "Is anything unexpected? ✗ Yes." in text
    assert said in text
    assert "1 unexpected finding " in text


def test_a_run_that_did_not_finish_or_has_no_results_is_never_good(tmp_path: Path) -> None:
    """Silence is not conformance."""
    unfinished = text_of(page(tmp_path, [result()], end={}))
    assert "✗ Cannot tell. The run did not finish." in unfinished
    assert "Complete ✗ no" in unfinished
    assert "✗ Nothing ran." in text_of(page(tmp_path, []))


def test_a_stream_of_another_major_version_is_refused(tmp_path: Path) -> None:
    """A reader that does not know the contract says so."""
    path = tmp_path / "run.jsonl"
    path.write_text('{"type":"run","schema":"conformance/2.0"}\n')
    with pytest.raises(InvalidFileError, match="schema"):
        write_report(path, tmp_path, [], Ledger({}))


def test_the_matrix_counts_outputs_and_gradients_and_domains_apart(tmp_path: Path) -> None:
    """Failing of judged, the worst error in bounds, and what was not judged, for each API."""
    rows = [
        result(error_over_bound=0.5),
        result(**WRONG),
        result(
            check="grad.input", status="fail", kind="grad_missing", outcome="known", error_over_bound=None
        ),
        result(domain="extended", status="fail", kind="nonfinite", outcome="regression"),
        result(domain="undefined", check="raises", error_over_bound=None),
        result(domain="undefined", status="observed"),
        result(status="unsupported", declared="float32 only"),
    ]
    html = page(tmp_path, rows)
    table = html[
        html.index('<table class="matrix"') : html.index("</table>", html.index('<table class="matrix"'))
    ]
    cells = [text_of(cell).strip() for cell in re.findall(r"<td.*?</td>", table, re.DOTALL)]
    assert cells == [
        "✗ 1/2 fail worst 5.0e6× bound wrong value 1",
        "◆ 1/1 known no gradient 1",
        "✗ 1/1 fail worst 0.25× bound NaN or ∞ misplaced 1",
        "· none judged",
        "✓ 0/1 fail",
        "1 observed 1 unsupported",
    ]


def test_a_group_has_its_ledger_entry_and_one_result_in_full(tmp_path: Path) -> None:
    """Why it is known, then inputs, expected, got, bound and its terms, who agrees, and how to reproduce."""
    known = {**WRONG, "outcome": "known", "ledger": "torch-margin"}
    rows = [result(**known), result(api=TORCH_CLASS, **known), result(api=PADDLE)]
    html = page(tmp_path, rows, entry("torch-margin", band={"float32": (1.0, 1e7)}))
    text = text_of(html)
    for fact in (
        "◆ known torch wrong value torch-margin",
        "2 results of 1 case · worst 5.0e6× its bound",
        "It forgets the margin.",
        "since 0.1.0",
        "float32 1× to 1.0e7×",
        "A row with its label in front. (cases/loss/multi_margin_loss.yaml:",
        "input float32[2, 3] [[ 1.0, 0.5, -0.25], [ 0.0, 2.0, 0.125]]",
        "reduction=&#39;none&#39; given",
        "margin=1.0 its documented default",
        "at element [1] expected 1.25 got 0",
        "2.5e-07 = 4 × (rounding 2.5e-08 + sensitivity 2.5e-08 + working 1.25e-08)",
        f"✓ pass conforms to the definition {PADDLE}",
        f"got 0, exact 1.25, bound 2.5e-07 {TORCH} {TORCH_CLASS}",
        f"conformance repro &#39;{BASIC}&#39; {TORCH}",
    ):
        assert fact in text, fact
    assert '<a href="https://example.org/issue/7"' in html
    assert html.count('<details class="group') == 1


def test_domains_backends_and_outcomes_make_groups_of_their_own(tmp_path: Path) -> None:
    """A defined failure never hides among exotic inputs, nor a regression among what is known."""
    rows = [
        result(**WRONG),
        result(domain="extended", **WRONG),
        result(api=PADDLE, **WRONG),
        result(**{**WRONG, "outcome": "known", "ledger": "e"}),
        result(**{**WRONG, "ledger": "e"}),
    ]
    html = page(tmp_path, rows, entry("e"))
    assert html.count('<details class="group') == 5
    assert html.index('id="domain-defined"') < html.index('id="domain-extended"')
    assert len(set(re.findall(r'<details class="group \w+" id="([^"]+)"', html))) == 5


def test_a_refusal_is_one_event_and_a_crash_shows_its_signal(tmp_path: Path) -> None:
    """All checks that one refused call leaves without an answer stand in one group."""
    rows = [result(check=check, **REFUSED) for check in ("output", "grad.input")]
    html = page(tmp_path, [*rows, result(api=PADDLE, **CRASHED)])
    text = text_of(html)
    assert html.count('<details class="group') == 2
    assert (
        "torch refuses multi_margin_loss/basic multi_margin_loss · every check · 2 results of 1 case" in text
    )
    assert "exception RuntimeError phase call" in text
    assert "no kernel at x.cc" in text
    assert "paddle crashes the process" in text
    assert "signal SIGSEGV Fatal Python error" in text


def test_every_group_has_a_repro_script_beside_the_page(tmp_path: Path) -> None:
    """Scripts of an earlier report go, so that a fixed discrepancy leaves none behind."""
    html = page(tmp_path, [result(**WRONG)])
    (script,) = (tmp_path / "repro").glob("*.py")
    assert f'href="repro/{script.name}"' in html
    compile(script.read_text("utf-8"), script.name, "exec")
    assert "The script" in text_of(html)
    page(tmp_path, [result()])
    assert not list((tmp_path / "repro").glob("*.py"))


def test_claims_show_what_is_refuted_and_why(tmp_path: Path) -> None:
    """Refuted claims stand open with source and evidence; the others are folded."""
    told = {
        "type": "claim",
        "op": "multi_margin_loss",
        "api": TORCH,
        "backend": "torch",
        "source": "https://e.org/d",
    }
    rows = [
        told
        | {
            "claim": "formula",
            "says": "p is outside",
            "verdict": "refuted",
            "why": "basic: got 3",
            "evidence": [BASIC],
        },
        told | {"claim": "shape", "says": "(N, C)", "verdict": "confirmed", "why": "", "evidence": [BASIC]},
        told
        | {"claim": "speed", "says": "is fast", "verdict": "untestable", "why": "no measure", "evidence": []},
    ]
    rows[0] |= {"outcome": "regression"}
    html = page(tmp_path, [result(), *rows])
    text = text_of(html)
    assert "✗ 1 ✓ 1 – 1 0" in text
    assert "formula: p is outside basic: got 3 Source: https://e.org/d Evidence: 1 case" in text
    assert "1 claim with a new verdict" in text
    assert html.index("<summary>1 confirmed") < html.index("(N, C)")


def test_observations_are_grouped_by_what_the_apis_did(tmp_path: Path) -> None:
    """The undefined domain accuses nobody: it says who does the same."""
    seen = {"domain": "undefined", "status": "observed"}
    rows = [
        result(digest="aa", message="returned float32[] 0.75", **seen),
        result(api=TORCH_CLASS, digest="aa", message="returned float32[] 0.75", **seen),
        result(api=PADDLE, **seen, **{k: REFUSED[k] for k in ("message", "error")}, digest=""),
    ]
    html = page(tmp_path, rows)
    text = text_of(html)
    assert "✓ No." in text
    assert f"returned float32[] 0.75 {TORCH} {TORCH_CLASS}" in text
    assert f"raised RuntimeError at call: no kernel {PADDLE}" in text
    assert html.index('id="discrepancies"') < html.index('id="observed-undefined"')


def test_camps_of_equal_words_only() -> None:
    """Two observations without bits agree only where they say the same."""
    rows = [
        result(status="observed", digest="", message=f"gave {what}") for what in ("none", "zeros", "none")
    ]
    assert [(camp.said, len(camp.apis)) for camp in camps(rows)] == [("gave none", 2), ("gave zeros", 1)]


@pytest.mark.parametrize(
    ("rows", "suspect"),
    [
        ([result(**WRONG), result(api=PADDLE, **WRONG)], True),
        ([result(**WRONG), result(api=PADDLE, **{**WRONG, "digest": "bbbb"})], True),
        ([result(**WRONG), result(api=PADDLE, **{**WRONG, "digest": "bbbb", "got": 3.0})], False),
        ([result(**WRONG), result(api=TORCH_CLASS, **WRONG)], False),
        ([result(**WRONG), result(api=PADDLE)], False),
    ],
)
def test_the_oracle_is_suspect_where_all_frameworks_agree_against_it(
    rows: list[dict[str, Any]], suspect: bool
) -> None:
    """Two APIs of one framework are one witness."""
    assert suspect_oracle(rows) is suspect


def test_hostile_strings_neither_break_nor_script_the_page(tmp_path: Path) -> None:
    """Whatever a framework, a document or a ledger says is shown as text."""
    error = {
        "phase": HOSTILE,
        "category": HOSTILE,
        "exception": HOSTILE,
        "message": HOSTILE,
        "stderr": HOSTILE,
    }
    rows = [
        result(**{**REFUSED, "message": HOSTILE, "error": error, "outcome": "known", "ledger": "e"}),
        result(api=PADDLE, case=f"multi_margin_loss/{HOSTILE}", **{**CRASHED, "error": error}),
        result(api=HOSTILE, backend=HOSTILE, check=HOSTILE, **{**WRONG, "got": HOSTILE}),
        result(status="observed", domain="undefined", message=HOSTILE, case=HOSTILE),
        result(status="notrun", outcome="notrun", message=HOSTILE),
        {"type": "backend", "backend": HOSTILE, "lost": HOSTILE},
        {"type": "ledger", "ledger": HOSTILE, "outcome": "stale", "message": HOSTILE},
        {"type": "claim", "api": HOSTILE, "claim": HOSTILE, "says": HOSTILE, "source": "javascript:alert(3)"}
        | {"verdict": "refuted", "why": HOSTILE, "evidence": [HOSTILE], "outcome": "regression"},
    ]
    html = page(tmp_path, rows, entry("e", reason=HOSTILE, upstream="javascript:alert(4)", kind="raises"))
    tags = Tags(html)
    assert tags.open == []
    assert tags.seen.count("script") == 1
    assert "img" not in tags.seen
    assert not [name for name, _ in tags.attributes if name.startswith("on") or name == "style"]
    links = [value for name, value in tags.attributes if name in ("href", "src")]
    assert all(value.startswith(("https://", "#", "repro/d-")) for value in links)
    assert "alert(1)" in text_of(html)
    assert "49" not in re.findall(r"&amp; (\S+)", html)


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    """No network, no other file to be readable, and a policy that allows only our own style and script."""
    html = page(tmp_path, [result(**WRONG)])
    tags = Tags(html)
    assert not {"link", "img", "iframe", "object"} & set(tags.seen)
    assert "src" not in {name for name, _ in tags.attributes}
    assert "url(" not in html
    assert re.search(r"default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'", html)
    assert '<form id="filter" hidden' in html


def test_ten_thousand_results_make_a_page_that_opens(tmp_path: Path) -> None:
    """With 2160 failing results in 120 groups the page stays small, and every failing case is listed."""
    ops = suite(*(f"case-{n}" for n in range(70)))
    rows = [
        result(case=case.id, api=api, check=check, **(WRONG if wrong else {}))
        for place, case in enumerate(ops[0].cases)
        for api in (TORCH, TORCH_CLASS, PADDLE)
        for check, wrong in (("output", place < 480), ("grad.input", case.dtype == "float16" and place < 960))
    ]
    path = write_report(stream(tmp_path, rows), tmp_path, ops, Ledger({}))
    assert len(rows) == 10_080
    html = path.read_text("utf-8")
    assert path.stat().st_size < 1_500_000
    assert html.count('<details class="group') == 120
    assert all(case.id in html for case in ops[0].cases[:480])


def test_the_same_stream_gives_the_same_page(tmp_path: Path) -> None:
    """Byte for byte: a report can be compared and committed."""
    rows = [result(**WRONG), result(api=PADDLE, **CRASHED)]
    assert page(tmp_path, rows) == page(tmp_path, rows)


def test_a_report_imports_no_framework() -> None:
    """It is written where no framework is installed."""
    code = "import sys, conformance.report.build; print({'torch', 'paddle', 'mindspore'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "set()\n"
    )


def test_numbers_for_people() -> None:
    """Multiples, plurals and the stream's own NaN and infinities."""
    assert [multiple(x) for x in (None, -0.0, 1e-5, 0.44, 238.4, 5.8e63, float("inf"))] == [
        "",
        "0×",
        "<0.01×",
        "0.44×",
        "238×",
        "5.8e63×",
        "∞×",
    ]
    assert [plural(1, "entry"), plural(2, "entry"), plural(3, "way")] == ["1 entry", "2 entries", "3 ways"]
    assert [show(x) for x in (1.25, "NaN", "-Infinity", [0.0, 1.0])] == ["1.25", "NaN", "−∞", "[0, 1]"]
