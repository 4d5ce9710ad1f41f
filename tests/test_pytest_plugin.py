"""The pytest plugin, as people use it: `pytest cases --backend torch`, in a process of its own."""

import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from conformance.cache import _read
from conformance.compare import Check
from conformance.errors import BindingError
from conformance.process import Process
from conformance.pytest_plugin import CaseItem, _execute
from conformance.types import Binding, Raised, Reply, Request
from tests.test_miniatures_process import x86

CLASS, FUNCTION = "torch.nn.MultiMarginLoss", "torch.nn.functional.multi_margin_loss"

CASES = """\
op: multi_margin_loss
family: loss
summary: a class that is said to have another default margin, so that one case fails for it

tensors:
  input: {kind: floating}
  target: {kind: label}

params:
  margin: {default: 1.0}
  reduction: {default: mean}

apis:
  torch.nn.functional.multi_margin_loss:
    doc: https://example.org
    call: [input, target, margin, reduction]
    unsupported: [{dtype: [float16], why: "the document excludes it", source: "https://example.org/dtypes"}]
  torch.nn.MultiMarginLoss:
    doc: https://example.org
    init: [margin, reduction]
    call: [input, target]
    defaults: {margin: 2.0}
    unsupported: [{dtype: [float16], why: "the document excludes it", source: "https://example.org/dtypes"}]
  paddle.nn.MultiMarginLoss:
    doc: https://example.org
    init: [margin, reduction]
    call: {input: input, target: label}

cases:
  - case: plain
    why: A margin of its own.
    inputs: {input: {uniform: [3, 4], low: -2, high: 2}, target: [0, 3, 1]}
    matrix: {margin: [1.5], reduction: [none, mean]}
  - case: silent
    why: The margin is left out.
    inputs: {input: {uniform: [3, 4], low: -2, high: 2}, target: [0, 3, 1]}
    params: {reduction: none}
  - case: half
    why: A dtype that the document excludes.
    inputs: {input: {uniform: [3, 4], low: -2, high: 2}, target: [0, 3, 1]}
    matrix: {dtype: [float16]}
"""

KNOWN = """\
framework: torch
entries:
  - id: torch-silent-margin
    op: multi_margin_loss
    api: [torch.nn.MultiMarginLoss]
    cases: ["silent*"]
    check: ["*"]
    kind: [value, grad_value]
    versions: ">=2"
    reason: The document of this test is wrong.
    upstream: unreported
    since: "2026-11-22"
"""

IDS = [
    f"multi_margin_loss.yaml::{api}::{case}"
    for api in (FUNCTION, CLASS)
    for case in (
        "plain[float32,margin=1.5,none]",
        "plain[float32,margin=1.5,mean]",
        "silent[float32]",
        "half[float16]",
    )
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a case file, an empty ledger and one that knows."""
    root = tmp_path_factory.mktemp("plugin")
    for name in ("cases", "none", "known", "stale"):
        (root / name).mkdir()
    (root / "pytest.ini").write_text("[pytest]\n")
    (root / "cases" / "multi_margin_loss.yaml").write_text(CASES)
    (root / "broken").mkdir()
    (root / "broken" / "torch.yaml").write_text(KNOWN.replace("versions", "version"))
    (root / "cases" / "notes.yaml").write_text("just: notes\n")
    (root / "known" / "torch.yaml").write_text(KNOWN)
    (root / "stale" / "torch.yaml").write_text(KNOWN.replace("silent*", "plain*mean]"))
    return root


def run(folder: Path, *arguments: str, ledger: str = "none") -> subprocess.CompletedProcess[str]:
    """Run pytest on the folder's cases."""
    command = [sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", "cases", "-rfExXs", *arguments]
    if ledger:
        command += ["--conformance-ledger", str(folder / ledger)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def counts(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Read the last line's counts."""
    last = done.stdout.strip().splitlines()[-1]
    return {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", last.partition(" in ")[0])}


@pytest.fixture(scope="module")
def whole(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run everything once, without a ledger."""
    return run(folder, "--backend", "torch", "--junitxml", "junit.xml")


def test_without_a_backend_the_plugin_collects_nothing(folder: Path) -> None:
    """Somebody else's YAML files are nobody's tests: exit 5."""
    done = run(folder, ledger="")
    assert done.returncode == 5
    assert "no tests ran" in done.stdout


def test_ids_are_readable_and_only_the_backends_own(folder: Path) -> None:
    """File, case and API; no API of another framework, and no YAML file that declares no op."""
    done = run(folder, "--backend", "torch", "--collect-only", "-q")
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if "::" in line] == [f"cases/{name}" for name in IDS]


def test_each_item_is_what_its_checks_are(whole: subprocess.CompletedProcess[str]) -> None:
    """One discrepancy fails, what is declared is skipped with its reason, the rest passes: exit 1."""
    assert whole.returncode == 1, whole.stdout + whole.stderr
    assert counts(whole) == {"failed": 1, "passed": 5, "skipped": 2}
    assert f"FAILED cases/multi_margin_loss.yaml::{CLASS}::silent[float32]" in whole.stdout
    assert "the document excludes it (https://example.org/dtypes)" in whole.stdout


def failure(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines between the failure's title and the summary."""
    after = done.stdout.split(" FAILURES ", 1)[1].splitlines()[2:]
    return after[: next(n for n, line in enumerate(after) if line.startswith(("===", "---")))]


def test_a_failure_is_few_lines_that_say_everything(whole: subprocess.CompletedProcess[str]) -> None:
    """At most 15: where, why, the worst element, the bound and where it came from; no traceback."""
    lines = failure(whole)
    text = "\n".join(lines)
    assert 4 <= len(lines) <= 15
    assert f"{CLASS} on multi_margin_loss/silent[float32]" in text
    assert re.search(r"multi_margin_loss\.yaml:34:5: The margin is left out\.", text)
    assert re.search(r"output: value: at \[\d\]: got [\d.]+, exact [\d.]+, bound [\d.e-]+", text)
    assert re.search(
        r"3 of 3 elements; error/bound [\d.e+]+; bound from rounding .*sensitivity .*working", text
    )
    assert "Traceback" not in text
    assert "Error" not in text


def test_the_commands_that_a_failure_prints_work(
    whole: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    """Copied from the text: the run finds the discrepancy, and the repro script is Python that shows it."""
    commands = [line.strip() for line in failure(whole) if line.startswith("  conformance ")]
    assert len(commands) == 2
    run_, repro = (
        [sys.executable, "-m", *shlex.split(c.replace("/tmp/run", str(tmp_path)))]  # noqa: S108
        for c in commands
    )
    ran = subprocess.run(run_, capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    script = subprocess.run(repro, capture_output=True, text=True, check=False)
    assert script.returncode == 0, script.stderr
    assert "import torch" in script.stdout
    assert "conformance" not in re.sub(r"#.*|\"\"\".*?\"\"\"", "", script.stdout, flags=re.DOTALL)


def test_junit_has_every_item_and_the_failures_text(
    whole: subprocess.CompletedProcess[str], folder: Path
) -> None:
    """What a CI server reads: names, counts, and the same few lines."""
    assert whole.returncode == 1
    suite = ET.parse(folder / "junit.xml").getroot().find("testsuite")  # noqa: S314 - our own file
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("8", "1", "2")
    names = {(str(case.get("classname")), case.get("name")) for case in suite.iter("testcase")}
    prefix = "cases.multi_margin_loss.yaml."
    assert {f"{where.removeprefix(prefix)}::{name}" for where, name in names} == {
        i.split("::", 1)[1] for i in IDS
    }
    (failed,) = suite.iter("failure")
    assert failed.text is not None
    assert "error/bound" in failed.text


def test_last_failed_runs_the_failure_alone(whole: subprocess.CompletedProcess[str], folder: Path) -> None:
    """`--lf` remembers by the ids, which are stable."""
    assert whole.returncode == 1
    done = run(folder, "--backend", "torch", "--lf")
    assert done.returncode == 1
    assert {k: v for k, v in counts(done).items() if k != "deselected"} == {"failed": 1}


def test_an_id_can_be_given_back(folder: Path) -> None:
    """The id that a report prints selects that item, and a file with an API all of that API's."""
    file = "cases/multi_margin_loss.yaml"
    command = [sys.executable, "-m", "pytest", "--backend", "torch", "--collect-only", "-q"]
    for wanted, number in ((f"{file}::{CLASS}::silent[float32]", 1), (f"{file}::{CLASS}", 4)):
        done = subprocess.run([*command, wanted], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [line for line in done.stdout.splitlines() if line.startswith(wanted)] != []
        assert sum("::" in line for line in done.stdout.splitlines()) == number


def test_keywords_and_stopping_early(folder: Path) -> None:
    """`-k` selects by case and API name, `-x` stops at the first failure."""
    done = run(
        folder,
        "--backend",
        "torch",
        "-x",
        "-k",
        "MultiMarginLoss and (silent or half)",
        "-p",
        "no:cacheprovider",
    )
    assert done.returncode == 1
    assert counts(done) == {"failed": 1, "deselected": 6}
    assert "stopping after 1 failures" in done.stdout


def test_two_processes_give_what_one_gives(folder: Path) -> None:
    """`-n 2`: the items and the options reach the workers."""
    done = run(folder, "--backend", "torch", "-n", "2", "-p", "no:cacheprovider")
    assert done.returncode == 1
    assert counts(done) == {"failed": 1, "passed": 5, "skipped": 2}


def test_what_the_ledger_knows_is_xfailed_by_its_id(folder: Path) -> None:
    """A known discrepancy is executed, fails as it should, and the run is green: exit 0."""
    done = run(folder, "--backend", "torch", "-k", "silent", ledger="known")
    assert done.returncode == 0, done.stdout
    assert counts(done) == {"passed": 1, "xfailed": 1, "deselected": 6}
    assert "known: torch-silent-margin" in done.stdout


def test_an_entry_that_no_longer_holds_fails(folder: Path) -> None:
    """A pass that the ledger calls a failure is stale, and says which entry."""
    done = run(folder, "--backend", "torch", "-k", "plain", ledger="stale")
    assert done.returncode == 1
    assert counts(done) == {"failed": 1, "passed": 3, "deselected": 4}
    assert "ledger entry torch-silent-margin says it fails; it does not" in done.stdout


def test_a_broken_ledger_ends_the_session_at_its_line(folder: Path) -> None:
    """Once, with file and line and exit 4, and not once an item with a traceback of ours."""
    done = run(folder, "--backend", "torch", "-k", "plain", ledger="broken")
    assert done.returncode == 4, done.stdout
    assert re.search(r"broken/torch\.yaml:\d+:\d+: ", done.stdout + done.stderr)
    assert "Traceback" not in done.stdout


def test_many_checks_with_long_messages_are_still_few_lines() -> None:
    """C++ exceptions have dozens of lines; of each check the first is shown, and the commands stay."""
    bad = Check(
        "grad.x", "fail", "grad_missing", "refused:\n" + "at kernel.cc\n" * 40, mismatched=1, bound=1.0
    )
    bad = msgspec.structs.replace(bad, error_over_bound=2.0, bound_terms={"rounding": 1.0})
    item = SimpleNamespace(
        api=SimpleNamespace(name="torch.nn.Loss"),
        case=SimpleNamespace(id="loss/case[float32]", where="loss.yaml:3:5", why="Why."),
        _cases=lambda: "",
        _variant=lambda: " --backend torch:compile",
    )
    lines = CaseItem._explain(item, [(bad, "the ledger knows it otherwise")] * 5).splitlines()  # type: ignore[arg-type]
    assert len(lines) <= 15
    assert lines[-1].startswith("  conformance repro 'loss/case[float32]' torch.nn.Loss")
    assert lines[-2].startswith("  conformance run --api torch.nn.Loss --backend torch:compile -k")
    assert "  … and 2 more checks" in lines


def test_modes_and_devices_are_asked_for_as_on_the_command_line(folder: Path) -> None:
    """What there is not is refused at once; what this machine lacks, when it is needed."""
    done = run(folder, "--backend", "paddle:graph")
    assert done.returncode == 4
    assert "backend paddle has no mode 'graph'; it has eager, to_static" in done.stdout + done.stderr
    done = run(folder, "--backend", f"torch={sys.executable}")
    assert done.returncode == 4
    assert "in its own process" in done.stdout + done.stderr
    done = run(folder, "--backend", "torch@cuda:99", "-k", "plain")
    assert done.returncode == 3
    assert "cannot start: device cuda:99 is not there" in done.stdout + done.stderr


def test_an_unknown_backend_is_a_usage_error(folder: Path) -> None:
    """Exit 4, and the names that there are."""
    done = run(folder, "--backend", "tensorflow")
    assert done.returncode == 4
    assert "no backend 'tensorflow'; there are torch, paddle, mindspore" in done.stderr + done.stdout


def test_a_broken_case_file_is_a_collection_error_at_its_line(tmp_path: Path) -> None:
    """File, line and column of the mistake; nothing of ours in between; the run is not green."""
    (tmp_path / "cases").mkdir()
    (tmp_path / "none").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    broken = CASES.replace("{margin: [1.5]", "{magrin: [1.5]")
    (tmp_path / "cases" / "broken.yaml").write_text(broken)
    done = run(tmp_path, "--backend", "torch")
    assert done.returncode == 2
    line = 1 + next(n for n, text in enumerate(broken.splitlines()) if "magrin" in text)
    assert re.search(rf"broken\.yaml:{line}:\d+: .*magrin", done.stdout)
    assert "Traceback" not in done.stdout


# -- what a call leaves altered in this process, which is the oracle's too ------------------------------

REPOSITORY = Path(__file__).parent.parent
LEAVES = """\
op: multi_margin_loss
family: loss
summary: a call that leaves its process altered, and what is computed after it
tensors:
  input: {kind: floating}
  target: {kind: label}
params:
  margin: {default: 1.0}
  reduction: {default: mean}
apis:
  miniature.loss:
    doc: https://example.org
    call: [input, target, margin, reduction]
cases:
  - case: guilty
    why: The one call on which a miniature misbehaves.
    inputs: {input: [[0.5, 0.25]], target: [0]}
    params: {margin: 2.0, reduction: none}
  - case: after
    why: Normal numbers whose difference is a denormal one, which flush-to-zero makes 0.
    inputs: {input: [[2.0e-38, 2.1e-38], [1.3e-38, 1.2e-38]], target: [0, 1]}
    params: {margin: 0.0, reduction: none}
"""


def kept_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, miniature: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
    """Run both cases through a miniature; return also the oracle's answers that are kept for other runs."""
    folder = tmp_path / miniature.partition(":")[2]
    for name in ("cases", "none"):
        (folder / name).mkdir(parents=True)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "cases" / "multi_margin_loss.yaml").write_text(LEAVES)
    registered = f"import conformance.adapters as a\na.BACKENDS['miniature'] = {miniature!r}\n"
    (folder / "conftest.py").write_text(f"import sys\nsys.path.append({str(REPOSITORY)!r})\n{registered}")
    monkeypatch.setenv("CONFORMANCE_CACHE", str(folder / "cache"))
    done = run(folder, "--backend", "miniature", "-p", "no:cacheprovider")
    kept = (folder / "cache" / "oracle").glob("*/*")
    with np.printoptions(threshold=1000, precision=25):  # not the bytes: a long double has idle ones
        return done, {path.name: repr(_read(path)) for path in kept}


@x86
def test_a_kernel_that_leaves_flush_to_zero_on_fails_and_spoils_no_answer_of_the_oracle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle computes in the same process: what it keeps is what it keeps beside an honest backend."""
    done, kept = kept_answers(tmp_path, monkeypatch, "tests.miniatures_process:FlushesToZero")
    honest, right = kept_answers(tmp_path, monkeypatch, "tests.miniatures:Honest")
    assert honest.returncode == 0, honest.stdout + honest.stderr
    assert len(right) == 2
    assert kept == right
    # The miniature itself ends the process (exit 7) if it is asked again without denormal numbers.
    assert done.returncode == 1, done.stdout + done.stderr
    assert counts(done) == {"failed": 1, "passed": 1}
    assert "output: mutated_process: changed its process: flush-to-zero" in done.stdout


@pytest.mark.parametrize("raises", [False, True])
def test_what_a_call_altered_is_put_back_also_when_it_raises(*, raises: bool) -> None:
    """Named in the reply if there is one; an exception of ours goes on, and leaves nothing altered either."""

    def execute(_: Request) -> Reply:
        np.seterr(all="raise")
        if raises:
            raise BindingError("outside the public namespaces")
        return Reply(1, Raised("call", "value", "ValueError", "no"))

    before, asked = np.geterr(), Request(1, Binding("x", {}), {}, {})
    adapter = SimpleNamespace(execute=execute)
    try:
        if raises:
            with pytest.raises(BindingError):
                _execute(adapter, Process(), asked)
        else:
            assert _execute(adapter, Process(), asked).altered == ("NumPy's handling of errors",)
        assert np.geterr() == before
    finally:
        np.seterr(**before)
