"""`python -m conformance` and the `conformance` command: errors to people, exit codes to machines."""

import sys
from contextlib import suppress

from conformance.errors import ConformanceError, Exit

_TYPER_INTERRUPTED = 130  # what Typer makes of Ctrl-C


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return (and exit with) one of `Exit`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    traceback = "--traceback" in arguments
    if traceback:
        arguments.remove("--traceback")
    try:
        code = _run(arguments, traceback=traceback)
    except KeyboardInterrupt:
        code = _interrupted()
    if argv is None:
        sys.exit(code)
    return code


def _run(arguments: list[str], *, traceback: bool) -> int:
    from typer.exceptions import Abort, TyperException  # noqa: PLC0415 - a broken install still says so

    from conformance.cli import app  # noqa: PLC0415
    from conformance.descriptors import open_descriptors, silence  # noqa: PLC0415

    open_descriptors()
    try:
        result = app(arguments or ["--help"], standalone_mode=False, prog_name="conformance")
        sys.stdout.flush()  # here a reader that went away can still be told from a fault
        return _interrupted() if result == _TYPER_INTERRUPTED else int(result or 0)
    except TyperException as error:
        return _told(f"{error.format_message()}\n  see conformance --help", Exit.USAGE)
    except Abort:
        return _interrupted()
    except (BrokenPipeError, SystemExit):  # this is what Typer makes of the other
        # The reader went away (`conformance list | head`): nothing to tell it, and nothing failed.
        silence(sys.stdout)
        return Exit.INTERRUPTED
    except ConformanceError as error:
        if traceback:
            raise
        return _told("\n  ".join([str(error), *getattr(error, "__notes__", ())]), error.exit_code)
    except Exception as error:
        if traceback:
            raise
        said = f"a fault of the harness itself: {type(error).__name__}: {error}"
        if isinstance(error, OSError) and error.filename is not None:
            said = f"{error.filename}: {error.strerror}"
        notes = getattr(error, "__notes__", ["run again with --traceback, and please report it"])
        return _told("\n  ".join([said, *notes]), Exit.HARNESS)


def _told(text: str, code: Exit) -> int:
    """Say why it ended, if there is anybody to say it to."""
    with suppress(OSError):
        print(f"conformance: {text}", file=sys.stderr, flush=True)
    return int(code)


def _interrupted() -> int:
    with suppress(OSError):
        print("interrupted", file=sys.stderr, flush=True)
    return Exit.INTERRUPTED


if __name__ == "__main__":
    main()
