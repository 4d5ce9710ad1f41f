"""What a case file must keep beyond its format: names that exist, patterns that mean something.

A name that is misspelt here would silently not be compared, not be excused or not be run.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from conformance import values
from conformance.arrays import FLOATING, INTEGER
from conformance.globs import after_op, glob
from conformance.opfile import ApiDecl, CaseDecl, ClaimDecl, OpFile
from conformance.yamlfile import Path_, YamlFile

if TYPE_CHECKING:
    from conformance.suite import Operator

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_DTYPES = (*FLOATING, *INTEGER)
_WAYS = ("conforms", "raises", "variant", "printed", "untestable")


def check_api(document: YamlFile, op: OpFile, api: ApiDecl, path: Path_) -> None:
    """Check that a binding speaks of the op's tensors and parameters only."""
    for key in ("call", "init"):
        for argument in getattr(api, key) or ():
            if argument not in op.tensors and argument not in op.params and argument not in api.lists:
                raise document.fail(
                    (*path, key), f"{argument!r} is neither a tensor nor a parameter of the op"
                )
    _check_forms(document, op, api, path)
    for key in ("integral", "defaults"):
        for name in getattr(api, key):
            if name not in op.params:
                raise document.fail((*path, key), f"the op has no parameter {name!r}")
    if api.label is not None:
        _check_dtypes(document, [api.label], (*path, "label"))


def _check_forms(document: YamlFile, op: OpFile, api: ApiDecl, path: Path_) -> None:
    """Check the names in the fields that say in which form arguments are passed."""
    packed = [name for rows in api.lists.values() for row in rows for name in row]
    for key, names in (("state", list(api.state)), ("transposed", api.transposed), ("lists", packed)):
        for name in names:
            if name not in op.tensors:
                raise document.fail((*path, key), f"the op has no tensor {name!r}")
    for name in api.functions:
        if name not in op.params:
            raise document.fail((*path, "functions"), f"the op has no parameter {name!r}")


def check_case(document: YamlFile, op: OpFile, case: CaseDecl, path: Path_) -> None:
    """Check a case's own names; its matrix and its literals are checked where they are expanded."""
    if not _NAME.fullmatch(case.case):
        raise document.fail((*path, "case"), f"{case.case!r} is not a name: lower case, digits and hyphens")
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


def _check_lists(document: YamlFile, op: OpFile, case: CaseDecl, path: Path_) -> None:
    for name, value in case.params.items():
        known = (op.params[name].default, *op.params[name].values)
        if isinstance(value, tuple) and not any(isinstance(v, tuple) for v in known):
            raise document.fail((*path, "params", name), f"{name!r} takes one value, not a list")


def _check_inputs(document: YamlFile, op: OpFile, case: CaseDecl, path: Path_) -> None:
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


def check_unsupported(document: YamlFile, op: "Operator") -> None:
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


def check_claims(document: YamlFile, op: "Operator") -> None:
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


def check_differences(document: YamlFile, op: "Operator") -> None:
    """Check that each difference between APIs is proven by cases that exist."""
    for index, difference in enumerate(op.decl.differences):
        _check_patterns(document, op, difference.cases, ("differences", index, "cases"))


def _ways(claim: ClaimDecl) -> list[str]:
    given = [way for way in _WAYS if getattr(claim, way) is not None]
    return given + [way for way in ("refused", "accepted") if getattr(claim, way)]


def _check_dtypes(document: YamlFile, names: Iterable[str], path: Path_) -> None:
    for name in names:
        if name not in _DTYPES:
            raise document.fail(path, f"{name!r} is not one of {', '.join(_DTYPES)}")


def _check_patterns(document: YamlFile, op: "Operator", patterns: list[str], path: Path_) -> None:
    for position, pattern in enumerate(patterns):
        if not any(glob(pattern, after_op(case.id)) for case in op.cases):
            raise document.fail((*path, position), f"{pattern!r} matches no case")
