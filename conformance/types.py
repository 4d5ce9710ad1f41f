"""The frozen messages that travel along the line: what a worker is asked and what it answers.

A worker never sees an expected answer: `Request` has no field for one.
"""

from typing import Any, Literal

import msgspec

Scalar = bool | int | float | str | tuple[int | float, ...] | None
Domain = Literal["defined", "extended", "undefined"]
Status = Literal["pass", "fail", "observed", "error", "crash", "timeout", "unsupported", "notrun", "harness"]
Outcome = Literal["ok", "known", "regression", "stale", "notrun"]
Category = Literal["value", "type", "index", "unsupported", "runtime", "internal"]
Phase = Literal["build", "construct", "call", "read", "backward"]
Layout = Literal["contiguous", "transposed", "strided", "sliced", "expanded"]

STATUSES: tuple[Status, ...] = (
    "pass",
    "fail",
    "observed",
    "error",
    "crash",
    "timeout",
    "unsupported",
    "notrun",
    "harness",
)
KINDS = (
    "value",
    "dtype",
    "shape",
    "nonfinite",
    "grad_missing",
    "grad_extra",
    "grad_value",
    "raises",
    "no_raise",
    "mutated_input",
    "mutated_process",
    "relation",
    "nondeterministic",
)


class Array(msgspec.Struct, frozen=True, tag=True):
    """A tensor on the wire: little-endian C-order bytes; bfloat16 as its raw 16 bits."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes
    layout: Layout = "contiguous"
    held: str = ""
    """On its way: the name of the file that has the data; see `hold`."""


class Raised(msgspec.Struct, frozen=True, tag=True):
    """An exception, as it left the framework; `phase` says which call let it out."""

    phase: Phase
    category: Category
    exception: str
    message: str


class Binding(msgspec.Struct, frozen=True):
    """How one public API expresses the op: canonical argument names to its own.

    `init` is None for a function, else what the constructor takes. `positional` passes arguments in the
    order of `call`, for entries (MindSpore's primitives) that accept no keywords. `returns` picks one of
    several outputs. `fixed` are constant arguments (a class's go to its constructor); `state` places a
    tensor as an attribute of the constructed module (`tail.0.weight`); `lists` packs tensors into an
    argument; `transposed` are tensors that the API takes the other way round; `functions` are parameters
    that name a callable.
    """

    api: str
    call: dict[str, str]
    init: dict[str, str] | None = None
    positional: bool = False
    returns: int | None = None
    fixed: dict[str, Scalar] = {}
    state: dict[str, str] = {}
    lists: dict[str, list[list[str]]] = {}
    transposed: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()


class Request(msgspec.Struct, frozen=True):
    """One call of one API, with the inputs to differentiate by and the cotangent of its output.

    `directions` asks for second derivatives: the gradient's derivative by the same input, along each.
    An `isolated` request has a worker for itself, for the call may damage its memory.
    """

    id: int
    binding: Binding
    tensors: dict[str, Array]
    params: dict[str, Scalar]
    gradients: tuple[str, ...] = ()
    cotangent: Array | None = None
    directions: dict[str, Array] = {}
    isolated: bool = False
    held: tuple[str, ...] = ()
    """The files that its tensors are in."""


class Reply(msgspec.Struct, frozen=True):
    """What the API did: an output or an exception, the gradients (None: it gave none), the side effects."""

    id: int
    output: Array | Raised
    gradients: dict[str, Array | Raised | None] = {}
    mutated: tuple[str, ...] = ()
    seconds: float = 0.0
    second: dict[str, Array | Raised | None] = {}
    altered: tuple[str, ...] = ()
    """What the call changed of its process (its rounding mode, its folder, …); it was put back."""
    spoiled: bool = False
    """The process cannot be made what it was, or has little memory left: the worker is replaced."""
    held: bool = False
    """Whether tensors of it are in files."""
    notes: str = ""
    """What there is to say of how the call was executed."""


class Death(msgspec.Struct, frozen=True, tag=True):
    """The worker did not answer: it died (`crash`) or had to be ended (`timeout`)."""

    status: Literal["crash", "timeout"]
    message: str
    signal: str = ""
    stderr: str = ""
    sequence: tuple[int, ...] = ()
    """The earlier requests (ids) without which the call does not fail; empty: it fails by itself."""


class Environment(msgspec.Struct, frozen=True):
    """What a worker says of itself when it is ready."""

    backend: str
    framework: str
    version: str
    python: str
    numpy: str
    device: str = "cpu"
    mode: str = "eager"
    flags: dict[str, Any] = {}
