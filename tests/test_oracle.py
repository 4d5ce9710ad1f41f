"""The oracle: its bounds are numbers, its precisions agree, and only kinks and NaN widen what it says."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from conformance.arrays import NDArray, numpy_dtype, smallest_subnormal, unit_roundoff
from conformance.definition import definitions
from conformance.errors import HarnessError
from conformance.load import Case
from conformance.oracle import EXTENDED, ORACLE_DTYPE, Exact, exact_gradients, exact_output
from conformance.run import expectation, request_for, resolved_params
from conformance.types import Array, Request
from tests.shipped import SEEDS, able, spread, suite

FLOAT64 = np.dtype(np.float64)
NAN, INF = np.nan, np.inf

MOST = 12
"""So many cases of an op that is no seed."""


@cache
def cases() -> list[Case]:
    """Return every small case of the seed ops that the definition fixes, and some of each other op."""
    return [
        case
        for op in suite()
        for case in spread(op, len(op.cases) if op.name in SEEDS else MOST, "defined", "extended")
    ]


@pytest.fixture(scope="module")
def quantities() -> list[tuple[Case, str, Exact]]:
    """Everything the oracle says about the shipped cases, evaluated once."""
    return [(case, name, exact) for case in cases() for name, exact in evaluated(case)]


def evaluated(case: Case) -> Iterator[tuple[str, Exact]]:
    """Yield what the oracle says of each quantity of a case."""
    expected = expectation(case, able(case))
    assert expected is not None
    yield "output", expected.output
    for name, exact in expected.gradients.items():
        yield f"grad.{name}", exact


def gradient(op: str, tensors: dict[str, Any], ct: Any, dtype: str = "float32", **params: Any) -> Exact:
    """Ask for the gradient by the input, of arrays in `dtype`."""
    kind = numpy_dtype(dtype)
    arrays = {
        n: np.array(t, np.int64 if n == "target" and op.startswith("multi") else kind)
        for n, t in tensors.items()
    }
    return exact_gradients(definitions()[op], arrays, params, dtype, np.array(ct, kind), ("input",))["input"]


def hinge(x: list[Any], dtype: str = "float32", margin: float = 1.0) -> Exact:
    """Return the gradient of the hinge embedding loss for dissimilar pairs and a cotangent of ones."""
    tensors = {"input": x, "target": [-1] * len(x)}
    return gradient("hinge_embedding_loss", tensors, [1] * len(x), dtype, margin=margin, reduction="none")


# -- every shipped case ---------------------------------------------------------------------------------


def test_there_are_cases_to_look_at() -> None:
    """An empty suite would prove everything below."""
    assert len(cases()) > 500
    assert {case.dtype for case in cases()} == {"float16", "bfloat16", "float32", "float64"}


def test_every_bound_is_a_positive_number(quantities: list[tuple[Case, str, Exact]]) -> None:
    """Also where the value is NaN or infinite; and no interval is upside down."""
    for case, name, exact in quantities:
        assert np.all(np.isfinite(exact.bound)), (case.id, name)
        assert np.all(exact.bound >= smallest_subnormal(case.dtype)), (case.id, name)
        assert np.all((exact.low <= exact.high) | np.isnan(exact.low)), (case.id, name)
        assert exact.dtype == case.dtype


@pytest.mark.skipif(not EXTENDED, reason="this platform's oracle is the float64 one")
def test_the_float64_oracle_contains_the_extended_one() -> None:
    """Where a platform has no long double, the bound makes up for it: the two answers agree within it.

    Of a float64 case the float64 oracle is one honest program more: it stays within the extended bound.
    """
    for case in cases():
        definition, params = case.op.definition, resolved_params(case, able(case))
        given = (definition, case.tensors, params, case.dtype)
        narrow, wide = exact_output(*given, oracle=FLOAT64), exact_output(*given)
        pairs = [(narrow, wide)]
        wanted = tuple(n for n in case.gradients if n in definition.differentiable)
        if wanted:
            ct = case.cotangent(wide.low.shape).astype(numpy_dtype(case.dtype))
            both = [exact_gradients(*given, ct, wanted, oracle=kind) for kind in (FLOAT64, ORACLE_DTYPE)]
            pairs += [(both[0][n], both[1][n]) for n in wanted]
        for ours, theirs in pairs:
            for end in ("low", "high"):
                narrow_end, wide_end = getattr(ours, end).astype(np.longdouble), getattr(theirs, end)
                with np.errstate(invalid="ignore", over="ignore"):  # float64 overflows before longdouble does
                    same = (narrow_end == wide_end.astype(np.float64)) | (
                        np.isnan(narrow_end) & np.isnan(wide_end)
                    )
                    bound = np.maximum(ours.bound, theirs.bound) if case.dtype == "float64" else ours.bound
                    assert np.all(same | (abs(narrow_end - wide_end) <= bound)), case.id


# A plain loop over a thousand equal terms v/C rounds the same way each time, so its error grows with their
# number and not with its root; and every label of a row has such a loop. Honest programs do that.
SYSTEMATIC = {("multilabel_margin_loss/many-classes[float32,none]", "grad.input")}


def test_no_working_error_dominates_its_bound(quantities: list[tuple[Case, str, Exact]]) -> None:
    """A reference that loses accuracy would excuse everybody: the working error stays within 50 roundings.

    The functions of logits cancel in corners made for that (p·(1 − p) where p is all but 1), which costs
    every honest program more; but not in one case in five of any op, and the seed ops not at all.
    """
    dominating: dict[str, list[tuple[str, str]]] = defaultdict(list)
    looked_at: Counter[str] = Counter()
    for case, name, exact in quantities:
        terms = {term: float(np.sum(values)) for term, values in exact.terms.items()}
        looked_at[case.op.name] += 1
        if terms["working"] > 50 * (terms["rounding"] + terms["sensitivity"]):
            dominating[case.op.name].append((case.id, name))
            assert case.op.name not in SEEDS or terms["working"] < 200 * terms["rounding"]
    assert {each for op in SEEDS for each in dominating[op]} == SYSTEMATIC
    suspect = {op: found for op, found in dominating.items() if len(found) > looked_at[op] / 5}
    assert suspect == {}


def test_nothing_is_undecided_where_the_mathematics_is_defined(
    quantities: list[tuple[Case, str, Exact]],
) -> None:
    """Only NaN and infinities among the inputs leave slopes open."""
    for case, name, exact in quantities:
        assert case.domain == "extended" or not exact.undecided.any(), (case.id, name)
        assert not (name == "output" and exact.undecided.any()), (case.id, name)


def test_a_request_has_no_room_for_an_expected_value() -> None:
    """A worker sees inputs, parameters and a cotangent; the cotangent does not depend on the answer."""
    fields = (
        "id",
        "binding",
        "tensors",
        "params",
        "gradients",
        "cotangent",
        "directions",
        "isolated",
        "held",
    )
    assert Request.__struct_fields__ == fields
    case = next(c for c in cases() if c.name == "basic")
    api = able(case)
    expected = expectation(case, api)
    assert expected is not None
    request = request_for(case, api, 1, expected)
    assert set(request.tensors) == set(case.tensors)
    answer = expected.output.low.astype(numpy_dtype(case.dtype)).tobytes()
    arrays = (*request.tensors.values(), *request.directions.values(), request.cotangent)
    sent = [a.data for a in arrays if isinstance(a, Array)]
    assert answer not in sent


# -- where a bound comes from ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_copied_value_is_known_to_a_few_roundings(dtype: str) -> None:
    """X itself: one rounding and its own sensitivity, K times, and no working error."""
    x = np.array([0.5, -3.0], numpy_dtype(dtype))
    tensors = {"input": x, "target": np.ones(2)}
    exact = exact_output(definitions()["hinge_embedding_loss"], tensors, {"reduction": "none"}, dtype)
    u = unit_roundoff(dtype)
    assert exact.low.tolist() == [0.5, -3.0]
    assert not exact.terms["working"].any()
    assert exact.terms["rounding"].tolist() == [0.5 * u, 3 * u]
    assert np.allclose(exact.bound.astype(float), [4 * u, 24 * u], rtol=1e-2)


def test_cancellation_is_sensitivity() -> None:
    """1 − x near x = 1: what is left is small, but not what the input may have lost."""
    x = np.array([1 - 2.0**-20], np.float32)
    tensors = {"input": x, "target": -np.ones(1, np.float32)}
    exact = exact_output(definitions()["hinge_embedding_loss"], tensors, {"reduction": "none"}, "float32")
    assert exact.low[0] == 2.0**-20
    assert exact.terms["sensitivity"][0] == pytest.approx(2.0**-24, rel=1e-5)


def test_a_parameter_that_the_dtype_cannot_hold_is_sensitive_and_one_it_holds_is_not() -> None:
    """0.3 has to be rounded by every program; 0.5 by none."""
    tensors = {"input": np.zeros(1, np.float32), "target": -np.ones(1, np.float32)}
    op = definitions()["hinge_embedding_loss"]
    inexact, exact = (
        exact_output(op, tensors, {"margin": margin, "reduction": "none"}, "float32") for margin in (0.3, 0.5)
    )
    assert inexact.terms["sensitivity"][0] == pytest.approx(0.3 * 2.0**-24, rel=1e-6)
    assert exact.terms["sensitivity"][0] == 0


def test_labels_are_names_and_do_not_move() -> None:
    """A label held in a float is not perturbed: −1 + u would be another label."""
    tensors = {"input": np.array([0.5], np.float32), "target": -np.ones(1, np.float32)}
    exact = exact_output(definitions()["hinge_embedding_loss"], tensors, {"reduction": "none"}, "float32")
    assert exact.terms["sensitivity"][0] < 2.0**-24


def test_sums_allow_for_their_order() -> None:
    """A thousand terms one after another round more than in pairs, and the bound knows."""
    rng = np.random.default_rng(0)
    few, many = (rng.uniform(1, 2, n).astype(np.float32) for n in (4, 4096))
    op, errors = definitions()["hinge_embedding_loss"], []
    for x in (few, many):
        exact = exact_output(op, {"input": x, "target": np.ones(len(x))}, {"reduction": "sum"}, "float32")
        errors.append(float(exact.terms["working"] / exact.low))
    assert errors[1] > 4 * errors[0]


def test_the_bound_of_a_gradient_does_not_depend_on_where_the_cotangent_is_applied() -> None:
    """A program that multiplies by the cotangent last rounds the terms of ±1: they are in the bound."""
    x = np.tile(np.linspace(0, 0.5, 100), (1, 1))
    ones, other = (
        gradient("multi_margin_loss", {"input": x, "target": [3]}, [ct], reduction="none")
        for ct in (1.0, 0.75)
    )
    assert np.all(other.terms["working"] >= 0.75 * ones.terms["working"])


def test_a_bound_that_is_no_number_is_a_harness_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """An oracle that cannot bound itself accuses nobody."""
    monkeypatch.setattr("conformance.oracle.K_OUTPUT", NAN)
    with pytest.raises(HarnessError, match="bound"):
        exact_output(
            definitions()["hinge_embedding_loss"], {"input": np.ones(1), "target": np.ones(1)}, {}, "float64"
        )


# -- kinks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_one_rounding_beside_a_kink_the_slope_is_sharp(dtype: str) -> None:
    """Neither sensitivity nor working crosses the kink: the bound is far below the jump."""
    one = numpy_dtype(dtype).type(1)
    below, above = (np.nextafter(one, numpy_dtype(dtype).type(end)) for end in (0, 2))
    exact = hinge([below, above], dtype)
    assert exact.kinks == 0
    assert exact.low.tolist() == exact.high.tolist() == [-1.0, 0.0]
    assert np.all(exact.bound < 32 * unit_roundoff(dtype))


def test_on_a_kink_there_is_an_interval() -> None:
    """X = margin leaves [−1, 0], scaled by the cotangent; its neighbours' answers stay points."""
    exact = hinge([1.0, 0.5, 2.0])
    assert exact.low.tolist() == [-1.0, -1.0, 0.0]
    assert exact.high.tolist() == [0.0, -1.0, 0.0]
    assert exact.kinks == 1
    assert not exact.undecided.any()


def test_a_square_has_no_kink() -> None:
    """P = 2: the slope is continuous, so 0 is the only answer."""
    tensors = {"input": [[0.0, -1.0, 1.0]], "target": [0]}
    flat = gradient("multi_margin_loss", tensors, [3.0], p=2, reduction="none")
    kinked = gradient("multi_margin_loss", tensors, [3.0], p=1, reduction="none")
    assert flat.kinks == 0
    assert flat.low.tolist() == [[-4.0, 0.0, 4.0]]
    assert kinked.low.tolist() == [[-2.0, 0.0, 1.0]]
    assert kinked.high.tolist() == [[-1.0, 1.0, 1.0]]


def test_a_margin_that_is_rounded_has_its_kink_where_the_exact_one_is() -> None:
    """Margin 0.3 in float32 and x = float32(0.3): the oracle decides by the margin as the call gives it."""
    x = np.float32(0.3)
    exact = hinge([x], margin=0.3)
    assert float(x) > 0.3
    assert exact.low[0] == 0.0


# -- NaN and infinities ----------------------------------------------------------------------------------


def test_the_slope_at_a_nan_is_undecided_and_its_neighbours_are_not() -> None:
    """A step at NaN may be 0, 1 or NaN; the other elements are still compared."""
    exact = hinge([NAN, 0.5])
    assert exact.undecided.tolist() == [True, False]
    assert exact.low[1] == -1.0


def test_a_nan_in_one_row_leaves_the_other_rows_decided() -> None:
    """Only what hangs on it is open."""
    exact = gradient(
        "multi_margin_loss",
        {"input": [[0.5, NAN, 1.0], [0.5, 1.0, 0.25]], "target": [0, 1]},
        [1.0, 1.0],
        reduction="none",
    )
    assert exact.undecided[0].any()
    assert not exact.undecided[1].any()


def test_infinities_decide() -> None:
    """An open hinge at −∞ has slope 1, a closed one at +∞ slope 0."""
    exact = hinge([INF, -INF])
    assert exact.low.tolist() == exact.high.tolist() == [0.0, -1.0]
    assert not exact.undecided.any()


def test_overflow_has_a_finite_bound() -> None:
    """(6e4)² in float16 is beyond the largest number: the value stays exact, the bound a number."""
    tensors: dict[str, NDArray] = {"input": np.array([[0, 6e4]], np.float16), "target": np.array([0])}
    exact = exact_output(
        definitions()["multi_margin_loss"], tensors, {"p": 2, "reduction": "none"}, "float16"
    )
    assert exact.low[0] > 1e9
    assert np.isfinite(exact.bound[0])
    assert exact.low[0] - exact.bound[0] > 65504


def test_bfloat16_inputs_are_evaluated_as_the_numbers_they_are() -> None:
    """0.1 in bfloat16 is 0.10009765625, and that is what the oracle starts from."""
    x = np.array([0.1], ml_dtypes.bfloat16)
    exact = exact_output(
        definitions()["hinge_embedding_loss"],
        {"input": x, "target": np.ones(1)},
        {"reduction": "none"},
        "bfloat16",
    )
    assert exact.low[0] == 0.10009765625
