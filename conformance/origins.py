"""Whose call a request was: for the few that are needed to make another fail."""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from conformance.compare import Check
from conformance.load import Api, Case
from conformance.types import Death

SHOWN = 4
NAMED = 200
"""How many calls a row names at most."""


class Origins:
    """The pair of a case and an API that each number was given out for: 16 bytes a pair."""

    def __init__(self) -> None:
        self._firsts, self._places = array("q"), array("q")

    def note(self, first: int, place: int) -> None:
        """Remember that numbers from `first` on are for the pair at a place of the plan (-1: for none)."""
        self._firsts.append(first)
        self._places.append(place)

    def names(self, answer: Any, plan: Sequence[tuple[Case, Api]]) -> list[str]:
        """Name the earlier calls that it took to make this one fail, in their order."""
        if not isinstance(answer, Death) or not answer.sequence:
            return []
        return [self._name(number, plan) for number in answer.sequence[:NAMED]]

    def _name(self, number: int, plan: Sequence[tuple[Case, Api]]) -> str:
        found = bisect_right(self._firsts, number) - 1
        if found < 0 or self._places[found] < 0:
            return f"request {number}"
        case, api = plan[self._places[found]]
        return f"{case.id} via {api.name}"


def told(death: Death, names: list[str]) -> Death:
    """Say in a message which calls they were."""
    more = len(death.sequence) - SHOWN
    shown = ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
    return replace(death, message=f"{death.message}: {shown}")


def attached(checks: list[Check], names: list[str]) -> list[Check]:
    """Put the calls beside the signal and the last words."""
    return [replace(check, error={**(check.error or {}), "sequence": names}) for check in checks]
