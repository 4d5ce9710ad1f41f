"""The site in a real browser: from disk, offline, on a phone, light and dark, with and without scripts."""

import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.changes import compare_runs
from conformance.report import links
from conformance.report.facts import read_facts
from conformance.report.site import Site, write_site
from tests.report_rows import (
    BASIC,
    CRASHED,
    HOSTILE,
    PADDLE,
    REFUSED,
    TORCH,
    TORCH_CLASS,
    WRONG,
    entry,
    result,
    stream,
    suite,
)

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LONG = "multi_margin_loss/" + "a-very-long-name-" * 8 + "[float32,none]"
OTHER = "multi_margin_loss/basic[float64,p=2,mean]"
PAGES = {
    "index": links.INDEX,
    "operator": links.op_page("multi_margin_loss"),
    "discrepancy": links.discrepancy_page(BASIC, TORCH),
    "crash": links.discrepancy_page(LONG, PADDLE),
    "mechanism": links.mechanism_page("torch-margin"),
    "backend": links.backend_page("torch"),
    "ledger": links.LEDGER,
    "claims": links.CLAIMS,
    "compare": links.COMPARE,
}
VIEWS = [(390, "dark"), (390, "light"), (1440, "dark"), (1440, "light")]
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNFOLD = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"


def module(name: str) -> Any:
    """Import a development dependency; only outside of CI may it be missing."""
    return importlib.import_module(name) if os.environ.get("CI") == "true" else pytest.importorskip(name)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{CHROMIUM} is missing: in CI the report has to be looked at")
        pytest.skip(f"{CHROMIUM} is missing")
    sync_playwright = module("playwright.sync_api").sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield chromium
        chromium.close()


DETAIL = {
    "dtype": "float32",
    "shape": [2],
    "nan": 0,
    "inf": 1,
    "expected_nan": 0,
    "expected_inf": 0,
    "yardstick": {"max_abs": 1e-7, "over_bound": 0.2},
    "heat": {"block": [1, 1], "levels": [".k", "5!"]},
    "ulp_histogram": [[None, 1], [3, 1], [23, 2]],
    "worst": [
        {"at": [1], "got": 0.0, "low": 1.25, "high": 1.25, "bound": 2.5e-7, "ratio": 5e6, "ulp": 1e7},
    ],
}


def rows() -> list[dict[str, Any]]:
    """Every kind of row, long names and hostile strings."""
    known = {**WRONG, "outcome": "known", "ledger": "torch-margin", "detail": DETAIL}
    seen = {"domain": "undefined", "status": "observed", "digest": "cc", "message": f"returned {HOSTILE}"}
    claim: dict[str, Any] = {"type": "claim", "op": "multi_margin_loss", "api": TORCH, "backend": "torch"}
    claim |= {"evidence": [BASIC], "source": "https://e.org/d", "outcome": "ok"}
    return [
        result(max_ulp=0.5, mean_ulp=0.1, case=OTHER, convention="below", check="grad.input"),
        result(**known),
        result(api=TORCH_CLASS, **known),
        result(api=PADDLE),
        result(api=PADDLE, domain="extended", case=OTHER, **{**REFUSED, "message": HOSTILE * 5}),
        result(api=PADDLE, case=LONG, **CRASHED),
        result(status="unsupported", declared="the document names float32 only", case=OTHER),
        result(outcome="stale", ledger="torch-margin", case=OTHER, check="output"),
        result(case=LONG, **seen),
        claim | {"claim": "formula", "says": HOSTILE, "verdict": "refuted", "why": "x", "kind": ""},
        claim | {"claim": "shape", "says": "(N, C)", "verdict": "confirmed"},
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the site of a run with every kind of row, compared with an earlier run in which all was well."""
    new, old = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("old")
    ledger = entry("torch-margin", reason=f"It forgets the margin. {HOSTILE}")
    facts = read_facts(stream(new, rows()))
    before = read_facts(stream(old, [result(), result(api=PADDLE, case=OTHER)]))
    write_site(Site(facts, suite(), ledger, compare_runs(before, facts)), new)
    return new


@pytest.fixture
def visit(browser: Any, folder: Path) -> Iterator[Any]:
    """Open a page; at the end, nothing was complained of and nothing fetched from elsewhere."""
    complaints: list[str] = []
    requests: list[str] = []
    contexts = []

    def open_page(
        path: str = links.INDEX, width: int = 1440, scheme: str = "light", query: str = "", **more: Any
    ) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda said: complaints.append(said.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("requestfailed", lambda request: complaints.append(f"failed {request.url}"))
        tab.goto((folder / path).as_uri() + query)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert all(url.startswith(folder.as_uri() + "/") for url in requests)


@pytest.mark.parametrize("name", PAGES)
def test_no_page_scrolls_sideways(visit: Any, name: str) -> None:
    """Folded and unfolded, on a phone and a desk; wide tables scroll inside of their own container."""
    for width in (390, 1440):
        tab = visit(PAGES[name], width)
        assert tab.evaluate(OVERFLOW) == 0
        tab.evaluate(UNFOLD)
        assert tab.evaluate(OVERFLOW) == 0


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_axe_finds_nothing_against_wcag_aa(visit: Any, name: str, width: int, scheme: str) -> None:
    """Contrast, names, headings, tables: with everything unfolded, on every type of page."""
    axe = module("axe_playwright_python.sync_playwright")
    tab = visit(PAGES[name], width, scheme)
    tab.evaluate(UNFOLD)
    options = {
        "preload": False,
        "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }
    found = axe.Axe().run(tab, options=options).response["violations"]
    assert [(each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in found] == []


def test_the_style_and_the_script_are_in_force(visit: Any) -> None:
    """The policy of a page lets in what stands beside it on disk, and the reader's own scheme decides."""
    colour = "getComputedStyle(document.body).backgroundColor"
    assert visit(scheme="light").evaluate(colour) != visit(scheme="dark").evaluate(colour)
    assert visit().locator("#filter").is_visible()


@pytest.mark.parametrize("name", PAGES)
def test_without_scripts_everything_is_there(visit: Any, name: str) -> None:
    """Only filters and tabs are missing: no panel is hidden, and every fold opens by itself."""
    tab = visit(PAGES[name], java_script_enabled=False)
    assert not tab.locator("#filter").is_visible()
    assert tab.locator("main h1").is_visible()
    assert tab.locator("main [hidden]:not(form)").count() == 0
    for fold in tab.locator("main details:visible > summary").all()[:2]:
        fold.click()


def test_a_person_gets_from_the_index_to_a_script(visit: Any) -> None:
    """The finding, its page, the script: three clicks, none of them a search."""
    tab = visit()
    assert "Is anything unexpected?" in tab.locator("main").inner_text()
    tab.locator(f"main a[href='{links.discrepancy_page(LONG, PADDLE)}']").first.click()
    assert "multi_margin_loss" in tab.locator("h1").inner_text()
    tab.go_back()
    tab.locator(f"main a[href='{PAGES['operator']}']").first.click()
    tab.evaluate(UNFOLD)
    tab.locator(f"main a[href$='{PAGES['mechanism']}']").first.click()
    tab.locator(f"main a[href$='{PAGES['discrepancy']}']").first.click()
    assert "import torch" in tab.locator("main").inner_text()


def test_every_link_leads_somewhere(folder: Path) -> None:
    """Inside of the site each one to a file that is there, and to a place in it."""
    texts = {path: path.read_text("utf-8") for path in folder.rglob("*.html")}
    assert len(texts) >= len(PAGES)
    lost = []
    for path, text in texts.items():
        for href in re.findall(r'href="([^"]+)"', text):
            if href.startswith(("http:", "https:")):
                continue
            file, _, place = href.partition("#")
            target = (path.parent / file.partition("?")[0]).resolve() if file.partition("?")[0] else path
            if target.name == "report.json.gz":
                continue  # written beside the site by `run`
            if not target.is_file() or (place and target in texts and f'id="{place}"' not in texts[target]):
                lost.append((str(path.relative_to(folder)), href))
    assert lost == []


def test_all_is_reached_by_the_keyboard(visit: Any) -> None:
    """The first Tab skips to the content; every link and fold takes the focus, and shows it."""
    tab = visit()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.closest('main') !== null")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert tab.evaluate(outline) != "none"


def shown(tab: Any) -> list[str]:
    """Return the APIs of the matrix that are left."""
    found: list[str] = tab.locator("tr.filterable:visible th code").all_inner_texts()
    return found


def test_a_ready_made_filter_is_a_link_that_can_be_sent(visit: Any) -> None:
    """The choice is in the URL, restored from it, undone by Back, and counted in words."""
    tab = visit()
    everything = shown(tab)
    tab.get_by_role("button", name="unexpected only").click()
    assert "show=unexpected" in tab.url
    assert shown(tab) == [TORCH, PADDLE]  # a stale entry, a refusal and a crash
    assert tab.locator("#filter output").inner_text().startswith(f"2 of {len(everything)} ")
    tab.go_back()
    assert shown(tab) == everything
    assert shown(visit(query="?show=unexpected")) == [TORCH, PADDLE]
    assert shown(visit(query="?show=refuted")) == [TORCH]


def test_filters_by_backend_kind_and_words_hold_together(visit: Any) -> None:
    """All of them at once, also from the URL; Clear brings everything back and empties the URL."""
    tab = visit()
    everything = shown(tab)
    tab.select_option("select[name=backend]", "torch")
    tab.fill("input[name=q]", "MultiMarginLoss")
    assert shown(tab) == [TORCH_CLASS]
    assert "backend=torch" in tab.url
    assert "q=MultiMarginLoss" in tab.url
    assert shown(visit(query="?backend=torch&q=MultiMarginLoss")) == [TORCH_CLASS]
    tab.get_by_role("button", name="Clear").click()
    assert shown(tab) == everything
    assert "?" not in tab.url


def test_a_value_that_is_no_choice_hides_nothing(visit: Any) -> None:
    """A URL that somebody mistyped, or wrote to do harm, is a page like any other."""
    tab = visit(query="?show=<script>&backend=nobody&family=%00")
    assert len(shown(tab)) == len(shown(visit()))


def test_the_filter_works_by_keyboard_alone(visit: Any) -> None:
    """Focus, Space, Tab: no mouse."""
    tab = visit()
    tab.get_by_role("button", name="unexpected only").focus()
    tab.keyboard.press("Space")
    assert shown(tab) == [TORCH, PADDLE]
    tab.locator("select[name=backend]").focus()
    tab.keyboard.type("torch")
    assert shown(tab) == [TORCH]


def test_tabs_follow_the_arrow_keys_and_the_link(visit: Any) -> None:
    """One panel at a time, the others out of the way; a link to a tab opens it."""
    tab = visit(PAGES["discrepancy"])
    tabs = tab.locator("[role=tab]")
    assert tab.locator("[role=tabpanel]:visible").count() == 1
    tabs.first.focus()
    tab.keyboard.press("ArrowRight")
    assert tabs.nth(1).get_attribute("aria-selected") == "true"
    assert tab.evaluate("document.activeElement.getAttribute('role')") == "tab"
    tab.keyboard.press("End")
    panel = tab.locator("[role=tabpanel]:visible")
    assert panel.count() == 1
    linked = visit(PAGES["discrepancy"], query=f"#{panel.get_attribute('id')}")
    assert linked.locator("[role=tabpanel]:visible").get_attribute("id") == panel.get_attribute("id")


def test_the_script_is_copied_or_selected(visit: Any) -> None:
    """Where the clipboard is closed, the text is selected and the button says so."""
    tab = visit(PAGES["discrepancy"])
    tab.locator("button.copy:visible").first.click()
    said = tab.locator(".tabs [role=status]:visible").first
    tab.wait_for_function("document.querySelector('.tabs [role=status]').textContent !== ''")
    assert said.inner_text() in ("Copied", "Selected: copy it with the keyboard")
