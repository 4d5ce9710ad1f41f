"""Wherever a report names a backend, it says in which mode and on which device that was."""

import html
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from conformance.changes_environment import titles
from conformance.findings import findings
from conformance.ledger import Entry, Ledger
from conformance.publish.annotations import annotations
from conformance.publish.badge import badges
from conformance.publish.junit import junit
from conformance.publish.markdown import markdown
from conformance.report.facts import Facts, facts_of
from conformance.report.ledger_page import listed
from conformance.report.site import Site, write_site
from tests.publishing import rows, wrong
from tests.shipped import suite

CASE, API = "multi_margin_loss/basic[float32,none]", "torch.nn.functional.multi_margin_loss"
NAMED = "torch:compile@cuda:1"


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    """Return the rows of a run of one wrong result, in another mode and on another device."""
    given = rows(wrong(CASE, API, nondeterministic=False, compared=1))
    return [
        row | {"mode": "compile", "device": "cuda:1"} if row.get("framework") == "torch" else row
        for row in given
    ]


@pytest.fixture(scope="module")
def run(found: list[dict[str, Any]]) -> Facts:
    """Return the facts of that run."""
    return facts_of(found)


def test_texts(run: Facts, found: list[dict[str, Any]]) -> None:
    """Comparison, table of findings, summary, badges, JUnit and annotations; commands ask for the same."""
    assert titles(run)[0] == f"{NAMED} 1.2.3+cpu"
    assert f"{NAMED} 1.2.3" in findings(found, [], Ledger({}))
    assert f"--backend {NAMED} --api" in markdown(run)
    assert f"{NAMED} 1.2.3" in html.unescape(markdown(run))
    assert any(NAMED in text for text in badges(run).values())
    assert f'package="{NAMED}"' in junit(run).decode()
    assert f"--backend {NAMED} --api" in junit(run).decode()
    (line,) = annotations(run, [], Path.cwd())
    assert f"--backend {NAMED} --api" in line


def test_pages(run: Facts, tmp_path: Path) -> None:
    """The index and its navigation, the backend's page, the operator's, the discrepancy's and its issue."""
    site = Site(run, [op for op in suite() if op.name == "multi_margin_loss"], Ledger({}), None)
    write_site(site, tmp_path)
    index = (tmp_path / "index.html").read_text()
    assert f"Operator conformance of {NAMED} 1.2.3+cpu" in index
    assert f">{NAMED}</a>" in index
    assert f"<h1>{NAMED} 1.2.3+cpu</h1>" in (tmp_path / "backend" / "torch.html").read_text()
    assert f">{NAMED}</a>:" in (tmp_path / "op" / "multi_margin_loss.html").read_text()
    (page,) = (tmp_path / "d").rglob("*.html")
    text = page.read_text()
    assert f"{NAMED} 1.2.3+cpu" in text
    assert f"--backend {NAMED} --api" in text
    assert "[compile@cuda:1]" in text
    (script,) = (tmp_path / "repro").rglob("*.py")
    assert "torch.compile(call)(" in script.read_text()
    assert "device='cuda:1'" in script.read_text()


def test_the_ledger_page_asks_of_a_mode_only_what_has_to_hold_in_it(run: Facts) -> None:
    """An entry of eager on the CPU was not run; one that names the mode and the device matches nothing."""
    fields: dict[str, Any] = {
        "op": "multi_margin_loss",
        "api": [API],
        "check": ["grad.input"],
        "kind": "value",
    }
    fields |= {"versions": "", "reason": "r", "upstream": "unreported", "since": "2026-11-28"}
    entries = [Entry(id="plain", **fields), Entry(id="named", modes=["compile"], devices=["cuda"], **fields)]
    lines = listed(Site(run, [], Ledger({"torch": entries}), None), date(2026, 11, 28))
    assert {line.entry.id: line.state for line in lines} == {"plain": "notrun", "named": "unmatched"}
