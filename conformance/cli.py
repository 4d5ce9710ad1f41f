"""The command line."""

import re
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from conformance import cli_env, cli_runs, plugins
from conformance.adapters import BACKENDS
from conformance.cli_app import DEFAULT_OUT, BackendOption, CasesOption, LedgerOption, OpOption, app, chosen
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
from conformance.errors import Exit, OutputError, StoppedError, UsageError
from conformance.index import names

if TYPE_CHECKING:
    from conformance.arrays import NDArray
    from conformance.audit import Score
    from conformance.ledger import Ledger
    from conformance.load import Api, Case, Operator
    from conformance.pool import Pool
    from conformance.repeat_calls import Repeats
    from conformance.run import Selection, Summary

__all__ = ["app", "cli_env", "cli_runs"]


def load_suite(
    root: Path | None = None, ops: Iterable[str] = (), backends: Iterable[str] = ()
) -> list["Operator"]:
    """Load the suite with what that takes; `list` takes less."""
    from conformance import load  # noqa: PLC0415

    return load.load_suite(root, ops, backends)


def _with_binding(cases: Path | None, case: str, api: str) -> list["Operator"]:
    """Load the operator of a case; if the API is a third-party backend's, as that binds it too."""
    return load_suite(cases, [case.partition("/")[0]], plugins.among([api.partition(".")[0]]))


def _binding(case: "Case", name: str) -> "Api":
    for api in case.op.apis:
        if api.name == name:
            return api
    known = ", ".join(api.name for api in case.op.apis)
    raise UsageError(f"{case.op.name} has no API {name!r}; it has {known}")


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


@app.command("list")
def list_command(
    op: OpOption = None,
    cases: CasesOption = None,
    ids: Annotated[bool, typer.Option("--ids", help="Every case id, one a line.")] = False,
    backend: BackendOption = None,
) -> None:
    """List operators and their APIs, or every case id; and which backends are installed beside ours."""
    found = names(cases, backends=backend or ())
    unknown = set(op or ()) - {each.op for each in found}
    if unknown:
        raise UsageError(f"no operator {min(unknown)!r}; there are {', '.join(each.op for each in found)}")
    for each in found:
        if op and each.op not in op:
            continue
        if ids:
            print("\n".join(each.cases))
        else:
            print("\n".join([f"{each.op}  {len(each.cases)} cases", *(f"  {api}" for api in each.apis)]))
    for line in () if ids or op else plugins.described():
        print(f"backend {line}: `conformance list --backend {line.partition(' ')[0]}` lists its APIs too")


@app.command("show")
def show_command(
    case: Annotated[str, typer.Argument(help="Case id, as in `conformance list --ids`.")],
    api: Annotated[str, typer.Argument(help="API whose documented defaults apply.")] = "",
    cases: CasesOption = None,
) -> None:
    """Show one case: its inputs, what the oracle expects, and the bounds."""
    import numpy as np  # noqa: PLC0415

    from conformance.load import find_case  # noqa: PLC0415
    from conformance.run import expectation, resolved_params  # noqa: PLC0415 - only what shows a case

    found = find_case(_with_binding(cases, case, api), case)
    binding = _binding(found, api) if api else found.op.apis[0]
    np.set_printoptions(linewidth=78, threshold=60, precision=9)
    print(f"{found.id}\n  {found.where}\n  {found.domain}: {found.why}")
    print(f"  parameters: {resolved_params(found, binding)}")
    for name, tensor in found.tensors.items():
        print(f"\n{name}: {tensor.dtype}{list(tensor.shape)} {found.layouts[name]}\n{tensor}")
    expected = expectation(found, binding)
    if expected is None:
        print("\nno expected value: the definition does not know these inputs")
        return
    _show_exact("output", found, expected.output.low, expected.output.high, expected.output.bound)
    for name, exact in expected.gradients.items():
        _show_exact(f"grad.{name}", found, exact.low, exact.high, exact.bound)


def _show_exact(name: str, case: "Case", low: "NDArray", high: "NDArray", bound: "NDArray") -> None:
    print(f"\n{name}: {case.dtype}{list(low.shape)}\n{low.astype(float)}")
    if (low < high).any():
        print(f"up to, at kinks:\n{high.astype(float)}")
    print(f"± {bound.astype(float)}")


@app.command("repro")
def repro_command(
    case: Annotated[str, typer.Argument(help="Case id.")],
    api: Annotated[str, typer.Argument(help="API name.")],
    check: Annotated[str, typer.Option(help="Which check (output, grad.NAME, raises).")] = "",
    results: Annotated[Path, typer.Option("--run", help="The run whose result to reproduce.")] = DEFAULT_OUT
    / "run.jsonl",
    cases: CasesOption = None,
) -> None:
    """Print a script that shows a discrepancy with NumPy and the framework alone."""
    from conformance.backends import Variant  # noqa: PLC0415
    from conformance.fold import read_run  # noqa: PLC0415
    from conformance.load import find_case  # noqa: PLC0415
    from conformance.repro import script  # noqa: PLC0415 - only this command writes scripts

    found = find_case(_with_binding(cases, case, api), case)
    binding = _binding(found, api)
    stream = list(read_run(results, partial=True))
    ran = {row["backend"]: row for row in stream if row["type"] == "backend"}
    rows = [
        row
        for row in stream
        if row["type"] == "result"
        and (row["case"], row["api"]) == (case, api)
        and check in ("", row["check"])
    ]
    if not rows:
        raise UsageError(f"{results} has no result of {api} on {case} {check}".rstrip())
    failing = [row for row in rows if row["status"] in ("fail", "error", "crash", "timeout")]
    about = ran.get(binding.backend, {})
    print(script(found, binding, (failing or rows)[0], about.get("version", ""), Variant.of(about)))


@app.command("check")
def check_command(
    op: OpOption = None,
    cases: CasesOption = None,
    ledger: LedgerOption = None,
    backend: BackendOption = None,
) -> None:
    """Validate every case file, claim and ledger entry, without a framework.

    The cases of the shipped ops also have to reach every branch, regime and pair of parameter values.
    """
    from conformance.checking import check_files  # noqa: PLC0415 - only here
    from conformance.ledger import load_ledger  # noqa: PLC0415

    known = load_ledger(ledger)
    for name in backend or ():
        plugins.find(name)
    # A ledger of a third-party backend is held against what that binds.
    found = check_files(cases, op or (), [*(backend or ()), *known.entries])
    if (cases is None and not op) or ledger is not None:
        known.check(found)
    entries = sum(len(e) for e in known.entries.values())
    claims = sum(each.claims for each in found)
    total = sum(len(each.cases) for each in found)
    print(f"{len(found)} operators, {total} cases, {claims} claims, {entries} ledger entries: valid")


@app.command("schema")
def schema_command(
    report: Annotated[bool, typer.Option("--report", help="That of report.json instead.")] = False,
) -> None:
    """Print the JSON Schema of a line of run.jsonl, or of report.json."""
    import msgspec  # noqa: PLC0415

    from conformance.fold import report_schema  # noqa: PLC0415 - only here
    from conformance.schema import stream_schema  # noqa: PLC0415

    schema = report_schema() if report else stream_schema()
    print(msgspec.json.format(msgspec.json.encode(schema), indent=2).decode())


@app.command("documents")
def documents_command(
    update: Annotated[bool, typer.Option("--update", help="Record what is installed as read.")] = False,
) -> None:
    """Say which documents that claims speak of are no longer those that were read."""
    from conformance.documents import compare, main_update  # noqa: PLC0415 - only here

    changed = main_update() if update else compare()
    for said in (each for found in changed.values() for each in found):
        print(said)
    raise typer.Exit(Exit.OK if update or not any(changed.values()) else Exit.UNEXPECTED)


@app.command("audit")
def audit_command(op: OpOption = None, cases: CasesOption = None) -> None:
    """Plant faults in an honest backend and count how many the cases catch."""
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415

    from conformance.audit import audit, render  # noqa: PLC0415 - only here

    names = [operator.name for operator in chosen(cases, op)]
    if len(names) == 1:
        scores = audit(chosen(cases, names))
    else:
        with ProcessPoolExecutor() as processes:
            scores = list(processes.map(_audit_one, [cases] * len(names), names))
    print(render(scores))
    raise typer.Exit(Exit.OK if all(score.good for score in scores) else Exit.UNEXPECTED)


def _audit_one(cases: Path | None, name: str) -> "Score":
    from conformance.audit import audit  # noqa: PLC0415 - only here

    (score,) = audit(chosen(cases, [name]))
    return score
