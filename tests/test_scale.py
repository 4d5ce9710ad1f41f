"""How a run grows, in small: what `make scale` measures to a million cases. Counts and memory, never time."""

from pathlib import Path

import pytest

from conformance.load import load_suite
from conformance.stream import read_stream
from tests.scale.__main__ import SHARD, figures, measure
from tests.scale.child import Took
from tests.scale.suites import BACKENDS, CASES, write

FEW, MANY = 500, 6500


Measured = dict[int, dict[str, Took]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the measured runs are, by their number of cases."""
    return tmp_path_factory.mktemp("scale")


@pytest.fixture(scope="module")
def taken(folder: Path) -> Measured:
    """Measure two sizes, each stage in a process of its own; the work is real, the workers are miniatures."""
    return {cases: measure(cases, folder / str(cases)) for cases in (FEW, MANY)}


def each(taken: Measured, stage: str) -> float:
    """Return the bytes of memory that each case more takes in a stage."""
    return (taken[MANY][stage].peak - taken[FEW][stage].peak) / (MANY - FEW)


def test_every_call_of_every_case_is_made_and_judged(taken: Measured) -> None:
    """One for each backend; and a shard has its part, about a 64th."""
    for cases in (FEW, MANY):
        assert taken[cases]["run"].calls == len(BACKENDS) * cases
    part = taken[MANY]["run {}/{}".format(*SHARD)].calls
    assert 0.6 < part * SHARD[1] / taken[MANY]["run"].calls < 1.6
    assert taken[MANY]["compare"].calls == 2 * len(BACKENDS) * MANY  # rows: output and gradient


def test_memory_grows_with_what_is_run(taken: Measured) -> None:
    """Of what another shard runs the ids are held, and of what is merged no row."""
    shard = "{}/{}".format(*SHARD)
    assert each(taken, f"load {shard}") < each(taken, "load") / 2
    assert each(taken, f"run {shard}") < each(taken, "run") / 2
    assert each(taken, "merge") < taken[MANY]["run"].size / MANY / 4


def test_a_generated_suite_is_one_of_ours(tmp_path: Path) -> None:
    """As many cases as were asked for, in files that hold no more than is usual, each with its ids."""
    names = write(tmp_path, CASES + 10)
    suite = load_suite(tmp_path)
    assert [op.name for op in suite] == names
    assert [len(op.cases) for op in suite] == [CASES, 10]
    assert {api.backend for op in suite for api in op.apis} == set(BACKENDS)


def test_the_table_says_how_each_stage_grows() -> None:
    """Ten times the cases in ten times the time is the power 1."""
    results = {("run", 10): Took(1.0, 1000), ("run", 100): Took(10.0, 91_000)}
    said = {figure.name: figure.value for figure in figures(results)}
    assert said["10 to 100: time grows with the power"] == pytest.approx(1)
    assert said["10 to 100: memory for each"] == 1000
    assert said["100: processor"] == 10


def test_what_a_miniature_run_writes_is_a_stream(taken: Measured, folder: Path) -> None:
    """Complete, every check passed, and every claim confirmed; merged it is the same."""
    assert taken
    one, merged = (list(read_stream(folder / str(FEW) / each / "run.jsonl")) for each in ("run", "merge"))
    assert one[-1]["counts"] == {"pass": FEW * len(BACKENDS) * 2}
    assert one[-1]["claims"] == {"confirmed": 1}
    assert [row for row in one if row["type"] != "run"] == [row for row in merged if row["type"] != "run"]
