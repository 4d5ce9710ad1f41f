"""Proposed ledger entries: they know exactly the failures that they were made from, and wait for a reason."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from conformance.compare import Check
from conformance.errors import InvalidFileError
from conformance.globs import glob
from conformance.ledger import Entry, Ledger, LedgerFile, load_ledger
from conformance.load import Api, Case, Operator, load_operator
from conformance.propose import band, patterns, proposals
from conformance.yamlfile import YamlFile

OP = """
op: multi_margin_loss
family: loss
summary: a hinge
tensors: {input: {kind: floating}, target: {kind: label}}
params: {p: {default: 1}, margin: {default: 1.0}, reduction: {default: mean}}
apis:
  torch.nn.functional.multi_margin_loss: {doc: x, call: [input, target, p, margin, reduction]}
  torch.nn.MultiMarginLoss: {doc: x, init: [p, margin, reduction], call: [input, target]}
  paddle.nn.MultiMarginLoss: {doc: x, init: [p, margin, reduction], call: {input: input, target: label}}
cases:
  - case: plain
    why: why not
    inputs: {input: {uniform: [2, 3]}, target: [0, 2]}
    matrix: {dtype: [float16, float32], p: [1, 2], margin: [0.5, 1.0], reduction: [none, sum]}
  - case: plain-too
    why: a name that begins like another
    inputs: {input: {uniform: [2, 3]}, target: [0, 2]}
"""
SUITE = [load_operator(Path("x.yaml"), OP)]
CHECKS = list(itertools.product(SUITE[0].cases, SUITE[0].apis, ("output", "grad.input")))
SHORTS = sorted(case.id.partition("/")[2] for case in SUITE[0].cases)
BACKENDS = [
    {"type": "backend", "backend": "torch", "version": "2.13.0+cpu"},
    {"type": "backend", "backend": "paddle", "version": "3.3.1"},
]
NOT_IMPLEMENTED = {"exception": "NotImplementedError", "message": "\"kernel\" not implemented for 'Half'"}
VERDICTS: dict[str, dict[str, Any]] = {
    "pass": {"status": "pass", "kind": "", "outcome": "ok"},
    "value": {"status": "fail", "kind": "value", "outcome": "regression", "error_over_bound": 11.26},
    "raises": {"status": "fail", "kind": "raises", "outcome": "regression", "error": NOT_IMPLEMENTED},
    "crash": {"status": "crash", "kind": "", "outcome": "regression", "error": {"signal": "SIGSEGV"}},
    "known": {"status": "fail", "kind": "value", "outcome": "known", "error_over_bound": 3.0},
}


def row(case: Case, api: Api, check: str, verdict: str) -> dict[str, Any]:
    """Make a result as a stream has it."""
    names = {"case": case.id, "op": case.op.name, "api": api.name, "backend": api.backend, "check": check}
    return {"type": "result", **names, **VERDICTS[verdict]}


def propose(verdicts: dict[int, str]) -> str:
    """Propose entries where CHECKS number n came out as `verdicts[n]`, the others having passed."""
    rows = [row(*check, verdicts.get(n, "pass")) for n, check in enumerate(CHECKS)]
    return proposals([*BACKENDS, *rows], SUITE)


def accept(text: str) -> Ledger:
    """Read proposals as a reviewer would leave them: with a framework and a reason each."""
    entries: dict[str, list[Entry]] = {}
    for part in text.split("# reports/known/")[1:]:
        file, _, body = part.partition(".yaml\n")
        backend = file.partition("/")[0]
        document = YamlFile(Path("x.yaml"), f"framework: {backend}\n{body}")
        entries.setdefault(backend, []).extend(document.convert(LedgerFile).entries)
    return Ledger(entries)


@given(st.dictionaries(st.integers(0, len(CHECKS) - 1), st.sampled_from(sorted(VERDICTS)), max_size=40))
def test_proposals_know_exactly_what_failed(verdicts: dict[int, str]) -> None:
    """Whatever failed, alone or in patterns: each failure becomes known, and no other check is matched."""
    ledger = accept(propose(verdicts))
    for n, (case, api, check) in enumerate(CHECKS):
        verdict = VERDICTS[verdicts.get(n, "pass")]
        ratio = verdict.get("error_over_bound")
        made = Check(check, verdict["status"], verdict["kind"], error_over_bound=ratio)
        version = "2.13.0" if api.backend == "torch" else "3.3.1"
        outcome, entry, why = ledger.classify(case, api, made, version)
        if verdict["outcome"] == "regression":
            assert (outcome, why) == ("known", "")
        else:
            assert entry == ""
    proposed = [entry for entries in ledger.entries.values() for entry in entries]
    assert all(ledger.hits[entry.id] for entry in proposed)
    assert len({entry.id for entry in proposed}) == len(proposed)


def test_a_proposal_names_the_mode_and_the_device_of_its_run() -> None:
    """What a run found in another mode or on another device is no news about eager on the CPU."""
    op = SUITE[0]
    failing = [row(op.cases[0], op.apis[0], "output", "value")]
    for variant, named in (
        ({}, []),
        ({"mode": "eager", "device": "cpu"}, []),
        ({"mode": "compile", "device": "cpu"}, ["modes: [compile]"]),
        ({"mode": "compile", "device": "cuda:1"}, ["modes: [compile]", "devices: [cuda]"]),
    ):
        text = yaml.safe_load(proposals([BACKENDS[0] | variant, *failing], SUITE))
        (entry,) = text["entries"]
        found = [f"{key}: [{', '.join(entry[key])}]" for key in ("modes", "devices") if key in entry]
        assert found == named


@given(st.sets(st.sampled_from(SHORTS), min_size=1))
def test_patterns_cover_exactly(cases: set[str]) -> None:
    """The patterns match every wanted case and none of the others, and never outnumber the cases."""
    others = set(SHORTS) - cases
    chosen = patterns(set(cases), others)
    assert {short for short in SHORTS if any(glob(p, short) for p in chosen)} == cases
    assert len(chosen) <= len(cases)


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("plain[", ["plain[*"]),
        ("plain", ["plain-too[*", "plain[*"]),
        ("float16", ["plain[float16,*"]),
        ("plain[float16,p=2", ["plain[float16,p=2,*"]),
        ("margin=0.5", ["plain[*margin=0.5,*"]),
        (",none]", ["plain[*none]"]),
        ("plain[float32,p=1,margin=1.0,sum]", ["plain[float32,p=1,margin=1.0,sum]"]),
    ],
)
def test_patterns_are_wide(keep: str, expected: list[str]) -> None:
    """A whole name, a dtype, a parameter or a reduction that fails throughout becomes one pattern."""
    cases = {short for short in SHORTS if keep in short}
    assert patterns(set(cases), set(SHORTS) - cases) == expected


def test_apis_and_checks_that_fail_alike_share_an_entry() -> None:
    """One cause on two APIs, in output and gradient, on the same cases is one entry for a reviewer."""
    half = {
        n: "raises"
        for n, (case, api, _) in enumerate(CHECKS)
        if api.backend == "torch" and case.dtype == "float16"
    }
    (entry,) = accept(propose(half)).entries["torch"]
    assert entry.api == ["torch.nn.MultiMarginLoss", "torch.nn.functional.multi_margin_loss"]
    assert entry.check == ["grad.input", "output"]
    assert entry.cases == ("plain[float16,*",)
    assert entry.kind == "raises"
    assert entry.versions == "==2.13.0"
    assert "notimplementederror" in entry.id


def test_a_reason_is_still_to_be_written(tmp_path: Path) -> None:
    """Each proposal says TODO, which the ledger rejects until someone has understood the failure."""
    text = propose({0: "value", 5: "raises"})
    assert text.count("reason: TODO") == text.count("- id: ") == 2
    body = text.split("# reports/known/")[1].partition("\n")[2]
    (tmp_path / "torch.yaml").write_text(f"framework: torch\n{body}")
    with pytest.raises(InvalidFileError, match="has no reason yet"):
        load_ledger(tmp_path)


def test_the_band_is_by_dtype_and_rounded_outward() -> None:
    """The band holds the measured ratios of each dtype, to two digits, never narrower than measured."""
    measured = [("float32", 11.26), ("float32", 2.34), ("float16", 1234.0), ("float64", "Infinity")]
    rows = [{"case": f"op/plain[{dtype}]", "error_over_bound": ratio} for dtype, ratio in measured]
    assert band(rows) == {
        "float16": [1200.0, 1300.0],
        "float32": [2.3, 12.0],
        "float64": [float("inf"), float("inf")],
    }


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_a_band_holds_what_it_was_made_from(ratio: float) -> None:
    """Rounded to two digits, a band still holds its own ratio."""
    low, high = band([{"case": "op/plain[float32,none]", "error_over_bound": ratio}])["float32"]
    assert low * 0.999999 <= ratio <= high * 1.000001
    assert high <= low * 1.2


def test_only_unexpected_failures_are_proposed() -> None:
    """Known failures and passes give nothing; nor do results of operators that the suite lacks."""
    assert propose({}) == ""
    assert propose({0: "known"}) == ""
    stranger = {**row(*CHECKS[0], "value"), "op": "other", "case": "other/plain[float32]"}
    assert proposals([*BACKENDS, stranger], SUITE) == ""


def test_refuted_claims_are_proposed() -> None:
    """A refuted claim that nobody knew becomes an entry of its own, which then knows it."""
    op = SUITE[0]
    api = op.apis[1]
    claim = {"type": "claim", "op": op.name, "api": api.name, "backend": "torch", "claim": "formula"}
    ledger = accept(proposals([*BACKENDS, {**claim, "verdict": "refuted", "outcome": "regression"}], SUITE))
    assert ledger.classify_claim(op.name, api, "formula", "refuted", "2.13.0")[0] == "known"
    assert ledger.classify_claim(op.name, api, "shape", "refuted", "2.13.0")[0] == "regression"


def test_an_operator_is_named() -> None:
    """Entries are about the operator whose results failed."""
    loaded: Operator = SUITE[0]
    assert accept(propose({0: "crash"})).entries["torch"][0].op == loaded.name
