"""The bare loop, in a process of its own: the calls that a run asks for, with nothing of ours in between.

It tells where it is: `b PLACE` before a call and `e PLACE SECONDS` behind it. So whoever waits for it knows
which call killed it, or never ended, and can start it again behind that one.
"""

import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from conformance.adapters.base import Adapter, ones_like
from conformance.types import Array, Request
from conformance.worker import load_adapter
from tests.bench.requests import read_requests

WHOLE, FORWARD, NOTHING = "whole", "forward", "nothing"


def attempt(adapter: Adapter, request: Request, wanted: tuple[str, ...]) -> str:
    """Make tensors, call, read, pull back, read; say how far it came."""

    def forward(given: dict[str, Any]) -> Any:
        return adapter.invoke(request.binding, given, request.params)

    try:
        tensors = {n: adapter.tensor(a, grad=n in wanted) for n, a in request.tensors.items()}
        raw = forward(tensors)
        output = adapter.read(raw)
    except Exception:  # noqa: BLE001 - a refusal is a call too
        return NOTHING
    cotangent: Array | None = request.cotangent or ones_like(output)
    if wanted and cotangent is not None:
        try:
            for gradient in adapter.pull_back(forward, raw, tensors, wanted, cotangent):
                if gradient is not None:
                    adapter.read(gradient)
        except Exception:  # noqa: BLE001 - as above
            return FORWARD
    return WHOLE


def twice(adapter: Adapter, request: Request, name: str) -> None:
    """Make the calls of a second derivative."""

    def forward(given: dict[str, Any]) -> Any:
        return adapter.invoke(request.binding, given, request.params)

    assert request.cotangent is not None
    try:
        tensors = {n: adapter.tensor(a, grad=n == name) for n, a in request.tensors.items()}
        direction = request.directions[name]
        pulled = adapter.pull_back_twice(forward, tensors, name, request.cotangent, direction)
        if pulled is not None:
            adapter.read(pulled)
    except Exception:  # noqa: BLE001, S110 - as above
        pass


def call(adapter: Adapter, request: Request) -> None:
    """Make the calls of one request, those that a worker repeats after a refusal among them."""
    came = attempt(adapter, request, request.gradients)
    again = came != WHOLE and bool(request.gradients)
    if came == NOTHING and again:
        came = attempt(adapter, request, ())
    if came != NOTHING:
        for name in request.gradients if again else ():
            attempt(adapter, request, (name,))
        for name in request.directions:
            twice(adapter, request, name)


def main() -> None:
    """Go through the requests of a backend: ADAPTER REQUESTS STRUCK PROGRESS BEGIN."""
    spec, requests, struck, progress, begin = sys.argv[1:]
    left_out = frozenset(msgspec.json.decode(Path(struck).read_bytes(), type=list[str]))
    with Path(progress).open("ab", buffering=0) as told:
        began = time.perf_counter()
        adapter = load_adapter(spec)
        adapter.start()
        told.write(b"i %r\n" % (time.perf_counter() - began))
        for place, recorded in read_requests(Path(requests), int(begin)):
            if recorded.case in left_out:
                continue
            told.write(b"b %d\n" % place)
            began = time.perf_counter()
            call(adapter, recorded.request)
            told.write(b"e %d %r\n" % (place, time.perf_counter() - began))
        told.write(b"d\n")


if __name__ == "__main__":
    main()
