"""Hold one result against the oracle. Pure: arrays in, a verdict out."""

import math
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np

from conformance.arrays import NDArray, from_wire, spacing
from conformance.detail import detail
from conformance.errors import HarnessError
from conformance.oracle import Exact, overflow
from conformance.plain import Figures, figures_of
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


def compare(check: str, got: Array, exact: Exact, *, signed_zero: bool = False, digest: str = "") -> Check:
    """Compare dtype, then shape, then the masks of NaN and ±∞ (and the sign of zero), then the numbers.

    Args:
        check: `output` or `grad.NAME`.
        got: what the API returned.
        exact: the oracle's answer for that quantity.
        signed_zero: the definition selects this value, so it fixes the sign of a zero too.
        digest: `digest_of(got)`, if that is known already.

    """
    if got.dtype != exact.dtype:
        return Check(check, "fail", "dtype", f"dtype {got.dtype}, the definition gives {exact.dtype}")
    if tuple(got.shape) != exact.low.shape:
        return Check(
            check, "fail", "shape", f"shape {list(got.shape)}, the definition gives {list(exact.low.shape)}"
        )
    digest = digest or digest_of(got)
    if exact.low.size == 0:
        return Check(check, "pass", message="empty, as defined: dtype and shape compared", digest=digest)
    value = from_wire(got)
    with np.errstate(all="ignore"):
        figures = None if signed_zero else figures_of(value, exact)
        if figures is not None and figures.ratio <= 1:
            return _passed(check, value, exact, figures, digest)
        return _compared(check, value.astype(exact.low.dtype), exact, digest, signed_zero=signed_zero)


def _passed(check: str, value: NDArray, exact: Exact, figures: Figures, digest: str) -> Check:
    """Say by how much a result that conforms is off."""
    worst = _place(figures.worst, value.shape)
    furthest = None
    if figures.furthest > 0:
        at = _place(figures.furthest_at, value.shape)
        furthest = _at(at, value, exact, figures.furthest)
    kinks = exact.low is not exact.high
    return Check(
        check=check,
        status="pass",
        compared=value.size,
        error_over_bound=float(figures.ratio),
        max_abs=float(figures.error),
        max_rel=float(figures.relative),
        max_ulp=float(figures.ulp),
        worst=worst,
        expected=_expected(exact, worst),
        got=float(value[worst]),
        bound=float(exact.bound[worst]),
        bound_terms={name: float(term[worst]) for name, term in exact.terms.items()},
        convention=_convention(value.astype(exact.low.dtype), exact, ~exact.undecided) if kinks else "",
        digest=digest,
        mean_ulp=float(figures.total / figures.counted) if figures.counted else None,
        at_max_ulp=furthest,
    )


def _compared(check: str, wide: NDArray, exact: Exact, digest: str, *, signed_zero: bool) -> Check:
    """Compare the masks of NaN and ±∞ (and the sign of zero), then the numbers."""
    decided = ~exact.undecided
    compared = int(np.count_nonzero(decided))
    undecided = int(wide.size - compared)
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
    at = _place(int(off.argmax()), off.shape)
    return _at(at, wide, exact, off[at]) if off[at] > 0 else None


def _at(at: tuple[int, ...], got: NDArray, exact: Exact, ulp: Any) -> dict[str, Any]:
    return {"at": list(at), "got": float(got[at]), "exact": _expected(exact, at), "ulp": float(ulp)}


def _mean_ulp(exact: Exact, ulp: NDArray, decided: NDArray) -> float | None:
    """Return the mean error in ULP, over the elements whose exact value is a number other than 0."""
    counted = decided & (exact.low != 0) & (exact.high != 0) & np.isfinite(exact.low)
    return float(np.mean(ulp[counted])) if bool(counted.any()) else None


def digest_of(array: Array) -> str:
    """Name a result by its bits, so that a report can say who agrees with whom."""
    return blake2b(f"{array.dtype}{list(array.shape)}".encode() + array.data, digest_size=6).hexdigest()


def _numbers(wide: NDArray, exact: Exact, decided: NDArray) -> dict[str, NDArray]:
    """Error outside [low, high] wherever both sides are finite; elsewhere 0: the masks decide there."""
    finite = np.isfinite(wide) & np.isfinite(exact.low) & np.isfinite(exact.high) & decided
    error = np.where(finite, np.maximum(np.maximum(exact.low - wide, wide - exact.high), 0), 0)
    relative, ulp = _relative_and_ulp(error, exact)
    return {"error": error, "ratio": error / exact.bound, "relative": relative, "ulp": ulp}


def _relative_and_ulp(error: NDArray, exact: Exact) -> tuple[NDArray, NDArray]:
    """Return the errors relative to the exact value (0 where that is 0), and in its ULP."""
    relative = np.zeros_like(error)
    if not error.any():
        return relative, relative
    magnitude = abs(exact.low) if exact.low is exact.high else np.maximum(abs(exact.low), abs(exact.high))
    np.divide(error, magnitude, out=relative, where=magnitude > 0)
    return relative, error / spacing(exact.dtype, magnitude)


def _wrong_signs(wide: NDArray, exact: Exact) -> NDArray:
    """Where a zero has the other sign than the exact zero."""
    return np.asarray((exact.low == 0) & (wide == 0) & (np.signbit(wide) != np.signbit(exact.low)))


def _wrong_masks(wide: NDArray, exact: Exact) -> NDArray:
    """Where NaN, +∞ or −∞ stands and should not, or should and does not."""
    infinity = overflow(exact)
    largest = np.max([np.max(abs(a)) for a in (wide, exact.low, exact.high)])
    # False where anything is infinite, or NaN, which np.max (and not Python's max) hands on.
    if largest + np.max(exact.bound) < infinity:
        return np.zeros(wide.shape, bool)
    wrong = np.isnan(wide) != np.isnan(exact.low)
    for sign in (1, -1):
        inner = exact.low if sign > 0 else -exact.high
        outer = exact.high if sign > 0 else -exact.low
        must = inner - np.where(np.isfinite(inner), exact.bound, 0) >= infinity
        may = outer + np.where(np.isfinite(outer), exact.bound, 0) >= infinity
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
    return _place(int(np.argmax(wrong)) if bool(wrong.any()) else int(np.argmax(ratio)), ratio.shape)


def _place(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the indices of an element that is counted through in C order."""
    if len(shape) == 1:
        return (flat,)
    return tuple(int(i) for i in np.unravel_index(flat, shape)) if shape else ()


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
