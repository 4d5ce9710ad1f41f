"""The format of `cases/<family>/<op>.yaml`: the op's contract, its bindings, its claims, its cases."""

from typing import Any, Literal

import msgspec

from conformance.types import Category, Domain, Scalar

Holds = Literal["real", "logit", "probability", "log_probability", "positive", "weight"]


class TensorDecl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor argument: `floating` follows the case's dtype, `label` is an integer (a class, a length).

    `holds` says what its numbers mean, and so which regimes the cases have to reach.
    """

    kind: Literal["floating", "label"]
    optional: bool = False
    holds: Holds = "real"


class ParamDecl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parameter, the default that the definition gives it, and the values that stand for all others.

    Each of `values` has to be combined by some case with every value of every other parameter, with each
    dtype, and with and without each optional tensor. `required`: no API has a default of its own.
    """

    default: Scalar
    about: str = ""
    values: list[Scalar] = []
    required: bool = False


class UnsupportedDecl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an API's own documentation excludes, declared before running, with its source.

    It speaks of the cases that all its matchers take: dtypes, dtypes of labels, globs over the case's name,
    values of parameters, optional tensors given or missing, ranks of the first tensor, no elements.
    """

    why: str
    source: str
    dtype: list[str] = []
    label: list[str] = []
    cases: list[str] = []
    params: dict[str, list[Scalar]] = {}
    given: list[str] = []
    without: list[str] = []
    rank: list[int] = []
    empty: bool = False


class ApiDecl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an API expresses the op: which argument goes where and under what name.

    `call` (and `init`, for a class) map canonical names to the API's; a list means the same names.
    `label` is the dtype that labels are sent in unless a case pins it; `integral` names real parameters
    that this API documents as int: 2.0 is sent as 2. The rest is as in `types.Binding`.
    """

    doc: str
    call: dict[str, str] | list[str]
    init: dict[str, str] | list[str] | None = None
    positional: bool = False
    returns: int | None = None
    fixed: dict[str, Scalar] = {}
    state: dict[str, str] = {}
    lists: dict[str, list[list[str]]] = {}
    transposed: list[str] = []
    functions: list[str] = []
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
    """A named set of inputs and parameters, times a matrix: its product, or enough of it for every pair.

    `gradients` are the inputs to differentiate by (all that the definition can, unless said otherwise),
    `second` those to differentiate the gradients by once more. `isolated`: the backends of which some API
    writes where it should not, so that each call has a process for itself, and no other pays for it.
    """

    case: str
    why: str
    inputs: dict[str, Any]
    domain: Domain = "defined"
    params: dict[str, Scalar] = {}
    matrix: dict[str, list[Scalar]] = {}
    expand: Literal["product", "pairwise"] = "product"
    gradients: list[str] | None = None
    second: list[str] = []
    signed_zero: bool = False
    isolated: tuple[str, ...] = ()


class ExcludedPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two values that no case has to combine, and why not."""

    pair: dict[str, Scalar]
    why: str


class DifferenceDecl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where APIs of one name compute different functions: which, how to convert, and the proving cases."""

    says: str
    cases: list[str]


class RelationsDecl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Relations that the op keeps between calls, and the cases that they are checked on.

    `batch` gives the axis of the batch of each tensor that has one, where the samples do not touch each
    other; `ones` are the weights that change nothing when all are 1; `ignored` names the labels and the
    parameter that says which of them counts for nothing; `nonnegative`: no loss is below 0; `plain_mean`:
    the mean is that of all the losses, not weighted.
    """

    cases: list[str]
    batch: dict[str, int] = {}
    ones: list[str] = []
    ignored: dict[str, str] = {}
    nonnegative: bool = False
    plain_mean: bool = True


class BindingsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`bindings/<op>.yaml` in the package of a third-party backend: how its APIs express an op of the suite.

    `apis` and `claims` are those of an op file.
    """

    op: str
    apis: dict[str, ApiDecl]
    claims: dict[str, list[ClaimDecl]] = {}


class OpFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole op file.

    `formula` is the definition as LaTeX, which the operator's page typesets, its parts with a comma and a
    quad between them; `branches` are those that the reference marks, `exempt` the regimes that the op
    cannot be in, each with why; `survivors` the planted faults that no case can catch, `equivalent` those
    that nobody could tell (every value they can give conforms, or only what no document defines would show
    them), both with why; `differences` what a person who ports a model has to know.
    """

    op: str
    family: str
    summary: str
    tensors: dict[str, TensorDecl]
    params: dict[str, ParamDecl]
    apis: dict[str, ApiDecl]
    cases: list[CaseDecl]
    formula: str = ""
    claims: dict[str, list[ClaimDecl]] = {}
    branches: dict[str, str] = {}
    exempt: dict[str, str] = {}
    excluded_pairs: list[ExcludedPair] = []
    relations: RelationsDecl | None = None
    survivors: dict[str, str] = {}
    equivalent: dict[str, str] = {}
    differences: list[DifferenceDecl] = []
