"""Pairs: the expansion covers every allowed pair with few points, and what is missing is named."""

from itertools import combinations, product
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.load import load_operator
from conformance.opfile import ExcludedPair
from conformance.pairs import missing, points

MATRIX: dict[str, list[Any]] = {
    "dtype": ["float32", "float64"],
    "p": [1, 2],
    "margin": [0.0, 0.5, 1.0],
    "reduction": ["none", "sum"],
}


def test_a_product_has_every_point() -> None:
    """Without pairwise expansion a matrix is its product, in order."""
    found = [tuple(point.values()) for point in points(MATRIX, [], pairwise=False)]
    assert found == list(product(*MATRIX.values()))


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abcde"), st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True)
    )
)
def test_pairwise_covers_every_pair(matrix: dict[str, list[int]]) -> None:
    """Every two values of two axes stand in one point, and there are never more points than the product."""
    matrix = {name: sorted(set(values)) for name, values in matrix.items()}
    found = list(points(matrix, [], pairwise=True))
    for (one, ones), (two, twos) in combinations(matrix.items(), 2):
        assert {(p[one], p[two]) for p in found} == set(product(ones, twos))
    assert len(found) <= len(list(product(*matrix.values())))


def test_an_excluded_pair_is_in_no_point() -> None:
    """And every other pair still is."""
    excluded = [ExcludedPair({"p": 2, "margin": 0.0}, "an example")]
    found = list(points(MATRIX, excluded, pairwise=True))
    assert (2, 0.0) not in {(p["p"], p["margin"]) for p in found}
    assert {(p["p"], p["margin"]) for p in found} == set(product([1, 2], [0.0, 0.5, 1.0])) - {(2, 0.0)}


TEXT = """
op: multi_margin_loss
family: loss
summary: what pairs are counted of
tensors:
  input: {{kind: floating}}
  target: {{kind: label}}
  weight: {{kind: floating, optional: true}}
params:
  p: {{default: 1, values: [1, 2]}}
  margin: {{default: 1.0}}
  reduction: {{default: mean, values: [mean, sum]}}
apis:
  torch.nn.functional.multi_margin_loss:
    doc: https://example.org
    call: [input, target, p, margin, weight, reduction]
cases:
  - case: pairs
    why: Every pair but those that a test takes out.
    inputs: {{input: [[0.5, 2.0]], target: [0], weight: [0.5, 2.0]}}
    {expand}
    matrix:
      dtype: [float16, bfloat16, float32, float64]
      p: {p}
      reduction: [mean, sum]
      weight.given: [true, false]
"""


def test_a_missing_pair_is_named() -> None:
    """With everything there is nothing missing; without p = 2 all its pairs are, and no other."""
    whole = load_operator(Path("x.yaml"), TEXT.format(expand="expand: pairwise", p=[1, 2]))
    assert missing(whole) == []
    lacking = missing(load_operator(Path("x.yaml"), TEXT.format(expand="expand: pairwise", p=[1])))
    assert len(lacking) == 4 + 2 + 2
    assert all({"p": 2} in pair for pair in lacking)
