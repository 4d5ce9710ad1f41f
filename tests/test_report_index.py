"""The index: what it answers, links, filters and keeps out; and hostile strings on the pages beside it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformance.ledger import Ledger
from conformance.report import backend_pages, claims_page, index_page, ledger_page, links
from conformance.report.environment import environment
from conformance.report.site import Page, Site, written
from conformance.report.verdicts import SHOWS
from tests.report_rows import (
    BASIC,
    CRASHED,
    HOSTILE,
    PADDLE,
    REFUSED,
    TORCH,
    WRONG,
    Tags,
    entry,
    result,
    suite,
)
from tests.test_report_verdicts import HALF, KNOWN, MIND, claim, facts, lenient


def site(rows: list[dict[str, Any]], ledger: Ledger | None = None, **more: Any) -> Site:
    return Site(facts(rows, **more), suite(), ledger or Ledger({}))


def rendered(module: Any, made: Site, folder: Path) -> dict[str, str]:
    """Write the pages of one module and read them back."""
    written(module.pages)(made, folder)
    return {str(path.relative_to(folder)): path.read_text("utf-8") for path in folder.rglob("*.html")}


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.replace("<wbr>", "")))


def rows_of(html: str) -> list[dict[str, str]]:
    """Return the data of every filterable element."""
    tags = re.findall(r'<\w+ class="filterable"([^>]*)>', html)
    return [dict(re.findall(r'data-(\w+)="([^"]*)"', tag)) for tag in tags]


def test_flags_dtype_and_kind_of_a_line_hang_together(tmp_path: Path) -> None:
    """Alone in float32 and wrong in float16 is not alone in float16; a set within another one is left out."""
    rows = [
        result(**KNOWN),
        result(check="grad.target", case=BASIC, **KNOWN),
        result(api=PADDLE),
        result(api=MIND),
        result(case=HALF, **{**KNOWN, "digest": "b"}),
        result(case=HALF, api=PADDLE, **{**KNOWN, "digest": "c", "got": 7.0}),
    ]
    (line, *others) = rows_of(rendered(index_page, site(rows), tmp_path)["index.html"])
    assert line["joint"].split(";") == ["alone float32 value", "float16 value"]
    assert (line["backend"], line["family"], line["text"]) == ("torch", "loss", "multi_margin_loss")
    assert [each["joint"] for each in others] == ["float16 value;float32", "float32"]


def test_the_index_answers_first_and_links_the_evidence(tmp_path: Path) -> None:
    """A regression leads to its page; what one cannot see at once is on the page of the backend."""
    rows = [result(**WRONG), result(api=PADDLE, **CRASHED), result(api=MIND)]
    html = rendered(index_page, site(rows), tmp_path)["index.html"]
    text = text_of(html)
    assert "Is anything unexpected? ✗ Yes." in text
    assert html.index('id="answer"') < html.index('id="strip"') < html.index('id="filter"')
    for target in (
        links.discrepancy_page(BASIC, TORCH),
        links.discrepancy_page(BASIC, PADDLE),
        links.mechanism_page("multi_margin_loss/basic"),
        links.op_page("multi_margin_loss"),
        f"{links.op_page('multi_margin_loss')}#api-{links.slug(TORCH)}",
        *map(links.backend_page, ("torch", "paddle", "mindspore")),
    ):
        assert f'href="{target}"' in html, target
    assert links.discrepancy_page(BASIC, MIND) not in html


def test_forty_findings_then_the_pages_of_the_backends(tmp_path: Path) -> None:
    """The index of a run that went wrong altogether can still be read."""
    rows = [result(case=f"multi_margin_loss/c{n}[float32]", **WRONG) for n in range(60)]
    html = rendered(index_page, site(rows), tmp_path)["index.html"]
    answer = html[html.index('id="answer"') : html.index('id="standing"')]
    assert answer.count('href="d/') == 40
    assert "60 unexpected findings" in text_of(answer)
    assert "20 more: see torch ." in text_of(answer)


def test_one_cause_with_many_cases_fills_the_list_with_them(tmp_path: Path) -> None:
    """One finding, and as many of its cases as there is room for; the number of the others is said."""
    rows = [result(case=f"multi_margin_loss/c[float32,{n}]", **WRONG) for n in range(60)]
    html = rendered(index_page, site(rows), tmp_path)["index.html"]
    answer = html[html.index('id="answer"') : html.index('id="standing"')]
    assert answer.count('href="d/') == 40
    assert "1 unexpected finding " in text_of(answer)
    assert "and 20 more" in text_of(answer)


def test_the_canned_filters_say_how_much_they_find(tmp_path: Path) -> None:
    """In the order in which a maintainer asks, each with its counts."""
    rows = [result(**KNOWN), result(api=PADDLE), result(api=MIND), claim()]
    html = rendered(index_page, site(rows), tmp_path)["index.html"]
    buttons = re.findall(r'data-set="show=(\w*)"[^>]*>(.*?)</button>', html, re.DOTALL)
    assert [name for name, _ in buttons] == ["", *SHOWS]
    assert {name: text_of(said).split(" ")[-3:-1] for name, said in buttons if name} == {
        name: ["1", "API"] if name in ("alone", "refuted") else ["0", "APIs"] for name in SHOWS
    }
    assert '<form id="filter" hidden' in html


def test_the_run_strip_says_what_a_result_depends_on(tmp_path: Path) -> None:
    """Commit, digest, seed, shard, flags; a run that did not finish is never good."""
    made = site([result()], complete=False)
    made.facts.run = lenient(
        {"schema": "conformance/1.0", "shard": "2/3", "oracle": {"dtype": "longdouble", "mantissa": 63}}
        | {"suite": {"name": "s", "version": "1", "commit": "abc123", "digest": "d1gest", "seed": 7}}
    )
    text = text_of(rendered(index_page, made, tmp_path)["index.html"])
    for said in (
        "Complete ✗ no",
        "commit abc123 , digest d1gest",
        "Seed 7",
        "Shards 2/3",
        "63 bits",
        "threads=1",
    ):
        assert said in text, said
    assert "✗ Cannot tell." in text


def many(ops: int, apis: int, wrong: int) -> list[dict[str, Any]]:
    """Rows of many operators, of which the first ones are wrong."""
    return [
        result(case=f"op{op}/c[float32]", api=f"torch.a{api}", **(KNOWN if op < wrong else {}))
        | {"op": f"op{op}", "family": f"family {op % 2}"}
        for op in range(ops)
        for api in range(apis)
    ]


def test_a_large_matrix_folds_what_conforms(tmp_path: Path) -> None:
    """One line an operator without a finding; those with one stay where they are."""
    pages = rendered(index_page, site(many(70, 10, wrong=3)), tmp_path)
    assert list(pages) == ["index.html"]
    assert len(rows_of(pages["index.html"])) == 30
    assert text_of(pages["index.html"]).count("conforms: 10 checks of 10 APIs") == 67


def test_a_larger_one_is_split_by_family(tmp_path: Path) -> None:
    """The index keeps a line for each operator, which the filter finds by what its APIs have."""
    pages = rendered(index_page, site(many(130, 10, wrong=130)), tmp_path)
    assert sorted(pages) == [
        "family/family-0-2.html",
        "family/family-0.html",
        "family/family-1-2.html",
        "family/family-1.html",
        "index.html",
    ]
    lines = rows_of(pages["index.html"])
    assert len(lines) == 130
    assert {(line["backend"], line["joint"]) for line in lines} == {("torch", "float32 value")}
    assert sum(len(rows_of(html)) for path, html in pages.items() if path != "index.html") == 1300
    assert 'href="../op/op0.html"' in pages["family/family-0.html"]
    assert 'href="family/family-0-2.html#op-op128"' in pages["index.html"]


def every_page(made: Site) -> Iterator[Page]:
    for module in (index_page, backend_pages, ledger_page, claims_page):
        yield from module.pages(made)


def hostile_site() -> Site:
    error = dict.fromkeys(("phase", "category", "exception", "message", "stderr"), HOSTILE)
    rows = [
        result(**{**REFUSED, "message": HOSTILE, "error": error, "outcome": "known", "ledger": "e"}),
        result(api=PADDLE, case=f"multi_margin_loss/{HOSTILE}", **{**CRASHED, "error": error}),
        result(api=HOSTILE, backend=HOSTILE, check=HOSTILE, **{**WRONG, "kind": HOSTILE}),
        result(status="observed", domain="undefined", message=HOSTILE, declared=HOSTILE, case=HOSTILE),
        result(status="notrun", outcome="notrun", message=HOSTILE) | {"op": HOSTILE, "family": HOSTILE},
        {"type": "backend", "backend": HOSTILE, "lost": HOSTILE},
        {"type": "ledger", "ledger": HOSTILE, "outcome": "stale", "message": HOSTILE},
        claim(api=HOSTILE, claim=HOSTILE, says=HOSTILE, source="javascript:alert(3)", why=HOSTILE)
        | {"evidence": [HOSTILE], "outcome": "regression", "ledger": HOSTILE, "disagrees_with": [HOSTILE]},
    ]
    return site(
        rows, entry("e", reason=HOSTILE, upstream="javascript:alert(4)", kind="raises", since=HOSTILE)
    )


def test_hostile_strings_neither_break_nor_script_a_page(tmp_path: Path) -> None:
    """Whatever a framework, a document or a ledger says is shown as text; no page has a style of its own."""
    made = hostile_site()
    for page in every_page(made):
        written(lambda _, one=page: iter([one]))(made, tmp_path)  # type: ignore[misc]
        tags = Tags((tmp_path / page.path).read_text("utf-8"))
        assert tags.open == [], page.path
        assert tags.seen.count("script") == 1
        assert "img" not in tags.seen
        assert "style" not in tags.seen
        assert not [name for name, _ in tags.attributes if name.startswith("on") or name == "style"]
        targets = [value for name, value in tags.attributes if name in ("href", "src")]
        assert not [value for value in targets if ":" in value and not value.startswith("https://")]


def test_every_link_of_the_index_is_a_page_of_the_site(tmp_path: Path) -> None:
    """Paths come from one place, so a link leads where the other pages are written."""
    rows = [result(**WRONG), result(api=PADDLE, **CRASHED), result(api=MIND), claim(outcome="regression")]
    made = site(rows, entry("e"))
    html = rendered(index_page, made, tmp_path)["index.html"]
    there = {links.INDEX, links.LEDGER, links.CLAIMS, "report.json.gz", "assets/site.css", "assets/site.js"}
    there |= {links.op_page("multi_margin_loss"), *map(links.backend_page, ("torch", "paddle", "mindspore"))}
    there |= {links.mechanism_page(group.cause) for group in made.groups}
    there |= {links.discrepancy_page(*key) for key in made.discrepancies}
    targets = {target.partition("#")[0] for target in re.findall(r'(?:href|src)="([^"]+)"', html)}
    assert {each for each in targets if each and not each.startswith("https://")} <= there
    places = {target[1:] for target in re.findall(r'href="(#[^"]+)"', html)}
    assert places <= set(re.findall(r' id="([^"]+)"', html))


def test_the_same_facts_give_the_same_pages() -> None:
    """Byte for byte: sets have no order of their own, ages do not stand in the index."""
    env = environment()
    common = {"root": "", "here": "", "has_comparison": False}

    def texts() -> list[str]:
        made = hostile_site()
        shared = common | {"facts": made.facts, "entries": made.entries}
        return [env.get_template(page.template).render(shared | page.context) for page in every_page(made)]

    assert texts() == texts()
