"""This package, to be taken to another machine: its sources, and those of execnet."""

from collections.abc import Iterator
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import execnet

import conformance

UNNEEDED = ("cases", "known", "publish", "reference", "report")
"""What a worker has no use for: it never sees an expected answer."""


def sources() -> Iterator[tuple[str, Path]]:
    """Yield the files that a keeper and its workers are made of, each with its place in the bundle."""
    for package in (conformance, execnet):
        root = Path(str(files(package)))
        for path in sorted(root.rglob("*.py")):
            if package is execnet or path.relative_to(root).parts[0] not in UNNEEDED:
                yield str(path.relative_to(root.parent)), path


def bundle() -> bytes:
    """Return them as a zip."""
    content = BytesIO()
    with ZipFile(content, "w", ZIP_DEFLATED) as archive:
        for name, path in sources():
            archive.write(path, name)
    return content.getvalue()


def unpacked(folder: Path) -> list[Path]:
    """Write them into a folder; return that of each package."""
    for name, path in sources():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return [folder / "conformance", folder / "execnet"]
