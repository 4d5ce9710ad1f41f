"""The far side of an executor: keeps workers on a machine that is not ours, and relays what is said.

It runs no framework, so it always answers: it ends a worker that hangs, and sees one die. A message to it is
a tuple of what to do, a worker's number and the rest; it says tuples of a number, what, and a value:

    said     what the worker said, as `Child` tells it
    idle     the worker had ended before it was sent anything of what was last sent to it
    status   its exit status, once all that it said was told
    words    what it wrote last on its standard error
    refused  it cannot be started, and why
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any

import msgspec

from conformance.backends import BackendSpec
from conformance.child import Child, own_package
from conformance.executor import core, cores

SILENCE = 120.0
"""Seconds after which a near side that says nothing, not even `ping`, is gone."""
POLL = 0.05
UNREAD_SECONDS = 0.25
GATHERED = 1 << 20
"""Bytes that may gather before they are sent on."""

Said = tuple[int, str, Any]


class Keeper:
    """The workers on one machine, or of one lane, by number."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or Path(tempfile.mkdtemp(prefix="conformance-"))
        self._said: SimpleQueue[Said] = SimpleQueue()
        self._charges: dict[int, _Charge] = {}

    def about(self) -> dict[str, Any]:
        """Say what machine this is."""
        return {"cores": cores(), "python": sys.executable, "process": os.getpid()}

    def handle(self, message: tuple[Any, ...]) -> None:
        """Do what a message says; one about a worker that is gone says nothing."""
        match message:
            case ("start", int() as number, *how):
                self._start(number, *how)
            case ("send", int() as number, bytes() as data) if number in self._charges:
                self._charges[number].send(data)
            case ("words", int() as number) if number in self._charges:
                self._said.put((number, "words", self._charges[number].child.last_words()))
            case ("kill", int() as number) if number in self._charges:
                self._charges.pop(number).child.kill()

    def hear(self, seconds: float = 5.0) -> list[Said]:
        """Wait for something that is said; return it, and what else there is, in order."""
        heard: list[Said] = []
        size = 0
        with suppress(Empty):
            while size < GATHERED:
                heard.append(self._said.get(timeout=seconds) if not heard else self._said.get_nowait())
                value = heard[-1][2]
                size += len(value) if isinstance(value, bytes) else 0
        return heard

    def say(self, number: int, what: str, value: Any) -> None:
        """Have something said."""
        self._said.put((number, what, value))

    def close(self) -> None:
        """End all workers, and leave nothing of them."""
        for charge in self._charges.values():
            charge.child.kill()
        for charge in self._charges.values():
            charge.child.wait(5.0)
        self._charges.clear()
        shutil.rmtree(self._root, ignore_errors=True)

    def _start(self, number: int, spec: bytes, environ: Mapping[str, str], folder: str, log: str) -> None:
        try:
            found = msgspec.msgpack.decode(spec, type=BackendSpec)
            # One core of this machine: of those that share it, another for each.
            own = None if found.core is None else core(found.core, os.getppid())
            found = replace(found, python=found.python or sys.executable, core=own)
            # This package before one of another version that the interpreter may have.
            path = [str(own_package(self._root)), *filter(None, [os.environ.get("PYTHONPATH")])]
            environ = {**environ, "PYTHONPATH": os.pathsep.join(path)}
            place = self._root / folder
            place.mkdir(exist_ok=True)
            self._charges[number] = _Charge(number, self.say, found, place, place / log, environ)
        except Exception as error:  # noqa: BLE001 - whatever it is, the near side waits to hear of it
            self.say(number, "refused", str(error))


class _Charge:
    """One worker, and whether it owes anything."""

    def __init__(
        self,
        number: int,
        say: Callable[[int, str, Any], None],
        spec: BackendSpec,
        folder: Path,
        log: Path,
        environ: Mapping[str, str],
    ) -> None:
        self._number, self._say = number, say
        self._sent = self._answered = 0  # each is counted by one thread only
        self._closed = Event()
        self.child = Child(spec, folder, log, self._hear, environ)
        Thread(target=self._watch, daemon=True).start()

    def send(self, data: bytes) -> None:
        """Send a batch of calls, unless the process has ended for no call of ours."""
        if self._sent == self._answered and self.child.status() is not None:
            self._say(self._number, "idle", None)
            return
        self._sent += int.from_bytes(data[1:5], "big")  # the length of the list
        self.child.send(data)

    def _hear(self, item: Any) -> None:
        if item is None:
            self._closed.set()
        elif type(item) is bytes or item[0] == "fault":
            self._answered += 1
        self._say(self._number, "said", item)

    def _watch(self) -> None:
        while (status := self.child.status()) is None:
            time.sleep(POLL)
        self._closed.wait(UNREAD_SECONDS)  # what it said last is told first
        self._say(self._number, "status", status)


def serve(channel: Any, root: str) -> None:
    """Keep workers until the channel closes, or nothing is heard any more."""
    keeper = Keeper(Path(root))

    def tell() -> None:
        with suppress(OSError):
            while True:
                if heard := keeper.hear():
                    channel.send(heard)

    Thread(target=tell, daemon=True).start()
    keeper.say(0, "about", keeper.about())
    try:
        while True:
            keeper.handle(channel.receive(timeout=SILENCE))
    except (EOFError, channel.TimeoutError):
        return
    finally:
        keeper.close()


# What a bare interpreter is sent first, and then this package: so the two sides are never of two versions.
BOOTSTRAP = """
import io, shutil, signal, sys, tempfile, zipfile
package, root = channel.receive(), tempfile.mkdtemp(prefix="conformance-")
try:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    zipfile.ZipFile(io.BytesIO(package)).extractall(root + "/package")
    sys.path.insert(0, root + "/package")
    try:
        if sys.version_info < (3, 11):
            raise RuntimeError("its Python is %s, and 3.11 is needed" % sys.version.split()[0])
        from conformance.keeper import serve
    except Exception as error:  # it lacks NumPy or msgspec
        channel.send([(0, "failed", "%s: %s" % (type(error).__name__, error))])
    else:
        serve(channel, root)
finally:
    shutil.rmtree(root, ignore_errors=True)
"""
