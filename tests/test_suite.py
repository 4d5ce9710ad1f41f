"""What names a suite, and the parts that it can be run in."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance import cli_run
from conformance.__main__ import main
from conformance.cli_app import chosen
from conformance.errors import Exit
from conformance.load import Operator, load_suite, shipped_cases
from conformance.pool import backend_spec
from conformance.run import Selection, in_shard
from conformance.stream import read_stream
from conformance.suite import suite_commit, suite_digest

HUBER = shipped_cases() / "loss" / "huber_loss.yaml"


def test_the_shards_part_the_cases() -> None:
    """Every case is in exactly one of n shards, and none is empty."""
    (op,) = load_suite(None, ["huber_loss"])
    for n in (1, 2, 3, 7):
        places = [[i for i in range(1, n + 1) if in_shard(case.id, (i, n))] for case in op.cases]
        assert all(len(each) == 1 for each in places)
        assert {each[0] for each in places} == set(range(1, n + 1))


def test_a_case_is_in_the_same_shard_on_every_machine() -> None:
    """By a hash that is no secret of one process: streams of different machines have to fit."""
    assert [in_shard("multi_margin_loss/basic[float32,none]", (i, 4)) for i in (1, 2, 3, 4)].index(True) == 1


def test_a_part_of_the_cases_makes_no_entry_stale() -> None:
    """What an entry speaks of may be in another shard."""
    whole = Selection((backend_spec("torch"),))
    assert whole.whole
    assert not replace(whole, shard=(1, 2)).whole


def test_a_shard_without_a_site_loads_its_cases_only_and_writes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a site, which shows each op with all its cases, the whole suite is loaded; the stream is one."""
    loaded = []

    def noted(*arguments: Any) -> list[Operator]:
        (op,) = chosen(*arguments)
        loaded.append((len(op.cases), len(op.ids)))
        return [op]

    monkeypatch.setattr(cli_run, "chosen", noted)
    run = ["run", "--backend", "torch", "--cases", str(HUBER), "--shard", "2/3", "-k", "none", "-o"]
    for more in ("--site", "--no-site"):
        assert main([*run, str(tmp_path / more), more]) == Exit.OK
    (whole, ids), (part, same) = loaded
    assert part < whole == ids == same
    one, other = (list(read_stream(tmp_path / each / "run.jsonl")) for each in ("--site", "--no-site"))
    assert one[1:] == other[1:]


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_that_is_none_is_a_usage_error(capsys: pytest.CaptureFixture[str], shard: str) -> None:
    """One message that says the form."""
    assert main(["run", "--backend", "torch", "--op", "huber_loss", f"--shard={shard}"]) == Exit.USAGE
    assert "--shard takes I/N" in capsys.readouterr().err


def test_the_digest_of_a_suite_follows_its_files(tmp_path: Path) -> None:
    """Another case file is another suite; the same one elsewhere is the same."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copy(HUBER, tmp_path / name)
    same = suite_digest(load_suite(tmp_path / "a"))
    assert same == suite_digest(load_suite(tmp_path / "b"))
    changed = tmp_path / "b" / HUBER.name
    changed.write_text(changed.read_text(encoding="utf-8") + "# more\n", encoding="utf-8")
    assert same != suite_digest(load_suite(tmp_path / "b"))


def test_the_commit_is_that_of_this_checkout() -> None:
    """With what is not committed said; nothing where there is no checkout."""
    said = suite_commit()
    if not (Path(__file__).parent.parent / ".git").exists():
        assert said == ""
        return
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    assert head.startswith(said.removesuffix("-dirty"))
    assert len(said.removesuffix("-dirty")) == 12
