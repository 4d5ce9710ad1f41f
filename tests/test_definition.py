"""`@reference`: what a definition accepts, and what it turns a case's arguments into."""

import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance import definition
from conformance.arrays import NDArray
from conformance.definition import Definition, definitions, reference, working_kind
from conformance.errors import HarnessError


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test declares is gone after it."""
    monkeypatch.setattr(definition, "_registry", dict(definitions()))


def scaled() -> Definition:
    """Declare a small op, factor·x with an optional weight."""

    @reference(differentiable=("x", "weight"))
    def scaled(x: NDArray, weight: NDArray | None = None, factor: float = 1.0, power: int = 1) -> NDArray:
        return x**power * factor * (1 if weight is None else weight)

    return scaled


def with_vjp() -> tuple[Definition, list[dict[str, Any]]]:
    """Declare the same with a VJP, and note what that is called with."""
    op, seen = scaled(), list[dict[str, Any]]()

    @op.vjp
    def _(
        cotangent: NDArray, x: NDArray, weight: NDArray | None, factor: float, power: int
    ) -> dict[str, NDArray]:
        seen.append({"weight": weight, "factor": factor, "power": power, "kind": cotangent.dtype})
        return {"x": cotangent * factor, "weight": np.asarray(np.float64(7.0)) * x}

    return op, seen


def test_a_declared_op_is_registered_by_its_name() -> None:
    """The function's name is the op's, its arguments are the op's."""
    op = scaled()
    assert definitions()["scaled"] is op
    assert list(op.signature.parameters) == ["x", "weight", "factor", "power"]
    assert op.differentiable == ("x", "weight")


def test_an_op_has_one_reference() -> None:
    """A second declaration of the same name is refused, not silently preferred."""
    scaled()
    with pytest.raises(TypeError, match="'scaled' has two references"):
        scaled()


def test_a_vjp_takes_the_cotangent_and_the_same_arguments() -> None:
    """Another signature is refused at declaration, with the right one in the message."""
    op = scaled()
    with pytest.raises(TypeError, match="cotangent, x, weight, factor, power"):
        op.vjp(lambda cotangent, x, factor: {"x": cotangent * factor + x})
    assert op.vjp_function is None


def test_a_definition_without_a_vjp_has_no_gradient_to_give() -> None:
    """Asking for one is the harness's fault, and no zeros."""
    with pytest.raises(HarnessError, match="scaled"):
        scaled().pull_back(np.ones(2), {"x": np.ones(2)}, {})


def test_float_parameters_are_brought_to_the_working_dtype() -> None:
    """0.3 in float16 is the float16 nearest 0.3; the result has the inputs' dtype; int stays int."""
    x = np.ones(2, np.float16)
    result = scaled()({"x": x}, {"factor": 0.3, "power": 1})
    assert result.dtype == np.float16
    assert result[0] == np.float16(0.3)
    assert float(result[0]) != 0.3
    exact = definitions()["scaled"]({"x": x.astype(np.longdouble)}, {"factor": 0.3})
    assert exact.dtype == np.longdouble
    assert exact[0] == np.longdouble(0.3)


def test_a_vjp_gets_defaults_parameters_and_cotangent_in_the_working_dtype() -> None:
    """What the case leaves out is the signature's default, and an absent tensor is None."""
    op, seen = with_vjp()
    gradients = op.pull_back(np.ones(2), {"x": np.ones(2, np.float32)}, {"factor": 0.1})
    assert seen == [{"weight": None, "factor": np.float32(0.1), "power": 1, "kind": np.float32}]
    assert gradients["x"].dtype == np.float32


def test_an_absent_tensor_has_no_gradient() -> None:
    """A weight that was not given gets none; one that was gets one, in the working dtype."""
    op, _ = with_vjp()
    x = np.ones(2, np.float32)
    assert set(op.pull_back(np.ones(2), {"x": x}, {})) == {"x"}
    gradients = op.pull_back(np.ones(2), {"x": x, "weight": x}, {})
    assert gradients["weight"].dtype == np.float32
    assert gradients["weight"].tolist() == [7.0, 7.0]


def test_a_variant_is_called_by_its_name() -> None:
    """Another formula of the same op, beside the definition and not instead of it."""
    op = scaled()

    @op.variant
    def halved(x: NDArray) -> NDArray:
        return np.asarray(x / x.dtype.type(2))

    assert op({"x": np.ones(1)}, {}, "halved") == 0.5
    assert op({"x": np.ones(1)}, {}) == 1.0
    with pytest.raises(KeyError):
        op({"x": np.ones(1)}, {}, "tripled")


def test_the_working_dtype_is_that_of_the_first_floating_tensor() -> None:
    """Labels do not decide, and a case of labels alone is no case."""
    labels = np.zeros(2, np.int64)
    assert working_kind({"y": labels, "x": np.zeros(2, np.float16)}) == np.float16
    with pytest.raises(HarnessError, match="floating"):
        working_kind({"y": labels})


def test_every_reference_says_its_formula_and_its_source_and_has_a_derivative() -> None:
    """For all that is in reference/: docstring with a link, VJP below, differentiable inputs that exist."""
    shipped = definitions()
    assert {"multi_margin_loss", "hinge_embedding_loss", "multilabel_margin_loss"} <= set(shipped)
    for name, op in shipped.items():
        assert op.function.__doc__ is not None, name
        assert "Source: https://" in op.function.__doc__, name
        assert op.vjp_function is not None, name
        assert set(op.differentiable) <= set(op.signature.parameters), name
        assert op.differentiable, name


def test_every_file_in_reference_is_read() -> None:
    """A new file needs no entry in any list: each definition stands in one of the folder's files."""
    folder = Path(str(sys.modules["conformance.reference"].__file__)).parent
    files = {Path(inspect.getfile(op.function)).name for op in definitions().values()}
    assert files <= {path.name for path in folder.glob("*.py")}
    assert {f"conformance.reference.{path.stem}" for path in folder.glob("[a-z]*.py")} <= set(sys.modules)
