"""Load case files: read, validate, expand matrices to concrete cases with immutable ids."""

import itertools
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from conformance import values
from conformance.adapters import BACKENDS
from conformance.arrays import FLOATING, INTEGER, NDArray
from conformance.definition import Definition, definitions
from conformance.errors import HarnessError, InvalidFileError, UsageError
from conformance.globs import after_op, glob
from conformance.opfile import ApiDecl, CaseDecl, ClaimDecl, OpFile
from conformance.types import Array, Binding, Domain, Scalar
from conformance.validate import check_api, check_case, check_claims, check_unsupported
from conformance.yamlfile import Path_, YamlFile


@dataclass(frozen=True)
class Api:
    """A public API and how it is bound to its op."""

    name: str
    backend: str
    binding: Binding
    decl: ApiDecl
    claims: tuple[ClaimDecl, ...]


@dataclass(frozen=True)
class Case:
    """One concrete call: the op, its tensors and parameters, and what is asked of it."""

    id: str
    name: str
    op: "Operator"
    domain: Domain
    why: str
    dtype: str
    specs: dict[str, Any]
    dtypes: dict[str, str]
    pinned: frozenset[str]
    layouts: dict[str, str]
    params: dict[str, Scalar]
    gradients: tuple[str, ...]
    signed_zero: bool
    where: str

    @cached_property
    def tensors(self) -> dict[str, NDArray]:
        """The inputs, rounded to their dtypes; the same bits on every machine."""
        return {
            name: values.build(spec, self.dtypes[name], f"{self.op.name}/{self.name}/{name}")
            for name, spec in self.specs.items()
        }

    def cotangent(self, shape: tuple[int, ...]) -> NDArray:
        """Return a non-trivial cotangent [shape]: ±{0.5, 0.75, 1, 1.25, 1.5}, exact in every dtype."""
        draw = np.floor(values.stream(f"{self.id}/cotangent", int(np.prod(shape))) * 10)
        signed = (0.5 + 0.25 * (draw % 5)) * np.where(draw < 5, 1.0, -1.0)
        return np.asarray(signed).reshape(shape)


@dataclass(frozen=True)
class Operator:
    """A loaded op file."""

    name: str
    family: str
    summary: str
    decl: OpFile
    definition: Definition
    apis: tuple[Api, ...]
    file: Path
    cases: list[Case] = field(default_factory=list)


def shipped_cases() -> Path:
    """Return the folder of the case files that this distribution ships."""
    return Path(str(files("conformance.cases")))


def load_suite(root: Path | None = None) -> list[Operator]:
    """Load every op file below `root` (default: the shipped ones), in order of their paths.

    Raises:
        InvalidFileError: a file is not valid; the message has its line and column.
        UsageError: there is no such folder, or no case file in it.

    """
    folder = root or shipped_cases()
    paths = [folder] if folder.is_file() else sorted(folder.rglob("*.yaml"))
    if not paths:
        raise UsageError(f"no case files below {folder}")
    operators = [load_operator(path) for path in paths]
    seen: dict[str, Path] = {}
    for operator in operators:
        if operator.name in seen:
            raise InvalidFileError(
                f"{operator.file}:1:1", f"op {operator.name!r} stands in {seen[operator.name]} too"
            )
        seen[operator.name] = operator.file
    return operators


def load_operator(path: Path, text: str | None = None) -> Operator:
    """Load one op file and expand its cases."""
    document = YamlFile(path, text)
    decl = document.convert(OpFile)
    definition = definitions().get(decl.op)
    if definition is None:
        raise document.fail(
            ("op",), f"op {decl.op!r} has no reference", f"there are {', '.join(sorted(definitions()))}"
        )
    apis = tuple(_api(document, decl, name) for name in decl.apis)
    operator = Operator(decl.op, decl.family, decl.summary, decl, definition, apis, path)
    ids: dict[str, str] = {}
    for index, case in enumerate(decl.cases):
        for concrete in _expand(document, operator, case, ("cases", index)):
            if concrete.id in ids:
                raise document.fail(
                    ("cases", index, "case"), f"case id {concrete.id!r} stands at {ids[concrete.id]} too"
                )
            ids[concrete.id] = concrete.where
            operator.cases.append(concrete)
    check_unsupported(document, operator)
    check_claims(document, operator)
    return operator


def _api(document: YamlFile, decl: OpFile, name: str) -> Api:
    path: Path_ = ("apis", name)
    api = decl.apis[name]
    backend = name.split(".", maxsplit=1)[0]
    if backend not in BACKENDS:
        raise document.fail(path, f"{name!r} is in no namespace of a backend ({', '.join(BACKENDS)})")
    call, init = _names(api.call), None if api.init is None else _names(api.init)
    check_api(document, decl, api, path)
    binding = Binding(name, call, init, api.positional, api.returns)
    return Api(name, backend, binding, api, tuple(decl.claims.get(name, ())))


def _names(mapping: dict[str, str] | list[str]) -> dict[str, str]:
    return mapping if isinstance(mapping, dict) else {name: name for name in mapping}


def _expand(document: YamlFile, op: Operator, decl: CaseDecl, path: Path_) -> list[Case]:
    check_case(document, op.decl, decl, path)
    matrix: dict[str, list[Scalar]] = {"dtype": ["float32"], **decl.matrix}
    return [
        _concrete(document, op, decl, dict(zip(matrix, point, strict=True)), path)
        for point in itertools.product(*matrix.values())
    ]


def _concrete(document: YamlFile, op: Operator, decl: CaseDecl, point: dict[str, Any], path: Path_) -> Case:
    dtype = point["dtype"]
    if dtype not in FLOATING:
        raise document.fail((*path, "matrix", "dtype"), f"{dtype!r} is not one of {', '.join(FLOATING)}")
    params, layouts = dict(decl.params), {}
    dtypes, pinned = {}, set()
    for name, spec in decl.inputs.items():
        options = spec if isinstance(spec, dict) else {}
        dtypes[name] = options.get("dtype") or (
            dtype if op.decl.tensors[name].kind == "floating" else "int64"
        )
        layouts[name] = options.get("layout", "contiguous")
        if "dtype" in options:
            pinned.add(name)
    for axis, value in point.items():
        tensor, _, what = axis.partition(".")
        if axis == "dtype":
            continue
        if axis in op.decl.params:
            params[axis] = value
        elif tensor in decl.inputs and what == "dtype" and value in (*FLOATING, *INTEGER):
            dtypes[tensor] = value
            pinned.add(tensor)
        elif tensor in decl.inputs and what == "layout" and value in values.LAYOUTS:
            layouts[tensor] = value
        else:
            raise document.fail(
                (*path, "matrix", axis),
                f"{axis}: {value!r} is not a parameter, TENSOR.dtype or TENSOR.layout of this case",
            )
    shown = [_shown(axis, value) for axis, value in point.items()]
    differentiable = op.definition.differentiable
    wanted = decl.gradients if decl.gradients is not None else list(differentiable)
    wanted = [n for n in wanted if n in decl.inputs and dtypes[n] in FLOATING]
    case = Case(
        id=f"{op.name}/{decl.case}[{','.join(shown)}]",
        name=decl.case,
        op=op,
        domain=decl.domain,
        why=decl.why,
        dtype=dtype,
        specs={name: decl.inputs[name] for name in op.decl.tensors if name in decl.inputs},
        dtypes=dtypes,
        pinned=frozenset(pinned),
        layouts=layouts,
        params=params,
        gradients=tuple(wanted),
        signed_zero=decl.signed_zero,
        where=document.where((*path, "case")),
    )
    _check_literals(document, case, path)
    return case


def _shown(axis: str, value: Scalar) -> str:
    return str(value) if axis in ("dtype", "reduction") else f"{axis}={value}"


def _check_literals(document: YamlFile, case: Case, path: Path_) -> None:
    """Build what stands literally in the file at once: its mistakes belong to load time."""
    for name, spec in case.specs.items():
        if isinstance(spec, dict) and "values" not in spec and "set" not in spec:
            continue
        try:
            values.build(spec, case.dtypes[name], name)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise document.fail((*path, "inputs", name), f"not an array: {error}") from error


def evidence(pattern: str, case: Case) -> bool:
    """Whether a pattern without the op's name (`basic*`) means this case."""
    return glob(pattern, after_op(case.id))


def wire_tensors(case: Case, api: Api) -> dict[str, Array]:
    """Return the tensors as this API is sent them: labels in the dtype it documents, unless pinned."""
    from conformance.arrays import numpy_dtype, to_wire  # noqa: PLC0415 - keeps the names beside their use

    sent = {}
    for name, array in case.tensors.items():
        given = array
        if api.decl.label and case.op.decl.tensors[name].kind == "label" and name not in case.pinned:
            given = array.astype(numpy_dtype(api.decl.label))
        sent[name] = to_wire(given, case.layouts[name])  # type: ignore[arg-type]
    return sent


def wire_params(case: Case, api: Api) -> dict[str, Scalar]:
    """Return the parameters as this API is sent them: whole numbers as int where it documents an int."""
    return {
        name: int(value)
        if name in api.decl.integral and isinstance(value, float) and value.is_integer()
        else value
        for name, value in case.params.items()
    }


def find_case(suite: list[Operator], case_id: str) -> Case:
    """Return the case of that id.

    Raises:
        UsageError: there is none; the message names near ones.

    """
    import difflib  # noqa: PLC0415 - only for a message

    cases = {case.id: case for op in suite for case in op.cases}
    if case_id not in cases:
        near = difflib.get_close_matches(case_id, cases, 3)
        raise UsageError(f"no case {case_id!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))
    return cases[case_id]


def api_of(op: Operator, name: str) -> Api:
    """Return the op's API of that name."""
    for api in op.apis:
        if api.name == name:
            return api
    raise HarnessError(f"{op.name} has no API {name!r}")
