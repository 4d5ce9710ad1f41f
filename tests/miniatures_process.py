"""Miniatures whose loss is right, and whose guilty case does something to the process it runs in."""

import ctypes
import locale
import os
import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from conformance.arrays import NDArray
from conformance.types import Reply, Request
from tests.miniatures import Arrays, Params, _Misbehaves

NAP = 40.0
"""Long after a test has seen what it wanted, a child of a fork ends by itself."""


# -- hangs --------------------------------------------------------------------------------------------


class TakesALockTwice(_Misbehaves):
    """Waits for itself."""

    def misbehave(self) -> None:
        """Take a lock that is not reentrant, and again."""
        lock = threading.Lock()
        for _ in range(2):
            lock.acquire()


class HoldsTheInterpreter(_Misbehaves):
    """Waits in native code without letting another thread run."""

    def misbehave(self) -> None:
        """Sleep in a call that keeps the interpreter's lock."""
        ctypes.PyDLL(None).sleep(3600)


class IgnoresSigterm(_Misbehaves):
    """Hangs, and cannot be asked to stop."""

    def misbehave(self) -> None:
        """Ignore every signal that can be ignored, and sleep."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(3600)


# -- ends and refusals --------------------------------------------------------------------------------


class OverflowsTheStack(_Misbehaves):
    """Recurses in native code until there is no stack."""

    def misbehave(self) -> None:
        """Call back into itself through C."""
        sys.setrecursionlimit(10**9)
        kind = ctypes.CFUNCTYPE(None)

        def deeper() -> None:
            callback()

        callback = kind(deeper)
        callback()


class RecursesInPython(_Misbehaves):
    """Recurses until the interpreter stops it."""

    def misbehave(self) -> None:
        """Do it again."""
        self.misbehave()


class ExitsByException(_Misbehaves):
    """Takes itself for a program."""

    def misbehave(self) -> None:
        """Exit as a script does."""
        sys.exit("no licence found")


class InterruptsItself(_Misbehaves):
    """Raises what a person raises at the keyboard."""

    def misbehave(self) -> None:
        """Raise it."""
        raise KeyboardInterrupt


class HasNoMessage(_Misbehaves):
    """Raises an exception that cannot say what it is."""

    def misbehave(self) -> None:
        """Raise it."""

        class UnreadableError(RuntimeError):
            def __str__(self) -> str:
                raise ValueError("no text")

        raise UnreadableError


class SaysTooMuch(_Misbehaves):
    """Raises an exception with 100 MB of text."""

    def misbehave(self) -> None:
        """Raise it."""
        raise KeyError("x" * 100_000_000)


class SaysWhatIsNoText(_Misbehaves):
    """Raises an exception whose message has no UTF-8."""

    def misbehave(self) -> None:
        """Raise it."""
        raise OSError("kernel \ud800 failed")


class AsksForATerabyte(_Misbehaves):
    """Allocates and touches a terabyte."""

    def misbehave(self) -> None:
        """Touch all of it."""
        np.empty(1 << 40, np.uint8)[:] = 1


class FillsMemory(_Misbehaves):
    """Keeps everything that it ever allocated, until there is no more."""

    kept: list[NDArray]

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Compute, with need of 64 MB for a moment."""
        np.ones(1 << 23)
        return super().output(arrays, params)

    def misbehave(self) -> None:
        """Take 16 MB at a time."""
        self.kept = []
        while True:
            self.kept.append(np.ones(1 << 21))


class LeaksAtEveryCall(_Misbehaves):
    """Keeps 60 MB of every call, slowly, which is nobody's fault in particular."""

    kept: list[NDArray] = []  # noqa: RUF012 - it leaks

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Compute, and leak."""
        self.kept.append(np.ones(15 << 19))
        time.sleep(0.3)
        return super().output(arrays, params)

    def misbehave(self) -> None:
        """No more than elsewhere."""


# -- descriptors --------------------------------------------------------------------------------------


class ClosesDescriptors(_Misbehaves):
    """Closes what it did not open."""

    def misbehave(self) -> None:
        """Close everything."""
        os.closerange(0, 4096)


class WritesToEveryDescriptor(_Misbehaves):
    """Writes bytes to whatever is open, the protocol's descriptors among them."""

    noise = bytes(range(256)) * 64

    def misbehave(self) -> None:
        """Write the noise to each."""
        for descriptor in range(256):
            try:
                os.write(descriptor, self.noise)
            except OSError:
                continue


class WritesOnesToEveryDescriptor(WritesToEveryDescriptor):
    """The same with other bytes: a message of negative length, of a type that does not exist."""

    noise = b"\xff" * 4096


class PrintsForEver(_Misbehaves):
    """Leaves a thread behind that prints."""

    def misbehave(self) -> None:
        """Start it."""

        def chatter() -> None:
            while True:
                os.write(1, b"still here\n" * 1000)

        threading.Thread(target=chatter, daemon=True).start()


class ReplacesStdout(_Misbehaves):
    """Leaves Python without streams to print to."""

    def misbehave(self) -> None:
        """Take them away."""
        sys.stdout = sys.stderr = None


# -- forks --------------------------------------------------------------------------------------------


class Forks(_Misbehaves):
    """Goes on in both processes."""

    def misbehave(self) -> None:
        """Fork."""
        os.fork()


class ForksNatively(_Misbehaves):
    """The same, without Python's knowing."""

    def misbehave(self) -> None:
        """Fork in C."""
        ctypes.PyDLL(None).fork()


class LeavesAChild(_Misbehaves):
    """Forks a child that sleeps, with all descriptors open."""

    def misbehave(self) -> None:
        """Go on in the parent only."""
        if os.fork() == 0:
            time.sleep(NAP)
            os._exit(0)


class LeavesAChildAndDies(LeavesAChild):
    """And then ends itself."""

    def misbehave(self) -> None:
        """Leave the pipe to the child."""
        super().misbehave()
        os._exit(3)


class LeavesAChildAndHangs(LeavesAChild):
    """And then never answers."""

    def misbehave(self) -> None:
        """Leave the pipe to the child."""
        super().misbehave()
        time.sleep(3600)


# -- state --------------------------------------------------------------------------------------------


class _Leaves(_Misbehaves):
    """Is asked to misbehave after it has computed, so that its own result is untouched."""

    def execute(self, request: Request) -> Reply:
        """Answer, and alter the process."""
        reply = super().execute(request)
        if request.params.get("margin") == 2.0:
            self.leave()
        else:
            self.check()
        return reply

    def misbehave(self) -> None:
        """Nothing yet."""

    def leave(self) -> None:
        """Do what a subclass is named for."""
        raise NotImplementedError

    def check(self) -> None:
        """Die if the process is not as it should be: a case after the guilty one pays for it."""


class ChangesFolder(_Leaves):
    """Moves."""

    def leave(self) -> None:
        """Go to the root."""
        os.chdir("/")

    def check(self) -> None:
        """Be where the harness put us."""
        assert Path.cwd().name == "miniature-0", os._exit(7)


class DeletesFolder(ChangesFolder):
    """Deletes the folder it is in."""

    def leave(self) -> None:
        """Delete it with all that is in it."""
        shutil.rmtree(Path.cwd())


class ChangesEnvironment(_Leaves):
    """Sets a variable and removes another."""

    def leave(self) -> None:
        """Do both."""
        os.environ["OMP_NUM_THREADS"] = "64"
        os.environ.pop("PATH", None)

    def check(self) -> None:
        """Have what the harness gave us."""
        assert os.environ.get("OMP_NUM_THREADS") != "64", os._exit(7)


class SetsVariableAtImport(_Leaves):
    """Loads a part of itself at its first need, which sets a variable."""

    def leave(self) -> None:
        """Import it."""
        Path("lazy_part.py").write_text("import os\nos.environ['LAZY_PART'] = 'loaded'\n")
        sys.path.append(str(Path.cwd()))
        __import__("lazy_part")


class ChangesRounding(_Leaves):
    """Leaves the processor rounding up."""

    def leave(self) -> None:
        """Round up."""
        ctypes.CDLL("libm.so.6").fesetround(0x800)

    def check(self) -> None:
        """Round to nearest."""
        one, bit = np.float64(1.0), np.float64(2.0**-54)
        assert one + bit == one, os._exit(7)


class _SetsBits(_Leaves):
    """Sets bits of MXCSR."""

    bits = 0

    def leave(self) -> None:
        """Set them through the C library, as a fast mathematics library does in assembly."""
        library, buffer = ctypes.CDLL("libm.so.6"), ctypes.create_string_buffer(32)
        library.fegetenv(buffer)
        words = (ctypes.c_uint32 * 8).from_buffer(buffer)
        words[7] = (words[7] | self.bits) if self.bits > 0 else (words[7] & self.bits)
        library.fesetenv(buffer)

    def check(self) -> None:
        """Have subnormal numbers."""
        assert np.float32(2.0**-126) * np.float32(0.5) != 0, os._exit(7)


class FlushesToZero(_SetsBits):
    """Leaves subnormal results flushed to zero."""

    bits = 0x8000


class TakesSubnormalsForZero(_SetsBits):
    """Leaves subnormal operands read as zero."""

    bits = 0x0040


class TrapsDivision(_SetsBits):
    """Leaves a division by zero fatal."""

    bits = ~0x0200


class SeedsNumpy(_Leaves):
    """Seeds what is not its own."""

    def leave(self) -> None:
        """Seed NumPy's global generator."""
        np.random.seed(0)  # noqa: NPY002 - the global one is the point


class SeedsPython(_Leaves):
    """The same with Python's."""

    def leave(self) -> None:
        """Seed it."""
        random.seed(0)


class DrawsNumbers(_Leaves):
    """Draws from the shared generators, for which they are there."""

    def leave(self) -> None:
        """Draw many, and a normal one: NumPy keeps half of the pair."""
        np.random.randn(2001)  # noqa: NPY002 - as above
        for _ in range(2000):
            random.getrandbits(32)


class ChangesErrorHandling(_Leaves):
    """Makes NumPy raise."""

    def leave(self) -> None:
        """For everything."""
        np.seterr(all="raise")


class ChangesRecursionLimit(_Leaves):
    """Leaves hardly any depth."""

    def leave(self) -> None:
        """Lower it to what a few calls need."""
        sys.setrecursionlimit(120)


class ChangesImportPath(_Leaves):
    """Puts another folder first."""

    def leave(self) -> None:
        """Insert it."""
        sys.path.insert(0, "/nowhere")


class ChangesLocale(_Leaves):
    """Writes numbers otherwise."""

    def leave(self) -> None:
        """Leave the portable locale."""
        locale.setlocale(locale.LC_ALL, "C.UTF-8")


class ChangesSignalHandler(_Leaves):
    """Ignores its children's ends, whereupon `subprocess` loses their statuses."""

    def leave(self) -> None:
        """Ignore the signal."""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)


class LeavesAnAlarm(_Leaves):
    """Will be ended in a second, whatever it then does."""

    def leave(self) -> None:
        """Set the alarm, and make sure that the next cases take longer."""
        signal.setitimer(signal.ITIMER_REAL, 1.0)

    def check(self) -> None:
        """Take a while."""
        time.sleep(0.5)


class LeavesAWrongAnswer(ChangesFolder):
    """Moves, and is wrong besides."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Add one to the guilty loss."""
        loss = super().output(arrays, params)
        return np.asarray(loss + loss.dtype.type(params.get("margin") == 2.0))
