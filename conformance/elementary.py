"""The elementary functions that references are written in, each as good as an honest library's.

They are NumPy's, in the precision of their argument; the context can make each of them wrong by one
rounding, as the libraries of honest programs are.
"""

from typing import Any

import numpy as np

from conformance.arithmetic import off_by_rounding
from conformance.arrays import NDArray


def exp(z: NDArray) -> NDArray:
    """e^z, elementwise."""
    return off_by_rounding(np.asarray(np.exp(z)))


def log(z: NDArray) -> NDArray:
    """Natural logarithm, elementwise: −∞ at 0, NaN below."""
    return off_by_rounding(np.asarray(np.log(z)))


def log1p(z: NDArray) -> NDArray:
    """log(1 + z), elementwise, exact for small z."""
    return off_by_rounding(np.asarray(np.log1p(z)))


def expm1(z: NDArray) -> NDArray:
    """e^z − 1, elementwise, exact for small z."""
    return off_by_rounding(np.asarray(np.expm1(z)))


def sqrt(z: NDArray) -> NDArray:
    """Square root, elementwise: IEEE 754 rounds it correctly, so no library is off."""
    return np.asarray(np.sqrt(z))


def power(base: NDArray, exponent: Any) -> NDArray:
    """base^exponent, elementwise."""
    return off_by_rounding(np.asarray(np.power(base, base.dtype.type(exponent))))


def cos(z: NDArray) -> NDArray:
    """Cosine, elementwise."""
    return off_by_rounding(np.asarray(np.cos(z)))


def arccos(z: NDArray) -> NDArray:
    """Inverse cosine, elementwise."""
    return off_by_rounding(np.asarray(np.arccos(z)))
