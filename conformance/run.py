"""The straight line: load → oracle → worker → compare → classify → stream → report."""

import sys
from collections.abc import Iterator
from pathlib import Path

from conformance.cache import OracleCache
from conformance.ledger import Ledger
from conformance.line import Line
from conformance.load import Api, Case, Operator
from conformance.pool import Pool
from conformance.question import expectation, request_for, resolved_params, variant
from conformance.resume import Earlier, take_up
from conformance.selection import Selection, in_shard
from conformance.stream import StreamWriter
from conformance.summary import Progress, Summary

__all__ = [
    "Progress", "Selection", "Summary", "expectation", "in_shard", "request_for", "resolved_params", "run",
    "variant",
]  # fmt: skip


def run(  # noqa: PLR0913 - each is an option of the command
    suite: list[Operator],
    selection: Selection,
    ledger: Ledger,
    out: Path,
    *,
    timeout: float = 30.0,
    progress: Progress | None = None,
    argv: list[str] | None = None,
    oracle: OracleCache | None = None,
    resume: Path | None = None,
) -> Summary:
    """Run a selection and leave `out`/run.jsonl.

    With `oracle`, its answers are looked up there first. With `resume`, the stream of a run that did not
    finish, what is settled in it is taken over and not asked again.

    Raises:
        NothingRanError: the selection is empty.
        InvalidFileError: the stream to resume is finished, or of another suite, selection or version.

    """
    plan = selection.plan(suite)
    earlier = Earlier.of(resume, out / "run.jsonl") if resume else None
    stream = StreamWriter(out / "run.jsonl")
    line = Line(suite, selection, ledger, stream, plan, progress, oracle)
    try:
        with Pool(list(selection.backends), timeout) as pool:
            line.header(pool, earlier.argv if earlier else argv or sys.argv[1:])
            settled = take_up(earlier, line) if earlier else set()
            for case, apis in _by_case([(c, a) for c, a in plan if (c.id, a.name) not in settled]):
                line.ask(pool, case, apis)
            line.take(pool, until_idle=True)
            line.close()
    except BaseException:
        stream.abandon()
        raise
    stream.finish()
    if oracle is not None:
        oracle.trim()
    return line.summary


def _by_case(plan: list[tuple[Case, Api]]) -> Iterator[tuple[Case, list[Api]]]:
    apis: list[Api] = []
    for place, (case, api) in enumerate(plan):
        apis.append(api)
        if place + 1 == len(plan) or plan[place + 1][0] is not case:
            yield case, apis
            apis = []
