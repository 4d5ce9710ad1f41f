"""A backend for executors: says where it runs, and misbehaves as it is asked to."""

import json
import os
import re
import sys
import threading
import time

import numpy as np

from conformance.adapters.base import Adapter
from conformance.adapters.layouts import numpy_of
from conformance.arrays import to_wire
from conformance.types import Environment, Raised, Reply, Request


class Far(Adapter):
    """Answers with what it knows of its process, or with its first tensor turned round."""

    name = distribution = "toy"
    namespaces = ("toy",)
    environ = {"TOY_LEVEL": "3"}  # noqa: RUF012 - read only
    tensor = read = pull_back = pull_back_twice = None  # type: ignore[assignment]

    def start(self) -> Environment:
        """Begin, unless the environment says that it cannot, and in the version that it says."""
        if lacking := os.environ.get("TOY_LACKS"):
            raise ImportError(f"no module named {lacking}")
        self._done: set[str] = set()
        return Environment("toy", "toy", os.environ.get("TOY_VERSION", "1.0"), "3", "2")

    def execute(self, request: Request) -> Reply:
        """Do what the API's name says."""
        what = request.binding.api
        if what == "turn":
            (array,) = request.tensors.values()
            return Reply(request.id, to_wire(-numpy_of(array)))
        self._misbehave("die" if what == "die-after" and "say" in self._done else what)
        self._done.add(what)
        said = {"pid": os.getpid(), "folder": os.getcwd(), "level": os.environ.get("TOY_LEVEL")}  # noqa: PTH109
        return Reply(request.id, Raised("call", "value", "Said", json.dumps(said)))

    def _misbehave(self, what: str) -> None:
        match what:
            case "die":
                os.write(2, b"Oh no.\n")
                os._exit(9)
            case "late":  # dies between two calls, of none
                threading.Timer(0.2, os._exit, [9]).start()
            case "hang":  # in native code that keeps the interpreter to itself
                re.fullmatch("(a+)+", "a" * 60 + "b")
            case "slow":
                time.sleep(0.3)
            case "slower":
                time.sleep(1.0)
            case "noise":
                os.write(1, b"what a framework prints\n" * 100)
                sys.stdout.write("more of it\n")


Far.__abstractmethods__ = frozenset()


def asked(number: int, what: str = "say") -> Request:
    """Ask the toy to do something."""
    from conformance.types import Binding  # noqa: PLC0415 - the worker needs less

    return Request(number, Binding(what, {}), {"x": to_wire(np.zeros(2))}, {})
