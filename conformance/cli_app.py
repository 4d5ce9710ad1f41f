"""The command line's application, and what its commands share."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.errors import UsageError

if TYPE_CHECKING:
    from conformance.load import Operator

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Conformance of PyTorch, PaddlePaddle and MindSpore operators with a NumPy oracle.",
)

CasesOption = Annotated[Path | None, typer.Option("--cases", help="Folder (or file) of case files.")]
LedgerOption = Annotated[
    Path | None, typer.Option("--ledger", help="Folder of the ledger of known discrepancies.")
]
OpOption = Annotated[list[str] | None, typer.Option("--op", help="Only this operator (repeatable).")]
BackendOption = Annotated[
    list[str] | None,
    typer.Option("--backend", help="Also what the package of this backend binds (repeatable)."),
]
DEFAULT_OUT = Path("reports/latest")


def chosen(
    cases: Path | None,
    ops: list[str] | None = None,
    backends: Iterable[str] = (),
    shard: tuple[int, int] = (1, 1),
) -> list["Operator"]:
    """Load the suite, or the operators asked for; of their cases, those of the i-th of n shards.

    Raises:
        UsageError: there is no operator of a name.

    """
    from conformance.load import load_suite  # noqa: PLC0415 - `list` and `--help` load no suite
    from conformance.selection import keeps  # noqa: PLC0415

    suite = load_suite(cases, ops or (), backends, keeps(shard))
    unknown = set(ops or ()) - {op.name for op in suite}
    if unknown:
        raise UsageError(f"no operator {min(unknown)!r}; there are {', '.join(op.name for op in suite)}")
    return [op for op in suite if not ops or op.name in ops]
