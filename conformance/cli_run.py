"""The command that everything is for: `run`."""

import re
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from conformance import plugins
from conformance.adapters import BACKENDS
from conformance.cli_app import DEFAULT_OUT, CasesOption, LedgerOption, OpOption, app, chosen
from conformance.cli_executor import (
    AddressOption,
    ExecutorOption,
    HostOption,
    Kind,
    ResourcesOption,
    RuntimeEnvOption,
    SshConfigOption,
    Where,
    WorkersOption,
    executor_for,
)
from conformance.errors import OutputError, StoppedError, UsageError

if TYPE_CHECKING:
    from conformance.ledger import Ledger
    from conformance.load import Operator
    from conformance.pool import Pool
    from conformance.repeat_calls import Repeats
    from conformance.run import Selection, Summary


class _RunCommand(TyperCommand):
    """`run`, whose help says which backends other distributions have brought."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Look them up only when somebody asks for help."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Backends"):
            formatter.write_text(f"Without --backend: {', '.join(BACKENDS)}.")
            for name in BACKENDS:
                adapter = plugins.adapter_class(name)
                has = f"modes {', '.join(adapter.modes)}; devices {', '.join(adapter.devices)}"
                formatter.write_text(f"{name}: {has}.")
            for line in plugins.described():
                formatter.write_text(f"Also installed: {line}")


@app.command("run", cls=_RunCommand)
def run_command(
    backend: Annotated[
        list[str] | None, typer.Option("--backend", help="NAME[:MODE][@DEVICE][=PYTHON] (repeatable).")
    ] = None,
    mode: Annotated[str, typer.Option(help="The mode of every backend that is named without one.")] = "",
    device: Annotated[str, typer.Option(help="The device of every backend that is named without one.")] = "",
    op: OpOption = None,
    api: Annotated[list[str] | None, typer.Option("--api", help="Only APIs matching this glob.")] = None,
    keyword: Annotated[str, typer.Option("-k", help="Only case ids with this substring or glob.")] = "",
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Where run.jsonl and index.html go.")
    ] = DEFAULT_OUT,
    cases: CasesOption = None,
    ledger: LedgerOption = None,
    timeout: Annotated[float, typer.Option(help="Seconds a case may take.")] = 30.0,
    shard: Annotated[str, typer.Option(help="I/N: the I-th of N parts of the cases.")] = "1/1",
    cache: Annotated[
        bool,
        typer.Option(
            "--cache/--no-cache", help="Keep the oracle's answers and the verdicts for the next run."
        ),
    ] = True,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Continue a run that did not finish: its run.jsonl.part.")
    ] = None,
    repeat: Annotated[
        int, typer.Option(min=1, help="Call each case N times, and again in new workers: are the bits equal?")
    ] = 1,
    site: Annotated[bool, typer.Option("--site/--no-site", help="Write the HTML report too.")] = True,
    workers: WorkersOption = None,
    executor: ExecutorOption = Kind.LOCAL,
    host: HostOption = None,
    ssh_config: SshConfigOption = None,
    address: AddressOption = None,
    resources: ResourcesOption = None,
    runtime_env: RuntimeEnvOption = None,
) -> None:
    """Run cases through real frameworks and hold them against the oracle."""
    from rich.console import Console  # noqa: PLC0415 - what a command needs, it loads: `list` needs little

    from conformance.backends import backend_specs  # noqa: PLC0415
    from conformance.descriptors import silence  # noqa: PLC0415
    from conformance.ledger import load_ledger  # noqa: PLC0415
    from conformance.lock import claimed  # noqa: PLC0415
    from conformance.pool import MAX_DEATHS_IN_A_ROW, Pool  # noqa: PLC0415
    from conformance.repeat_calls import Repeats  # noqa: PLC0415
    from conformance.run import Selection  # noqa: PLC0415
    from conformance.terminal import summarise  # noqa: PLC0415

    where = Where(executor, host or (), ssh_config, address, resources or (), runtime_env or ())
    specs = backend_specs(backend or BACKENDS, mode, device, here=executor is Kind.LOCAL)
    began, part = time.perf_counter(), _shard(shard)
    repeats = Repeats(repeat) if repeat > 1 else None
    # With `--repeat` each call that kills its worker does so several times in a row.
    deaths = repeat * MAX_DEATHS_IN_A_ROW
    with (
        closing(executor_for(where, [spec.name for spec in specs])) as at,
        closing(Pool(list(specs), timeout, deaths=deaths, executor=at, workers=workers or 0)) as pool,
    ):
        pool.start()  # their frameworks are imported while the cases are loaded
        # A site shows an op with all its cases; a run alone needs those of its shard.
        of = (1, 1) if site else part
        suite, known = chosen(cases, op, [spec.name for spec in specs], of), load_ledger(ledger)
        foreign = cases is not None and ledger is None
        selection = Selection(specs, tuple(op or ()), tuple(api or ()), keyword, foreign, part)
        selection.check(suite)  # an empty one leaves no folder behind
        with claimed(out):
            summary = _run(suite, selection, known, out, pool, resume, repeats, cache=cache)
            _report(out, suite, known, site=site)
    try:
        console = Console()
        summarise(console, summary, out, time.perf_counter() - began)
        for line in repeats.told() if repeats else ():
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    except (OSError, SystemExit):  # Rich makes this of the other
        # Nobody reads it any more: the verdict is in the exit code, and all of it in the folder.
        silence(sys.stdout)
    raise typer.Exit(summary.exit_code)


def _run(
    suite: list["Operator"],
    selection: "Selection",
    known: "Ledger",
    out: Path,
    pool: "Pool",
    resume: Path | None,
    repeats: "Repeats | None",
    *,
    cache: bool,
) -> "Summary":
    """Run, with progress; say where the finished results are if it ends early."""
    from rich.console import Console  # noqa: PLC0415 - as above

    from conformance.cache import OracleCache  # noqa: PLC0415
    from conformance.descriptors import undisturbed  # noqa: PLC0415
    from conformance.interrupt import Interrupts  # noqa: PLC0415
    from conformance.memo import Memo  # noqa: PLC0415
    from conformance.run import run  # noqa: PLC0415
    from conformance.terminal import progress  # noqa: PLC0415

    try:
        with Interrupts() as stop, progress(Console()) as report:
            return run(
                suite,
                selection,
                known,
                out,
                timeout=pool.timeout,
                pool=pool,
                progress=undisturbed(report),
                oracle=OracleCache() if cache else None,
                memo=Memo(known) if cache else None,
                resume=resume,
                repeats=repeats,
                stop=stop,
            )
    except KeyboardInterrupt:
        raise _resumable(StoppedError("interrupted"), out) from None
    except BaseException as error:
        _resumable(error, out)
        raise


def _resumable(error: BaseException, out: Path) -> BaseException:
    """Add to an error where the finished results are, and how to go on."""
    if (partial := out / "run.jsonl.part").exists():
        error.add_note(f"what finished is in {partial}")
        error.add_note(f"the same command with --resume {partial} goes on")
    return error


def _report(out: Path, suite: list["Operator"], known: "Ledger", *, site: bool) -> None:
    """Write what stands beside a finished stream."""
    from conformance.publish.formats import write_run  # noqa: PLC0415 - Jinja2 is not needed to start

    try:
        write_run(out, suite, known, site=site)
    except OSError as error:
        told = OutputError(Path(error.filename or out), error)
        told.add_note(f"the run is finished: `conformance report {out / 'run.jsonl'}` writes its report")
        raise told from error


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    i, n = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= i <= n:
        raise UsageError(f"--shard takes I/N with 1 ≤ I ≤ N, as 2/4; not {text!r}")
    return i, n
