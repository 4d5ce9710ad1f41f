"""What a line of a stream may hold: the types that its known keys have, whoever wrote it.

The published schema says what a reader may rely on; here stand also the keys beside these that our reports
look into, and the notes that only a resumed run reads.
"""

from typing import Annotated, Any

import msgspec

from conformance import schema
from conformance.schema import Number

Whole = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""A whole number that other programs can read too: JSON, and so Python, sets no limit to its digits."""
Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
"""How many of something, or where in a tensor."""
Exact = Number | list[Number]
"""What the definition gives: at a kink an interval."""


class _Part(msgspec.Struct):
    """A part of a row that reports look into: what is there has its type, more may be there."""

    at: list[Count] = []
    got: Number = None
    exact: Exact = None
    ulp: Number = None
    low: Number = None
    high: Number = None
    bound: Number = None
    ratio: Number = None


class _Raised(msgspec.Struct):
    phase: str = ""
    category: str = ""
    exception: str = ""
    message: str = ""


class _Heat(msgspec.Struct):
    block: tuple[Count, Count]
    levels: list[str]


class _Detail(msgspec.Struct):
    dtype: str = ""
    shape: list[Count] = []
    nan: Count = 0
    inf: Count = 0
    expected_nan: Count = 0
    expected_inf: Count = 0
    max_rel: Number = None
    yardstick: dict[str, Number] | None = None
    heat: _Heat | None = None
    ulp_histogram: list[tuple[Whole | None, Count]] | None = None
    worst: list[_Part] | None = None


class _Suite(msgspec.Struct):
    name: str = ""
    version: str = ""
    commit: str = ""
    digest: str = ""
    platform: str = ""
    python: str = ""
    numpy: str = ""
    ops: list[str] = []
    cases: Count = 0


class _Asked(msgspec.Struct, tag="asked"):
    backends: list[str]


class _Heard(msgspec.Struct, tag="heard"):
    case: str
    api: str
    claims: list[tuple[str, bool, str]]


class _Settled(msgspec.Struct, tag="settled"):
    case: str
    api: str


_NEEDED = {
    "backend": ("backend", "version"),
    "result": ("case", "op", "api", "backend", "check", "status"),
    "claim": ("op", "api", "claim", "verdict"),
    "ledger": ("ledger", "backend"),
    "run": ("schema",),
    "end": (),
}
_BESIDE: dict[str, dict[str, Any]] = {
    "backend": {"python": str, "numpy": str, "flags": dict[str, Any]},
    "result": {
        "compared": Count,
        "worst": list[Count] | None,
        "undecided": Count,
        "mismatched": Count,
        "mean_ulp": Number,
        "at_max_ulp": _Part | None,
        "expected": Exact,
        "got": Number,
        "bound": Number,
        "bound_terms": dict[str, Number],
        "convention": str,
        "digest": str,
        "error": _Raised | None,
        "detail": _Detail | None,
        "declared": str | None,
        "nondeterministic": bool,
    },
    "claim": {"backend": str, "why": str, "ledger": str | None, "evidence_count": Count},
    "ledger": {},
    "run": {"suite": _Suite, "selection": dict[str, Any] | None},
    "end": {
        "hits": list[str],
        "counts": dict[str, Count],
        "outcomes": dict[str, Count],
        "claims": dict[str, Count],
        "exit": Whole,
    },
}


def _reader(row: type[msgspec.Struct]) -> Any:
    """Make the type of a row as it is read: a key that its writer left out is no fault, a wrong type is."""
    kind = str(row.__struct_config__.tag)
    types = {field.name: field.type for field in msgspec.structs.fields(row)} | _BESIDE[kind]
    fields: list[Any] = [(name, types[name]) for name in _NEEDED[kind]]
    fields += [
        (n, of | msgspec.UnsetType, msgspec.UNSET) for n, of in types.items() if n not in _NEEDED[kind]
    ]
    return msgspec.defstruct(row.__name__, fields, tag=kind)


_READERS: dict[str, Any] = {
    kind: _reader(row)
    for kind, row in (
        ("backend", schema.BackendRow),
        ("result", schema.ResultRow),
        ("claim", schema.ClaimRow),
        ("ledger", schema.LedgerRow),
        ("run", schema.RunRow),
        ("end", schema.EndRow),
    )
} | {"asked": _Asked, "heard": _Heard, "settled": _Settled}


def mistake(row: dict[str, Any]) -> str:
    """Say which known key is of another type than the schema has, or which name is missing; else nothing."""
    kind = row["type"]
    if kind not in _READERS:
        return ""
    try:
        msgspec.convert(row, _READERS[kind])
    except msgspec.ValidationError as error:
        return f"not a {kind} line: {error}"
    return ""
