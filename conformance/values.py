"""What a case file may say in place of an array: literals, and a few generators with stable bits.

Values come from the raw 64-bit stream of PCG64 (which NumPy keeps stable), seeded by the case's name,
so a case id names the same numbers for ever. They are drawn in float64 and rounded to the dtype.
"""

import math
import re
import sys
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np

from conformance.arrays import (
    FLOATING,
    INTEGER,
    NDArray,
    largest_finite,
    neighbour,
    numpy_dtype,
    smallest_subnormal,
)

GENERATORS = ("values", "uniform", "grid", "labels", "label_sets", "signs", "full")
OPTIONS = {
    "values": (),
    "uniform": ("low", "high"),
    "grid": ("low", "high", "step"),
    "labels": ("below",),
    "label_sets": ("most",),
    "signs": (),
    "full": ("value",),
}
WHOLE = {"below": 1, "most": 0}  # options that are whole numbers, and the least that makes sense
MOST_WHOLE = 1 << 53  # and the largest that drawing in float64 can reach
COMMON = ("dtype", "layout", "set")
LAYOUTS = ("contiguous", "transposed", "strided", "sliced", "expanded")
MAX_ELEMENTS = 1 << 24
MAX_AXES = 32
_SHORT = 1 << 12  # arrays up to here are kept for the next case that asks for the same
_MOST_BUILT = 64
_READING = 16  # reading a literal number takes as long as drawing so many

_NEIGHBOUR = re.compile(r"(up|down)\((-?[0-9.]+(?:e[+-]?[0-9]+)?)\)")


_built: dict[tuple[str, str], tuple[Any, NDArray]] = {}


def stream(seed: str, count: int) -> NDArray:
    """Draw `count` float64 numbers in [0, 1), named by `seed`; not to be written into."""
    return _short(seed, count) if count <= _SHORT else _draw(seed, count)


@lru_cache(maxsize=64)
def _short(seed: str, count: int) -> NDArray:
    # The cases that one entry expands to, in several dtypes and reductions, draw the same numbers.
    drawn = _draw(seed, count)
    drawn.flags.writeable = False
    return drawn


def _draw(seed: str, count: int) -> NDArray:
    key = int.from_bytes(blake2b(seed.encode(), digest_size=8).digest(), "little")
    raw = np.random.PCG64(key).random_raw(count)
    return np.asarray(raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def number(item: Any, dtype: str) -> float:
    """Read one element: a number, `up(1.0)` or `down(1.0)` (one rounding away), `max`, `-max` or `tiny`.

    Raises:
        ValueError: it is none of these.

    """
    if isinstance(item, bool):
        return float(item)
    if isinstance(item, int | float):
        return item
    if isinstance(item, str) and dtype in FLOATING:
        if match := _NEIGHBOUR.fullmatch(item):
            of = float(match[2])
            if not math.isfinite(of):
                raise ValueError(f"{item!r}: a number that float64 does not hold")
            return neighbour(of, dtype, up=match[1] == "up")
        words = {"max": 1.0, "-max": -1.0}
        if item in words:
            return words[item] * largest_finite(dtype)
        if item == "tiny":
            return smallest_subnormal(dtype)
    raise ValueError(f"{item!r} is not a number, up(…), down(…), max, -max or tiny")


def build(spec: Any, dtype: str, seed: str) -> NDArray:
    """Build the array [shape as the spec says] that a case file describes, in `dtype`; it is read-only.

    Raises:
        ValueError: the spec is malformed; the message says how.

    """
    # An entry expands to cases in several reductions: all of them have the same arrays.
    kept = _built.get((seed, dtype))
    if kept is not None and kept[0] is spec:
        return kept[1]
    array = _build(spec if isinstance(spec, dict) else {"values": spec}, dtype, seed)
    array.flags.writeable = False
    if array.size <= _SHORT:
        if len(_built) == _MOST_BUILT:
            _built.clear()
        _built[seed, dtype] = (spec, array)
    return array


def _build(spec: dict[str, Any], dtype: str, seed: str) -> NDArray:
    kind, shape = generator(spec)
    made = _literal(spec["values"], dtype) if kind == "values" else _GENERATE[kind](spec, shape, seed)
    array = _in_dtype(np.asarray(made), dtype)
    for change in spec.get("set", []):
        try:
            array[tuple(change["at"])] = _in_dtype(np.asarray(number(change["value"], dtype)), dtype)
        except IndexError as error:
            raise ValueError(f"'set': {error}") from error
    return array


def _in_dtype(made: NDArray, dtype: str) -> NDArray:
    """Round to a floating dtype; to an integer one, convert what it holds and refuse the rest."""
    if dtype in FLOATING:
        with np.errstate(over="ignore"):  # to infinity, as rounding does
            return made.astype(numpy_dtype(dtype))
    try:
        with np.errstate(invalid="ignore"):
            array = made.astype(numpy_dtype(dtype))
    except OverflowError:
        array = np.zeros((), bool)
    if not np.array_equal(array, made):
        raise ValueError(f"a value that {dtype} does not hold")
    return array


def generator(spec: dict[str, Any]) -> tuple[str, tuple[int, ...]]:
    """Check a spec's keys; return the generator's name and the shape (empty for literals)."""
    kinds = [key for key in GENERATORS if key in spec]
    if len(kinds) != 1:
        raise ValueError(f"give exactly one of {', '.join(GENERATORS)}")
    kind = kinds[0]
    unknown = set(spec) - {kind, *OPTIONS[kind], *COMMON}
    if unknown:
        raise ValueError(f"unknown key {min(unknown)!r} beside {kind!r}")
    if spec.get("dtype", "float32") not in (*FLOATING, *INTEGER):
        raise ValueError(f"unknown dtype {spec['dtype']!r}")
    if spec.get("layout", "contiguous") not in LAYOUTS:
        raise ValueError(f"unknown layout {spec['layout']!r}; there are {', '.join(LAYOUTS)}")
    _check_set(spec.get("set", []))
    if kind == "values":
        return kind, ()
    shape = spec[kind]
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"{kind!r} takes a shape: a list of sizes ≥ 0")
    if len(shape) > MAX_AXES:
        raise ValueError(f"more than {MAX_AXES} axes")
    if _drawn(kind, shape) > MAX_ELEMENTS:
        raise ValueError(f"more than {MAX_ELEMENTS} elements")
    if kind == "label_sets" and not shape:
        raise ValueError("'label_sets' takes a shape [..., C] of at least one axis")
    _check_options(kind, spec)
    return kind, tuple(shape)


def _check_set(changes: Any) -> None:
    for change in changes if isinstance(changes, list) else [None]:
        if not isinstance(change, dict) or set(change) != {"at", "value"}:
            raise ValueError("'set' takes a list of {at: [indices], value: number}")
        if not isinstance(change["at"], list) or not all(type(i) is int for i in change["at"]):
            raise ValueError("'at' takes a list of indices")


def _check_options(kind: str, spec: dict[str, Any]) -> None:
    if kind == "labels" and "below" not in spec:
        raise ValueError("'labels' needs 'below', the number of classes")
    for name in OPTIONS[kind]:
        value = spec.get(name, 1)
        allowed = (int,) if name in WHOLE else (int, float)
        if type(value) not in allowed:
            raise ValueError(f"{name!r} takes a {'whole ' if name in WHOLE else ''}number, not {value!r}")
        largest = MOST_WHOLE if name in WHOLE else sys.float_info.max
        if value < WHOLE.get(name, -math.inf) or (name != "value" and not -largest <= value <= largest):
            raise ValueError(f"{name!r} cannot be {value!r}")
        if name == "value" and type(value) is int and abs(value) > largest:
            raise ValueError("'value' is a number that float64 does not hold")
    if kind in ("uniform", "grid"):
        _check_range(kind, spec)


def _check_range(kind: str, spec: dict[str, Any]) -> None:
    width = float(spec.get("high", 2.0)) - float(spec.get("low", -2.0))
    if not math.isfinite(width):
        raise ValueError("'high' is further from 'low' than float64 can say")
    if kind == "grid":
        step = spec.get("step", 0.5)
        if not step > 0:
            raise ValueError(f"'step' cannot be {step!r}")
        if not -1 < width / step < MOST_WHOLE:
            raise ValueError("'low', 'high' and 'step' make no grid")


def work(spec: Any) -> int:
    """Return how long a spec that was checked takes to build, in drawn elements."""
    if not isinstance(spec, dict):
        return _READING * _numbers(spec)
    kind, shape = generator(spec)
    drawn = _READING * _numbers(spec["values"]) if kind == "values" else _drawn(kind, shape)
    return drawn + _READING * len(spec.get("set", []))


def _drawn(kind: str, shape: Iterable[int]) -> int:
    """Count the elements to draw, an empty axis as one: NumPy refuses huge axes beside it too."""
    sizes = [n or 1 for n in shape]
    return math.prod(sizes) + (math.prod(sizes[:-1]) if kind == "label_sets" else 0)


def _numbers(values: Any) -> int:
    return 1 + sum(map(_numbers, values)) if isinstance(values, list) else 1


def _literal(values: Any, dtype: str) -> NDArray:
    def read(item: Any) -> Any:
        return [read(i) for i in item] if isinstance(item, list) else number(item, dtype)

    try:
        return np.array(read(values), None if dtype in INTEGER else np.float64)
    except OverflowError:
        raise ValueError("a number that float64 does not hold") from None
    except ValueError as error:
        if "inhomogeneous" in str(error):
            raise ValueError("the rows differ in length") from None
        raise


def _uniform(spec: dict[str, Any], shape: tuple[int, ...], seed: str) -> NDArray:
    low, high = float(spec.get("low", -1.0)), float(spec.get("high", 1.0))
    return np.asarray(low + (high - low) * stream(seed, int(np.prod(shape)))).reshape(shape)


def _grid(spec: dict[str, Any], shape: tuple[int, ...], seed: str) -> NDArray:
    low, high, step = (float(spec.get(k, d)) for k, d in (("low", -2.0), ("high", 2.0), ("step", 0.5)))
    cells = round((high - low) / step) + 1
    return np.asarray(low + step * np.floor(stream(seed, int(np.prod(shape))) * cells)).reshape(shape)


def _labels(spec: dict[str, Any], shape: tuple[int, ...], seed: str) -> NDArray:
    labels = np.floor(stream(seed, int(np.prod(shape))) * int(spec["below"]))
    return np.asarray(labels).astype(np.int64).reshape(shape)


def _label_sets(spec: dict[str, Any], shape: tuple[int, ...], seed: str) -> NDArray:
    """Rows [..., C] of distinct labels, then −1, then further labels that must be left unread."""
    classes = shape[-1]
    rows = int(np.prod(shape[:-1]))
    draws = stream(seed, rows * (classes + 1)).reshape(rows, classes + 1)
    labels = np.argsort(draws[:, :classes], axis=1, kind="stable")
    most = min(int(spec.get("most", classes)), classes)
    lengths = np.floor(draws[:, classes] * (most + 1)).astype(np.int64)
    labels[np.arange(classes) == lengths[:, np.newaxis]] = -1
    return labels.reshape(shape)


def _signs(_: dict[str, Any], shape: tuple[int, ...], seed: str) -> NDArray:
    return np.where(stream(seed, int(np.prod(shape))) < 0.5, -1.0, 1.0).reshape(shape)


def _full(spec: dict[str, Any], shape: tuple[int, ...], _: str) -> NDArray:
    return np.full(shape, float(spec.get("value", 1.0)))


_GENERATE = {
    "uniform": _uniform,
    "grid": _grid,
    "labels": _labels,
    "label_sets": _label_sets,
    "signs": _signs,
    "full": _full,
}
