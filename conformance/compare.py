"""Hold one result against the oracle. Pure: arrays in, a verdict out."""

import math
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np

from conformance.arrays import NDArray, from_wire
from conformance.detail import detail
from conformance.elements import elements_of
from conformance.oracle import Exact
from conformance.plain import Figures, figures_of, pieces
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
        if figures is not None:
            return _said(check, value, exact, figures, digest, status="pass", compared=value.size)
        return _compared(check, value, exact, digest, signed_zero=signed_zero)


def _said(check: str, value: NDArray, exact: Exact, figures: Figures, digest: str, **more: Any) -> Check:
    """Say by how much a result is off, with what is said of it besides."""
    worst = more.pop("worst", None) or _place(figures.worst, value.shape)
    furthest = None
    if figures.furthest > 0:
        # Around an exact 0 the spacing is that of the smallest numbers: an error there is counted in none.
        furthest = _at(_place(figures.furthest_at, value.shape), value, exact, figures.furthest)
    return Check(
        check=check,
        error_over_bound=float(figures.ratio),
        max_abs=float(figures.error),
        max_rel=float(figures.relative),
        max_ulp=float(figures.ulp),
        worst=worst,
        expected=_expected(exact, worst),
        got=float(value[worst]),
        bound=float(exact.bound[worst]),
        bound_terms={name: float(term[worst]) for name, term in exact.terms.items()},
        convention=_convention(value, exact) if exact.low is not exact.high else "",
        digest=digest,
        mean_ulp=float(figures.total / figures.counted) if figures.counted else None,
        at_max_ulp=furthest,
        **more,
    )


def _compared(check: str, value: NDArray, exact: Exact, digest: str, *, signed_zero: bool) -> Check:
    """Compare the masks of NaN and ±∞ (and the sign of zero), then the numbers."""
    decided = ~exact.undecided
    compared = int(np.count_nonzero(decided))
    undecided = int(value.size - compared)
    if compared == 0:
        message = "every element hangs on the slope at a NaN, which no definition fixes"
        return Check(check, "observed", message=message, undecided=undecided, digest=digest)
    found = elements_of(value, exact)
    wrong = found.wrong
    signs = (
        _wrong_signs(value.astype(exact.low.dtype), exact) & decided if signed_zero else np.zeros_like(wrong)
    )
    kind, mismatch = _kind(check, wrong, signs, found.off)
    first = wrong if wrong.any() else signs  # the first wrong mask if there is one, else the largest error
    worst = _place(int(first.argmax()) if first.any() else found.figures.worst, value.shape)
    return _said(
        check,
        value,
        exact,
        found.figures,
        digest,
        status="fail" if kind else "pass",
        kind=kind,
        message=_message(value, exact, worst) if kind else "",
        compared=compared,
        undecided=undecided,
        mismatched=int(np.count_nonzero(mismatch)),
        worst=worst,
        detail=detail(value, exact, found, wrong | signs) if kind else None,
    )


def _at(at: tuple[int, ...], got: NDArray, exact: Exact, ulp: Any) -> dict[str, Any]:
    return {"at": list(at), "got": float(got[at]), "exact": _expected(exact, at), "ulp": float(ulp)}


def digest_of(array: Array) -> str:
    """Name a result by its bits, so that a report can say who agrees with whom."""
    return blake2b(f"{array.dtype}{list(array.shape)}".encode() + array.data, digest_size=6).hexdigest()


def _wrong_signs(wide: NDArray, exact: Exact) -> NDArray:
    """Where a zero has the other sign than the exact zero."""
    return np.asarray((exact.low == 0) & (wide == 0) & (np.signbit(wide) != np.signbit(exact.low)))


def _kind(check: str, wrong: NDArray, signs: NDArray, outside: NDArray) -> tuple[str, NDArray]:
    """Name what is wrong, and say where anything is."""
    if bool(wrong.any()):
        return "nonfinite", wrong | outside | signs
    if bool(outside.any() or signs.any()):
        return ("grad_value" if check.startswith("grad") else "value"), outside | signs
    return "", outside


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


def _convention(value: NDArray, exact: Exact) -> str:
    """Which slope was taken at the kinks: that `below`, that `above`, the `middle`, or no one: `mixed`.

    Measured from the end that has the slope below, not from the lower end: the cotangent's sign would
    swap them.
    """
    given = [each.reshape(-1) for each in (value, exact.undecided, exact.low, exact.high)]
    if exact.below is not None:
        given.append(exact.below.reshape(-1))
    names: set[str] | None = None
    for piece in pieces(value.size):
        share = _share(*(each[piece] for each in given))
        if share.size:
            taken = {name for name, at in _SLOPES.items() if np.all(abs(share - at) < 0.01)}
            names = taken if names is None else names & taken
        if names is not None and not names:
            return "mixed"
    return names.pop() if names else ""


_SLOPES = {"below": 0.0, "above": 1.0, "middle": 0.5}


def _share(
    value: NDArray, undecided: NDArray, low: NDArray, high: NDArray, below: NDArray | None = None
) -> NDArray:
    """Return how far along its interval each element at a kink is, from the end with the slope below."""
    kink = (low < high) & ~undecided & np.isfinite(value)
    if not kink.any():
        return np.empty(0)
    low, high = low[kink], high[kink]
    start = low if below is None else below[kink]
    span = high - low if below is None else low + high - 2 * start  # from the end below to the end above
    return np.asarray(((value[kink].astype(low.dtype) - start) / span).astype(np.float64))
