"""The published report: whole, of the pinned versions, and its summary and badges are made from it."""

import gzip
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from conformance.fold import read_run, report_schema
from conformance.load import load_suite
from conformance.publish.badge import badges
from conformance.publish.markdown import markdown
from conformance.report.facts import Facts, facts_of

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "reports" / "published"
REMEDY = "publish again: make run publish"


@pytest.fixture(scope="module")
def facts() -> Facts:
    return facts_of(read_run(PUBLISHED / "report.json.gz"))


def test_it_is_finished_and_of_the_pinned_versions(facts: Facts) -> None:
    """What stands in constraints.txt is what was run, every backend of it."""
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if line.count("==") == 1
    )
    assert facts.complete
    ran = {row["framework"]: str(row["version"]).partition("+")[0] for row in facts.backends}
    assert ran == {name: pins[name] for name in ("torch", "paddlepaddle", "mindspore")}, REMEDY


def test_it_has_every_operator_and_api_of_the_suite(facts: Facts) -> None:
    """An operator that was added since has no result in it."""
    there = {(row["op"], row["api"]) for row in facts.results}
    assert there == {(op.name, api.name) for op in load_suite() for api in op.apis}, REMEDY


def test_the_summary_and_the_badges_are_those_of_the_report(facts: Facts) -> None:
    """What GitHub shows when the folder is opened says what the data says."""
    assert (PUBLISHED / "README.md").read_text(encoding="utf-8") == markdown(facts), REMEDY
    for name, text in badges(facts).items():
        assert (PUBLISHED / "badges" / name).read_text(encoding="utf-8") == text, REMEDY


def test_it_is_what_the_published_schema_says() -> None:
    """By a validator that is not the one that wrote it, on every fiftieth case."""
    folded: dict[str, Any] = msgspec.json.decode(gzip.decompress((PUBLISHED / "report.json.gz").read_bytes()))
    folded["results"] = dict(list(folded["results"].items())[::50])
    assert len(folded["results"]) > 100
    jsonschema.Draft202012Validator(report_schema()).validate(folded)
