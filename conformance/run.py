"""The straight line: load → oracle → worker → compare → classify → stream → report."""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from conformance.cache import OracleCache
from conformance.errors import Exit, StoppedError
from conformance.interrupt import SafeStream
from conformance.ledger import Ledger
from conformance.line import Line
from conformance.load import Api, Case, Operator
from conformance.memo import Memo
from conformance.memory import sparing
from conformance.plan import Plan
from conformance.pool import Pool
from conformance.question import expectation, request_for, resolved_params, variant
from conformance.repeat_calls import Repeats
from conformance.resume import Earlier, take_up
from conformance.selection import Selection, in_shard
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
    pool: Pool | None = None,
    progress: Progress | None = None,
    argv: list[str] | None = None,
    oracle: OracleCache | None = None,
    memo: Memo | None = None,
    resume: Path | None = None,
    repeats: Repeats | None = None,
    stop: Callable[[], bool] = bool,
) -> Summary:
    """Run a selection and leave `out`/run.jsonl.

    With `pool`, workers that have been started already are asked, and ended. With `oracle`, its answers are
    looked up there first; with `memo`, a pair whose calls give the bits that they gave before is written as
    it was then. With `resume`, the stream of a run that did not finish, what is settled in it is taken over
    and not asked again. With `repeats`, every case is asked several times. Once `stop` says so nothing more
    is asked, and what finished is left in the `.part`.

    Raises:
        NothingRanError: the selection is empty.
        InvalidFileError: the stream to resume is finished, or of another suite, selection or version.
        StoppedError: `stop` said so before everything was asked.
        OutputError: the stream cannot be written.

    """
    plan = selection.plan(suite)
    earlier = Earlier.of(resume, out / "run.jsonl") if resume else None
    stream = SafeStream(out / "run.jsonl")
    line = Line(suite, selection, ledger, stream, plan, repeats, progress=progress, oracle=oracle, memo=memo)
    workers = pool or Pool(list(selection.backends), timeout)
    line.hold = workers.hold
    try:
        with sparing(), workers:
            line.header(earlier.argv if earlier else argv or sys.argv[1:])
            settled = take_up(earlier, line, workers) if earlier else set()
            left = plan.without(settled)
            workers.widen(left.calls())
            _ask_all(line, workers, left.questions(), partial(line.ask, workers), stop)
        _learn(line, workers)
        if repeats is not None:
            _again(line, left, repeats, workers, stop)
        line.close()
        stream.finish()
    except StoppedError:
        stream.note(line.end(complete=False) | {"exit": int(Exit.INTERRUPTED)})
        stream.abandon()
        raise
    except BaseException:
        stream.abandon()
        raise
    for kept in (oracle, memo):
        if kept is not None:
            kept.trim()
    return line.summary


def _ask_all(
    line: Line,
    pool: Pool,
    questions: Iterator[tuple[Case, Sequence[Api]]],
    ask: Callable[[Case, Sequence[Api]], None],
    stop: Callable[[], bool],
) -> None:
    """Ask case by case, and hear all answers; asked to stop, hear those to what was asked."""
    for case, apis in questions:
        if stop():
            pool.withdraw()
            line.take(pool, until_idle=True)
            raise StoppedError(f"interrupted; {line.settled} of {len(line.plan)} calls are finished")
        ask(case, apis)
    line.take(pool, until_idle=True)


def _again(line: Line, plan: Plan, repeats: Repeats, first: Pool, stop: Callable[[], bool]) -> None:
    """Ask everything anew of new workers, in the opposite order and back, and judge what all calls gave."""
    specs = list(line.selection.backends)
    for number in range(repeats.rounds if plan else 0):
        with Pool(specs, first.timeout, executor=first.executor, workers=first.workers) as pool:
            pool.widen(plan.calls())
            pool.environments()
            order = plan.questions(backwards=number % 2 == 0)
            _ask_all(line, pool, order, partial(repeats.ask, line, pool), stop)
        _learn(line, pool)
    repeats.close(line)


def _learn(line: Line, pool: Pool) -> None:
    """Take down what became of the machines that workers ran on."""
    line.summary.losses += pool.losses()
    line.summary.troubles = pool.executor.troubles()
