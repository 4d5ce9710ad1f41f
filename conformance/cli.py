"""The command line: the commands about cases, and all others by import."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance import cli_env, cli_run, cli_runs, plugins
from conformance.cli_app import DEFAULT_OUT, BackendOption, CasesOption, LedgerOption, OpOption, app, chosen
from conformance.errors import Exit, UsageError
from conformance.index import names

if TYPE_CHECKING:
    from conformance.arrays import NDArray
    from conformance.audit import Score
    from conformance.load import Api, Case, Operator

__all__ = ["app", "cli_env", "cli_run", "cli_runs"]


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
