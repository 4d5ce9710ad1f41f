"""K is not tuned to backends: honest programs that the oracle does not know stay inside every bound.

The programs here are written straight from the formulas, in NumPy and in the case's dtype, and differ from
the oracle's working orders in how they add, associate, weight, divide and round. `-s` prints the margins.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from conformance.arrays import NDArray, largest_finite, numpy_dtype, spacing, to_wire, unit_roundoff
from conformance.compare import Check, compare
from conformance.load import Case, load_suite
from conformance.oracle import K_GRADIENT, K_OUTPUT, Exact, Expectation, is_floating
from conformance.run import expectation, resolved_params

Tensors = dict[str, NDArray]
HALVES = ("float16", "bfloat16")


@dataclass(frozen=True)
class Program:
    """One honest way of computing these losses.

    Attributes:
        block: sum blocks of so many terms first; 0 is Kahan's compensated sum, 1 a plain loop.
        left: (x − x[y]) + margin instead of margin − (x[y] − x).
        weight_inside: multiply each term by its weight instead of their sum.
        reciprocal: multiply by 1/N and 1/C instead of dividing.
        wide: compute half types in float32 and round once at the end, instead of after every operation.

    """

    block: int = 1
    left: bool = True
    weight_inside: bool = False
    reciprocal: bool = False
    wide: bool = False

    def total(self, values: NDArray, axis: int) -> NDArray:
        """Sum along an axis; half types are accumulated in float32 and rounded once."""
        kind = values.dtype
        terms = np.moveaxis(values, axis, 0).astype(np.float32 if kind.itemsize == 2 else kind)
        if self.block == 0:
            return _kahan(terms).astype(kind)
        starts = range(0, len(terms), self.block)
        blocks = [_loop(terms[start : start + self.block]) for start in starts] if self.block > 1 else terms
        return _loop(np.reshape(blocks, (len(starts), *terms.shape[1:]))).astype(kind)

    def over(self, values: NDArray, count: int) -> NDArray:
        """Divide by a count."""
        kind = values.dtype.type
        with np.errstate(all="ignore"):
            return np.asarray(values * (kind(1) / kind(count)) if self.reciprocal else values / kind(count))

    def gaps(self, x: NDArray, y: NDArray, margin: Any) -> NDArray:
        """Return margin − y + x in this program's association."""
        return np.asarray((x - y) + margin if self.left else margin - (y - x))

    def reduce(self, losses: NDArray, reduction: str) -> NDArray:
        """Reduce losses."""
        if reduction == "none":
            return losses
        summed = self.total(losses.reshape(-1), 0)
        return self.over(summed, losses.size) if reduction == "mean" else summed

    def spread(self, ct: NDArray, shape: tuple[int, ...], reduction: str) -> NDArray:
        """Return the cotangent of each loss."""
        each = self.over(ct, int(np.prod(shape))) if reduction == "mean" and np.prod(shape) else ct
        return np.broadcast_to(each, shape)


def _loop(terms: NDArray) -> NDArray:
    summed = np.zeros(terms.shape[1:], terms.dtype)
    for term in terms:
        summed = summed + term
    return summed


def _kahan(terms: NDArray) -> NDArray:
    summed, lost = np.zeros(terms.shape[1:], terms.dtype), np.zeros(terms.shape[1:], terms.dtype)
    for term in terms:
        corrected = term - lost
        bigger = summed + corrected
        lost, summed = (bigger - summed) - corrected, bigger
        lost = np.where(np.isfinite(lost), lost, lost.dtype.type(0))
    return summed


PROGRAMS = {
    "plain loop": Program(),
    "blocks of 8": Program(block=8),
    "blocks of 16": Program(block=16, left=False),
    "blocks of 128": Program(block=128, reciprocal=True),
    "Kahan": Program(block=0),
    "Kahan, right": Program(block=0, left=False, reciprocal=True),
    "weights inside": Program(block=8, weight_inside=True),
    "weights inside, reciprocal": Program(left=False, weight_inside=True, reciprocal=True),
    "reciprocal": Program(reciprocal=True),
}

Answer = dict[str, NDArray]


def hinge_embedding_loss(run: Program, t: Tensors, ct: NDArray, p: dict[str, Any]) -> Answer:
    """Return x where y = 1, max(0, margin − x) where y = −1."""
    x, y, kind = t["input"], t["target"], t["input"].dtype.type
    gap = np.asarray(kind(p["margin"]) - x)
    losses = np.where(y == 1, x, np.where(gap < 0, kind(0), gap))
    each = run.spread(ct, x.shape, p["reduction"])
    gradient = np.where(y == 1, each, np.where(gap > 0, -each, kind(0)))
    return {"output": run.reduce(losses, p["reduction"]), "grad.input": gradient}


def multi_margin_loss(run: Program, t: Tensors, ct: NDArray, p: dict[str, Any]) -> Answer:
    """w[y] · Σ max(0, margin − x[y] + x[i])^p / C."""
    x, y, kind = np.atleast_2d(t["input"]), np.atleast_1d(t["target"]), t["input"].dtype.type
    rows, classes = x.shape
    w = np.ones(rows, x.dtype) if "weight" not in t else t["weight"][y]
    own = np.arange(classes) == y[:, np.newaxis]
    gap = np.where(own, kind(0), run.gaps(x, x[np.arange(rows), y][:, np.newaxis], kind(p["margin"])))
    hinge = np.where(gap < 0, kind(0), gap)
    power = hinge if p["p"] == 1 else hinge * hinge
    each = run.spread(ct, t["target"].shape, p["reduction"]).reshape(rows)
    slope = (gap > 0).astype(x.dtype) if p["p"] == 1 else hinge + hinge
    if run.weight_inside:
        losses = run.total(run.over(w[:, np.newaxis] * power, classes), 1)
        terms = run.over(each[:, np.newaxis] * (w[:, np.newaxis] * slope), classes)
        by_row = run.total(each[:, np.newaxis] * run.over(power, classes), 1)
    else:
        losses = run.over(w * run.total(power, 1), classes)
        terms = slope * run.over(w * each, classes)[:, np.newaxis]
        by_row = run.over(run.total(power, 1), classes) * each
    terms = np.where(own, kind(0), terms)
    gradient = np.where(own, -run.total(terms, 1)[:, np.newaxis], terms)
    by_class = run.total(np.where(own, by_row[:, np.newaxis], kind(0)), 0)
    output = run.reduce(losses.reshape(t["target"].shape), p["reduction"])
    return {"output": output, "grad.input": gradient.reshape(t["input"].shape), "grad.weight": by_class}


def multilabel_margin_loss(run: Program, t: Tensors, ct: NDArray, p: dict[str, Any]) -> Answer:
    """Σ_j Σ_{i ∉ y} max(0, 1 − x[y_j] + x[i]) / C, row by row as a kernel does it."""
    x, y, kind = np.atleast_2d(t["input"]), np.atleast_2d(t["target"]), t["input"].dtype.type
    each = run.spread(ct, t["input"].shape[:-1], p["reduction"]).reshape(len(x))
    losses, gradient = np.zeros(len(x), x.dtype), np.zeros(x.shape, x.dtype)
    for n, row in enumerate(x):
        labels = y[n][: np.argmax(y[n] == -1)] if -1 in y[n] else y[n]
        others = np.setdiff1d(np.arange(x.shape[1]), labels)
        gap = run.gaps(row[others], row[labels][:, np.newaxis], kind(1))
        losses[n] = run.over(run.total(np.where(gap < 0, kind(0), gap).reshape(-1), 0), x.shape[1])
        terms = np.where(gap > 0, run.over(each[n], x.shape[1]), kind(0))
        gradient[n, others] = run.total(terms, 0)
        by_label = run.total(terms, 1)
        for label in set(labels.tolist()):
            gradient[n, label] = -run.total(by_label[labels == label], 0)
    output = run.reduce(losses.reshape(t["input"].shape[:-1]), p["reduction"])
    return {"output": output, "grad.input": gradient.reshape(t["input"].shape)}


OPS: dict[str, Callable[..., Answer]] = {
    "hinge_embedding_loss": hinge_embedding_loss,
    "multi_margin_loss": multi_margin_loss,
    "multilabel_margin_loss": multilabel_margin_loss,
}


def ordinary(case: Case) -> bool:
    """Whether a case is small and holds nothing so near the largest number that an order may overflow."""
    sizes = [abs(t.astype(np.float64)) for t in case.tensors.values() if is_floating(t)]
    small = max(tensor.size for tensor in case.tensors.values()) < 1e5
    return small and all(np.all(size <= largest_finite(case.dtype) / 64) for size in sizes)


@pytest.fixture(scope="module")
def answers() -> list[tuple[Case, Expectation]]:
    """What the oracle says of every case of these ops below 1e5 elements whose answer is defined."""
    found = []
    for op in load_suite(None, OPS):
        for case in op.cases:
            wanted = case.domain == "defined" and ordinary(case)
            expected = expectation(case, op.apis[0]) if wanted else None
            if expected is not None:
                found.append((case, expected))
    return found


def evaluate(run: Program, case: Case, expected: Expectation) -> Iterator[tuple[Check, Exact]]:
    """Run a program on a case; half types in float32 where it says so; and compare."""
    kind = numpy_dtype(case.dtype)
    compute = np.dtype(np.float32) if run.wide else kind
    tensors = {
        n: t.astype(compute) if n in case.op.definition.differentiable else t for n, t in case.tensors.items()
    }
    ct = case.cotangent(expected.output.low.shape).astype(compute)
    with np.errstate(all="ignore"):
        got = OPS[case.op.name](run, tensors, ct, resolved_params(case, case.op.apis[0]))
    yield compare("output", to_wire(got["output"].astype(kind)), expected.output), expected.output
    for name, exact in expected.gradients.items():
        yield compare(f"grad.{name}", to_wire(got[f"grad.{name}"].astype(kind)), exact), exact


@pytest.mark.parametrize("name", PROGRAMS)
def test_honest_programs_conform(
    name: str, answers: list[tuple[Case, Expectation]], record_property: Callable[[str, object], None]
) -> None:
    """However they add, associate, weight, divide and round: error/bound ≤ 1 on every case of these ops."""
    largest: dict[tuple[str, str], tuple[float, str]] = {}
    for case, expected in answers:
        runs = [PROGRAMS[name]] + [replace(PROGRAMS[name], wide=True)] * (case.dtype in HALVES)
        for run in runs:
            for check, _ in evaluate(run, case, expected):
                assert check.status == "pass", (case.id, check.check, check.message, run)
                quantity = "output" if check.check == "output" else "gradient"
                key = (quantity, "half, in float32" if run.wide else "own dtype")
                largest[key] = max(largest.get(key, (0.0, "")), (check.error_over_bound or 0.0, case.id))
    for (quantity, how), (ratio, where) in largest.items():
        record_property(f"{quantity}, {how}", f"{ratio:.3f} {where}")
        print(f"\n{name}: {quantity}, {how}: {ratio:.3f} of the bound at {where}")
    assert len(answers) > 400
    assert any(ratio > 0.05 for ratio, _ in largest.values())


def test_the_programs_are_not_the_working_orders(answers: list[tuple[Case, Expectation]]) -> None:
    """They compute other bits than the reference in the working dtype: a calibration on itself is none."""
    different = set()
    for name, run in PROGRAMS.items():
        for case, expected in answers:
            if case.dtype == "float32" and case.op.name == "multi_margin_loss":
                params = resolved_params(case, case.op.apis[0])
                ours = case.op.definition(case.tensors, params)
                with np.errstate(all="ignore"):
                    ct = case.cotangent(expected.output.low.shape).astype(np.float32)
                    theirs = OPS[case.op.name](run, case.tensors, ct, params)["output"]
                if not np.array_equal(ours, theirs, equal_nan=True):
                    different.add(name)
                    break
    assert different == set(PROGRAMS)


def test_an_error_of_one_in_a_thousand_is_outside(answers: list[tuple[Case, Expectation]]) -> None:
    """K is not absurdly large: in float32 a factor of 1.001 fails wherever there is anything to scale."""
    for case, expected in answers:
        for name, exact in [("output", expected.output), *expected.gradients.items()]:
            if case.dtype != "float32" or not np.any(exact.low) or exact.kinks:
                continue
            with np.errstate(over="ignore"):
                wrong = (exact.low * 1.001).astype(np.float32)
            if np.array_equal(wrong, exact.low.astype(np.float32)):
                continue
            check = compare("output", to_wire(wrong), exact)
            assert check.status == "fail", (case.id, name, check.error_over_bound)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_many_ulps_are_outside_where_the_problem_is_well_conditioned(
    dtype: str, answers: list[tuple[Case, Expectation]]
) -> None:
    """Where sensitivity and working are a few roundings, 16·K ULP is an error in every single element."""
    seen = 0
    for case, expected in answers:
        if case.dtype != dtype:
            continue
        u = unit_roundoff(dtype)
        quantities = [(K_OUTPUT, expected.output), *((K_GRADIENT, e) for e in expected.gradients.values())]
        for k, exact in quantities:
            own = exact.terms["sensitivity"] + exact.terms["working"]
            calm = (own <= 4 * u * abs(exact.low)) & (exact.low == exact.high) & (exact.low != 0)
            off = 16 * k * spacing(dtype, exact.low)
            assert np.all((off > exact.bound)[calm]), case.id
            seen += int(np.count_nonzero(calm))
    assert seen > 100
