"""A run's counts, and what it exits with."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from conformance.errors import Exit

Progress = Callable[[int, int, Counter[str]], None]


@dataclass
class Summary:
    """A run's counts, and what it exits with."""

    statuses: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    claims: Counter[str] = field(default_factory=Counter)
    stale: list[str] = field(default_factory=list)
    unexpected: list[dict[str, Any]] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def exit_code(self) -> Exit:
        """3 where the harness or the environment failed, 1 where anything was unexpected, else 0."""
        if self.lost or self.statuses["harness"] or self.outcomes["notrun"]:
            return Exit.HARNESS
        if not sum(self.statuses.values()):
            return Exit.NOTHING_RAN
        return Exit.UNEXPECTED if self.unexpected or self.stale else Exit.OK
