"""Standard input, output and errors that are closed, or that nobody reads any more."""

import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

Report = Callable[[int, int, Counter[str]], None]


def undisturbed(report: Report) -> Report:
    """Return a progress that falls silent when nobody reads it any more: the run goes on to its end."""

    def quiet(done: int, total: int, outcomes: Counter[str]) -> None:
        try:
            report(done, total, outcomes)
        except OSError:
            silence(sys.stderr)

    return quiet


def silence(stream: Any) -> None:
    """Point a standard stream whose reader went away at nothing, so that no later write to it fails."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def open_descriptors() -> None:
    """Open those of 0, 1 and 2 that are closed (`2>&-`), or the next file opened would be taken for them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
