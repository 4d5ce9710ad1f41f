"""A call as a person writes it down to have it compiled: a function of its tensors, with a source text.

Compilers want to see that. Some read the text, and none of those takes `*args` for arguments, or a lambda.
"""

import linecache
import math
from collections.abc import Callable
from keyword import iskeyword
from typing import Any

from conformance.errors import BindingError

_files: dict[str, str] = {}
"""By text, the names under which `inspect` finds them: as many as there are kinds of calls."""


class NotCompiledError(NotImplementedError):
    """A call was to be compiled, and ran as it stands: what it gave is not what was asked for."""


def written(
    entry: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], is_tensor: Callable[[Any], bool]
) -> tuple[Callable[..., Any], list[Any]]:
    """Return `entry(*args, **kwargs)` as a function of the tensors in it, and those tensors.

    Whatever is no tensor stands in its text, or beside it as `entry` does.
    """
    tensors: list[Any] = []
    beside: dict[str, Any] = {"entry": entry}

    def text(value: Any) -> str:
        if is_tensor(value):
            tensors.append(value)
            return f"x{len(tensors) - 1}"
        if isinstance(value, list):
            return f"[{', '.join(map(text, value))}]"
        if (
            value is None
            or isinstance(value, int | str)
            or (isinstance(value, float) and math.isfinite(value))
        ):
            return repr(value)
        name = f"c{len(beside)}"
        beside[name] = value
        return name

    for name in kwargs:
        if not name.isidentifier() or iskeyword(name):
            raise BindingError(f"{name!r} is no name of an argument")  # nor is it to be executed
    passed = ", ".join([*map(text, args), *(f"{name}={text(value)}" for name, value in kwargs.items())])
    names = ", ".join(f"x{number}" for number in range(len(tensors)))
    source = f"def made({', '.join(beside)}):\n    def call({names}):\n        return entry({passed})\n\n"
    made: Callable[..., Callable[..., Any]] = _compiled(f"{source}    return call\n")["made"]
    return made(**beside), tensors


def _compiled(source: str) -> dict[str, Any]:
    """Execute a text under the name of a file: paddle keeps what it made of a text, and quotes it later."""
    file = _files.setdefault(source, f"<call {len(_files)}>")
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope: dict[str, Any] = {"__name__": __name__}  # MindSpore imports the module that a function is of
    exec(compile(source, file, "exec"), scope)  # noqa: S102 - written above, of literals and our own names
    return scope
