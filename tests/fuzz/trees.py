"""Mutations that keep a file's syntax: most of what changes single bytes is refused by the parser alone."""

import copy
from random import Random
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 0.5, 1 << 24, 1 << 31, 1 << 53, 1 << 63, -(1 << 64), 10**40, 10**399,
    float("nan"), float("inf"), float("-inf"), 1e308, 5e-324, -0.0,
    "", " ", "x", "*", "[", "`", "plain*", "float32", "bfloat16", "none", "mean", "max", "tiny",
    "up(1.0)", "up(1e999)", "NaN", "Infinity", "os.system", "__class__", "a.b", "- at `$.x`",
    "\x1b[2J", "\u2028", "\ud800", "é" * 200,
    [], {}, [[]], [{}], {"": None}, [0, 1], [1.5, "x"], {"a": 1}, {"float32": [2.0, 1.0]},
)  # fmt: skip
CHANGES = ("delete", "double", "rename", "retype", "retype", "wrap", "copy")


def places(node: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) of a tree."""
    pairs = list(
        node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    )
    return [(node, key) for key, _ in pairs] + [place for _, child in pairs for place in places(child)]


def mutated(tree: Any, random: Random) -> Any:
    """Delete, double, rename, retype, wrap or copy something, up to four times."""
    for _ in range(random.randint(1, 4)):
        found = places(tree)
        if not found:
            return random.choice(ODD)
        _change(random.choice(CHANGES), *random.choice(found), found, random)
    return tree


def _change(what: str, node: Any, key: Any, found: list[tuple[Any, Any]], random: Random) -> None:
    other, at = random.choice(found)
    if what == "delete":
        del node[key]
    elif what == "retype":
        node[key] = copy.deepcopy(random.choice(ODD))
    elif what == "wrap":
        node[key] = random.choice([[node[key]], {"a": node[key]}, str(node[key])])
    elif what == "copy":
        node[key] = copy.deepcopy(other[at])
    elif isinstance(node, list):
        node.insert(random.randint(0, len(node)), copy.deepcopy(node[key]))
    else:
        # What a mapping elsewhere calls something is more of a name than anything made up.
        name = at if isinstance(at, str) and random.random() < 0.5 else random.choice(ODD)
        node[str(name)] = copy.deepcopy(node[key]) if what == "double" else node.pop(key)
