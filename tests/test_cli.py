"""The command line: what people read and which exit code machines get, for every way to ask wrongly."""

import functools
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import msgspec
import pytest

from conformance import checking, cli
from conformance.__main__ import main
from conformance.errors import Exit
from conformance.load import Operator, load_suite
from conformance.stream import read_stream

CASE = "multi_margin_loss/weighted-p2[float32,none]"
API = "torch.nn.MultiMarginLoss"
FRAMEWORKS = ("torch", "paddle", "mindspore")

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def load_shipped_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load the shipped case files once for all tests here; others are loaded as they are named."""
    monkeypatch.setattr(
        cli,
        "load_suite",
        lambda root=None, ops=(), backends=(): load_suite(root, ops, backends) if root else shipped(),
    )


@functools.cache
def shipped() -> list[Operator]:
    """Return the shipped suite."""
    return load_suite()


def refused(capsys: Captured, *arguments: str, code: Exit = Exit.USAGE) -> str:
    """Run a command that has to end with `code`; return its message, which is all that it may print."""
    assert main(list(arguments)) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("conformance: ")
    assert "Traceback" not in printed.err
    return printed.err


def python(*arguments: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run this interpreter, as a user's shell would."""
    environment = os.environ | {"COLUMNS": "80"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Write a case file with a mistake in line 3."""
    path = tmp_path / "broken.yaml"
    path.write_text("op: multi_margin_loss\nfamily: loss\nsummary: [\n")
    return path


def test_list(capsys: Captured) -> None:
    """`list` names every operator with its APIs, and `--op` narrows it."""
    assert main(["list"]) == 0
    everything = capsys.readouterr().out
    for op in shipped():
        assert op.name in everything
        assert all(api.name in everything for api in op.apis)
    assert main(["list", "--op", "multi_margin_loss"]) == 0
    assert "hinge_embedding_loss" not in capsys.readouterr().out


def test_list_ids(capsys: Captured) -> None:
    """`list --ids` prints the id of every case, one a line, as the other commands take them."""
    assert main(["list", "--ids"]) == 0
    assert capsys.readouterr().out.splitlines() == [case.id for op in shipped() for case in op.cases]


def test_show(capsys: Captured) -> None:
    """`show` prints where a case stands, why, its inputs, and what the oracle expects with its bound."""
    assert main(["show", CASE]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{CASE}\n")
    assert "multi_margin_loss.yaml:" in printed
    for part in ("  defined: ", "input: float32[6, 4]", "output: float32[6]", "grad.weight: ", "± "):
        assert f"\n{part}" in printed


def test_show_uses_the_documented_defaults_of_an_api(capsys: Captured) -> None:
    """`show CASE API` is about that API; without an oracle it says that there is no expected value."""
    assert main(["show", CASE, API]) == 0
    assert "parameters: {'p': 2" in capsys.readouterr().out
    undefined = next(c.id for op in shipped() for c in op.cases if c.domain == "undefined")
    assert main(["show", undefined]) == 0
    assert "no expected value" in capsys.readouterr().out


def test_check(capsys: Captured) -> None:
    """`check` finds the shipped case files, claims and ledger valid, and counts them."""
    assert main(["check"]) == 0
    said = capsys.readouterr().out
    cases = sum(len(op.cases) for op in shipped())
    assert said.startswith(f"{len(shipped())} operators, {cases} cases, ")
    assert said.endswith("ledger entries: valid\n")


def test_help_is_not_an_error(capsys: Captured) -> None:
    """`--help` prints the commands and exits 0."""
    assert main(["--help"]) == 0
    printed = capsys.readouterr()
    assert all(name in printed.out for name in ("run", "list", "show", "repro", "check", "schema"))
    assert printed.err == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "nonsense"),
        (["list", "--nonsense"], "--nonsense"),
        (["show"], "Missing argument 'case'"),
        (["run", "--timeout", "soon"], "--timeout"),
        (["list", "--op", "multi_marign_loss"], "no operator 'multi_marign_loss'; there are"),
        (["run", "--op", "nope"], "no operator 'nope'; there are "),
        (["run", "--backend", "tensorflow"], "no backend 'tensorflow'; there are torch, paddle, mindspore"),
        (["run", "--backend", "torch=/no/python"], "/no/python is not an executable interpreter"),
        (["show", CASE.replace("none", "nome")], f"did you mean {CASE}"),
        (["show", CASE, "torch.nope"], "no API 'torch.nope'; it has torch.nn.functional.multi_margin_loss"),
        (["repro", "nope", API], "no case 'nope'"),
        (["repro", CASE, "torch.nope"], "no API 'torch.nope'; it has torch"),
        (["repro", CASE, API, "--run", "/no/run.jsonl"], "/no/run.jsonl: cannot be read: No such file"),
        (["report", "/no/run.jsonl"], "/no/run.jsonl: cannot be read: No such file"),
        (["ledger", "update", "/no/run.jsonl"], "/no/run.jsonl: cannot be read: No such file"),
        (["list", "--cases", "/no/cases"], "no case files below /no/cases"),
        (["check", "--ledger", "/no/ledger"], "no ledger folder /no/ledger"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_wrong_request_is_exit_4(capsys: Captured, arguments: list[str], says: str) -> None:
    """What does not exist is said with what does, in one message and no traceback, as exit 4."""
    assert says in refused(capsys, *arguments)


def test_an_empty_selection_is_exit_5(capsys: Captured, tmp_path: Path) -> None:
    """A valid selection that matches nothing runs nothing: exit 5, and nothing is written."""
    for narrow in (["-k", "no-such-case"], ["--api", "torch.nope*"]):
        arguments = ["run", "--backend", "torch", *narrow, "-o", str(tmp_path / "out")]
        said = refused(capsys, *arguments, code=Exit.NOTHING_RAN)
        assert "the selection matches no case" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["list"], ["check"], ["show", CASE], ["run"]])
def test_a_broken_case_file_is_placed(capsys: Captured, broken: Path, command: list[str]) -> None:
    """Every command that reads case files says file:line:column and ends with exit 4."""
    said = refused(capsys, *command, "--cases", str(broken))
    assert said.startswith(f"conformance: {broken}:4:1: not valid YAML: ")
    assert said.count("\n") == 1


def test_a_traceback_is_shown_when_asked(broken: Path) -> None:
    """`--traceback`, anywhere on the line, shows where it was raised instead of the message alone."""
    shown = python("-m", "conformance", "check", "--cases", str(broken), "--traceback")
    assert "Traceback (most recent call last)" in shown.stderr
    assert "yamlfile.py" in shown.stderr
    plain = python("-m", "conformance", "check", "--cases", str(broken))
    assert (plain.returncode, plain.stdout) == (4, "")
    assert plain.stderr.startswith(f"conformance: {broken}:4:1: ")


def test_check_builds_what_the_loader_does_not(capsys: Captured, tmp_path: Path) -> None:
    """`check` builds every tensor: a generator whose values do not fit its dtype is placed at its case."""
    path = tmp_path / "x.yaml"
    path.write_text(
        "op: multi_margin_loss\nfamily: loss\nsummary: x\n"
        "tensors: {input: {kind: floating}, target: {kind: label}}\nparams: {}\napis: {}\ncases:\n"
        "  - case: plain\n    why: labels beyond int8\n"
        "    inputs: {input: {uniform: [99, 200]}, target: {labels: [99], below: 200, dtype: int8}}\n"
    )
    said = refused(capsys, "check", "--cases", str(path))
    assert f"{path}:8:5: case multi_margin_loss/plain[float32]: a value that int8 does not hold" in said


def test_an_interrupt_is_exit_2(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is exit 2 with a word on what is kept."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checking, "check_files", interrupted)
    assert main(["check"]) == Exit.INTERRUPTED
    assert capsys.readouterr().err == "interrupted\n"


def test_our_own_fault_is_exit_3(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody foresaw is a harness fault, in one message that says how to see more."""

    def faulty(*_: object) -> None:
        raise ZeroDivisionError("one over zero")

    monkeypatch.setattr(checking, "check_files", faulty)
    said = refused(capsys, "check", code=Exit.HARNESS)
    assert "a fault of the harness itself: ZeroDivisionError: one over zero" in said
    assert "--traceback" in said
    with pytest.raises(ZeroDivisionError):
        main(["--traceback", "check"])


def write_run(path: Path, *results: dict[str, object]) -> Path:
    """Write a finished stream with these results."""
    rows = [
        {"type": "run", "schema": "conformance/1.0"},
        {"type": "backend", "backend": "torch", "version": "2.13.0"},
        *results,
        {"type": "end", "complete": True},
    ]
    path.write_bytes(b"\n".join(map(msgspec.json.encode, rows)) + b"\n")
    return path


def test_repro_without_a_result_says_so(capsys: Captured, tmp_path: Path) -> None:
    """A case and API that exist, and that the run did not contain, are said to be missing from it."""
    path = write_run(tmp_path / "run.jsonl")
    said = refused(capsys, "repro", CASE, API, "--check", "output", "--run", str(path))
    assert f"{path} has no result of {API} on {CASE} output" in said


def test_a_broken_stream_is_placed(capsys: Captured, tmp_path: Path) -> None:
    """A stream with garbage in it is refused with its line."""
    path = tmp_path / "run.jsonl"
    path.write_text('{"type":"run","schema":"conformance/1.0"}\nnonsense\n')
    assert f"{path}:2:1: not JSON" in refused(capsys, "ledger", "update", str(path))


def test_ledger_update_proposes(capsys: Captured, tmp_path: Path) -> None:
    """`ledger update` prints an entry with `reason: TODO` for what a run found unexpected."""
    names = {"case": CASE, "op": "multi_margin_loss", "api": API, "backend": "torch", "check": "output"}
    result = {**names, "status": "fail", "kind": "shape", "outcome": "regression"}
    path = write_run(tmp_path / "run.jsonl", {"type": "result", **result})
    assert main(["ledger", "update", str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# reports/known/torch/multi_margin_loss.yaml\nentries:\n")
    assert "- id: torch-multi_margin_loss-" in printed
    assert "reason: TODO" in printed


def test_a_backend_that_cannot_start_is_exit_3(tmp_path: Path) -> None:
    """A requested backend in an interpreter without its packages is an incomplete run, said in one line."""
    venv.create(tmp_path / "bare", with_pip=False)
    backend = f"torch={tmp_path / 'bare' / 'bin' / 'python'}"
    narrow = ["--op", "multi_margin_loss", "-k", "weighted-ones", "-o", str(tmp_path / "out")]
    ran = python("-m", "conformance", "run", "--backend", backend, *narrow)
    assert ran.returncode == Exit.HARNESS
    assert "Traceback" not in ran.stdout + ran.stderr
    said = " ".join(ran.stdout.split())
    assert said.count("incomplete: backend torch cannot start: ModuleNotFoundError: No module named") == 1
    assert said.endswith("no verdict: the run is incomplete or the harness failed")
    rows = list(read_stream(tmp_path / "out" / "run.jsonl", partial=True))
    assert {row["status"] for row in rows if row["type"] == "result"} == {"notrun"}
    assert (rows[-1]["complete"], rows[-1]["exit"]) == (False, 3)
    assert "cannot start" in next(row["lost"] for row in rows if row["type"] == "backend")


@pytest.mark.parametrize(
    "code",
    [
        "import conformance",
        "from conformance.__main__ import main; assert main(['list']) == 0",
        "from conformance.__main__ import main; assert main(['check']) == 0",
        "import conformance.pytest_plugin",
    ],
)
def test_no_framework_is_imported(code: str, tmp_path: Path) -> None:
    """Importing the package, listing, checking and being a pytest plugin import no framework."""
    probe = f"import json, sys\n{code}\nprint()\nprint(json.dumps(sorted(sys.modules)))"
    ran = python("-c", probe, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    modules = {name.partition(".")[0] for name in json.loads(ran.stdout.splitlines()[-1])}
    assert "conformance" in modules
    assert modules.isdisjoint(FRAMEWORKS)


def test_exit_codes_are_pytests() -> None:
    """The codes are the ones that one CI rule reads for both entrances."""
    names = {"OK": "OK", "UNEXPECTED": "TESTS_FAILED", "INTERRUPTED": "INTERRUPTED"}
    names |= {"HARNESS": "INTERNAL_ERROR", "USAGE": "USAGE_ERROR", "NOTHING_RAN": "NO_TESTS_COLLECTED"}
    assert {exit_.name: int(exit_) for exit_ in Exit} == {
        ours: int(pytest.ExitCode[theirs]) for ours, theirs in names.items()
    }
