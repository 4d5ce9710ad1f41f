"""A lane: what one worker after another is asked, in order, and what becomes of it when one of them dies.

A worker answers in order and at once: so the first request without an answer is the one it died of. If others
were made before it, it is not accused yet: it is made again, first and alone, in the next worker. What then
answers goes to the search for the earlier calls that it takes, once the lane has nothing else to do.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from conformance.backends import BackendSpec
from conformance.child import Call, batch, signal_name
from conformance.executor import Gone, GoneError, Seat, Worker
from conformance.hold import Hold
from conformance.searches import Found, Searches
from conformance.sequence import Failure, History, Limits, Suspicion
from conformance.types import Death, Environment, Reply

MAX_STARTS_IN_A_ROW = 3
MAX_LOSSES_IN_A_ROW = 3
BATCH = 16
EAGER = 8192
"""How many requests a worker may owe while it starts or is late: the others are kept busy meanwhile."""
EAGER_BYTES = 32 << 20
DYING_SECONDS = 5.0
UNREAD_SECONDS = 0.25
LATE_SECONDS = 1.0


@dataclass(frozen=True)
class Fault:
    """The harness's own failure about one request: an answer to a question that was not asked."""

    message: str


@dataclass(frozen=True)
class Lost:
    """A backend that is gone for the rest of the run, and why: its cases are `notrun`."""

    reason: str


Answer = Reply | Death | Fault
Said = list[tuple[int, Answer | Lost]]
_REPLY = msgspec.msgpack.Decoder(Reply)
_ENVIRONMENT = msgspec.msgpack.Decoder(Environment)


class Lane:
    """One worker at a time, and what it still owes us."""

    def __init__(
        self,
        spec: BackendSpec,
        folder: Path,
        window: int,
        limits: Limits,
        hold: Hold,
        seat: Seat,
        put: Callable[[tuple["Lane", int, Any]], None],
    ) -> None:
        self.spec = spec
        self.known: Environment | None = None
        """What the first worker said of itself."""
        self.lost = ""
        self.losses: list[tuple[str, int]] = []
        """The workers that were gone with their machines: why, and how many calls were asked again."""
        self._seat = seat
        self._folder, self._limits, self._hold, self._put = folder, limits, hold, put
        self._window, self._batch = window, max(1, min(BATCH, window // 4))
        self._generation = 0
        self._owed: deque[Call] = deque()
        self._bytes = 0
        self._suspect: Suspicion | None = None
        self._searches = Searches(seat, folder, limits, lambda found: put((self, 0, found)))
        self._since = 0.0
        self._dying: float | None = None
        self._ready = self._late = self._closed = False
        self._sent = self._ran = 0
        self._deaths = self._starts = self._gone_in_a_row = 0
        self._child: Worker | None = None
        self._history: History | None = None

    # -- what the pool asks of it ----------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether another request may be submitted."""
        answering = self._ready and not self._late
        return len(self._owed) < (self._window if answering else EAGER) and self._bytes < EAGER_BYTES

    @property
    def idle(self) -> bool:
        """Whether everything is answered."""
        return not self._owed and not self._searches.pending

    def submit(self, call: Call) -> None:
        """Queue a request; it goes out with others."""
        self._owed.append(call)
        self._bytes += call.size
        self.flush()

    def withdraw(self) -> None:
        """Forget what was not sent; a call that is suspected is made again all the same."""
        keep = max(self._sent, int(self._suspect is not None))
        while len(self._owed) > keep:
            self._bytes -= self._owed.pop().size

    def flush(self) -> None:
        """Send what is queued, as far as the window goes; a part of a batch only to a worker with little."""
        if not self._ready or self._dying is not None or self._child is None:
            return
        if not self._sent and self._owed and self._child.status() is not None:
            self._dying = time.monotonic()  # of nothing that is owed
            return
        if self._suspect is not None:
            if not self._sent:
                self._transmit(1)
            return
        while (unsent := len(self._owed) - self._sent) and self._sent + self._batch <= self._window:
            if unsent < self._batch and self._sent >= self._window // 2:
                return  # more will come before it is needed
            if not (count := self._sendable(min(unsent, self._batch))):
                return
            self._transmit(count)

    def _sendable(self, most: int) -> int:
        """Count the next calls that may go out together: an isolated one has a process for itself."""
        if self._sent and self._owed[0].isolated:
            return 0
        calls = islice(self._owed, self._sent, self._sent + most)
        ahead = next((place for place, call in enumerate(calls) if call.isolated), most)
        return ahead or int(not self._sent and not self._ran)

    def start(self) -> Said:
        """Start a worker; what is owed is for it."""
        self._generation += 1
        self._ready = self._late = self._closed = False
        self._sent = self._ran = 0
        self._since, self._dying = time.monotonic(), None
        generation, put = self._generation, self._put
        log = self._folder / f"worker-{generation}.log"
        try:
            self._child = self._seat.start(self._folder, log, lambda item: put((self, generation, item)))
        except OSError as error:
            return self._lose(f"backend {self.spec.name} cannot start: {error}")
        self._history = History(self._folder.with_suffix(f".history-{generation}"))
        return []

    def hear(self, generation: int, item: Any) -> Said:
        """Take what a worker, or a search, has said; return the answers that are known by it."""
        if isinstance(item, Found):
            return [self._searches.end(item)]
        if generation != self._generation:
            return []  # from a worker that is gone
        if type(item) is bytes:
            return self._reply(item)
        if item is None:
            self._closed = True
            self._dying = self._dying or time.monotonic()
            return []
        return self._gone(item) if isinstance(item, Gone) else self._told(item)

    def _told(self, item: Any) -> Said:
        match item:
            case ("ready", bytes() as data) if not self._ready:
                self._ready, self._late, self._starts, self._since = True, False, 0, time.monotonic()
                self.known = self.known or _ENVIRONMENT.decode(data)
                self.flush()
                return []
            case ("failed", str() as why):
                return self._lose(f"backend {self.spec.name} cannot start: {why}")
            case ("fault", int() as number, str() as why) if self._expects(number):
                return self._answered(Fault(why))
            case ("idle",):
                self._sent, self._dying = 0, self._dying or time.monotonic()
                return []
            case ("overdue", Failure() as failure, int() as ran):
                return self._bury(failure) if self._sent and ran == self._ran else []
            case ("broken", str() as why):
                return self._at_fault(f"the worker's own code failed: {(why.splitlines() or [''])[-1]}")
        return self._at_fault("what the worker said cannot be understood")

    def tick(self, now: float) -> Said:
        """Look at the clock: what is overdue, and what has died without a word."""
        if self.lost or self._child is None:
            return []
        if self._dying is not None:
            return self._look_after(self._child, now - self._dying)
        if self._ready and not self._sent:
            # What is to have a process for itself waits for a new one.
            return self._replace() if self._owed and self._owed[0].isolated and self._ran else []
        waited = now - self._since
        self._late = waited > LATE_SECONDS
        if self._late and self._child.status() is not None:
            # A process that it started holds its pipe open, so its end is not seen there.
            self._dying = now
        elif not self._ready and waited > self._limits.startup:
            return self._slow_to_start(self._child)
        elif self._ready and waited > self._limits.timeout:
            return self._overdue(self._child)
        return []

    def search(self) -> Said:
        """Look into what failed after others, once nothing else is to be done."""
        found = None if self._owed else self._searches.begin(self.lost)
        return [self._searches.end(found)] if found else []

    def close(self) -> None:
        """End the worker and the search; whatever still arrives is nobody's."""
        self._generation += 1
        self._searches.stop()
        if self._child:
            self._child.kill()

    def join(self, seconds: float) -> None:
        """Wait until what was closed is gone."""
        if self._child:
            self._child.wait(seconds)
        self._searches.join(seconds)
        self._seat.close()

    # -- answers ---------------------------------------------------------------------------------

    def _transmit(self, count: int) -> None:
        assert self._child is not None
        assert self._history is not None
        if not self._sent:
            self._since = time.monotonic()
        calls = list(islice(self._owed, self._sent, self._sent + count))
        self._history.add(calls)
        self._sent += count
        self._child.send(batch(calls))

    def _expects(self, number: int) -> bool:
        return self._sent > 0 and self._owed[0].id == number

    def _reply(self, data: bytes) -> Said:
        try:
            reply = _REPLY.decode(data)
            if reply.held:
                reply = self._hold.reply(reply)
        except (msgspec.MsgspecError, OSError, ValueError) as error:
            return self._at_fault(f"an answer that cannot be read ({error})")
        if not self._expects(reply.id):
            expected = self._owed[0].id if self._sent else None
            return self._at_fault(f"asked request {expected}, was answered {reply.id}")
        return self._answered(reply)

    def _answered(self, answer: Reply | Fault) -> Said:
        """The first request that is owed has its answer."""
        call = self._next()
        now = time.monotonic()
        waited, self._since, self._late = now - self._since, now, False
        self._sent -= 1
        self._ran += 1
        said: Said = []
        if self._suspect is not None and isinstance(answer, Reply):
            self._searches.add(replace(self._suspect, alone=waited))
            self._suspect = None
            if self._deaths >= self._limits.deaths:
                return self._give_up()
        else:
            said.append((call.id, answer))
            self._forget_suspect()
            self._deaths = 0
        self._gone_in_a_row = 0
        if call.isolated or (isinstance(answer, Reply) and answer.spoiled):
            return said + self._replace()
        if self._sent <= self._window - self._batch:
            self.flush()
        return said

    def _at_fault(self, why: str) -> Said:
        """What this worker says can no longer be matched to a question, or our own code in it failed."""
        if not self._ready:
            return self._lose(f"backend {self.spec.name} cannot start: {why}")
        if not self._sent:
            return self._replace()
        number = self._next().id
        self._forget_suspect()
        return [(number, Fault(f"{why}: the worker was replaced")), *self._replace()]

    # -- deaths ----------------------------------------------------------------------------------

    def _look_after(self, child: Worker, dying: float) -> Said:
        """Bury a process once it has ended and all it said is read, or when it does not end by itself."""
        status = child.status()
        if status is None and dying < DYING_SECONDS:
            return []
        if status is not None and not self._closed and dying < UNREAD_SECONDS:
            return []
        name = signal_name(status)
        try:
            return self._bury(Failure("crash", f"the process died: {name}", name, child.last_words()))
        except GoneError as gone:
            return self._gone(Gone(str(gone)))

    def _overdue(self, child: Worker) -> Said:
        """Bury a process that does not answer, unless its answer has come by the time that this is heard."""
        said = f"no answer in {self._limits.timeout:g} s"
        try:
            failure = Failure("timeout", said, "", child.last_words())
        except GoneError as gone:
            return self._gone(Gone(str(gone)))
        self._put((self, self._generation, ("overdue", failure, self._ran)))
        return []

    def _slow_to_start(self, child: Worker) -> Said:
        try:
            words = child.last_words()
        except GoneError as gone:
            return self._gone(Gone(str(gone)))
        late = f"backend {self.spec.name} did not start in {self._limits.startup:.0f} s"
        return self._lose(f"{late}: {words[-1000:]}" if words else late)

    def _gone(self, gone: Gone) -> Said:
        """A machine is lost, for no fault of a call: what is owed is asked again of another worker."""
        if not gone.unfit:
            self.losses.append((gone.why, self._sent))
            self._gone_in_a_row += 1
        if self._gone_in_a_row >= MAX_LOSSES_IN_A_ROW:
            times = f"lost {self._gone_in_a_row} times in a row, each time with its machine"
            return self._lose(f"backend {self.spec.name}: its worker was {times}: {gone.why}")
        return self._replace()

    def _bury(self, failure: Failure) -> Said:
        if not self._ready:
            self._starts += 1
            if self._starts < MAX_STARTS_IN_A_ROW:
                return self._replace()
            how = f"died while starting, {self._starts} times in a row ({failure.signal})"
            return self._lose(f"backend {self.spec.name} {how}: {failure.words[-1000:]}")
        self._deaths += self._suspect is None
        said: Said = []
        if self._sent and self._ran and self._suspect is None:
            assert self._history is not None
            self._history.close()
            self._suspect = Suspicion(self._owed[0], failure, self._history.path, self._ran)
            self._history = None
        elif self._sent:
            said.append((self._next().id, failure.death()))
            self._forget_suspect()
        if self._deaths >= self._limits.deaths and self._suspect is None:
            return said + self._give_up()
        return said + self._replace()

    def _give_up(self) -> Said:
        return self._lose(f"backend {self.spec.name} died {self._deaths} times in a row")

    def _lose(self, reason: str) -> Said:
        """End the lane for good: what died without being looked into has died; the rest is not run."""
        self.lost = reason
        self._stop()
        said: Said = []
        if self._suspect is not None:
            death = self._suspect.death(f"it was not tried alone: {reason}")
            said.append((self._next().id, death))
            self._forget_suspect()
        while self._owed:
            said.append((self._next().id, Lost(reason)))
        return said

    def _replace(self) -> Said:
        self._stop()
        return self.start()

    def _stop(self) -> None:
        self._generation += 1
        if self._child is not None:
            self._child.kill()
        if self._history is not None:
            self._history.discard()
            self._history = None

    def _next(self) -> Call:
        call = self._owed.popleft()
        self._bytes -= call.size
        return call

    def _forget_suspect(self) -> None:
        if self._suspect is not None:
            self._suspect.history.unlink(missing_ok=True)
            self._suspect = None
