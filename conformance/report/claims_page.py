"""The claims page: what the documentation says that a run refutes, in full; the rest in counts."""

from collections import Counter
from collections.abc import Iterator

from conformance.report.facts import unexpected
from conformance.report.links import CLAIMS
from conformance.report.others import VERDICTS, claims_by_api, claims_id
from conformance.report.site import Page, Site
from conformance.stream import Row

MOST_EVIDENCE = 6


def pages(site: Site) -> Iterator[Page]:
    """Yield the one page."""
    rows = site.facts.claims
    by_api = claims_by_api(rows)
    refuted = [each for each in by_api if each.of("refuted")]
    context = {
        "counts_by_verdict": Counter(row["verdict"] for row in rows),
        "verdicts": VERDICTS,
        "by_api": by_api,
        "refuted": refuted,
        "unexpected_claims": [row for row in rows if unexpected(row)],
        "disagreements": disagreements(rows),
        "evidence": lambda row: evidence(row, site),
        "claims_id": claims_id,
        "choices": {
            "backend": list(dict.fromkeys(each.backend for each in refuted)),
            "op": sorted({each.op for each in refuted}),
        },
    }
    yield Page(CLAIMS, "claims.html", context)


def evidence(row: Row, site: Site) -> tuple[list[tuple[str, bool]], int]:
    """Return the first cases behind a verdict, and whether each has a page; how many more there are."""
    cases = [str(case) for case in row.get("evidence") or []]
    cases.sort(key=lambda case: (case, row["api"]) not in site.discrepancies)
    shown = [(case, (case, row["api"]) in site.discrepancies) for case in cases[:MOST_EVIDENCE]]
    return shown, max(len(cases), row.get("evidence_count") or 0) - len(shown)


def disagreements(rows: list[Row]) -> list[Row]:
    """Return the claims that another document contradicts, one for each op and statement that differs."""
    found: dict[tuple[str, str, str, str], Row] = {}
    for row in rows:
        if row.get("disagrees_with"):
            key = (row.get("op") or "", row.get("backend") or "", row.get("says") or "", row["verdict"])
            found.setdefault(key, row)
    return list(found.values())
