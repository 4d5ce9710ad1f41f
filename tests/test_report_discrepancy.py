"""The pages of discrepancies and mechanisms: what they say, what they draw, and that their links hold."""

import posixpath
import re
from pathlib import Path
from typing import Any

import pytest

from conformance.ledger import Entry, Ledger
from conformance.report import discrepancy_pages, issue_text, mechanism_pages
from conformance.report.camps import answers
from conformance.report.evidence import evidence
from conformance.report.facts import Facts, read_facts
from conformance.report.links import discrepancy_page, mechanism_page
from conformance.report.measures import measures
from conformance.report.pictures import heat, histogram, worst_elements
from conformance.report.sentences import verdict
from conformance.report.site import Site, written
from conformance.stream import Row
from tests.report_rows import (
    BASIC,
    CRASHED,
    HOSTILE,
    PADDLE,
    REFUSED,
    TORCH,
    TORCH_CLASS,
    WRONG,
    Tags,
    entry,
    result,
    stream,
    suite,
    text_of,
)

DETAIL: dict[str, Any] = {
    "dtype": "float32",
    "shape": [2],
    "nan": 1,
    "inf": 0,
    "expected_nan": 0,
    "expected_inf": 0,
    "yardstick": {"max_abs": 1e-8, "over_bound": 0.25},
    "heat": {"block": [1, 2], "levels": ["..0567", "zz!! ."]},
    "ulp_histogram": [[None, 3], [0, 1], [-(2**63), 2], [40, 5]],
    "worst": [
        {"at": [1], "got": "NaN", "low": 1.25, "high": 1.25, "bound": 2.5e-7, "ratio": 0.0, "ulp": 0.0},
        {"at": [0], "got": 2.0, "low": 0.5, "high": 0.75, "bound": 2.5e-7, "ratio": 5e6, "ulp": 1e7},
    ],
}
DETAILED = {**WRONG, "detail": DETAIL, "mean_ulp": 3.5}


def facts_of(folder: Path, rows: list[dict[str, Any]]) -> Facts:
    return read_facts(stream(folder, rows))


def failing(folder: Path, *rows: dict[str, Any]) -> list[Row]:
    return facts_of(folder, list(rows)).results


def built(folder: Path, rows: list[dict[str, Any]], ledger: Ledger | None = None) -> Site:
    """Write the pages of both kinds below `folder`."""
    site = Site(facts_of(folder, rows), suite(), ledger or Ledger({}))
    discrepancy_pages.write(site, folder)
    written(mechanism_pages.pages)(site, folder)
    return site


def page(folder: Path, case: str = BASIC, api: str = TORCH) -> str:
    return (folder / discrepancy_page(case, api)).read_text("utf-8")


def grad(**more: Any) -> dict[str, Any]:
    row: dict[str, Any] = result(check="grad.input", status="fail", outcome="regression", **more)
    return row


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([result(**WRONG)], "computes a wrong output: 1 of 2 elements, worst 5.0e6× the bound"),
        (
            [grad(kind="grad_value", compared=40, mismatched=12, error_over_bound=1900.0)],
            "computes a wrong gradient by input: 12 of 40 elements, worst 1,900× the bound",
        ),
        (
            [result(**{**WRONG, "check": "grad2.input", "kind": "grad_value"})],
            "computes a wrong second derivative by input: 1 of 2 elements, worst 5.0e6× the bound",
        ),
        (
            [result(**{**WRONG, "kind": "nonfinite", "got": "-Infinity"})],
            "gives −∞ in the output where the exact value is 1.25, 1 of 2 elements",
        ),
        (
            [result(**{**WRONG, "kind": "nonfinite", "got": 3.0, "expected": "NaN"})],
            "gives 3 in the output where the exact value is NaN, 1 of 2 elements",
        ),
        ([result(**CRASHED), result(check="grad.input", **CRASHED)], "ends the process (SIGSEGV)"),
        ([result(status="timeout", message="no answer in 30 s")], "does not return: no answer in 30 s"),
        ([result(status="error", error={"exception": "E"})], "fails with an internal error: E"),
        (
            [result(**REFUSED), result(check="grad.input", **REFUSED)],
            "refuses this call: RuntimeError",
        ),
        (
            [result(**{**REFUSED, "check": "raises"})],
            "raises, but not what and where its documentation promises: RuntimeError",
        ),
        (
            [result(check="raises", status="fail", kind="no_raise")],
            "returns a value where its documentation promises an error",
        ),
        (
            [result(check="relation.permutation", status="fail", kind="relation", message="a is b; c")],
            "breaks the relation permutation: a is b",
        ),
        (
            [result(check=f"grad.{n}", status="fail", kind="grad_missing") for n in ("a", "b", "c")],
            "gives no gradient by a, b and c, where the definition has them",
        ),
        ([grad(kind="grad_extra")], "gives a gradient by input where none is due"),
        ([result(status="fail", kind="dtype", message="m")], "returns the output in the wrong dtype: m"),
        (
            [result(status="fail", kind="mutated_input", message="changed its input x")],
            "changes its input x",
        ),
        (
            [grad(kind="shape", message="s"), result(**{**WRONG, "compared": 1})],
            "computes a wrong output: 5.0e6× the bound; the gradient by input fails too",
        ),
    ],
)
def test_the_verdict_is_one_sentence_for_each_kind(
    tmp_path: Path, rows: list[dict[str, Any]], said: str
) -> None:
    """A maintainer reads what is wrong before anything else: the output first, and once what is one event."""
    assert verdict(failing(tmp_path, *rows)).text == f"{TORCH} {said}"


def test_camps_are_told_once_for_checks_that_were_answered_alike(tmp_path: Path) -> None:
    """A refused call gives the same answer to every check; a wrong gradient has camps of its own."""
    rows = [
        *(result(check=check, **REFUSED) for check in ("output", "grad.input", "grad.weight")),
        *(result(api=PADDLE, check=check) for check in ("output", "grad.input")),
        result(api=PADDLE, check="grad.weight", **WRONG),
    ]
    facts = facts_of(tmp_path, rows)
    found = answers([row for row in facts.results if row["api"] == TORCH], facts)
    assert [each.checks for each in found] == [["output", "grad.input"], ["grad.weight"]]
    assert [[camp.status for camp in each.camps] for each in found] == [["pass", "fail"], ["fail", "fail"]]


def test_the_page_says_to_suspect_the_oracle_and_links_who_agrees(tmp_path: Path) -> None:
    """Two frameworks against the reference: perhaps it is the reference."""
    built(tmp_path, [result(**WRONG), result(api=PADDLE, **WRONG), result(api=TORCH_CLASS, **WRONG)])
    html = page(tmp_path)
    assert "Suspect the oracle" in html
    assert f'href="../../{discrepancy_page(BASIC, PADDLE)}"' in html
    assert f'href="../../{discrepancy_page(BASIC, TORCH)}"' not in html


@pytest.mark.parametrize(
    ("kind", "said"),
    [("mutated_input", "changed its input x"), ("mutated_process", "changed its process: flush-to-zero")],
)
def test_an_answer_that_is_right_shows_its_figures_and_no_element_as_wrong(
    tmp_path: Path, kind: str, said: str
) -> None:
    """What is wrong is what the call did besides: no picture, no line of the issue, no word of the oracle."""
    right = {**WRONG, "kind": kind, "message": said, "mismatched": 0, "error_over_bound": 0.5, "got": 1.25}
    both = [result(**right), result(api=PADDLE, **right), result(check="grad.input", **WRONG)]
    built(tmp_path, both)
    html = page(tmp_path)
    assert "0 of 2" in html
    assert "Where output is off" not in html
    assert re.search(r"Where <code>grad\.(<wbr>)?input</code> is off", html)
    assert "output at [1]: exact" not in html
    assert "Suspect the oracle" not in html
    assert said in re.sub(r"<wbr>", "", html)


def test_the_heatmap_has_every_cell_and_merges_equal_neighbours(tmp_path: Path) -> None:
    """The scale turns at the bound: the digit 5 is within, 6 outside; blanks are not drawn."""
    (row,) = failing(tmp_path, result(**DETAILED))
    found = heat(row)
    assert found is not None
    assert (found.rows, found.columns, sum(found.counts.values())) == (2, 6, 12)
    assert found.counts == {"none": 3, "calm": 1, "near": 1, "out": 2, "lost": 2, "mask": 2, "open": 1}
    assert found.outside == 6
    assert {name: len(marks) for name, marks in found.marks.items()} == {
        "none": 2,
        "calm": 1,
        "near": 1,
        "out": 1,
        "lost": 1,
        "mask": 1,
    }
    built(tmp_path, [result(**DETAILED)])
    drawn = re.findall(r'<svg class="heat" role="img".*?</svg>', page(tmp_path), re.DOTALL)
    assert len(drawn) == 1
    assert drawn[0].count("<rect") == 1 + 7
    assert "outside, up to 10×: 2; outside, beyond 1 000×: 2" in drawn[0]


def test_without_details_there_is_no_picture_but_the_worst_element(tmp_path: Path) -> None:
    """A stream of an older suite has less, and its page stands."""
    (row,) = failing(tmp_path, result(**WRONG))
    assert heat(row) is None
    assert histogram(row) == []
    assert [(e.at, e.got, e.exact, e.ratio) for e in worst_elements(row)] == [((1,), "0", "1.25", "5.0e6×")]


def test_the_histogram_ends_and_the_worst_elements_have_their_intervals(tmp_path: Path) -> None:
    """A power that no dtype has costs one bar, not a loop through all integers."""
    (row,) = failing(tmp_path, result(**DETAILED))
    bars = histogram(row)
    assert len(bars) <= 15
    assert [bar.count for bar in bars if bar.count] == [3, 2, 1, 5]
    assert bars[0].label == "exact"
    assert bars[1].label.startswith("below")
    assert [(e.exact, e.ratio) for e in worst_elements(row)] == [
        ("1.25", "misplaced"),
        ("[0.5, 0.75]", "5.0e6×"),
    ]


def test_the_table_has_a_column_for_every_check_also_of_what_passes(tmp_path: Path) -> None:
    """Expected dtype and shape come from the oracle, where the stream does not say."""
    facts = facts_of(tmp_path, [result(**DETAILED), result(check="grad.input", compared=6)])
    (operator,) = suite()
    site = Site(facts, [operator], Ledger({}))
    shown = evidence(facts.results, facts, site.library)
    lines = {line.label: line.values for line in measures(shown.rows, shown.expected)}
    assert lines["shape"] == ("[2]", "[2, 3]")
    assert lines["dtype"] == ("float32", "float32")
    assert lines["elements outside"] == ("1 of 2", "0 of 6")
    assert lines["NaN"] == ("1, expected 0", "")
    assert lines["error of plain NumPy in this dtype"] == ("1e-08 (0.25× the bound)", "")
    assert lines["where the bound came from"][0].startswith("4 × (rounding 2.5e-08 + ")
    assert "subgradient at the kinks" not in lines
    tensors = {tensor.name: tensor for tensor in shown.tensors}
    assert tensors["input"].at((1, 0), (2, 3)) == "0.0"
    assert tensors["input"].at((1,), (2,)) == "[0.0, 2.0, 0.125]"
    assert tensors["target"].at((1, 0), (2, 3)) == "2"
    assert tensors["target"].at((1,), (3,)) == tensors["target"].at((), ()) == ""


def test_a_page_has_the_case_the_inputs_the_script_and_the_ways_to_run_it(tmp_path: Path) -> None:
    """The script stands beside the page as a file; the ids are those that the commands take."""
    built(tmp_path, [result(**WRONG), result(api=PADDLE)])
    html = page(tmp_path)
    text = text_of(html)
    script = discrepancy_pages.script_path(BASIC, TORCH)
    assert f'href="../../{script}"' in html
    compile((tmp_path / script).read_text("utf-8"), script, "exec")
    for fact in (
        "A row with its label in front.",
        "cases/loss/multi_margin_loss.yaml:",
        "defined domain: the mathematics fixes the answer",
        "[[ 1.0, 0.5, -0.25],",
        f"conformance run --backend torch --api {TORCH} -k &#39;{BASIC}&#39;",
        f"pytest &#39;cases/loss/multi_margin_loss.yaml::{TORCH}::basic[float32,p=1,none]&#39; --backend",
        "The ledger has no entry for output",
        "### Environment",
    ):
        assert fact in text, fact
    assert not (tmp_path / discrepancy_page(BASIC, PADDLE)).exists()


def test_a_crash_shows_its_signal_and_standard_error(tmp_path: Path) -> None:
    """What a process said last is often all there is."""
    built(tmp_path, [result(check=check, **CRASHED) for check in ("output", "grad.input")])
    text = text_of(page(tmp_path))
    assert "ends the process (SIGSEGV)." in text
    assert "signal SIGSEGV" in text
    assert text.count("Fatal Python error") == 2  # the page, and the text of the issue


def test_an_issue_is_markdown_that_no_message_breaks_out_of() -> None:
    """Fences and code spans are longer than any run of backticks in what they hold."""
    ticks = "a ``` b ````` c"
    fence = issue_text.fenced(ticks)
    assert fence.splitlines()[0] == "``````text"
    assert fence.splitlines()[-1] == "``````"
    assert issue_text.code("`x``") == "``` `x`` ```"
    assert issue_text.code("a\nb") == "`a b`"
    assert issue_text.plain("<img> [x](y) *z*") == r"\<img\> \[x\](y) \*z\*"


def test_an_issue_has_what_upstream_asks_for(tmp_path: Path) -> None:
    """Environment, what happens, what is expected, inputs, the script; no link that is none."""
    message = "at [1]: got ```\n# not a heading"
    facts = facts_of(tmp_path, [result(**{**WRONG, "message": message})])
    site = Site(facts, suite(), Ledger({}))
    issue = discrepancy_pages.issue_of(evidence(facts.results, facts, site.library), site)
    body = issue_text.body(issue)
    assert issue_text.title(issue).startswith(f"{TORCH} computes a wrong output")
    outside = re.sub(r"(`{3,})\w*\n.*?\n\1(?=\n)", "", body, flags=re.DOTALL)
    assert [line for line in outside.splitlines() if line.startswith("#")] == [
        "### Environment",
        "### What happens",
        "### What is expected",
        "### Inputs",
        "### How to reproduce",
    ]
    for fact in ("- torch 1.2.3", "- device cpu, eager mode", "<https://example.org/f>", "sys.exit(1)"):
        assert fact in body, fact
    issue.document, issue.script = "javascript:alert(1)", "x" * (issue_text.MOST_SCRIPT + 1)
    assert "javascript" not in issue_text.body(issue)
    assert "attached script" in issue_text.body(issue)


def test_every_entry_has_a_page_and_so_has_an_unexpected_cause(tmp_path: Path) -> None:
    """An entry that matched nothing, one of a claim, one of results, and a cause that nobody reviewed."""
    ledger: Ledger = entry("torch-margin", band={"float32": (1.0, 1e7)})
    more: dict[str, Any] = {
        "op": "multi_margin_loss",
        "api": ["*"],
        "kind": "value",
        "versions": "==1",
        "upstream": "unreported",
    }
    ledger.entries["paddle"] = [
        Entry(id="paddle-unused", check=["*"], reason="Never seen.", since="0", **more),
        Entry(id="paddle-claim", check=["claim.formula"], reason="It prints another.", since="0", **more),
    ]
    claim: dict[str, Any] = {
        "type": "claim",
        "op": "multi_margin_loss",
        "api": PADDLE,
        "backend": "paddle",
        "claim": "formula",
    }
    claim |= {"says": "p is outside", "source": "https://e.org/d", "verdict": "refuted", "why": "got 3"}
    claim |= {"evidence": [BASIC], "outcome": "known", "ledger": "paddle-claim"}
    known = {**WRONG, "outcome": "known", "ledger": "torch-margin"}
    built(tmp_path, [result(**known), result(api=PADDLE, **WRONG), claim], ledger)

    def text(name: str) -> str:
        return str(text_of((tmp_path / mechanism_page(name)).read_text("utf-8")))

    assert "It forgets the margin." in text("torch-margin")
    assert "1 failing result of 1 discrepancy, a case of an API each; worst 5.0e6× the bound." in text(
        "torch-margin"
    )
    assert "This run has no result that the entry speaks of." in text("paddle-unused")
    assert "✗ refuted ◆ known p is outside" in text("paddle-claim")
    assert "The ledger has no entry for this" in text("multi_margin_loss/basic")


def test_a_result_that_is_not_as_its_entry_says_is_no_known_one(tmp_path: Path) -> None:
    """Out of its band or of another kind: the pages say so in both places."""
    built(tmp_path, [result(**{**WRONG, "ledger": "torch-margin"})], entry("torch-margin"))
    assert "the result is not as the entry says" in text_of(page(tmp_path))
    text = text_of((tmp_path / mechanism_page("torch-margin")).read_text("utf-8"))
    assert "✗ regression 1 failing result" in text
    assert "1 result of these is not as the entry says" in text


def test_a_long_mechanism_is_split_and_every_discrepancy_is_on_one_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Worst first; the parts link to each other."""
    monkeypatch.setattr(mechanism_pages, "MOST_ROWS", 5)
    known = {**WRONG, "outcome": "known", "ledger": "torch-margin"}
    cases = [case.id for case in suite()[0].cases[:12]]
    built(tmp_path, [result(case=case, **known) for case in cases], entry("torch-margin"))
    paths = [mechanism_page("torch-margin"), *(mechanism_pages.part_page("torch-margin", n) for n in (2, 3))]
    listed = [(tmp_path / path).read_text("utf-8") for path in paths]
    assert [html.count('<tr class="filterable"') for html in listed] == [5, 5, 2]
    assert all(sum(discrepancy_page(case, TORCH) in html for html in listed) >= 1 for case in cases)
    assert all(f'href="../{path}"' in listed[0] for path in paths[1:])
    assert not (tmp_path / mechanism_page("torch-margin-2")).exists()


def test_all_links_among_these_pages_lead_somewhere(tmp_path: Path) -> None:
    """Discrepancies, mechanisms and scripts know each other by their paths alone."""
    known = {**DETAILED, "outcome": "known", "ledger": "torch-margin"}
    rows = [
        result(**known),
        result(check="grad.input", **known),
        result(api=PADDLE, **CRASHED),
        result(api=TORCH_CLASS, case="multi_margin_loss/gone[float32]", **REFUSED),
        result(api=PADDLE, case=f"multi_margin_loss/{HOSTILE}", **WRONG),
    ]
    built(tmp_path, rows, entry("torch-margin"))
    pages = sorted(tmp_path.glob("[dm]/**/*.html"))
    assert len(pages) == 4 + 4
    seen = 0
    for each in pages:
        here = each.relative_to(tmp_path).as_posix()
        tags = Tags(each.read_text("utf-8"))
        for name, value in tags.attributes:
            target = posixpath.normpath(posixpath.join(posixpath.dirname(here), value))
            if (
                name == "href"
                and re.match(r"(d|m|repro)/\w", target)
                and ":" not in value
                and "#" not in value
            ):
                seen += 1
                assert (tmp_path / target).exists(), f"{here} → {value}"
    assert seen >= 12


def test_hostile_strings_neither_break_nor_script_these_pages(tmp_path: Path) -> None:
    """Message, case, check, exception and standard error are text, wherever they stand."""
    error = dict.fromkeys(("phase", "category", "exception", "message", "stderr", "signal"), HOSTILE)
    rows = [
        result(**{**REFUSED, "message": HOSTILE, "error": error, "outcome": "known", "ledger": "e"}),
        result(api=PADDLE, case=f"multi_margin_loss/{HOSTILE}", **{**CRASHED, "error": error}),
        result(api=HOSTILE, backend=HOSTILE, check=HOSTILE, **DETAILED),
        result(check=f"grad.{HOSTILE}", **{**DETAILED, "kind": HOSTILE, "convention": HOSTILE}),
    ]
    built(tmp_path, rows, entry("e", reason=HOSTILE, upstream="javascript:alert(4)", kind="raises"))
    for each in tmp_path.glob("[dm]/**/*.html"):
        tags = Tags(each.read_text("utf-8"))
        assert tags.open == []
        assert tags.seen.count("script") == 1
        assert "img" not in tags.seen
        assert not [name for name, _ in tags.attributes if name.startswith("on") or name == "style"]
        links = [value for name, value in tags.attributes if name in ("href", "src")]
        assert all(value.startswith(("https://", "#", "../")) for value in links)


def test_the_same_facts_give_the_same_bytes_in_one_process_or_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site can be compared and committed, wherever it was written."""
    rows = [result(case=case.id, **WRONG) for case in suite()[0].cases[:6]]
    (tmp_path / "one").mkdir()
    built(tmp_path / "one", rows)
    monkeypatch.setattr(discrepancy_pages, "CHUNK", 2)
    monkeypatch.setattr(discrepancy_pages, "SMALL", 0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    (tmp_path / "many").mkdir()
    built(tmp_path / "many", rows)
    files = {
        path.relative_to(tmp_path / "one"): path.read_bytes() for path in (tmp_path / "one").glob("*/**/*.*")
    }
    assert len(files) == 6 + 6 + 1
    assert {name: (tmp_path / "many" / name).read_bytes() for name in files} == files


def test_what_is_stale_or_our_own_fault_has_a_page_and_what_did_not_run_has_none(tmp_path: Path) -> None:
    """An annotation names the case; its page says that it conforms, or that nobody judged it."""
    stale = result(outcome="stale", ledger="torch-margin", message="it does not fail")
    fault = result(api=TORCH_CLASS, status="harness", outcome="regression", message="an answer to nothing")
    lost = result(api=PADDLE, status="notrun", outcome="notrun", message="paddle is gone")
    built(tmp_path, [stale, fault, lost], entry("torch-margin"))
    said = text_of((tmp_path / discrepancy_page(BASIC, TORCH)).read_text("utf-8"))
    assert "conforms in the output, although the ledger has torch-margin." in said
    assert "↻ stale" in said
    assert "It forgets the margin." in said
    said = text_of((tmp_path / discrepancy_page(BASIC, TORCH_CLASS)).read_text("utf-8"))
    assert "was not judged, by a fault of the harness: an answer to nothing." in said
    assert not (tmp_path / discrepancy_page(BASIC, PADDLE)).exists()
