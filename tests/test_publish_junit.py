"""JUnit XML: valid, deterministic, and red exactly where the run is."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import xmlschema

from conformance.publish.junit import junit
from conformance.report.facts import Facts
from tests.publishing import CASE, HOSTILE, PADDLE, TORCH, claim, facts, result, stale, wrong

SCHEMA = xmlschema.XMLSchema(Path(__file__).parent / "data" / "junit.xsd")


def parsed(run: Facts) -> ET.Element:
    """Return the file's root, after validation, and after a look at its counts."""
    data = junit(run)
    SCHEMA.validate(data.decode())
    root = ET.fromstring(data)  # noqa: S314 - we wrote it
    for each in (root, *root.iter("testsuite")):
        for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            assert int(each.attrib[name]) == len(list(each.iter(tag)))
    return root


def outcome(run: Facts, name: str = CASE) -> tuple[str, str]:
    """Return the outcome of a test and its message."""
    (test,) = (test for test in parsed(run).iter("testcase") if test.attrib["name"] == name)
    inner = list(test)
    return (inner[0].tag, inner[0].attrib["message"]) if inner else ("passed", "")


def test_one_test_a_case_of_an_api_in_a_suite_a_backend_and_op() -> None:
    """Checks of one call are one test; its class is the operator's API."""
    rows = [result(), result(check="grad.input"), result(api=PADDLE), result(op="l1_loss", case="l1_loss/a")]
    root = parsed(facts(*rows))
    assert [suite.attrib["name"] for suite in root] == [
        "paddle multi_margin_loss",
        "torch l1_loss",
        "torch multi_margin_loss",
    ]
    tests = [(test.attrib["classname"], test.attrib["name"]) for test in root[2].iter("testcase")]
    assert tests == [(f"multi_margin_loss.{TORCH}", CASE)]
    properties = {each.attrib["name"]: each.attrib["value"] for each in root[2].iter("property")}
    assert properties["version"] == "1.2.3+cpu"
    assert properties["suite.commit"] == "c0ffee" * 6


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([result()], ("passed", "")),
        ([result(status="observed")], ("passed", "")),
        ([result(), wrong(check="grad.input", kind="grad_value")], ("failure", "grad.input: wrong gradient")),
        (
            [wrong(), wrong(check="grad.input", status="crash", kind="")],
            ("error", "grad.input: crashes the process"),
        ),
        ([result(status="harness", outcome="regression")], ("error", "output: harness fault")),
        ([result(status="notrun", outcome="notrun")], ("error", "output: not run")),
        (
            [result(outcome="stale", ledger="e")],
            ("failure", "output: conforms, though the ledger says it fails"),
        ),
        ([result(), wrong(outcome="known", ledger="e1"), wrong(check="b", outcome="known", ledger="e2")],
         ("skipped", "known: e1, e2")),
        ([result(status="unsupported", message="no bfloat16")], ("skipped", "unsupported: no bfloat16")),
        ([result(), result(status="unsupported", check="grad.input")], ("passed", "")),
    ],
)  # fmt: skip
def test_what_becomes_of_a_call(rows: list[dict[str, object]], expected: tuple[str, str]) -> None:
    """The unexpected decides; then what is known; then what is declared unsupported."""
    assert outcome(facts(*rows)) == expected


def test_a_failure_says_what_and_how_to_see_it_again() -> None:
    """Every unexpected check, what it said, and the command."""
    (failure,) = parsed(facts(wrong(), wrong(check="grad.input", kind="grad_value"))).iter("failure")
    assert failure.text == (
        "output: wrong value: got 1, exact 2\n"
        "grad.input: wrong gradient: got 1, exact 2\n"
        f"conformance run --backend torch --api {TORCH} -k '{CASE}'"
    )


def test_claims_and_the_ledger_are_tests_too() -> None:
    """What makes the run exit with 1 is never green here."""
    assert outcome(facts(result(), claim()), "claim.formula") == ("failure", "document refuted")
    assert outcome(facts(result(), claim(outcome="known", ledger="e")), "claim.formula")[0] == "skipped"
    assert outcome(facts(result(), claim("untestable", "ok")), "claim.formula")[0] == "skipped"
    assert outcome(facts(result(), claim("confirmed", "ok")), "claim.formula") == ("passed", "")
    assert outcome(facts(result(), stale()), "old") == ("failure", "ledger entry that matches nothing")


def test_an_incomplete_run_is_an_error() -> None:
    """A backend that was lost, and a stream that ends too early."""
    assert outcome(facts(result(), lost="no module"), "complete") == ("error", "paddle was lost: no module")
    assert outcome(facts(result(), end=False), "complete")[0] == "error"


def test_what_xml_cannot_hold_is_replaced() -> None:
    """Control characters and half a surrogate pair come in messages of frameworks."""
    run = facts(wrong(HOSTILE, message=HOSTILE + "\ud800", ledger=HOSTILE), claim(why=HOSTILE), lost=HOSTILE)
    text = junit(run).decode()
    parsed(run)
    assert "\x00" not in text
    assert "<script>" not in text


def test_equal_runs_give_equal_bytes() -> None:
    """There are no times in it."""
    rows = [result(), wrong(api=PADDLE), claim()]
    assert junit(facts(*rows)) == junit(facts(*rows))
