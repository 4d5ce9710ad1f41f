"""The folded run: what it keeps, that it comes back, and that it is what its schema says."""

import gzip
import json
import os
import random
import tracemalloc
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from conformance.errors import InvalidFileError
from conformance.fold import (
    REPORT_SCHEMA,
    encode,
    fold,
    read_run,
    report_schema,
    unfold,
    write_folded,
)
from conformance.stream import jsonable

CASE = "multi_margin_loss/basic[float32,p=1,none]"


def row(check: str = "output", **more: Any) -> dict[str, Any]:
    about = {"type": "result", "case": CASE, "op": "multi_margin_loss", "family": "loss", "domain": "defined"}
    who = {"api": "torch.nn.MultiMarginLoss", "backend": "torch", "check": check}
    state = {"status": "pass", "kind": "", "outcome": "ok", "message": "", "compared": 4}
    figures = {"error_over_bound": 0.123456, "max_ulp": 1.5, "mean_ulp": 0.25, "digest": "aa", "bound": 1e-7}
    farthest = {"at": [1], "got": 1.0, "exact": 2.0, "ulp": figures["max_ulp"]}
    return {**about, **who, **state, **figures, "at_max_ulp": farthest, **more}


FAILED: dict[str, Any] = {
    "status": "fail",
    "kind": "value",
    "outcome": "known",
    "ledger": "torch-x",
    "message": "at [0]: got nan",
    "got": "NaN",
    "bound_terms": {"rounding": 1e-8},
    "detail": {"nan": 1},
    "error_over_bound": 123.456789,
}


def run(*rows: dict[str, Any], end: bool = True) -> list[dict[str, Any]]:
    suite = {"name": "op-conformance", "version": "0.1.0"}
    head = {"type": "run", "schema": "conformance/1.0", "suite": suite, "oracle": {}, "argv": []}
    backend = {"type": "backend", "backend": "torch", "framework": "torch", "version": "2.13.0"}
    claim: dict[str, Any] = {
        "type": "claim",
        "op": "multi_margin_loss",
        "api": "torch.nn.MultiMarginLoss",
        "claim": "c",
    }
    claim |= {"says": "s", "source": "u", "verdict": "confirmed", "evidence": [CASE], "outcome": "ok"}
    ledger = {"type": "ledger", "ledger": "x", "backend": "torch", "outcome": "stale", "message": "m"}
    last = {"type": "end", "complete": True, "counts": {"pass": 1}, "outcomes": {}, "claims": {}, "exit": 1}
    return [head | {"shard": "1/1"}, backend, *rows, claim, ledger, *([last] if end else [])]


def test_a_failure_comes_back_whole() -> None:
    """Nothing that a page shows of a discrepancy is lost."""
    given = row(**FAILED)
    (back,) = [each for each in unfold(fold(run(given))) if each["type"] == "result"]
    assert {name: back[name] for name in given} == given


def test_a_pass_is_folded_to_its_figures() -> None:
    """Three digits of each, its bits' name, and no bound."""
    (back,) = [each for each in unfold(fold(run(row()))) if each["type"] == "result"]
    assert (back["status"], back["error_over_bound"], back["digest"]) == ("pass", 0.123, "aa")
    assert back["bound"] is None
    assert back["backend"] == "torch"


def test_only_the_farthest_pass_keeps_its_element() -> None:
    """An accuracy table shows one element for each API, quantity and dtype."""
    further = {"at": [0], "got": 1.0, "exact": 2.0, "ulp": 2.0}
    other = row(case=CASE.replace("basic", "other"), at_max_ulp=further)
    wide = row(case=CASE.replace("float32", "float64"))
    back = [each for each in unfold(fold(run(row(), other, wide))) if each["type"] == "result"]
    assert [each["at_max_ulp"] is not None for each in back] == [False, True, True]


def test_a_limit_keeps_its_reason_and_not_its_error() -> None:
    """41 000 refusals that a document declares need no message each."""
    given = row(status="unsupported", declared="no float16", message="declared: …", error={"phase": "call"})
    (back,) = [each for each in unfold(fold(run(given))) if each["type"] == "result"]
    assert (back["declared"], back["message"], back["error"]) == ("no float16", "", None)
    unsent = row(status="unsupported", declared=None, message="no call: takes no weight")
    (back,) = [each for each in unfold(fold(run(unsent))) if each["type"] == "result"]
    assert back["message"] == "no call: takes no weight"


def test_folding_again_changes_nothing() -> None:
    """A site made from a published report is the site made from the stream."""
    once = fold(run(row(), row("grad.input", **FAILED), row("relation.repeat", message="equal bits")))
    assert encode(fold(unfold(once))) == encode(once)


def test_it_is_what_its_schema_says() -> None:
    """Validated by another library than the one that writes it."""
    folded = json.loads(encode(fold(run(row(), row("grad.input", **FAILED)))))
    jsonschema.Draft202012Validator.check_schema(report_schema())
    jsonschema.Draft202012Validator(report_schema()).validate(folded)
    folded["results"][CASE]["apis"]["torch.nn.MultiMarginLoss"]["output"]["status"] = "fine"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(report_schema()).validate(folded)


@pytest.mark.parametrize("name", ["report.json", "report.json.gz"])
def test_a_written_report_is_read_as_a_run(tmp_path: Path, name: str) -> None:
    """Compressed or not; and the same run gives the same bytes."""
    folded = fold(run(row()))
    write_folded(tmp_path / name, folded)
    first = (tmp_path / name).read_bytes()
    assert fold(read_run(tmp_path / name)) == folded
    write_folded(tmp_path / name, folded)
    assert (tmp_path / name).read_bytes() == first


def test_a_stream_is_read_as_a_run_too(tmp_path: Path) -> None:
    """Every command takes either."""
    rows = run(row())
    (tmp_path / "run.jsonl").write_bytes(b"".join(msgspec.json.encode(jsonable(r)) + b"\n" for r in rows))
    assert [each["type"] for each in read_run(tmp_path / "run.jsonl")] == [r["type"] for r in rows]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"schema":"conformance-report/2.0","run":{}}', "this reader knows conformance-report/1.x"),
        (b"", "empty: not a run"),
        (b'{"schema":"conformance-report/1.0","run":', "not a folded run"),
        (b'{"schema":"conformance-report/1.0","run":{}}', "not a folded run"),
        (gzip.compress(b'{"schema":"conformance-report/1.0"', mtime=0)[:-9], "damaged"),
    ],
    ids=["another major", "empty", "torn", "another object", "torn gzip"],
)
def test_what_is_no_report_is_refused_with_one_message(tmp_path: Path, data: bytes, said: str) -> None:
    """Another major version, a torn file, another object."""
    (tmp_path / "report.json").write_bytes(data)
    with pytest.raises(InvalidFileError, match=said):
        list(read_run(tmp_path / "report.json"))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file may hold a large one: no more is read than a report of ours can be."""
    monkeypatch.setattr("conformance.fold.LIMIT", 1_000)
    bomb = gzip.compress(b'{"schema":"conformance-report/1.0",' + b" " * 100_000)
    (tmp_path / "report.json.gz").write_bytes(bomb)
    with pytest.raises(InvalidFileError, match=r"report\.json\.gz:1:1: more than 1,000 bytes"):
        list(read_run(tmp_path / "report.json.gz"))


def test_what_lacks_a_key_is_read_again(tmp_path: Path) -> None:
    """What a stream may leave out, a report of it does too: we read what we wrote."""
    rows = [{k: v for k, v in each.items() if k not in ("argv", "framework", "exit")} for each in run(row())]
    write_folded(tmp_path / "report.json", fold(rows))
    assert [each["type"] for each in read_run(tmp_path / "report.json")] == [each["type"] for each in rows]


def test_a_later_minor_version_is_read(tmp_path: Path) -> None:
    """What it has more is passed on; whose a result is, the places around it say."""
    folded = fold(run(row()))
    folded["schema"] = "conformance-report/1.7"
    folded["results"][CASE]["apis"]["torch.nn.MultiMarginLoss"]["output"] |= {"case": "x", "speed": 3}
    write_folded(tmp_path / "report.json", folded)
    (back,) = [each for each in read_run(tmp_path / "report.json") if each["type"] == "result"]
    assert (back["case"], back["speed"]) == (CASE, 3)


@pytest.mark.parametrize("name", ["report.json", "run.jsonl"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    """Nobody may ever write to it."""
    os.mkfifo(tmp_path / name)
    with pytest.raises(InvalidFileError, match=rf"{name}:1:1: not a file"):
        list(read_run(tmp_path / name))


@pytest.mark.parametrize("many", [b"[],", b'{"a":0},', b"0,", b'"ab",'])
def test_many_values_in_few_bytes_are_refused_before_they_are_made(tmp_path: Path, many: bytes) -> None:
    """An empty list takes three bytes of a file, and sixty of memory."""
    bomb = b'{"schema":"conformance-report/1.0","x":[' + many * 1_100_000 + b"0]}"
    (tmp_path / "report.json").write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(InvalidFileError, match=r"report\.json:1:1: [\d,]+ values: not a report of ours"):
        list(read_run(tmp_path / "report.json"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * len(bomb)


def test_a_small_file_unpacks_to_no_large_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report of ours packs to a fourteenth, a bomb to a thousandth; a large report may be large."""
    monkeypatch.setattr("conformance.fold.SMALL", 10_000)
    path, folded = tmp_path / "report.json.gz", fold(run(row()))
    path.write_bytes(gzip.compress(encode(folded)[:-2] + b',"x":"' + b" " * 100_000 + b'"}'))
    with pytest.raises(InvalidFileError, match=r"report\.json\.gz:1:1: more than [\d,]+ bytes: not a report"):
        list(read_run(path))
    noise = random.Random(7).randbytes(60_000).hex().encode()  # noqa: S311 - not secret
    path.write_bytes(gzip.compress(encode(folded)[:-2] + b',"x":"' + noise + b'"}'))
    assert fold(read_run(path)) == folded


def test_an_unfinished_run_is_read_only_where_asked_for(tmp_path: Path) -> None:
    """A comparison with half a run would find everything removed."""
    write_folded(tmp_path / "report.json", fold(run(row(), end=False)))
    assert list(read_run(tmp_path / "report.json", partial=True))
    with pytest.raises(InvalidFileError, match=r"report\.json:1:1: the run did not finish"):
        list(read_run(tmp_path / "report.json"))
    assert REPORT_SCHEMA == "conformance-report/1.0"
