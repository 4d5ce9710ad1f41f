"""Every discrepancy of the latest run has a script, and every script exits 1 today.

One test a framework, and one more for the calls that kill their process: pytest-xdist runs them side by side.
"""

from functools import cache
from pathlib import Path

import pytest

from conformance.adapters import BACKENDS
from conformance.load import api_of
from conformance.repro import execute_many, script
from conformance.stream import read_stream
from tests.shipped import suite

RUN = Path(__file__).parent.parent / "reports" / "latest" / "run.jsonl"
FATAL = ("crash", "timeout")
STATUSES = {"lives": ("fail", "error"), "dies": FATAL}
Scripts = dict[str, str]


@cache
def scripts(backend: str) -> dict[str, Scripts]:
    """Write a script for each discrepancy of a backend; those that kill their process apart."""
    if not RUN.exists():
        pytest.skip(f"no run to take discrepancies from: `make run` writes {RUN}")
    cases = {case.id: case for op in suite() for case in op.cases}
    found: dict[str, Scripts] = {kind: {} for kind in STATUSES}
    version = ""
    for row in read_stream(RUN):
        if row.get("backend") != backend:
            continue
        if row["type"] == "backend":
            version = row["version"]
        kind = next((k for k, taken in STATUSES.items() if row.get("status") in taken), "")
        if row["type"] == "result" and kind:
            if row["case"] not in cases:
                pytest.fail(f"{RUN} is of other case files: `make run` again (no case {row['case']!r})")
            case = cases[row["case"]]
            if row["nondeterministic"]:
                continue  # it hangs on what the process ran before, or on luck: one call alone may be right
            text = script(case, api_of(case.op, row["api"]), row, version)
            found[kind][f"{row['case']} {row['api']} {row['check']}"] = text
    return found


def code(text: str) -> str:
    """Return a script without its comments: what is executed."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


@pytest.mark.parametrize("kind", STATUSES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_script_of_the_latest_run_exits_1(backend: str, kind: str) -> None:
    """Execute every one; of those that differ in their comments only (checks of a dead call) the first."""
    found = scripts(backend)[kind]
    if not found:
        pytest.skip(f"the run has no discrepancy of {backend} whose process {kind}")
    firsts: dict[str, str] = {}
    for name, text in found.items():
        firsts.setdefault(code(text), name)
    statuses = execute_many({name: found[name] for name in firsts.values()})
    assert statuses.keys() == set(firsts.values())
    assert {name: status for name, status in statuses.items() if status != 1} == {}
