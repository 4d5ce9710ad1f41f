"""The ledger: what an entry matches, and what it makes of a check that passes, fails, worsens or changes."""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from conformance.adapters import BACKENDS
from conformance.backends import PLAIN, Variant
from conformance.compare import Check
from conformance.errors import InvalidFileError, UsageError
from conformance.globs import glob
from conformance.ledger import Entry, Ledger, load_ledger
from conformance.load import Api, Case, Operator, load_operator
from conformance.types import KINDS
from tests.shipped import suite

API = "torch.nn.functional.multi_margin_loss"
OP = """
op: multi_margin_loss
family: loss
summary: a hinge
tensors: {input: {kind: floating}, target: {kind: label}}
params: {p: {default: 1}, reduction: {default: mean}}
apis:
  torch.nn.functional.multi_margin_loss: {doc: x, call: [input, target, p, reduction]}
  torch.nn.MultiMarginLoss: {doc: x, init: [p, reduction], call: [input, target]}
cases:
  - case: plain
    why: why not
    inputs: {input: {uniform: [2, 3]}, target: [0, 2]}
    matrix: {dtype: [float32, float16], p: [1, 2], reduction: [none, sum]}
"""
FIELDS: dict[str, Any] = {
    "id": "known-1",
    "op": "multi_margin_loss",
    "api": [API],
    "check": ["output"],
    "kind": "value",
    "versions": "==2.13.0",
    "reason": "The kernel rounds twice, once after each of its two reductions.",
    "upstream": "unreported",
    "since": "2026-11-22",
}
VALUE = Check("output", "fail", "value", error_over_bound=10.0)
PASS = Check("output", "pass", compared=3)


@pytest.fixture(scope="module")
def op() -> Operator:
    """Load the small op file."""
    return load_operator(Path("x.yaml"), OP)


@pytest.fixture
def case(op: Operator) -> Case:
    """Return plain[float32,p=2,sum]."""
    return next(c for c in op.cases if c.id.endswith("plain[float32,p=2,sum]"))


@pytest.fixture
def api(op: Operator) -> Api:
    """Return the function's API."""
    return op.apis[0]


def ledger(*changes: dict[str, Any]) -> Ledger:
    """Make a ledger of torch entries, each FIELDS with some changes."""
    return Ledger({"torch": [Entry(**{**FIELDS, **change}) for change in changes]})


def folder(tmp_path: Path, *entries: dict[str, Any], framework: str = "torch") -> Path:
    """Write a ledger file and return its folder."""
    text = yaml.safe_dump({"framework": framework, "entries": [deepcopy(entry) for entry in entries]})
    (tmp_path / "torch.yaml").write_text(text)
    return tmp_path


def test_without_an_entry(case: Case, api: Api) -> None:
    """What no entry knows is ok when it passes and a regression when it fails."""
    empty = ledger()
    assert empty.classify(case, api, PASS, "2.13.0") == ("ok", "", "")
    assert empty.classify(case, api, VALUE, "2.13.0") == ("regression", "", "")


def test_a_known_failure_is_known(case: Case, api: Api) -> None:
    """A failure of the entry's kind is known, names the entry, and counts as a match."""
    known = ledger({})
    assert known.classify(case, api, VALUE, "2.13.0") == ("known", "known-1", "")
    assert known.hits == {"known-1": 1}


def test_a_changed_kind_is_a_regression(case: Case, api: Api) -> None:
    """A failure of another kind is a regression that says what was known and what is now."""
    check = Check("output", "fail", "shape")
    outcome, entry, why = ledger({}).classify(case, api, check, "2.13.0")
    assert (outcome, entry) == ("regression", "known-1")
    assert why == "ledger entry known-1 knows it as value; now it is shape"


@pytest.mark.parametrize("status", ["crash", "timeout", "error"])
def test_a_status_is_a_kind(case: Case, api: Api, status: Any) -> None:
    """Crashes, timeouts and errors have no kind of their own: their status is what an entry names."""
    check = Check("output", status)
    assert ledger({"kind": status}).classify(case, api, check, "2.13.0")[0] == "known"
    assert ledger({"kind": "value"}).classify(case, api, check, "2.13.0")[0] == "regression"


def test_several_kinds(case: Case, api: Api) -> None:
    """An entry may know more than one kind."""
    known = ledger({"kind": ["nonfinite", "value"]})
    assert known.classify(case, api, VALUE, "2.13.0")[0] == "known"
    assert known.classify(case, api, Check("output", "fail", "nonfinite"), "2.13.0")[0] == "known"
    assert known.classify(case, api, Check("output", "fail", "dtype"), "2.13.0")[0] == "regression"


@pytest.mark.parametrize(
    ("ratio", "outcome"), [(10.0, "known"), (22.0, "known"), (22.1, "regression"), (9.0, "regression")]
)
def test_a_failure_outside_its_band_is_a_regression(case: Case, api: Api, ratio: float, outcome: str) -> None:
    """A known failure that becomes worse, or better, than its band and a tenth is a regression."""
    known = ledger({"band": {"float32": (10.0, 20.0)}})
    check = Check("output", "fail", "value", error_over_bound=ratio)
    found, _, why = known.classify(case, api, check, "2.13.0")
    assert found == outcome
    assert (f"allows error/bound [10.0, 20.0] in float32; now {ratio:.4g}" in why) is (found == "regression")


def test_a_dtype_without_a_band_is_outside_it(case: Case, api: Api) -> None:
    """Where an entry gives bands, a dtype that has none is not excused."""
    known = ledger({"band": {"float16": (10.0, 20.0)}})
    assert known.classify(case, api, VALUE, "2.13.0")[0] == "regression"


def test_a_second_entry_may_know_it(case: Case, api: Api) -> None:
    """Of several matching entries one that knows the kind is enough, in any order."""
    shape = {"id": "other", "kind": "shape"}
    assert ledger(shape, {}).classify(case, api, VALUE, "2.13.0")[:2] == ("known", "known-1")
    assert ledger({}, shape).classify(case, api, VALUE, "2.13.0")[:2] == ("known", "known-1")


def test_an_entry_that_passes_is_stale(case: Case, api: Api) -> None:
    """A check that an entry says fails, and that passes, is stale: the entry has to go."""
    found = ledger({}).classify(case, api, PASS, "2.13.0")
    assert found == ("stale", "known-1", "ledger entry known-1 says it fails; it does not")


def test_a_nondeterministic_entry_may_pass(case: Case, api: Api) -> None:
    """A result that reads memory nobody wrote may be right by luck; it still fails by its kind alone."""
    known = ledger({"nondeterministic": True})
    assert known.classify(case, api, PASS, "2.13.0") == ("ok", "known-1", "")
    assert known.classify(case, api, VALUE, "2.13.0")[0] == "known"
    assert known.classify(case, api, Check("output", "crash"), "2.13.0")[0] == "regression"


def test_nothing_excuses_the_harness(case: Case, api: Api) -> None:
    """A harness fault is a regression under any entry, and what did not run is not stale."""
    known = ledger({"kind": "harness"})
    assert known.classify(case, api, Check("output", "harness"), "2.13.0")[0] == "regression"
    assert known.classify(case, api, Check("output", "notrun"), "2.13.0") == ("notrun", "", "")


@pytest.mark.parametrize(
    ("versions", "version", "matches"),
    [
        ("==2.13.0", "2.13.0", True),
        ("==2.13.0", "2.13.0+cpu", True),
        ("==2.13.0", "2.13.1", False),
        (">=2.12,<2.14", "2.13.1", True),
        (">=2.12,<2.14", "2.14.0", False),
        (">=2.12", "2.13.0.dev20261101", True),
        ("", "9.9", True),
    ],
)
def test_versions(case: Case, api: Api, versions: str, version: str, matches: bool) -> None:
    """An entry speaks of the versions that its PEP 440 specifier contains, local builds and previews too."""
    found = ledger({"versions": versions}).classify(case, api, VALUE, version)[0]
    assert found == ("known" if matches else "regression")


@pytest.mark.parametrize(
    ("change", "matches"),
    [
        ({"op": "hinge_embedding_loss"}, False),
        ({"api": ["torch.nn.MultiMarginLoss"]}, False),
        ({"api": ["torch.nn.MultiMarginLoss", "torch.nn.functional.*"]}, True),
        ({"api": ["*"]}, True),
        ({"check": ["grad.*"]}, False),
        ({"check": ["grad.*", "out*"]}, True),
        ({"dtype": ["float16"]}, False),
        ({"dtype": ["float16", "float32"]}, True),
        ({"params": {"p": [2]}}, True),
        ({"params": {"p": [1]}}, False),
        ({"params": {"p": [1, 2], "reduction": ["sum"]}}, True),
        ({"params": {"p": [2], "reduction": ["none"]}}, False),
        ({"params": {"margin": [1.0]}}, False),
        ({"cases": ("plain[*",)}, True),
        ({"cases": ("plain[float32,p=2,sum]",)}, True),
        ({"cases": ("plain[float16,*", "*,none]")}, False),
        ({"cases": ("multi_margin_loss/*",)}, False),
        ({"cases": ()}, False),
    ],
)
def test_matchers(case: Case, api: Api, change: dict[str, Any], matches: bool) -> None:
    """Every matcher narrows: op, API, check, dtype, parameters that the case gives, and case globs."""
    found = ledger(change).classify(case, api, VALUE, "2.13.0")[0]
    assert found == ("known" if matches else "regression")


def test_entries_of_another_framework_do_not_speak(case: Case, api: Api) -> None:
    """Entries are looked up by the backend of the API."""
    elsewhere = Ledger({"paddle": [Entry(**{**FIELDS, "api": ["*"]})]})
    assert elsewhere.classify(case, api, VALUE, "2.13.0")[0] == "regression"


def test_claims(op: Operator, api: Api) -> None:
    """A refuted claim has to be known as `claim.ID`, `refuted`; one that is confirmed again is stale."""
    known = ledger({"check": ["claim.formula"], "kind": "refuted"})

    def outcome(claim: str, verdict: str) -> str:
        return known.classify_claim(op.name, api, claim, verdict, "2.13.0")[0]

    assert outcome("formula", "refuted") == "known"
    assert outcome("shape", "refuted") == "regression"
    assert outcome("formula", "confirmed") == "stale"
    assert outcome("shape", "confirmed") == "ok"
    assert outcome("formula", "notrun") == "notrun"


def test_unmatched(case: Case, api: Api) -> None:
    """An entry about an op that ran and that matched nothing is named; other ops and backends are not."""
    known = ledger({}, {"id": "idle", "check": ["grad.input"]}, {"id": "elsewhere", "op": "other"})
    known.classify(case, api, VALUE, "2.13.0")
    assert [entry.id for entry in known.unmatched("torch", {case.op.name})] == ["idle"]
    assert [entry.id for entry in known.unmatched("torch", {case.op.name, "other"})] == ["idle", "elsewhere"]
    assert known.unmatched("paddle", {case.op.name}) == []


def test_a_ledger_loads(tmp_path: Path) -> None:
    """A file's entries come out under its framework; a folder without files is an empty ledger."""
    assert load_ledger(tmp_path).entries == {}
    loaded = load_ledger(folder(tmp_path, FIELDS, {**FIELDS, "id": "known-2"}))
    assert [entry.id for entry in loaded.entries["torch"]] == ["known-1", "known-2"]


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        ({"reason": "TODO"}, 9, "has no reason yet"),
        ({"reason": "  "}, 9, "has no reason yet"),
        ({"reason": "Rounds twice. TODO: where?"}, 9, "has no reason yet"),
        ({"versions": "2.13"}, 12, "not a version specifier: '2.13'"),
        ({"versions": "=>2.13"}, 12, "not a version specifier"),
        ({"kind": 3}, 7, "Expected"),
        ({"severity": "high"}, 10, "unknown field 'severity'"),
        ({"since": None}, 10, "Expected 'str', got 'null'"),
        ({"band": {"float32": [1.0]}}, 5, "length 2"),
    ],
)
def test_malformed_entries_are_placed(tmp_path: Path, change: dict[str, Any], line: int, says: str) -> None:
    """A bad entry, a TODO for a reason among them, is exit 4 at its own line."""
    with pytest.raises(InvalidFileError) as caught:
        load_ledger(folder(tmp_path, {**FIELDS, **change}))
    assert says in caught.value.what
    assert caught.value.where.split(":")[1] == str(line)


def test_an_id_stands_once(tmp_path: Path) -> None:
    """The same id twice, in one file or in two, is refused."""
    with pytest.raises(InvalidFileError, match="ledger id 'known-1' stands twice"):
        load_ledger(folder(tmp_path, FIELDS, FIELDS))
    folder(tmp_path, FIELDS)
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"framework": "paddle", "entries": [FIELDS]}))
    with pytest.raises(InvalidFileError, match="ledger id 'known-1' stands twice"):
        load_ledger(tmp_path)


def test_an_unknown_framework_is_refused(tmp_path: Path) -> None:
    """Entries under a misspelt framework would be read by nobody: the file is refused."""
    with pytest.raises(InvalidFileError, match="no backend 'pytorch'"):
        load_ledger(folder(tmp_path, FIELDS, framework="pytorch"))


def test_a_missing_folder_is_a_usage_error(tmp_path: Path) -> None:
    """A ledger that is not there is not an empty one."""
    with pytest.raises(UsageError, match="no ledger folder"):
        load_ledger(tmp_path / "none")


def test_the_shipped_ledger_gives_reasons() -> None:
    """Each shipped entry says why at some length, of which version, and which kinds, under its framework."""
    shipped = load_ledger()
    assert set(shipped.entries) <= set(BACKENDS)
    entries = [(backend, entry) for backend, found in shipped.entries.items() for entry in found]
    assert entries
    assert [entry.id for _, entry in entries if len(entry.reason.split()) < 5] == []
    for backend, entry in entries:
        assert entry.id.startswith(f"{backend}-")
        assert len(SpecifierSet(entry.versions)) > 0, entry.id
        assert set(entry.kinds) <= {*KINDS, "error", "crash", "timeout", "refuted"}, entry.id
        assert entry.upstream == "unreported" or entry.upstream.startswith("https://"), entry.id


def _relations(op: Operator) -> list[str]:
    """Name the relations that a case of an op can have."""
    decl = op.decl.relations
    if decl is None:
        return []
    always = ("repeat", "layout", "permutation", "concatenation", "reduction", "function", "inputs")
    return [*always, "nonnegative", "ignored", *(f"ones.{name}" for name in decl.ones)]


def test_the_shipped_ledger_speaks_of_what_is_shipped() -> None:
    """Each pattern of each shipped entry matches an API, and a case or a claim, of the shipped operators."""
    shipped = {op.name: op for op in suite()}
    idle = []
    for backend, entries in load_ledger().entries.items():
        for entry in entries:
            op = shipped[entry.op]
            shorts = [case.id.partition("/")[2] for case in op.cases]
            apis = [api for api in op.apis if api.backend == backend]
            claims = [f"claim.{claim.claim}" for api in apis for claim in api.claims]
            by = [f"{what}.{name}" for what in ("grad", "grad2") for name in op.decl.tensors]
            checks = [
                "output",
                "raises",
                "repeat",
                *by,
                *claims,
                *(f"relation.{name}" for name in _relations(op)),
            ]
            idle += [(entry.id, p) for p in entry.cases if not any(glob(p, s) for s in shorts)]
            idle += [(entry.id, p) for p in entry.api if not any(glob(p, api.name) for api in apis)]
            idle += [(entry.id, p) for p in entry.check if not any(glob(p, check) for check in checks)]
    assert idle == []


COMPILED, ON_GPU = Variant("compile"), Variant(device="cuda:1")


@pytest.mark.parametrize("variant", [COMPILED, ON_GPU, Variant("compile", "cuda")])
def test_an_entry_may_hold_in_another_mode_and_on_another_device(
    case: Case, api: Api, variant: Variant
) -> None:
    """It explains what fails alike, with no larger an error; that it does not hold is nobody's fault."""
    known = ledger({"band": {"float32": (10.0, 20.0)}})

    def outcome(check: Check) -> str:
        return known.classify(case, api, check, "2.13.0", variant)[0]

    assert outcome(PASS) == "ok"
    assert outcome(Check("output", "fail", "value", error_over_bound=15.0)) == "known"
    assert outcome(Check("output", "fail", "value", error_over_bound=2.0)) == "known"
    assert outcome(Check("output", "fail", "value", error_over_bound=23.0)) == "regression"
    assert outcome(Check("output", "fail", "shape")) == "regression"
    assert known.classify(case, api, PASS, "2.13.0")[0] == "stale"


@pytest.mark.parametrize(
    ("change", "there", "elsewhere"),
    [
        ({"modes": ["compile"]}, COMPILED, PLAIN),
        ({"devices": ["cuda"]}, ON_GPU, PLAIN),
        ({"modes": ["compile"], "devices": ["cuda"]}, Variant("compile", "cuda:0"), COMPILED),
        ({"modes": ["eager"]}, PLAIN, COMPILED),
    ],
)
def test_an_entry_that_names_a_mode_or_a_device_speaks_of_it_alone(
    case: Case, api: Api, change: dict[str, Any], there: Variant, elsewhere: Variant
) -> None:
    """There it has to hold; nowhere else does it explain anything."""
    named = ledger(change)
    assert named.classify(case, api, VALUE, "2.13.0", there)[0] == "known"
    assert named.classify(case, api, PASS, "2.13.0", there)[0] == "stale"
    assert named.classify(case, api, VALUE, "2.13.0", elsewhere)[0] == "regression"
    assert named.classify(case, api, PASS, "2.13.0", elsewhere)[0] == "ok"


def test_what_matches_nothing_in_a_mode(case: Case) -> None:
    """Only entries that have to hold in the mode of a run can be said to match nothing in it."""
    entries = ledger({}, {"id": "compiled", "modes": ["compile"]}, {"id": "gpu", "devices": ["cuda"]})
    ops = {case.op.name}
    assert [entry.id for entry in entries.unmatched("torch", ops)] == ["known-1"]
    assert [entry.id for entry in entries.unmatched("torch", ops, COMPILED)] == ["compiled"]
    assert [entry.id for entry in entries.unmatched("torch", ops, ON_GPU)] == ["gpu"]
    assert entries.unmatched("torch", ops, Variant("compile", "cuda")) == []


def test_claims_in_a_mode(op: Operator, api: Api) -> None:
    """A claim that eager refutes may be confirmed when compiled; a known one explains."""
    known = ledger({"check": ["claim.formula"], "kind": "refuted"})

    def outcome(verdict: str, variant: Variant) -> str:
        return known.classify_claim(op.name, api, "formula", verdict, "2.13.0", variant)[0]

    assert [outcome("refuted", each) for each in (PLAIN, COMPILED)] == ["known", "known"]
    assert [outcome("confirmed", each) for each in (PLAIN, COMPILED)] == ["stale", "ok"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"modes": ["graph"]}, "torch has no mode 'graph'; it has eager, compile"),
        ({"devices": ["gpu"]}, "torch has no device 'gpu'; it has cpu, cuda, mps, xpu"),
        ({"devices": ["cuda:1"]}, "torch has no device 'cuda:1'"),
    ],
)
def test_an_entry_about_a_mode_that_there_is_not(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    """It would match nothing: refused at its place."""
    with pytest.raises(InvalidFileError) as raised:
        load_ledger(folder(tmp_path, {**FIELDS, **change}))
    assert says in str(raised.value)
    assert re.match(rf"{tmp_path}/torch.yaml:\d+:\d+", str(raised.value))
