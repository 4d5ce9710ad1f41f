"""A run's counts, and what it exits with."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from conformance.errors import Exit

MOST_KEPT = 200
"""Unexpected rows that are kept to be shown: the stream has them all."""

Progress = Callable[[int, int, Counter[str]], None]


@dataclass
class Summary:
    """A run's counts, and what it exits with."""

    statuses: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    claims: Counter[str] = field(default_factory=Counter)
    stale: list[str] = field(default_factory=list)
    unexpected: list[dict[str, Any]] = field(default_factory=list)
    surprises: int = 0
    """How many results were unexpected; the first of them are in `unexpected`."""
    lost: dict[str, str] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    """What was asked for and could not be used."""
    losses: list[str] = field(default_factory=list)
    """Workers that were gone with their machines; what they owed was asked again."""
    seconds: dict[str, float] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    """What each backend is, with its mode, device and version."""

    def surprise(self, row: dict[str, Any]) -> None:
        """Take down an unexpected result or claim."""
        self.surprises += 1
        if len(self.unexpected) < MOST_KEPT:
            self.unexpected.append(row)

    @property
    def exit_code(self) -> Exit:
        """3 where the harness or the environment failed, 1 where anything was unexpected, else 0."""
        if self.lost or self.troubles or self.statuses["harness"] or self.outcomes["notrun"]:
            return Exit.HARNESS
        if not sum(self.statuses.values()):
            return Exit.NOTHING_RAN
        return Exit.UNEXPECTED if self.surprises or self.stale else Exit.OK
