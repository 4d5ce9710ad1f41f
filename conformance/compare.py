"""Hold one result against the oracle. Pure: arrays in, a verdict out."""

import math
from typing import Any

import msgspec
import numpy as np

from conformance.arrays import NDArray, from_wire, largest_finite, spacing, unit_roundoff
from conformance.detail import detail
from conformance.errors import HarnessError
from conformance.oracle import Exact
from conformance.types import Array, Status


class Check(msgspec.Struct, frozen=True):
    """One compared quantity of one API on one case; the fields of a stream's `result` that numbers fill."""

    check: str
    status: Status
    kind: str = ""
    message: str = ""
    compared: int = 0
    undecided: int = 0
    mismatched: int = 0
    error_over_bound: float | None = None
    max_abs: float | None = None
    max_rel: float | None = None
    max_ulp: float | None = None
    worst: tuple[int, ...] | None = None
    expected: float | tuple[float, float] | None = None
    got: float | None = None
    bound: float | None = None
    bound_terms: dict[str, float] = {}
    convention: str = ""
    digest: str = ""
    error: dict[str, Any] | None = None
    mean_ulp: float | None = None
    at_max_ulp: dict[str, Any] | None = None
    detail: dict[str, Any] | None = None


def compare(check: str, got: Array, exact: Exact, *, signed_zero: bool = False) -> Check:
    """Compare dtype, then shape, then the masks of NaN and ±∞ (and the sign of zero), then the numbers.

    Args:
        check: `output` or `grad.NAME`.
        got: what the API returned.
        exact: the oracle's answer for that quantity.
        signed_zero: the definition selects this value, so it fixes the sign of a zero too.

    """
    if got.dtype != exact.dtype:
        return Check(check, "fail", "dtype", f"dtype {got.dtype}, the definition gives {exact.dtype}")
    if tuple(got.shape) != exact.low.shape:
        return Check(
            check, "fail", "shape", f"shape {list(got.shape)}, the definition gives {list(exact.low.shape)}"
        )
    value = from_wire(got)
    digest = digest_of(got)
    if value.size == 0:
        return Check(check, "pass", message="empty, as defined: dtype and shape compared", digest=digest)
    wide = value.astype(exact.low.dtype)
    decided = ~exact.undecided
    compared = int(np.count_nonzero(decided))
    undecided = int(value.size - compared)
    if compared == 0:
        message = "every element hangs on the slope at a NaN, which no definition fixes"
        return Check(check, "observed", message=message, undecided=undecided, digest=digest)
    numbers = _numbers(wide, exact, decided)
    wrong = _wrong_masks(wide, exact) & decided
    signs = _wrong_signs(wide, exact) & decided & signed_zero
    kind, mismatch = _kind(check, wrong, signs, numbers["ratio"])
    worst = _worst(numbers["ratio"], wrong if wrong.any() else signs)
    return Check(
        check=check,
        status="fail" if kind else "pass",
        kind=kind,
        message=_message(wide, exact, worst) if kind else "",
        compared=compared,
        undecided=undecided,
        mismatched=int(np.count_nonzero(mismatch)),
        error_over_bound=_ceiling(numbers["ratio"]),
        max_abs=_ceiling(numbers["error"]),
        max_rel=_ceiling(numbers["relative"]),
        max_ulp=_ceiling(numbers["ulp"]),
        worst=worst,
        expected=_expected(exact, worst),
        got=float(wide[worst]),
        bound=float(exact.bound[worst]),
        bound_terms={name: float(term[worst]) for name, term in exact.terms.items()},
        convention=_convention(wide, exact, decided),
        digest=digest,
        mean_ulp=_mean_ulp(exact, numbers["ulp"], decided),
        at_max_ulp=_farthest(wide, exact, numbers["ulp"]),
        detail=detail(wide, exact, numbers, wrong | signs) if kind else None,
    )


def _farthest(wide: NDArray, exact: Exact, ulp: NDArray) -> dict[str, Any] | None:
    """Say which element is furthest from the exact value in ULP, and what both are; None if none is off.

    Around an exact 0 the spacing is that of the smallest numbers, so an error there is counted in none.
    """
    off = np.where((exact.low != 0) & (exact.high != 0), ulp, 0)
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(off)), off.shape))
    if off[at] == 0:
        return None
    return {"at": list(at), "got": float(wide[at]), "exact": _expected(exact, at), "ulp": float(off[at])}


def _mean_ulp(exact: Exact, ulp: NDArray, decided: NDArray) -> float | None:
    """Return the mean error in ULP, over the elements whose exact value is not 0."""
    counted = decided & (exact.low != 0) & (exact.high != 0) & np.isfinite(exact.low)
    return float(np.mean(ulp[counted])) if bool(counted.any()) else None


def digest_of(array: Array) -> str:
    """Name a result by its bits, so that a report can say who agrees with whom."""
    from hashlib import blake2b  # noqa: PLC0415 - a name for a value; nothing else here hashes

    return blake2b(f"{array.dtype}{list(array.shape)}".encode() + array.data, digest_size=6).hexdigest()


def _numbers(wide: NDArray, exact: Exact, decided: NDArray) -> dict[str, NDArray]:
    """Error outside [low, high] wherever both sides are finite; elsewhere 0: the masks decide there."""
    with np.errstate(all="ignore"):
        finite = np.isfinite(wide) & np.isfinite(exact.low) & np.isfinite(exact.high) & decided
        error = np.where(finite, np.maximum(np.maximum(exact.low - wide, wide - exact.high), 0), 0)
        magnitude = np.maximum(abs(exact.low), abs(exact.high))
        relative, ulp = np.zeros_like(error), np.zeros_like(error)
        off = error > 0  # most elements of most results are exact: their other figures are 0 too
        relative[off] = np.where(magnitude[off] > 0, error[off] / magnitude[off], 0)
        ulp[off] = error[off] / spacing(exact.dtype, magnitude[off])
        return {"error": error, "ratio": error / exact.bound, "relative": relative, "ulp": ulp}


def _wrong_signs(wide: NDArray, exact: Exact) -> NDArray:
    """Where a zero has the other sign than the exact zero."""
    return np.asarray((exact.low == 0) & (wide == 0) & (np.signbit(wide) != np.signbit(exact.low)))


def _wrong_masks(wide: NDArray, exact: Exact) -> NDArray:
    """Where NaN, +∞ or −∞ stands and should not, or should and does not."""
    u = np.longdouble(unit_roundoff(exact.dtype))
    # Round to nearest: beyond the largest number, (2 − 2u)·2**e, by half a spacing, u·2**e, is infinity.
    overflow = exact.low.dtype.type(np.longdouble(largest_finite(exact.dtype)) * (1 + u / (2 - 2 * u)))
    with np.errstate(all="ignore"):
        largest = np.max([np.max(abs(a)) for a in (wide, exact.low, exact.high)])
        # False where anything is infinite, or NaN, which np.max (and not Python's max) hands on.
        if largest + np.max(exact.bound) < overflow:
            return np.zeros(wide.shape, bool)
        wrong = np.isnan(wide) != np.isnan(exact.low)
        for sign in (1, -1):
            inner = exact.low if sign > 0 else -exact.high
            outer = exact.high if sign > 0 else -exact.low
            must = inner - np.where(np.isfinite(inner), exact.bound, 0) >= overflow
            may = outer + np.where(np.isfinite(outer), exact.bound, 0) >= overflow
            infinite = np.isposinf(sign * wide)
            wrong |= (must & ~infinite) | (infinite & ~may)
    return np.asarray(wrong)


def _kind(check: str, wrong: NDArray, signs: NDArray, ratio: NDArray) -> tuple[str, NDArray]:
    outside = (ratio > 1) | signs
    if bool(wrong.any()):
        return "nonfinite", wrong | outside
    if bool(outside.any()):
        return ("grad_value" if check.startswith("grad") else "value"), outside
    return "", outside


def _worst(ratio: NDArray, wrong: NDArray) -> tuple[int, ...]:
    """Return the first wrong mask if there is one, else the largest error as a multiple of its bound."""
    flat = int(np.argmax(wrong)) if bool(wrong.any()) else int(np.argmax(ratio))
    return tuple(int(i) for i in np.unravel_index(flat, ratio.shape))


def _expected(exact: Exact, worst: tuple[int, ...]) -> float | tuple[float, float]:
    low, high = float(exact.low[worst]), float(exact.high[worst])
    return low if low == high or math.isnan(low) else (low, high)


def _message(wide: NDArray, exact: Exact, worst: tuple[int, ...]) -> str:
    expected = _expected(exact, worst)
    wanted = (
        f"in [{expected[0]:.9g}, {expected[1]:.9g}]" if isinstance(expected, tuple) else f"{expected:.9g}"
    )
    where = f"at {list(worst)}: " if worst else ""
    return f"{where}got {float(wide[worst]):.9g}, exact {wanted}, bound {float(exact.bound[worst]):.3g}"


def _convention(wide: NDArray, exact: Exact, decided: NDArray) -> str:
    """Which slope was taken at the kinks: that `below`, that `above`, the `middle`, or no one: `mixed`.

    Measured from the end that has the slope below, not from the lower end: the cotangent's sign would
    swap them.
    """
    kink = (exact.low < exact.high) & decided & np.isfinite(wide)
    if not bool(kink.any()):
        return ""
    below = exact.low if exact.below is None else exact.below
    span = exact.low[kink] + exact.high[kink] - 2 * below[kink]  # from the end below to the end above
    share = (wide[kink] - below[kink]) / span
    for name, taken in (("below", 0.0), ("above", 1.0), ("middle", 0.5)):
        if np.all(abs(share - taken) < 0.01):
            return name
    return "mixed"


def _ceiling(values: NDArray) -> float:
    largest = float(np.max(values))
    if math.isnan(largest):
        raise HarnessError("a comparison yielded NaN")
    return largest
