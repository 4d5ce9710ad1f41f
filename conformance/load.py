"""Load case files: read, validate, expand; and what of a case an API is sent."""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path

from conformance.adapters import BACKENDS
from conformance.adapters.base import Adapter
from conformance.arrays import numpy_dtype, to_wire
from conformance.definition import definitions
from conformance.errors import HarnessError, InvalidFileError, UsageError
from conformance.expand import expand
from conformance.globs import after_op, glob
from conformance.opfile import OpFile
from conformance.suite import Api, Case, Operator
from conformance.types import Array, Binding, Scalar
from conformance.validate import (
    check_api,
    check_cases,
    check_claims,
    check_differences,
    check_names,
    check_patterns,
    check_relations,
    check_unsupported,
)
from conformance.worker import load_adapter
from conformance.yamlfile import Path_, YamlFile

__all__ = ["Api", "Case", "Operator"]


def shipped_cases() -> Path:
    """Return the folder of the case files that this distribution ships."""
    return Path(str(files("conformance.cases")))


def load_suite(root: Path | None = None, ops: Iterable[str] = ()) -> list[Operator]:
    """Load every op file below `root` (default: the shipped ones), in order of their paths.

    With `ops`, only the files that are named as these are read, if there is one for each.

    Raises:
        InvalidFileError: a file is not valid; the message has its line and column.
        UsageError: there is no such folder, or no case file in it.

    """
    operators = [load_operator(path) for path in case_files(root, ops)]
    seen: dict[str, Path] = {}
    for operator in operators:
        if operator.name in seen:
            raise InvalidFileError(
                f"{operator.file}:1:1", f"op {operator.name!r} stands in {seen[operator.name]} too"
            )
        seen[operator.name] = operator.file
    return operators


def case_files(root: Path | None = None, ops: Iterable[str] = ()) -> list[Path]:
    """Return the op files below `root`, sorted; with `ops` those named as these, if there is one for each.

    Raises:
        UsageError: there is no such folder, or no case file in it.

    """
    folder = root or shipped_cases()
    pattern = "*/*.yaml" if root is None else "**/*.yaml"
    paths = [folder] if folder.is_file() else sorted(folder.glob(pattern))
    named = [path for path in paths if path.stem in set(ops)]
    if ops and {path.stem for path in named} == set(ops):
        paths = named
    if not paths:
        raise UsageError(f"no case files below {folder}")
    return paths


def load_operator(path: Path, text: str | None = None) -> Operator:
    """Load one op file and expand its cases."""
    document = YamlFile(path, text)
    decl = document.convert(OpFile)
    definition = definitions().get(decl.op)
    if definition is None:
        raise document.fail(
            ("op",), f"op {decl.op!r} has no reference", f"there are {', '.join(sorted(definitions()))}"
        )
    check_names(document, decl, definition.signature.parameters)
    apis = tuple(_api(document, decl, name) for name in decl.apis)
    check_cases(document, decl)
    operator = Operator(decl.op, decl.family, decl.summary, decl, definition, apis, path, document.digest)
    ids: dict[str, str] = {}
    for index, case in enumerate(decl.cases):
        for concrete in expand(document, operator, case, ("cases", index)):
            if concrete.id in ids:
                raise document.fail(
                    ("cases", index, "case"), f"case id {concrete.id!r} stands at {ids[concrete.id]} too"
                )
            if not concrete.id.isprintable():  # it stands in every list and page
                raise document.fail(
                    ("cases", index, "matrix"), f"the case id {concrete.id!r} cannot be printed"
                )
            ids[concrete.id] = concrete.where
            operator.cases.append(concrete)
    check_patterns(document, operator)
    check_unsupported(document, operator)
    check_claims(document, operator)
    check_differences(document, operator)
    check_relations(document, operator)
    return operator


def _api(document: YamlFile, decl: OpFile, name: str) -> Api:
    path: Path_ = ("apis", name)
    api = decl.apis[name]
    backend = name.split(".", maxsplit=1)[0]
    if backend not in BACKENDS:
        raise document.fail(path, f"{name!r} is in no namespace of a backend ({', '.join(BACKENDS)})")
    adapter = _adapter(backend)
    if not adapter.permits(name):
        namespaces = ", ".join((*adapter.namespaces, *adapter.entries))
        raise document.fail(
            path, f"{name!r} is outside the public namespaces of {backend}", f"they are {namespaces}"
        )
    call, init = _names(api.call), None if api.init is None else _names(api.init)
    check_api(document, decl, api, path)
    binding = Binding(
        name,
        call,
        init,
        api.positional,
        api.returns,
        api.fixed,
        api.state,
        api.lists,
        tuple(api.transposed),
        tuple(api.functions),
    )
    return Api(name, backend, binding, api, tuple(decl.claims.get(name, ())))


@cache
def _adapter(backend: str) -> Adapter:
    """Return a backend's adapter, without its framework, for the names that it permits."""
    return load_adapter(BACKENDS[backend])


def _names(mapping: dict[str, str] | list[str]) -> dict[str, str]:
    return mapping if isinstance(mapping, dict) else {name: name for name in mapping}


def evidence(pattern: str, case: Case) -> bool:
    """Whether a pattern without the op's name (`basic*`) means this case."""
    return glob(pattern, after_op(case.id))


def wire_tensors(case: Case, api: Api) -> dict[str, Array]:
    """Return the tensors as this API is sent them: labels in the dtype it documents, unless pinned."""
    sent, label = {}, api.decl.label
    for name, array in case.tensors.items():
        given = array
        if label and case.op.decl.tensors[name].kind == "label" and name not in case.pinned:
            given = array.astype(numpy_dtype(label))
        sent[name] = to_wire(given, case.layouts[name])  # type: ignore[arg-type]
    return sent


def inexpressible(case: Case, api: Api) -> str:
    """Say why a case cannot be put to an API: it has no argument for what the case gives, else nothing.

    A parameter that has the value which the API documents as its own needs no argument.
    """
    binding = api.binding
    taken = {*binding.call, *(binding.init or ()), *binding.state}
    taken |= {name for rows in binding.lists.values() for row in rows for name in row}
    for name in case.specs:
        if name not in taken:
            return f"{api.name} takes no {name}"
    for name, value in case.params.items():
        own = api.decl.defaults.get(name, case.op.decl.params[name].default)
        if name not in taken and (value != own or isinstance(value, bool) != isinstance(own, bool)):
            return f"{api.name} takes no {name}; its own is {own}"
    return ""


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
