"""The format of `cases/<family>/<op>.yaml`: the op's contract, its bindings, its claims, its cases."""

from typing import Any, Literal

import msgspec

from conformance.types import Category, Domain, Scalar


class TensorDecl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor argument: `floating` follows the case's dtype, `label` is an integer class index."""

    kind: Literal["floating", "label"]
    optional: bool = False


class ParamDecl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parameter and the default that the definition gives it."""

    default: Scalar
    about: str = ""


class UnsupportedDecl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an API's own documentation excludes, declared before running, with its source."""

    why: str
    source: str
    dtype: list[str] = []
    label: list[str] = []
    cases: list[str] = []


class ApiDecl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an API expresses the op: which argument goes where and under what name.

    `call` (and `init`, for a class) map canonical names to the API's; a list means the same names.
    `label` is the dtype that labels are sent in unless a case pins it; `integral` names real parameters
    that this API documents as int: 2.0 is sent as 2.
    """

    doc: str
    call: dict[str, str] | list[str]
    init: dict[str, str] | list[str] | None = None
    positional: bool = False
    returns: int | None = None
    label: str | None = None
    integral: list[str] = []
    defaults: dict[str, Scalar] = {}
    unsupported: list[UnsupportedDecl] = []


class ClaimDecl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One statement of an API's documentation and how a run confirms or refutes it.

    Exactly one way to verify, on the cases named as evidence:
        `conforms`: the named checks pass; `raises`: the call raises one of these categories, a promise
        that undefined cases are then held to; `accepted`: the call raises nothing; `refused`: it raises
        anything, and if it does not, the statement was a requirement on the caller that nothing enforces;
        `variant`: the output is this other formula's; `printed`: it is the printed value;
        `untestable`: why no run can tell.
    """

    claim: str
    says: str
    cases: list[str] = []
    conforms: list[str] | None = None
    raises: list[Category] | None = None
    refused: bool = False
    accepted: bool = False
    variant: str | None = None
    printed: Any = None
    untestable: str | None = None


class CaseDecl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named set of inputs and parameters, times a matrix."""

    case: str
    why: str
    inputs: dict[str, Any]
    domain: Domain = "defined"
    params: dict[str, Scalar] = {}
    matrix: dict[str, list[Scalar]] = {}
    gradients: list[str] | None = None
    signed_zero: bool = False


class OpFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole op file."""

    op: str
    family: str
    summary: str
    tensors: dict[str, TensorDecl]
    params: dict[str, ParamDecl]
    apis: dict[str, ApiDecl]
    cases: list[CaseDecl]
    claims: dict[str, list[ClaimDecl]] = {}
