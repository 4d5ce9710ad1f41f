"""What a loader may do with whatever bytes it is given: load them, or refuse them in one placed message.

How long it takes and how much memory, the fuzzer itself watches: it ends a loader that goes beyond.
"""

import collections
import gzip
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from conformance.accounting import FILE, complaints, read_accounting
from conformance.changes import compare_runs
from conformance.checking import Checked, check_file
from conformance.documents import LOCK, Recorded, differences, read_lock
from conformance.errors import ConformanceError, Exit
from conformance.fold import encode, fold, read_run, unfold
from conformance.ledger import load_ledger
from conformance.load import case_files, shipped_cases
from conformance.report.facts import read_facts
from conformance.stream import read_stream
from conformance.yamlfile import YamlFile
from tests.corpus.large import CASES, STREAMS
from tests.corpus.read import HERE, corpus
from tests.fuzz.resumed import PART, resume

ROOT = Path(__file__).parents[2]
LONGEST = 16_000
"""Bytes of a seed: the larger shipped files take longer to load than fuzzing has for one input."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_STARTS = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "subprocess.Popen",
    "socket.connect",
    "pty.spawn",
)
_NAMED_TUPLE = collections.namedtuple.__code__  # noqa: PYI024 - to know it by
_watching = False


class BrokenRuleError(Exception):
    """A loader did what it may not do; nothing of ours catches it."""


class Loader(NamedTuple):
    """How a kind of file is loaded, what it is named, valid and malformed ones, and its text as a tree."""

    load: Callable[[Path], object]
    name: str
    seeds: Callable[[], list[bytes]]
    parse: Callable[[str], Any] = lambda text: YamlFile(Path("tree"), text).data
    write: Callable[[Any], str] = json.dumps
    """JSON is YAML."""


def holds(loader: Loader, folder: Path, data: bytes) -> None:
    """Load these bytes in that folder.

    Raises:
        BrokenRuleError: an exception of another kind, a message without its place, or something executed.

    """
    path = folder / loader.name
    path.write_bytes(data)
    try:
        with _watched():
            loader.load(path)
    except ConformanceError as error:
        said = str(error)
        if error.exit_code != Exit.USAGE:
            raise BrokenRuleError(f"exit {error.exit_code}: {said}") from error
        if not re.match(re.escape(str(folder)) + r"/[^/:]+:[1-9]\d*:[1-9]\d*: \S", said):
            raise BrokenRuleError(f"no file:line:column: {said}") from error
        if not all(character.isprintable() or character == "\n" for character in said):
            raise BrokenRuleError(f"a terminal would obey it: {said!r}") from error
    except BrokenRuleError:
        raise
    except Exception as error:
        raise BrokenRuleError(f"{type(error).__name__}: {error}") from error


def warm(loader: Loader, folder: Path) -> None:
    """Load every seed unwatched: what is imported late evaluates code of its own, then and never again."""
    path = folder / loader.name
    for data in loader.seeds():
        path.write_bytes(data)
        with suppress(ConformanceError):
            loader.load(path)


@contextmanager
def _watched() -> Iterator[None]:
    global _watching  # noqa: PLW0603 - an audit hook is the process's, and for ever
    _hook()
    _watching = True
    try:
        yield
    finally:
        _watching = False


@cache
def _hook() -> None:
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
    # Text that is evaluated has no file. A named tuple's maker evaluates too, after it checked the names.
    evaluates = event == "exec" and getattr(arguments[0], "co_filename", "<string>") == "<string>"
    evaluates = evaluates and sys._getframe(1).f_code is not _NAMED_TUPLE
    if event in _STARTS or writes or evaluates:
        raise BrokenRuleError(f"{event} {arguments!r:.200}")


def _ledger(path: Path) -> None:
    load_ledger(path.parent).check([_checked()])


@cache
def _checked() -> Checked:
    found = check_file(HERE / "valid.yaml", (), ours=False)
    assert isinstance(found, Checked)
    return found


def _accounting(path: Path) -> None:
    accounting = read_accounting(path.parent)
    complaints(accounting, {"torch.nn.functional.mse_loss"}, {name: ["mse_loss"] for name in accounting})


def _documents(path: Path) -> None:
    for recorded in read_lock(path.parent).values():
        differences(recorded.documents, recorded, Recorded("none", {}))


def _stream(path: Path) -> None:
    facts = read_facts(path)
    compare_runs(facts, facts)
    list(unfold(json.loads(encode(fold(read_stream(path))))))


def _report(path: Path) -> None:
    list(read_run(path))
    facts = read_facts(path)
    compare_runs(facts, facts)
    encode(fold(read_run(path)))


def _small(paths: list[Path]) -> list[bytes]:
    return [path.read_bytes() for path in paths if path.stat().st_size <= LONGEST]


def _changed(records: str, valid: str) -> list[bytes]:
    return [bad.text.encode() for bad in corpus(records, valid)] + [(HERE / valid).read_bytes()]


def _made(found: dict[str, tuple[bytes, str, str]]) -> list[bytes]:
    return [data for data, _, _ in found.values() if len(data) <= LONGEST]


def _streams() -> list[bytes]:
    return _changed("streams.txt", "run.jsonl") + _made(STREAMS)


def _partial() -> list[bytes]:
    return [*_changed("parts.txt", PART.name), PART.read_bytes()[:-9], *_streams()]


def _reports() -> list[bytes]:
    found = _changed("reports.txt", "report.json")
    return [*found, gzip.compress(found[-1], mtime=0), gzip.compress(found[-1], mtime=0)[:-9]]


def _rows(text: str) -> Any:
    return [json.loads(line) for line in text.splitlines()]


def _lines(rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in (rows if isinstance(rows, list) else [rows]))


LOADERS = {
    "op": Loader(
        lambda path: check_file(path, (), ours=False),
        "op.yaml",
        lambda: _small(case_files()) + _changed("cases.txt", "valid.yaml") + _made(CASES),
    ),
    "ledger": Loader(
        _ledger,
        "ledger.yaml",
        lambda: (
            _small(sorted((ROOT / "reports" / "known").rglob("*.yaml")))
            + _changed("ledgers.txt", "ledger.yaml")
        ),
    ),
    "accounting": Loader(_accounting, FILE, lambda: [_first(shipped_cases() / FILE)]),
    "stream": Loader(_stream, "run.jsonl", _streams, _rows, _lines),
    "partial": Loader(resume, "run.jsonl.part", _partial, _rows, _lines),
    "report": Loader(_report, "report.json", _reports, json.loads, json.dumps),
    "documents": Loader(_documents, LOCK, lambda: _changed("documents.txt", LOCK)),
}


def _first(path: Path) -> bytes:
    """Return as many whole entries of a large file as a seed may have."""
    whole = path.read_bytes()
    return whole if len(whole) <= LONGEST else whole[: whole.rfind(b"\n\n", 0, LONGEST) + 1]
