"""The pages of the backends, the ledger and the claims."""

from datetime import date
from pathlib import Path

from conformance.ledger import Ledger
from conformance.report import backend_pages, claims_page, ledger_page, links
from conformance.report.backend_pages import mechanisms
from conformance.report.ledger_page import age, listed
from conformance.report.others import claims_id
from tests.report_rows import (
    BASIC,
    PADDLE,
    TORCH,
    TORCH_CLASS,
    WRONG,
    entry,
    result,
)
from tests.test_report_index import rendered, rows_of, site, text_of
from tests.test_report_verdicts import HALF, KNOWN, claim


def test_a_backend_has_the_unexpected_first_and_the_known_by_reason(tmp_path: Path) -> None:
    """Every unexpected case is linked; entries with one reason share a row."""
    ledger = Ledger({"torch": [entry(name).entries["torch"][0] for name in ("a", "b")]})
    rows = [
        result(**{**KNOWN, "ledger": "a"}),
        result(check="grad.input", **{**KNOWN, "ledger": "b"}),
        result(api=TORCH_CLASS, **WRONG),
    ]
    made = site(rows, ledger)
    assert [(each.causes, each.results) for each in mechanisms([g for g in made.groups if g.known])] == [
        (["a", "b"], 2)
    ]
    html = rendered(backend_pages, made, tmp_path)["backend/torch.html"]
    assert html.index(f'href="../{links.discrepancy_page(BASIC, TORCH_CLASS)}"') < html.index('id="known"')
    assert html.index('id="known"') < html.index('href="../m/a.html"') < html.index('href="../m/b.html"')
    assert "✗ Yes." in text_of(html)
    assert "https://example.org/issue/7" in html


def test_a_backend_that_was_lost_or_silent_is_never_good(tmp_path: Path) -> None:
    """Nothing judged is nothing known."""
    lost = {"type": "backend", "backend": "jax", "lost": "no module named jax"}
    pages = rendered(backend_pages, site([result(), lost]), tmp_path)
    assert "✗ Yes. # lost It could not be used: no module named jax" in text_of(pages["backend/jax.html"])
    assert "✗ Cannot tell." in text_of(pages["backend/paddle.html"])
    assert "✓ No." in text_of(pages["backend/torch.html"])


def test_what_works_beyond_the_documentation_is_told_from_what_is_refused(tmp_path: Path) -> None:
    """Declared limits, by what the API did all the same."""
    beyond = {"status": "observed", "declared": "float32 only"}
    rows = [
        result(**beyond, message="beyond its documentation (float32 only): conforms"),
        result(**beyond, message="beyond its documentation (float32 only): value: at [1]"),
        result(api=TORCH_CLASS, status="unsupported", declared="no weight"),
    ]
    html = rendered(backend_pages, site(rows), tmp_path)["backend/torch.html"]
    section = html[html.index('id="beyond"') : html.index('id="limits"')]
    assert "float32 only 0 1 1" in text_of(section)
    assert "no weight" not in section
    assert "no weight 1 0 0" in text_of(html)


def test_the_ledger_shows_stale_entries_first_with_their_age() -> None:
    """And says of each whether this run met it."""
    entries = [
        entry(name, since=since, **more).entries["torch"][0]
        for name, since, more in (
            ("holds", "2026-01-01", {}),
            ("passes", "2026-01-31", {}),
            ("nothing", "0.1.0", {}),
            ("elsewhere", "2026-01-30", {"op": "other"}),
            ("lucky", "2026-01-30", {"nondeterministic": True}),
        )
    ]
    rows = [
        result(**{**KNOWN, "ledger": "holds"}),
        claim(ledger="holds"),
        result(case=HALF, outcome="stale", ledger="passes"),
        {"type": "ledger", "ledger": "nothing", "backend": "torch", "outcome": "stale", "message": "none"},
    ]
    lines = listed(site(rows, Ledger({"torch": entries})), date(2026, 1, 31))
    assert [(line.entry.id, line.state, line.results, line.claims, line.age) for line in lines] == [
        ("passes", "stale", 1, 0, "0 days"),
        ("nothing", "unmatched", 0, 0, ""),
        ("holds", "known", 1, 1, "30 days"),
        ("elsewhere", "notrun", 0, 0, "1 day"),
        ("lucky", "varies", 0, 0, "1 day"),
    ]
    assert [line.bad for line in lines] == [True, True, False, False, False]
    assert age("2026-01-01", date(2026, 1, 2)) == "1 day"


def test_the_ledger_page_filters_by_backend_op_and_what_was_reported(tmp_path: Path) -> None:
    """Each row says what the script asks; the anchor is what other pages link."""
    html = rendered(ledger_page, site([result(**KNOWN)], entry("torch-margin")), tmp_path)["ledger.html"]
    assert rows_of(html) == [{"backend": "torch", "op": "multi_margin_loss", "show": "reported"}]
    assert 'id="torch-margin"' in html
    assert f'href="{links.mechanism_page("torch-margin")}"' in html
    assert "It forgets the margin." in html


def test_claims_in_full_only_where_refuted(tmp_path: Path) -> None:
    """With the case's page where the case failed, its plain name where it did not."""
    rows = [
        result(**KNOWN),
        claim(evidence=[HALF, BASIC], evidence_count=9, ledger="torch-margin"),
        claim(claim="shape", says="(N, C)", verdict="confirmed", outcome="ok"),
        claim(claim="kink", says="zero", verdict="confirmed", outcome="ok", disagrees_with=[PADDLE]),
        claim(claim="gone", says="is fast", verdict="confirmed", outcome="stale"),
    ]
    html = rendered(claims_page, site(rows, entry("torch-margin")), tmp_path)["claims.html"]
    refuted = html[html.index('id="refuted"') : html.index('id="disagreements"')]
    assert f'href="{links.discrepancy_page(BASIC, TORCH)}"' in refuted
    assert links.discrepancy_page(HALF, TORCH) not in refuted
    assert "and 7 other cases" in text_of(refuted)
    assert 'href="ledger.html#torch-margin"' in refuted
    assert f'href="{links.op_page("multi_margin_loss")}#{claims_id("multi_margin_loss", TORCH)}"' in refuted
    assert "(N, C)" not in html
    assert f"Another says otherwise: {PADDLE}" in text_of(html)
    assert "↻ stale ✓ confirmed" in text_of(html)
    assert "✗ 1 ✓ 3 0 0" in text_of(html)
