"""The near side of a keeper: workers elsewhere, as a lane knows them."""

from collections.abc import Sequence
from queue import Empty, SimpleQueue
from threading import Event, Lock
from typing import Any

import msgspec

from conformance.backends import BackendSpec, adapter_class
from conformance.executor import Gone, GoneError, Tell
from conformance.types import Environment

WORDS_SECONDS = 10.0
"""How long a keeper may take to answer: it runs no framework."""


class Remote:
    """One worker of a place; see `executor.Worker`."""

    def __init__(self, place: "Place", number: int, backend: str, tell: Tell) -> None:
        self._place, self._number, self._tell = place, number, tell
        self.backend = backend
        self._status: int | None = None
        self._ended = Event()
        self._ready = self._killed = False
        self._words: SimpleQueue[str | None] = SimpleQueue()

    def send(self, message: bytes) -> None:
        """Hand over a message; it is sent as soon as there is a connection."""
        self._place.post("send", self._number, message)

    def status(self) -> int | None:
        """Return the exit status once the keeper has told it."""
        return self._status

    def kill(self) -> None:
        """Have the keeper end it."""
        self._killed = True
        self._place.post("kill", self._number)
        if self._ended.is_set():
            self._place.forget(self._number)

    def wait(self, seconds: float) -> None:
        """Wait until it has ended, or its machine is gone."""
        self._ended.wait(seconds)

    def last_words(self) -> str:
        """Ask the keeper for them."""
        if waiting := self._place.waiting():
            return waiting
        self._place.post("words", self._number)
        try:
            words = self._words.get(timeout=WORDS_SECONDS)
        except Empty:
            self._place.end(f"{self._place.name} does not answer any more")
            words = None
        if words is None:
            raise GoneError(self._place.gone)
        return words

    def hear(self, what: str, value: Any) -> None:
        """Take what the keeper says of it."""
        match what, value:
            case "said", ("failed", str() as why) if not self._ready:
                self._tell(self._place.unfit(self.backend, why))
            case "said", ("ready", bytes() as data):
                self._ready = True
                why = self._place.yardstick.differs(self.backend, data, self._place.name)
                self._tell(self._place.unfit(self.backend, why) if why else value)
            case "said", _:
                self._tell(value)
            case "idle", _:
                self._tell(("idle",))
            case "status", int():
                self._status = value
                self._ended.set()
                if self._killed:
                    self._place.forget(self._number)
            case "words", str():
                self._words.put(value)
            case "failed", str():
                self._tell(("failed", value))
            case "refused", str():
                self._tell(self._place.unfit(self.backend, value))

    def lose(self, gone: Gone) -> None:
        """Its place is gone: tell, and let nobody wait."""
        self._ended.set()
        self._words.put(None)
        self._tell(gone)


class Place:
    """Somewhere with a keeper, and its workers by number. A subclass knows how to reach it."""

    name = ""

    def __init__(self, yardstick: "Yardstick") -> None:
        self.yardstick = yardstick
        self.gone = ""
        """Why there is nothing there any more."""
        self._workers: dict[int, Remote] = {}
        self._number = 0
        self._lock = Lock()

    def post(self, *message: Any) -> None:
        """Send the keeper a message, without waiting."""
        raise NotImplementedError

    def unfit(self, backend: str, why: str) -> Any:
        """Say what a lane is told when this place cannot run a backend."""
        raise NotImplementedError

    def waiting(self) -> str:
        """Say what is waited for until there is a keeper."""
        raise NotImplementedError

    def stop(self) -> None:
        """Let go of what is there, or was."""
        raise NotImplementedError

    def start(self, spec: BackendSpec, folder: str, log: str, tell: Tell) -> Remote:
        """Have the keeper start a worker."""
        with self._lock:
            self._number = number = self._number + 1
            worker = Remote(self, number, spec.name, tell)
            if not self.gone:
                self._workers[number] = worker
        if self.gone:
            worker.lose(Gone(self.gone))
        else:
            environ = dict(adapter_class(spec).environ)
            self.post("start", number, msgspec.msgpack.encode(spec), environ, folder, log)
        return worker

    def forget(self, number: int) -> None:
        """Hear no more of a worker."""
        with self._lock:
            self._workers.pop(number, None)

    def heard(self, said: Sequence[tuple[int, str, Any]]) -> None:
        """Hand on what the keeper has said."""
        for number, what, value in said:
            if (worker := self._workers.get(number)) is not None:
                worker.hear(what, value)

    def end(self, why: str, *, unfit: bool = False) -> None:
        """Nothing is there any more: tell all that had a worker there, once."""
        with self._lock:
            if self.gone:
                return
            self.gone = why
            workers, self._workers = list(self._workers.values()), {}
        self.stop()
        for worker in workers:
            worker.lose(Gone(why, unfit))


class Yardstick:
    """What the first worker of each backend said of itself: all others have to say the same.

    A run says once which version it speaks of, so what another version answers must not get into it.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Environment]] = {}
        self._lock = Lock()

    def differs(self, backend: str, data: bytes, where: str) -> str:
        """Say how a worker differs from the first one of its backend, or nothing."""
        environment = msgspec.msgpack.decode(data, type=Environment)
        with self._lock:
            there, first = self._known.setdefault(backend, (where, environment))
        found = [
            f"{field} {ours!r}, {there} has {theirs!r}"
            for field in Environment.__struct_fields__
            if (ours := getattr(environment, field)) != (theirs := getattr(first, field))
        ]
        return f"is not what the first worker ran with: {'; '.join(found)}" if found else ""
