"""What an op file says, kept by its bits: to read YAML, and to hold patterns against ids, takes longest.

A file whose bits were read and found valid before, by this program, is not read as YAML again. Where
something is wrong with it all the same, it is, to say where.
"""

import sys
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import msgspec

from conformance import entries
from conformance.errors import InvalidFileError
from conformance.folders import cache_folder
from conformance.opfile import OpFile
from conformance.yamlfile import MAX_BYTES, Path_, YamlFile

LIMIT = 512 << 20
"""Bytes that the folder may hold; the entries that were not read for longest go first."""

_LIBRARIES = ("allpairspy", "msgspec", "numpy", "pyyaml")


class _Kept(msgspec.Struct, array_like=True):
    decl: OpFile
    places: list[tuple[int, int]]
    """Line and column of each case's name."""


_decoder = msgspec.msgpack.Decoder(_Kept)
_encode = msgspec.msgpack.Encoder().encode


class Known:
    """A file that was valid when it was read before."""

    def __init__(self, path: Path, digest: str, kept: _Kept) -> None:
        self.path, self.digest, self.decl, self._places = path, digest, kept.decl, kept.places

    def where(self, path: Path_) -> str:
        """`file:line:column` of the node at `path`."""
        if len(path) == 3 and path[0] == "cases" and path[2] == "case":
            line, column = self._places[int(path[1])]
            return f"{self.path}:{line}:{column}"
        return YamlFile(self.path).where(path)

    def fail(self, path: Path_, what: str, remedy: str = "") -> InvalidFileError:
        """Return the error to raise about the node at `path`."""
        return YamlFile(self.path).fail(path, what, remedy)


def recall(path: Path) -> Known | None:
    """Return a file as it was read before; None: it was not, or it cannot be read."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        digest = sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
    content = entries.read(entries.place(_folder(), _name(digest)))
    return None if content is None else Known(path, digest, _decoder.decode(content))


def keep(document: YamlFile, decl: OpFile) -> None:
    """Keep what a valid file says; a folder that cannot be written costs time and nothing else."""
    wheres = [document.where(("cases", n, "case")).rsplit(":", 2)[1:] for n in range(len(decl.cases))]
    kept = _Kept(decl, [(int(line), int(column)) for line, column in wheres])
    try:
        content = _encode(kept)
        same = repr(_decoder.decode(content)) == repr(kept)
    except (msgspec.MsgspecError, OverflowError, UnicodeEncodeError):
        return  # a number or a text that has no place in there
    if same and entries.write(entries.place(_folder(), _name(document.digest)), content):
        entries.trim(_folder(), LIMIT)


def _folder() -> Path:
    return cache_folder() / "parsed"


def _name(digest: str) -> str:
    return sha256(f"{_program()} {digest}".encode()).hexdigest()[:40]


@cache
def _program() -> str:
    """Name all that reads and checks files: this package, the references, and libraries."""
    digest = sha256(f"{sys.version} {[version(name) for name in _LIBRARIES]}".encode())
    folders = (Path(str(files(name))) for name in ("conformance", "conformance.reference"))
    for path in sorted({path for folder in folders for path in folder.rglob("*.py")}):
        digest.update(path.read_bytes())
    return digest.hexdigest()
