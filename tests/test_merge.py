"""Merging: shards of a run make the run again, and what does not belong together is named and refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.__main__ import main
from conformance.adapters import BACKENDS
from conformance.errors import Exit, InvalidFileError, UsageError
from conformance.ledger import Entry, Ledger, load_ledger
from conformance.load import Operator, load_operator, load_suite
from conformance.merge import merge
from conformance.pool import BackendSpec, backend_spec
from conformance.run import Selection, in_shard, run
from conformance.stream import read_stream, write_stream

HERE = Path(__file__).parent
Row = dict[str, Any]
Rows = list[Row]

TORCH, PADDLE = "torch.nn.functional.toy", "paddle.nn.functional.toy"
OP = """
op: multi_margin_loss
family: loss
summary: a toy
tensors:
  input: {kind: floating}
  target: {kind: label}
params:
  reduction: {default: mean}
apis:
  torch.nn.functional.toy: {doc: "https://example.org/t", call: [input, target, reduction]}
  paddle.nn.functional.toy: {doc: "https://example.org/p", call: [input, target, reduction]}
claims:
  torch.nn.functional.toy:
    - {claim: formula, says: "the mean", conforms: [output], cases: ["*"]}
    - {claim: rejects, says: "must be known", refused: true, cases: ["*"]}
cases:
  - case: basic
    why: Two of each.
    inputs: {input: [[1.0, 0.5], [0.0, 2.0]], target: [0, 1]}
    matrix: {dtype: [float16, float32, float64], reduction: [none, mean, sum]}
"""


@pytest.fixture
def suite() -> list[Operator]:
    return [load_operator(Path("/x/cases/loss/multi_margin_loss.yaml"), OP)]


def ids(suite: list[Operator], shard: tuple[int, int] = (1, 1)) -> list[str]:
    return [case.id for case in suite[0].cases if in_shard(case.id, shard)]


def result(case: str, api: str = TORCH, **more: Any) -> Row:
    about = {"type": "result", "case": case, "op": "multi_margin_loss", "family": "loss", "api": api}
    state = {"backend": api.partition(".")[0], "check": "output", "status": "pass", "outcome": "ok"}
    return {**about, **state, "ledger": None, **more}


def claim(name: str, verdict: str, evidence: list[str], why: str = "", count: int | None = None) -> Row:
    about = {"type": "claim", "op": "multi_margin_loss", "api": TORCH, "backend": "torch", "claim": name}
    found = {"verdict": verdict, "why": why, "evidence": evidence[:8], "outcome": "ok", "ledger": None}
    return {**about, **found, "evidence_count": len(evidence) if count is None else count}


Make = Callable[..., Path]


@pytest.fixture
def stream(tmp_path: Path, suite: list[Operator]) -> Make:
    """Return what writes a shard of a toy run."""

    def make(
        name: str,
        shard: str = "1/1",
        api: str = TORCH,
        *,
        rows: Rows | None = None,
        claims: Rows | None = None,
        run_row: Row | None = None,
        about: Row | None = None,
        end: Row | None = None,
        **backend: Any,
    ) -> Path:
        i, n = (int(part) for part in shard.split("/"))
        mine = ids(suite, (i, n))
        head = {"name": "op-conformance", "version": "1", "digest": "d", "ops": ["multi_margin_loss"]}
        first = {"type": "run", "schema": "conformance/1.0", "suite": head | (about or {}), "argv": ["run"]}
        there = {"type": "backend", "backend": api.partition(".")[0], "version": "1.0"} | backend
        said = [claim("formula", "confirmed", mine), claim("rejects", "confirmed", mine)]
        last = {"type": "end", "complete": True, "counts": {}} if end is None else end
        listed = [
            first | {"oracle": {"dtype": "longdouble"}, "shard": shard} | (run_row or {}),
            there,
            *([result(case, api) for case in mine] if rows is None else rows),
            *((said if api == TORCH else []) if claims is None else claims),
            *([last] if last else []),
        ]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in listed))
        return path

    return make


def refusal(suite: list[Operator], *paths: Path) -> str:
    with pytest.raises((InvalidFileError, UsageError)) as caught:
        merge(list(paths), suite, Ledger({}))
    assert caught.value.exit_code == Exit.USAGE
    return str(caught.value)


# -- what is joined -----------------------------------------------------------------------------------


def comparable(rows: Rows) -> Rows:
    """Drop what may differ: how the command line was, and the messages that hold an address or a time."""
    return [{k: v for k, v in row.items() if k != "argv"} for row in rows]


def test_shards_of_a_real_run_make_the_whole_run(tmp_path: Path) -> None:
    """The merge of the shards is the unsharded run, line by line: known failures and refuted claims too."""
    op = "gaussian_nll_loss"
    whole = list(read_stream(go(tmp_path / "whole", op)))
    shards = [go(tmp_path / str(i), op, (i, 2)) for i in (2, 1)]
    merged = merge(shards, load_suite(ops=[op]), load_ledger())
    assert comparable(merged) == comparable(whole)
    assert {row["outcome"] for row in merged if row["type"] == "claim"} == {"ok", "known"}
    write_stream(tmp_path / "merged.jsonl", merged)
    assert list(read_stream(tmp_path / "merged.jsonl")) == merged


def go(out: Path, op: str, shard: tuple[int, int] = (1, 1)) -> Path:
    suite = [each for each in load_suite(ops=[op]) if each.name == op]
    run(suite, Selection((backend_spec("torch"),), (op,), shard=shard), load_ledger(), out, argv=[])
    return out / "run.jsonl"


@pytest.mark.parametrize("name", ["AlwaysWrong", "Honest"])
def test_shards_of_a_miniature_make_the_whole_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where everything is unexpected, and with more shards than any of them has many cases."""
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setitem(BACKENDS, "miniature", f"miniatures:{name}")
    suite = [load_operator(HERE / "data" / "miniature.yaml")]
    spec = BackendSpec("miniature", BACKENDS["miniature"], paths=(str(HERE),))
    used = sorted({i for i in (1, 2, 3) for case in suite[0].cases if in_shard(case.id, (i, 3))})
    assert used == [1, 2, 3]
    for shard in ((1, 1), *((i, 3) for i in used)):
        run(suite, Selection((spec,), shard=shard), Ledger({}), tmp_path / str(shard), argv=[])
    whole = list(read_stream(tmp_path / "(1, 1)" / "run.jsonl"))
    merged = merge([tmp_path / str((i, 3)) / "run.jsonl" for i in used], suite, Ledger({}))
    assert comparable(merged) == comparable(whole)
    assert merged[-1]["exit"] == (Exit.UNEXPECTED if name == "AlwaysWrong" else Exit.OK)


def test_backends_are_joined_in_the_order_of_the_suite(stream: Make, suite: list[Operator]) -> None:
    """Whatever the order of the files: backends as declared, results case by case."""
    paths = [stream("p2", "2/2", PADDLE), stream("t", "1/1", TORCH), stream("p1", "1/2", PADDLE)]
    rows = merge(paths, suite, Ledger({}))
    assert rows == merge(paths[::-1], suite, Ledger({}))
    assert [row["backend"] for row in rows if row["type"] == "backend"] == ["torch", "paddle"]
    expected = [(case, api) for case in ids(suite) for api in (TORCH, PADDLE)]
    assert [(row["case"], row["api"]) for row in rows if row["type"] == "result"] == expected
    assert rows[0]["shard"] == "1/1"
    assert rows[0]["suite"]["cases"] == 9
    assert rows[-1] == {
        "type": "end",
        "complete": True,
        "counts": {"pass": 18},
        "outcomes": {"ok": 18},
        "claims": {"confirmed": 2},
        "exit": 0,
    }


def test_one_shard_that_refutes_a_claim_refutes_it(stream: Make, suite: list[Operator]) -> None:
    """The evidence is of the shards that refute, in order; the reason is of its first."""
    first, second = ids(suite, (1, 2)), ids(suite, (2, 2))
    parts = [
        [claim("formula", "confirmed", first), claim("rejects", "untestable", first[1:], "no error")],
        [claim("formula", "refuted", second, f"{second[0]}: off", 12), claim("rejects", "confirmed", second)],
    ]
    paths = [stream(str(n), f"{n + 1}/2", claims=part) for n, part in enumerate(parts)]
    formula, rejects = (row for row in merge(paths, suite, Ledger({})) if row["type"] == "claim")
    assert (formula["verdict"], formula["outcome"], formula["kind"]) == (
        "refuted",
        "regression",
        "documentation",
    )
    assert (formula["evidence"], formula["evidence_count"]) == (second, 12)
    assert formula["why"] == f"{second[0]}: off"
    assert (rejects["verdict"], rejects["evidence"], rejects["why"]) == ("untestable", first[1:], "no error")


def entry(name: str, **more: Any) -> Ledger:
    fields: Row = {"op": "multi_margin_loss", "api": ["*"], "check": ["output"], "kind": "value"}
    about = {"versions": ">=0", "reason": "r", "upstream": "unreported", "since": "2026-01-01"}
    return Ledger({"torch": [Entry(id=name, **(fields | about | more))]})


@pytest.mark.parametrize(
    ("hits", "foreign", "stale"), [([], False, ["e"]), (["e"], False, []), ([], True, [])]
)
def test_an_entry_that_no_shard_matched_is_stale(
    stream: Make, suite: list[Operator], hits: list[str], foreign: bool, stale: list[str]
) -> None:
    """As in a whole run; one shard that matched it is enough, and a foreign suite leaves none stale."""
    ends = [{"type": "end", "complete": True, "hits": hits}, {"type": "end", "complete": True, "hits": []}]
    paths = [stream(str(n), f"{n + 1}/2", end=end) for n, end in enumerate(ends)]
    rows = merge(paths, suite, entry("e"), foreign=foreign)
    assert [row["ledger"] for row in rows if row["type"] == "ledger"] == stale
    assert rows[-1]["exit"] == (Exit.UNEXPECTED if stale else Exit.OK)


def test_entries_are_not_stale_where_a_part_was_run(stream: Make, suite: list[Operator]) -> None:
    """A keyword or a glob left cases out: what matched nothing may be among them."""
    some = [[result(case) for case in ids(suite, (n, 2))[:1]] for n in (1, 2)]
    paths = [stream(str(n), f"{n + 1}/2", rows=rows) for n, rows in enumerate(some)]
    assert not [row for row in merge(paths, suite, entry("e")) if row["type"] == "ledger"]


def test_a_claim_whose_entry_no_longer_holds_is_stale_in_the_whole(
    stream: Make, suite: list[Operator]
) -> None:
    """Each shard lets it pass, for it has a part of the evidence; together they have all."""
    paths = [stream(str(n), f"{n}/2") for n in (1, 2)]
    rows = merge(paths, suite, entry("e", check=["claim.formula"], kind="refuted"))
    (row,) = (row for row in rows if row["type"] == "claim" and row["claim"] == "formula")
    assert (row["outcome"], row["ledger"]) == ("stale", "e")
    assert rows[-1]["exit"] == Exit.UNEXPECTED


def test_what_an_unsharded_stream_says_of_the_ledger_stands(stream: Make, suite: list[Operator]) -> None:
    """It had every case in hand; its rows and not its hits are in the file."""
    path = stream("t")
    lines = path.read_text().splitlines()
    said = {"type": "ledger", "ledger": "old", "backend": "torch", "outcome": "stale", "message": "m"}
    path.write_text("\n".join([*lines[:-1], json.dumps(said), lines[-1]]) + "\n")
    rows = merge([path, stream("p", "1/1", PADDLE)], suite, entry("e"))
    assert [row for row in rows if row["type"] == "ledger"] == [said]
    assert rows[-1]["exit"] == Exit.UNEXPECTED


# -- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["version", "commit", "digest"])
def test_different_suites_are_refused(key: str, stream: Make, suite: list[Operator]) -> None:
    """The message says in what they differ, and where."""
    said = refusal(suite, stream("a"), stream("b", api=PADDLE, about={key: "other"}))
    assert f"suite.{key} is" in said
    assert "'other'" in said
    assert "a.jsonl" in said
    assert "b.jsonl" in said


def test_different_selections_and_oracles_are_refused(stream: Make, suite: list[Operator]) -> None:
    """One run has one oracle, and one choice of operators."""
    other = stream("b", api=PADDLE, run_row={"selection": {"ops": ["l1_loss"]}})
    assert "selection is" in refusal(suite, stream("a"), other)
    assert "oracle is" in refusal(suite, stream("a"), stream("c", api=PADDLE, run_row={"oracle": {}}))


def test_another_schema_is_refused(stream: Make, suite: list[Operator]) -> None:
    """An unknown major version may mean anything."""
    said = refusal(suite, stream("a"), stream("b", api=PADDLE, run_row={"schema": "conformance/2.0"}))
    assert "schema 'conformance/2.0'" in said


def test_different_versions_of_a_framework_are_refused(stream: Make, suite: list[Operator]) -> None:
    """Shards of one backend are of one environment."""
    said = refusal(suite, stream("a", "1/2"), stream("b", "2/2", version="1.1"))
    assert "torch's version is '1.1', but '1.0'" in said


def test_a_missing_shard_is_named(stream: Make, suite: list[Operator]) -> None:
    """Per backend, all of them."""
    paths = [stream("a", "1/4"), stream("b", "3/4"), stream("p", api=PADDLE)]
    assert "shard 2/4, 4/4 of torch is missing" in refusal(suite, *paths)


def test_shards_of_different_splits_are_refused(stream: Make, suite: list[Operator]) -> None:
    """The second of three and the first of two overlap or leave a gap."""
    assert "number of torch's shards is 3, but 2" in refusal(suite, stream("a", "1/2"), stream("b", "2/3"))


def test_the_same_stream_twice_is_refused(stream: Make, suite: list[Operator]) -> None:
    """Its results would count twice."""
    path = stream("a")
    assert "shard 1/1 of torch is in" in refusal(suite, path, path)


def test_a_result_in_two_streams_is_refused(stream: Make, suite: list[Operator]) -> None:
    """The message names case, API and both files."""
    rows = [result(case) for case in ids(suite)]
    said = refusal(suite, stream("a", "1/2", rows=rows), stream("b", "2/2", rows=rows))
    assert f"duplicate: {rows[0]['case']} of {TORCH}" in said
    assert "a.jsonl" in said
    assert "b.jsonl" in said


def test_a_shard_that_ran_other_ops_is_refused(stream: Make, suite: list[Operator]) -> None:
    """Cases of the op fell to it, and it ran none."""
    said = refusal(suite, stream("a", "1/2"), stream("b", "2/2", rows=[], claims=[]))
    assert "different ops: torch ran multi_margin_loss in another shard" in said


@pytest.mark.parametrize("end", [{}, {"type": "end", "complete": False}])
def test_an_unfinished_stream_is_refused(stream: Make, suite: list[Operator], end: Row) -> None:
    """Killed, or without one of its backends."""
    said = refusal(suite, stream("a"), stream("b", api=PADDLE, end=end))
    assert "b.jsonl" in said
    assert ("did not finish" if not end else "incomplete") in said


def test_a_lost_backend_is_named(stream: Make, suite: list[Operator]) -> None:
    """With the reason that the run gave."""
    path = stream("b", api=PADDLE, end={"type": "end", "complete": False}, lost="no module paddle")
    assert "paddle was lost: no module paddle" in refusal(suite, path)


def test_another_suite_in_hand_is_refused(stream: Make, suite: list[Operator]) -> None:
    """A case that the suite does not have has no place in the order."""
    said = refusal(suite, stream("a", rows=[result("multi_margin_loss/other[float32]")]))
    assert "no multi_margin_loss/other[float32]" in said


def test_results_that_are_not_in_order_are_refused(stream: Make, suite: list[Operator]) -> None:
    """A run writes them case by case; streams are joined as they are read."""
    rows = [result(case) for case in reversed(ids(suite))]
    said = refusal(suite, stream("a", rows=rows))
    assert f"a.jsonl: {rows[1]['case']} stands behind later cases of the suite" in said


def test_the_apis_of_a_case_may_stand_in_any_order(stream: Make, suite: list[Operator]) -> None:
    """Which of two third-party backends comes first is the order of their names on a command line."""
    apis = (PADDLE, TORCH)
    rows = [result(case, api, check=check) for case in ids(suite) for api in apis for check in "ab"]
    found = [row for row in merge([stream("a", rows=rows)], suite, Ledger({})) if row["type"] == "result"]
    expected = [(case, api, check) for case in ids(suite) for api in apis[::-1] for check in "ab"]
    assert [(row["case"], row["api"], row["check"]) for row in found] == expected


def test_what_is_refused_leaves_no_file(stream: Make, tmp_path: Path) -> None:
    """All is looked at before the first line is written."""
    (tmp_path / "multi_margin_loss.yaml").write_text(OP)
    command = ["merge", str(stream("a", claims=[])), "--cases", str(tmp_path / "multi_margin_loss.yaml")]
    assert main([*command, "-o", str(tmp_path / "out")]) == Exit.USAGE
    assert not (tmp_path / "out").exists()
    assert main([*command[:1], str(stream("b")), *command[2:], "-o", str(tmp_path / "out")]) == Exit.OK
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run.jsonl"]


def test_a_claim_without_a_verdict_is_refused(stream: Make, suite: list[Operator]) -> None:
    """The stream was made with other case files."""
    assert "no verdict on the claim 'formula'" in refusal(suite, stream("a", claims=[]))


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "a/b", ""])
def test_a_malformed_shard_is_refused(stream: Make, suite: list[Operator], shard: str) -> None:
    """Nobody guesses which part it is."""
    assert "is not I/N" in refusal(suite, stream("a", run_row={"shard": shard}))


def test_nothing_to_merge_is_refused(suite: list[Operator]) -> None:
    """An empty pattern of a shell is not an empty run."""
    assert "no stream" in refusal(suite)
