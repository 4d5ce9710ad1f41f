"""The composite action, the workflows and their scripts: valid, and no input is ever read as a command."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance.fold import fold, write_folded
from tests.publishing import result, rows, wrong

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTION = ROOT / "action.yml"
SCRIPTS = [ROOT / ".ci" / name for name in ("action", "pages", "run")]
PINNED = re.compile(r"[\w-]+/[\w/-]+@v\d+|\./")


def load(path: Path) -> dict[str, Any]:
    return dict(yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader))  # noqa: S506 - `on` stays a word


def steps(document: dict[str, Any]) -> list[dict[str, Any]]:
    jobs = document["jobs"].values() if "jobs" in document else [document["runs"]]
    return [step for job in jobs for step in job["steps"]]


def checked(*command: str) -> None:
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_valid(path: Path) -> None:
    """By the schema that editors use for GitHub's workflows."""
    checked(
        sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)
    )


def test_the_action_is_valid() -> None:
    """By the schema of GitHub's actions."""
    checked(
        sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-actions", str(ACTION)
    )


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(path: Path) -> None:
    """By ShellCheck, which knows what a shell makes of a space."""
    checked(str(Path(sys.executable).parent / "shellcheck"), str(path))


@pytest.mark.parametrize("path", [*WORKFLOWS, ACTION], ids=lambda path: path.name)
def test_no_expression_stands_in_a_script(path: Path) -> None:
    """GitHub pastes an expression into the script, to be read by a shell; the environment is only data."""
    for step in steps(load(path)):
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("path", [*WORKFLOWS, ACTION], ids=lambda path: path.name)
def test_actions_are_pinned_by_major_version(path: Path) -> None:
    """No branch of somebody else's repository runs here."""
    for step in steps(load(path)):
        assert PINNED.fullmatch(step.get("uses", "./")), step


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_do_what_they_need_and_no_more(path: Path) -> None:
    """Contents are read; only the deployment of pages writes. Every job ends."""
    document = load(path)
    assert document["permissions"] == {"contents": "read"}
    for name, job in document["jobs"].items():
        assert "timeout-minutes" in job
        assert set(job.get("permissions", {})) <= ({"pages", "id-token"} if name == "deploy" else set())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_use_inputs_that_the_action_has(path: Path) -> None:
    """An unknown input is only a warning to GitHub, and a wrong run to us."""
    known = set(load(ACTION)["inputs"])
    for step in steps(load(path)):
        if step.get("uses") == "./":
            assert set(step["with"]) <= known


def test_the_script_gets_every_input_of_the_action() -> None:
    """Each goes to a step by the environment, but for those that steps of others take."""
    text = ACTION.read_text(encoding="utf-8")
    for name in load(ACTION)["inputs"]:
        assert f"${{{{ inputs.{name} }}}}" in text


# -- the script of the action, with a stand-in for the program ------------------------------------------

STAND_IN = """#!/usr/bin/env bash
printf '[%s]' "$@" >>"$LOG"; echo >>"$LOG"
while [ $# -gt 0 ]; do
    case $1 in
        -o) out=$2; shift ;;
        run | merge) command=$1 ;;
        report) command=report ;;
    esac
    shift
done
if [ "${REFUSE:-}" ]; then echo 'shard 2/2 is missing: `x` </pre>' >&2; exit 4; fi
mkdir -p "$(dirname "$out")"
case $command in
    report) [ -d "$out" ] || printf '# Summary\\n' >"$out"; echo "::error title=x::y" ;;
    *) mkdir -p "$out"; echo '{}' >"$out/run.jsonl"; exit "${CODE:-0}" ;;
esac
"""


@pytest.fixture
def script(tmp_path: Path) -> Any:
    """Return what runs `.ci/action conform` with inputs, and gives back calls, outputs and summary."""
    program = tmp_path / "bin" / "conformance"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)

    def go(**inputs: str) -> tuple[list[str], dict[str, str], str]:
        names = ("LOG", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")
        files = {name: tmp_path / name for name in names}
        for file in files.values():
            file.write_text("")
        path = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
        environment = path | {name: str(file) for name, file in files.items()} | inputs
        command = ["bash", str(ROOT / ".ci" / "action"), "conform"]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
        calls, said, summary = (file.read_text() for file in files.values())
        return calls.splitlines(), dict(line.split("=", 1) for line in said.splitlines()), summary

    return go


def test_a_run_is_reported_and_keeps_its_exit_code(script: Any) -> None:
    """Also one that ends with 1: the step goes on, and the verdict is an output."""
    calls, said, summary = script(BACKEND="torch, paddle", OP="a b", CODE="1")
    assert calls[0].startswith("[run][--backend][torch][--backend][paddle][--op][a][--op][b][--shard][1/1]")
    assert said["exit-code"] == "1"
    assert said["report"] == "conformance-report/index.html"
    assert said["keep"] == "conformance-report"
    assert summary == "# Summary\n"
    assert [call for call in calls if "[--format][annotations]" in call]


def test_a_shard_leaves_its_stream_and_no_report(script: Any) -> None:
    """The job that merges has the report."""
    calls, said, summary = script(BACKEND="torch", SHARD="2/4", ARTIFACT="stream-torch-2/4")
    assert len(calls) == 1
    assert said["keep"] == said["stream"] == "conformance-report/run.jsonl"
    assert said["artifact"] == "stream-torch-2-of-4"
    assert (said["report"], summary) == ("", "")


def test_no_input_is_a_command(script: Any, tmp_path: Path) -> None:
    """Spaces, quotes and substitutions arrive as they are."""
    wild = f'x"; touch {tmp_path}/pwned; $(touch {tmp_path}/pwned) `touch {tmp_path}/pwned` *'
    calls, _, _ = script(BACKEND="torch", KEYWORD=wild, CASES=wild, LEDGER=wild, OUT="a b/c")
    assert f"[-k][{wild}]" in calls[0]
    assert f"[--cases][{wild}][--ledger][{wild}]" in calls[0]
    assert "[-o][a b/c]" in calls[0]
    assert not (tmp_path / "pwned").exists()


def test_a_merge_finds_its_streams(script: Any, tmp_path: Path) -> None:
    """In any depth, with spaces in their names; an earlier run is compared if there is one."""
    for name in ("a 1", "b"):
        (tmp_path / "streams" / name).mkdir(parents=True)
        (tmp_path / "streams" / name / "run.jsonl").touch()
    (tmp_path / "last.json.gz").touch()
    calls, said, _ = script(MERGE="streams/**/run.jsonl", AGAINST="last.json.gz", SHARD="1/1")
    assert calls[0] == "[merge][streams/a 1/run.jsonl][streams/b/run.jsonl][-o][conformance-report]"
    assert sum("[--against][last.json.gz]" in call for call in calls) == 2
    assert said["exit-code"] == "0"
    calls, _, _ = script(MERGE="streams/**/run.jsonl", AGAINST="none.json.gz")
    assert not any("--against" in call for call in calls)


def test_a_refusal_is_in_the_summary(script: Any) -> None:
    """With what the program said, as code; and no report of an earlier run is taken for this one."""
    script(BACKEND="torch")
    calls, said, summary = script(BACKEND="torch", REFUSE="1")
    assert len(calls) == 1
    assert said["exit-code"] == "4"
    assert "stream" not in said
    assert summary == "# No verdict: there is no run to report\n\n    shard 2/2 is missing: `x` </pre>\n"
    _, said, summary = script(MERGE="none/*")
    assert said["exit-code"] == "4"
    assert "no stream matches none/*" in summary


def test_the_pages_are_built_from_the_published_report(tmp_path: Path) -> None:
    """A folder that a static host serves as it is: index, badges, the data, and no Jekyll."""
    write_folded(tmp_path / "report.json.gz", fold(rows(result(), wrong())))
    command = ["bash", str(ROOT / ".ci" / "pages"), "report.json.gz", str(tmp_path / "site")]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    for name in ("index.html", "badges/torch.svg", "badges/torch.json", "report.json.gz", ".nojekyll"):
        assert (tmp_path / "site" / name).exists(), name
