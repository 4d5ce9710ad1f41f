"""The state of a process: what a call alters is named once and put back, cheaply."""

import ctypes
import os
import platform
import random
import signal
import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.arrays import numpy_dtype, to_wire
from conformance.judge import judge
from conformance.load import Operator, load_suite
from conformance.memory import MEMORY
from conformance.process import Process
from conformance.process_floating import Registers, Sums, floating
from conformance.process_random import Shared, numpy_random
from conformance.repro import script
from conformance.repro_batch import execute_many
from conformance.run import expectation
from conformance.types import Reply

X86 = platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"
x86 = pytest.mark.skipif(not X86, reason="the control bits of MXCSR are set through glibc on x86-64")


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Process:
    """Return the probes, in a folder that may be left."""
    monkeypatch.chdir(tmp_path)
    return Process()


def control(mxcsr: int, x87: int = 0) -> None:
    """Set bits of the control registers."""
    library, buffer = ctypes.PyDLL("libm.so.6"), ctypes.create_string_buffer(32)
    library.fegetenv(buffer)
    words = (ctypes.c_uint32 * 8).from_buffer(buffer)
    words[7] |= mxcsr
    words[0] ^= x87
    library.fesetenv(buffer)


def test_what_nobody_altered_is_not_named(process: Process) -> None:
    """Twice the same state; nothing to put back."""
    before = process.look()
    assert process.look() == before
    assert process.put_back(before) == ()


ALTERATIONS: dict[str, Callable[[], Any]] = {
    "the current folder": lambda: os.chdir("/"),
    "the environment (NEW_ONE)": lambda: os.environ.update(NEW_ONE="1"),
    "the environment (HOME, PATH)": lambda: (os.environ.pop("PATH"), os.environ.update(HOME="/")),
    "Python's random numbers": lambda: random.seed(3),
    "NumPy's random numbers": lambda: np.random.seed(3),  # noqa: NPY002 - the global one is the point
    "NumPy's handling of errors": lambda: np.seterr(all="raise"),
    "the recursion limit": lambda: sys.setrecursionlimit(12_345),
    "the import path": lambda: sys.path.insert(0, "/nowhere"),
    "a signal handler": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "a pending alarm": lambda: signal.setitimer(signal.ITIMER_REAL, 100.0),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_what_was_altered_is_named_and_put_back(process: Process, name: str) -> None:
    """By its own name and no other; the next look finds what the first found."""
    before = process.look()
    ALTERATIONS[name]()
    assert process.put_back(before) == (name,)
    assert process.look() == before
    assert process.put_back(before) == ()


@x86
@pytest.mark.parametrize(
    ("mxcsr", "x87", "name"),
    [
        (0x2000, 0, "the rounding mode"),
        (0x4000, 0, "the rounding mode"),
        (0x6000, 0, "the rounding mode"),
        (0, 0x0400, "the rounding mode"),
        (0x8000, 0, "flush-to-zero"),
        (0x0040, 0, "flush-to-zero"),
        (0, 0x0100, "the precision of long double"),
        (0, 0x0004, "the floating-point traps"),
    ],
)
def test_each_control_bit_has_a_name(process: Process, mxcsr: int, x87: int, name: str) -> None:
    """Of SSE and of x87, whose long double is the oracle's kind of number."""
    assert isinstance(floating, Registers)
    before = process.look()
    control(mxcsr, x87)
    assert process.put_back(before) == (name,)
    assert process.look() == before


@x86
def test_the_flags_that_arithmetic_raises_are_no_alteration(process: Process) -> None:
    """An inexact sum, an overflow and an underflow leave traces in the same register."""
    before = process.look()
    with np.errstate(all="ignore"):
        assert np.isinf(np.float32(1e30) * np.float32(1e30))
        assert np.float32(1e-30) * np.float32(1e-30) == 0
    assert process.put_back(before) == ()


@x86
@pytest.mark.parametrize("mxcsr", [0x2000, 0x4000, 0x6000, 0x8000, 0x0040])
def test_other_processors_see_the_same_by_its_effects(mxcsr: int) -> None:
    """Sums of Python's floats show rounding and flush-to-zero where no register can be read."""
    sums = Sums(ctypes.PyDLL("libm.so.6"))
    before = sums.look()
    assert before == (True, True)
    control(mxcsr)
    now = sums.look()
    sums.put_back(before)
    assert sums.look() == before
    assert sums.names(before, now) == ("flush-to-zero" if mxcsr & 0x8040 else "the rounding mode")


@pytest.mark.parametrize("count", [1, 2, 624, 1248, 5000, 100_000])
def test_drawing_numbers_is_no_fault_and_is_put_back(process: Process, count: int) -> None:
    """However many: a whole turn of the generator leaves its position and changes its words."""
    before = process.look()
    np.random.random_sample(count)  # noqa: NPY002 - the global one is the point
    np.random.standard_normal()  # noqa: NPY002 - NumPy keeps half of the pair
    for _ in range(count):
        random.getrandbits(32)
    assert process.look() != before
    assert process.put_back(before) == ()
    assert process.look() == before


def test_the_numbers_after_a_case_are_those_before_it(process: Process) -> None:
    """Put back is the whole state, not only the words that are looked at."""
    np.random.standard_normal()  # noqa: NPY002 - as above
    process = Process()
    state, python = np.random.get_state(), random.getstate()  # noqa: NPY002 - as above
    before = process.look()
    np.random.seed(1)  # noqa: NPY002 - as above
    random.seed(1)
    process.put_back(before)
    assert repr(np.random.get_state()) == repr(state)  # noqa: NPY002 - as above
    assert random.getstate() == python


def test_the_window_on_the_generators_is_the_quick_one() -> None:
    """Reading their memory was checked against their state: no look takes the slow way here."""
    shared = numpy_random()
    assert isinstance(shared, Shared)
    assert isinstance(shared.look(), bytes)
    assert len(shared.look()) == 16


def test_what_an_import_sets_up_stays(process: Process, tmp_path: Path) -> None:
    """A module that a call loads may set a variable; arithmetic it may not change."""
    (tmp_path / "lazily_loaded.py").write_text(
        "import os, sys\nos.environ['LOADED'] = '1'\nsys.setrecursionlimit(5000)\n"
    )
    sys.path.append(str(tmp_path))
    before = process.look()
    try:
        __import__("lazily_loaded")
        assert process.put_back(before) == ("the recursion limit",)
        assert os.environ["LOADED"] == "1"
    finally:
        sys.path.remove(str(tmp_path))
        os.environ.pop("LOADED", None)
        sys.modules.pop("lazily_loaded", None)


def test_a_folder_that_was_deleted_is_made_again(process: Process, tmp_path: Path) -> None:
    """Where a worker lives is where the next one starts."""
    home = tmp_path / "home"
    home.mkdir()
    os.chdir(home)
    before = process.look()
    home.rmdir()
    assert process.put_back(before) == ("the current folder",)
    assert Path.cwd() == home


def test_looking_costs_microseconds(process: Process) -> None:
    """Before and after together, with room for a busy machine: far below the cheapest call."""

    def once() -> None:
        process.put_back(process.look())

    assert min(timeit.repeat(once, number=200, repeat=10)) / 200 < 60e-6


@pytest.fixture(scope="module")
def suite() -> list[Operator]:
    """Load the shipped cases of one op."""
    return load_suite(Path("cases/loss/multi_margin_loss.yaml"))


def test_a_passing_output_of_a_changed_process_fails_and_gradients_keep_theirs(suite: list[Operator]) -> None:
    """The kind is `mutated_process`; little memory left accuses nobody."""
    case = next(c for c in suite[0].cases if c.id.endswith("basic[float32,none]"))
    api = next(a for a in suite[0].apis if a.name == "torch.nn.functional.multi_margin_loss")
    expected = expectation(case, api)
    assert expected is not None
    kind = numpy_dtype(case.dtype)
    output = to_wire(expected.output.low.astype(kind))
    gradients = {n: to_wire(e.low.astype(kind)) for n, e in expected.gradients.items()}
    told = {}
    for altered in ((), ("flush-to-zero", MEMORY), (MEMORY,)):
        checks = judge(case, api, expected, Reply(1, output, {**gradients}, altered=altered))
        told[altered] = [(c.status, c.kind, c.message) for c in checks]
    assert [t[:2] for t in told[()]] == [("pass", "")] * len(told[()])
    assert told[(MEMORY,)] == told[()]
    assert told["flush-to-zero", MEMORY][0] == (
        "fail", "mutated_process", "changed its process: flush-to-zero",
    )  # fmt: skip
    assert told["flush-to-zero", MEMORY][1:] == told[()][1:]


PLANTED = {
    "the current folder": "os.chdir('/')",
    "the environment (NEW_ONE)": "os.environ['NEW_ONE'] = str(len(os.environ))",
    "NumPy's random numbers": "np.random.seed(7)",
    "NumPy's handling of errors": "np.seterr(all='raise' if np.geterr()['over'] != 'raise' else 'warn')",
    "a pending alarm": "signal.setitimer(signal.ITIMER_REAL, 1000.0)",
    "the rounding mode": "ctypes.CDLL('libm.so.6').fesetround(0x800)",
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_script_shows_the_change_and_only_then(suite: list[Operator], name: str) -> None:
    """With a call that alters its process the script exits 1, with the honest one 0."""
    if name == "the rounding mode" and not X86:
        pytest.skip("the rounding mode is set through glibc on x86-64")
    case = next(c for c in suite[0].cases if c.id.endswith("basic[float32,none]"))
    api = next(a for a in suite[0].apis if a.name == "torch.nn.functional.multi_margin_loss")
    row = {"check": "output", "kind": "mutated_process", "message": f"changed its process: {name}"}
    text = script(case, api, row)
    assert "# torch.nn.functional.multi_margin_loss changes its process" in text
    at = text.index("output = torch.nn.functional.multi_margin_loss")
    imports = "import ctypes, os, signal; "
    planted = f"{text[:at]}{imports}{PLANTED[name]}\n    {text[at:]}"
    assert execute_many({"honest": text, "planted": planted}) == {"honest": 0, "planted": 1}
