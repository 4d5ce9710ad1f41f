"""K fits honest programs of the smooth ops too: exponentials, logarithms and what is made of them.

As in test_calibration.py the programs are written straight from the formulas, in NumPy and in the case's
dtype, and share nothing with the references. They are held to ordinary cases: numbers between 2^−10 and 16,
where no honest formula overflows or cancels. `-s` prints the margins.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from conformance.arrays import NDArray, numpy_dtype, to_wire
from conformance.compare import Check, compare
from conformance.load import Case
from conformance.oracle import Expectation, is_floating
from conformance.run import expectation, resolved_params
from tests.shipped import able, spread, suite

Tensors = dict[str, NDArray]
Params = dict[str, Any]
Answer = dict[str, NDArray]
HALVES = ("float16", "bfloat16")
MOST = 40
"""So many cases of an op."""


@dataclass(frozen=True)
class Program:
    """One honest way of computing these functions.

    Attributes:
        sums: `loop` adds one after the other, `back` from the end, `halves` as a tree.
        joined: x − (max + log Σ) instead of (x − max) − log Σ.
        divided: softmax as e^(x − max) / Σ instead of e^(log softmax).
        exponent: σ and softplus from e^x, where x is below 0, as log(1 + e^x) is; else both from e^−|x|.
        factored: t·log t − t·x instead of t·(log t − x), and weights multiplied in last.
        wide: half types in float32, rounded once at the end, instead of after every operation.

    """

    sums: str = "loop"
    joined: bool = False
    divided: bool = True
    exponent: bool = False
    factored: bool = False
    wide: bool = False

    def total(self, values: NDArray, axis: int = -1) -> NDArray:
        """Sum along an axis, which stays with length 1; half types are accumulated in float32."""
        kind = values.dtype
        terms = np.moveaxis(values, axis, 0).astype(np.float32 if kind.itemsize == 2 else kind)
        summed = (
            _tree(terms) if self.sums == "halves" else _loop(terms[::-1] if self.sums == "back" else terms)
        )
        return np.expand_dims(summed.astype(kind), axis)

    def reduced(self, losses: NDArray, reduction: str, count: Any = None) -> NDArray:
        """Reduce losses; the mean divides by `count`, or by how many there are."""
        if reduction == "none":
            return losses
        summed = self.total(losses.reshape(-1))[0]
        return summed if reduction == "sum" else np.asarray(summed / losses.dtype.type(count or losses.size))

    def shared(self, ct: NDArray, shape: tuple[int, ...], reduction: str, count: Any = None) -> NDArray:
        """Return the cotangent of each loss."""
        size = ct.dtype.type(count or max(1, int(np.prod(shape))))
        return np.broadcast_to(ct if reduction in ("none", "sum") else ct / size, shape)

    def unbroadcast(self, gradient: NDArray, shape: tuple[int, ...]) -> NDArray:
        """Sum over the axes along which an input of that shape was broadcast."""
        while gradient.ndim > len(shape):
            gradient = self.total(gradient, 0)[0]
        for axis, size in enumerate(shape):
            if size == 1 != gradient.shape[axis]:
                gradient = self.total(gradient, axis)
        return gradient

    def softplus(self, x: NDArray) -> NDArray:
        """log(1 + e^x)."""
        one, zero = x.dtype.type(1), x.dtype.type(0)
        if self.exponent:
            return np.asarray(np.log(one + np.exp(x)))
        return np.asarray(np.maximum(x, zero) + np.log1p(np.exp(-abs(x))))

    def sigmoid(self, x: NDArray) -> NDArray:
        """1 / (1 + e^−x)."""
        one, small = x.dtype.type(1), np.exp(-abs(x))
        if self.exponent:
            return np.asarray(one / (one + np.exp(-x)))
        return np.asarray(np.where(x >= 0, one, small) / (one + small))

    def log_softmax(self, x: NDArray) -> NDArray:
        """The log-softmax: x − log Σ e^x along the last axis."""
        largest = np.max(x, -1, keepdims=True)
        log = np.log(self.total(np.exp(x - largest)))
        return np.asarray(x - (largest + log) if self.joined else (x - largest) - log)

    def softmax(self, x: NDArray) -> NDArray:
        """e^x / Σ e^x along the last axis."""
        if not self.divided:
            return np.asarray(np.exp(self.log_softmax(x)))
        small = np.exp(x - np.max(x, -1, keepdims=True))
        return np.asarray(small / self.total(small))


def _loop(terms: NDArray) -> NDArray:
    summed = np.zeros(terms.shape[1:], terms.dtype)
    for term in terms:
        summed = summed + term
    return summed


def _tree(terms: NDArray) -> NDArray:
    if len(terms) < 2:
        return _loop(terms)
    return np.asarray(_tree(terms[: len(terms) // 2]) + _tree(terms[len(terms) // 2 :]))


PROGRAMS = {
    "a plain loop": Program(),
    "from the end, joined": Program(sums="back", joined=True),
    "a tree, softmax from its logarithm": Program(sums="halves", divided=False, factored=True),
    "joined, softmax from its logarithm": Program(joined=True, divided=False),
    "e^x as it stands": Program(sums="halves", exponent=True, factored=True),
}


# -- the ops ----------------------------------------------------------------------------------------------


def softmax(run: Program, t: Tensors, ct: NDArray, p: Params) -> Answer:
    """e^x / Σ e^x; p·(v − Σ p·v)."""
    x, v = _last(t["input"], p["axis"]), _last(ct, p["axis"])
    y = run.softmax(x)
    gradient = y * v - y * run.total(y * v) if run.factored else y * (v - run.total(y * v))
    return {"output": _back(y, t, p["axis"]), "grad.input": _back(gradient, t, p["axis"])}


def log_softmax(run: Program, t: Tensors, ct: NDArray, p: Params) -> Answer:
    """The log-softmax: x − log Σ e^x; v − p·Σ v."""
    x, v = _last(t["input"], p["axis"]), _last(ct, p["axis"])
    gradient = v - run.softmax(x) * run.total(v)
    return {"output": _back(run.log_softmax(x), t, p["axis"]), "grad.input": _back(gradient, t, p["axis"])}


def _last(x: NDArray, axis: int | None) -> NDArray:
    default = 0 if x.ndim in (0, 1, 3) else 1
    return np.moveaxis(x, default if axis is None else axis, -1) if x.ndim else x.reshape(1)


def _back(x: NDArray, t: Tensors, axis: int | None) -> NDArray:
    like = t["input"]
    default = 0 if like.ndim in (0, 1, 3) else 1
    return np.moveaxis(x, -1, default if axis is None else axis) if like.ndim else x.reshape(())


def sigmoid(run: Program, t: Tensors, ct: NDArray, p: Params) -> Answer:
    """1 / (1 + e^−x); v·s·(1 − s)."""
    del p
    s = run.sigmoid(t["input"])
    one = s.dtype.type(1)
    gradient = ct * s * (one - s) if run.factored else ct * ((one - s) * s)
    return {"output": s, "grad.input": gradient}


def log_sigmoid(run: Program, t: Tensors, ct: NDArray, p: Params) -> Answer:
    """−log(1 + e^−x)."""
    del p
    return {"output": -run.softplus(-t["input"]), "grad.input": ct * run.sigmoid(-t["input"])}


def soft_margin_loss(run: Program, t: Tensors, ct: NDArray, p: Params) -> Answer:
    """log(1 + e^(−y·x))."""
    x, y = t["input"], t["target"].astype(t["input"].dtype)
    each = run.shared(ct, x.shape, p["reduction"])
    z = -y * x
    gradient = (-y * run.sigmoid(z)) * each if run.factored else -y * each * run.sigmoid(z)
    return {"output": run.reduced(run.softplus(z), p["reduction"]), "grad.input": gradient}


def binary_cross_entropy_with_logits(run: Program, t: Tensors, ct: NDArray, p: Params) -> Answer:
    """w·(q·y·softplus(−x) + (1 − y)·softplus(x))."""
    x, y = t["input"], t["target"]
    one = x.dtype.type(1)
    w, q = (t.get(name, one) for name in ("weight", "pos_weight"))
    each = run.shared(ct, x.shape, p["reduction"])
    hit, miss = run.softplus(-x), run.softplus(x)
    losses = (q * y) * hit + (one - y) * miss
    slope = (one - y) * run.sigmoid(x) - q * y * run.sigmoid(-x)
    answer = {
        "output": run.reduced(np.asarray(losses * w), p["reduction"]),
        "grad.input": slope * (w * each) if run.factored else each * (w * slope),
        "grad.target": each * w * (q * hit - miss if "pos_weight" in t else -x),
    }
    if "weight" in t:
        answer["grad.weight"] = run.unbroadcast(each * losses, t["weight"].shape)
    if "pos_weight" in t:
        answer["grad.pos_weight"] = run.unbroadcast(each * w * y * hit, t["pos_weight"].shape)
    return answer


def kl_div(run: Program, t: Tensors, ct: NDArray, p: Params) -> Answer:
    """t·(log t − x), and with a logarithm as the target e^t·(t − x)."""
    x, y = t["input"], t["target"]
    shape = np.broadcast_shapes(x.shape, y.shape)
    chance, log = (np.exp(y), y) if p["log_target"] else (y, np.log(y))
    losses = chance * log - chance * x if run.factored else chance * (log - x)
    if not p["log_target"]:
        losses = np.where(y == 0, -y * x, losses)
    count = (len(x) if x.ndim else 1) if p["reduction"] == "batchmean" else None
    each = run.shared(ct, shape, p["reduction"], count)
    slope = (log - x) + x.dtype.type(1)
    by_target = each * (chance * slope if p["log_target"] else slope)
    return {
        "output": run.reduced(losses, p["reduction"], count),
        "grad.input": run.unbroadcast(-chance * each, x.shape),
        "grad.target": run.unbroadcast(by_target, y.shape),
    }


def cross_entropy(run: Program, t: Tensors, ct: NDArray, p: Params) -> Answer:
    """−Σ_c w_c·q_c·log softmax(x)_c, row by row."""
    x = np.moveaxis(t["input"], p["axis"], -1) if t["input"].ndim > 1 else t["input"]
    moved, x, y = x.shape, x.reshape(-1, x.shape[-1]), t["target"].reshape(-1)
    kind, classes = x.dtype.type, x.shape[1]
    counts = y != p["ignore_index"]
    y = np.where(counts, y, 0).astype(np.int64)
    w = t.get("weight", np.ones(classes, x.dtype))
    smoothing = kind(p["label_smoothing"])
    hot = (np.arange(classes) == y[:, np.newaxis]).astype(x.dtype)
    q = hot * (kind(1) - smoothing) + smoothing / kind(classes) if smoothing else hot
    scores = run.log_softmax(x)
    losses = np.where(counts, -run.total(q * w * scores)[:, 0], kind(0))
    share = run.total(np.where(counts, w[y], kind(0)))[0]
    mean = p["reduction"] == "mean"
    each = np.broadcast_to(ct.reshape(-1) / share if mean else ct.reshape(-1), len(x))
    each = np.where(counts, each, kind(0))[:, np.newaxis]
    mixed = q * w
    by_row = run.softmax(x) * run.total(mixed) - mixed
    by_weight = run.total(q * -scores * each, 0)[0]
    if mean:
        loss = run.total(losses)[0] / share
        by_weight = by_weight - ct.reshape(()) * loss * run.total(hot * counts[:, np.newaxis], 0)[0] / share
    summed = losses.reshape(t["target"].shape) if p["reduction"] == "none" else run.total(losses)[0]
    gradient = (by_row * each).reshape(moved)
    return {
        "output": np.asarray(summed / share if mean else summed),
        "grad.input": np.moveaxis(gradient, -1, p["axis"]) if gradient.ndim > 1 else gradient,
        "grad.weight": by_weight,
    }


OPS: dict[str, Callable[..., Answer]] = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "sigmoid": sigmoid,
    "log_sigmoid": log_sigmoid,
    "soft_margin_loss": soft_margin_loss,
    "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "kl_div": kl_div,
    "cross_entropy": cross_entropy,
}
OTHERWISE = {"weighting": "sample", "use_softmax": False}
"""Parameters of other functions than those above."""


# -- what they are held to --------------------------------------------------------------------------------


BEYOND = {("softmax", "joined, softmax from its logarithm"): 1.5} | {
    ("log_softmax", name): 1.5 for name, program in PROGRAMS.items() if program.joined
}
"""x − (max + log Σ) rounds the sum of the two, which is more than the answer where x is the largest: up to so
many bounds. The programs that subtract one after the other do not; neither do the losses made of them."""

CALM = 2.0
"""log(1 + e^x) loses what is small beside 1, so it is honest only where nothing is."""


def ordinary(case: Case) -> bool:
    """Whether all numbers are 0 or between 2^−10 and 16, and the functions are those above."""
    params = resolved_params(case, able(case))
    if any(params.get(name) == value for name, value in OTHERWISE.items()):
        return False
    sizes = [abs(t.astype(np.float64)) for t in case.tensors.values() if is_floating(t)]
    return all(t.size > 0 and np.all((t == 0) | ((t >= 2**-10) & (t <= 16))) for t in sizes)


def calm(case: Case) -> bool:
    """Whether no number is so far from 0 that e^x is small beside 1, or 1 beside e^x."""
    return all(np.all(abs(t) <= CALM) for t in case.tensors.values() if is_floating(t))


@cache
def answers(op: str) -> list[tuple[Case, Expectation]]:
    """Return what the oracle says of ordinary cases of an op."""
    (found,) = (each for each in suite() if each.name == op)
    cases = [case for case in spread(found, len(found.cases), "defined") if ordinary(case)][:MOST]
    expected = ((case, expectation(case, able(case))) for case in cases)
    return [(case, known) for case, known in expected if known is not None]


def checks(run: Program, case: Case, expected: Expectation) -> Iterator[Check]:
    """Run a program on a case; half types in float32 where it says so; and compare."""
    kind = numpy_dtype(case.dtype)
    compute = np.dtype(np.float32) if run.wide else kind
    tensors = {n: t.astype(compute) if is_floating(t) else t for n, t in case.tensors.items()}
    ct = case.cotangent(expected.output.low.shape).astype(compute)
    with np.errstate(all="ignore"):
        got = OPS[case.op.name](run, tensors, ct, resolved_params(case, able(case)))
    for name, exact in [
        ("output", expected.output),
        *((f"grad.{n}", e) for n, e in expected.gradients.items()),
    ]:
        yield compare(name, to_wire(np.asarray(got[name]).astype(kind)), exact)


@pytest.mark.parametrize("op", OPS)
def test_honest_programs_conform(op: str, record_property: Callable[[str, object], None]) -> None:
    """However they add and associate: error/bound ≤ 1 on every ordinary case."""
    assert len(answers(op)) >= 20
    wrong = []
    for name, program in PROGRAMS.items():
        largest = {"output": (0.0, ""), "gradient": (0.0, "")}
        for case, expected in answers(op):
            if program.exponent and not calm(case):
                continue
            for run in [program] + [replace(program, wide=True)] * (case.dtype in HALVES):
                for check in checks(run, case, expected):
                    ratio, limit = check.error_over_bound or 0.0, BEYOND.get((op, name), 1.0)
                    if check.kind in ("dtype", "shape", "nonfinite") or ratio > limit:
                        wrong.append(f"{run}: {case.id} {check.check}: {check.message}")
                    key = "output" if check.check == "output" else "gradient"
                    largest[key] = max(largest[key], (ratio, case.id))
        for key, (ratio, where) in largest.items():
            record_property(f"{name}, {key}", f"{ratio:.3f} {where}")
            print(f"\n{op}, {name}: {key}: {ratio:.3f} of the bound at {where}")
    assert wrong == []


def test_the_programs_are_not_the_working_orders() -> None:
    """They compute other bits than the reference in the working dtype: a calibration on itself is none."""
    different = set()
    for op in OPS:
        for case, expected in answers(op):
            if case.dtype != "float32":
                continue
            params = resolved_params(case, able(case))
            ours = case.op.definition(case.tensors, params)
            ct = case.cotangent(expected.output.low.shape).astype(np.float32)
            for name, run in PROGRAMS.items():
                with np.errstate(all="ignore"):
                    theirs = OPS[op](run, case.tensors, ct, params)["output"]
                if not np.array_equal(ours, theirs, equal_nan=True):
                    different.add((op, name))
    assert {name for _, name in different} == set(PROGRAMS)
    assert {op for op, _ in different} == set(OPS)
