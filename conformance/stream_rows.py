"""What a line of a stream, or a folded run, may hold: the types that its known keys have, whoever wrote it.

The published schema says what a reader may rely on; here stand also the keys beside these that our reports
look into, and the notes that only a resumed run reads.
"""

from types import GenericAlias
from typing import Annotated, Any

import msgspec

from conformance import schema
from conformance.schema import Number
from conformance.types import Domain

Whole = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""A whole number that other programs can read too: JSON, and so Python, sets no limit to its digits."""
Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
"""How many of something, or where in a tensor."""
Exact = Number | list[Number]
"""What the definition gives: at a kink an interval."""
DEEPEST = 32
"""Levels of lists and objects in a line: what we write has eight, and readers call themselves at each."""


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
    signal: str = ""
    stderr: str = ""
    sequence: list[str] = []


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
    calls: Count = 0
    quantities: dict[str, Any] = {}
    """By name what varied, of a call that was repeated."""


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
    files: dict[str, str] = {}
    bindings: dict[str, str] = {}
    seed: str = ""


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


def _types(row: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the types of the known keys of a row."""
    kind = str(row.__struct_config__.tag)
    return {field.name: field.type for field in msgspec.structs.fields(row)} | _BESIDE[kind]


def _optional(types: dict[str, Any]) -> list[Any]:
    """Make fields: a key that its writer left out is no fault, a wrong type is."""
    return [(name, of | msgspec.UnsetType, msgspec.UNSET) for name, of in types.items()]


def _reader(row: type[msgspec.Struct]) -> Any:
    """Make the type of a row as it is read."""
    kind, types = str(row.__struct_config__.tag), _types(row)
    fields: list[Any] = [(name, types.pop(name)) for name in _NEEDED[kind]]
    return msgspec.defstruct(row.__name__, [*fields, *_optional(types)], tag=kind)


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


def _several(kind: str) -> Any:
    return GenericAlias(list, _READERS[kind])


_ABOUT = ("case", "op", "family", "api", "backend", "domain", "check")
"""Keys of a result that a folded run has around it, for all results that share them."""
FoldedResult: Any = msgspec.defstruct(
    "FoldedResult", _optional({n: of for n, of in _types(schema.ResultRow).items() if n not in _ABOUT})
)
FoldedCase: Any = msgspec.defstruct(
    "FoldedCase",
    [("op", str), ("family", str), ("domain", Domain), ("apis", dict[str, dict[str, FoldedResult]])],
)
FoldedRun: Any = msgspec.defstruct(
    "FoldedRun",
    [
        ("schema", str),
        ("run", _READERS["run"]),
        ("backends", _several("backend")),
        ("apis", dict[str, str]),
        ("results", dict[str, FoldedCase]),
        ("claims", _several("claim")),
        ("ledger", _several("ledger")),
        ("end", _READERS["end"] | None),
    ],
)
"""A folded run as it is read. The published schema promises more keys, and sets no limit to whole numbers."""


def mistake(row: dict[str, Any]) -> str:
    """Say which known key is of another type than the schema has, or which name is missing; else nothing."""
    kind = row["type"]
    said = unlike(row, _READERS[kind]) if kind in _READERS else ""
    return f"not a {kind} line: {said}" if said else too_deep(row)


def unlike(value: Any, kind: Any) -> str:
    """Say where a value is not of that type; nothing if it is."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return str(error)
    return ""


def too_deep(value: Any, most: int = DEEPEST) -> str:
    """Say if there are more levels than a reader can take, who calls himself at each; else nothing."""
    nested = isinstance(value, dict | list) and _deeper(value, most)
    return f"nested deeper than {most} levels" if nested else ""


def _deeper(value: Any, most: int) -> bool:
    if most < 0:
        return True
    # Called for every line of a stream: what a line holds is mostly plain, and passed over at once.
    for each in value.values() if type(value) is dict else value:
        kind = type(each)
        if (kind is dict or kind is list) and _deeper(each, most - 1):
            return True
    return False
