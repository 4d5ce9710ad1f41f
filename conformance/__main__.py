"""`python -m conformance` and the `conformance` command: errors to people, exit codes to machines."""

import os
import sys

from conformance.errors import ConformanceError, Exit

_TYPER_INTERRUPTED = 130  # what Typer makes of Ctrl-C


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return (and exit with) one of `Exit`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    traceback = "--traceback" in arguments
    if traceback:
        arguments.remove("--traceback")
    code = _run(arguments, traceback=traceback)
    if argv is None:
        sys.exit(code)
    return code


def _run(arguments: list[str], *, traceback: bool) -> int:
    import typer  # noqa: PLC0415 - after the arguments, so that a broken install still says so
    from typer.exceptions import TyperException  # noqa: PLC0415

    from conformance.cli import app  # noqa: PLC0415

    try:
        result = app(arguments or ["--help"], standalone_mode=False, prog_name="conformance")
        return _interrupted() if result == _TYPER_INTERRUPTED else int(result or 0)
    except TyperException as error:
        print(f"conformance: {error.format_message()}\n  see conformance --help", file=sys.stderr)
        return Exit.USAGE
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BrokenPipeError:
        # The reader went away (`conformance list | head`): nothing to tell it, and nothing failed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.INTERRUPTED
    except ConformanceError as error:
        if traceback:
            raise
        print(f"conformance: {error}", file=sys.stderr)
        return int(error.exit_code)
    except Exception as error:
        if traceback:
            raise
        print(
            f"conformance: a fault of the harness itself: {type(error).__name__}: {error}\n"
            "  run again with --traceback, and please report it",
            file=sys.stderr,
        )
        return Exit.HARNESS


def _interrupted() -> int:
    print("interrupted", file=sys.stderr)
    return Exit.INTERRUPTED


if __name__ == "__main__":
    main()
