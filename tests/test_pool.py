"""The pool, beyond what the miniatures show of it: many backends, dying again and again, cleaning up."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.adapters import BACKENDS
from conformance.arrays import to_wire
from conformance.errors import UsageError
from conformance.pool import MAX_RESTARTS_IN_A_ROW, BackendSpec, Lost, Pool, _signal_name, backend_spec
from conformance.types import Array, Binding, Death, Environment, Raised, Reply, Request

TOY = """
import json, os, sys, time
from pathlib import Path
from conformance.adapters.base import Adapter
from conformance.types import Environment, Raised, Reply

class Toy(Adapter):
    name = distribution = "toy"
    namespaces = ("toy",)
    environ = {"TOY_LEVEL": "3"}
    tensor = read = pull_back = None

    def start(self):
        time.sleep(0.05)
        return Environment("toy", "toy", "1.0", sys.version.split()[0], "")

    def execute(self, request):
        what = request.binding.api
        if what == "die":
            os._exit(9)
        if what == "sleep":
            time.sleep(60)
        if what == "slow":
            time.sleep(0.4)
        arrays = [[a.dtype, a.shape, a.data.hex(), a.layout] for a in request.tensors.values()]
        said = dict(pid=os.getpid(), cwd=os.getcwd(), level=os.environ.get("TOY_LEVEL"), arrays=arrays)
        said |= dict(params=request.params, gradients=request.gradients)
        if what == "litter":
            Path("rank_0").mkdir()
        return Reply(request.id, Raised("call", "value", "Said", json.dumps(said)))

class Broken(Toy):
    def start(self):
        raise ImportError("libtoy.so: undefined symbol")

Toy.__abstractmethods__ = Broken.__abstractmethods__ = frozenset()
"""

Make = Callable[..., Pool]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a pool of toys, by name and class."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "toy", raising=False)

    def pool(*names: str, kind: str = "Toy", **more: Any) -> Pool:
        specs = [BackendSpec(name, f"toy:{kind}", paths=(str(tmp_path),)) for name in names]
        return Pool(specs, **more)

    return pool


def request(number: int, what: str = "say") -> Request:
    """Ask a toy to do something."""
    return Request(number, Binding(what, {}), {"x": to_wire(np.zeros(2))}, {})


def said(answer: Any) -> dict[str, Any]:
    """Read what a toy says of its process."""
    assert isinstance(answer, Reply), answer
    assert isinstance(answer.output, Raised)
    told: dict[str, Any] = json.loads(answer.output.message)
    return told


def alive(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_backends_by_name_and_interpreter() -> None:
    """NAME is ours, NAME=PYTHON another's; what does not exist is a usage error with the choices."""
    assert backend_spec("paddle") == BackendSpec("paddle", BACKENDS["paddle"], sys.executable)
    assert backend_spec(f"torch={sys.executable}").python == sys.executable
    with pytest.raises(UsageError, match="no backend 'jax'; there are torch, paddle, mindspore"):
        backend_spec("jax")
    with pytest.raises(UsageError, match="/no/python is not an executable interpreter"):
        backend_spec("torch=/no/python")


def test_each_backend_has_a_process_a_folder_and_an_environment_of_its_own(make: Make) -> None:
    """What one litters does not meet the other, and the variables are the adapter's."""
    with make("one", "two") as pool:
        for name in ("one", "two"):
            pool.submit(name, request(1, "litter"))
        answers = {name: said(answer) for name, _, answer in pool.answers(until_idle=True)}
    assert len({a["pid"] for a in answers.values()} | {os.getpid()}) == 3
    assert len({a["cwd"] for a in answers.values()} | {str(Path.cwd())}) == 3
    assert {a["level"] for a in answers.values()} == {"3"}
    assert "TOY_LEVEL" not in os.environ


def test_environments_are_known_before_the_first_question(make: Make) -> None:
    """A worker that cannot start is lost with its reason, and the others are ready."""
    with make("fine") as pool:
        assert isinstance(pool.environments()["fine"], Environment)
        assert pool.lost("fine") == ""
    with make("broken", kind="Broken") as pool:
        state = pool.environments()["broken"]
        assert isinstance(state, Lost)
        assert "cannot start: ImportError: libtoy.so: undefined symbol" in state.reason


def test_answers_come_in_order_and_all_of_them(make: Make) -> None:
    """A hundred questions through a window of eight: each answered once, in the order asked."""
    heard = []
    with make("toy", window=8) as pool:
        for number in range(100):
            pool.submit("toy", request(number))
            taken = [number for _, number, _ in pool.answers()]
            heard += taken
            assert number + 1 - len(heard) < 8
        heard += [number for _, number, _ in pool.answers(until_idle=True)]
    assert heard == list(range(100))


def test_a_clock_runs_for_one_question_at_a_time(make: Make) -> None:
    """Five answers of 0.4 s each, asked at once, are no timeout of 1.5 s."""
    with make("toy", timeout=1.5) as pool:
        pool.environments()
        for number in range(5):
            pool.submit("toy", request(number, "slow"))
        answers = [answer for *_, answer in pool.answers(until_idle=True)]
    assert all(isinstance(answer, Reply) for answer in answers)
    assert len(answers) == 5


def test_a_hanging_backend_does_not_stop_the_others(make: Make) -> None:
    """While one sleeps its timeout away the other's answers arrive."""
    with make("sleeper", "worker", timeout=2.0) as pool:
        pool.environments()
        began, times = time.monotonic(), {}
        pool.submit("sleeper", request(1, "sleep"))
        pool.submit("worker", request(2))
        for name, _, answer in pool.answers(until_idle=True):
            times[name] = time.monotonic() - began
            assert isinstance(answer, Death if name == "sleeper" else Reply)
    assert times["worker"] < 1.5 < times["sleeper"]


def test_what_was_asked_behind_a_death_is_asked_again(make: Make) -> None:
    """Only the guilty question gets the death; the rest are answered by the next process."""
    with make("toy") as pool:
        for number in range(6):
            pool.submit("toy", request(number, "die" if number == 2 else "say"))
        answers = [(number, answer) for _, number, answer in pool.answers(until_idle=True)]
    assert [number for number, _ in answers] == list(range(6))
    deaths = {number: answer for number, answer in answers if isinstance(answer, Death)}
    assert list(deaths) == [2]
    assert (deaths[2].status, deaths[2].signal) == ("crash", "exit status 9")
    before, after = (said(answers[n][1])["pid"] for n in (1, 3))
    assert before != after


def test_a_backend_that_only_dies_is_given_up(make: Make) -> None:
    """After a dozen deaths and no answer between them the rest is not run, and the reason says so."""
    limit = MAX_RESTARTS_IN_A_ROW * 4
    with make("toy") as pool:
        for number in range(limit + 4):
            pool.submit("toy", request(number, "die"))
        answers = [answer for *_, answer in pool.answers(until_idle=True)]
        reason = pool.lost("toy")
    assert [type(answer) for answer in answers] == [Death] * limit + [Lost] * 4
    assert f"died {limit + 1} times in a row" in reason


def test_an_answer_in_between_resets_the_count(make: Make) -> None:
    """Many deaths among many answers are many discrepancies and no reason to give up."""
    with make("toy") as pool:
        for number in range(2 * MAX_RESTARTS_IN_A_ROW):
            pool.submit("toy", request(number, "die" if number % 2 else "say"))
        answers = [answer for *_, answer in pool.answers(until_idle=True)]
        assert pool.lost("toy") == ""
    assert [type(answer) for answer in answers] == [Reply, Death] * MAX_RESTARTS_IN_A_ROW


def test_nothing_is_left_behind(make: Make) -> None:
    """The processes end and their folders go, also when the run itself failed."""
    with make("toy") as pool:
        pool.submit("toy", request(1))
        ((_, _, answer),) = pool.answers(until_idle=True)
    first = said(answer)
    with pytest.raises(KeyboardInterrupt), make("toy") as pool:  # noqa: PT012 - what an interrupted run does
        pool.submit("toy", request(1))
        ((_, _, answer),) = pool.answers(until_idle=True)
        pool.submit("toy", request(2, "sleep"))
        raise KeyboardInterrupt
    for told in (first, said(answer)):
        assert not alive(told["pid"])
        assert not Path(told["cwd"]).exists()


def test_a_worker_may_be_another_interpreter(make: Make, tmp_path: Path) -> None:
    """The one that the spec names runs the adapter."""
    link = tmp_path / "other-python"
    link.write_text(f'#!/bin/sh\nTOY_WRAPPED=1 exec "{sys.executable}" "$@"\n')
    link.chmod(0o755)
    pool = make("toy")
    pool._workers["toy-0"].spec = BackendSpec("toy", "toy:Toy", str(link), (str(tmp_path),))
    with pool:
        pool.submit("toy", request(1))
        ((_, _, answer),) = pool.answers(until_idle=True)
        variables = Path(f"/proc/{said(answer)['pid']}/environ").read_bytes()
    assert b"TOY_WRAPPED=1" in variables


def test_a_status_is_named() -> None:
    """Signals by their names, exits by their status, and a channel that closed while the process lives."""
    assert [_signal_name(status) for status in (-11, -6, 3, None, -64)] == [
        "SIGSEGV",
        "SIGABRT",
        "exit status 3",
        "closed its channel",
        "SIGRTMAX",
    ]


def test_a_request_carries_layouts_and_bits_as_they_are(make: Make) -> None:
    """What is sent is what arrives: nothing on the way converts an array."""
    array = Array("bfloat16", (2, 1), b"\xc0\x7f\x80\x3f", "transposed")
    asked = Request(1, Binding("say", {}), {"x": array}, {"p": 2, "q": None, "r": 2.0}, ("x",), array)
    with make("toy") as pool:
        pool.submit("toy", asked)
        ((_, _, answer),) = pool.answers(until_idle=True)
    told = said(answer)
    assert told["arrays"] == [["bfloat16", [2, 1], "c07f803f", "transposed"]]
    assert told["params"] == {"p": 2, "q": None, "r": 2.0}
    assert isinstance(told["params"]["r"], float)
    assert told["gradients"] == ["x"]
