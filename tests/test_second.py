"""Second derivatives: the oracle against closed forms, the adapters against the oracle."""

from typing import Any

import numpy as np
import pytest

from conformance.arrays import to_wire
from conformance.definition import definitions
from conformance.judge import judge
from conformance.load import api_of, load_suite
from conformance.oracle import ORACLE_DTYPE
from conformance.run import expectation
from conformance.second import exact_second
from conformance.types import Raised, Reply

X = np.array([0.5, -1.25, 2.0])
T = np.array([0.25, 0.5, -1.0])
V = np.array([1.0, -0.5, 2.0])
R = np.array([0.5, 1.0, -0.75])


def second(op: str, tensors: dict[str, Any], **params: Any) -> Any:
    """Ask the oracle for the second derivative by the input along R."""
    arrays = {n: np.asarray(t, np.float32) for n, t in tensors.items()}
    return exact_second(definitions()[op], arrays, {"reduction": "none", **params}, "float32", V, "input", R)


def test_a_square_has_the_second_derivative_two() -> None:
    """(x − t)² gives 2·v·r, to the last bits of a longdouble."""
    exact = second("mse_loss", {"input": X, "target": T})
    assert np.max(abs(exact.low - 2 * V * R)) < 1e-15
    assert exact.low.dtype == ORACLE_DTYPE
    assert np.all(exact.bound > 0)


def test_what_is_linear_has_none() -> None:
    """|x − t| away from its kink gives 0."""
    assert np.max(abs(second("l1_loss", {"input": X, "target": T}).low)) < 1e-15


def test_the_soft_margin_loss() -> None:
    """log(1 + e^(−y·x)) gives v·r·σ(x)·σ(−x) for y = ±1."""
    exact = second("soft_margin_loss", {"input": X, "target": np.sign(T)})
    sigmoid = 1 / (1 + np.exp(-X.astype(np.longdouble)))
    assert np.max(abs(exact.low - V * R * sigmoid * (1 - sigmoid))) < 1e-14


@pytest.mark.parametrize("given", ["right", "wrong", "none", "refused"])
def test_how_it_is_judged(given: str) -> None:
    """A wrong second derivative fails; one that is refused, or absent, was promised by nobody."""
    op = load_suite(None, ["mse_loss"])[0]
    case = next(c for c in op.cases if c.second and c.dtype == "float32")
    api = api_of(op, "torch.nn.functional.mse_loss")
    expected = expectation(case, api)
    assert expected is not None
    name = case.second[0]
    exact = expected.second[name].low.astype(np.float32)
    answers: dict[str, Any] = {
        "right": to_wire(exact),
        "wrong": to_wire(exact * np.float32(1.01)),
        "none": None,
        "refused": Raised("backward", "runtime", "RuntimeError", "not implemented"),
    }
    output = to_wire(expected.output.low.astype(np.float32))
    gradients: dict[str, Any] = {n: to_wire(e.low.astype(np.float32)) for n, e in expected.gradients.items()}
    checks = judge(case, api, expected, Reply(0, output, gradients, second={name: answers[given]}))
    found = {check.check: (check.status, check.kind) for check in checks}[f"grad2.{name}"]
    wanted = {"right": ("pass", ""), "wrong": ("fail", "grad_value")}
    assert found == wanted.get(given, ("unsupported", ""))
