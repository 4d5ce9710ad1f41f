"""YAML as plain data that remembers where it stood, so that every complaint can name file:line:column."""

import math
import re
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import yaml

from conformance.errors import InvalidFileError

T = TypeVar("T")
Path_ = tuple[str | int, ...]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_BYTES = 4_000_000
_MAX_DEPTH = 24
_MAX_NODES = 100_000
_MAX_DIGITS = 400
_PLAIN_TAGS = (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_PLACE = re.compile(r"(.*) - at `\$((?:\.\w+|\[\d+\]|\[\.\.\.\])*)`", re.DOTALL)
_BINARY = "tag:yaml.org,2002:binary"
_STEP = re.compile(r"\[(\d+)\]|\[(\.\.\.)\]|\.([^.\[]+)")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)


class Document(Protocol):
    """A file that can say where a node of it stands."""

    digest: str

    def where(self, path: Path_) -> str:
        """`file:line:column` of the node at `path`."""

    def fail(self, path: Path_, what: str, remedy: str = "") -> InvalidFileError:
        """Return the error to raise about the node at `path`."""


class YamlFile:
    """One parsed file: `data` (dicts, lists, scalars) and the mark of every node.

    Anchors and aliases are refused: a case file is read by people, and an alias is how a small file
    becomes a large one. Tags other than YAML's own scalars are refused: on scalars by the safe loader,
    on collections here.

    Raises:
        InvalidFileError: not a file, not UTF-8, not YAML, a duplicate key, an alias, a tag, too deep or too
            large.

    """

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self._marks: dict[Path_, tuple[int, int]] = {}
        try:
            raw = _read(path) if text is None else text.encode()
        except OSError as error:
            raise InvalidFileError(str(path), f"cannot be read: {error.strerror}") from error
        self.digest = sha256(raw).hexdigest()
        if len(raw) > MAX_BYTES:
            raise InvalidFileError(f"{path}:1:1", f"larger than {MAX_BYTES} bytes", "split the file")
        try:
            content = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            line, start = raw.count(b"\n", 0, error.start) + 1, raw.rfind(b"\n", 0, error.start)
            at = f"{path}:{line}:{error.start - start}"
            raise InvalidFileError(at, f"not UTF-8 at byte {error.start}", "save it as UTF-8") from error
        loader = _LOADER(content)
        try:
            self._screen(content)
            node = loader.get_single_node()
            self.data = self._build(loader, node, ()) if node is not None else None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            at = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
            raise InvalidFileError(at, f"not valid YAML: {error.problem or error.context}") from error
        except yaml.reader.ReaderError as error:
            raise self._unreadable(content, error) from error
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
        """Return the error to raise about the node at `path`; what it quotes is made printable."""
        return InvalidFileError(self.where(path), _printable(what), _printable(remedy))

    def convert(self, kind: type[T]) -> T:
        """Validate the whole document as `kind`; a mismatch is reported at its own place."""
        try:
            return msgspec.convert(self.data, kind, strict=True)
        except msgspec.ValidationError as error:
            placed = _PLACE.fullmatch(str(error))
            what = (placed[1] if placed else str(error)).replace("`", "'")
            raise self.fail(self._locate(kind, str(error)), what) from error

    def _locate(self, kind: type[Any], complaint: str) -> Path_:
        """Find the node that msgspec complains about. It calls every key of a mapping `[...]`: halve them."""
        placed = _PLACE.fullmatch(complaint)
        what, where = placed.groups() if placed else (complaint, "")
        path: Path_ = ()
        for index, anything, name in _STEP.findall(where):
            if anything:
                node = _at(self.data, path)
                if not isinstance(node, dict) or not node:  # a key may look like a place
                    return ()
                keys = list(node)
                while len(keys) > 1:
                    half = keys[: len(keys) // 2]
                    guilty = _complaint(_narrowed(self.data, path, half), kind) == complaint
                    keys = half if guilty else keys[len(half) :]
                path = (*path, keys[0])
            else:
                path = (*path, int(index) if index else name)
        unknown = _UNKNOWN.fullmatch(what)
        return (*path, unknown[1]) if unknown else path

    def _unreadable(self, content: str, error: yaml.reader.ReaderError) -> InvalidFileError:
        """Return the error about a character that YAML does not allow, where it stands."""
        before = content.encode()[: error.position].decode(errors="ignore")
        column = len(before) - before.rfind("\n")
        at = f"{self.path}:{before.count(chr(10)) + 1}:{column}"
        return InvalidFileError(at, f"not valid YAML: {error.reason} ({error.character!r})", "escape it")

    def _screen(self, content: str) -> None:
        """Read the events first: aliases, tags and depth, before anything is built or recursed into."""
        depth = nodes = 0
        event: Any
        for event in yaml.parse(content, Loader=_LOADER):
            starts = isinstance(event, yaml.CollectionStartEvent)
            depth += starts - isinstance(event, yaml.CollectionEndEvent)
            nodes += isinstance(event, yaml.NodeEvent)
            what = remedy = ""
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                what, remedy = "anchors and aliases are not allowed", "write the value out, or use a matrix"
            elif (starts and event.tag not in _PLAIN_TAGS) or getattr(event, "tag", None) == _BINARY:
                what = f"the tag {event.tag!r} is not allowed"
            elif depth > _MAX_DEPTH:
                what = f"nested deeper than {_MAX_DEPTH} levels"
            elif nodes > _MAX_NODES:
                what, remedy = f"more than {_MAX_NODES} values and keys", "split the file, or use a generator"
            if what:
                mark = event.start_mark
                raise InvalidFileError(f"{self.path}:{mark.line + 1}:{mark.column + 1}", what, remedy)

    def _build(self, loader: Any, node: yaml.Node, path: Path_) -> Any:
        self._marks[path] = (node.start_mark.line, node.start_mark.column)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(loader, child, (*path, i)) for i, child in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return self._scalar(loader, node, path)
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            self._marks[(*path, "")] = (key_node.start_mark.line, key_node.start_mark.column)
            if isinstance(key_node, yaml.ScalarNode):
                key = self._scalar(loader, key_node, (*path, ""))
            else:
                key = loader.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise self.fail((*path, ""), f"the key {key!r} is not a string", "quote it")
            if key in built:
                raise self.fail((*path, ""), f"the key {key!r} stands twice")
            built[key] = self._build(loader, value_node, (*path, key))
            self._marks[(*path, key)] = (key_node.start_mark.line, key_node.start_mark.column)
        return built

    def _scalar(self, loader: Any, node: yaml.Node, path: Path_) -> Any:
        kind = node.tag.rpartition(":")[2]
        if kind in ("int", "float") and len(node.value) > _MAX_DIGITS:  # base 60 takes quadratic time
            raise self.fail(path, f"a number of more than {_MAX_DIGITS} characters")
        try:
            value = loader.construct_object(node, deep=True)
        except (ValueError, KeyError, AttributeError, IndexError, OverflowError) as error:
            # `!!bool maybe`, `!!int ''`, 2026-13-45
            raise self.fail(path, f"not valid YAML: {str(node.value)[:40]!r} is not a {kind}") from error
        if isinstance(value, float) and math.isinf(value) and "inf" not in node.value.lower():
            raise self.fail(path, f"{node.value} is a number that float64 does not hold", "write .inf")
        return value


def _at(data: Any, path: Path_) -> Any:
    """Return the node at `path`, None where there is no such node."""
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _narrowed(data: Any, path: Path_, keys: list[str]) -> Any:
    """Copy `data` with nothing but these keys in the mapping at `path`."""
    if not path:
        return {key: data[key] for key in keys}
    copy = data.copy()
    copy[path[0]] = _narrowed(data[path[0]], path[1:], keys)
    return copy


def _read(path: Path) -> bytes:
    """Read no more than one byte too many; a pipe or a device might never end."""
    if path.exists() and not path.is_file():
        raise InvalidFileError(str(path), "not a file")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _printable(text: str) -> str:
    """Escape what a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _complaint(data: Any, kind: type[Any]) -> str:
    try:
        msgspec.convert(data, kind, strict=True)
    except msgspec.ValidationError as error:
        return str(error)
    return ""
