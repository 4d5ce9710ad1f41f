"""The searches of one lane: one after another, in the background, within a time for all of them."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread

from conformance.backends import BackendSpec
from conformance.sequence import History, Limits, Replays, SpentError, Suspicion, shrink
from conformance.types import Death

SEARCHES_SECONDS = 300.0
"""How long a lane may search in all."""


@dataclass(frozen=True)
class Found:
    """The end of a search: what is said of the call."""

    suspicion: Suspicion
    death: Death


class Search(Thread):
    """Looks for the sequence in the background; `tell` hears what came of it."""

    def __init__(self, suspicion: Suspicion, replays: Replays, tell: Callable[[Found], None]) -> None:
        super().__init__(daemon=True)
        self._suspicion, self._replays, self._tell = suspicion, replays, tell

    def run(self) -> None:
        """Search, and tell; whatever goes wrong is told too."""
        try:
            death = self._search()
        except Exception as error:  # noqa: BLE001 - the run goes on without the sequence
            death = self._suspicion.death(f"the search for them failed: {type(error).__name__}: {error}")
        self._tell(Found(self._suspicion, death))

    def stop(self) -> None:
        """Give up, soon."""
        self._replays.stop()

    def _search(self) -> Death:
        suspicion = self._suspicion
        history = History.before(suspicion.history, suspicion.call.id)
        try:
            if not self._replays.fails(history):
                return suspicion.not_again()
        except SpentError:
            return suspicion.death("they take too long to be repeated; alone it answers")
        found, complete = shrink(history, self._replays.fails)
        return suspicion.only_after(tuple(each.id for each in found), complete=complete)


class Searches:
    """What a lane has still to look into; `tell` hears of what was found."""

    def __init__(
        self, spec: BackendSpec, folder: Path, limits: Limits, tell: Callable[[Found], None]
    ) -> None:
        self._spec, self._folder, self._limits, self._tell = spec, folder, limits, tell
        self._waiting: deque[Suspicion] = deque()
        self._search: Search | None = None
        self._spent = self._began = 0.0

    @property
    def pending(self) -> bool:
        """Whether anything is left to look into."""
        return bool(self._waiting or self._search)

    def add(self, suspicion: Suspicion) -> None:
        """Look into a call later."""
        self._waiting.append(suspicion)

    def begin(self, lost: str) -> Found | None:
        """Begin the next search, unless one is going on; return at once what will not be looked into."""
        if self._search or not self._waiting:
            return None
        suspicion = self._waiting.popleft()
        seconds = min(self._limits.seconds, SEARCHES_SECONDS - self._spent)
        if seconds <= 0 or lost:
            because = lost or "others have taken the time to find out which of them it takes"
            return Found(suspicion, suspicion.death(f"it was not tried again with them: {because}"))
        folder = self._folder.with_suffix(f".search-{suspicion.call.id}")
        folder.mkdir()
        replays = Replays(self._spec, suspicion, folder, replace(self._limits, seconds=seconds))
        self._search, self._began = Search(suspicion, replays, self._tell), time.monotonic()
        self._search.start()
        return None

    def end(self, found: Found) -> tuple[int, Death]:
        """Return the answer that a call has at last; what its process had done is forgotten."""
        if self._search is not None:
            self._spent += time.monotonic() - self._began
            self._search = None
        found.suspicion.history.unlink(missing_ok=True)
        return found.suspicion.call.id, found.death

    def stop(self) -> None:
        """End the search that is going on, soon."""
        if self._search is not None:
            self._search.stop()

    def join(self, seconds: float) -> None:
        """Wait until it has ended."""
        if self._search is not None:
            self._search.join(seconds)
