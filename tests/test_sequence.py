"""The search for earlier calls: what it finds, how soon, and what it says when it does not find it."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from conformance.adapters import BACKENDS
from conformance.child import Call
from conformance.load import load_operator
from conformance.origins import SHOWN, Origins, attached, told
from conformance.pool import BackendSpec, Lost, Pool
from conformance.sequence import MAX_DEATHS_IN_A_ROW, History, Recorded, SpentError, shrink
from conformance.types import Array, Binding, Death, Reply, Request

HERE = Path(__file__).parent
TOY = """
import os, time
from pathlib import Path
from conformance.adapters.base import Adapter
from conformance.types import Array, Environment, Reply

class Toy(Adapter):
    name = distribution = "toy"
    namespaces = ("toy",)
    tensor = read = pull_back = None

    def start(self):
        self.done = []
        return Environment("toy", "toy", "1.0", "", "")

    def execute(self, request):
        what, *needed = request.binding.api.split("-")
        if what == "abort":
            os.abort()
        if set(needed) <= set(self.done) and self.done:
            if what == "die":
                os.abort()
            if what == "hang":
                time.sleep(60)
            if what == "once" and not (mark := Path(__file__).with_name("mark")).exists():
                mark.touch()
                os.abort()
        self.done.append(what)
        time.sleep(request.params.get("seconds", 0))
        return Reply(request.id, Array("float32", (), bytes(4)))

Toy.__abstractmethods__ = frozenset()
"""

Make = Callable[..., Pool]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a pool of toys that remember what they did."""
    (tmp_path / "remembering.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "remembering", raising=False)

    def pool(*names: str, **more: Any) -> Pool:
        return Pool([BackendSpec(n, "remembering:Toy", paths=(str(tmp_path),)) for n in names], **more)

    return pool


def request(number: int, what: str = "say", seconds: float = 0.0) -> Request:
    """Ask a toy to do something; what comes after a hyphen must have been done for it to fail."""
    return Request(number, Binding(what, {}), {}, {"seconds": seconds})


def answers(pool: Pool, asked: Sequence[str], name: str = "toy") -> dict[int, Any]:
    """Ask a backend all of it, and return the answers by number."""
    for number, what in enumerate(asked):
        pool.submit(name, request(number, what))
    return {number: answer for _, number, answer in pool.answers(until_idle=True)}


@pytest.mark.parametrize("needed", [{0}, {999}, {417}, {3, 998}, {0, 1}, {511, 512, 513}, {5, 300, 301, 900}])
def test_what_is_needed_is_found_and_nothing_else(needed: set[int]) -> None:
    """A thousand calls are halved: each that is needed costs about ten replays."""
    made = 0

    def fails(part: list[int]) -> bool:
        nonlocal made
        made += 1
        return needed <= set(part)

    assert shrink(range(1000), fails) == (sorted(needed), True)
    assert made <= 13 * len(needed)


def test_what_another_call_repairs_is_still_seen_to_fail() -> None:
    """Where less of a history may fail and more of it not, what is returned has failed."""
    seen: list[list[int]] = []

    def fails(part: list[int]) -> bool:
        state = False
        for each in part:
            state = {10: True, 20: False, 30: True, 40: False, 45: True}.get(each, state)
        if state:
            seen.append(part)
        return state

    found, complete = shrink(range(50), fails)
    assert (found, complete) == ([45], True)
    assert found in seen


@pytest.mark.parametrize("budget", range(12))
def test_a_search_that_is_cut_short_returns_what_was_seen_to_fail(budget: int) -> None:
    """Whenever the replays run out: a part that failed, and a word that it may be too much."""
    seen, left = [list(range(100))], budget

    def fails(part: list[int]) -> bool:
        nonlocal left
        if not left:
            raise SpentError
        left -= 1
        if {7, 70} <= set(part):
            seen.append(part)
            return True
        return False

    found, complete = shrink(range(100), fails)
    assert not complete
    assert found in seen


def test_a_history_is_read_back_up_to_a_call(tmp_path: Path) -> None:
    """Ids and places of what was sent before it; the bytes stay on disk."""
    history = History(tmp_path / "history")
    history.add([Call(4, b"four"), Call(7, b"")])
    history.add([Call(9, b"nine"), Call(11, b"eleven")])
    history.close()
    found = History.before(history.path, 9)
    assert found == [Recorded(4, 12, 4), Recorded(7, 28, 0)]
    assert history.path.read_bytes()[12:16] == b"four"
    history.discard()
    assert not history.path.exists()


def test_two_calls_among_many_are_found_and_the_others_answered(make: Make) -> None:
    """The call that dies is made again alone, where it answers; every other call has its own answer."""
    asked = ["say"] * 60
    asked[11], asked[37], asked[50] = "left", "right", "die-left-right"
    with make("toy") as pool:
        heard = answers(pool, asked)
    death = heard.pop(50)
    assert isinstance(death, Death)
    assert (death.status, death.signal, death.sequence) == ("crash", "SIGABRT", (11, 37))
    assert death.message == "the process died: SIGABRT; alone it answers, it fails only after 2 earlier calls"
    assert "Fatal Python error: Aborted" in death.stderr
    assert sorted(heard) == [number for number in range(60) if number != 50]
    assert all(isinstance(answer, Reply) for answer in heard.values())


def test_a_call_that_dies_alone_too_needs_no_other(make: Make) -> None:
    """It died among others and again in a fresh process: nothing is searched for."""
    with make("toy") as pool:
        heard = answers(pool, ["say", "say", "abort", "say"])
    assert heard[2].message == "the process died: SIGABRT"
    assert heard[2].sequence == ()
    assert list(heard) == [0, 1, 2, 3]


def test_a_hang_that_needs_another_call_is_found(make: Make) -> None:
    """And one that hangs by itself is a plain timeout."""
    with make("toy", timeout=1.0) as pool:
        heard = answers(pool, ["say", "left", "say", "hang-left", "say"])
        slow = request(9, "say", 30.0)
        pool.submit("toy", slow)
        ((_, _, alone),) = pool.answers(until_idle=True)
    assert heard[3].sequence == (1,)
    assert heard[3].status == "timeout"
    assert alone == Death("timeout", "no answer in 1 s", "", "")
    assert [type(heard[n]) for n in (0, 1, 2, 4)] == [Reply] * 4


def test_what_does_not_happen_again_says_so(make: Make) -> None:
    """It stays a crash, of which nothing is known."""
    with make("toy") as pool:
        heard = answers(pool, ["say", "say", "once", "say"])
    assert heard[2].status == "crash"
    assert heard[2].sequence == ()
    assert "once, after 2 earlier calls, and not again: neither alone nor after the same" in heard[2].message


def test_a_search_has_a_budget(make: Make) -> None:
    """With few replays more is named than is needed, and said to be; with no time nothing is."""
    asked = ["say"] * 40 + ["left", *["say"] * 20, "die-left"]
    with make("toy", replays=2) as pool:
        few = answers(pool, asked)[61]
    assert 40 in few.sequence
    assert len(few.sequence) == 30
    assert few.message.endswith("only after 30 earlier calls (perhaps not all of them needed)")
    with make("toy", seconds=0.01) as pool:
        none = answers(pool, asked)[61]
    assert none.sequence == ()
    assert none.message == (
        "the process died: SIGABRT; 61 earlier calls had been made before, "
        "and they take too long to be repeated; alone it answers"
    )


def test_nobody_waits_for_a_search(make: Make) -> None:
    """It begins when its own queue is empty, and other backends go on meanwhile."""
    with make("toy", "other") as pool:
        pool.environments()
        for number, what in enumerate(["left", "die-left", "say", "say"]):
            pool.submit("toy", request(number, what))
        for number in range(4):
            pool.submit("other", request(number, "say", 0.3))
        order = [(name, number) for name, number, _ in pool.answers(until_idle=True)]
    assert [number for name, number in order if name == "toy"] == [0, 2, 3, 1]
    assert [number for name, number in order if name == "other"] == [0, 1, 2, 3]


def test_a_search_ends_with_its_pool(make: Make) -> None:
    """Whoever gives up meanwhile does not wait for it, and no folder is left."""
    with make("toy", timeout=20.0) as pool:
        scratch = pool._scratch
        for number, what in enumerate(["left", "die-left"]):
            pool.submit("toy", request(number, what, 0.2))
        lane = pool._all[0]
        stream = pool.answers(until_idle=True)
        next(stream)
        while not lane._searches.pending:
            pool._early.extend(pool._drain(0.05))
        lane.search()
        time.sleep(0.2)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert not scratch.exists()


def test_a_backend_that_dies_at_every_second_call_is_given_up(make: Make) -> None:
    """That it answers alone does not count as an answer; a call that is made twice does not count twice."""
    with make("toy") as pool:
        heard = answers(pool, ["say"] + ["die"] * 20)
        assert pool.lost("toy") == f"backend toy died {MAX_DEATHS_IN_A_ROW} times in a row"
    kinds = [type(heard[number]) for number in range(21)]
    assert kinds == [Reply] + [Death] * MAX_DEATHS_IN_A_ROW + [Lost] * (20 - MAX_DEATHS_IN_A_ROW)
    assert "not tried again with them: backend toy died" in heard[1].message


def test_histories_do_not_pile_up(make: Make) -> None:
    """One file a living worker; what was looked into is deleted."""
    with make("toy") as pool:
        answers(pool, ["left", "die-left", "say", "die-say", "say"])
        left = [path.name for path in pool._scratch.iterdir() if ".history-" in path.name]
    assert len(left) == 1


def test_calls_are_named_by_case_and_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that were given out for a pair have its name; others are numbers."""
    monkeypatch.setitem(BACKENDS, "miniature", "miniatures:Honest")
    op = load_operator(HERE / "data" / "miniature.yaml")
    plan = [(case, api) for case in op.cases for api in op.apis]
    origins = Origins()
    for first, place in ((1, 0), (2, 1), (9, -1), (9, 2), (10, -1)):
        origins.note(first, place)
    death = Death("crash", "the process died", "SIGSEGV", "words", (1, 2, 8, 9, 10))
    names = origins.names(death, plan)
    ids = [plan[place][0].id for place in (0, 1, 1, 2)]
    assert names == [f"{each} via miniature.loss" for each in ids] + ["request 10"]
    assert told(death, names).message.endswith(f"{names[SHOWN - 1]} and 1 more")
    assert origins.names(Death("crash", "the process died"), plan) == []
    assert origins.names(Reply(1, Array("float32", (), bytes(4))), plan) == []
    assert attached([], names) == []
