"""The seam: what a lane does when a worker is gone with its machine, whatever executor had started it."""

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.backends import BackendSpec
from conformance.executor import Gone, GoneError, Local, Seat, Tell, Worker, cores
from conformance.lane import MAX_LOSSES_IN_A_ROW
from conformance.pool import WORTH, Lost, Pool
from conformance.types import Death, Reply
from tests.executors import TOY
from tests.far_toys import asked
from tests.test_pool import said

HERE = replace(TOY, python=sys.executable)
Rule = Callable[[int, Any], Any]


class Shaky(Local):
    """This machine, which may lose a worker.

    `rule` is given the number of a worker and what it says, and returns what is told: if that is `Gone`,
    nothing more is. `words` are asked for a worker's last words.
    """

    def __init__(
        self, rule: Rule = lambda _, item: item, words: Callable[[Worker], str] | None = None
    ) -> None:
        super().__init__()
        self.rule, self.words = rule, words
        self.started = self.closed = 0

    def seat(self, spec: BackendSpec) -> Seat:
        """Return a seat whose workers can be lost."""
        return _Seat(self, super().seat(spec))


class _Seat:
    def __init__(self, executor: Shaky, seat: Seat) -> None:
        self._executor, self._seat = executor, seat

    def start(self, folder: Path, log: Path, tell: Tell) -> Worker:
        executor = self._executor
        executor.started += 1
        number, lost = executor.started, list[Gone]()

        def hear(item: Any) -> None:
            if not lost:
                found = executor.rule(number, item)
                lost.extend([found] if isinstance(found, Gone) else [])
                tell(found)

        worker = self._seat.start(folder, log, hear)
        if (words := executor.words) is not None:
            worker.last_words = lambda: words(worker)  # type: ignore[method-assign]
        return worker

    def close(self) -> None:
        self._executor.closed += 1


def losing(*losses: tuple[int, int]) -> Rule:
    """Lose workers (number, reply): what would be its n-th reply is that it is gone."""
    replies = Counter[int]()

    def rule(number: int, item: Any) -> Any:
        replies[number] += type(item) is bytes
        return Gone("the cable was pulled") if (number, replies[number]) in losses else item

    return rule


def pool_of(executor: Shaky, **more: Any) -> Pool:
    """Make a pool of one toy."""
    return Pool([HERE], executor=executor, **more)


def answers(pool: Pool, *what: str) -> dict[int, Any]:
    """Ask the toy, and return the answers; each call has one."""
    for number, each in enumerate(what):
        pool.submit("toy", asked(number, each))
    heard = [(number, answer) for _, number, answer in pool.answers(until_idle=True)]
    assert Counter(number for number, _ in heard) == Counter(range(len(what)))
    return dict(heard)


def test_what_a_lost_worker_owed_is_asked_of_another() -> None:
    """Each call is answered once, by whichever answered first; nobody is accused."""
    executor = Shaky(losing((1, 4)))
    with pool_of(executor) as pool:
        found = answers(pool, *["say"] * 10)
        (loss,) = pool.losses()
    assert all(isinstance(answer, Reply) for answer in found.values())
    processes = [said(found[number])["pid"] for number in range(10)]
    assert len(set(processes[:3])) == len(set(processes[3:])) == 1
    assert processes[0] != processes[9]
    assert loss == "a worker of toy was lost: the cable was pulled; 7 calls asked again"
    assert (executor.started, executor.closed) == (2, 1)


def test_a_backend_whose_workers_are_always_lost_is_lost() -> None:
    """After three in a row without an answer between them; an answer begins the count anew."""
    rows = [(number, 1) for number in range(1, MAX_LOSSES_IN_A_ROW + 1)]
    with pool_of(Shaky(losing(*rows))) as pool:
        found = answers(pool, "say", "say")
    assert isinstance(found[0], Lost)
    assert found[0] == found[1]
    assert found[0].reason == (
        "backend toy: its worker was lost 3 times in a row, each time with its machine: the cable was pulled"
    )
    with pool_of(Shaky(losing(*[(number, 2) for number in range(1, 9)]))) as pool:
        found = answers(pool, *["say"] * 8)
        assert len(pool.losses()) == 7
    assert all(isinstance(answer, Reply) for answer in found.values())


def test_a_machine_that_never_ran_it_does_not_count() -> None:
    """Others are tried, as many as there are."""

    def rule(number: int, item: Any) -> Any:
        return Gone("it lacks NumPy", unfit=True) if number <= 5 else item

    with pool_of(Shaky(rule)) as pool:
        assert isinstance(answers(pool, "say")[0], Reply)
        assert pool.losses() == []


def test_a_call_that_was_suspected_is_suspected_still() -> None:
    """It died after others, and its machine is lost while it is made alone: it is made alone again."""
    with pool_of(Shaky(losing((2, 1)))) as pool:
        found = answers(pool, "say", "die-after", "say")
        assert len(pool.losses()) == 1
    assert isinstance(found[1], Death)
    assert found[1].sequence == (0,)
    assert "it fails only after 1 earlier call" in found[1].message


def test_a_search_whose_machine_is_lost_found_nothing_out() -> None:
    """It does not say that the failure does not come again."""
    with pool_of(Shaky(losing((3, 1)))) as pool:
        found = answers(pool, "say", "die-after")
    assert isinstance(found[1], Death)
    assert found[1].sequence == ()
    assert found[1].message.endswith("and the search for them failed: GoneError: the cable was pulled")


def test_a_machine_that_does_not_answer_is_lost() -> None:
    """Where its last words cannot be had, neither a crash nor a timeout is the call's."""

    def silent(_: Worker) -> str:
        if executor.started == 1:
            raise GoneError("the host does not answer")
        return ""

    for what in ("die", "hang"):
        executor = Shaky(words=silent)
        with pool_of(executor, timeout=1.0) as pool:
            found = answers(pool, "say", what)
            (loss,) = pool.losses()
        assert "the host does not answer; 1 call asked again" in loss
        assert isinstance(found[1], Death)  # of the second process, where it was made alone
        assert found[1].message in ("the process died: exit status 9", "no answer in 1 s")


def test_an_answer_that_comes_while_last_words_are_fetched_counts() -> None:
    """What is late on its way is no timeout."""

    def late(_: Worker) -> str:
        time.sleep(1.0)
        return ""

    with pool_of(Shaky(words=late), timeout=0.5) as pool:
        pool.environments()
        found = answers(pool, "slower", "say")
        assert pool._all[0]._generation == 1
    assert all(isinstance(answer, Reply) for answer in found.values())


@pytest.mark.parametrize("workers", [1, 3])
def test_a_backend_has_as_many_workers_as_are_asked_for(workers: int) -> None:
    """No more for many calls, and no fewer for few; each seat is given back."""
    executor = Shaky()
    with pool_of(executor, workers=workers) as pool:
        pool.environments()
        pool.widen({"toy": 100 * WORTH})
        assert executor.started == workers
    assert executor.closed == workers


def test_the_room_on_this_machine_is_its_cores() -> None:
    """Shared by the backends; what a worker is not worth it does not get."""
    assert [Local(n).room(HERE) for n in (1, 2, cores() + 1)] == [cores(), cores() // 2, 0]
    assert Local().least(HERE) == 1
    assert Local().troubles() == []
    with pool_of(Shaky()) as pool:
        pool.widen({"toy": WORTH * 2})
        assert len(pool._all) == max(1, min(2, cores()))
