"""Two runs compared: each change in its list, the noise of one version in none, and nothing left out."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from conformance.changes import LISTS, Changes, compare_runs
from conformance.changes_groups import grouped, verdict
from conformance.changes_text import SCHEMA, render
from conformance.ledger import Ledger
from conformance.report import compare_page, links
from conformance.report.facts import Facts
from conformance.report.site import Site, write_assets, written

API, CLASS = "paddle.nn.functional.l1_loss", "paddle.nn.L1Loss"
CASE = "l1_loss/basic[float32,mean]"
HOSTILE = "</pre><script>alert(1)</script> | `x` [a](javascript:b) {{ 7*7 }}\n# h"


def row(**given: Any) -> dict[str, Any]:
    """Return a result that passes, unless `given` says otherwise."""
    usual = {
        "type": "result", "case": CASE, "op": "l1_loss", "api": API, "backend": "paddle", "check": "output",
        "status": "pass", "kind": "", "message": "", "error_over_bound": 0.1, "max_ulp": 1.0, "digest": "aa",
        "error": None, "ledger": None, "declared": None, "nondeterministic": False,
    }  # fmt: skip
    return usual | given


def fails(kind: str = "value", **given: Any) -> dict[str, Any]:
    return row(status="fail", kind=kind, message="at [1]: got 0, exact 1", **given)


def claim(verdict: str, **given: Any) -> dict[str, Any]:
    return {
        "type": "claim", "op": "l1_loss", "api": API, "claim": "formula", "verdict": verdict, "why": "",
        "ledger": None, **given,
    }  # fmt: skip


def facts(*rows: dict[str, Any], **suite: Any) -> Facts:
    found = Facts(
        run={"suite": {"version": "1", "digest": "d", **suite}, "oracle": {"mantissa": 63}, "shard": "1/1"},
        backends=[{"type": "backend", "backend": "paddle", "framework": "paddlepaddle", "version": "3.3.1"}],
        end={"complete": True},
    )
    for each in rows:
        (found.claims if each["type"] == "claim" else found.results).append(each)
    return found


def counts(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> dict[str, int]:
    changes = compare_runs(facts(*a), facts(*b))
    return {name: len(found) for name, found in changes.listed().items() if found}


REFUSES = fails("raises", error={"exception": "TypeError"})
CRASHES = row(status="crash", message="the process died: SIGSEGV")
RAISED = {"exception": "ValueError"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (row(), row(), None),
        (row(), fails(), "newly_failing"),
        (row(), row(status="error"), "newly_failing"),
        (row(), row(status="timeout"), "newly_failing"),
        (row(status="observed"), CRASHES, "newly_failing"),
        (row(status="unsupported"), REFUSES, "newly_failing"),
        (REFUSES, CRASHES, "newly_failing"),
        (fails(), CRASHES, "newly_failing"),
        (CRASHES, row(status="timeout"), "changed_kind"),
        (CRASHES, fails(), "changed_kind"),
        (fails("value"), fails("nonfinite"), "changed_kind"),
        (fails("value"), fails("value", digest="bb", error_over_bound=99), None),
        (fails(), row(), "newly_passing"),
        (fails(), row(status="unsupported"), "newly_passing"),
        (row(status="unsupported"), row(), "otherwise"),
        (row(status="observed", message="returned 1"), row(status="observed", error=RAISED), "otherwise"),
        (
            row(status="observed", declared="on Ascend", message="beyond its documentation: conforms"),
            row(status="observed", declared="on Ascend", message="beyond its documentation: value: got 1"),
            "otherwise",
        ),
        (
            row(status="observed", message="returned 1", digest="aa"),
            row(status="observed", message="returned 2", digest="bb"),
            None,
        ),
        (row(), row(status="notrun"), "unanswered"),
        (row(status="harness"), fails(), "unanswered"),
        (None, row(), "added"),
        (fails(), None, "removed"),
        (claim("confirmed"), claim("refuted"), "newly_failing"),
        (claim("refuted"), claim("untestable"), "newly_passing"),
        (claim("confirmed"), claim("untestable"), "otherwise"),
        (claim("confirmed"), claim("notrun"), "unanswered"),
        (None, claim("confirmed"), "added"),
    ],
)
def test_every_change_stands_in_one_list(
    before: dict[str, Any] | None, after: dict[str, Any] | None, expected: str | None
) -> None:
    found = counts([before] if before else [], [after] if after else [])
    assert found == ({expected: 1} if expected else {})


@pytest.mark.parametrize(
    ("before", "after", "drifts"),
    [
        ({"error_over_bound": 0.1}, {"error_over_bound": 0.41}, "grew"),
        ({"error_over_bound": 0.1}, {"error_over_bound": 0.4}, ""),
        ({"error_over_bound": 0.1}, {"error_over_bound": 0.41, "digest": "aa"}, ""),
        ({"error_over_bound": 1e-6}, {"error_over_bound": 1e-4, "max_ulp": 0.5}, ""),
        ({"error_over_bound": 0.0}, {"error_over_bound": 1e-9, "max_ulp": 0.4}, "inexact"),
        ({"error_over_bound": 0.0}, {"error_over_bound": 0.0}, ""),
        ({"error_over_bound": 0.9}, {"error_over_bound": 0.1}, ""),
        ({"error_over_bound": None, "max_ulp": None}, {"error_over_bound": None, "max_ulp": None}, ""),
    ],
)
def test_drift_is_measured_and_the_last_bit_is_none(
    before: dict[str, Any], after: dict[str, Any], drifts: str
) -> None:
    changes = compare_runs(facts(row(**before)), facts(row(**{"digest": "bb"} | after)))
    assert [change.why for change in changes.drifted] == ([drifts] if drifts else [])
    assert not changes.worse


def test_forms_of_one_api_that_part_have_drifted() -> None:
    other = row(api=CLASS)
    changes = compare_runs(facts(row(), other), facts(row(digest="bb"), other))
    assert [(c.api, c.why) for c in changes.drifted] == [(API, f"parted from {CLASS}")]
    together = compare_runs(facts(row(), other), facts(row(digest="bb"), row(api=CLASS, digest="bb")))
    assert not together.drifted
    of_another_framework = row(api="torch.nn.L1Loss", backend="torch")
    apart = [facts(row(), of_another_framework), facts(row(digest="bb"), of_another_framework)]
    for each in apart:
        each.backends.append({"type": "backend", "backend": "torch", "framework": "torch", "version": "2"})
    assert not compare_runs(*apart).drifted


@pytest.mark.parametrize("side", [0, 1])
def test_what_varies_from_run_to_run_never_newly_fails(side: int) -> None:
    rows = [row(), CRASHES]
    rows[side] = rows[side] | {"nondeterministic": True}
    assert counts([rows[0]], [rows[1]]) == {"varying": 1}
    drift = [row(error_over_bound=0.01), row(error_over_bound=0.9, digest="bb")]
    drift[side] |= {"nondeterministic": True}
    assert counts([drift[0]], [drift[1]]) == {}


def test_a_promised_error_answers_the_same_call_as_an_output() -> None:
    assert counts([row(status="observed")], [fails("no_raise", check="raises")]) == {"newly_failing": 1}


def test_an_api_that_a_version_lacks_is_said_to_be_absent() -> None:
    message = "raised AttributeError at call: module 'paddle.nn.functional' has no attribute 'l1_loss'"
    absent = row(status="error", message=message, error={"exception": "AttributeError"})
    (change,) = compare_runs(facts(absent), facts(fails())).changed_kind
    assert change.before is not None
    assert change.before.kind == "absent"
    assert "is not there → wrong value" in render(compare_runs(facts(absent), facts(fails())), "terminal")


def test_only_backends_of_both_runs_are_compared_and_the_reader_is_told() -> None:
    a, b = facts(row()), facts(row(), row(api="torch.nn.L1Loss", backend="torch"))
    b.backends.append({"type": "backend", "backend": "torch", "framework": "torch", "version": "2.13.0"})
    changes = compare_runs(a, b)
    assert not changes.added
    assert changes.compared == 1
    assert [each.what for each in changes.environment] == ["torch"]
    assert changes.warnings == ("only the second run used torch: its 1 results are left aside",)


def test_what_differs_in_how_the_runs_were_made_comes_first() -> None:
    a, b = facts(row(), ops=["x", "y"]), facts(row(), ops=["x", "z"], digest="e")
    b.backends[0] |= {"version": "3.4.0", "flags": {"threads": 2}}
    b.run["oracle"] = {"mantissa": 52}
    b.end = {}
    changes = compare_runs(a, b)
    assert [(e.what, e.before, e.after) for e in changes.environment] == [
        ("paddle version", "3.3.1", "3.4.0"),
        ("paddle flags threads", "–", "2"),
        ("suite digest", "d", "e"),
        ("suite ops", "2, with y", "2, with z"),
        ("oracle mantissa", "63", "52"),
    ]
    said = " ".join(changes.warnings)
    assert "the suites differ (digest)" in said
    assert "the oracles differ" in said
    assert "the second run is not complete" in said
    text = render(changes, "terminal")
    assert text.index("paddle version") < text.index("Nothing newly fails")


def test_equal_suites_made_in_two_commits_do_not_worry_anybody() -> None:
    changes = compare_runs(facts(row(), commit="a"), facts(row(), commit="b"))
    assert not changes.warnings


def many() -> Changes:
    cases = [f"l1_loss/case-{n}[float32,mean]" for n in range(30)]
    ops = [f"op_{n:02}" for n in range(40)]
    old = [row(case=c, api=a, check=k) for c in cases for a in (API, CLASS) for k in ("output", "grad.input")]
    new = [
        each | {"status": "fail", "kind": "value", "message": HOSTILE, "ledger": "known-1"} for each in old
    ]
    old += [row(op=o, case=f"{o}/basic", status="fail", kind="value") for o in ops]
    new += [row(op=o, case=f"{o}/basic") for o in ops]
    old += [row(case="l1_loss/gone", ledger="x")]
    return compare_runs(facts(*old, claim("confirmed")), facts(*new, claim("refuted", why=HOSTILE)))


def test_changes_that_are_alike_are_one_group() -> None:
    changes = many()
    first, second = grouped(changes.newly_failing)
    alike, statement = (first, second) if first.cases != ("",) else (second, first)
    assert alike.apis == (CLASS, API)
    assert alike.checks == ("grad.input", "output")
    assert len(alike.cases) == 30
    assert alike.size == 120
    assert alike.ledger == ("known-1",)
    assert statement.checks == ("claim.formula",)
    assert verdict(changes).startswith("121 newly failing, 40 newly passing")


def test_the_terminal_keeps_80_columns_and_every_id_in_one_piece() -> None:
    text = render(many(), "terminal", 80)
    long = [line for line in text.splitlines() if len(line) > 80]
    assert not [line for line in long if " " in line.strip()]
    assert "l1_loss/case-0[float32,mean]" in text
    assert "… and 27 more" in text
    assert "… and 30 more groups" in text
    assert text.index("Newly failing") < text.index("Newly passing") < text.index("Removed")
    wide = compare_runs(facts(row(case="l1_loss/" + "x" * 90)), facts(fails(case="l1_loss/" + "x" * 90)))
    assert "l1_loss/" + "x" * 90 in render(wide, "terminal", 80)


def test_markdown_is_short_and_cannot_be_broken_by_what_a_framework_says() -> None:
    text = render(many(), "markdown")
    assert len(text) < 10_000
    assert "… and 30 more groups." in text
    hostile = f"3.4 {HOSTILE}"
    b = facts(fails(case=HOSTILE, api=HOSTILE))
    b.backends[0]["version"] = hostile
    text = render(compare_runs(facts(row(case=HOSTILE, api=HOSTILE)), b), "markdown")
    assert "<script>" not in text.replace("`</pre><script>alert(1)</script> \\| ’x’ [a](javascript:b)", "")
    tables = [line for line in text.splitlines() if line.startswith("|")]
    bars = {line.replace("\\|", "").count("|") for line in tables}
    assert bars <= {4, 6}


def test_json_is_sorted_the_same_every_time_and_complete() -> None:
    text = render(many(), "json")
    assert text == render(many(), "json")
    found = json.loads(text)
    assert found["schema"] == SCHEMA
    assert found["counts"] == {name: len(found[name]) for name in LISTS}
    assert found["worse"] is True
    assert len(found["newly_failing"]) == 121
    assert list(found) == sorted(found)
    Draft202012Validator({"type": "object", "required": ["environment", "warnings", *LISTS]}).validate(found)


def test_nan_and_infinity_are_read_as_numbers() -> None:
    changes = compare_runs(
        facts(row(error_over_bound=0.1)),
        facts(row(error_over_bound="Infinity", max_ulp="Infinity", digest="bb")),
    )
    assert [change.why for change in changes.drifted] == ["grew"]
    assert '"Infinity"' in render(changes, "json")


def site(changes: Changes, out: Path, *rows: dict[str, Any]) -> str:
    facts_of_b = facts(*rows)
    facts_of_b.run |= {"schema": "conformance/1.0", "argv": []}
    made = Site(facts=facts_of_b, suite=[], ledger=Ledger({}), changes=changes)
    written(compare_page.pages)(made, out)
    write_assets(out / "assets")
    return (out / links.COMPARE).read_text()


def test_the_page_links_what_has_a_page_and_escapes_the_rest(tmp_path: Path) -> None:
    after = fails() | {"message": HOSTILE}
    page = site(compare_runs(facts(row()), facts(after)), tmp_path, after)
    assert f'href="{links.discrepancy_page(CASE, API)}"' in page
    assert "<script>alert" not in page
    assert "style=" not in page
    assert "Newly failing: 1 check</h2>" in page
    without = site(compare_runs(facts(row()), facts(after)), tmp_path, row())
    assert 'href="d/' not in without


def test_a_site_without_a_comparison_has_no_such_page() -> None:
    made = Site(facts=facts(row()), suite=[], ledger=Ledger({}))
    assert list(compare_page.pages(made)) == []


def test_the_page_stays_small(tmp_path: Path) -> None:
    cases = [f"l1_loss/a-name-of-usual-length-{n}[float32,beta=0.5,mean]" for n in range(2000)]
    apis = [f"paddle.nn.functional.form_{n}" for n in range(25)]
    kinds = ("value", "nonfinite", "dtype", "shape", "raises")
    old = [row(case=c, api=a) for c in cases for a in apis]
    new = [fails(kinds[n % 5], case=r["case"], api=r["api"], op=f"op_{n % 97}") for n, r in enumerate(old)]
    page = site(compare_runs(facts(*old), facts(*new)), tmp_path, *new)
    assert len(page.encode()) < 1_000_000
    assert "50,000 newly failing" in page
