"""Whether the same call gives the same bits: `--repeat N`.

Each call is made N times in a row, in the worker that has run the cases before it (*warm*), and once more
in each of N - 1 rounds in which every worker is a new one (*fresh*) and the cases come in the opposite
order, then in their own again: so each has another history in each round. A case whose worker is replaced
after every call anyway (`isolated`) is called once warm. Memory that nobody wrote, reads out of bounds
and sums in no fixed order show themselves this way.

Outputs, gradients, second derivatives, categories of error and deaths are compared, by their bits. All NaNs
are one: which of them an operation gives depends on the processor and the order of operands, and means
nothing. Of each result its digest is kept, and of each first result where in a file it stands. What is here
decides; `repeat_calls` asks.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arrays import FLOATING, from_wire, spacing, to_wire
from conformance.backends import PLAIN, Variant
from conformance.compare import Check, digest_of
from conformance.judge import declared_unsupported
from conformance.ledger import Entry, Ledger
from conformance.load import Api, Case
from conformance.pool import Answer, Fault, Lost
from conformance.types import Array, Death, Outcome, Reply

if TYPE_CHECKING:
    from conformance.repeat_calls import Store

CHECK, KIND = "repeat", "nondeterministic"


@dataclass
class Quantity:
    """What the calls of a pair gave for one quantity: digests, or words where there was no result."""

    first: tuple[int, Array] | None = None
    """Where the first result stands, and its dtype, shape and no data."""
    warm: Counter[str] = field(default_factory=Counter)
    fresh: Counter[str] = field(default_factory=Counter)
    ulp: float | None = 0.0
    """The furthest that a result is from the first one; None where that is not a number."""

    @property
    def results(self) -> Counter[str]:
        """Every result, and in how many calls it came."""
        return self.warm + self.fresh

    @property
    def varies(self) -> bool:
        """Whether not all calls gave the same."""
        return len(self.results) > 1

    def said(self, name: str) -> str:
        """Say it in one line."""
        results = self.results
        words = sorted(f"{each} in {count}" for each, count in results.items() if " " in each)
        apart = f", up to {self.ulp:.3g} ULP apart" if self.ulp else ""
        beside = f" ({', '.join(words)})" if words else ""
        return f"{name}: {len(results)} results in {results.total()} calls{beside}{apart}"


@dataclass
class Tally:
    """The calls of one API on one case so far."""

    case: Case
    api: Api
    quantities: dict[str, Quantity] = field(default_factory=dict)
    elements: int = 0
    calls: int = 0
    warm: int = 0
    """How many warm calls have been made or are on their way."""
    deaths: set[str] = field(default_factory=set)
    gone: Lost | Fault | None = None

    def hear(self, answer: Answer | Lost, store: "Store", *, fresh: bool) -> None:
        """Count an answer."""
        if isinstance(answer, Lost | Fault):
            self.gone = self.gone or answer
            return
        self.calls += 1
        if isinstance(answer, Death):
            self.deaths.add(answer.status)
        for name, value in _quantities(answer):
            quantity = self.quantities.setdefault(name, Quantity())
            if isinstance(value, Array):
                found = digest_of(value)
                if quantity.first is None:
                    quantity.first = store.put(value)
                    self.elements += int(np.prod(value.shape))
                elif found not in quantity.warm and found not in quantity.fresh:
                    quantity.ulp = _further(quantity.ulp, apart(store.get(quantity.first), value))
            else:
                found = value
            (quantity.fresh if fresh else quantity.warm)[found] += 1

    def check(self) -> Check:
        """Say whether all calls gave the same; where no answer is due that is observed, unless one dies."""
        if isinstance(self.gone, Lost):
            return Check(CHECK, "notrun", message=self.gone.reason)
        if self.gone is not None:
            return Check(CHECK, "harness", message=self.gone.message)
        varying = {name: each for name, each in self.quantities.items() if each.varies}
        if not varying:
            return self._same()
        said = "; ".join([*(each.said(name) for name, each in varying.items()), self._where(varying)])
        free = self.case.domain == "undefined" or declared_unsupported(self.case, self.api) is not None
        if free and "crash" not in self.deaths:
            return Check(CHECK, "observed", message=f"{KIND}: {said}", detail=self._evidence(varying))
        spreads = [each.ulp for each in varying.values()]
        ulp = None if None in spreads else max(each or 0.0 for each in spreads)
        count = max(1, self.elements)
        return Check(CHECK, "fail", KIND, said, count, max_ulp=ulp, detail=self._evidence(varying))

    def _same(self) -> Check:
        if not self.deaths:
            return Check(CHECK, "pass", compared=max(1, self.elements))
        died = next(iter(self.quantities["output"].results))
        return Check(CHECK, "observed", message=f"{died} in each of {self.calls} calls: no result to compare")

    def _where(self, varying: dict[str, Quantity]) -> str:
        if any(len(each.warm) > 1 for each in varying.values()):
            return "calls in a row differ"
        return "calls in a row agree, new workers differ" if self.warm > 1 else "new workers differ"

    def _evidence(self, varying: dict[str, Quantity]) -> dict[str, Any]:
        quantities = {
            name: {"results": len(q.results), "warm": len(q.warm), "fresh": len(q.fresh), "ulp": q.ulp}
            for name, q in varying.items()
        }
        return {"calls": self.calls, "quantities": quantities}


def _quantities(answer: Reply | Death) -> Iterator[tuple[str, Array | str]]:
    """Name what an answer consists of: results with one NaN, or words (which have a space) in their place."""
    if isinstance(answer, Death):
        yield "output", f"{answer.status} {answer.signal}".strip() + ("" if answer.signal else " of the call")
        return
    found: dict[str, Any] = {"output": answer.output}
    found |= {f"grad.{name}": each for name, each in answer.gradients.items()}
    found |= {f"grad2.{name}": each for name, each in answer.second.items()}
    for name, value in found.items():
        if isinstance(value, Array):
            yield name, one_nan(value)
        else:
            yield name, "no gradient" if value is None else f"{value.category} error"


def one_nan(array: Array) -> Array:
    """Return a result in which every NaN has the same bits."""
    if array.dtype not in FLOATING:
        return array
    values = from_wire(array)
    if not (nan := np.isnan(values)).any():
        return array
    return to_wire(np.where(nan, np.asarray(np.nan, values.dtype), values))


def apart(one: Array, other: Array) -> float | None:
    """Return how many ULP lie between two results at most; None: a dtype, a shape or an infinity differs."""
    if (one.dtype, one.shape) != (other.dtype, other.shape) or one.dtype not in FLOATING:
        return None
    left, right = (from_wire(each).astype(np.float64) for each in (one, other))
    differ = ~((left == right) | (np.isnan(left) & np.isnan(right)))
    left, right = left[differ], right[differ]
    if not (np.isfinite(left) & np.isfinite(right)).all():
        return None
    if not left.size:
        return 0.0  # the sign of a zero
    with np.errstate(over="ignore"):
        ulps = abs(left - right) / spacing(one.dtype, np.maximum(abs(left), abs(right)))
    return float(ulps.max()) if np.isfinite(ulps).all() else None


def _further(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else max(one, other)


def only_repeats(entry: Entry) -> bool:
    """Whether an entry of the ledger speaks of nothing that a run without repeats does."""
    return entry.check == [CHECK]


def classify(
    ledger: Ledger, case: Case, api: Api, check: Check, version: str, variant: Variant = PLAIN
) -> tuple[Outcome, str, str]:
    """Classify a `repeat` check: by the entries that know it as such, else by those for what varies.

    An entry marked `nondeterministic` says of the quantities it covers that they vary: what varies is known
    if each quantity that does has such an entry. No other entry has a say, whatever its globs match.
    """
    about = [e for e in ledger.entries.get(api.backend, []) if e.op == case.op.name and e.covers(case)]
    what = case.op.name, api
    named = [e for e in about if KIND in e.kinds and e.speaks_of(*what, CHECK, version, variant)]
    ledger.hits.update(entry.id for entry in named)
    found = Ledger({api.backend: named}).classify(case, api, check, version, variant)
    if found[0] != "regression" or check.kind != KIND:
        return found
    through = []
    for quantity in (check.detail or {}).get("quantities", {}):
        names = (quantity, "raises") if quantity == "output" else (quantity,)
        through.append(
            next(
                (
                    e.id
                    for e in about
                    if e.nondeterministic
                    and any(e.speaks_of(*what, name, version, variant) for name in names)
                ),
                "",
            )
        )
    return ("known", through[0], "") if through and all(through) else found
