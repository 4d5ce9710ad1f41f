"""`python -m conformance` and the `conformance` command: errors to people, exit codes to machines."""

import sys

from conformance.errors import ConformanceError, Exit


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
        result = app(arguments, standalone_mode=False, prog_name="conformance")
        return int(result or 0)
    except TyperException as error:
        print(f"conformance: {error.format_message()}\n  see conformance --help", file=sys.stderr)
        return Exit.USAGE
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted; what finished is kept", file=sys.stderr)
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


if __name__ == "__main__":
    main()
