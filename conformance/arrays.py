"""Dtypes by name, their spacing, and arrays to and from the wire.

bfloat16 is `ml_dtypes.bfloat16` on our side and raw 16-bit patterns on the wire, so that a worker
needs NumPy alone.
"""

import sys
from functools import cache
from typing import Any

import numpy as np

from conformance.types import Array, Layout

NDArray = np.ndarray[Any, Any]

FLOATING = ("float16", "bfloat16", "float32", "float64")
INTEGER = ("int8", "int16", "int32", "int64", "uint8", "bool")

# name: (unit roundoff u, smallest positive subnormal, smallest normal, largest finite), as powers of two
_FLOAT_FACTS = {
    "float16": (-11, -24, -14, 65504.0),
    "bfloat16": (-8, -133, -126, float.fromhex("0x1.fep127")),
    "float32": (-24, -149, -126, float.fromhex("0x1.fffffep127")),
    "float64": (-53, -1074, -1022, float.fromhex("0x1.fffffffffffffp1023")),
}


def unit_roundoff(dtype: str) -> float:
    """Half the spacing at one: the largest relative error of one rounding to `dtype`."""
    return float(2.0 ** _FLOAT_FACTS[dtype][0])


def smallest_subnormal(dtype: str) -> float:
    """Return the smallest positive number of `dtype`."""
    return float(2.0 ** _FLOAT_FACTS[dtype][1])


def largest_finite(dtype: str) -> float:
    """Return the largest finite number of `dtype`."""
    return _FLOAT_FACTS[dtype][3]


@cache
def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the NumPy dtype for a name of ours; bfloat16 comes from ml_dtypes."""
    if name == "bfloat16":
        import ml_dtypes  # noqa: PLC0415 - workers import this module and must not need ml_dtypes

        name = ml_dtypes.bfloat16
    dtype: np.dtype[Any] = np.dtype(name)
    return dtype


def spacing(dtype: str, value: NDArray) -> NDArray:
    """One ULP of `dtype` at each exact `value`: 2**(floor(log2|v|) − p + 1), never below the subnormal."""
    if value.dtype not in _EXPONENTS:
        return _spacing(dtype, value)
    # By the exponent's own bits, and a table: taking numbers apart takes longer than all of a comparison.
    return np.asarray(_spacings(dtype, value.dtype).take(_exponents(value)).reshape(value.shape))


def absolute(value: NDArray) -> NDArray:
    """Make numbers positive, in place; NumPy's loop over long doubles waits at every other random sign."""
    if value.dtype not in _EXPONENTS or not value.flags.c_contiguous:
        return np.abs(value, out=value)
    word, place, _, _ = _EXPONENTS[value.dtype]
    flat = value.reshape(-1).view(word)
    flat[place :: value.dtype.itemsize // word.itemsize] &= word.type(np.iinfo(word).max >> 1)
    return value


EXACT, ENDLESS = -(1 << 30), 1 << 30


def powers(value: NDArray) -> NDArray:
    """Return floor(log2|v|) of each number [n]: `EXACT` of 0 (and of what is subnormal), `ENDLESS` of ∞."""
    if value.dtype in _EXPONENTS:
        most = int(_EXPONENTS[value.dtype][3])
        bits = _exponents(value)
        return _powers(most).take(bits)
    found = np.frexp(value)[1].astype(np.int32) - 1
    found[value == 0] = EXACT
    found[~np.isfinite(value)] = ENDLESS
    return found


@cache
def _powers(most: int) -> NDArray:
    """Return the power of two that each exponent stands for."""
    found = np.arange(most + 1, dtype=np.int32) - most // 2
    found[0], found[-1] = EXACT, ENDLESS
    return found


def _exponents(value: NDArray) -> NDArray:
    """Return the bits of the exponent of each number, in C order: 0 of a subnormal one."""
    word, place, shift, mask = _EXPONENTS[value.dtype]
    flat = np.ascontiguousarray(value).reshape(-1).view(word)
    return np.asarray((flat[place :: value.dtype.itemsize // word.itemsize] >> shift) & mask)


_EXPONENTS: dict[np.dtype[Any], tuple[np.dtype[Any], int, Any, Any]] = {}
"""Where the exponent of a number stands: (word, which word of a number, bits below it, its mask)."""
if sys.byteorder == "little":
    _EXPONENTS[np.dtype(np.float64)] = (np.dtype(np.uint64), 0, np.uint64(52), np.uint64(0x7FF))
    if np.finfo(np.longdouble).nmant == 63 and np.dtype(np.longdouble).itemsize == 16:
        # The 80 bits of x87: 64 of the significand, then 15 of the exponent and the sign.
        _EXPONENTS[np.dtype(np.longdouble)] = (np.dtype(np.uint16), 4, np.uint16(0), np.uint16(0x7FFF))


@cache
def _spacings(dtype: str, wide: np.dtype[Any]) -> NDArray:
    """One ULP of `dtype` at numbers of `wide`, by the bits of their exponent."""
    count = int(_EXPONENTS[wide][3]) + 1
    with np.errstate(all="ignore"):
        powers = np.ldexp(wide.type(1), np.arange(count) - count // 2 + 1)
    powers[0] = powers[-1] = 0  # subnormal numbers; infinities and NaN
    return _spacing(dtype, powers)


def _spacing(dtype: str, value: NDArray) -> NDArray:
    exponent, subnormal, least, _ = _FLOAT_FACTS[dtype]
    smallest, normal = 2.0**subnormal, 2.0**least
    magnitude = abs(value)
    with np.errstate(all="ignore"):
        _, power = np.frexp(np.where((magnitude >= normal) & (magnitude < np.inf), magnitude, normal))
        ulp = np.ldexp(magnitude.dtype.type(1), power + exponent)
    return np.asarray(np.maximum(ulp, smallest))


def neighbour(value: float, dtype: str, *, up: bool) -> float:
    """Return the number of `dtype` one rounding above or below `value` (first rounded to `dtype`)."""
    kind = numpy_dtype(dtype)
    if dtype == "bfloat16":
        # ml_dtypes has nextafter; going through float32 bit patterns would need the same care.
        target = np.asarray(np.inf if up else -np.inf).astype(kind)
        return float(np.nextafter(np.asarray(value).astype(kind), target))
    with np.errstate(over="ignore"):  # above the largest number stands infinity
        return float(np.nextafter(kind.type(value), kind.type(np.inf if up else -np.inf)))


def to_wire(array: NDArray, layout: Layout = "contiguous") -> Array:
    """Pack an array; its own strides do not matter, `layout` says how a worker should lay it out."""
    return Array(_name(array.dtype), array.shape, array.tobytes(), layout)


@cache
def _name(dtype: np.dtype[Any]) -> str:
    # NumPy makes the name anew, in Python, each time that it is asked for.
    return dtype.name


def from_wire(array: Array) -> NDArray:
    """Unpack an array as its own dtype (needs ml_dtypes for bfloat16)."""
    return np.frombuffer(array.data, dtype=numpy_dtype(array.dtype)).reshape(array.shape)


def bfloat16_as_float32(array: Array) -> NDArray:
    """Widen bfloat16 bits exactly, without ml_dtypes: they are the upper half of a float32."""
    bits = np.frombuffer(array.data, np.uint16).astype(np.uint32) << 16
    return bits.view(np.float32).reshape(array.shape)


def float32_as_bfloat16(array: NDArray) -> Array:
    """Pack float32 values that are bfloat16 numbers as raw bits. NaN keeps its quiet bit."""
    bits = np.ascontiguousarray(array, np.float32).reshape(-1).view(np.uint32) >> 16
    return Array("bfloat16", array.shape, bits.astype(np.uint16).tobytes())
