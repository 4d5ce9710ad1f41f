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
        self.where, self.what, self.remedy = where, what, remedy
        super().__init__(f"{where}: {what}" + (f"\n  {remedy}" if remedy else ""))

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        """Survive the way from another process whole."""
        return type(self), (self.where, self.what, self.remedy)


class UsageError(ConformanceError):
    """The command line asks for something that does not exist: exit 4."""

    exit_code = Exit.USAGE


class HarnessError(ConformanceError):
    """The harness, the oracle or the environment is at fault, never the backend: exit 3."""

    exit_code = Exit.HARNESS


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
