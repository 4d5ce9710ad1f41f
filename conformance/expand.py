"""From a case as it is written to concrete cases: one for each point of its matrix, with immutable ids."""

from typing import Any

from conformance import values
from conformance.arrays import FLOATING, INTEGER
from conformance.opfile import CaseDecl
from conformance.pairs import points
from conformance.suite import Case, Operator
from conformance.types import Scalar
from conformance.yamlfile import Path_, YamlFile


def expand(document: YamlFile, op: Operator, decl: CaseDecl, path: Path_) -> list[Case]:
    """Return a concrete case for each point of the matrix of a case that `check_cases` has let pass."""
    matrix: dict[str, list[Scalar]] = {"dtype": ["float32"], **decl.matrix}
    excluded, pairwise = op.decl.excluded_pairs, decl.expand == "pairwise"
    return [
        _concrete(document, op, decl, point, path) for point in points(matrix, excluded, pairwise=pairwise)
    ]


def _concrete(document: YamlFile, op: Operator, decl: CaseDecl, point: dict[str, Any], path: Path_) -> Case:
    dtype = point["dtype"]
    if dtype not in FLOATING:
        raise document.fail((*path, "matrix", "dtype"), f"{dtype!r} is not one of {', '.join(FLOATING)}")
    params, layouts = dict(decl.params), {}
    dtypes, pinned = {}, set()
    inputs = {n: spec for n, spec in decl.inputs.items() if point.get(f"{n}.given", True)}
    for name, spec in inputs.items():
        options = spec if isinstance(spec, dict) else {}
        dtypes[name] = options.get("dtype") or (
            dtype if op.decl.tensors[name].kind == "floating" else "int64"
        )
        layouts[name] = options.get("layout", "contiguous")
        if "dtype" in options:
            pinned.add(name)
    for axis, value in point.items():
        tensor, _, what = axis.partition(".")
        if not _means_something(op, decl, axis, value):
            said = (
                f"{axis}: {value!r} is not a parameter, TENSOR.dtype, TENSOR.layout or (of an optional one) "
            )
            raise document.fail((*path, "matrix", axis), f"{said}TENSOR.given of this case")
        if axis in op.decl.params:
            params[axis] = value
        elif what == "dtype":
            dtypes[tensor] = value
            pinned.add(tensor)
        elif what == "layout":
            layouts[tensor] = value
    shown = [_shown(axis, value) for axis, value in point.items()]
    differentiable = op.definition.differentiable
    wanted = decl.gradients if decl.gradients is not None else list(differentiable)
    wanted = [n for n in wanted if n in inputs and dtypes[n] in FLOATING]
    case = Case(
        id=f"{op.name}/{decl.case}[{','.join(shown)}]",
        name=decl.case,
        op=op,
        domain=decl.domain,
        why=decl.why,
        dtype=dtype,
        specs={name: inputs[name] for name in op.decl.tensors if name in inputs},
        dtypes=dtypes,
        pinned=frozenset(pinned),
        layouts=layouts,
        params=params,
        gradients=tuple(wanted),
        signed_zero=decl.signed_zero,
        where=document.where((*path, "case")),
        second=tuple(decl.second),
        isolated=decl.isolated,
    )
    _check_literals(document, case, path)
    return case


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


def _check_literals(document: YamlFile, case: Case, path: Path_) -> None:
    """Build what stands literally in the file at once: its mistakes belong to load time."""
    for name, spec in case.specs.items():
        if isinstance(spec, dict) and "values" not in spec and "set" not in spec:
            continue
        try:
            values.build(spec, case.dtypes[name], name)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise document.fail((*path, "inputs", name), f"not an array: {error}") from error
