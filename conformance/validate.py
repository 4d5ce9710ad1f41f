"""What a case file must keep beyond its format: names that exist, patterns that mean something.

A name that is misspelt here would silently not be compared, not be excused or not be run.
"""

import math
import re
from collections.abc import Iterable
from keyword import iskeyword
from typing import TYPE_CHECKING

from conformance import values
from conformance.adapters import BACKENDS
from conformance.arrays import FLOATING, INTEGER
from conformance.globs import after_op, any_of
from conformance.opfile import ApiDecl, CaseDecl, ClaimDecl, OpFile
from conformance.yamlfile import Document, Path_

if TYPE_CHECKING:
    from conformance.suite import Operator

MOST_POINTS = 1 << 12
"""Points of one case's matrix; a file may have four times as many."""
MOST_WORK = 1 << 25
"""Elements of one case's inputs; all cases of a file together may have twice as many."""
MOST_MATCHES = 5_000_000
MOST_LETTERS = 100

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_DTYPES = (*FLOATING, *INTEGER)
_WAYS = ("conforms", "raises", "variant", "printed", "untestable")


def check_names(document: Document, op: OpFile, known: Iterable[str]) -> None:
    """Check that the parameters, and the tensors that an API takes, are arguments of the op's reference."""
    known = list(known)
    taken = {name for api in op.apis.values() for name in (*api.call, *(api.init or ()), *api.state)}
    taken |= {n for api in op.apis.values() for rows in api.lists.values() for row in rows for n in row}
    for path in (*(("params", n) for n in op.params), *(("tensors", n) for n in op.tensors if n in taken)):
        if path[1] not in known:
            what = f"the reference of {op.op} has no argument {path[1]!r}"
            raise document.fail(path, what, f"it has {', '.join(known)}")


def check_api(document: Document, op: OpFile, api: ApiDecl, path: Path_) -> None:
    """Check that a binding speaks of the op's tensors and parameters only."""
    for key in ("call", "init"):
        for argument in getattr(api, key) or ():
            if argument not in op.tensors and argument not in op.params and argument not in api.lists:
                raise document.fail(
                    (*path, key), f"{argument!r} is neither a tensor nor a parameter of the op"
                )
    _check_arguments(document, api, path)
    _check_forms(document, op, api, path)
    for key in ("integral", "defaults"):
        for name in getattr(api, key):
            if name not in op.params:
                raise document.fail((*path, key), f"the op has no parameter {name!r}")
    if api.label is not None:
        _check_dtypes(document, [api.label], (*path, "label"))


def _check_arguments(document: Document, api: ApiDecl, path: Path_) -> None:
    """Check that an API's arguments are names: scripts, and functions to compile, are written with them."""
    given: list[tuple[Path_, str]] = [((*path, "fixed", name), name) for name in api.fixed]
    for key in ("call", "init"):
        names = getattr(api, key) or {}
        if isinstance(names, dict):
            given += [((*path, key, ours), theirs) for ours, theirs in names.items()]
    for where, name in given:
        if not name.isidentifier() or iskeyword(name):
            raise document.fail(where, f"{name!r} is no name of an argument")


def _check_forms(document: Document, op: OpFile, api: ApiDecl, path: Path_) -> None:
    """Check the names in the fields that say in which form arguments are passed."""
    packed = [name for rows in api.lists.values() for row in rows for name in row]
    for key, names in (("state", list(api.state)), ("transposed", api.transposed), ("lists", packed)):
        for name in names:
            if name not in op.tensors:
                raise document.fail((*path, key), f"the op has no tensor {name!r}")
    for name in api.functions:
        if name not in op.params:
            raise document.fail((*path, "functions"), f"the op has no parameter {name!r}")
    for name, place in api.state.items():
        if not all(step.isidentifier() or step.isdecimal() for step in place.split(".")) or "_" in (
            step[:1] for step in place.split(".")
        ):
            raise document.fail((*path, "state", name), f"{place!r} is no parameter of a module")


def check_cases(document: Document, op: OpFile) -> None:
    """Check every case before any is expanded: its names, and that all of it is of a size that ends."""
    points = work = 0
    for index, case in enumerate(op.cases):
        path: Path_ = ("cases", index)
        check_case(document, op, case, path)
        own = math.prod(len(values) for values in case.matrix.values())
        points += own
        if own > MOST_POINTS or points > 4 * MOST_POINTS or own * len(op.excluded_pairs) > MOST_MATCHES:
            raise document.fail(
                (*path, "matrix"),
                f"a matrix of {own} points is too large",
                "write fewer values or more cases",
            )
        elements = sum(map(values.work, case.inputs.values()))
        work += elements * own
        if elements > MOST_WORK or work > 2 * MOST_WORK:
            raise document.fail(
                (*path, "inputs"),
                f"inputs of {elements} elements at {own} points are too large",
                "split the file",
            )


def _check_isolated(document: Document, case: CaseDecl, path: Path_) -> None:
    for backend in case.isolated:
        if backend not in BACKENDS:
            raise document.fail(
                (*path, "isolated"), f"there is no backend {backend!r}", f"there are {', '.join(BACKENDS)}"
            )


def check_case(document: Document, op: OpFile, case: CaseDecl, path: Path_) -> None:
    """Check a case's own names; its matrix and its literals are checked where they are expanded."""
    _check_isolated(document, case, path)
    if not _NAME.fullmatch(case.case) or len(case.case) > MOST_LETTERS:
        raise document.fail(
            (*path, "case"),
            f"{case.case!r} is not a name: lower case, digits and hyphens, at most {MOST_LETTERS}",
        )
    _check_inputs(document, op, case, (*path, "inputs"))
    for name in case.params:
        if name not in op.params:
            raise document.fail((*path, "params", name), f"the op has no parameter {name!r}")
    _check_lists(document, op, case, path)
    for key in ("gradients", "second"):
        for position, name in enumerate(getattr(case, key) or ()):
            if name not in case.inputs:
                raise document.fail((*path, key, position), f"the case has no input {name!r}")
    for axis, points in case.matrix.items():
        if not points:
            raise document.fail((*path, "matrix", axis), f"nothing on the axis {axis!r}, so no case at all")
        if any(len(str(point)) > MOST_LETTERS for point in points):
            raise document.fail((*path, "matrix", axis), "a value of more letters than an id should have")


def _check_lists(document: Document, op: OpFile, case: CaseDecl, path: Path_) -> None:
    for name, value in case.params.items():
        known = (op.params[name].default, *op.params[name].values)
        if isinstance(value, tuple) and not any(isinstance(v, tuple) for v in known):
            raise document.fail((*path, "params", name), f"{name!r} takes one value, not a list")


def _check_inputs(document: Document, op: OpFile, case: CaseDecl, path: Path_) -> None:
    for name, spec in case.inputs.items():
        if name not in op.tensors:
            known = ", ".join(op.tensors)
            raise document.fail((*path, name), f"the op has no tensor {name!r}", f"it has {known}")
        if isinstance(spec, dict):
            try:
                values.generator(spec)
            except ValueError as error:
                raise document.fail((*path, name), str(error)) from error
    for name, tensor in op.tensors.items():
        if name not in case.inputs and not tensor.optional:
            raise document.fail(path, f"the op needs the tensor {name!r}")


def check_unsupported(document: Document, op: "Operator") -> None:
    """Check that what each declaration excludes exists."""
    for api in op.apis:
        for index, decl in enumerate(api.decl.unsupported):
            path: Path_ = ("apis", api.name, "unsupported", index)
            _check_dtypes(document, decl.dtype, (*path, "dtype"))
            _check_dtypes(document, decl.label, (*path, "label"))
            _check_patterns(document, op, decl.cases, (*path, "cases"))
            for key, known in (("params", op.decl.params), ("given", op.decl.tensors)):
                for name in getattr(decl, key):
                    if name not in known:
                        raise document.fail((*path, key), f"the op has no {name!r}")
            for name in decl.without:
                if name not in op.decl.tensors:
                    raise document.fail((*path, "without"), f"the op has no tensor {name!r}")


def check_claims(document: Document, op: "Operator") -> None:
    """Check that each claim is about an API of the file and has one way, and cases, to be verified."""
    for api, claims in op.decl.claims.items():
        if api not in op.decl.apis:
            raise document.fail(("claims", api), f"claims about {api!r}, which this file does not bind")
        for index, claim in enumerate(claims):
            path: Path_ = ("claims", api, index)
            if len(_ways(claim)) != 1:
                raise document.fail((*path, "claim"), "give exactly one way to verify the claim")
            if claim.untestable is None and not claim.cases:
                raise document.fail(
                    (*path, "claim"), "a testable claim names the cases that are its evidence"
                )
            if claim.variant and claim.variant not in op.definition.variants:
                raise document.fail((*path, "variant"), f"the reference has no variant {claim.variant!r}")
            _check_patterns(document, op, claim.cases, (*path, "cases"))


def check_relations(document: Document, op: "Operator") -> None:
    """Check that the relations speak of tensors, parameters and cases that exist."""
    relations = op.decl.relations
    if relations is None:
        return
    _check_patterns(document, op, relations.cases, ("relations", "cases"))
    if relations.ignored and set(relations.ignored) != {"tensor", "param"}:
        raise document.fail(("relations", "ignored"), "'ignored' takes a tensor and a param")
    label, param = relations.ignored.get("tensor"), relations.ignored.get("param")
    for key, names in (("batch", relations.batch), ("ones", relations.ones), ("ignored", [label])):
        for name in names:
            if name is not None and name not in op.decl.tensors:
                raise document.fail(("relations", key), f"the op has no tensor {name!r}")
    if param is not None and param not in op.decl.params:
        raise document.fail(("relations", "ignored"), f"the op has no parameter {param!r}")
    if min(relations.batch.values(), default=0) < 0:
        raise document.fail(("relations", "batch"), "the axis of a batch is counted from 0")


def check_patterns(document: Document, op: "Operator") -> None:
    """Refuse more patterns than can be held against the cases in a moment."""
    claims = [claim.cases for claims in op.decl.claims.values() for claim in claims]
    declared = [each.cases for api in op.apis for each in api.decl.unsupported]
    patterns = sum(map(len, [*claims, *declared, *(d.cases for d in op.decl.differences)]))
    if patterns * len(op.ids) > MOST_MATCHES:
        raise document.fail((), f"{patterns} patterns on {len(op.ids)} cases are too many", "split the file")


def check_differences(document: Document, op: "Operator") -> None:
    """Check that each difference between APIs is proven by cases that exist."""
    for index, difference in enumerate(op.decl.differences):
        _check_patterns(document, op, difference.cases, ("differences", index, "cases"))


def _ways(claim: ClaimDecl) -> list[str]:
    given = [way for way in _WAYS if getattr(claim, way) is not None]
    return given + [way for way in ("refused", "accepted") if getattr(claim, way)]


def _check_dtypes(document: Document, names: Iterable[str], path: Path_) -> None:
    for name in names:
        if name not in _DTYPES:
            raise document.fail(path, f"{name!r} is not one of {', '.join(_DTYPES)}")


def _check_patterns(document: Document, op: "Operator", patterns: list[str], path: Path_) -> None:
    names = [after_op(name) for name in op.ids] if patterns else []
    for position, pattern in enumerate(patterns):
        if pattern not in names and not any(map(any_of((pattern,)).fullmatch, names)):
            raise document.fail((*path, position), f"{pattern!r} matches no case")
