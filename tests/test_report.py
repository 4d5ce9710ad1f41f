"""The site as a whole: what it refuses, that it is small, repeatable and safe, and the words it uses."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.errors import InvalidFileError
from conformance.ledger import Ledger
from conformance.report import links
from conformance.report.camps import camps, suspect_oracle
from conformance.report.facts import multiple, plural, read_facts, show
from conformance.report.site import Site, write_site
from conformance.suite import file_digests
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
    page,
    result,
    site,
    stream,
    suite,
    text_of,
)


def test_a_stream_of_another_major_version_is_refused(tmp_path: Path) -> None:
    """A reader that does not know the contract says so."""
    path = tmp_path / "run.jsonl"
    path.write_text('{"type":"run","schema":"conformance/2.0"}\n')
    with pytest.raises(InvalidFileError, match="schema"):
        read_facts(path)


def test_a_run_that_did_not_finish_or_has_no_results_is_never_good(tmp_path: Path) -> None:
    """Silence is not conformance."""
    unfinished = text_of(page(tmp_path, [result()], end={}))
    assert "✗ Cannot tell. The run did not finish." in unfinished
    assert "Complete ✗ no" in unfinished
    assert "✗ Nothing ran." in text_of(page(tmp_path, []))


def everything() -> list[dict[str, Any]]:
    """Return rows of every kind, with a hostile string wherever a framework or a document may put one."""
    error = dict.fromkeys(("phase", "category", "exception", "message", "stderr"), HOSTILE)
    return [
        result(**{**REFUSED, "message": HOSTILE, "error": error, "outcome": "known", "ledger": "e"}),
        result(api=PADDLE, case=f"multi_margin_loss/{HOSTILE}", **{**CRASHED, "error": error}),
        result(api=HOSTILE, backend=HOSTILE, check=HOSTILE, **WRONG),
        result(status="observed", domain="undefined", message=HOSTILE, case=HOSTILE),
        result(status="notrun", outcome="notrun", message=HOSTILE),
        {"type": "backend", "backend": HOSTILE, "framework": HOSTILE, "version": "", "lost": HOSTILE},
        {"type": "ledger", "ledger": HOSTILE, "backend": HOSTILE, "outcome": "stale", "message": HOSTILE},
        {
            "type": "claim",
            "op": HOSTILE,
            "api": HOSTILE,
            "claim": HOSTILE,
            "says": HOSTILE,
            "source": "javascript:alert(3)",
        }
        | {"verdict": "refuted", "why": HOSTILE, "evidence": [HOSTILE], "outcome": "regression"},
    ]


def test_hostile_strings_neither_break_nor_script_any_page(tmp_path: Path) -> None:
    """Whatever a framework, a document or a ledger says is text, and no page stands outside the folder."""
    site(tmp_path, everything(), entry("e", reason=HOSTILE, upstream="javascript:alert(4)", kind="raises"))
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) >= 8
    for path in pages:
        assert path.resolve().is_relative_to(tmp_path.resolve())
        html = path.read_text("utf-8")
        tags = Tags(html)
        assert tags.open == []
        assert tags.seen.count("script") == 1
        assert not {"img", "iframe", "object", "embed", "base"} & set(tags.seen)
        assert not [name for name, _ in tags.attributes if name.startswith("on") or name == "style"]
        targets = [value for name, value in tags.attributes if name in ("href", "src")]
        assert not [url for url in targets if ":" in url and not url.startswith("https://")]
        assert "&amp;amp; 49" not in html


def test_the_policy_of_every_page_lets_in_its_own_folder_only(tmp_path: Path) -> None:
    """No network, nothing inline."""
    site(tmp_path, [result(**WRONG)])
    for path in tmp_path.rglob("*.html"):
        html = path.read_text("utf-8")
        assert "default-src 'none'" in html
        assert "unsafe" not in html.partition("</head>")[0]
        assert "<style" not in html
        assert html.count("<script") == 1


def test_a_site_has_no_page_of_the_one_before(tmp_path: Path) -> None:
    """A discrepancy that is fixed leaves no page, no script and no mechanism behind."""
    site(tmp_path, [result(**WRONG)])
    permalink = tmp_path / links.discrepancy_page(BASIC, TORCH)
    assert permalink.exists()
    assert list((tmp_path / "repro").rglob("*.py"))
    site(tmp_path, [result()])
    assert not permalink.exists()
    assert not list((tmp_path / "repro").rglob("*.py"))


def test_the_same_stream_gives_the_same_site(tmp_path: Path) -> None:
    """Byte for byte, from the stream or from its folded report: a report can be compared and committed."""
    rows = [result(**WRONG), result(api=PADDLE, **CRASHED), result(api=TORCH_CLASS)]
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        site(tmp_path / name, rows)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        found.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
    assert found[0] == found[1]


def test_fifty_thousand_results_make_pages_that_open(tmp_path: Path) -> None:
    """Every page stays below a megabyte, and every failing case has its own."""
    ops = suite(*(f"case-{n}" for n in range(350)))
    rows = [
        result(case=case.id, api=api, check=check, **(WRONG if place < 96 and check == "output" else {}))
        for place, case in enumerate(ops[0].cases)
        for api in (TORCH, TORCH_CLASS, PADDLE)
        for check in ("output", "grad.input")
    ]
    assert len(rows) == 50_400
    index = write_site(Site(read_facts(stream(tmp_path, rows)), ops, Ledger({})), tmp_path)
    sizes = {str(path.relative_to(tmp_path)): path.stat().st_size for path in tmp_path.rglob("*.html")}
    assert max(sizes.values()) < 1_000_000
    assert index.exists()
    assert all((tmp_path / links.discrepancy_page(case.id, PADDLE)).exists() for case in ops[0].cases[:96])


def test_a_site_says_when_its_case_files_are_not_those_of_the_run(tmp_path: Path) -> None:
    """Inputs and scripts come from the files of today: next to verdicts of other files they would mislead."""
    case_file = tmp_path / "multi_margin_loss.yaml"
    case_file.write_text("op: x\n")
    (op,) = suite()
    op = replace(op, file=case_file)
    facts = read_facts(stream(tmp_path, [result(**WRONG)]))
    for digest, said in ((file_digests([op])["multi_margin_loss"], False), ("000000", True)):
        facts.run["suite"]["files"] = {"multi_margin_loss": digest, "unknown_op": "1"}
        write_site(Site(facts, [op], Ledger({})), tmp_path)
        for page_ in (links.INDEX, links.discrepancy_page(BASIC, TORCH), links.op_page("multi_margin_loss")):
            text = text_of((tmp_path / page_).read_text("utf-8"))
            assert ("other case files than the run had, of multi_margin_loss." in text) is said


def test_a_report_imports_no_framework() -> None:
    """It is written where no framework is installed."""
    code = "import sys, conformance.report.pages; print({'torch', 'paddle', 'mindspore'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "set()\n"


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
