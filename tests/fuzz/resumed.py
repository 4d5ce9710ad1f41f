"""Taking up a run that did not finish, without a framework: its stream meets a plan, and nothing is asked."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from conformance.ledger import Ledger
from conformance.line import Line
from conformance.load import Operator, load_operator
from conformance.pool import BackendSpec
from conformance.resume import Earlier, take_up
from conformance.selection import Selection
from tests.corpus.read import HERE

PART = HERE / "part.jsonl"
"""What a run of `valid.yaml` left that was killed: one pair is settled, of another there is half."""
SPEC = BackendSpec("torch", "none")


class Nowhere:
    """A stream that keeps nothing."""

    def write(self, row: dict[str, Any], order: tuple[int, ...]) -> None:
        """Let go of a row, as of everything else."""

    def note(self, row: dict[str, Any]) -> None:
        """Let go of a note."""


class Started:
    """Workers that have said what they are."""

    def environments(self) -> list[str]:
        """Name those that have not been heard of yet: none."""
        return []


@cache
def _suite() -> Operator:
    return load_operator(HERE / "valid.yaml")


@cache
def _written() -> tuple[dict[str, Any], dict[str, Any]]:
    head, _, backend, *_ = (json.loads(line) for line in PART.read_bytes().splitlines())
    return head, backend


def resume(path: Path) -> None:
    """Take up the stream at `path`; nothing of it is left."""
    target = path.parent / "again.jsonl"
    try:
        if earlier := Earlier.of(path, target):
            nowhere: Any = Nowhere()
            started: Any = Started()
            plan = Selection((SPEC,)).plan([_suite()])
            line = Line([_suite()], Selection((SPEC,)), Ledger({}), nowhere, plan)
            head, backend = _written()
            line.head, line.environments, line.versions = head, {"torch": backend}, {"torch": "2.13.0"}
            take_up(earlier, line, started)
    finally:
        target.with_suffix(".jsonl.resumed").unlink(missing_ok=True)
