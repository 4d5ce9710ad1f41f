"""The far side of the gateway: one framework, one request at a time, answers in order.

Runs in any interpreter that has NumPy, msgspec and one framework. It is sent inputs, never answers.
"""

import ctypes
import faulthandler
import os
import signal
import sys
import threading
from importlib import import_module
from typing import Any

import msgspec

from conformance.adapters.base import Adapter, said_by
from conformance.errors import BindingError, HarnessError
from conformance.hold import Held
from conformance.memory import MEMORY, Limit, Watermark, limit_files, room, shorten
from conformance.process import Process
from conformance.types import Environment, Raised, Reply, Request


def load_adapter(spec: str) -> Adapter:
    """Make the adapter named `module:Class`, with a mode and a device if they stand behind it."""
    place, *variant = spec.split()
    module, _, name = place.partition(":")
    adapter: Adapter = getattr(import_module(module), name)()
    if variant:
        adapter.mode, adapter.device = variant
    return adapter


def started(adapter: Adapter) -> Environment:
    """Start an adapter, and have it be what was asked for.

    Raises:
        HarnessError: it says that it runs in another mode or on another device.

    """
    asked = vars(adapter).get("mode"), vars(adapter).get("device")
    environment = adapter.start()
    if asked not in ((None, None), (environment.mode, environment.device)):
        raise HarnessError(
            f"{adapter.name} was to run in {' mode on '.join(map(str, asked))}, "
            f"and says that it runs in {environment.mode} mode on {environment.device}"
        )
    return environment


class Attended:
    """An adapter once it has started, watched at every request, so that no case pays for another.

    Args:
        adapter: whose framework is imported: what it needs to live does not count.
        beyond: how many bytes more it may use.

    """

    def __init__(self, adapter: Adapter, beyond: int) -> None:
        self._adapter = adapter
        self._own = os.getpid()
        self._watermark = Watermark()
        self._watermark.take_over()
        self._limit = Limit(beyond)
        self._process = Process()

    def execute(self, request: Request) -> Reply:
        """Answer a request; say what it altered of its process, and put that back."""
        before = self._process.look()
        reply = self._adapter.execute(request)
        if os.getpid() != self._own:
            os._exit(0)  # the call forked, and this is its child: one answer is enough
        altered = self._process.put_back(before)
        spoiled = bool(altered and self._process.put_back(before))  # a second look: is it as it was?
        if self._short_of_memory(reply):
            altered, spoiled = (*altered, MEMORY), True
        return msgspec.structs.replace(reply, altered=altered, spoiled=spoiled) if altered else reply

    def _short_of_memory(self, reply: Reply) -> bool:
        """Collect garbage when it is time; say whether little memory is left all the same.

        A refusal is reason enough to look: it may have been for lack of memory.
        """
        if not isinstance(reply.output, Raised) and not self._watermark.due():
            return False
        self._watermark.collect()
        shorten(1)
        return self._limit.spent()


def serve(channel: Any, spec: str, log: str, shared: str, beyond: int | None = None) -> None:
    """Answer requests until the channel closes.

    Whatever a framework prints, from Python or from C++, on fd 1 or 2, goes to `log`: the protocol has
    descriptors of its own. Large tensors are in the folder `shared`. `beyond` is how many bytes it may use
    after its start, if not `memory.room`.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends its workers
    _end_with_parent()
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor in (1, 2):
        os.dup2(handle, descriptor)
    sys.stderr = os.fdopen(2, "w", 1, closefd=False)
    faulthandler.enable(file=sys.stderr)
    limit_files()
    try:
        adapter = load_adapter(spec)
        adapter.folder = os.getcwd()  # noqa: PTH109 - text, as `tempfile` takes it
        environment = started(adapter)
    except BaseException as error:  # noqa: BLE001 - reported to the parent, which ends the backend
        ours = "" if isinstance(error, HarnessError) else f"{type(error).__name__}: "
        channel.send(("failed", f"{ours}{said_by(error)}"))
        return
    attended, held = Attended(adapter, room() if beyond is None else beyond), Held(shared)
    channel.send(("ready", msgspec.msgpack.encode(environment)))
    decoder = msgspec.msgpack.Decoder(list[Request])
    for message in channel:
        for request in decoder.decode(message):
            try:
                reply = held.reply(attended.execute(held.request(request)))
            except BindingError as error:
                channel.send(("fault", request.id, str(error)))
            else:
                channel.send(msgspec.msgpack.encode(reply))  # at once: what is not there was not answered


def _end_with_parent() -> None:
    """Have Linux kill us when our parent dies; elsewhere a call that hangs in native code may outlive it.

    The end of its pipe says so too, but a call that keeps the interpreter to itself is deaf to it.
    """
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it died just before
            os._exit(1)


# What a bare interpreter is sent first. Our path goes last, so that the other interpreter's own packages
# (its NumPy above all) come first.
BOOTSTRAP = """
import sys
spec, log, shared, paths, *more = channel.receive()
for path in paths:
    if path not in sys.path:
        sys.path.append(path)
try:
    from conformance.worker import serve
except Exception as error:  # this interpreter lacks NumPy or msgspec, or is too old for us
    channel.send(("failed", "%s: %s" % (type(error).__name__, error)))
else:
    serve(channel, spec, log, shared, *more)
"""
