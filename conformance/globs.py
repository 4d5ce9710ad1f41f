"""Patterns over case ids and API names, in which brackets are no more than brackets."""

import re
from functools import lru_cache


def glob(pattern: str, text: str) -> bool:
    """Whether `text` matches `pattern`, where only `*` is special: ids are full of brackets."""
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    first, *rest = map(re.escape, pattern.split("*"))
    # Atomic groups: the first place where a part fits is as good as any, and trying others takes for ever.
    parts = "".join(f"(?>.*?{part})" for part in rest[:-1])
    return re.compile(first + parts + (f".*{rest[-1]}" if rest else ""), re.DOTALL)


def after_op(case_id: str) -> str:
    """Return the part of a case id that patterns in an op's own file speak of: `basic[float32,none]`."""
    return case_id.partition("/")[2]
