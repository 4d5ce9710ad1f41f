"""The report in a real browser: from disk, offline, on a phone, light and dark, with and without scripts."""

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_report import (  # type: ignore[import-not-found]  # beside this file, wherever pytest starts
    BASIC,
    CRASHED,
    HOSTILE,
    PADDLE,
    REFUSED,
    TORCH,
    TORCH_CLASS,
    WRONG,
    entry,
    page,
    result,
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
VIEWS = [(width, scheme) for width in (390, 1440) for scheme in ("light", "dark")]


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


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a page with every kind of row, long names and hostile strings."""
    known = {**WRONG, "outcome": "known", "ledger": "torch-margin"}
    seen = {"domain": "undefined", "status": "observed", "digest": "cc", "message": f"returned {HOSTILE}"}
    claim = {
        "type": "claim",
        "op": "multi_margin_loss",
        "api": TORCH,
        "backend": "torch",
        "evidence": [BASIC],
    }
    rows = [
        result(**known),
        result(api=TORCH_CLASS, **known),
        result(api=PADDLE, domain="extended", **{**REFUSED, "message": HOSTILE * 5}),
        result(api=PADDLE, case=LONG, **CRASHED),
        result(status="unsupported", declared="the document names float32 only"),
        result(outcome="stale", ledger="torch-margin"),
        result(case=LONG, **seen),
        claim
        | {
            "claim": "formula",
            "says": HOSTILE,
            "source": "https://e.org/d",
            "verdict": "refuted",
            "why": "x",
        },
        claim | {"claim": "shape", "says": "(N, C)", "source": "https://e.org/d", "verdict": "confirmed"},
    ]
    folder = tmp_path_factory.mktemp("report")
    page(folder, rows, entry("torch-margin", reason=f"It forgets the margin. {HOSTILE}"))
    return folder / "index.html"


@pytest.fixture
def visit(browser: Any, report: Path) -> Iterator[Any]:
    """Open the page; at the end, nothing was complained of and nothing fetched from elsewhere."""
    complaints: list[str] = []
    requests: list[str] = []
    contexts = []

    def open_page(width: int = 1440, scheme: str = "light", **more: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda said: complaints.append(said.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(report.as_uri())
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert all(url.startswith(report.parent.as_uri() + "/") for url in requests)


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_the_page_never_scrolls_sideways(visit: Any, width: int, scheme: str) -> None:
    """Folded and unfolded; wide tables and arrays scroll inside of their own container."""
    tab = visit(width, scheme)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert tab.evaluate(overflow) == 0
    tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert tab.evaluate(overflow) == 0


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
def test_axe_finds_nothing_against_wcag_aa(visit: Any, width: int, scheme: str) -> None:
    """Contrast, names, headings, tables: with everything unfolded."""
    axe = module("axe_playwright_python.sync_playwright")
    tab = visit(width, scheme)
    tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
    found = axe.Axe().run(tab, options=options).response["violations"]
    assert [(each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in found] == []


def test_light_and_dark_differ(visit: Any) -> None:
    """The reader's own preference decides."""
    colour = "getComputedStyle(document.body).backgroundColor"
    assert visit(scheme="light").evaluate(colour) != visit(scheme="dark").evaluate(colour)


def test_without_scripts_everything_is_there(visit: Any) -> None:
    """Only the filter is missing; a group unfolds by itself."""
    tab = visit(java_script_enabled=False)
    assert not tab.locator("#filter").is_visible()
    group = tab.locator("details.group", has_text="torch-margin").first
    group.locator("summary").first.click()
    assert group.get_by_text("Who agrees with whom").is_visible()
    assert tab.locator("h2#answer").inner_text().endswith("Yes.")


def test_the_filter_hides_what_does_not_match(visit: Any) -> None:
    """By backend and by words; Clear brings everything back."""
    tab = visit()
    shown = tab.locator("details.group:visible")
    assert shown.count() == 3
    tab.select_option("select[name=backend]", "paddle")
    assert shown.count() == 2
    tab.fill("input[name=text]", "refuses")
    assert shown.count() == 1
    assert tab.locator("#filter output").inner_text() == "1 of 3 groups shown"
    tab.click("#filter button")
    tab.wait_for_function("document.querySelector('#filter output').textContent.startsWith('3 of 3')")
    assert shown.count() == 3


def test_a_finding_leads_to_its_group(visit: Any) -> None:
    """From the first list to the evidence in one click, unfolded, even if the filter had hidden it."""
    tab = visit()
    tab.fill("input[name=text]", "nothing has these words")
    tab.click("ul.surprises a >> nth=0")
    group = tab.locator("details.group:target")
    assert group.is_visible()
    assert group.evaluate("(each) => each.open")
