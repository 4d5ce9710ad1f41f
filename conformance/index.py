"""Names of operators, APIs and cases without loading them: kept on disk by the bytes that they come from."""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path

import msgspec

import conformance
from conformance import plugins
from conformance.adapters import BACKENDS
from conformance.folders import cache_folder

KEPT = 8


class Names(msgspec.Struct, array_like=True):
    """What of an operator has a name."""

    op: str
    apis: list[str]
    cases: list[str]


_decoder = msgspec.msgpack.Decoder(list[Names])


def names(root: Path | None, folder: Path | None = None, backends: Iterable[str] = ()) -> list[Names]:
    """Return the names in the case files below `root` (default: the shipped ones), in order.

    Files that were loaded before are not loaded again; any change in them, in the references or in this
    package makes them other files. With `backends`, what the packages of these bind is in it.

    Raises:
        InvalidFileError, UsageError: as `load_suite`.

    """
    others = [name for name in dict.fromkeys(backends) if plugins.find(name) and name not in BACKENDS]
    path = (folder or cache_folder()) / "index" / _key(root, others)
    with suppress(OSError, msgspec.DecodeError):
        return _decoder.decode(path.read_bytes())
    from conformance.load import load_suite  # noqa: PLC0415 - a second or two, and what this is here to spare

    suite = load_suite(root, backends=others)
    found = [Names(op.name, [api.name for api in op.apis], [case.id for case in op.cases]) for op in suite]
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.msgpack.encode(found))
        Path(name).replace(path)
        _prune(path.parent)
    return found


def _prune(folder: Path) -> None:
    """Keep the youngest: every change of a case file leaves an index that nobody asks for again."""
    for old in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        old.unlink()


def _key(root: Path | None, backends: list[str]) -> str:
    cases = root or _package("conformance.cases")
    digest = blake2b(conformance.__version__.encode(), digest_size=16)
    bound = [path for name in backends for path in _files(plugins.bindings_folder(name), "*.yaml")]
    for path in (*_files(cases, "*.yaml"), *bound, *_sources()):
        with suppress(OSError):
            digest.update(f"\0{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _files(folder: Path, pattern: str) -> Iterable[Path]:
    return [folder] if folder.is_file() else sorted(folder.rglob(pattern))


def _sources() -> list[Path]:
    ours, references = Path(__file__).parent, _package("conformance.reference")
    return [*sorted(ours.glob("*.py")), *sorted(references.glob("*.py"))]


def _package(name: str) -> Path:
    """Find a package's folder without importing it: the references would bring NumPy."""
    found = find_spec(name)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent
