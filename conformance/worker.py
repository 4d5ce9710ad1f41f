"""The far side of the gateway: one framework, one request at a time, answers in order.

Runs in any interpreter that has NumPy, msgspec and one framework. It is sent inputs, never answers.
"""

import faulthandler
import os
import sys
from importlib import import_module
from typing import Any

import msgspec

from conformance.adapters.base import Adapter
from conformance.types import Request


def load_adapter(spec: str) -> Adapter:
    """Make the adapter named `module:Class`."""
    module, _, name = spec.partition(":")
    adapter: Adapter = getattr(import_module(module), name)()
    return adapter


def serve(channel: Any, spec: str, log: str) -> None:
    """Answer requests until the channel closes.

    Whatever a framework prints, from Python or from C++, on fd 1 or 2, goes to `log`: the protocol has
    descriptors of its own.
    """
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor in (1, 2):
        os.dup2(handle, descriptor)
    sys.stderr = os.fdopen(2, "w", 1, closefd=False)
    faulthandler.enable(file=sys.stderr)
    try:
        adapter = load_adapter(spec)
        environment = adapter.start()
    except Exception as error:  # noqa: BLE001 - reported to the parent, which ends the backend
        channel.send(("failed", f"{type(error).__name__}: {error}"))
        return
    channel.send(("ready", msgspec.msgpack.encode(environment)))
    decoder = msgspec.msgpack.Decoder(Request)
    for message in channel:
        channel.send(("reply", msgspec.msgpack.encode(adapter.execute(decoder.decode(message)))))


# What a bare interpreter is sent first. Our path goes last, so that the other interpreter's own packages
# (its NumPy above all) come first.
BOOTSTRAP = """
import sys
spec, log, paths = channel.receive()
for path in paths:
    if path not in sys.path:
        sys.path.append(path)
try:
    from conformance.worker import serve
except Exception as error:  # this interpreter lacks NumPy or msgspec, or is too old for us
    channel.send(("failed", "%s: %s" % (type(error).__name__, error)))
else:
    serve(channel, spec, log)
"""
