"""What the oracle, its cache and the comparison take, each by itself and in this process."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from conformance.arrays import NDArray, to_wire
from conformance.cache import OracleCache
from conformance.compare import compare
from conformance.load import Operator
from conformance.oracle import Exact, Expectation
from conformance.question import expectation, resolved_params
from tests.bench.figures import Figure, ratio

ELEMENTS = 1_000_000
PASSES = 20.0


def best(repeats: int, work: Callable[[], Any]) -> float:
    """Return the fewest seconds that some work took."""
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def oracle_and_cache(suite: list[Operator], folder: Path) -> list[Figure]:
    """Ask the oracle about every case once, then its cache; inputs are built before either."""
    kept = OracleCache(folder)
    inputs = computed = asked = read = 0.0
    cases = [case for op in suite for case in op.cases if case.domain != "undefined"]
    for case in cases:
        api = case.op.apis[0]
        params = resolved_params(case, api)
        began = time.perf_counter()
        _ = case.tensors
        built = time.perf_counter()
        expected = expectation(case, api)
        known = time.perf_counter()
        kept.answer(case, params, _giving(expected))
        written = time.perf_counter()
        kept.answer(case, params, _giving(expected))
        inputs, computed = inputs + built - began, computed + known - built
        asked, read = asked + written - known, read + time.perf_counter() - written
        case.__dict__.pop("tensors")
    about = f"{len(cases)} cases with an answer"
    each = 1e3 / max(len(cases), 1)
    return [
        Figure("Oracle", "inputs", inputs * each, "ms/case", note=about),
        Figure("Oracle", "the oracle, cold", computed * each, "ms/case"),
        Figure("Oracle", "the cache, written", asked * each, "ms/case"),
        Figure("Oracle", "the cache, read", read * each, "ms/case"),
    ]


def _giving(expected: Expectation | None) -> Callable[[], Expectation | None]:
    return lambda: expected


def comparison(repeats: int, elements: int = ELEMENTS) -> list[Figure]:
    """Compare results of a million elements, in units of one addition of as many long doubles."""
    drawn = np.random.Generator(np.random.PCG64(1)).uniform(0.5, 2.0, (2, elements))
    one, other = drawn.astype(np.longdouble)
    single = best(max(repeats, 5), lambda: np.add(one, other))
    each = 1e6 / elements
    figures = [Figure("Comparison", "np.add, long double", single * each, "µs/elem")]
    for name, got, exact in _results(one):
        wire = to_wire(got)
        taken = best(repeats, lambda wire=wire, exact=exact: compare("output", wire, exact))  # type: ignore[misc]
        passes = ratio(taken, single)
        note = f"{taken * each:.3f} µs per element"
        figures.append(Figure("Comparison", name, passes, "passes", PASSES, note))
    return figures


def _results(values: NDArray) -> list[tuple[str, NDArray, Exact]]:
    """Return results of every kind that takes a way of its own through the comparison."""
    single = values.astype(np.float32)
    wrong, special = single.copy(), values.copy()
    wrong[::97] *= 2
    special[::1000] = np.inf
    kinks = exactly(values, values + (np.arange(values.size) % 2))
    return [
        ("equal to the exact value", single, exactly(single.astype(values.dtype))),
        ("rounded once", single, exactly(values)),
        ("rounded once, some infinite", special.astype(np.float32), exactly(special)),
        ("rounded once, intervals at kinks", single, kinks),
        ("a hundredth wrong", wrong, exactly(values)),
    ]


def exactly(low: NDArray, high: NDArray | None = None) -> Exact:
    """Return an exact answer in float32 with a bound of the customary size, made without the oracle."""
    rounding = np.where(np.isfinite(low), abs(low), 1) * low.dtype.type(2.0**-24)
    terms = {"rounding": rounding, "sensitivity": rounding, "working": rounding}
    undecided = np.zeros(low.shape, bool)
    return Exact(low, low if high is None else high, 12 * rounding, terms, undecided, "float32")
