"""The published JSON Schema of `run.jsonl`: what a reader may rely on, more keys may stand beside these."""

from typing import Any, Literal

import msgspec

from conformance.types import Domain, Outcome, Status

Number = float | Literal["NaN", "Infinity", "-Infinity"] | None


class RunRow(msgspec.Struct, tag="run"):
    """First line: what ran."""

    schema: str
    suite: dict[str, Any]
    oracle: dict[str, Any]
    argv: list[str]
    shard: str


class BackendRow(msgspec.Struct, tag="backend"):
    """One line a backend: what it said of itself, or why it is `lost`."""

    backend: str
    framework: str
    version: str
    device: str = "cpu"
    mode: str = "eager"
    lost: str = ""


class ResultRow(msgspec.Struct, tag="result"):
    """One line a check of one API on one case."""

    case: str
    op: str
    family: str
    api: str
    backend: str
    domain: Domain
    check: str
    status: Status
    kind: str
    outcome: Outcome
    compared: int
    error_over_bound: Number
    max_abs: Number
    max_rel: Number
    max_ulp: Number
    worst: list[int] | None
    ledger: str | None
    message: str


class ClaimRow(msgspec.Struct, tag="claim"):
    """One line a statement of an API's documentation."""

    op: str
    api: str
    claim: str
    says: str
    source: str
    verdict: Literal["confirmed", "refuted", "untestable", "notrun"]
    evidence: list[str]
    outcome: Outcome
    kind: str = ""
    states: str = ""
    disagrees_with: list[str] = []


class LedgerRow(msgspec.Struct, tag="ledger"):
    """A ledger entry that no longer holds."""

    ledger: str
    backend: str
    outcome: Outcome
    message: str


class EndRow(msgspec.Struct, tag="end"):
    """Last line: a stream without it is not finished."""

    complete: bool
    counts: dict[str, int]
    outcomes: dict[str, int]
    claims: dict[str, int]
    exit: int


Row = RunRow | BackendRow | ResultRow | ClaimRow | LedgerRow | EndRow


def stream_schema() -> dict[str, Any]:
    """JSON Schema of one line of a stream (2020-12)."""
    schema = msgspec.json.schema(Row)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "conformance run stream, one line",
        **schema,
    }
