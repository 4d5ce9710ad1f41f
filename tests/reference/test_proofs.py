"""Every reference, proven: against plain formulas of 50 digits, and each VJP against differences."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from conformance.arrays import NDArray
from conformance.definition import Definition, definitions
from conformance.oracle import is_floating
from tests.plain import PLAIN, PROBLEMS, WIDE, Problem, load_all, numbers
from tests.plain.number import CONTEXT, Number, exactly

if TYPE_CHECKING:
    from collections.abc import Callable

load_all()

OPS = sorted(definitions())
ROUNDINGS = 2.0**-50
"""Of the largest number in sight: a longdouble has 64 bits, a stable formula loses few of them."""


def proof(examples: int, *phases: Phase) -> settings:
    """Draw so many problems, the same in every run: a proof that depends on luck is none."""
    options: dict[str, Any] = {"phases": phases} if phases else {}
    return settings(max_examples=examples, **options)


def numbers_like(data: st.DataObject, like: NDArray) -> NDArray:
    """Draw an array of quarters in [−1, 1] of the same shape."""
    drawn = data.draw(st.lists(st.integers(-4, 4), min_size=like.size, max_size=like.size))
    return np.array(drawn, WIDE).reshape(like.shape) / 4


def every_param(definition: Definition, problem: Problem) -> dict[str, Any]:
    """Return the problem's parameters, completed by the definition's defaults."""
    defaults = {n: p.default for n, p in definition.signature.parameters.items() if p.default is not p.empty}
    tensors = set(definition.signature.parameters) & set(problem.tensors)
    return {n: v for n, v in {**defaults, **problem.params}.items() if n not in tensors}


SLOPES_ALONE: dict[str, dict[str, Any]] = {"rnnt_loss": {"fastemit_lambda": 0.0}}
"""Parameters that change the derivative and not the loss, by intention: differences cannot see them, so the
proof by differences goes without; the plain formulas have them in their slopes."""


# -- every VJP is proven ------------------------------------------------------------------------------


def assert_vjp(op: str, problem: Problem, data: st.DataObject) -> None:
    """Hold v·J·d, for each differentiable input, against differences extrapolated to a step of 0."""
    definition = definitions()[op]
    problem.params |= SLOPES_ALONE.get(op, {})
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

        steps = [along(2.0**-n) for n in (9, 10, 11)]
        once = [(4 * fine - coarse) / 3 for coarse, fine in pairwise(steps)]
        numeric = (16 * once[1] - once[0]) / 15
        scale = 1 + np.sum(abs(output)) + np.sum(abs(gradient))
        assert abs(np.sum(gradient * d) - numeric) <= 1e-11 * scale, name


@pytest.mark.parametrize("op", OPS)
@proof(30)
@given(data=st.data())
def test_every_vjp_is_the_derivative(op: str, data: st.DataObject) -> None:
    """v·J·d equals the difference quotient at smooth points; an op without a strategy fails here."""
    assert op in PROBLEMS, f"{op} needs a strategy in tests/plain: no VJP goes unproven"
    assert_vjp(op, data.draw(PROBLEMS[op]), data)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("fault", [1.0001, -1.0, 0.0])
def test_a_wrong_vjp_would_be_noticed(op: str, fault: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof has teeth: a gradient off by 1e-4, negated, or zero makes it fail."""
    definition = definitions()[op]
    honest = definition.vjp_function
    assert honest is not None
    wrong: Callable[..., Any] = lambda *a, **k: {n: g * WIDE(fault) for n, g in honest(*a, **k).items()}  # noqa: E731
    monkeypatch.setattr(definition, "vjp_function", wrong)

    # The proof above draws as many; this one stops at the first that fails and does not shrink it.
    @proof(30, Phase.generate)
    @given(data=st.data())
    def holds(data: st.DataObject) -> None:
        assert_vjp(op, data.draw(PROBLEMS[op]), data)

    with pytest.raises(AssertionError):
        holds()


# -- an independent derivation: plain formulas over numbers of 50 digits -------------------------------


def plain_numbers(problem: Problem, along: tuple[str, tuple[int, ...]] | None = None) -> dict[str, Any]:
    """Return the tensors as the plain formulas take them, moving along one element of one of them."""
    name, place = along or ("", ())
    return {
        n: numbers(t, place if n == name else None) if is_floating(t) else t
        for n, t in problem.tensors.items()
    }


def assert_close(got: NDArray, exact: list[Any]) -> None:
    """Hold longdouble results against numbers of 50 digits."""
    assert got.size == len(exact)
    scale = max([1, *(abs(e) for e in exact)])
    for g, e in zip(got.reshape(-1), exact, strict=True):
        assert abs(exactly(g) - e) <= ROUNDINGS * scale, (g, e)


def plainly(op: str, tensors: dict[str, Any], params: dict[str, Any]) -> list[Number]:
    """Evaluate the plain formula; a new op needs one."""
    assert op in PLAIN, f"{op} needs a plain formula in tests/plain"
    return PLAIN[op](tensors, params)


@pytest.mark.parametrize("op", OPS)
@proof(30)
@given(data=st.data())
def test_the_reference_is_the_formula(op: str, data: st.DataObject) -> None:
    """The textbook's formula in plain loops gives the same output."""
    problem = data.draw(PROBLEMS[op])
    exact = plainly(op, plain_numbers(problem), every_param(definitions()[op], problem))
    assert_close(problem.output(op), [number.value for number in exact])


@pytest.mark.parametrize("op", OPS)
@proof(12)
@given(data=st.data())
def test_the_vjp_is_the_slope_of_the_formula(op: str, data: st.DataObject) -> None:
    """Forward-mode differentiation of the plain formula gives the same gradients, element by element."""
    problem = data.draw(PROBLEMS[op])
    v = numbers_like(data, problem.output(op))
    params = every_param(definitions()[op], problem)
    weights = [exactly(each) for each in v.reshape(-1)]
    for name, gradient in definitions()[op].pull_back(v, problem.tensors, problem.params).items():
        slopes = []
        for place in np.ndindex(gradient.shape):
            moved = plainly(op, plain_numbers(problem, (name, place)), params)
            terms = (w * n.slope for w, n in zip(weights, moved, strict=True))
            slopes.append(sum(terms, CONTEXT.mpf(0)))
        assert_close(gradient, slopes)
