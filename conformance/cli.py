"""The command line."""

import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np
import typer
from rich.console import Console

from conformance import cli_runs
from conformance.adapters import BACKENDS
from conformance.arrays import NDArray
from conformance.cache import OracleCache
from conformance.cli_app import DEFAULT_OUT, CasesOption, LedgerOption, OpOption, app, chosen
from conformance.errors import Exit, UsageError
from conformance.index import names
from conformance.ledger import Ledger, load_ledger
from conformance.load import Api, Case, Operator, find_case, load_suite
from conformance.lock import claimed
from conformance.pool import backend_spec
from conformance.run import Selection, Summary, expectation, resolved_params, run

if TYPE_CHECKING:
    from conformance.audit import Score

__all__ = ["app", "cli_runs"]


def _binding(case: Case, name: str) -> Api:
    for api in case.op.apis:
        if api.name == name:
            return api
    known = ", ".join(api.name for api in case.op.apis)
    raise UsageError(f"{case.op.name} has no API {name!r}; it has {known}")


@app.command("run")
def run_command(
    backend: Annotated[
        list[str] | None, typer.Option("--backend", help="NAME or NAME=PYTHON (repeatable).")
    ] = None,
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
        bool, typer.Option("--cache/--no-cache", help="Keep the oracle's answers for the next run.")
    ] = True,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Continue a run that did not finish: its run.jsonl.part.")
    ] = None,
    site: Annotated[bool, typer.Option("--site/--no-site", help="Write the HTML report too.")] = True,
) -> None:
    """Run cases through real frameworks and hold them against the oracle."""
    from conformance.publish.formats import write_run  # noqa: PLC0415 - Jinja2 is not needed to start
    from conformance.terminal import summarise  # noqa: PLC0415 - nor is Rich

    suite, known = chosen(cases, op), load_ledger(ledger)
    selection = Selection(
        tuple(backend_spec(name) for name in backend or BACKENDS),
        tuple(op or ()),
        tuple(api or ()),
        keyword,
        foreign=cases is not None and ledger is None,
        shard=_shard(shard),
    )
    console, began = Console(), time.perf_counter()
    _ = selection.plan(suite)  # an empty one leaves no folder behind
    with claimed(out):
        summary = _run(suite, selection, known, out, console, timeout, resume, cache=cache)
        write_run(out, suite, known, site=site)
    summarise(console, summary, out, time.perf_counter() - began)
    raise typer.Exit(summary.exit_code)


def _run(
    suite: list[Operator],
    selection: Selection,
    known: Ledger,
    out: Path,
    console: Console,
    timeout: float,
    resume: Path | None,
    *,
    cache: bool,
) -> Summary:
    """Run, with progress; say where the finished results are if it ends early."""
    from conformance.terminal import progress  # noqa: PLC0415 - Rich's progress is not needed to start

    try:
        with progress(console) as report:
            return run(
                suite,
                selection,
                known,
                out,
                timeout=timeout,
                progress=report,
                oracle=OracleCache() if cache else None,
                resume=resume,
            )
    except BaseException:
        if (partial := out / "run.jsonl.part").exists():
            said = f"not complete; what finished is in {partial}"
            print(f"{said}\n  the same command with --resume {partial} goes on", file=sys.stderr)
        raise


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
) -> None:
    """List operators and their APIs, or every case id."""
    found = names(cases)
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


@app.command("show")
def show_command(
    case: Annotated[str, typer.Argument(help="Case id, as in `conformance list --ids`.")],
    api: Annotated[str, typer.Argument(help="API whose documented defaults apply.")] = "",
    cases: CasesOption = None,
) -> None:
    """Show one case: its inputs, what the oracle expects, and the bounds."""
    found = find_case(load_suite(cases, [case.partition("/")[0]]), case)
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


def _show_exact(name: str, case: Case, low: NDArray, high: NDArray, bound: NDArray) -> None:
    print(f"\n{name}: {case.dtype}{list(low.shape)}\n{low.astype(np.float64)}")
    if (low < high).any():
        print(f"up to, at kinks:\n{high.astype(np.float64)}")
    print(f"± {bound.astype(np.float64)}")


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
    from conformance.fold import read_run  # noqa: PLC0415
    from conformance.repro import script  # noqa: PLC0415 - only this command writes scripts

    found = find_case(load_suite(cases, [case.partition("/")[0]]), case)
    binding = _binding(found, api)
    stream = list(read_run(results, partial=True))
    versions = {row["backend"]: row["version"] for row in stream if row["type"] == "backend"}
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
    print(script(found, binding, (failing or rows)[0], versions.get(binding.backend, "")))


@app.command("check")
def check_command(op: OpOption = None, cases: CasesOption = None, ledger: LedgerOption = None) -> None:
    """Validate every case file, claim and ledger entry, without a framework.

    The cases of the shipped ops also have to reach every branch, regime and pair of parameter values.
    """
    from conformance.checking import check_files  # noqa: PLC0415 - only here

    known, found = load_ledger(ledger), check_files(cases, op or ())
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
