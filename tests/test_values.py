"""Literals and generators: their shapes and ranges, their bits, and what they refuse."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.arrays import FLOATING, INTEGER, NDArray
from conformance.values import MAX_ELEMENTS, build, generator, number, stream

SEED = "op/case/input"
MAX = {"float16": 65504.0, "bfloat16": 2.0**128 - 2.0**120, "float32": 2.0**128 - 2.0**104}
TINY = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}
ULP = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}

PINNED: list[tuple[dict[str, Any], str, list[Any]]] = [
    (
        {"uniform": [2, 2]},
        "float64",
        [[0.029523684565036845, 0.5927418010778267], [-0.03310908386682043, 0.5523406153895138]],
    ),
    (
        {"uniform": [2, 2], "low": -2, "high": 2},
        "float32",
        [[0.05904736742377281, 1.1854835748672485], [-0.06621816754341125, 1.1046812534332275]],
    ),
    ({"uniform": [3], "low": -2, "high": 2}, "bfloat16", [0.05908203125, 1.1875, -0.06640625]),
    ({"grid": [6]}, "float32", [0.0, 1.5, 0.0, 1.0, 2.0, -1.0]),
    ({"labels": [8], "below": 5}, "int64", [2, 3, 2, 3, 4, 1, 3, 0]),
    ({"label_sets": [2, 5]}, "int64", [[2, -1, 3, 1, 4], [1, 3, -1, 4, 0]]),
    ({"signs": [6]}, "float32", [1.0, 1.0, -1.0, 1.0, 1.0, -1.0]),
]


def values(spec: Any, dtype: str = "float32") -> Any:
    """Build a spec and return it as nested lists."""
    return build(spec, dtype, SEED).tolist()


def test_the_stream_is_pinned() -> None:
    """The raw stream of a seed never changes: a case id names the same numbers for ever."""
    expected = [0.7837286627042384, 0.6766803994202326, 0.16007304357313756, 0.2530129942149395]
    assert stream("seed", 4).tolist() == expected
    assert stream("seed", 2).tolist() == expected[:2]
    assert stream("seeds", 1).tolist() != expected[:1]


@pytest.mark.parametrize(("spec", "dtype", "expected"), PINNED)
def test_the_bits_are_pinned(spec: dict[str, Any], dtype: str, expected: list[Any]) -> None:
    """Each generator gives these exact numbers for this seed, on every machine and in every version."""
    assert values(spec, dtype) == expected


@pytest.mark.parametrize("shape", [[], [0], [7], [3, 4], [2, 0, 3], [2, 3, 4]])
@pytest.mark.parametrize("kind", ["uniform", "grid", "signs", "full", "labels"])
def test_generators_have_the_shape(kind: str, shape: list[int]) -> None:
    """A generator's shape is the one that was asked for, rank 0 and empty ones included."""
    spec = {kind: shape} | ({"below": 3} if kind == "labels" else {})
    array = build(spec, "float32", SEED)
    assert array.shape == tuple(shape)
    assert array.dtype == np.float32


@given(low=st.floats(-1e6, 0), width=st.floats(1e-3, 1e6))
def test_uniform_stays_in_its_range(low: float, width: float) -> None:
    """Uniform numbers lie in [low, high] and fill it: both quarters at the ends are met."""
    array = build({"uniform": [64], "low": low, "high": low + width}, "float64", SEED)
    assert low <= array.min() < low + width / 4
    assert low + width * 3 / 4 < array.max() <= low + width


def test_grid_meets_every_point_and_nothing_else() -> None:
    """A grid draws low, low + step, … high, both ends included."""
    drawn = values({"grid": [500], "low": -1, "high": 0.5, "step": 0.25})
    assert set(drawn) == set(np.arange(-1, 0.75, 0.25))


def test_labels_meet_every_class_and_nothing_else() -> None:
    """Labels are 0 … below − 1, every one of them met."""
    assert set(values({"labels": [500], "below": 7}, "int32")) == set(range(7))


def test_signs_are_both_signs() -> None:
    """Signs are −1 and 1, about as often."""
    array = build({"signs": [1000]}, "float64", SEED)
    assert set(array.tolist()) == {-1.0, 1.0}
    assert abs(array.mean()) < 0.1


def test_full_repeats_a_value() -> None:
    """`full` repeats its value, 1 if none is given; it may be infinite."""
    assert values({"full": [2]}) == [1.0, 1.0]
    assert values({"full": [2], "value": float("-inf")}) == [float("-inf")] * 2


def lengths(rows: NDArray) -> list[int]:
    """Check each row of label sets up to its first −1 and return how many labels stand there."""
    found = []
    for row in rows.tolist():
        assert row.count(-1) <= 1
        labels = row[: row.index(-1)] if -1 in row else row
        assert len(set(labels)) == len(labels)
        assert set(labels) <= set(range(len(row)))
        found.append(len(labels))
    return found


@given(classes=st.integers(1, 9), seed=st.text(max_size=8))
def test_label_sets_are_distinct_until_minus_one(classes: int, seed: str) -> None:
    """Before −1 the labels of a row are distinct classes, and after it labels stand that must not count."""
    rows = build({"label_sets": [20, classes]}, "int64", seed)
    assert max(lengths(rows)) <= classes
    ended = [row for row in rows.tolist() if -1 in row[:-1]]
    assert all(row[row.index(-1) + 1] >= 0 for row in ended)


def test_label_sets_have_every_length_up_to_most() -> None:
    """Sets of 0 … `most` labels all occur; without `most` also the full set, which has no −1."""
    rows = build({"label_sets": [200, 5], "most": 2}, "int64", SEED)
    assert set(lengths(rows)) == {0, 1, 2}
    assert set(lengths(build({"label_sets": [200, 5]}, "int64", SEED))) == {0, 1, 2, 3, 4, 5}


def test_label_sets_of_one_row() -> None:
    """A single sample's label set has no batch axis."""
    assert build({"label_sets": [4]}, "int64", SEED).shape == (4,)


@pytest.mark.parametrize("dtype", FLOATING)
def test_words_for_numbers(dtype: str) -> None:
    """`max`, `-max`, `tiny`, `up` and `down` are the dtype's own neighbours and ends, exactly."""
    largest = MAX.get(dtype, float(np.finfo(np.float64).max))
    words = ["max", "-max", "tiny", "up(1.0)", "down(1.0)", "up(0)", "down(-1.0)"]
    step = ULP[dtype]
    expected = [largest, -largest, TINY[dtype], 1 + step, 1 - step / 2, TINY[dtype], -1 - step]
    assert build(words, dtype, SEED).astype(np.float64).tolist() == expected


def test_up_beyond_the_largest_is_infinite() -> None:
    """One rounding above the largest number is infinity, without a warning."""
    assert values(["up(65504)"], "float16") == [float("inf")]


@pytest.mark.parametrize(("item", "value"), [(True, 1.0), (3, 3.0), (-0.5, -0.5), ("up(2.5e-3)", 0.0025)])
def test_number_reads_plain_numbers(item: Any, value: float) -> None:
    """Numbers, booleans and exponents inside up(…) are read as they stand."""
    assert number(item, "float64") == pytest.approx(value, rel=1e-15)


def test_literals() -> None:
    """A literal is a number or nested lists, with or without options beside it."""
    assert values([[1, 2.5], [-0.0, 3]]) == [[1.0, 2.5], [-0.0, 3.0]]
    assert np.signbit(build([-0.0], "float16", SEED))[0]
    assert build(3, "int64", SEED).shape == ()
    assert values({"values": [1, 2], "layout": "strided"}, "int8") == [1, 2]
    assert values([True, False], "bool") == [True, False]
    assert np.isnan(values([float("nan")])[0])


def test_literals_round_to_the_dtype() -> None:
    """A literal is rounded to nearest in the case's dtype, beyond its largest number to infinity."""
    assert values([0.1], "float32") == [float(np.float32(0.1))]
    assert values([1 + 2.0**-9], "bfloat16") == [1.0]
    assert values([1e6, -1e6], "float16") == [float("inf"), float("-inf")]


def test_set_changes_single_elements() -> None:
    """`set` puts values, words among them, over a generator's or a literal's elements."""
    spec = {"full": [2, 2], "set": [{"at": [0, 1], "value": "max"}, {"at": [1, 0], "value": 7}]}
    assert values(spec, "float16") == [[1.0, 65504.0], [7.0, 1.0]]
    assert values({"values": [1, 2], "set": [{"at": [-1], "value": 5}]}, "int64") == [1, 5]


@pytest.mark.parametrize("dtype", INTEGER)
def test_integers_hold_their_own_range(dtype: str) -> None:
    """An integer dtype holds its ends exactly; one beyond is refused, never wrapped or cut."""
    ends = (0, 1) if dtype == "bool" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    assert [int(v) for v in values(list(ends), dtype)] == list(ends)
    for beyond in (ends[0] - 1, ends[1] + 1, 0.5, float("nan")):
        with pytest.raises(ValueError, match=f"a value that {dtype} does not hold"):
            build([beyond], dtype, SEED)


MALFORMED: list[tuple[Any, str]] = [
    ({}, "give exactly one of values, uniform"),
    ({"values": [1], "uniform": [2]}, "give exactly one of"),
    ({"low": 1}, "give exactly one of"),
    ({"full": [1], "low": 3}, "unknown key 'low' beside 'full'"),
    ({"full": [1], "dtype": "float8"}, "unknown dtype 'float8'"),
    ({"full": [1], "layout": "diagonal"}, "unknown layout 'diagonal'; there are contiguous"),
    ({"full": 3}, "'full' takes a shape"),
    ({"full": [-1]}, "'full' takes a shape"),
    ({"full": [True]}, "'full' takes a shape"),
    ({"full": [2.0]}, "'full' takes a shape"),
    ({"full": [1], "value": "x"}, "'value' takes a number, not 'x'"),
    ({"labels": [3]}, "'labels' needs 'below'"),
    ({"labels": [3], "below": 2.5}, "'below' takes a whole number, not 2.5"),
    ({"labels": [3], "below": 0}, "'below' cannot be 0"),
    ({"label_sets": []}, "at least one axis"),
    ({"label_sets": [3], "most": -1}, "'most' cannot be -1"),
    ({"grid": [3], "step": 0}, "'step' cannot be 0"),
    ({"grid": [3], "high": float("inf")}, "'high' cannot be inf"),
    ({"uniform": [3], "low": None}, "'low' takes a number, not None"),
    ({"uniform": [3], "high": True}, "'high' takes a number, not True"),
    ({"full": [2], "set": 3}, "'set' takes a list of"),
    ({"full": [2], "set": [3]}, "'set' takes a list of"),
    ({"full": [2], "set": [{"at": [0]}]}, "'set' takes a list of"),
    ({"full": [2], "set": [{"at": 0, "value": 1}]}, "'at' takes a list of indices"),
    ({"full": [2], "set": [{"at": [2], "value": 1}]}, "'set': index 2 is out of bounds"),
    ({"full": [2], "set": [{"at": [0, 0], "value": 1}]}, "'set': too many indices"),
    ({"full": [2], "set": [{"at": [0], "value": "x"}]}, "'x' is not a number"),
    ([[1, 2], [3]], "the rows differ in length"),
    (["one"], "'one' is not a number, up"),
    (["up(1.2.3)"], "could not convert"),
    (None, "None is not a number"),
    ([{"a": 1}], "is not a number"),
    (10**400, "a number that float64 does not hold"),
]


@pytest.mark.parametrize(("spec", "says"), MALFORMED)
def test_malformed_specs_say_how(spec: Any, says: str) -> None:
    """Every malformed spec is a ValueError that names what is wrong, and never another exception."""
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        build(spec, "float32", SEED)


@pytest.mark.parametrize("shape", [[MAX_ELEMENTS + 1], [10**30], [0, 10**30], [4097, 4096]])
def test_huge_shapes_are_refused_unbuilt(shape: list[int]) -> None:
    """More elements than the limit are refused from the shape alone, also where another axis is empty."""
    with pytest.raises(ValueError, match=f"more than {MAX_ELEMENTS} elements"):
        generator({"uniform": shape})


def test_the_largest_shape_is_accepted() -> None:
    """The limit itself is allowed: 4096 × 4096."""
    assert generator({"uniform": [4096, 4096]}) == ("uniform", (4096, 4096))


def test_words_mean_nothing_among_integers() -> None:
    """`max` and `up(…)` are of floating dtypes only."""
    with pytest.raises(ValueError, match="'max' is not a number"):
        build(["max"], "int64", SEED)
