"""Dtypes, their spacing, and arrays on the wire: held against NumPy and against the bits."""

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from conformance.arrays import (
    ENDLESS,
    EXACT,
    FLOATING,
    INTEGER,
    NDArray,
    absolute,
    bfloat16_as_float32,
    float32_as_bfloat16,
    from_wire,
    largest_finite,
    neighbour,
    numpy_dtype,
    powers,
    smallest_subnormal,
    spacing,
    to_wire,
    unit_roundoff,
)
from conformance.types import Array, Layout

NUMPY_FLOATS = ("float16", "float32", "float64")
BITS = {"float16": np.uint16, "bfloat16": np.uint16, "float32": np.uint32, "float64": np.uint64}
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def arrays_of_any_dtype(draw: st.DrawFn) -> NDArray:
    """Draw an array of any dtype and any bits, NaN payloads and subnormals included."""
    dtype = draw(st.sampled_from((*FLOATING, *INTEGER)))
    shape = draw(SHAPES)
    if dtype in BITS:
        return draw(hnp.arrays(BITS[dtype], shape)).view(numpy_dtype(dtype))
    return draw(hnp.arrays(dtype, shape))


@given(array=arrays_of_any_dtype(), layout=st.sampled_from(get_args(Layout)))
def test_wire_round_trip(array: NDArray, layout: Any) -> None:
    """Packing and unpacking keeps dtype, shape and every bit, in every dtype; the layout travels along."""
    wire = to_wire(array, layout)
    assert (wire.dtype, wire.shape, wire.layout) == (array.dtype.name, array.shape, layout)
    back = from_wire(wire)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()


def test_the_wire_does_not_keep_strides() -> None:
    """A transposed or strided array is packed in C order."""
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert from_wire(to_wire(array.T[::2])).tolist() == array.T[::2].tolist()


def test_the_wire_is_little_endian() -> None:
    """The bytes are the ones that the other side reads, whatever this machine's order is."""
    assert to_wire(np.array([1], np.int16)).data == b"\x01\x00"


@given(bits=hnp.arrays(np.uint16, SHAPES))
def test_bfloat16_through_float32_keeps_the_bits(bits: NDArray) -> None:
    """bfloat16 widened to float32 and narrowed again is the same 16 bits, NaN payloads included."""
    wire = Array("bfloat16", bits.shape, bits.tobytes())
    wide = bfloat16_as_float32(wire)
    assert (wide.dtype, wide.shape) == (np.float32, bits.shape)
    assert float32_as_bfloat16(wide) == wire


@given(bits=hnp.arrays(np.uint16, SHAPES))
def test_bfloat16_widens_to_the_same_numbers(bits: NDArray) -> None:
    """Widening without ml_dtypes gives the numbers that ml_dtypes gives."""
    wire = Array("bfloat16", bits.shape, bits.tobytes())
    np.testing.assert_array_equal(bfloat16_as_float32(wire), from_wire(wire).astype(np.float32))


@pytest.mark.parametrize("dtype", NUMPY_FLOATS)
@given(data=st.data())
def test_spacing_is_numpys(dtype: str, data: st.DataObject) -> None:
    """One ULP at a number of the dtype is np.spacing, from subnormals to the largest."""
    kind = np.dtype(dtype)
    value = data.draw(hnp.from_dtype(kind, allow_nan=False, allow_infinity=False))
    ulp = spacing(dtype, np.asarray(value, np.longdouble))
    with np.errstate(over="ignore"):
        expected = np.spacing(abs(value))  # of a negative float16, NumPy gives the step towards zero
    if np.isfinite(expected):
        assert float(ulp) == float(expected)
    else:  # at the largest number the next step is infinite, the spacing is not
        assert float(ulp) == float(abs(value) - abs(np.nextafter(value, kind.type(0))))


@pytest.mark.parametrize("dtype", FLOATING)
def test_spacing_at_the_edges(dtype: str) -> None:
    """At 0, among subnormals, at the smallest normal and around 1 the spacing is what the format says."""
    u, tiny = unit_roundoff(dtype), smallest_subnormal(dtype)
    below_one = np.nextafter(np.longdouble(1), np.longdouble(0))
    values = np.array([0.0, tiny, -3 * tiny, 1.0, below_one, -2.0], np.longdouble)
    assert spacing(dtype, values).tolist() == [tiny, tiny, tiny, 2 * u, u, 4 * u]


def test_spacing_where_nothing_is_finite() -> None:
    """At NaN and infinity the spacing is a number all the same: masks decide there, not numbers."""
    assert spacing("float32", np.array([np.nan, np.inf, -np.inf])).tolist() == [2.0**-149] * 3


@pytest.mark.parametrize("dtype", FLOATING)
def test_unit_roundoff_is_the_largest_relative_rounding(dtype: str) -> None:
    """1 + u rounds (to even) to 1, anything above rounds up: u is half the spacing at 1."""
    kind, u = numpy_dtype(dtype), unit_roundoff(dtype)
    one_and_more = np.array([1 + u, 1 + u * 1.001], np.longdouble)
    rounded = one_and_more.astype(np.float64 if dtype == "float64" else kind).astype(np.float64)
    assert rounded.tolist() == [1.0, 1 + 2 * u]


@pytest.mark.parametrize("dtype", NUMPY_FLOATS)
def test_ends_are_numpys(dtype: str) -> None:
    """The largest number and the smallest subnormal are those of np.finfo."""
    facts = np.finfo(dtype)
    assert largest_finite(dtype) == float(facts.max)
    assert smallest_subnormal(dtype) == float(facts.smallest_subnormal)


def test_ends_of_bfloat16_are_its_bits() -> None:
    """The largest and the smallest bfloat16 are 0x7F7F and 0x0001."""
    wide = bfloat16_as_float32(Array("bfloat16", (2,), np.array([0x7F7F, 0x0001], np.uint16).tobytes()))
    assert [largest_finite("bfloat16"), smallest_subnormal("bfloat16")] == wide.astype(np.float64).tolist()


@pytest.mark.parametrize("dtype", NUMPY_FLOATS)
@given(data=st.data(), up=st.booleans())
def test_neighbour_is_nextafter(dtype: str, data: st.DataObject, up: bool) -> None:
    """The neighbour is np.nextafter towards ±infinity, also of zero and at the ends."""
    kind = np.dtype(dtype)
    value = data.draw(hnp.from_dtype(kind, allow_nan=False, allow_infinity=False))
    with np.errstate(over="ignore"):
        expected = np.nextafter(value, kind.type(np.inf if up else -np.inf))
    assert neighbour(float(value), dtype, up=up) == float(expected)


@given(bits=st.integers(0x0001, 0x7F7E))
def test_neighbour_of_bfloat16_is_the_next_bit_pattern(bits: int) -> None:
    """Positive bfloat16 numbers in order are consecutive 16-bit patterns."""
    wire = Array("bfloat16", (3,), np.array([bits - 1, bits, bits + 1], np.uint16).tobytes())
    below, value, above = bfloat16_as_float32(wire).astype(np.float64).tolist()
    assert neighbour(value, "bfloat16", up=True) == above
    assert neighbour(value, "bfloat16", up=False) == below
    assert neighbour(-value, "bfloat16", up=True) == -below


def test_neighbour_rounds_first() -> None:
    """The neighbour of a number that the dtype does not hold is that of the nearest it holds."""
    assert neighbour(0.1, "float32", up=True) == float(np.nextafter(np.float32(0.1), np.float32(np.inf)))


@pytest.mark.parametrize("kind", [np.longdouble, np.float64, np.float32])
def test_powers_are_floors_of_logarithms(kind: type) -> None:
    """Also just below a power of two, where a logarithm is rounded up to it."""
    eight = kind(8)
    values: NDArray = np.array([1, 1.5, np.nextafter(eight, kind(0)), 8, -9, 0.2, 0, np.inf], kind)
    assert powers(values).tolist() == [0, 0, 2, 3, 3, -3, EXACT, ENDLESS]


@pytest.mark.parametrize("kind", [np.longdouble, np.float64, np.float32])
def test_what_is_made_positive_keeps_its_bits_but_the_sign(kind: type) -> None:
    """Zeros, infinities, NaN and a view that is not in order too."""
    values: NDArray = np.array([-0.0, 0.0, -1.5, 2.5, -np.inf, np.nan, 1e-40, -1e-40], kind)
    wanted = np.abs(values)
    for signed in (values.copy(), np.repeat(values, 2)[::2]):
        found = absolute(signed)
        assert np.array_equal(found, wanted, equal_nan=True)
        assert not np.signbit(found[~np.isnan(found)]).any()
