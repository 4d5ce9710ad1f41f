"""What an environment needs for its backends: requirements as people write them, and as pip takes them."""

import re
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution
from pathlib import Path

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from conformance import plugins
from conformance.adapters import BACKENDS
from conformance.errors import UsageError

WORKER = ("numpy", "msgspec>=0.19")
"""What a worker needs beside its framework."""
OURS = "op-conformance"
"""Our own distribution: a worker is handed this package by its parent."""
LONGEST_NAME = 100

_WHEEL = re.compile(r".*\.(whl|tar\.gz|zip)|.*://.*|.*[/\\].*", re.DOTALL)


class Wanted(msgspec.Struct, frozen=True):
    """What to install: for which backends, and under which name it is kept."""

    backends: tuple[str, ...]
    requirements: tuple[str, ...]
    """As pip takes them."""
    adapters: tuple[str, ...]
    """Distributions of third-party adapters, without what they depend on: that is among the others."""
    versions: dict[str, str]
    """By backend, the versions that will do: a specifier, which may be empty."""
    name: str


def wanted(asked: Sequence[str], backends: Iterable[str] = ()) -> Wanted:
    """Read requirements of which some name a backend (`paddle==3.2.2`), or the distribution it adapts.

    With `backends`, the environment is for these, whatever the requirements are called: a wheel of a night,
    a build for another device.

    Raises:
        UsageError: one is no requirement, or there is no backend among them.

    """
    named = {name: "" for name in backends if plugins.find(name)}
    installed, known = list[str](), set[str]()
    for text in asked:
        if (requirement := _parsed(text)) is None:
            installed.append(text)
            continue
        if backend := _backend(requirement.name):
            named[backend] = ",".join(filter(None, (named.get(backend), str(requirement.specifier))))
            requirement.name = plugins.adapter_class(backend).distribution
        known.add(canonicalize_name(requirement.name))
        installed.append(str(requirement))
    if not named:
        there = ", ".join([*BACKENDS, *plugins.installed()])
        raise UsageError(
            f"no backend among {', '.join(asked)}; there are {there}"
            "\n  --backend NAME says which one a wheel or another distribution is for"
        )
    adapters, more = _third_party(named)
    more = [each for each in (*more, *WORKER) if canonicalize_name(Requirement(each).name) not in known]
    return Wanted(tuple(named), (*installed, *dict.fromkeys(more)), adapters, named, _name(asked))


def _parsed(text: str) -> Requirement | None:
    """Read a requirement; None: it is a file or an address, which pip reads itself.

    Raises:
        UsageError: it is neither.

    """
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        if _WHEEL.fullmatch(text):
            return None
        first = str(error).splitlines()[0]
        raise UsageError(
            f"{text!r} is no requirement: {first}\n  write NAME==VERSION, as paddle==3.2.2, or a wheel's path"
        ) from error


def _backend(name: str) -> str:
    """Return the backend that a requirement is of, by its name or, of ours, its distribution; or nothing."""
    canonical = canonicalize_name(name)
    for backend in (*BACKENDS, *plugins.installed()):
        if canonical == canonicalize_name(backend):
            return backend
    distributions = {canonicalize_name(plugins.adapter_class(each).distribution): each for each in BACKENDS}
    return distributions.get(canonical, "")


def _third_party(backends: Iterable[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the distributions that bring these backends' adapters, and what those need besides.

    Not the framework, whose version is asked for, and not this package, which is handed to the worker.
    """
    adapters, needed = list[str](), list[str]()
    for name in backends:
        entry = None if name in BACKENDS else plugins.registered()[name][0].dist
        if entry is None:
            continue
        framework = canonicalize_name(plugins.adapter_class(name).distribution)
        for text in entry.requires or ():
            requirement = Requirement(text)
            due = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if due and canonicalize_name(requirement.name) not in (framework, OURS):
                requirement.marker = None
                needed.append(str(requirement))
        if canonicalize_name(entry.name) != framework:
            adapters.append(_place(entry))
    return tuple(dict.fromkeys(adapters)), needed


def _place(distribution: Distribution) -> str:
    """Say from where pip installs what is installed here: a folder or file, else by its version."""
    told = distribution.read_text("direct_url.json")
    url = msgspec.json.decode(told).get("url", "") if told else ""
    return str(url) or f"{distribution.name}=={distribution.version}"


def _name(asked: Sequence[str]) -> str:
    """Name an environment after what was asked for: `paddle-3.2.2-numpy-1.26.4`."""
    parts = [Path(text).name if _WHEEL.fullmatch(text) else text for text in asked]
    return re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(parts)).strip("-._")[:LONGEST_NAME]
