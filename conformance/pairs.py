"""Pairs: every two values of two parameters have to meet in some case."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from allpairspy import AllPairs

from conformance.arrays import FLOATING
from conformance.opfile import ExcludedPair

if TYPE_CHECKING:
    from conformance.suite import Case, Operator

Point = dict[str, Any]


def points(
    matrix: Mapping[str, Sequence[Any]], excluded: Sequence[ExcludedPair], *, pairwise: bool
) -> Iterator[Point]:
    """Yield the points of a matrix: all of them, or so many that every allowed pair of values is in one."""
    if not pairwise or len(matrix) < 2:
        for point in itertools.product(*matrix.values()):
            yield dict(zip(matrix, point, strict=True))
        return
    axes = list(matrix)

    def allowed(row: list[Any]) -> bool:
        point = dict(zip(axes, row, strict=False))
        return not any(_holds(point, each.pair) for each in excluded)

    found = [list(row) for row in AllPairs(list(matrix.values()), filter_func=allowed)]
    for row in [*found, *_rest(list(matrix.values()), found, allowed)]:
        yield dict(zip(axes, row, strict=True))


def _rest(values: list[Any], found: list[list[Any]], allowed: Callable[[list[Any]], bool]) -> list[list[Any]]:
    """Complete a covering: under a filter the generator gives up on pairs that can still be had."""
    wanted = {pair for row in itertools.product(*values) if allowed(list(row)) for pair in _numbered(row)}
    wanted -= {pair for row in found for pair in _numbered(row)}
    added = []
    for row in itertools.product(*values):
        new = wanted & set(_numbered(row))
        if new and allowed(list(row)):
            added.append(list(row))
            wanted -= new
    return added


def _numbered(row: Sequence[Any]) -> Iterator[tuple[int, str, int, str]]:
    for (one, a), (two, b) in itertools.combinations(enumerate(row), 2):
        yield one, repr(a), two, repr(b)


def _holds(point: Point, pair: Mapping[str, Any]) -> bool:
    return all(name in point and _same(point[name], value) for name, value in pair.items())


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def missing(op: "Operator") -> list[tuple[Point, Point]]:
    """Return the pairs of values that no case with an answer combines, in the order of the declarations."""
    factors: dict[str, list[Any]] = {"dtype": list(FLOATING)}
    factors |= {name: decl.values for name, decl in op.decl.params.items() if decl.values}
    factors |= {f"{n}.given": [True, False] for n, decl in op.decl.tensors.items() if decl.optional}
    met = {pair for case in op.cases if case.domain != "undefined" for pair in _pairs(case, factors)}
    lacking = []
    for (one, ones), (two, twos) in itertools.combinations(factors.items(), 2):
        for a, b in itertools.product(ones, twos):
            point = {one: a, two: b}
            if any(_holds(point, each.pair) for each in op.decl.excluded_pairs):
                continue
            if (one, repr(a), two, repr(b)) not in met:
                lacking.append(({one: a}, {two: b}))
    return lacking


def _pairs(case: "Case", factors: dict[str, list[Any]]) -> Iterator[tuple[str, str, str, str]]:
    """Name the pairs that a case combines; a parameter that it leaves out has the definition's default."""
    values = {"dtype": case.dtype}
    for name in factors:
        if name.endswith(".given"):
            values[name] = name.removesuffix(".given") in case.specs  # type: ignore[assignment]
        elif name != "dtype":
            values[name] = case.params.get(name, case.op.decl.params[name].default)  # type: ignore[assignment]
    for one, two in itertools.combinations(factors, 2):
        yield one, repr(values[one]), two, repr(values[two])
