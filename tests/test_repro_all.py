"""Every discrepancy of the latest run has a script, and every script exits 1 today."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from conformance.adapters import BACKENDS
from conformance.errors import UsageError
from conformance.load import api_of, find_case, load_suite
from conformance.repro import execute_many, script
from conformance.stream import read_stream

RUN = Path(__file__).parent.parent / "reports" / "latest" / "run.jsonl"
FAILING = ("fail", "error", "crash", "timeout")


@pytest.fixture(scope="module")
def scripts() -> dict[str, dict[str, str]]:
    """Write a script for each discrepancy, by backend."""
    if not RUN.exists():
        pytest.skip(f"no run to take discrepancies from: `make run` writes {RUN}")
    suite, found, versions = load_suite(), defaultdict[str, dict[str, str]](dict), dict[str, str]()
    for row in read_stream(RUN):
        if row["type"] == "backend":
            versions[row["backend"]] = row["version"]
        elif row["type"] == "result" and row["status"] in FAILING:
            name = f"{row['case']} {row['api']} {row['check']}"
            found[row["backend"]][name] = _script(suite, row, versions[row["backend"]])
    return dict(found)


def _script(suite: list[Any], row: dict[str, Any], version: str) -> str:
    try:
        case = find_case(suite, row["case"])
    except UsageError as error:
        pytest.fail(f"{RUN} is of other case files: `make run` again ({error})")
    return script(case, api_of(case.op, row["api"]), row, version)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_script_of_the_latest_run_exits_1(backend: str, scripts: dict[str, dict[str, str]]) -> None:
    """Execute them all, none left out as a duplicate."""
    if backend not in scripts:
        pytest.skip(f"the run has no discrepancy of {backend}")
    statuses = execute_many(scripts[backend])
    assert statuses.keys() == scripts[backend].keys()
    assert {name: status for name, status in statuses.items() if status != 1} == {}
