"""One worker process: in a session of its own, fed by a thread, ended with everything it started.

Nothing here blocks the caller: a worker that does not read, or whose interpreter hangs before it has run a
line of ours, holds up its own thread only.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import execnet
import msgspec
from execnet.gateway_base import get_execmodel
from execnet.gateway_bootstrap import bootstrap_exec
from execnet.gateway_io import popen_bootstrapline

import conformance
from conformance import worker
from conformance.backends import BackendSpec, adapter_class
from conformance.types import Request

STDERR_LINES = 12
STACK_LINES = 4
LAST_WORDS = 64_000
GATHERING_SECONDS = 0.002
GATHERED = 1 << 20
"""For how long, and up to how many bytes, replies may gather before they are read."""
HELD = "held"
"""The folder of large tensors, beside those of the workers."""
MAX_MESSAGE = 1 << 29
"""No message is longer; four characters of text, read as a length, are more."""


_encode = msgspec.msgpack.Encoder().encode
_HEAD = bytes([0x80 + len(Request.__struct_fields__)]) + _encode("id")
"""How every encoded request begins: a map, and the name of its first field."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it is sent: encoded once, also if it is sent again."""

    id: int
    data: bytes
    isolated: bool = False
    held: int = 0
    """Bytes of its tensors that are in files, and here too until it is answered."""

    @classmethod
    def of(cls, request: Request, held: int = 0) -> "Call":
        """Encode a request."""
        return cls(request.id, _encode(request), request.isolated, held)

    @classmethod
    def numbered(cls, number: int, body: bytes, *, isolated: bool = False, held: int = 0) -> "Call":
        """Give a request that was encoded already, as `body`, its number."""
        return cls(number, _HEAD + _encode(number) + body, isolated, held)

    @property
    def size(self) -> int:
        """How many bytes it is in all."""
        return len(self.data) + self.held


def body(request: Request) -> bytes:
    """Encode a request without its number, which stands first."""
    return _encode(msgspec.structs.replace(request, id=0))[len(_HEAD) + 1 :]


def batch(calls: Iterable[Call]) -> bytes:
    """Put encoded requests into one message: a list, in the encoding of its elements."""
    data = [call.data for call in calls]
    return b"\xdd" + len(data).to_bytes(4, "big") + b"".join(data)


class Child:
    """A worker process, from its start to its end.

    What it says comes to `tell`, in the thread that reads it: bytes are an encoded reply, a tuple anything
    else, None the end of its channel (perhaps twice).
    """

    def __init__(
        self,
        spec: BackendSpec,
        folder: Path,
        log: Path,
        tell: Callable[[Any], None],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._log, self._tell = log, tell
        self._swept = False
        self._held = folder.parent / HELD
        own = adapter_class(spec).environ if environ is None else environ
        command = [spec.python, "-u", "-c", popen_bootstrapline]
        # Its own session: what it starts is ended with it, and Ctrl-C comes to us alone.
        with log.open("ab") as words:
            self._popen = subprocess.Popen(  # noqa: S603 - the interpreter that the user named
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                env={**os.environ, **own},
                start_new_session=True,
            )
        if spec.core is not None:
            with contextlib.suppress(OSError):  # it has ended, or the core is no longer ours
                os.sched_setaffinity(self._popen.pid, {spec.core})
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        hello = (spec.loads, str(log), str(self._held), [*spec.paths, str(own_package(folder.parent))])
        source = f"import os\nos.chdir({str(folder)!r})\n{worker.BOOTSTRAP}"
        self._thread = Thread(target=self._serve, args=(source, hello), daemon=True)
        self._thread.start()

    def send(self, message: bytes) -> None:
        """Hand over a message; it is written as soon as the process reads."""
        self._outbox.put(message)

    def status(self) -> int | None:
        """Return the exit status if the process has ended, and end what it started."""
        status = self._popen.poll()
        if status is not None:
            self._sweep()
        return status

    def kill(self) -> None:
        """End the process, and what it started, by the signal that none can ignore."""
        self._sweep()
        self._popen.kill()
        self._outbox.put(None)
        for unread in self._held.glob(f"{self._popen.pid}-*"):
            unread.unlink(missing_ok=True)

    def wait(self, seconds: float) -> None:
        """Wait until a process that was killed is gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(seconds)

    def last_words(self) -> str:
        """Return the end of what the process wrote on its standard error."""
        with self._log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LAST_WORDS))
            text = log.read().decode(errors="replace")
        said, fatal, dump = text.rpartition("Fatal Python error: ")
        if not fatal:
            return _tail(dump, STDERR_LINES)
        # What the native code said last stands before faulthandler's dump of every thread.
        stack = dump.partition("Current thread")[2].splitlines()[1 : 1 + STACK_LINES]
        frames = [line for line in stack if line.startswith("  File")]
        return "\n".join([_tail(said, STDERR_LINES), fatal + dump.partition("\n")[0], *frames]).strip()

    def _sweep(self) -> None:
        if not self._swept and hasattr(os, "killpg"):
            self._swept = True  # once only: the number may be another's later
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)

    def _serve(self, source: str, hello: Any) -> None:
        try:
            channel = far_end(self._popen, source)
            channel.send(hello)
            channel.setcallback(self._hearer(channel), endmarker=None)
            while (message := self._outbox.get()) is not None:
                channel.send(message)
        except (EOFError, OSError):
            self._tell(None)
        except Exception as error:  # noqa: BLE001 - an interpreter that does not begin as one
            self._tell(("failed", f"{type(error).__name__}: {error}"))
        finally:
            self._popen.wait()

    def _hearer(self, channel: Any) -> Callable[[Any], None]:
        def hear(item: Any) -> None:
            # Taken, for what nobody takes is printed to our standard error.
            errors = channel._remoteerrors  # noqa: SLF001 - execnet raises it where nobody is
            self._tell(("broken", str(errors.pop())) if item is None and errors else item)

        return hear


def far_end(process: "subprocess.Popen[bytes]", source: str) -> Any:
    """Begin a bare interpreter, which may be another machine's, with a source; return the channel to it.

    Raises:
        EOFError, OSError: it ended, or is none.

    """
    pipe = _Pipe(process)
    # In the main thread, always: only there can signals be handled.
    xspec = execnet.XSpec("popen//id=worker//execmodel=main_thread_only")
    bootstrap_exec(pipe, xspec)
    return execnet.Gateway(pipe, xspec).remote_exec(source)


class _Pipe:
    """What execnet reads from and writes to: a process's pipes, and no message longer than it can be.

    Where nothing is there to be read, some time passes before it is looked for: to be woken for each reply
    costs both processes more than a small call does, and what gathers meanwhile is read at once.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._out, self._in = process.stdin, process.stdout
        self._held, self._at = b"", 0
        self.execmodel = get_execmodel("thread")
        if sys.platform == "linux":
            import fcntl  # noqa: PLC0415 - other systems may have none

            with contextlib.suppress(OSError):  # its user may have too many already
                fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, GATHERED)

    def read(self, count: int) -> bytes:
        if not 0 <= count <= MAX_MESSAGE:
            raise EOFError(f"a message of {count} bytes")
        if self._at == len(self._held):
            time.sleep(GATHERING_SECONDS)
            self._held, self._at = self._more(count), 0
        parts = [self._held[self._at : self._at + count]]
        found = len(parts[0])
        self._at += found
        while found < count:
            parts.append(self._more(count - found))
            found += len(parts[-1])
        if found > count:
            self._held, self._at = parts[-1], len(parts[-1]) - (found - count)
            parts[-1] = self._held[: self._at]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _more(self, count: int) -> bytes:
        """Return what is there, or else what comes next: of a message, and those behind it."""
        data = os.read(self._in.fileno(), max(count, GATHERED))
        if not data:
            raise EOFError("the end of what the process writes")
        return data

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._out.fileno(), rest) :]

    def close_read(self) -> None:
        self._in.close()

    def close_write(self) -> None:
        self._out.close()

    def wait(self) -> int | None:
        """Say nothing of the process: execnet asks as soon as its output ends, and it may live on."""
        return None


def signal_name(status: int | None) -> str:
    """Say how a process ended; None: it closed its channel, and lives."""
    if status is None:
        return "closed its channel"
    if status < 0:
        try:
            return signal.Signals(-status).name
        except ValueError:
            return f"signal {-status}"
    return f"exit status {status}"


def own_package(scratch: Path) -> Path:
    """Return a folder with this package and nothing else, for the worker's path.

    Another interpreter must not find its framework, or its NumPy, in our site-packages.
    """
    folder = scratch / "own"
    if not folder.exists():
        folder.mkdir()
        (folder / "conformance").symlink_to(Path(conformance.__file__).parent)
    return folder


def _tail(text: str, lines: int) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
