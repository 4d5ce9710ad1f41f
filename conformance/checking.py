"""Validate case files as `conformance check` does: each by itself, so that the cores can share them."""

import gc
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from conformance import plugins
from conformance.coverage import check_coverage
from conformance.errors import InvalidFileError, UsageError
from conformance.load import case_files, check_bound_ops, load_operator, shipped_cases

FEW = 4
"""Up to so many files are checked in this process: others take a moment to start."""


class Checked(msgspec.Struct, frozen=True):
    """A valid operator: its names, which the ledger is held against, and how many claims it has."""

    op: str
    file: str
    apis: list[str]
    cases: list[str]
    claims: int


def check_files(
    root: Path | None = None, ops: Iterable[str] = (), backends: Iterable[str] = ()
) -> list[Checked]:
    """Check every op file below `root` (default: the shipped ones), and return what is in them.

    The cases of the shipped ops also have to reach every branch, regime and pair of parameter values.
    With `backends`, the bindings that their own packages bring are checked too.

    Raises:
        InvalidFileError: the first mistake, at its place.
        UsageError: there is no such folder, file, operator or backend.

    """
    wanted, others = tuple(ops), tuple(plugins.among(backends))
    for name in others:
        check_bound_ops(name)
    paths = case_files(root, wanted)
    ours = root is None or root.resolve().is_relative_to(shipped_cases().resolve())
    if len(paths) <= FEW:
        made = [check_file(path, wanted, others, ours=ours) for path in paths]
    else:
        made = _shared(paths, wanted, others, ours=ours)
    found = [each for each in made if isinstance(each, Checked)]
    unknown = set(wanted) - {each.op for each in found}
    if unknown:
        there = [each.op if isinstance(each, Checked) else each for each in made]
        raise UsageError(f"no operator {min(unknown)!r}; there are {', '.join(there)}")
    seen: dict[str, str] = {}
    for each in found:
        if each.op in seen:
            raise InvalidFileError(f"{each.file}:1:1", f"op {each.op!r} stands in {seen[each.op]} too")
        seen[each.op] = each.file
    return found


def _shared(
    paths: list[Path], ops: tuple[str, ...], backends: tuple[str, ...], *, ours: bool
) -> list[Checked | str]:
    """Check files in as many processes as there are cores; raise the first mistake in their order."""
    # What a file holds lives until it is checked: looking for garbage would take an eighth of the time.
    with ProcessPoolExecutor(initializer=gc.disable) as processes:
        try:
            # The largest first, so that no core is left with one at the end.
            largest = sorted(paths, key=_size, reverse=True)
            begun = {path: processes.submit(check_file, path, ops, backends, ours=ours) for path in largest}
            return [begun[path].result() for path in paths]
        except BaseException:
            processes.shutdown(cancel_futures=True)
            raise


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0  # whoever reads it says what is wrong


def check_file(
    path: Path, ops: tuple[str, ...], backends: tuple[str, ...] = (), *, ours: bool
) -> Checked | str:
    """Check one file; of another operator than those asked for, return the name only."""
    operator = load_operator(path, backends=backends)
    if ops and operator.name not in ops:
        return operator.name
    for case in operator.cases:
        try:
            _ = case.tensors
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise InvalidFileError(case.where, f"case {case.id}: {error}") from error
        if not ours:
            case.__dict__.pop("tensors", None)  # a stranger's files may hold much
    if ours:
        check_coverage(operator)
    claims = sum(len(api.claims) for api in operator.apis)
    names = [api.name for api in operator.apis]
    return Checked(operator.name, str(path), names, [case.id for case in operator.cases], claims)
