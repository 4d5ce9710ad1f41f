"""Patterns over case ids and API names, in which brackets are no more than brackets."""

import re
from collections.abc import Iterable
from functools import lru_cache


def glob(pattern: str, text: str) -> bool:
    """Whether `text` matches `pattern`, where only `*` is special: ids are full of brackets."""
    return _compiled(pattern).fullmatch(text) is not None


def any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """Compile patterns into one: what has a full match with it matches one of them."""
    return _alternatives(tuple(patterns))


@lru_cache(maxsize=4096)
def _alternatives(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{_regex(pattern)})" for pattern in patterns) or r"(?!)", re.DOTALL)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(_regex(pattern), re.DOTALL)


def _regex(pattern: str) -> str:
    first, *rest = map(re.escape, pattern.split("*"))
    # Atomic groups: the first place where a part fits is as good as any, and trying others takes for ever.
    parts = "".join(f"(?>.*?{part})" for part in rest[:-1])
    return first + parts + (f".*{rest[-1]}" if rest else "")


def after_op(case_id: str) -> str:
    """Return the part of a case id that patterns in an op's own file speak of: `basic[float32,none]`."""
    return case_id.partition("/")[2]
