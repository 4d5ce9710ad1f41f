"""From a case as it is written to concrete cases: one for each point of its matrix, with immutable ids."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from conformance import values
from conformance.arrays import FLOATING, INTEGER
from conformance.opfile import CaseDecl
from conformance.pairs import points
from conformance.suite import Case, Operator
from conformance.types import Scalar
from conformance.yamlfile import Document, Path_

T = TypeVar("T")
Keep = Callable[[str], bool]
"""Whether a case is wanted, by its id."""


def everything(_: str) -> bool:
    """Keep every case."""
    return True


class Shared:
    """What many cases of an op have in common: equal values, and where each was written, are one object."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def one(self, value: T) -> T:
        """Return the first value that is written like this one."""
        found: T = self._known.setdefault(repr(value), value)
        return found


def expand(
    document: Document, op: Operator, decl: CaseDecl, path: Path_, shared: Shared, keep: Keep
) -> Iterator[tuple[str, Case | None]]:
    """Yield, of each point of the matrix of a case that `check_cases` has let pass, its id and the case.

    Of an id that `keep` refuses there is no case: a shard of a million does not make the others.
    """
    matrix: dict[str, list[Scalar]] = {"dtype": ["float32"], **decl.matrix}
    excluded, pairwise = op.decl.excluded_pairs, decl.expand == "pairwise"
    where, specs = document.where((*path, "case")), dict[tuple[str, ...], dict[str, Any]]()
    for point in points(matrix, excluded, pairwise=pairwise):
        _check_point(document, op, decl, point, path)
        name = f"{op.name}/{decl.case}[{','.join(_shown(axis, value) for axis, value in point.items())}]"
        if not keep(name):
            yield name, None
            continue
        given = tuple(n for n in op.decl.tensors if n in decl.inputs and point.get(f"{n}.given", True))
        if given not in specs:
            specs[given] = {n: decl.inputs[n] for n in given}
        case = _concrete(op, decl, point, name, where, specs[given], shared)
        _check_literals(document, case, path)
        yield name, case


def _check_point(
    document: Document, op: Operator, decl: CaseDecl, point: dict[str, Any], path: Path_
) -> None:
    dtype = point["dtype"]
    if dtype not in FLOATING:
        raise document.fail((*path, "matrix", "dtype"), f"{dtype!r} is not one of {', '.join(FLOATING)}")
    for axis, value in point.items():
        if not _means_something(op, decl, axis, value):
            said = (
                f"{axis}: {value!r} is not a parameter, TENSOR.dtype, TENSOR.layout or (of an optional one) "
            )
            raise document.fail((*path, "matrix", axis), f"{said}TENSOR.given of this case")


def _concrete(
    op: Operator,
    decl: CaseDecl,
    point: dict[str, Any],
    name: str,
    where: str,
    specs: dict[str, Any],
    shared: Shared,
) -> Case:
    dtype = point["dtype"]
    params, layouts = dict(decl.params), {}
    dtypes, pinned = {}, set()
    for tensor, spec in specs.items():
        options = spec if isinstance(spec, dict) else {}
        dtypes[tensor] = options.get("dtype") or (
            dtype if op.decl.tensors[tensor].kind == "floating" else "int64"
        )
        layouts[tensor] = options.get("layout", "contiguous")
        if "dtype" in options:
            pinned.add(tensor)
    for axis, value in point.items():
        tensor, _, what = axis.partition(".")
        if axis in op.decl.params:
            params[axis] = value
        elif what == "dtype":
            dtypes[tensor] = value
            pinned.add(tensor)
        elif what == "layout":
            layouts[tensor] = value
    differentiable = op.definition.differentiable
    wanted = decl.gradients if decl.gradients is not None else list(differentiable)
    wanted = [n for n in wanted if n in specs and dtypes[n] in FLOATING]
    return Case(
        id=name,
        name=decl.case,
        op=op,
        domain=decl.domain,
        why=decl.why,
        dtype=dtype,
        specs=specs,
        dtypes=shared.one(dtypes),
        pinned=shared.one(frozenset(pinned)),
        layouts=shared.one(layouts),
        params=shared.one(params),
        gradients=shared.one(tuple(wanted)),
        signed_zero=decl.signed_zero,
        where=where,
        second=shared.one(tuple(decl.second)),
        isolated=decl.isolated,
    )


def _means_something(op: Operator, decl: CaseDecl, axis: str, value: Scalar) -> bool:
    """Whether a point of a matrix axis exists: a dtype, a parameter, or a property of an input."""
    tensor, _, what = axis.partition(".")
    if axis == "dtype" or axis in op.decl.params:
        return True
    known = {
        "dtype": value in (*FLOATING, *INTEGER),
        "layout": value in values.LAYOUTS,
        "given": isinstance(value, bool) and tensor in op.decl.tensors and op.decl.tensors[tensor].optional,
    }
    return tensor in decl.inputs and known.get(what, False)


def _shown(axis: str, value: Scalar) -> str:
    text = ":".join(map(str, value)) if isinstance(value, tuple) else str(value) or "''"
    return text if axis in ("dtype", "reduction") else f"{axis}={text}"


def _check_literals(document: Document, case: Case, path: Path_) -> None:
    """Build what stands literally in the file at once: its mistakes belong to load time."""
    for name, spec in case.specs.items():
        if isinstance(spec, dict) and "values" not in spec and "set" not in spec:
            continue
        try:
            values.build(spec, case.dtypes[name], name)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise document.fail((*path, "inputs", name), f"not an array: {error}") from error
