"""Second derivatives: the oracle of a Hessian times a direction, from differences of the proven VJP.

The VJP is evaluated at x ± h·r for three steps h and extrapolated to h = 0 (Richardson), in longdouble.
That is right to about 1e-14 of the largest gradient, which goes into the bound. The rest of the bound is
K·(u·|H|·|r| + sensitivity). K is 16 here and not 4, for a second derivative has no plain program in NumPy
that would show how much honest programs lose on the way.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from conformance.arithmetic import Arithmetic, arithmetic
from conformance.arrays import NDArray, smallest_subnormal, unit_roundoff
from conformance.definition import Definition
from conformance.oracle import ORACLE_DTYPE, Exact, is_floating

K_SECOND = 16.0
STEP = 2.0**-9
OWN_ERROR = 1e-14


def exact_second(
    definition: Definition,
    tensors: Mapping[str, NDArray],
    params: Mapping[str, Any],
    dtype: str,
    cotangent: NDArray,
    name: str,
    direction: NDArray,
) -> Exact:
    """Evaluate d(vᵀJ)/dx · r for the input `name`; v is the cotangent, r the direction [shape of x]."""
    wide = {n: t.astype(ORACLE_DTYPE) if is_floating(t) else t for n, t in tensors.items()}
    v, r = cotangent.astype(ORACLE_DTYPE), direction.astype(ORACLE_DTYPE)

    def gradient(x: NDArray) -> NDArray:
        with arithmetic(Arithmetic()):
            return definition.pull_back(v, {**wide, name: x}, params)[name]

    x = wide[name]
    value = _along(gradient, x, r)
    u = unit_roundoff(dtype)
    moved = x * (1 + u * np.where(np.arange(x.size).reshape(x.shape) % 2, 1, -1))
    sensitivity = abs(_along(gradient, moved, r) - value)
    rounding = u * _absolute(gradient, x, r)
    own = OWN_ERROR * np.max(abs(gradient(x)), initial=0.0) * np.max(abs(r), initial=0.0)
    bound = K_SECOND * (rounding + sensitivity) + own + smallest_subnormal(dtype)
    terms = {"rounding": rounding, "sensitivity": sensitivity, "oracle": np.broadcast_to(own, value.shape)}
    return Exact(value, value, bound, terms, np.zeros(value.shape, bool), dtype)


def _along(gradient: Any, x: NDArray, r: NDArray) -> NDArray:
    """Differentiate along r: central differences at h, h/2 and h/4, extrapolated twice."""
    estimates = []
    for halving in range(3):
        h = ORACLE_DTYPE.type(STEP / 2**halving)
        estimates.append((gradient(x + h * r) - gradient(x - h * r)) / (2 * h))
    once = [(4 * fine - coarse) / 3 for coarse, fine in pairwise(estimates)]
    return np.asarray((16 * once[1] - once[0]) / 15)


def _absolute(gradient: Any, x: NDArray, r: NDArray) -> NDArray:
    """Return |H|·|r|: what the terms of the product amount to before they cancel."""
    summed = np.zeros(x.shape, ORACLE_DTYPE)
    for place in np.ndindex(x.shape):
        unit = np.zeros(x.shape, ORACLE_DTYPE)
        unit[place] = 1
        summed = summed + abs(_along(gradient, x, unit)) * abs(r[place])
    return summed
