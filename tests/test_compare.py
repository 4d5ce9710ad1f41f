"""The comparison: dtype, shape, masks, then numbers; and it says how much it compared."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.arrays import NDArray, largest_finite, numpy_dtype, to_wire
from conformance.compare import Check, compare, digest_of
from conformance.errors import HarnessError
from conformance.oracle import Exact

NAN, INF = np.nan, np.inf
MAX = largest_finite("float32")


def exact(
    low: Any, bound: Any = 1e-6, *, high: Any = None, dtype: str = "float32", undecided: Any = False
) -> Exact:
    """Make an oracle's answer by hand."""
    values = np.array(low, np.longdouble)
    top = values if high is None else np.array(high, np.longdouble)
    bounds = np.broadcast_to(np.array(bound, np.longdouble), values.shape)
    terms = {"rounding": bounds / 4, "sensitivity": bounds * 0, "working": bounds * 0}
    return Exact(values, top, bounds, terms, np.broadcast_to(np.array(undecided), values.shape), dtype)


def held(got: Any, answer: Exact, check: str = "output", *, signed_zero: bool = False) -> Check:
    """Compare values given as lists, in the answer's dtype."""
    array: NDArray = np.array(got, numpy_dtype(answer.dtype))
    return compare(check, to_wire(array), answer, signed_zero=signed_zero)


# -- what a tensor is, before what it holds ------------------------------------------------------------


def test_the_dtype_is_compared_first() -> None:
    """The right numbers in another dtype are `dtype`, even where the shape differs too."""
    check = compare("output", to_wire(np.ones(3)), exact([1.0, 1.0]))
    assert (check.status, check.kind, check.compared) == ("fail", "dtype", 0)
    assert check.message == "dtype float64, the definition gives float32"


@pytest.mark.parametrize("shape", [(2, 1), (1, 2), (), (0,), (3,)])
def test_the_shape_is_compared_second(shape: tuple[int, ...]) -> None:
    """Nothing is broadcast: [2, 1] is not [2], and a scalar is not a vector of one."""
    check = compare("output", to_wire(np.ones(shape, np.float32)), exact([1.0, 1.0]))
    assert (check.status, check.kind) == ("fail", "shape")
    assert check.message == f"shape {list(shape)}, the definition gives [2]"


def test_an_empty_array_passes_by_its_dtype_and_shape_and_says_so() -> None:
    """Nothing to compare where nothing is defined; the count says 0 and the message why."""
    check = held(np.zeros((0, 3)), exact(np.zeros((0, 3))))
    assert (check.status, check.compared) == ("pass", 0)
    assert "empty" in check.message
    assert held(np.zeros((3, 0)), exact(np.zeros((0, 3)))).kind == "shape"


def test_a_scalar_is_compared() -> None:
    """Rank 0 has one element, at index ()."""
    assert (held(1.0, exact(1.0)).compared, held(2.0, exact(1.0)).worst) == (1, ())
    assert held(2.0, exact(1.0)).message == "got 2, exact 1, bound 1e-06"


# -- masks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "wanted", "kind"),
    [
        (NAN, NAN, ""),
        (INF, INF, ""),
        (-INF, -INF, ""),
        (NAN, 1.0, "nonfinite"),
        (1.0, NAN, "nonfinite"),
        (INF, 1.0, "nonfinite"),
        (1.0, INF, "nonfinite"),
        (MAX, INF, "nonfinite"),
        (-INF, INF, "nonfinite"),
        (INF, -INF, "nonfinite"),
        (NAN, INF, "nonfinite"),
        (INF, NAN, "nonfinite"),
        (0.0, NAN, "nonfinite"),
    ],
)
def test_nan_and_infinities_are_masks(got: float, wanted: float, kind: str) -> None:
    """Each has to stand where it should and nowhere else; no number is close to one of them."""
    check = held([1.0, got], exact([1.0, wanted]))
    assert (check.status, check.kind) == ("fail" if kind else "pass", kind)
    assert check.compared == 2
    assert check.mismatched == (1 if kind else 0)
    if kind:
        assert check.worst == (1,)


def test_a_wrong_mask_is_the_worst_element_whatever_the_numbers() -> None:
    """A NaN outranks an error of a million bounds, and both are counted."""
    check = held([2.0, NAN, 1.0], exact([1.0, 1.0, 1.0]))
    assert (check.kind, check.worst, check.mismatched) == ("nonfinite", (1,), 2)
    assert check.got is not None
    assert np.isnan(check.got)


@pytest.mark.parametrize(
    ("dtype", "largest", "half"), [("float32", MAX, 2.0**103), ("float16", 65504.0, 16.0)]
)
def test_near_the_largest_number_rounding_decides_what_is_infinite(
    dtype: str, largest: float, half: float
) -> None:
    """Beyond the largest number by half a spacing and more is infinity; below that, it is a number."""
    far = exact([largest + 4 * half], half / 8, dtype=dtype)
    below = exact([largest - 4 * half], half / 8, dtype=dtype)
    edge = exact([largest + half], half, dtype=dtype)
    assert held([INF], far).status == "pass"
    assert held([largest], far).kind == "nonfinite"
    assert held([largest - 4 * half], below).status == "pass"
    assert held([INF], below).kind == "nonfinite"
    assert held([INF], edge).status == held([largest], edge).status == "pass"
    assert held([-INF], edge).kind == "nonfinite"


def test_the_sign_of_a_zero_counts_only_where_the_definition_fixes_it() -> None:
    """−0.0 is 0.0 unless the case says otherwise; then only a zero's sign counts."""
    answer = exact([0.0, 1.0, -0.0])
    assert held([-0.0, 1.0, 0.0], answer).status == "pass"
    check = held([-0.0, 1.0, -0.0], answer, signed_zero=True)
    assert (check.status, check.kind, check.worst, check.mismatched) == ("fail", "value", (0,), 1)
    assert held([0.0, 1.0, -0.0], answer, signed_zero=True).status == "pass"
    assert held([1e-9, 1.0, -0.0], answer, signed_zero=True).status == "pass"


# -- numbers ---------------------------------------------------------------------------------------------


def test_the_bound_itself_conforms_and_the_next_number_does_not() -> None:
    """Error/bound ≤ 1 is the whole criterion."""
    answer = exact([1.0], 2.0**-20)
    inside, outside = np.float32(1 + 2.0**-20), np.nextafter(np.float32(1 + 2.0**-20), np.float32(2))
    assert held([inside], answer).error_over_bound == 1.0
    assert held([inside], answer).status == "pass"
    assert (held([outside], answer).status, held([outside], answer).kind) == ("fail", "value")


def test_the_kind_of_a_wrong_gradient_is_its_own() -> None:
    """The same numbers are `value` as an output and `grad_value` as a gradient."""
    assert held([2.0], exact([1.0])).kind == "value"
    assert held([2.0], exact([1.0]), "grad.input").kind == "grad_value"


@pytest.mark.parametrize(
    ("dtype", "wanted", "got", "ulp"),
    [
        ("float32", 1.0, 1 + 2.0**-22, 2.0),
        ("float32", 1.5, 1.5 + 2.0**-23, 1.0),
        ("float32", 4.0, 4 + 2.0**-21, 1.0),
        ("float32", 2.0**-149, 2.0**-148, 1.0),
        ("float64", 1.0, 1 + 2.0**-50, 4.0),
        ("float16", 1.0, 1 + 3 * 2.0**-10, 3.0),
        ("float16", 2.0**-24, 3 * 2.0**-24, 2.0),
        ("bfloat16", 1.0, 1 + 2.0**-7, 1.0),
        ("bfloat16", 256.0, 260.0, 2.0),
        ("float32", 0.0, 2.0**-149, 1.0),
    ],
)
def test_ulps_are_spacings_at_the_exact_value(dtype: str, wanted: float, got: float, ulp: float) -> None:
    """Figures computed by hand, among the normals and the denormals of each dtype."""
    check = held([got], exact([wanted], 1e-30 + abs(wanted) / 4, dtype=dtype))
    assert check.max_ulp == ulp
    assert check.got == got


def test_the_figures_of_a_failure_are_those_of_its_worst_elements() -> None:
    """Max abs, rel and ratio are maxima each; worst is where error/bound is largest, not the error."""
    check = held([[1.5, 100.0], [8.0, 4.0]], exact([[1.0, 101.0], [8.0, 4.0]], [[0.125, 10.0], [1.0, 1.0]]))
    assert check.status == "fail"
    assert (check.error_over_bound, check.max_abs, check.max_rel) == (4.0, 1.0, 0.5)
    assert (check.worst, check.expected, check.got, check.bound) == ((0, 0), 1.0, 1.5, 0.125)
    assert check.bound_terms == {"rounding": 0.03125, "sensitivity": 0.0, "working": 0.0}
    assert (check.compared, check.mismatched) == (4, 1)
    assert check.message == "at [0, 0]: got 1.5, exact 1, bound 0.125"


def test_a_pass_has_figures_too_and_no_message() -> None:
    """How near to its bound something is, is recorded also when it conforms."""
    check = held([1.0, 2.25], exact([1.0, 2.0], 1.0))
    assert (check.status, check.error_over_bound, check.max_abs, check.mismatched) == ("pass", 0.25, 0.25, 0)
    assert check.message == ""


# -- kinks and what is undecided ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "status", "convention"),
    [
        ([0.0, 3.0], "pass", "below"),
        ([2.0, 3.0], "pass", "above"),
        ([1.0, 3.0], "pass", "middle"),
        ([-1.0, 3.0], "fail", "mixed"),
        ([3.0, 3.0], "fail", "mixed"),
        ([0.0, 9.0], "fail", "below"),
    ],
)
def test_at_a_kink_any_subgradient_conforms_and_is_recorded(
    got: list[float], status: str, convention: str
) -> None:
    """Inside [low, high] is error 0; outside it counts from the nearer end."""
    check = held(got, exact([0.0, 3.0], 1e-3, high=[2.0, 3.0]), "grad.input")
    assert (check.status, check.convention) == (status, convention)
    if got == [3.0, 3.0]:
        assert check.max_abs == 1.0
        assert check.expected == (0.0, 2.0)
        assert "in [0, 2]" in check.message


def test_a_negative_cotangent_does_not_swap_the_conventions() -> None:
    """The end with the slope below is then the higher one: −1 · 0 above −1 · 1."""
    answer = replace(exact([-1.0, 0.0], high=[0.0, 1.0]), below=np.array([0.0, 0.0], np.longdouble))
    assert held([0.0, 0.0], answer, "grad.input").convention == "below"
    assert held([-1.0, 1.0], answer, "grad.input").convention == "above"
    assert held([-0.5, 0.5], answer, "grad.input").convention == "middle"


def test_a_backend_that_picks_both_ends_has_no_single_convention() -> None:
    """The slope below here and above there is neither; without kinks there is nothing to record."""
    assert held([0.0, 1.0], exact([0.0, 0.0], high=[1.0, 1.0])).convention == "mixed"
    assert held([0.0, 1.0], exact([0.0, 1.0])).convention == ""


def test_undecided_elements_are_not_compared_and_counted() -> None:
    """Whatever stands there conforms; the others are compared as ever."""
    answer = exact([NAN, 1.0, 1.0], undecided=[True, False, False])
    for anything in (NAN, 0.0, INF, -5.0):
        check = held([anything, 1.0, 1.0], answer)
        assert (check.status, check.compared, check.undecided) == ("pass", 2, 1)
    assert held([NAN, 1.0, NAN], answer).kind == "nonfinite"
    assert held([7.0, 1.0, 2.0], answer).worst == (2,)


def test_all_undecided_is_observed_and_never_a_pass() -> None:
    """A comparison of nothing does not conform; what was given keeps its digest."""
    check = held([0.0, NAN], exact([NAN, NAN], undecided=True))
    assert (check.status, check.compared, check.undecided) == ("observed", 0, 2)
    assert check.digest
    assert check.error_over_bound is None


# -- the harness's own safety ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_every_dtype_passes_by_its_own_bits(dtype: str) -> None:
    """Numbers that the dtype holds are equal to themselves, out of the wire and back."""
    check = held([0.5, -1.25, 96.0], exact([0.5, -1.25, 96.0], 1e-9, dtype=dtype))
    assert (check.status, check.max_ulp, check.compared) == ("pass", 0.0, 3)


def test_a_digest_names_bits_shape_and_dtype() -> None:
    """Who agrees with whom: equal digests are equal results, and −0.0 is other bits than 0.0."""
    one, same = to_wire(np.ones(2, np.float32)), to_wire(np.ones(2, np.float32))
    assert digest_of(one) == digest_of(same)
    others: list[NDArray] = [np.ones((2, 1), np.float32), np.array([1, 1 + 2.0**-23], np.float32), np.ones(1)]
    assert len({digest_of(to_wire(other)) for other in others} | {digest_of(one)}) == 4
    zeros = [digest_of(to_wire(np.array([zero], np.float32))) for zero in (0.0, -0.0)]
    assert zeros[0] != zeros[1]


def test_a_bound_that_is_no_number_is_a_fault_of_ours() -> None:
    """NaN as a bound would make every comparison false: it is refused, not passed."""
    with pytest.raises(HarnessError):
        held([1.0], exact([1.0], NAN))
