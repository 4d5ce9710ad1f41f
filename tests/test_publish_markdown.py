"""The step summary: short, the unexpected first, and nothing in a message is read as markup."""

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from conformance.changes import compare_runs
from conformance.publish.markdown import MOST_BYTES, code, markdown, prose
from tests.publishing import CASE, HOSTILE, PADDLE, TORCH, claim, facts, result, stale, wrong

READER = MarkdownIt("gfm-like", {"linkify": False, "html": True})


def cells(text: str) -> list[list[str]]:
    """Return the plain text of every cell of every table, row by row, as GitHub's Markdown reads them."""
    rows: list[list[str]] = []
    within = False
    for token in READER.parse(text):
        within = token.type != "table_close" and (within or token.type == "table_open")
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and within:
            plain = [each.content for each in token.children or [] if each.type != "html_inline"]
            rows[-1].append("".join(plain))
    return rows


def headings(text: str) -> list[str]:
    return [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]


def test_nothing_unexpected_is_short() -> None:
    """One look: the heading, the backends, what ran."""
    text = markdown(facts(result(), wrong(api=PADDLE, outcome="known", ledger="e")))
    assert headings(text) == ["Nothing unexpected", "By backend"]
    assert ["torch 1.2.3", "1", "0", "0", "0", "1", "0", "0"] in cells(text)
    assert ["paddle 1.2.3", "0", "1", "0", "0", "0", "1", "0"] in cells(text)
    assert "executed again: paddle 1." in text
    assert len(text.splitlines()) < 20


def test_the_unexpected_comes_first() -> None:
    """API, what, case, check, and the command that shows it again."""
    text = markdown(facts(wrong(), wrong(check="grad.input"), claim(), stale()))
    assert headings(text) == ["4 unexpected results", "Unexpected", "By backend", "What to do next"]
    assert cells(text)[1] == [TORCH, "wrong valuegot 1, exact 2", CASE, "output", "2"]
    assert cells(text)[2] == [TORCH, "document refutedno", "", "claim.formula", "1"]
    assert cells(text)[3] == ["torch", "ledger entry that matches nothingmatches nothing", "", "old", "1"]
    fenced = re.findall(r"^```sh\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)
    assert fenced[0].splitlines()[0] == f"conformance run --backend torch --api {TORCH} -k '{CASE}'"
    assert "`conformance ledger update`" in text
    assert "leaves the ledger" in text


def test_an_incomplete_run_is_loud() -> None:
    """Before everything else, and without a verdict."""
    text = markdown(facts(result(), lost="libpaddle.so: undefined symbol"))
    assert headings(text)[0] == "No verdict: the run is incomplete"
    assert text.index("[!CAUTION]") < text.index("By backend")
    assert "`paddle was lost: libpaddle.so: undefined symbol`" in text
    assert headings(markdown(facts(result(), end=False)))[0] == "No verdict: the run is incomplete"
    assert headings(markdown(facts()))[0] == "No verdict: nothing ran"
    harness = result(status="harness", outcome="regression")
    assert headings(markdown(facts(harness)))[0] == "No verdict: the harness failed"


def test_many_groups_are_counted() -> None:
    """Ten are shown; a summary is no report."""
    text = markdown(facts(*(wrong(api=f"torch.toy_{n}") for n in range(33))))
    assert "… and 23 more groups, 23 results" in text
    assert len(text.splitlines()) <= 60


def test_a_site_is_linked_where_there_is_one() -> None:
    """The case leads to its page."""
    text = markdown(facts(wrong()), site="https://example.org/site/")
    assert re.search(r"\[`multi_margin_loss/basic.*`\]\(https://example.org/site/d/multi_margin_loss/", text)
    assert "[report](https://example.org/site/index.html)" in text


def test_what_changed_since_another_run_is_said() -> None:
    """A section of its own, where two runs are compared."""
    old, new = facts(result()), facts(wrong())
    text = markdown(new, compare_runs(old, new))
    assert "newly failing" in text.lower()
    assert text.index("## Unexpected") < text.index("## Since the earlier run") < text.index("## By backend")
    assert len(text.splitlines()) <= 60


def test_no_message_is_markup() -> None:
    """In tables, lists and fences: no element, no link, no cell of its own."""
    api = "torch." + HOSTILE
    rows = [wrong(HOSTILE, api, message=HOSTILE), claim(why=HOSTILE, claim=HOSTILE), stale(HOSTILE)]
    text = markdown(facts(*rows, lost=HOSTILE))
    assert all(len(row) in (5, 8) for row in cells(text))
    html = READER.render(text)
    assert "<script" not in html
    assert "<a " not in html
    assert "\x00" not in text
    assert "\u202e" not in text
    assert not re.search(r"^::", text, re.MULTILINE)


@pytest.mark.parametrize("text", [HOSTILE, "`", "``a```b`", "a\\|b", "|", "*a* _b_ [c](d)", "<b>", "&lt;"])
def test_code_and_prose_show_what_they_were_given(text: str) -> None:
    """One cell, whose text is the text, but for space and what cannot be seen."""
    shown = " ".join(re.sub(r"[\x00\x1b\u202e]", "\ufffd", text).split())
    for set_text in (code, prose):
        (_, row) = cells(f"| a | b |\n|---|---|\n| {set_text(text)} | x |")
        assert [row[0].strip(), row[1]] == [shown, "x"]


def test_the_summary_never_exceeds_what_github_takes() -> None:
    """Long names, long messages and many lost backends are cut."""
    long = "é" * 100_000
    rows = [wrong(f"{long}/{n}", f"torch.{long}{n}", message=long) for n in range(20)]
    assert len(markdown(facts(*rows, lost=long)).encode()) <= MOST_BYTES


def test_it_is_valid_for_the_reader_of_a_folder(tmp_path: Path) -> None:
    """The same facts give the same text, which ends with one line break."""
    text = markdown(facts(wrong(), claim()))
    (tmp_path / "README.md").write_text(text)
    assert text == markdown(facts(wrong(), claim()))
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
