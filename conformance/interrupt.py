"""What ends a run early and must not cost what finished: signals, a full disk, a removed folder."""

import os
import shutil
import signal
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from conformance.errors import OutputError
from conformance.stream import StreamWriter

PATIENCE = 5.0
"""Seconds that what is in flight has after SIGTERM: who sends it (a CI, a container) soon sends SIGKILL."""

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupts:
    """The first signal asks a run to stop: nothing more is begun. The second one stops it where it stands.

    SIGTERM and SIGHUP are followed by the second one after `PATIENCE`. A signal that was ignored when the
    run began (`nohup`, a job in the background) stays ignored.
    """

    def __init__(self) -> None:
        self.asked = ""
        """The first signal's name."""
        self._was: dict[int, Any] = {}
        self._clock: threading.Timer | None = None

    def __call__(self) -> bool:
        """Whether the run has to stop."""
        return bool(self.asked)

    def __enter__(self) -> Self:
        """Take the signals over; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._was[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back."""
        if self._clock is not None:
            self._clock.cancel()
        for number, handler in self._was.items():
            signal.signal(number, handler)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self.asked:
            for each in self._was:  # for good: the workers have to be ended, whoever keeps pressing
                signal.signal(each, signal.SIG_IGN)
            self._was.clear()
            raise KeyboardInterrupt
        self.asked = signal.Signals(number).name
        if number == signal.SIGINT:
            _say("stopping: what is in flight is finished first; Ctrl-C again stops at once")
            return
        _say(f"{self.asked}: stopping; what is in flight has {PATIENCE:g} s")
        self._clock = threading.Timer(PATIENCE, os.kill, (os.getpid(), number))
        self._clock.daemon = True
        self._clock.start()


def _say(text: str) -> None:
    # Not by print: the signal may have come in the middle of one.
    with suppress(OSError):
        os.write(2, f"\n{text}\n".encode())


class SafeStream(StreamWriter):
    """A stream that says in one message why it cannot be written, and outlives the removal of its folder."""

    def __init__(self, path: Path) -> None:
        try:
            super().__init__(path)
        except OSError as error:
            raise OutputError(path, error) from error

    def _append(self, line: bytes) -> None:
        try:
            super()._append(line)
        except OSError as error:
            raise OutputError(self._partial, error) from error

    def flush(self) -> None:
        """Hand over what was written."""
        try:
            super().flush()
        except OSError as error:
            raise OutputError(self._partial, error) from error

    def finish(self) -> None:
        """Give the stream its name; if that cannot be, all of it stays in the partial one."""
        try:
            self._return()
            super().finish()
        except (OSError, OutputError) as error:
            with suppress(OSError):
                self.path.with_suffix(".jsonl.new").unlink(missing_ok=True)
            raise error if isinstance(error, OutputError) else OutputError(self.path, error) from error

    def abandon(self) -> Path:
        """Close what there is; the last line may be half of one, which readers know."""
        with suppress(OSError):
            self._return()
        with suppress(OSError):
            self._file.close()
        return self._partial

    def _return(self) -> None:
        """Write anew what was removed: the system keeps it as long as it is open."""
        if self._file.closed or self._partial.exists():
            return
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        self._file.flush()
        self._file.seek(0)
        with self._partial.open("wb") as again:
            shutil.copyfileobj(self._file, again)
