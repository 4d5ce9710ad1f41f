"""The operators' pages: what a person who ports a model reads there, and that it is right."""

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conformance.definition import definitions
from conformance.ledger import Ledger
from conformance.load import Operator, load_operator, load_suite
from conformance.report import operator_pages
from conformance.report.accuracy import accuracy
from conformance.report.conventions import conventions
from conformance.report.facts import read_facts
from conformance.report.formula import BETWEEN_PARTS, sources, typeset
from conformance.report.links import discrepancy_page, op_page
from conformance.report.mapping import mapping
from conformance.report.parameters import LEFT_OUT, coverage
from conformance.report.site import Site, written
from conformance.stream import jsonable
from tests.shipped import suite

HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(2)> \"' &amp; {{ 7*7 }} \u202e"
ORDER = ["torch", "paddle", "mindspore"]
TORCH, CLASS = "torch.nn.functional.multi_margin_loss", "torch.nn.MultiMarginLoss"
PADDLE, MINDSPORE = "paddle.nn.functional.multi_margin_loss", "mindspore.ops.MultiMarginLoss"

OP = r"""
op: multi_margin_loss
family: loss
summary: "the hinge of every wrong class <b>"
formula: '\ell = \max(0, x)^{p},\quad y = -\log z'
tensors:
  input: {kind: floating}
  target: {kind: label}
  weight: {kind: floating, optional: true}
params:
  p: {default: 1, about: "exponent"}
  margin: {default: 1.0, about: "by how much <i>"}
  reduction: {default: mean}
apis:
  torch.nn.functional.multi_margin_loss:
    {doc: "https://example.org/f", call: [input, target, p, margin, weight, reduction]}
  torch.nn.MultiMarginLoss:
    {doc: "https://example.org/c", init: [p, margin, reduction], call: [input, target], fixed: {size: 3},
     state: {weight: head.weight}, transposed: [weight]}
  paddle.nn.functional.multi_margin_loss:
    {doc: "https://example.org/p", call: {input: input, target: label, p: p, reduction: reduction},
     defaults: {p: 2, margin: 0.5}, label: int32}
  mindspore.ops.MultiMarginLoss:
    {doc: "https://example.org/m", init: [p, margin, reduction], call: {input: x, target: target},
     defaults: {reduction: none}, positional: true, integral: [margin]}
differences:
  - {says: "the margin of one is half of the others'", cases: ["basic*"]}
cases:
  - case: basic
    why: A row with its label in front.
    inputs: {input: [[1.0, 0.5, -0.25], [0.0, 2.0, 0.125]], target: [0, 2]}
    matrix: {dtype: [float16, float32], p: [1, 2], reduction: [none]}
  - case: weighted
    why: Weights.
    inputs: {input: [[1.0, 0.5]], target: [0], weight: [0.5, 2.0]}
    matrix: {dtype: [float32]}
  - case: open
    why: A label that is no class.
    domain: undefined
    inputs: {input: [[1.0, 0.5]], target: [7]}
    matrix: {dtype: [float32]}
"""
ONE, TWO = "multi_margin_loss/basic[float32,p=1,none]", "multi_margin_loss/basic[float32,p=2,none]"
HALF = "multi_margin_loss/basic[float16,p=1,none]"


@pytest.fixture(scope="module")
def op() -> Operator:
    return load_operator(Path("/x/cases/loss/multi_margin_loss.yaml"), OP)


def result(case: str = ONE, api: str = TORCH, check: str = "output", **more: Any) -> dict[str, Any]:
    return {
        "type": "result", "case": case, "op": "multi_margin_loss", "family": "loss", "api": api,
        "backend": api.partition(".")[0], "domain": "defined", "check": check, "status": "pass", "kind": "",
        "message": "", "compared": 2, "error_over_bound": 0.25, "outcome": "ok", "ledger": None,
        "max_ulp": 0.5, "mean_ulp": 0.25, "convention": "", "digest": "ffff", "error": None, **more,
    }  # fmt: skip


def failing(case: str = ONE, api: str = TORCH, **more: Any) -> dict[str, Any]:
    wrong = {"status": "fail", "kind": "value", "outcome": "regression", "message": "got 0", "max_ulp": 9e9}
    return result(case, api, **{**wrong, "error_over_bound": 30.0, **more})


def claim(**more: Any) -> dict[str, Any]:
    about = {"type": "claim", "op": "multi_margin_loss", "api": TORCH, "backend": "torch", "claim": "formula"}
    said = {"says": "the formula", "source": "https://example.org/f", "verdict": "refuted", "evidence": [ONE]}
    return {**about, **said, "outcome": "known", **more}


def write(folder: Path, rows: list[dict[str, Any]], op: Operator | None) -> Path:
    """Write the pages of a stream of these rows, and return the operator's."""
    head = {"type": "run", "schema": "conformance/1.0", "suite": {"name": "x", "version": "1"}, "argv": []}
    backends = [{"type": "backend", "backend": name, "framework": name, "version": "1"} for name in ORDER]
    lines = [head, *backends, *rows, {"type": "end", "complete": True, "exit": 0}]
    (folder / "run.jsonl").write_bytes(
        b"".join(msgspec.json.encode(jsonable(line)) + b"\n" for line in lines)
    )
    site = Site(read_facts(folder / "run.jsonl"), [op] if op else [], Ledger({}, Counter()))
    written(operator_pages.pages)(site, folder)
    return folder / op_page("multi_margin_loss")


class Text(HTMLParser):
    """The text of a page and the tags that it has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag; its attributes are looked at elsewhere."""
        del attrs
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        """Add text."""
        self.text += data


def section(page: str, name: str) -> str:
    """Return the text of a section, white space made one."""
    found = re.search(rf'<section aria-labelledby="{name}">(.*?)</section>', page, re.DOTALL)
    assert found, name
    return " ".join(Text(found[1]).text.split())


# -- the definition ------------------------------------------------------------------------------------


def test_every_shipped_operator_has_a_formula_that_converts() -> None:
    for op in suite():
        parts = typeset(op.decl.formula)
        assert len(parts) == op.decl.formula.count(BETWEEN_PARTS) + 1, op.name
        for part in parts:
            assert part.startswith("<math"), op.name
            assert "\\" not in part, (op.name, part)
            assert "&amp;" not in part, (op.name, part)
    assert {op.name for op in suite()} == set(definitions())


def test_what_browsers_leave_undone_without_a_font_is_done() -> None:
    (math,) = typeset(r"y = -\log x + \begin{cases} 1 & \max(0, x) \\ 2 & x \end{cases}")
    assert '<mo form="prefix">−</mo>' in math  # a sign
    assert re.search(r"<mi>log</mi><mspace[^>]*/><mi>x</mi>", math)
    assert re.search(r"<mi>max</mi><mo[^>]*>\(</mo>", math)
    assert 'class="brace"' in math


def test_a_formula_that_cannot_be_converted_is_shown_as_it_is_written() -> None:
    assert typeset(r"\left( <b>") == [r"<code>\left( &lt;b&gt;</code>"]


def test_the_source_of_the_reference_says_where_it_stands() -> None:
    definition = definitions()["multi_margin_loss"]
    function, vjp, *variants = sources(definition)
    assert re.fullmatch(r"reference/margin\.py:\d+", function.where)
    assert "def multi_margin_loss(" in function.text
    assert "cotangent" in vjp.text
    assert len(variants) == len(definition.variants) > 0


# -- arguments -----------------------------------------------------------------------------------------


def test_the_mapping_marks_other_names_and_other_defaults(op: Operator) -> None:
    table = mapping(op, ORDER)
    names = [each.name for each in table.arguments]
    assert names == ["input", "target", "weight", "p", "margin", "reduction"]
    (paddle,) = table.backends["paddle"]
    slots = dict(zip(names, paddle.slots, strict=True))
    assert (slots["input"].name, slots["input"].renamed) == ("input", False)
    assert (slots["target"].name, slots["target"].renamed) == ("label", True)
    assert slots["target"].notes == ("sent as int32",)
    assert (slots["p"].default, slots["p"].other_default) == ("2", True)
    assert (slots["margin"].name, slots["margin"].default, slots["margin"].other_default) == ("", "0.5", True)
    assert slots["weight"].notes == ("no such argument",)
    assert not slots["reduction"].other_default


def test_the_mapping_tells_how_an_api_is_called(op: Operator) -> None:
    torch, module = mapping(op, ORDER).backends["torch"]
    (primitive,) = mapping(op, ORDER).backends["mindspore"]
    assert not any(slot.renamed or slot.other_default for slot in torch.slots)
    assert module.notes == ("always called with size=3",)
    assert module.slots[2].name == ".head.weight"
    assert module.slots[2].notes == ("transposed", "an attribute of the module")
    assert primitive.notes == ("takes its arguments by position",)
    assert primitive.slots[4].notes == ("documented as int",)


def test_defaults_that_differ_stand_first_with_the_usual_one_ahead(op: Operator) -> None:
    found = dict(mapping(op, ORDER).defaults)
    assert list(found) == ["p", "margin", "reduction"]
    assert found["p"] == [("1", [TORCH, CLASS, MINDSPORE]), ("2", [PADDLE])]


def test_a_list_argument_is_named_with_its_places() -> None:
    (op,) = load_suite(ops=["adaptive_log_softmax"])
    lines = {line.api: line for line in mapping(op, ORDER).backends["paddle"]}
    slots = lines["paddle.nn.functional.adaptive_log_softmax_with_loss"].slots
    assert "tails[1][0]" in [slot.name for slot in slots]


def test_the_page_shows_the_marks_in_words(op: Operator, tmp_path: Path) -> None:
    page = write(tmp_path, [result()], op).read_text("utf-8")
    said = section(page, "mapping")
    assert "label ≠ other name" in said
    assert "p = 2 ≠ other default" in said
    assert "acts as 0.5 ≠ other default" in said
    assert "p: 1 in 3 APIs; 2 in paddle.nn.functional.multi_margin_loss" in said
    assert f'id="api-{PADDLE}"' in page


# -- accuracy ------------------------------------------------------------------------------------------


def test_accuracy_is_of_the_results_that_conform_and_counts_the_others(op: Operator) -> None:
    cases = {case.id: case for case in op.cases}
    at = {"at": [1], "got": 0.75, "exact": 0.7500001}
    here = {"at": [0], "got": 1.0, "exact": 1.0, "ulp": 0.5}
    rows = [
        result(max_ulp=0.5, mean_ulp=0.5, compared=2, at_max_ulp=here),
        result(TWO, max_ulp=3.5, mean_ulp=2.0, compared=6, at_max_ulp=at),
        failing(ONE),
        failing(TWO),
        result(TWO, domain="extended", max_ulp=77.0),
        result(TWO, check="relation.repeat", max_ulp=88.0),
    ]
    (line,) = accuracy(rows, cases, ORDER)["torch"]
    figure = line.dtypes["float32"]["output"]
    assert (figure.max_ulp, figure.passing, figure.failing) == (3.5, 2, 2)
    assert figure.mean_ulp == pytest.approx((0.5 * 2 + 2.0 * 6) / 8)
    assert line.dtypes["float32"]["gradient"].passing == 0


def test_the_largest_error_comes_with_its_case_and_values_in_hex(op: Operator) -> None:
    cases = {case.id: case for case in op.cases}
    at = {"at": [1, 2], "got": 0.75, "exact": -1.5}
    rows = [
        result(ONE, check="grad.input", max_ulp=1.0, at_max_ulp={"at": [0, 0], "got": 1, "exact": 1}),
        result(TWO, check="grad.input", max_ulp=2.0, at_max_ulp=at),
    ]
    (line,) = accuracy(rows, cases, ORDER)["torch"]
    found = line.dtypes["float32"]["gradient"].witness
    assert found is not None
    assert (found.case, found.check, found.at) == (TWO, "grad.input", "[1, 2]")
    assert found.inputs == (("input", "0x1p-3 (0.125)"),)
    assert (found.got, found.exact) == ("0x1.8p-1 (0.75)", "-0x1.8p+0 (-1.5)")
    assert float.fromhex(found.exact.split()[0]) == -1.5


def test_an_element_of_the_output_comes_with_the_row_that_gave_it(op: Operator) -> None:
    cases = {case.id: case for case in op.cases}
    row = result(ONE, at_max_ulp={"at": [1], "got": 0.5, "exact": 0.5})
    (line,) = accuracy([row], cases, ORDER)["torch"]
    found = line.dtypes["float32"]["output"].witness
    assert found is not None
    assert dict(found.inputs) == {"input": "[0x0p+0 (0), 0x1p+1 (2), 0x1p-3 (0.125)]", "target": "2"}


def test_where_the_exact_value_is_zero_no_ulp_counts(op: Operator) -> None:
    cases = {case.id: case for case in op.cases}
    at = {"at": [0], "got": 1.0, "exact": 1.0, "ulp": 2.0}
    rows = [result(ONE, max_ulp=1e30), result(TWO, max_ulp=1e31, at_max_ulp=at)]
    (line,) = accuracy(rows, cases, ORDER)["torch"]
    assert line.dtypes["float32"]["output"].max_ulp == 2.0
    (line,) = accuracy([result(ONE, max_ulp=1e30, mean_ulp=0.0)], cases, ORDER)["torch"]
    assert line.dtypes["float32"]["output"].max_ulp == 0.0


def test_a_stream_that_says_no_place_still_names_the_case(op: Operator) -> None:
    cases = {case.id: case for case in op.cases}
    (line,) = accuracy([result(HALF, max_ulp=4.0, mean_ulp=None)], cases, ORDER)["torch"]
    figure = line.dtypes["float16"]["output"]
    assert figure.witness is not None
    assert (figure.witness.case, figure.witness.got) == (HALF, "")
    assert figure.mean_ulp is None


def test_apis_with_the_same_figures_share_a_line_and_others_do_not(op: Operator) -> None:
    cases = {case.id: case for case in op.cases}
    same = [result(api=TORCH), result(api=CLASS)]
    assert [line.apis for line in accuracy(same, cases, ORDER)["torch"]] == [[TORCH, CLASS]]
    other = [result(api=TORCH), result(api=CLASS, mean_ulp=7.0)]
    assert [line.apis for line in accuracy(other, cases, ORDER)["torch"]] == [[TORCH], [CLASS]]


# -- conventions, mechanisms, coverage ---------------------------------------------------------------


def test_conventions_are_counted_by_api_and_check_with_an_example() -> None:
    rows = [
        result(ONE, check="grad.input", convention="below"),
        result(TWO, check="grad.input", convention="below"),
        result(HALF, check="grad.input", convention="mixed"),
        result(ONE, api=PADDLE, check="grad.input", convention="above"),
        result(TWO, api=PADDLE, check="grad.input"),
    ]
    torch, paddle = conventions(rows, ORDER)
    assert (torch.backend, torch.apis, dict(torch.counts)) == ("torch", [TORCH], {"below": 2, "mixed": 1})
    assert torch.examples == {"below": ONE, "mixed": HALF}
    assert (paddle.backend, dict(paddle.counts)) == ("paddle", {"above": 1})


def test_what_fails_is_listed_unexpected_first_and_links_to_its_pages(op: Operator, tmp_path: Path) -> None:
    rows = [failing(ONE, outcome="known", ledger="torch-old"), failing(TWO, PADDLE)]
    page = write(tmp_path, rows, op).read_text("utf-8")
    said = section(page, "mechanisms")
    assert said.index("paddle: wrong value") < said.index("torch: wrong value")
    assert 'href="../m/torch-old.html"' in page
    assert f'href="../{discrepancy_page(TWO, PADDLE)}"' in page
    assert "basic* (4 cases; fails in torch.nn.functional.multi_margin_loss" in section(page, "differences")


def test_the_first_lines_say_where_each_backend_stands(op: Operator, tmp_path: Path) -> None:
    rows = [
        failing(ONE),
        failing(TWO, outcome="known", ledger="a"),
        result(HALF),
        result(api=PADDLE),
        claim(),
    ]
    page = write(tmp_path, rows, op).read_text("utf-8")
    said = " ".join(Text(page.partition("<nav class")[0]).text.split())
    assert "torch: 2 of 3 judged results of 1 API fail, 1 unexpected and 1 known; 1 claim of its" in said
    assert "paddle: 0 of 1 judged result of 1 API fail; no claim of its documentation refuted." in said


def test_parameters_are_counted_by_value_and_dtype(op: Operator) -> None:
    counted = coverage(op)
    values = {value.text: value for value in counted.arguments["p"]}
    assert {text: value.total for text, value in values.items()} == {"1": 2, "2": 2, LEFT_OUT: 2}
    assert values["1"].cases == {"float16": 1, "float32": 1}
    assert {value.text: value.total for value in counted.arguments["weight"]} == {"given": 1, "not given": 5}
    assert (counted.every.total, counted.domains["undefined"]) == (6, 1)


# -- claims, observations, the whole page --------------------------------------------------------------


def test_refuted_claims_stand_in_full_and_confirmed_ones_folded(op: Operator, tmp_path: Path) -> None:
    rows = [
        failing(ONE),
        claim(why="because"),
        claim(claim="dtypes", verdict="confirmed", says="all of them"),
    ]
    page = write(tmp_path, rows, op).read_text("utf-8")
    said = section(page, "claims")
    assert said.index("refuted ◆ known formula") < said.index("1 confirmed")
    folded = page.partition("<summary>1 confirmed")[2]
    assert "all of them" in folded
    assert "because" not in folded


def test_questions_that_everybody_answers_alike_share_a_pattern(op: Operator, tmp_path: Path) -> None:
    case = "multi_margin_loss/open[float32]"
    observed = {"status": "observed", "domain": "undefined", "message": "gave a number", "digest": ""}
    rows = [
        result(case, api, check, **observed)
        for check in ("output", "grad.input")
        for api in (TORCH, CLASS, PADDLE)
    ]
    page = write(tmp_path, rows, op).read_text("utf-8")
    said = section(page, "observed")
    assert "Undefined domain: 1 pattern of answers" in said
    assert said.count("gave a number") == 1
    assert f"{case}; grad.input 1 case" in said


def test_too_many_observations_move_to_a_page_of_their_own(
    op: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_pages, "OBSERVED_IN_PAGE", 10)
    rows = [result(status="observed", domain="undefined", message="gave a number")]
    page = write(tmp_path, rows, op).read_text("utf-8")
    assert "gave a number" not in page
    assert 'href="../op/multi_margin_loss-observed.html"' in page
    apart = (tmp_path / "op" / "multi_margin_loss-observed.html").read_text("utf-8")
    assert "gave a number" in apart


def test_an_operator_that_the_suite_does_not_know_has_a_page_all_the_same(tmp_path: Path) -> None:
    page = write(tmp_path, [result(), failing(TWO), claim()], None).read_text("utf-8")
    assert "this suite has no such operator" in page
    assert "float32" in section(page, "accuracy")


def test_hostile_text_is_text(tmp_path: Path) -> None:
    text = OP.replace("the hinge of every wrong class <b>", HOSTILE.replace('"', '\\"'))
    op = load_operator(Path("/x/cases/loss/multi_margin_loss.yaml"), text)
    at = {"at": [], "got": "NaN", "exact": 1, "ulp": 1}
    rows = [
        failing(
            f"multi_margin_loss/{HOSTILE}",
            HOSTILE,
            message=HOSTILE,
            check=HOSTILE,
            kind=HOSTILE,
            backend="torch",
        ),
        result(
            check=f"grad.{HOSTILE}",
            convention="below",
            at_max_ulp=at,
        ),
        result(status="observed", domain="undefined", message=HOSTILE, check="grad.input"),
        claim(claim=HOSTILE, says=HOSTILE, why=HOSTILE, source=HOSTILE, evidence=[HOSTILE], ledger=HOSTILE),
    ]
    page = write(tmp_path, rows, op).read_text("utf-8")
    assert "alert(1)" in page
    assert not re.search(r"<script>alert|<img|\sonerror=alert\(2\)>[^&]*<img", page)
    assert "{{ 7*7 }}" in page
    assert "img" not in Text(page).tags
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"\S+", each) for each in ids)


def test_the_same_facts_give_the_same_bytes_without_inline_style_or_script(
    op: Operator, tmp_path: Path
) -> None:
    rows = [failing(ONE), result(TWO), claim(), result(api=PADDLE, check="grad.input", convention="below")]
    pages = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        pages.append(write(tmp_path / name, rows, op).read_bytes())
    assert pages[0] == pages[1]
    assert not re.search(rb"\sstyle=|<script>|\son\w+=", pages[0])
