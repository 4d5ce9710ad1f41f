"""The documents that claims speak of: a hash of the docstring that each bound API ships with.

A claim paraphrases a document. When an upgrade changes that document the claim may no longer say what it
says, and nothing but a look at it can tell: so the lock file `documents.json`, beside the case files,
records what was read, and a test fails on every docstring that is no longer that one.

    python -m conformance.documents BACKEND

reads API names (a JSON list) from its standard input, imports that framework only, and prints the hashes.
"""

import inspect
import json
from collections.abc import Iterable
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from conformance.errors import InvalidFileError
from conformance.introspect import ask, installed_version, reply
from conformance.load import Operator, load_suite, shipped_cases
from conformance.yamlfile import YamlFile

LOCK = "documents.json"
_REWRITE = "mend it; or delete it, and `conformance documents --update` writes it again"
REMEDY = "read them, mend the claims, then `conformance documents --update`"


class Recorded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was recorded about one framework: its version, and a hash of each API's docstring."""

    version: str
    documents: dict[str, str]


Lock = dict[str, Recorded]


def bound(suite: list[Operator]) -> dict[str, list[str]]:
    """Return the names of the APIs that the case files bind, by backend."""
    names: dict[str, set[str]] = {}
    for op in suite:
        for api in op.apis:
            names.setdefault(api.backend, set()).add(api.name)
    return {backend: sorted(found) for backend, found in sorted(names.items())}


def installed(backend: str, apis: list[str]) -> Recorded:
    """Read the docstrings of these APIs as this machine has them; one that is missing is left out."""
    return Recorded(installed_version(backend), ask("conformance.documents", backend, apis))


def read_lock(root: Path) -> Lock:
    """Read the lock file of the case files below `root`; without one nothing is recorded.

    Raises:
        InvalidFileError: it is not valid; the message has its line and column.

    """
    path = root / LOCK
    if not path.exists():
        return {}
    try:
        return YamlFile(path).convert(Lock)  # JSON is YAML, and this reader knows where everything stands
    except InvalidFileError as error:
        raise InvalidFileError(error.where, error.what, _REWRITE) from error


def differences(apis: Iterable[str], recorded: Recorded | None, found: Recorded) -> list[str]:
    """Say, API by API, how the docstrings that are installed are not the recorded ones."""
    before = recorded or Recorded("none", {})
    said = []
    for name in sorted({*apis, *before.documents}):
        if name not in apis:
            said.append(f"{name}: recorded, but no case file binds it")
        elif name not in found.documents:
            said.append(f"{name}: the installed framework has no such API")
        elif name not in before.documents:
            said.append(f"{name}: its document is not recorded")
        elif before.documents[name] != found.documents[name]:
            said.append(f"{name}: its document has changed since {before.version}")
    if before.version != found.version:
        said.append(f"recorded for version {before.version}, installed is {found.version}")
    return said


def compare(root: Path | None = None) -> dict[str, list[str]]:
    """Return the differences of every backend between the lock file and what is installed."""
    folder = root or shipped_cases()
    lock, apis = read_lock(folder), bound(load_suite(root))
    said = {name: differences(apis[name], lock.get(name), installed(name, apis[name])) for name in apis}
    gone = {
        name: [f"backend {name}: recorded, but no case file binds it"] for name in lock if name not in apis
    }
    return {name: found for name, found in {**said, **gone}.items() if found}


def main_update(root: Path | None = None) -> dict[str, list[str]]:
    """Record the installed docstrings of every bound API; return what that changed, by backend.

    An API that the installed framework does not have is not recorded, so the test goes on naming it.
    """
    folder, said = root or shipped_cases(), compare(root)
    lock = {name: installed(name, apis) for name, apis in bound(load_suite(root)).items()}
    text = json.dumps(msgspec.to_builtins(lock), indent=1, sort_keys=True)
    (folder / LOCK).write_text(text + "\n", encoding="utf-8")
    return said


def docstring(entry: Any) -> str:
    """Return what an API says about itself; a class says it in its own docstring and its constructor's."""
    parts = [entry.__doc__]
    if inspect.isclass(entry) and inspect.isfunction(entry.__init__):
        parts.append(entry.__init__.__doc__)
    return "\n".join(part for part in parts if part)


def digest(document: str) -> str:
    """Hash a docstring, blind to how it is wrapped and indented."""
    return sha256(" ".join(document.split()).encode()).hexdigest()


def _digests(apis: list[str]) -> dict[str, str]:
    """Hash the docstrings of those of these APIs that exist, in the process that imports the framework."""
    found = {}
    for name in apis:
        module, _, attribute = name.rpartition(".")
        entry = getattr(import_module(module), attribute, None)
        if entry is not None:
            found[name] = digest(docstring(entry))
    return found


if __name__ == "__main__":
    reply(_digests)
