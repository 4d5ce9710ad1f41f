"""Load case files: read, validate, expand; and what of a case an API is sent."""

import dataclasses
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import msgspec

from conformance import plugins
from conformance.adapters import BACKENDS
from conformance.adapters.base import Adapter
from conformance.arrays import numpy_dtype, to_wire
from conformance.definition import definitions
from conformance.errors import HarnessError, InvalidFileError, UsageError
from conformance.expand import Keep, Shared, everything, expand
from conformance.globs import after_op, glob
from conformance.opfile import BindingsFile, CaseDecl, OpFile
from conformance.parsed import Known, recall
from conformance.parsed import keep as keep_parsed
from conformance.suite import Api, BindingsSource, Case, Operator
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
from conformance.yamlfile import Document, Path_, YamlFile

__all__ = ["Api", "Case", "Operator"]


def shipped_cases() -> Path:
    """Return the folder of the case files that this distribution ships."""
    return Path(str(files("conformance.cases")))


def load_suite(
    root: Path | None = None, ops: Iterable[str] = (), backends: Iterable[str] = (), keep: Keep = everything
) -> list[Operator]:
    """Load every op file below `root` (default: the shipped ones), in order of their paths.

    With `ops`, only the files that are named as these are read, if there is one for each. `backends` are
    those whose own packages bind them: the built-in ones, which the op files bind, need not be named. A
    case whose id `keep` refuses is named in its operator's `ids`, and not made.

    Raises:
        InvalidFileError: a file is not valid; the message has its line and column.
        UsageError: there is no such folder, or no case file in it; or a backend is not there, or no good.

    """
    others = [name for name in dict.fromkeys(backends) if name not in BACKENDS]
    for name in others:
        check_bound_ops(name)
    operators = [load_operator(path, backends=others, keep=keep) for path in case_files(root, ops)]
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


def check_bound_ops(backend: str) -> None:
    """Refuse bindings of an op that the suite has no definition of: nothing would ever load them."""
    for path in sorted(plugins.bindings_folder(backend).glob("*.yaml")):
        if path.stem not in definitions():
            raise InvalidFileError(
                f"{path}:1:1",
                f"the suite has no op {path.stem!r}",
                f"name the file as its op; there are {', '.join(sorted(definitions()))}",
            )


def load_operator(
    path: Path, text: str | None = None, backends: Iterable[str] = (), keep: Keep = everything
) -> Operator:
    """Load one op file, with what the packages of these backends bind to it; expand the cases to `keep`."""
    document = (recall(path) if text is None else None) or YamlFile(path, text)
    decl = document.decl if isinstance(document, Known) else document.convert(OpFile)
    definition = definitions().get(decl.op)
    if definition is None:
        raise document.fail(
            ("op",), f"op {decl.op!r} has no reference", f"there are {', '.join(sorted(definitions()))}"
        )
    check_names(document, decl, definition.signature.parameters)
    apis = tuple(_api(document, decl, name) for name in decl.apis)
    if isinstance(document, YamlFile):
        check_cases(document, decl)
    about = msgspec.structs.replace(decl, cases=[])  # which are held as they are expanded
    own = Operator(decl.op, decl.family, decl.summary, about, definition, apis, path, document.digest)
    bound = [found for name in backends if (found := _bound(own, document, name)) is not None]
    operator = _joined(own, bound)
    _expand_all(document, operator, decl.cases, keep)
    for theirs, part in bound if isinstance(document, Known) else [(document, own), *bound]:
        check_patterns(theirs, part)
        check_unsupported(theirs, part)
        check_claims(theirs, part)
        check_differences(theirs, part)
        check_relations(theirs, part)
    if isinstance(document, YamlFile) and text is None:
        keep_parsed(document, decl)
    return operator


def _expand_all(document: Document, operator: Operator, cases: list[CaseDecl], keep: Keep) -> None:
    """Fill the operator's lists of ids and cases."""
    wheres, shared = dict[str, str](), Shared()
    for index, case in enumerate(cases):
        where = document.where(("cases", index, "case"))
        for name, concrete in expand(document, operator, case, ("cases", index), shared, keep):
            if name in wheres:
                raise document.fail(
                    ("cases", index, "case"), f"case id {name!r} stands at {wheres[name]} too"
                )
            if not name.isprintable():  # it stands in every list and page
                raise document.fail(("cases", index, "matrix"), f"the case id {name!r} cannot be printed")
            wheres[name] = where
            operator.ids.append(name)
            if concrete is not None:
                operator.cases.append(concrete)


def _bound(own: Operator, document: Document, backend: str) -> tuple[YamlFile, Operator] | None:
    """Return the op as a third-party backend binds it, and the file that says so; None: it does not."""
    path = plugins.bindings_folder(backend) / f"{own.name}.yaml"
    if not path.exists():
        return None
    theirs = YamlFile(path)
    parsed = theirs.convert(BindingsFile)
    if parsed.op != own.name:
        raise theirs.fail(("op",), f"op {parsed.op!r} stands in {path.name}", "name the file as its op")
    for name in parsed.apis:
        if name in own.decl.apis:
            where = document.where(("apis", name))
            raise theirs.fail(("apis", name), f"{name!r} is bound at {where} already")
    decl = msgspec.structs.replace(
        own.decl, apis=parsed.apis, claims=parsed.claims, differences=[], relations=None
    )
    check_names(theirs, decl, own.definition.signature.parameters)
    apis = tuple(_api(theirs, decl, name, backend) for name in parsed.apis)
    source = BindingsSource(backend, path, theirs.digest)
    # The lists of cases and ids are shared: they are filled once the cases are expanded.
    return theirs, dataclasses.replace(own, decl=decl, apis=apis, bindings=(source,))


def _joined(own: Operator, bound: list[tuple[YamlFile, Operator]]) -> Operator:
    """Return the op with all its bindings, its digest that of all files."""
    if not bound:
        return own
    parts = [part for _, part in bound]
    apis, claims = dict(own.decl.apis), dict(own.decl.claims)
    for part in parts:
        apis |= part.decl.apis
        claims |= part.decl.claims
    sources = tuple(source for part in parts for source in part.bindings)
    digest = sha256("\0".join([own.digest, *(f"{s.backend} {s.digest}" for s in sources)]).encode())
    return dataclasses.replace(
        own,
        decl=msgspec.structs.replace(own.decl, apis=apis, claims=claims),
        apis=(*own.apis, *(api for part in parts for api in part.apis)),
        digest=digest.hexdigest(),
        bindings=sources,
    )


def _api(document: Document, decl: OpFile, name: str, bound: str = "") -> Api:
    """Read a binding: of a built-in backend, or of the one whose package this file is in."""
    path: Path_ = ("apis", name)
    api = decl.apis[name]
    backend = name.split(".", maxsplit=1)[0]
    if backend not in ([bound] if bound else BACKENDS):
        raise document.fail(
            path, f"{name!r} is in no namespace of a backend ({bound or ', '.join(BACKENDS)})"
        )
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
    return plugins.adapter_class(backend)()


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
