"""The near side of a keeper: who is told what, and that one run speaks of one version."""

from typing import Any

import msgspec

from conformance.executor import Gone
from conformance.remote import Place, Yardstick
from conformance.types import Environment
from tests.executors import TOY


class Nowhere(Place):
    """A place that takes down what is posted."""

    name = "nowhere"

    def __init__(self, yardstick: Yardstick | None = None) -> None:
        super().__init__(yardstick or Yardstick())
        self.posted: list[tuple[Any, ...]] = []
        self.stopped = 0

    def post(self, *message: Any) -> None:
        """Take a message down."""
        self.posted.append(message)

    def unfit(self, backend: str, why: str) -> Any:
        """Say so."""
        return "failed", f"{backend}: {why}"

    def waiting(self) -> str:
        """Wait for nothing."""
        return ""

    def stop(self) -> None:
        """Count."""
        self.stopped += 1


def ready(version: str = "1.0", **flags: Any) -> tuple[str, bytes]:
    """Say what a worker says when it is ready."""
    return "ready", msgspec.msgpack.encode(Environment("toy", "toy", version, "3.11", "2.4", flags=flags))


def test_a_worker_hears_what_is_said_of_it() -> None:
    """By its number; what is killed is forgotten once it has ended."""
    place, told = Nowhere(), dict[str, list[Any]](one=[], two=[])
    one = place.start(TOY, "toy-0", "log", told["one"].append)
    two = place.start(TOY, "toy-1", "log", told["two"].append)
    assert [message[:2] for message in place.posted] == [("start", 1), ("start", 2)]
    one.send(b"calls")
    place.heard([(2, "said", ready()), (1, "said", b"a reply"), (1, "said", None), (1, "status", -11)])
    assert told == {"one": [b"a reply", None], "two": [ready()]}
    assert (one.status(), two.status()) == (-11, None)
    one.kill()
    two.kill()
    place.heard([(2, "status", -9), (1, "said", b"late"), (2, "said", b"late")])
    assert told["one"][-1] is None
    assert place.posted[2:] == [("send", 1, b"calls"), ("kill", 1), ("kill", 2)]
    assert place._workers == {}


def test_the_end_of_a_place_is_told_once() -> None:
    """To all that had a worker there, and to who comes later."""
    place, told = Nowhere(), list[Any]()
    place.start(TOY, "toy-0", "log", told.append)
    place.end("the host is lost")
    place.end("again")
    place.start(TOY, "toy-0", "log", told.append).wait(0)
    assert told == [Gone("the host is lost")] * 2
    assert place.stopped == 1


def test_all_workers_of_a_backend_are_of_one_version() -> None:
    """And of one of everything that a worker says of itself, on whatever machine; backends differ."""
    yardstick, told = Yardstick(), list[Any]()
    places = [Nowhere(yardstick) for _ in range(3)]
    for place, said in zip(places, (ready(), ready("1.1", threads=2), ready()), strict=True):
        place.name = f"host {len(told)}"
        worker = place.start(TOY, "toy-0", "log", told.append)
        place.heard([(1, "said", said)])
        worker.kill()
    why = "is not what the first worker ran with: version '1.1', host 0 has '1.0'; "
    assert told == [ready(), ("failed", f"toy: {why}flags {{'threads': 2}}, host 0 has {{}}"), ready()]
    assert yardstick.differs("other", ready("7")[1], "host 1") == ""
