"""The published JSON Schema: it accepts every row that a run writes and refuses what breaks the contract."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from conformance.__main__ import main
from conformance.schema import stream_schema
from conformance.types import STATUSES

LATEST = Path(__file__).parent.parent / "reports" / "latest" / "run.jsonl"

RUN: dict[str, Any] = {
    "type": "run",
    "schema": "conformance/1.0",
    "suite": {"name": "op-conformance"},
    "oracle": {"dtype": "longdouble"},
    "argv": ["run"],
    "shard": "1/1",
}
BACKEND: dict[str, Any] = {
    "type": "backend",
    "backend": "paddle",
    "framework": "paddlepaddle",
    "version": "3.3.1",
    "device": "cpu",
    "mode": "eager",
}
RESULT: dict[str, Any] = {
    "type": "result",
    "case": "multi_margin_loss/weighted-p2[float32,none]",
    "op": "multi_margin_loss",
    "family": "loss",
    "api": "paddle.nn.MultiMarginLoss",
    "backend": "paddle",
    "domain": "defined",
    "check": "grad.input",
    "status": "fail",
    "kind": "grad_value",
    "outcome": "known",
    "compared": 40,
    "error_over_bound": 11.2,
    "max_abs": 0.1,
    "max_rel": 0.2,
    "max_ulp": 9.1e5,
    "worst": [2, 5],
    "ledger": "paddle-multi-margin-tie",
    "message": "...",
}
CLAIM: dict[str, Any] = {
    "type": "claim",
    "op": "multi_margin_loss",
    "api": "paddle.nn.MultiMarginLoss",
    "claim": "formula",
    "says": "the weight stands inside the power",
    "source": "https://example.org",
    "verdict": "refuted",
    "evidence": ["multi_margin_loss/weighted-p2[float32,none]"],
    "outcome": "known",
}
LEDGER: dict[str, Any] = {
    "type": "ledger",
    "ledger": "paddle-old",
    "backend": "paddle",
    "outcome": "stale",
    "message": "matches nothing",
}
END: dict[str, Any] = {
    "type": "end",
    "complete": True,
    "counts": {"pass": 1, "fail": 0},
    "outcomes": {"ok": 1},
    "claims": {},
    "exit": 0,
}
ROWS = (RUN, BACKEND, RESULT, CLAIM, LEDGER, END)


@pytest.fixture(scope="module")
def validator() -> Any:
    """Make a validator, after checking the schema itself against its own draft."""
    schema = stream_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def complaints(validator: Any, row: dict[str, Any]) -> list[str]:
    """Return what the schema has against a row."""
    return [error.message for error in validator.iter_errors(row)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["type"])
def test_every_type_of_row_validates(validator: Any, row: dict[str, Any]) -> None:
    """One row of each type, as design.md prints them, is valid; further keys may stand beside."""
    assert complaints(validator, row) == []
    assert complaints(validator, row | {"extra": {"deep": [1]}}) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["type"])
def test_every_key_of_the_contract_is_required_or_has_a_default(validator: Any, row: dict[str, Any]) -> None:
    """Without any one of its keys a row is refused; only a backend's device and mode have defaults."""
    for key in row:
        shorter = {k: v for k, v in row.items() if k != key}
        assert validator.is_valid(shorter) is (key in ("device", "mode")), key


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_is_known(validator: Any, status: str) -> None:
    """Each status of design.md §6 is in the schema."""
    assert complaints(validator, RESULT | {"status": status}) == []


@pytest.mark.parametrize("value", [1.5, 0, "NaN", "Infinity", "-Infinity", None])
@pytest.mark.parametrize("key", ["error_over_bound", "max_abs", "max_rel", "max_ulp"])
def test_measures_may_be_strings_for_what_json_lacks(validator: Any, key: str, value: Any) -> None:
    """A measure is a number, one of three words, or null."""
    assert complaints(validator, RESULT | {key: value}) == []


@pytest.mark.parametrize(
    ("row", "change"),
    [
        (RESULT, {"status": "ok"}),
        (RESULT, {"status": "skip"}),
        (RESULT, {"outcome": "fail"}),
        (RESULT, {"domain": "defind"}),
        (RESULT, {"compared": "40"}),
        (RESULT, {"compared": 1.5}),
        (RESULT, {"max_abs": "nan"}),
        (RESULT, {"worst": [0.5]}),
        (RESULT, {"case": None}),
        (CLAIM, {"verdict": "maybe"}),
        (CLAIM, {"evidence": "all of them"}),
        (END, {"complete": "yes"}),
        (END, {"counts": {"pass": "1"}}),
        (RUN, {"argv": "run"}),
        (RUN, {"type": "runs"}),
    ],
)
def test_what_breaks_the_contract_is_refused(
    validator: Any, row: dict[str, Any], change: dict[str, Any]
) -> None:
    """A word or a type that the contract does not know is refused."""
    assert not validator.is_valid(row | change)


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """`conformance schema` prints valid JSON: the same schema, with its draft named."""
    assert main(["schema"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(json.dumps(stream_schema()))
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.skipif(not LATEST.exists(), reason="there is no run in reports/latest; `make run` makes one")
def test_the_latest_run_validates(validator: Any) -> None:
    """Every line of the latest real run is valid."""
    lines = LATEST.read_bytes().splitlines()
    assert len(lines) > 2
    seen: set[tuple[Any, ...]] = set()
    for line in lines:
        row = json.loads(line)
        words = [row.get(key) for key in ("status", "kind", "outcome", "domain", "verdict", "complete")]
        shape = (row["type"], *words, *sorted((k, type(v).__name__) for k, v in row.items()))
        if shape not in seen:  # thousands of rows have few shapes
            seen.add(shape)
            assert complaints(validator, row) == [], row


@pytest.mark.parametrize(("name", "option"), [("run", []), ("report", ["--report"])])
def test_the_schemas_in_the_wheel_are_those_that_the_command_prints(
    capsys: pytest.CaptureFixture[str], name: str, option: list[str]
) -> None:
    """A file for those who do not install us; after a change: `conformance schema > …`."""
    assert main(["schema", *option]) == 0
    shipped = Path(__file__).parent.parent / "conformance" / "schemas" / f"{name}.schema.json"
    assert capsys.readouterr().out == shipped.read_text(encoding="utf-8")
