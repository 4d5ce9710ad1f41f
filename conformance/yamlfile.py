"""YAML as plain data that remembers where it stood, so that every complaint can name file:line:column."""

from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from conformance.errors import InvalidFileError

T = TypeVar("T")
Path_ = tuple[str | int, ...]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_BYTES = 4_000_000
_MAX_DEPTH = 24


class YamlFile:
    """One parsed file: `data` (dicts, lists, scalars) and the mark of every node.

    Anchors and aliases are refused: a case file is read by people, and an alias is how a small file
    becomes a large one. Tags other than YAML's own scalars are refused by the safe loader.

    Raises:
        InvalidFileError: not UTF-8, not YAML, a duplicate key, an alias, too deep or too large.

    """

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self._marks: dict[Path_, tuple[int, int]] = {}
        try:
            raw = path.read_bytes() if text is None else text.encode()
        except OSError as error:
            raise InvalidFileError(str(path), f"cannot be read: {error.strerror}") from error
        if len(raw) > _MAX_BYTES:
            raise InvalidFileError(str(path), f"larger than {_MAX_BYTES} bytes", "split the file")
        try:
            content = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidFileError(f"{path}:1:1", f"not UTF-8 at byte {error.start}") from error
        loader = _LOADER(content)
        try:
            self._refuse_aliases(content)
            node = loader.get_single_node()
            self.data = self._build(loader, node, ()) if node is not None else None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            at = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
            raise InvalidFileError(at, f"not valid YAML: {error.problem or error.context}") from error
        except (yaml.YAMLError, ValueError) as error:
            raise InvalidFileError(f"{path}:1:1", f"not valid YAML: {error}") from error
        finally:
            loader.dispose()

    def where(self, path: Path_) -> str:
        """`file:line:column` of the node at `path`, or of its nearest parent that has a mark."""
        while path and path not in self._marks:
            path = path[:-1]
        line, column = self._marks.get(path, (0, 0))
        return f"{self.path}:{line + 1}:{column + 1}"

    def line(self, path: Path_) -> int:
        """Return the 1-based line of the node at `path`."""
        return self._marks.get(path, (0, 0))[0] + 1

    def fail(self, path: Path_, what: str, remedy: str = "") -> InvalidFileError:
        """Return the error to raise about the node at `path`."""
        return InvalidFileError(self.where(path), what, remedy)

    def convert(self, kind: type[T]) -> T:
        """Validate the whole document as `kind`; a mismatch is reported at its own place."""
        try:
            return msgspec.convert(self.data, kind, strict=True)
        except msgspec.ValidationError as error:
            what, _, where = str(error).partition(" - at ")
            path = _pointer(where.strip("`")) if where else ()
            raise self.fail(path, what.replace("`", "'")) from error

    def _refuse_aliases(self, content: str) -> None:
        for event in yaml.parse(content, Loader=_LOADER):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                mark = event.start_mark
                at = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
                raise InvalidFileError(
                    f"{self.path}{at}",
                    "anchors and aliases are not allowed",
                    "write the value out, or use a matrix",
                )

    def _build(self, loader: Any, node: yaml.Node, path: Path_) -> Any:
        self._marks[path] = (node.start_mark.line, node.start_mark.column)
        if len(path) > _MAX_DEPTH:
            raise self.fail(path, f"nested deeper than {_MAX_DEPTH} levels")
        if isinstance(node, yaml.SequenceNode):
            return [self._build(loader, child, (*path, i)) for i, child in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return loader.construct_object(node, deep=True)
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            self._marks[(*path, key if isinstance(key, str) else "")] = (
                key_node.start_mark.line,
                key_node.start_mark.column,
            )
            if not isinstance(key, str):
                raise self.fail((*path, ""), f"the key {key!r} is not a string", "quote it")
            if key in built:
                raise self.fail((*path, key), f"the key {key!r} stands twice")
            built[key] = self._build(loader, value_node, (*path, key))
            self._marks[(*path, key)] = (key_node.start_mark.line, key_node.start_mark.column)
        return built


def _pointer(text: str) -> Path_:
    """Read msgspec's `$.cases[0].inputs[...]` as a path; it stops at the first part without a name."""
    path: list[str | int] = []
    for part in text.removeprefix("$").replace("[", ".[").split("."):
        if part in ("", "key in "):
            continue
        if part.startswith("["):
            index = part.strip("[]")
            if not index.isdigit():
                break
            path.append(int(index))
        else:
            path.append(part)
    return tuple(path)
