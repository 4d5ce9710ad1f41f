"""Miniatures that do something to their process: each costs one case, and the others have their results."""

import platform
import sys
import time
from pathlib import Path

import pytest

from conformance.adapters import BACKENDS
from conformance.errors import Exit
from conformance.ledger import load_ledger
from conformance.load import load_operator
from conformance.memory import VARIABLE
from conformance.pool import BackendSpec
from conformance.run import Selection, run
from conformance.stream import read_stream
from tests.test_miniatures import PASS, Go, Outcome, Verdict, expect, only_guilty

HERE = Path(__file__).parent
GUILTY = "guilty[float32]"
LINUX = sys.platform.startswith("linux")
X86 = platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"
linux = pytest.mark.skipif(not LINUX, reason="memory is limited on Linux only")
x86 = pytest.mark.skipif(not X86, reason="the control bits of MXCSR are set through glibc on x86-64")


@pytest.fixture
def miniature(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Go:
    """Run a miniature of miniatures_process.py on all cases of data/miniature.yaml."""

    def go(name: str, timeout: float = 60.0) -> Outcome:
        monkeypatch.setitem(BACKENDS, "miniature", f"tests.miniatures_process:{name}")
        suite = [load_operator(HERE / "data" / "miniature.yaml")]
        spec = BackendSpec("miniature", BACKENDS["miniature"], paths=(str(HERE.parent),))
        (tmp_path / "ledger").mkdir()
        ledger = load_ledger(tmp_path / "ledger")
        summary = run(suite, Selection((spec,)), ledger, tmp_path, timeout=timeout, argv=[])
        return Outcome(summary, list(read_stream(tmp_path / "run.jsonl", partial=True)))

    return go


def only_its_output(status: str, kind: str) -> dict[tuple[str, str], Verdict]:
    """Say that the output of the guilty case is so, and everything else passes."""
    return expect(lambda case, check: (status, kind) if (case, check) == (GUILTY, "output") else PASS)


def message(outcome: Outcome) -> str:
    """Return what is said of the guilty case."""
    text: str = outcome.row(GUILTY, "output")["message"]
    return text


@pytest.mark.parametrize("name", ["TakesALockTwice", "HoldsTheInterpreter", "IgnoresSigterm"])
def test_a_deadlock_and_deaf_ears_cost_one_case(miniature: Go, name: str) -> None:
    """Waiting for oneself, with the interpreter locked or with signals ignored: a timeout like any other."""
    outcome = miniature(name, timeout=3.0)
    assert outcome.verdicts == only_guilty("timeout")
    assert outcome.summary.exit_code == Exit.UNEXPECTED


def test_a_stack_overflow_costs_one_case(miniature: Go) -> None:
    """In native code it is a signal, and the stack's end is among the last words."""
    outcome = miniature("OverflowsTheStack")
    assert outcome.verdicts == only_guilty("crash")
    assert outcome.row(GUILTY, "output")["error"]["signal"] == "SIGSEGV"
    assert "deeper" in outcome.row(GUILTY, "output")["error"]["stderr"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("RecursesInPython", "RecursionError at call: maximum recursion depth"),
        ("ExitsByException", "SystemExit at call: no licence found"),
        ("InterruptsItself", "KeyboardInterrupt at call"),
        ("HasNoMessage", "UnreadableError at call: its message cannot be read: ValueError"),
        ("SaysTooMuch", "KeyError at call: 'xxx"),
        ("SaysWhatIsNoText", r"OSError at call: kernel \ud800 failed"),
        pytest.param("AsksForATerabyte", "MemoryError at call: Unable to allocate 1.00 TiB", marks=linux),
    ],
)
def test_an_exception_that_is_no_refusal_is_an_error_of_one_case(miniature: Go, name: str, said: str) -> None:
    """Whatever class and message it has, it is an answer: the process goes on."""
    outcome = miniature(name)
    assert outcome.verdicts == only_guilty("error")
    assert said in message(outcome)
    assert len(outcome.row(GUILTY, "output")["error"]["message"]) <= 2000


@linux
def test_filling_the_memory_is_an_error_of_one_case(miniature: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit there is an exception; what was kept does not burden the cases behind it."""
    monkeypatch.setenv(VARIABLE, "0.5")
    outcome = miniature("FillsMemory")
    assert outcome.verdicts == only_guilty("error")
    assert "MemoryError" in message(outcome)


@linux
def test_a_leak_of_many_cases_accuses_none_of_them(miniature: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the room is full the worker is replaced: no case pays for what others left."""
    monkeypatch.setenv(VARIABLE, "0.25")
    assert miniature("LeaksAtEveryCall").verdicts == expect(lambda _, __: PASS)


def test_closing_all_descriptors_costs_one_case(miniature: Go) -> None:
    """The answer cannot be sent; the channel is closed, and that is a death."""
    outcome = miniature("ClosesDescriptors", timeout=20.0)
    assert outcome.verdicts == only_guilty("crash")


@pytest.mark.parametrize(
    ("name", "status"), [("WritesToEveryDescriptor", "timeout"), ("WritesOnesToEveryDescriptor", "crash")]
)
def test_noise_on_the_protocols_own_descriptor_costs_one_case(miniature: Go, name: str, status: str) -> None:
    """Bytes that announce a long message and never send it are silence; those that mean nothing an end."""
    assert miniature(name, timeout=3.0).verdicts == only_guilty(status)


@pytest.mark.parametrize("name", ["PrintsForEver", "ReplacesStdout", "DrawsNumbers", "SetsVariableAtImport"])
def test_what_harms_nobody_costs_nothing(miniature: Go, name: str) -> None:
    """Printing is discarded, numbers are there to be drawn, and an import sets up what was imported."""
    assert miniature(name).verdicts == expect(lambda _, __: PASS)


@pytest.mark.parametrize("name", ["Forks", "ForksNatively"])
def test_a_child_that_comes_back_does_not_answer(miniature: Go, name: str) -> None:
    """The parent has answered: nobody hears the same answer twice."""
    assert miniature(name).verdicts == expect(lambda _, __: PASS)


def test_a_child_that_sleeps_does_not_hold_the_run(miniature: Go) -> None:
    """It has every descriptor of its parent, and nobody waits for it."""
    began = time.monotonic()
    assert miniature("LeavesAChild").verdicts == expect(lambda _, __: PASS)
    assert time.monotonic() - began < 25


@pytest.mark.parametrize(
    ("name", "status"), [("LeavesAChildAndDies", "crash"), ("LeavesAChildAndHangs", "timeout")]
)
def test_a_child_that_holds_the_pipe_of_a_dead_worker_costs_one_case(
    miniature: Go, name: str, status: str
) -> None:
    """The end of the worker is seen although its pipe stays open."""
    began = time.monotonic()
    assert miniature(name, timeout=3.0).verdicts == only_guilty(status)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("ChangesFolder", "the current folder"),
        ("DeletesFolder", "the current folder"),
        ("ChangesEnvironment", "the environment (OMP_NUM_THREADS, PATH)"),
        pytest.param("ChangesRounding", "the rounding mode", marks=x86),
        pytest.param("FlushesToZero", "flush-to-zero", marks=x86),
        pytest.param("TakesSubnormalsForZero", "flush-to-zero", marks=x86),
        pytest.param("TrapsDivision", "the floating-point traps", marks=x86),
        ("SeedsNumpy", "NumPy's random numbers"),
        ("SeedsPython", "Python's random numbers"),
        ("ChangesErrorHandling", "NumPy's handling of errors"),
        ("ChangesRecursionLimit", "the recursion limit"),
        ("ChangesImportPath", "the import path"),
        ("ChangesLocale", "the locale"),
        ("ChangesSignalHandler", "a signal handler"),
        ("LeavesAnAlarm", "a pending alarm"),
    ],
)
def test_a_changed_process_is_a_discrepancy_of_its_own(miniature: Go, name: str, what: str) -> None:
    """The numbers are right; what was altered is named, and the cases behind it do not see it."""
    outcome = miniature(name)
    assert outcome.verdicts == only_its_output("fail", "mutated_process")
    assert message(outcome) == f"changed its process: {what}"
    assert outcome.summary.exit_code == Exit.UNEXPECTED


def test_a_wrong_answer_stays_one_and_says_what_it_changed(miniature: Go) -> None:
    """One kind, the graver; both are named."""
    outcome = miniature("LeavesAWrongAnswer")
    assert outcome.verdicts == only_its_output("fail", "value")
    assert message(outcome).endswith("and changed its process: the current folder")
