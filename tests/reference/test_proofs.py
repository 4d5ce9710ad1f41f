"""Every reference, proven: against exact rational arithmetic, and each VJP against differences."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.arrays import NDArray
from conformance.definition import definitions

WIDE = np.longdouble
REDUCTIONS = ("none", "mean", "sum")
Params = dict[str, Any]


@dataclass
class Problem:
    """An op's arguments at a smooth point, all of them dyadic numbers, so exact in every arithmetic.

    Logits are k/8 + i/64 for class i ≤ 5: no difference of two classes is within 1/64 of a multiple of
    1/8, so no clamp is within 1/64 of its kink for margins that are multiples of 1/8.
    """

    tensors: dict[str, NDArray]
    params: Params = field(default_factory=dict)

    def output(self, op: str, **changed: NDArray) -> NDArray:
        """Evaluate the reference, with some tensors changed."""
        return definitions()[op](self.tensors | changed, self.params)


@st.composite
def logits(draw: st.DrawFn, classes: int, rows: int | None) -> NDArray:
    """Draw [rows, classes], or [classes] where rows is None."""
    shape = (classes,) if rows is None else (rows, classes)
    numbers = draw(st.lists(st.integers(-24, 24), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    return np.array(numbers, WIDE).reshape(shape) / 8 + np.arange(classes, dtype=WIDE) / 64


@st.composite
def multi_margin(draw: st.DrawFn) -> Problem:
    """Draw a batch or a sample, with or without weights of either sign, p, margin and reduction."""
    classes, rows = draw(st.integers(1, 5)), draw(st.sampled_from([None, 1, 2, 3]))
    target = draw(st.lists(st.integers(0, classes - 1), min_size=rows or 1, max_size=rows or 1))
    tensors = {
        "input": draw(logits(classes, rows)),
        "target": np.array(target if rows else target[0], np.int64),
    }
    if draw(st.booleans()):
        weights = draw(st.lists(st.integers(-8, 16), min_size=classes, max_size=classes))
        tensors["weight"] = np.array(weights, WIDE) / 8
    margin = draw(st.integers(-8, 24)) / 8
    return Problem(tensors, {"p": draw(st.sampled_from([1, 2])), "margin": margin} | draw(reductions))


@st.composite
def hinge_embedding(draw: st.DrawFn) -> Problem:
    """Draw any rank; the margin lies between the points of the inputs' grid."""
    shape = tuple(draw(st.lists(st.integers(1, 3), max_size=3)))
    size = int(np.prod(shape))
    x = draw(st.lists(st.integers(-24, 24), min_size=size, max_size=size))
    labels = draw(st.lists(st.sampled_from([-1, 1]), min_size=size, max_size=size))
    tensors = {"input": np.array(x, WIDE).reshape(shape) / 8, "target": np.array(labels, WIDE).reshape(shape)}
    return Problem(tensors, {"margin": draw(st.integers(-8, 24)) / 8 + 1 / 16} | draw(reductions))


@st.composite
def multilabel_margin(draw: st.DrawFn) -> Problem:
    """Draw labels that may repeat, end anywhere at −1, and have junk behind."""
    classes, rows = draw(st.integers(1, 5)), draw(st.sampled_from([None, 1, 2, 3]))
    x = draw(logits(classes, rows))
    labels = draw(st.lists(st.integers(-1, classes - 1), min_size=x.size, max_size=x.size))
    return Problem({"input": x, "target": np.array(labels).reshape(x.shape)}, draw(reductions))


reductions = st.sampled_from([{"reduction": name} for name in REDUCTIONS])

PROBLEMS: dict[str, st.SearchStrategy[Problem]] = {
    "multi_margin_loss": multi_margin(),
    "hinge_embedding_loss": hinge_embedding(),
    "multilabel_margin_loss": multilabel_margin(),
}


def numbers_like(data: st.DataObject, like: NDArray) -> NDArray:
    """Draw an array of quarters in [−1, 1] of the same shape."""
    drawn = data.draw(st.lists(st.integers(-4, 4), min_size=like.size, max_size=like.size))
    return np.array(drawn, WIDE).reshape(like.shape) / 4


# -- every VJP is proven ------------------------------------------------------------------------------


def assert_vjp(op: str, problem: Problem, data: st.DataObject) -> None:
    """Hold v·J·d, for each differentiable input, against differences extrapolated to a step of 0."""
    definition = definitions()[op]
    output = problem.output(op)
    v = numbers_like(data, output)
    gradients = definition.pull_back(v, problem.tensors, problem.params)
    assert set(gradients) == {name for name in definition.differentiable if name in problem.tensors}
    for name, gradient in gradients.items():
        x = problem.tensors[name]
        assert gradient.shape == x.shape
        d = numbers_like(data, x)

        def along(h: float, name: str = name, x: NDArray = x, d: NDArray = d, v: NDArray = v) -> Any:
            ahead, behind = (problem.output(op, **{name: x + sign * WIDE(h) * d}) for sign in (1, -1))
            return np.sum(v * (ahead - behind)) / (2 * WIDE(h))

        numeric = (4 * along(2.0**-9) - along(2.0**-8)) / 3
        scale = 1 + np.sum(abs(output)) + np.sum(abs(gradient))
        assert abs(np.sum(gradient * d) - numeric) <= 1e-14 * scale, name


@pytest.mark.parametrize("op", sorted(definitions()))
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_vjp_is_the_derivative(op: str, data: st.DataObject) -> None:
    """v·J·d equals the difference quotient at smooth points; an op without a strategy fails here."""
    assert op in PROBLEMS, f"{op} needs a strategy in PROBLEMS: no VJP goes unproven"
    assert_vjp(op, data.draw(PROBLEMS[op]), data)


@pytest.mark.parametrize("op", sorted(definitions()))
@pytest.mark.parametrize("fault", [1.0001, -1.0, 0.0])
def test_a_wrong_vjp_would_be_noticed(op: str, fault: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof has teeth: a gradient off by 1e-4, negated, or zero makes it fail."""
    definition = definitions()[op]
    honest = definition.vjp_function
    assert honest is not None
    wrong: Callable[..., Any] = lambda *a, **k: {n: g * WIDE(fault) for n, g in honest(*a, **k).items()}  # noqa: E731
    monkeypatch.setattr(definition, "vjp_function", wrong)

    @settings(max_examples=200, deadline=None, database=None)
    @given(data=st.data())
    def proof(data: st.DataObject) -> None:
        assert_vjp(op, data.draw(PROBLEMS[op]), data)

    with pytest.raises(AssertionError):
        proof()


# -- an independent derivation: the formulas in plain Python over rational numbers ---------------------

Q = Fraction


def rational(array: NDArray) -> Any:
    """Nested lists of exact fractions."""
    return [rational(a) for a in array] if array.ndim else Q(*array.item().as_integer_ratio())


def reduce_(losses: list[Fraction], reduction: str) -> list[Fraction]:
    """Reduce a flat list of losses."""
    if reduction == "none":
        return losses
    return [sum(losses, Q(0)) / (len(losses) if reduction == "mean" else 1)]


def plain_multi_margin(t: dict[str, NDArray], params: Params) -> list[Fraction]:
    """Return w[y] · Σ_{i≠y} max(0, margin − x[y] + x[i])^p / C, row by row."""
    rows, labels = rational(np.atleast_2d(t["input"])), np.atleast_1d(t["target"]).tolist()
    losses = []
    for row, y in zip(rows, labels, strict=True):
        loss = Q(0)
        for i in range(len(row)):
            if i != y:
                loss += max(Q(0), Q(params["margin"]) - row[y] + row[i]) ** params["p"]
        weight = rational(t["weight"])[y] if "weight" in t else 1
        losses.append(weight * loss / len(row))
    return reduce_(losses, params["reduction"])


def plain_hinge_embedding(t: dict[str, NDArray], params: Params) -> list[Fraction]:
    """Return x where y = 1, max(0, margin − x) where y = −1."""
    pairs = zip(rational(t["input"].reshape(-1)), t["target"].reshape(-1).tolist(), strict=True)
    losses = [x if y == 1 else max(Q(0), Q(params["margin"]) - x) for x, y in pairs]
    return reduce_(losses, params["reduction"])


def plain_multilabel_margin(t: dict[str, NDArray], params: Params) -> list[Fraction]:
    """Return Σ_j Σ_{i ∉ y} max(0, 1 − x[y_j] + x[i]) / C over the labels before the first −1."""
    losses = []
    rows, labels = rational(np.atleast_2d(t["input"])), np.atleast_2d(t["target"]).tolist()
    for row, line in zip(rows, labels, strict=True):
        valid = line[: line.index(-1)] if -1 in line else line
        pairs = product(valid, [i for i in range(len(row)) if i not in valid])
        losses.append(sum((max(Q(0), 1 - row[j] + row[i]) for j, i in pairs), Q(0)) / len(row))
    return reduce_(losses, params["reduction"])


PLAIN: dict[str, Callable[[dict[str, NDArray], Params], list[Fraction]]] = {
    "multi_margin_loss": plain_multi_margin,
    "hinge_embedding_loss": plain_hinge_embedding,
    "multilabel_margin_loss": plain_multilabel_margin,
}


def close(got: NDArray, exact: list[Fraction], scale: float = 1.0) -> bool:
    """Whether a longdouble result is the fraction, to a few of its own roundings."""
    return got.size == len(exact) and all(
        abs(Q(*g.item().as_integer_ratio()) - e) <= Q(2) ** -58 * (abs(e) + Q(scale))
        for g, e in zip(got.reshape(-1), exact, strict=True)
    )


@pytest.mark.parametrize("op", sorted(definitions()))
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_the_reference_is_the_formula(op: str, data: st.DataObject) -> None:
    """Exact rational arithmetic in plain loops gives the same output; a new op needs its plain formula."""
    assert op in PLAIN, f"{op} needs a plain formula in PLAIN"
    problem = data.draw(PROBLEMS[op])
    assert close(problem.output(op), PLAIN[op](problem.tensors, problem.params))


@pytest.mark.parametrize("op", sorted(definitions()))
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_the_vjp_is_the_exact_slope_of_the_formula(op: str, data: st.DataObject) -> None:
    """At smooth points these losses are quadratic, so a rational central difference is the slope itself."""
    problem = data.draw(PROBLEMS[op])
    v = numbers_like(data, problem.output(op))
    pulled = definitions()[op].pull_back(v, problem.tensors, problem.params)
    h = WIDE(2.0**-8)
    for name, gradient in pulled.items():
        x, slopes = np.asarray(problem.tensors[name]), []
        for place in np.ndindex(x.shape):
            ends = []
            for sign in (1, -1):
                moved = x.copy()
                moved[place] += sign * h
                ends.append(PLAIN[op](problem.tensors | {name: moved}, problem.params))
            weighted = zip(rational(v.reshape(-1)), *ends, strict=True)
            slopes.append(sum((c * (a - b) for c, a, b in weighted), Q(0)) / (2 * Q(float(h))))
        assert close(gradient, slopes), name
