"""The margin losses: their laws, on every shipped case; their corners; what the documents print."""

from typing import Any

import numpy as np
import pytest

from conformance.arithmetic import Arithmetic, arithmetic
from conformance.arrays import NDArray
from conformance.definition import definitions
from conformance.load import Case, load_suite
from conformance.oracle import is_floating
from conformance.run import resolved_params

WIDE = np.longdouble
REDUCTIONS = ("none", "mean", "sum")
Params = dict[str, Any]
Tensors = dict[str, NDArray]

CASES = {
    case.id: case
    for op in load_suite(None, ["hinge_embedding_loss", "multi_margin_loss", "multilabel_margin_loss"])
    for case in op.cases
    if case.domain == "defined" and case.dtype == "float32"
    if max(tensor.size for tensor in case.tensors.values()) < 1e5
}
BATCHES = {name: case for name, case in CASES.items() if case.tensors["target"].ndim}
WEIGHTED = {name: case for name, case in CASES.items() if case.op.name == "multi_margin_loss"}


def arguments(case: Case) -> tuple[Tensors, Params]:
    """Return a shipped case's tensors in long double, and its parameters."""
    wide = {n: t.astype(WIDE) if is_floating(t) else t for n, t in case.tensors.items()}
    return wide, resolved_params(case, case.op.apis[0])


def cotangent(op: str, tensors: Tensors, params: Params) -> NDArray:
    """Return a cotangent that differs from element to element."""
    shape = definitions()[op](tensors, params).shape
    return np.asarray((np.arange(np.prod(shape), dtype=WIDE) % 7 - 3).reshape(shape))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_mean_and_sum_are_those_of_none(case: Case) -> None:
    """A reduction is nothing but the reduction of the unreduced losses."""
    tensors, params = arguments(case)
    losses = case.op.definition(tensors, params | {"reduction": "none"})
    summed = case.op.definition(tensors, params | {"reduction": "sum"})
    assert abs(summed - np.sum(losses)) <= 1e-17 * np.sum(abs(losses))
    if losses.size:
        mean = case.op.definition(tensors, params | {"reduction": "mean"})
        assert abs(mean - np.mean(losses)) <= 1e-17 * np.mean(abs(losses))


@pytest.mark.parametrize("case", BATCHES.values(), ids=BATCHES)
def test_rows_do_not_know_each_other(case: Case) -> None:
    """Reversing the batch reverses losses and gradients, and nothing else."""
    tensors, params = arguments(case)
    params |= {"reduction": "none"}
    turned = {n: t if n == "weight" else t[::-1] for n, t in tensors.items()}
    if case.op.name != "hinge_embedding_loss" and tensors["input"].ndim == 1:
        turned = {"input": tensors["input"], "target": tensors["target"]}
        assert case.op.definition(turned, params).shape == ()
        return
    op, v = case.op.definition, cotangent(case.op.name, tensors, params)
    assert np.array_equal(op(turned, params), op(tensors, params)[::-1])
    gradient, again = (op.pull_back(ct, t, params)["input"] for ct, t in ((v, tensors), (v[::-1], turned)))
    assert np.array_equal(again, gradient[::-1])


@pytest.mark.parametrize("case", WEIGHTED.values(), ids=WEIGHTED)
def test_ones_as_weights_are_no_weights(case: Case) -> None:
    """In output and gradient, bit for bit; and weights scale the losses of their class."""
    (tensors, params), op = arguments(case), case.op.definition
    bare = {n: t for n, t in tensors.items() if n != "weight"}
    ones = bare | {"weight": np.ones(tensors["input"].shape[-1], WIDE)}
    assert np.array_equal(op(bare, params), op(ones, params))
    v = cotangent(case.op.name, bare, params)
    plain, weighted = (op.pull_back(v, given, params)["input"] for given in (bare, ones))
    assert np.array_equal(plain, weighted)
    twos = op(bare | {"weight": 2 * ones["weight"]}, params)
    assert np.array_equal(twos, 2 * op(bare, params))


@pytest.mark.parametrize("case", WEIGHTED.values(), ids=WEIGHTED)
def test_the_variants_are_what_their_names_say(case: Case) -> None:
    """A weight inside the power is its p-th power outside; the weighted mean divides by the sum of w[y]."""
    (tensors, params), op = arguments(case), case.op.definition
    tensors["weight"] = abs(tensors.get("weight", np.ones(tensors["input"].shape[-1], WIDE))) + WIDE(0.5)
    outside = tensors | {"weight": tensors["weight"] ** params["p"]}
    inside = op(tensors, params, "weight_inside_power")
    assert np.all(abs(inside - op(outside, params)) <= 1e-17 * abs(inside))
    for reduction in ("none", "sum"):
        other = params | {"reduction": reduction}
        assert np.array_equal(op(tensors, other, "weighted_mean"), op(tensors, other))
    if tensors["target"].size:
        mean = op(tensors, params | {"reduction": "mean"}, "weighted_mean")
        summed = op(tensors, params | {"reduction": "sum"})
        assert abs(mean * np.sum(tensors["weight"][tensors["target"]]) - summed) <= 1e-17 * abs(summed)


@pytest.mark.parametrize("junk", [-1, 0, 1, 2, 4])
def test_labels_behind_the_first_minus_one_are_not_read(junk: int) -> None:
    """Whatever stands there, loss and gradient are the same; before it, a label counts."""
    x = np.array([[0.5, -0.25, 1.0, 2.0, 0.125]], WIDE)
    op = definitions()["multilabel_margin_loss"]
    clean, dirty = ({"input": x, "target": np.array([[3, 1, -1, j, j]])} for j in (-1, junk))
    read = {"input": x, "target": np.array([[3, 1, junk, -1, -1]])}
    assert op(clean, {}) == op(dirty, {})
    one, other = (op.pull_back(np.ones(()), t, {})["input"] for t in (clean, dirty))
    assert np.array_equal(one, other)
    assert (op(read, {}) != op(clean, {})) == (junk != -1)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_one_label_is_a_multi_class_hinge(reduction: str) -> None:
    """Two definitions, two code paths, one number."""
    x = np.array([[0.5, -0.25, 1.0], [2.0, 0.125, -1.5]], WIDE)
    one = {"input": x, "target": np.array([[1, -1, -1], [2, -1, 0]])}
    many = {"input": x, "target": np.array([1, 2])}
    params = {"reduction": reduction}
    got = definitions()["multilabel_margin_loss"](one, params)
    assert np.array_equal(got, definitions()["multi_margin_loss"](many, params))


# -- the corners ----------------------------------------------------------------------------------------

NAN, INF = np.nan, np.inf


def evaluate(op: str, tensors: dict[str, Any], **params: Any) -> Any:
    """Evaluate on lists, as nested lists."""
    arrays = {
        n: np.array(t, np.int64 if n == "target" and op != "hinge_embedding_loss" else WIDE)
        for n, t in tensors.items()
    }
    with arithmetic(Arithmetic()):
        return definitions()[op](arrays, {"reduction": "none"} | params).astype(float).tolist()


@pytest.mark.parametrize(
    ("op", "tensors", "expected"),
    [
        ("multi_margin_loss", {"input": [[INF, 0, 1]], "target": [0]}, [0.0]),
        ("multi_margin_loss", {"input": [[-INF, 0, 1]], "target": [0]}, [INF]),
        ("multi_margin_loss", {"input": [[0, -INF, 1]], "target": [0]}, [2 / 3]),
        ("multi_margin_loss", {"input": [[5], [7]], "target": [0, 0]}, [0.0, 0.0]),
        ("multi_margin_loss", {"input": np.zeros((0, 3)), "target": []}, []),
        ("multilabel_margin_loss", {"input": [[NAN, INF, 1]], "target": [[-1, 0, 1]]}, [0.0]),
        ("multilabel_margin_loss", {"input": [[INF, INF, 1]], "target": [[0, 1, -1]]}, [0.0]),
        ("multilabel_margin_loss", {"input": [[1, 2, 3]], "target": [[2, 1, 0]]}, [0.0]),
        ("hinge_embedding_loss", {"input": [INF, INF, -INF], "target": [1, -1, -1]}, [INF, 0.0, INF]),
        ("hinge_embedding_loss", {"input": 0.25, "target": -1}, 0.75),
    ],
)
def test_corners(op: str, tensors: dict[str, Any], expected: Any) -> None:
    """What is not in the sum does not poison it: infinities, absent labels, single classes, no rows."""
    assert evaluate(op, tensors) == pytest.approx(expected, abs=0, rel=1e-15)


def test_nan_reaches_its_own_row_only() -> None:
    """max(0, NaN) is NaN, and the next row is untouched."""
    losses = evaluate("multi_margin_loss", {"input": [[0, NAN], [0, 0.5]], "target": [0, 0]})
    assert np.array_equal(losses, [NAN, 0.75], equal_nan=True)


# What the current documents print, and to how many digits.
PRINTED = [
    ("multi_margin_loss", {"input": [[0.1, 0.2, 0.4, 0.8]], "target": [3]}, {"reduction": "mean"}, "0.325"),
    (
        "multi_margin_loss",
        {"input": [[1, 5, 3], [0, 3, 2], [1, 4, 1]], "target": [1, 2, 1]},
        {},
        "0 0.66666667 0",
    ),
    (
        "multi_margin_loss",
        {"input": [[1, -2, 3], [0, -1, 2], [1, 0, 1]], "target": [0, 1, 2]},
        {"reduction": "mean"},
        "1.1111111",
    ),
    (
        "multi_margin_loss",
        {"input": [[1, 1, 1]] * 3, "target": [1, 2, 1], "weight": [1, 1, 1]},
        {"reduction": "mean"},
        "0.6666667",
    ),
    (
        "multilabel_margin_loss",
        {"input": [[0.1, 0.2, 0.4, 0.8]], "target": [[3, 0, -1, 1]]},
        {"reduction": "mean"},
        "0.85",
    ),
    (
        "multilabel_margin_loss",
        {"input": [[0.1, 0.2, 0.4, 0.8], [0.2, 0.5, 0.3, 0.1]], "target": [[3, 0, -1, -1], [0, 2, -1, -1]]},
        {"reduction": "mean"},
        "0.95",
    ),
    (
        "hinge_embedding_loss",
        {"input": [[1, -2, 3], [0, -1, 2], [1, 0, 1]], "target": [[-1, 1, -1], [1, 1, 1], [1, -1, 1]]},
        {"reduction": "mean"},
        "0.22222222",
    ),
    (
        "hinge_embedding_loss",
        {
            "input": [[0.9, -1.2, 2], [0.8, 3.9, 2], [1, 0, -1]],
            "target": [[1, 1, -1], [1, -1, 1], [-1, 1, 1]],
        },
        {"reduction": "mean"},
        "0.1666667",
    ),
]


@pytest.mark.parametrize(("op", "tensors", "params", "printed"), PRINTED)
def test_the_reference_is_what_the_documents_print(
    op: str, tensors: dict[str, Any], params: Params, printed: str
) -> None:
    """Every printed digit of the documents' examples."""
    got = np.atleast_1d(evaluate(op, tensors, **params))
    for value, text in zip(got, printed.split(), strict=True):
        digits = len(text.partition(".")[2])
        assert f"{value:.{digits}f}" == text or text == "0" == f"{value:g}"
