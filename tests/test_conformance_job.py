"""The run that `make run` left behind: nothing unexpected, and every ledger entry is needed."""

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conformance.backends import PLAIN
from conformance.compare import Check
from conformance.findings import BEGIN, END, findings
from conformance.ledger import Ledger, load_ledger
from conformance.load import Case, api_of, load_suite
from conformance.stream import read_stream, unjson

STREAM = Path(__file__).parent.parent / "reports" / "latest" / "run.jsonl"
README = Path(__file__).parent.parent / "README.md"

Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Read the latest run; `make test` makes one first."""
    if not STREAM.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("no reports/latest/run.jsonl: run `make run` first")
        pytest.skip("no reports/latest/run.jsonl: run `make run` first")
    return list(read_stream(STREAM))


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    """Load the shipped cases by id."""
    return {case.id: case for op in load_suite() for case in op.cases}


def test_the_run_is_complete_and_nothing_is_unexpected(rows: list[Row]) -> None:
    """All three frameworks answered every case, and the job ends with 0."""
    assert {row["backend"] for row in rows if row["type"] == "backend"} == {"torch", "paddle", "mindspore"}
    assert rows[-1]["complete"] is True
    assert rows[-1]["exit"] == 0
    assert rows[-1]["counts"]["pass"] > 60_000


def test_every_api_and_every_case_has_its_checks(rows: list[Row], cases: dict[str, Case]) -> None:
    """No (case, API) is missing from the stream: a comparison cannot silently not happen."""
    seen = {(row["case"], row["api"]) for row in rows if row["type"] == "result"}
    assert seen == {(case.id, api.name) for case in cases.values() for api in case.op.apis}


def test_removing_any_one_ledger_entry_makes_the_run_fail(rows: list[Row], cases: dict[str, Case]) -> None:
    """Without its entry, something that each entry knows becomes a regression."""
    whole = load_ledger()
    versions = {row["backend"]: row["version"] for row in rows if row["type"] == "backend"}
    known: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.get("ledger"):
            known[row["ledger"]].append(row)
    needless = []
    for backend, entries in whole.entries.items():
        for entry in entries:
            # A wide entry, for last bits that vary, may know some of the same results.
            alike = [other for other in entries if other.id != entry.id and other.op == entry.op]
            others = [other for other in alike if not other.nondeterministic]
            less, mine = Ledger({backend: others}), known[entry.id]
            if entry.nondeterministic:
                continue  # needless this time, perhaps, and not the next: that is what it says
            if not entry.holds_in(PLAIN):
                continue  # it speaks of a compiled mode, in which this run was not
            outcomes = {_again(less, row, cases, versions[backend]) for row in mine}
            if "regression" not in outcomes:
                needless.append(entry.id)
    assert needless == []


def _again(ledger: Ledger, row: Row, cases: dict[str, Case], version: str) -> str:
    if row["type"] == "claim":
        op = next(case.op for name, case in cases.items() if name.startswith(row["op"] + "/"))
        api = api_of(op, row["api"])
        return ledger.classify_claim(op.name, api, row["claim"], row["verdict"], version)[0]
    case = cases[row["case"]]
    api = api_of(case.op, row["api"])
    check = msgspec.convert(unjson({k: row[k] for k in Check.__struct_fields__}), Check, strict=False)
    return ledger.classify(case, api, check, version)[0]


def test_every_claim_has_a_verdict(rows: list[Row]) -> None:
    """Each testable claim was tested, and each refuted one names its evidence."""
    claims = [row for row in rows if row["type"] == "claim"]
    assert len(claims) > 3000
    assert {row["verdict"] for row in claims} <= {"confirmed", "refuted", "untestable"}
    assert all(row["evidence"] for row in claims if row["verdict"] == "refuted")
    assert all(row["why"] for row in claims if row["verdict"] == "untestable")


def test_every_compared_result_says_how_much_it_compared(rows: list[Row]) -> None:
    """A pass that compared no element is one of an empty tensor, and says so."""
    for row in rows:
        if row["type"] == "result" and row["status"] == "pass" and not row["compared"]:
            assert row["message"].startswith("empty"), row["case"]


def test_the_table_of_the_readme_is_that_of_the_run(rows: list[Row]) -> None:
    """Operators, cases, mechanisms, refuted claims; how many checks fail of each may move a little."""
    text = README.read_text()
    table = text.partition(BEGIN)[2].partition(END)[0].strip()
    found = findings(rows, load_suite(), load_ledger())
    assert _without_checks(table) == _without_checks(found), "run `conformance findings --write README.md`"


def _without_checks(table: str) -> list[str]:
    return [re.sub(r" / \d+", "", line) for line in table.splitlines()]
