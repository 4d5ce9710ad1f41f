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
from msgspec.structs import replace

from conformance.adapters import BACKENDS
from conformance.arrays import to_wire
from conformance.child import signal_name
from conformance.errors import UsageError
from conformance.lane import EAGER, MAX_STARTS_IN_A_ROW
from conformance.pool import WORTH, BackendSpec, Fault, Lost, Pool, backend_spec
from conformance.sequence import MAX_DEATHS_IN_A_ROW
from conformance.types import Array, Binding, Death, Environment, Raised, Reply, Request

TOY = """
import json, os, signal, stat, struct, sys, threading, time
from pathlib import Path
from conformance.adapters.base import Adapter
from conformance.errors import BindingError
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
        if what == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(60)
        if what == "late":
            threading.Timer(0.2, os._exit, [9]).start()
        if what == "fork":
            if not os.fork():
                time.sleep(60)
            os._exit(9)
        if what == "garbage":
            write(b"what a framework prints where it should not, " * 8)
        if what == "zeros":
            write(bytes(90))
        if what == "cut":
            write(struct.pack("!bii", 4, 1, 100) + b"ten bytes.")
            os._exit(9)
        if what == "nonsense":
            write(struct.pack("!bii", 4, 1, 10) + b"ten bytes.")
        if what == "close":
            os.closerange(0, 64)
        if what == "fail":
            raise RuntimeError("our own code")
        if what == "binding":
            raise BindingError("os.system is outside the public namespaces of toy")
        arrays = [[a.dtype, a.shape, a.data.hex(), a.layout] for a in request.tensors.values()]
        said = dict(pid=os.getpid(), cwd=os.getcwd(), level=os.environ.get("TOY_LEVEL"), arrays=arrays)
        said |= dict(params=request.params, gradients=request.gradients)
        if what == "litter":
            Path("rank_0").mkdir()
        return Reply(request.id, Raised("call", "value", "Said", json.dumps(said)))

def write(data):
    for descriptor in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                os.write(descriptor, data)
        except OSError:  # not open, or the end that reads
            continue

class Broken(Toy):
    def start(self):
        raise ImportError("libtoy.so: undefined symbol")

class Dies(Toy):
    def start(self):
        with Path(__file__).with_name("starts").open("a") as starts:
            starts.write("x")
        os.abort()

class StartsOnce(Dies):
    def start(self):
        return super().start() if Path(__file__).with_name("starts").exists() else self.begin()

    def begin(self):
        Path(__file__).with_name("starts").touch()
        return Toy.start(self)

class NeverStarts(Toy):
    def start(self):
        time.sleep(60)

class Other(Toy):
    lanes = 2

class Spins(Toy):
    lanes = 2
    spins = True

    def execute(self, request):
        if request.binding.api == "die":
            os._exit(9)
        said = json.dumps(sorted(os.sched_getaffinity(0)))
        return Reply(request.id, Raised("call", "value", "Said", said))

class OneLate(Other):
    def start(self):
        time.sleep(60 if Path.cwd().name in ("first-0", "last-1") else 0)
        return super().start()

for each in (Toy, Broken, Dies, StartsOnce, NeverStarts, Other, Spins, OneLate):
    each.__abstractmethods__ = frozenset()
"""

Make = Callable[..., Pool]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a pool of toys, by name and class."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "toy", raising=False)

    def pool(*names: str, kind: str = "Toy", **more: Any) -> Pool:
        kinds = [name.partition(":")[::2] for name in names]
        specs = [BackendSpec(name, f"toy:{own or kind}", paths=(str(tmp_path),)) for name, own in kinds]
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
    with pytest.raises(UsageError, match="no backend 'flax'; there are torch, paddle, mindspore"):
        backend_spec("flax")
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
        pool.environments()
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
    with make("toy") as pool:
        for number in range(MAX_DEATHS_IN_A_ROW + 4):
            pool.submit("toy", request(number, "die"))
        answers = [answer for *_, answer in pool.answers(until_idle=True)]
        reason = pool.lost("toy")
    assert [type(answer) for answer in answers] == [Death] * MAX_DEATHS_IN_A_ROW + [Lost] * 4
    assert reason == f"backend toy died {MAX_DEATHS_IN_A_ROW} times in a row"


def test_an_answer_in_between_resets_the_count(make: Make) -> None:
    """Many deaths among many answers are many discrepancies and no reason to give up."""
    count = MAX_DEATHS_IN_A_ROW + 1
    with make("toy") as pool:
        for number in range(2 * count):
            pool.submit("toy", request(number, "die" if number % 2 else "say"))
        answers = [answer for *_, answer in pool.answers(until_idle=True)]
        assert pool.lost("toy") == ""
    assert [type(answer) for answer in answers] == [Reply, Death] * count
    assert {answer.sequence for answer in answers if isinstance(answer, Death)} == {()}


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
    make()  # the module of the toys
    with Pool([BackendSpec("toy", "toy:Toy", str(link), (str(tmp_path),))]) as pool:
        pool.submit("toy", request(1))
        ((_, _, answer),) = pool.answers(until_idle=True)
        variables = Path(f"/proc/{said(answer)['pid']}/environ").read_bytes()
    assert b"TOY_WRAPPED=1" in variables


def test_a_status_is_named() -> None:
    """Signals by their names, exits by their status, and a channel that closed while the process lives."""
    assert [signal_name(status) for status in (-11, -6, 3, None, -64)] == [
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


def test_what_is_asked_before_a_worker_is_ready_is_answered(make: Make) -> None:
    """While it starts a worker may owe more, and waiting for all environments loses no answer."""
    heard = []
    with make("toy") as pool:
        assert pool.environment("toy") is None
        for number in range(EAGER - 1):
            pool.submit("toy", request(number))
            heard += list(pool.answers())
        assert isinstance(pool.environments()["toy"], Environment)
        assert pool.environment("toy") == pool.environments()["toy"]
        heard += list(pool.answers(until_idle=True))
    assert [number for _, number, _ in heard] == list(range(EAGER - 1))


def test_a_worker_that_starts_may_not_owe_everything(make: Make) -> None:
    """There is a limit: who asks more waits for it to start."""
    with make("toy") as pool:
        for number in range(EAGER):
            pool.submit("toy", request(number))
        began = time.monotonic()
        assert len(list(pool.answers())) > EAGER // 2
        assert time.monotonic() - began > 0.05


def test_one_environment_is_known_while_another_still_starts(make: Make) -> None:
    """What is ready is said as soon as `answers` has heard of it."""
    with make("ready", "never:NeverStarts") as pool:
        pool.submit("ready", request(1))
        while pool.environment("ready") is None:
            list(pool.answers())
        assert isinstance(pool.environment("ready"), Environment)
        assert pool.environment("never") is None


def test_several_lanes_of_a_backend_answer_side_by_side(make: Make) -> None:
    """Each lane has a process; what is in one is in order."""
    with make("other:Other") as pool:
        for number in range(20):
            pool.submit("other", request(number), lane=number % 2)
        answers = {number: said(answer)["pid"] for _, number, answer in pool.answers(until_idle=True)}
    assert sorted(answers) == list(range(20))
    assert [len({answers[n] for n in range(lane, 20, 2)}) for lane in (0, 1)] == [1, 1]
    assert answers[0] != answers[1]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not say")
def test_a_worker_whose_threads_spin_has_one_core(make: Make) -> None:
    """Its workers have one each, another one as long as there are more, also when it is replaced."""
    with make("spins:Spins") as pool:
        for number in range(6):
            what = "die" if number in (2, 3) else "say"
            pool.submit("spins", request(number, what), lane=number % 2)
        answers = {number: answer for _, number, answer in pool.answers(until_idle=True)}
    found = [said(answers[number]) for number in (0, 1, 4, 5)]
    assert [len(cores) for cores in found] == [1] * 4
    assert found[:2] == found[2:]
    assert (found[0] != found[1]) == (len(os.sched_getaffinity(0)) > 1)


def test_a_backend_with_much_to_do_has_a_worker_for_each_core_that_is_its_share(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of seven processors: as far as there is work, and never fewer than the adapter asks for."""
    monkeypatch.setattr("conformance.executor.cores", lambda: 7)
    with make("much", "little:Other") as pool:
        pool.widen({"much": 10 * WORTH, "little": WORTH - 1})
        for number in range(12):
            pool.submit("much" if number < 6 else "little", request(number), lane=number % 6)
        answers = {number: said(answer)["pid"] for _, number, answer in pool.answers(until_idle=True)}
    assert len({answers[number] for number in range(6)}) == 3
    assert [answers[number] for number in range(3)] == [answers[number] for number in range(3, 6)]
    assert len({answers[number] for number in range(6, 12)}) == 2


@pytest.mark.parametrize(("cores", "calls", "workers"), [(1, 10, 1), (2, 1, 1), (2, 2, 2), (8, 3, 3)])
def test_another_worker_is_worth_its_start(
    make: Make, monkeypatch: pytest.MonkeyPatch, cores: int, calls: int, workers: int
) -> None:
    """A worker for so many calls, and none without a core."""
    monkeypatch.setattr("conformance.executor.cores", lambda: cores)
    with make("toy") as pool:
        pool.widen({"toy": calls * WORTH})
        for number in range(8):
            pool.submit("toy", request(number), lane=number)
        found = {said(answer)["pid"] for _, _, answer in pool.answers(until_idle=True)}
    assert len(found) == workers


def test_any_worker_of_a_backend_says_what_it_is(make: Make) -> None:
    """The first to be ready is enough, whichever it is: a run does not wait for the last."""
    with make("first:OneLate", "last:OneLate", startup=20.0) as pool:
        while None in (states := [pool.environment(name) for name in ("first", "last")]):
            list(pool.answers())
        assert [type(state) for state in states] == [Environment] * 2


@pytest.mark.parametrize("kind", ["Dies", "StartsOnce"])
def test_a_backend_that_dies_at_every_start_is_lost_and_the_others_finish(
    make: Make, tmp_path: Path, kind: str
) -> None:
    """A few starts are tried; its questions are not run, with the reason, and the other's have answers."""
    with make(f"dying:{kind}", "fine") as pool:
        for number in range(8):
            pool.submit("dying", request(number, "die" if number == 1 else "say"))
            pool.submit("fine", request(number))
        answers: dict[str, list[Any]] = {"dying": [], "fine": []}
        for name, _, answer in pool.answers(until_idle=True):
            answers[name].append(answer)
        reason = pool.lost("dying")
        pool.submit("dying", request(8))
        assert [type(answer) for *_, answer in pool.answers(until_idle=True)] == [Lost]
    assert [type(answer) for answer in answers["fine"]] == [Reply] * 8
    assert "died while starting, 3 times in a row (SIGABRT)" in reason
    assert "Fatal Python error: Aborted" in reason
    assert (tmp_path / "starts").read_text() == "x" * MAX_STARTS_IN_A_ROW
    if kind == "Dies":
        assert [type(answer) for answer in answers["dying"]] == [Lost] * 8
    else:
        assert [type(answer) for answer in answers["dying"]] == [Reply, Death] + [Lost] * 6
        assert "1 earlier call had been made before, and it was not tried alone: backend" in str(
            answers["dying"][1].message
        )


def test_an_interpreter_that_ends_at_once_or_hangs_is_lost(make: Make, tmp_path: Path) -> None:
    """What is no Python, what exits and what never speaks cost their own backend only."""
    make()
    specs = []
    for name, line in (("exits", "exit 7"), ("hangs", "sleep 60"), ("talks", "echo hello; sleep 60")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
        specs.append(BackendSpec(name, "toy:Toy", str(tmp_path / name), (str(tmp_path),)))
    specs.append(BackendSpec("missing", "toy:Toy", str(tmp_path / "missing")))
    specs.append(BackendSpec("fine", "toy:Toy", paths=(str(tmp_path),)))
    with Pool(specs, startup=1.5) as pool:
        states = pool.environments()
    reasons = {name: state.reason for name, state in states.items() if isinstance(state, Lost)}
    assert isinstance(states["fine"], Environment)
    assert "died while starting, 3 times in a row (exit status 7)" in reasons["exits"]
    assert reasons["hangs"] == "backend hangs did not start in 2 s"
    assert "backend talks cannot start" in reasons["talks"]
    assert "backend missing cannot start: [Errno 2]" in reasons["missing"]


def test_a_backend_that_does_not_start_in_time_is_lost(make: Make) -> None:
    """The limit is an argument, and the others do not wait for it."""
    with make("never:NeverStarts", "fine", startup=2.0) as pool:
        pool.submit("never", request(1))
        pool.submit("fine", request(2))
        answers = {name: answer for name, _, answer in pool.answers(until_idle=True)}
    assert answers["never"] == Lost("backend never did not start in 2 s")
    assert isinstance(answers["fine"], Reply)


def outcome(make: Make, what: str, **more: Any) -> tuple[list[Any], set[int]]:
    """Ask five questions, the first of this kind; return the answers and the processes that were used."""
    with make("toy", **more) as pool:
        for number in range(5):
            pool.submit("toy", request(number, what if number == 0 else "say"))
        answers = {number: answer for _, number, answer in pool.answers(until_idle=True)}
        assert pool.lost("toy") == ""
    return [answers[n] for n in sorted(answers)], {said(answers[n])["pid"] for n in range(1, 5)}


def test_a_worker_that_ignores_sigterm_is_ended(make: Make) -> None:
    """A timeout is the end of the process, whatever it thinks of signals."""
    answers, _ = outcome(make, "deaf", timeout=1.0)
    assert answers[0] == Death("timeout", "no answer in 1 s", "", "")


def test_a_death_is_seen_although_a_child_holds_the_pipe_open(make: Make) -> None:
    """The end of the channel never comes; the process is looked at, and its child is ended too."""
    began = time.monotonic()
    answers, _ = outcome(make, "fork", timeout=30.0)
    assert (answers[0].status, answers[0].signal) == ("crash", "exit status 9")
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("what", ["garbage", "zeros", "cut", "nonsense", "close", "fail"])
def test_a_broken_protocol_costs_its_own_question_only(
    make: Make, capfd: pytest.CaptureFixture[str], what: str
) -> None:
    """A crash or a fault of ours, never a hang; the next worker answers the rest, and nothing is printed."""
    answers, processes = outcome(make, what, timeout=8.0)
    kind = {"fail": Fault, "nonsense": Fault}.get(what, Death)
    assert type(answers[0]) is kind, answers[0]
    assert len(processes) == 1
    if what == "cut":
        assert getattr(answers[0], "signal", "") == "exit status 9"
    if what == "fail":
        assert "the worker's own code failed: RuntimeError: our own code" in answers[0].message
    assert capfd.readouterr() == ("", "")


def test_a_binding_outside_the_public_namespaces_is_a_fault_of_ours(make: Make) -> None:
    """The backend is not accused, and its worker goes on."""
    with make("toy") as pool:
        for number, what in enumerate(("say", "binding", "say")):
            pool.submit("toy", request(number, what))
        first, fault, last = [answer for *_, answer in pool.answers(until_idle=True)]
    assert fault == Fault("os.system is outside the public namespaces of toy")
    assert said(first)["pid"] == said(last)["pid"]


@pytest.mark.parametrize("listening", [True, False])
def test_a_death_while_nothing_is_owed_accuses_no_later_question(make: Make, *, listening: bool) -> None:
    """The next worker answers it, whether or not the death was heard of before it was asked."""
    with make("toy") as pool:
        pool.submit("toy", request(1, "late"))
        ((_, _, first),) = pool.answers(until_idle=True)
        for _ in range(8):
            time.sleep(0.1)
            assert not listening or not list(pool.answers())
        pool.submit("toy", request(2))
        ((_, number, last),) = pool.answers(until_idle=True)
    assert number == 2
    assert said(first)["pid"] != said(last)["pid"]


def test_what_was_not_sent_can_be_withdrawn(make: Make) -> None:
    """What a worker has been sent is answered; the rest is forgotten, also before it is ready."""
    with make("toy", window=4) as pool:
        pool.environments()
        for number in range(20):
            pool.submit("toy", request(number, "slow" if number == 0 else "say"))
        pool.withdraw()
        heard = [number for _, number, _ in pool.answers(until_idle=True)]
        assert heard == list(range(len(heard)))
        assert 1 <= len(heard) <= 4
        pool.submit("toy", request(20))
        assert [number for _, number, _ in pool.answers(until_idle=True)] == [20]
    with make("toy") as pool:
        pool.submit("toy", request(0))
        pool.withdraw()
        assert list(pool.answers(until_idle=True)) == []


def test_what_was_asked_before_a_worker_was_ready_goes_through_the_same_window(make: Make) -> None:
    """Once it is ready it is sent no more than it may owe: the rest can still be withdrawn."""
    with make("toy", window=16) as pool:
        for number in range(100):
            pool.submit("toy", request(number, "slow" if number == 0 else "say"))
        pool.environments()
        pool.withdraw()
        heard = [number for _, number, _ in pool.answers(until_idle=True)]
    assert heard == list(range(16))


def test_a_suspected_call_is_not_withdrawn(make: Make) -> None:
    """A worker died of it, so it was sent: it is made again, and has its death."""
    with make("toy") as pool:
        for number, what in enumerate(("say", "die", "say")):
            pool.submit("toy", request(number, what))
        (lane,) = pool._all
        heard: list[Any] = []
        while lane._suspect is None:
            heard += pool.answers()
        pool.withdraw()
        heard += pool.answers(until_idle=True)
    assert [(number, type(answer)) for _, number, answer in heard] == [(0, Reply), (1, Death)]


def test_an_isolated_request_has_a_process_for_itself(make: Make) -> None:
    """Nothing has run in it before, and nothing runs in it afterwards; the order stays."""
    with make("toy") as pool:
        for number in range(6):
            asked = request(number)
            pool.submit("toy", replace(asked, isolated=True) if number in (2, 3) else asked)
        answers = [(number, said(answer)["pid"]) for _, number, answer in pool.answers(until_idle=True)]
        pool.submit("toy", replace(request(6), isolated=True))
        answers += [(number, said(answer)["pid"]) for _, number, answer in pool.answers(until_idle=True)]
    pids = [pid for _, pid in answers]
    assert [number for number, _ in answers] == list(range(7))
    assert len({pids[0], pids[2], pids[3], pids[4], pids[6]}) == 5
    assert (pids[0], pids[4]) == (pids[1], pids[5])


def test_an_isolated_request_that_dies_is_not_made_again(make: Make) -> None:
    """Nothing ran before it that could have a part in it."""
    with make("toy") as pool:
        pool.submit("toy", request(0))
        pool.submit("toy", replace(request(1, "die"), isolated=True))
        pool.submit("toy", request(2))
        answers = [answer for *_, answer in pool.answers(until_idle=True)]
    assert [type(answer) for answer in answers] == [Reply, Death, Reply]
    assert isinstance(answers[1], Death)
    assert answers[1].message == "the process died: exit status 9"
