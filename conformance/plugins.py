"""Backends of other distributions: what they register under the entry point group `conformance.backends`.

    [project.entry-points."conformance.backends"]
    jax = "conformance_jax.adapter:JaxAdapter"

The bindings are data: `bindings/<op>.yaml` beside the module. Names are read from metadata; a package is
imported once one of its backends is asked for, its framework by the worker only. What is installed and not
asked for changes nothing.
"""

import inspect
import re
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.adapters import BACKENDS
from conformance.errors import UsageError

if TYPE_CHECKING:
    from conformance.adapters.base import Adapter

GROUP = "conformance.backends"
FOLDER = "bindings"

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_VALUE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_DECLARED = ("name", "distribution", "namespaces")


@cache
def registered() -> dict[str, tuple[EntryPoint, ...]]:
    """Return what other distributions register, by name; read once, and no earlier than somebody asks."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        found.setdefault(entry.name, []).append(entry)
    return {name: tuple(found[name]) for name in sorted(found)}


def installed() -> list[str]:
    """Return the names of the backends beyond the built-in ones."""
    return [name for name in registered() if name not in BACKENDS]


def among(names: Iterable[str]) -> list[str]:
    """Return which of these names are backends beyond the built-in ones; the others are not ours to judge."""
    wanted = {name for name in names if name not in BACKENDS}
    return [name for name in registered() if name in wanted] if wanted else []


def described() -> list[str]:
    """Say, a line each, what is installed beyond the built-in backends, and from where."""
    return [
        f"{name}  {' and '.join(map(_source, entries))}"
        for name, entries in registered().items()
        if name not in BACKENDS
    ]


def find(name: str) -> str:
    """Return where the adapter of a backend stands, `module:Class`.

    Raises:
        UsageError: there is no such backend, or more than one, or what registers it is malformed.

    """
    entries = registered().get(name, ())
    sources = " and ".join(map(_source, entries))
    if name in BACKENDS:
        if entries:
            raise UsageError(f"backend {name!r} is built in, and {sources} registers it too: uninstall that")
        return BACKENDS[name]
    if not entries:
        raise UsageError(f"no backend {name!r}; there are {', '.join([*BACKENDS, *installed()])}")
    if len(entries) > 1:
        raise UsageError(f"backend {name!r} is registered by {sources}: uninstall all but one")
    value = entries[0].value
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise UsageError(
            f"{sources} registers {name!r} as {value!r}, in the group {GROUP}: "
            "a backend is a name of lower case, digits and underscores, and a module:Class"
        )
    return value


def adapter_class(name: str) -> type["Adapter"]:
    """Return the adapter class of a backend; that imports its module, not its framework.

    Raises:
        UsageError: as `find`; or it cannot be imported, or is no adapter, or one of another name.

    """
    from conformance.adapters.base import Adapter  # noqa: PLC0415 - NumPy, which `list` does without

    value = find(name)
    module, _, attribute = value.partition(":")
    if name in BACKENDS:
        ours: type[Adapter] = getattr(import_module(module), attribute)
        return ours
    who = f"backend {name!r} of {_source(registered()[name][0])}"
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:
        raise UsageError(
            f"{who}: {value} cannot be imported: {type(error).__name__}: {error}: repair or uninstall it"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Adapter)):
        raise UsageError(f"{who}: {value} is no subclass of conformance.adapters.base.Adapter")
    lacking = [each for each in _DECLARED if not hasattr(found, each)]
    if inspect.isabstract(found):
        lacking += sorted(found.__abstractmethods__)
    if lacking:
        raise UsageError(f"{who}: {value} does not define {', '.join(lacking)}")
    if found.name != name:
        raise UsageError(f"{who}: {value} calls itself {found.name!r}: its name and its entry's are one")
    return found


def bindings_folder(name: str) -> Path:
    """Return the folder of a backend's bindings; nothing is imported to find it.

    Raises:
        UsageError: as `find`; or there is no such folder.

    """
    value = find(name)
    top, *steps = value.partition(":")[0].split(".")
    spec = find_spec(top)
    for root in (spec.submodule_search_locations if spec else None) or ():
        module = Path(root, *steps)
        folder = (module if module.is_dir() else module.parent) / FOLDER
        if folder.is_dir():
            return folder
    raise UsageError(
        f"backend {name!r} of {_source(registered()[name][0])} has no bindings: "
        f"there is no folder {FOLDER!r} beside {value}"
    )


def _source(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed distribution"
