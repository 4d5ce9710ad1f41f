"""What can go wrong on our side of the line, and the exit code each one ends with.

Exit codes are pytest's, so that one CI rule reads both entrances.
"""

import errno
from enum import IntEnum
from pathlib import Path

_REMEDIES = {
    errno.ENOSPC: "the disk is full: make room",
    errno.EDQUOT: "your share of the disk is used up: make room",
    errno.EFBIG: "files may not grow that large here: raise the limit (`ulimit -f`)",
}
_OTHERWISE = "choose a folder that can be written to, or see to that one"
_LONGEST, _END, _MOST_LINES = 800, 240, 40
"""Characters of a line of a message, how many of them are its end, and lines: a file may hold long ones."""


class Exit(IntEnum):
    """The exit status of every command."""

    OK = 0
    UNEXPECTED = 1
    INTERRUPTED = 2
    HARNESS = 3
    USAGE = 4
    NOTHING_RAN = 5


class ConformanceError(Exception):
    """Base of the errors that people are told about in one message, without a traceback."""

    exit_code = Exit.HARNESS


class InvalidFileError(ConformanceError):
    """A case file, ledger or stream is not what its format says: exit 4."""

    exit_code = Exit.USAGE

    def __init__(self, where: str, what: str, remedy: str = "") -> None:
        self.where, self.what, self.remedy = where, _readable(what), _readable(remedy)
        super().__init__(f"{where}: {self.what}" + (f"\n  {self.remedy}" if remedy else ""))

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        """Survive the way from another process whole."""
        return type(self), (self.where, self.what, self.remedy)


def _readable(text: str) -> str:
    """Cut what is too long to read: of a line its middle, for where a value stands is said behind it."""
    lines = [_cut(line) for line in text.split("\n")]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES - 1 :] = [f"… ({len(lines) - _MOST_LINES + 1:,} more lines)"]
    return "\n".join(lines)


def _cut(line: str) -> str:
    if len(line) <= _LONGEST:
        return line
    # What is cut once is short enough not to be cut again, on its way from another process.
    first = _LONGEST - _END - 60
    return f"{line[:first]} … ({len(line) - first - _END:,} more characters) … {line[-_END:]}"


class UsageError(ConformanceError):
    """The command line asks for something that does not exist: exit 4."""

    exit_code = Exit.USAGE


class HarnessError(ConformanceError):
    """The harness, the oracle or the environment is at fault, never the backend: exit 3."""

    exit_code = Exit.HARNESS


class UnavailableError(HarnessError):
    """This machine lacks what a mode or a device needs, a compiler or a GPU: exit 3."""


class OutputError(HarnessError):
    """A file of ours cannot be written, for the disk is full or its folder is gone: exit 3."""

    def __init__(self, path: Path, error: OSError) -> None:
        said = error.strerror or str(error)
        super().__init__(f"cannot write {path}: {said}\n  {_REMEDIES.get(error.errno or 0, _OTHERWISE)}")


class StoppedError(ConformanceError):
    """Somebody ended the run, with Ctrl-C or a signal: exit 2."""

    exit_code = Exit.INTERRUPTED


class BindingError(HarnessError):
    """A binding names what no case may call or touch: the case file is at fault, never the backend."""


class NothingRanError(ConformanceError):
    """The selection is valid and empty: exit 5."""

    exit_code = Exit.NOTHING_RAN
