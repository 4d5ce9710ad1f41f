"""Globs over ids: only the star is special."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.globs import after_op, glob


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("basic[float32,none]", "basic[float32,none]", True),
        ("basic[float32,none]", "basicf", False),
        ("basic[*", "basic[float32,none]", True),
        ("basic[*", "basics[float32,none]", False),
        ("*none]", "basic[float32,none]", True),
        ("basic[*,none]", "basic[float32,p=1,none]", True),
        ("basic[*,none]", "basic[float32,mean]", False),
        ("basic", "basic[float32]", False),
        ("*", "", True),
        ("a?c", "abc", False),
        ("a.c", "abc", False),
        ("margin=0.5*", "margin=0x5", False),
        ("torch.nn.*", "torch.nn.functional.multi_margin_loss", True),
    ],
)
def test_only_the_star_is_special(pattern: str, text: str, matches: bool) -> None:
    """Brackets, dots and question marks match themselves; the whole text has to match."""
    assert glob(pattern, text) is matches


@given(st.text(alphabet="ab[]*.?,=", max_size=12).filter(lambda text: "*" not in text))
def test_an_id_matches_itself(text: str) -> None:
    """A pattern without a star matches its own text and nothing longer."""
    assert glob(text, text)
    assert not glob(text, text + "x")


def test_after_op() -> None:
    """Patterns speak of the part of an id after the op, whatever it contains."""
    assert after_op("op/basic[float32,a/b]") == "basic[float32,a/b]"
