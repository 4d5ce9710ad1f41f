"""run.jsonl: nothing finished is lost, the same run gives the same bytes, and a reader is strict."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.errors import Exit, InvalidFileError
from conformance.stream import StreamWriter, jsonable, read_stream

RUN: dict[str, Any] = {"type": "run", "schema": "conformance/1.0"}
RESULT: dict[str, Any] = {"type": "result", "case": "op/a[float32]", "op": "op", "api": "torch.nn.A"}
RESULT |= {"backend": "torch", "check": "output", "status": "pass"}
END: dict[str, Any] = {"type": "end", "complete": True}


def write(path: Path, *lines: Any) -> Path:
    """Write rows, or text as it stands, one a line."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def refusal(path: Path, *, partial: bool = False) -> InvalidFileError:
    """Return the error that reading ends with."""
    with pytest.raises(InvalidFileError) as caught:
        list(read_stream(path, partial=partial))
    assert caught.value.exit_code == Exit.USAGE
    return caught.value


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A finished stream is read back as it was written, and nothing else is left in the folder."""
    writer = StreamWriter(tmp_path / "deep" / "run.jsonl")
    for place, row in enumerate((RUN, RESULT, END)):
        writer.write(row, (place,))
    writer.finish()
    assert list(read_stream(tmp_path / "deep" / "run.jsonl")) == [RUN, RESULT, END]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["run.jsonl"]


def test_results_are_on_disk_at_once(tmp_path: Path) -> None:
    """Each row is in the partial file when `flush` returns, before the run is finished or abandoned."""
    writer = StreamWriter(tmp_path / "run.jsonl")
    writer.write(RUN, (0,))
    writer.write(RESULT, (2, 1, 0))
    writer.flush()
    assert list(read_stream(tmp_path / "run.jsonl.part", partial=True)) == [RUN, RESULT]
    assert not (tmp_path / "run.jsonl").exists()
    writer.abandon()


def test_an_abandoned_run_keeps_its_results_and_the_old_stream(tmp_path: Path) -> None:
    """A run that dies leaves its rows under the partial name and an earlier run.jsonl as it was."""
    write(tmp_path / "run.jsonl", RUN, END)
    writer = StreamWriter(tmp_path / "run.jsonl")
    writer.write(RUN, (0,))
    writer.write(RESULT, (2,))
    partial = writer.abandon()
    assert partial == tmp_path / "run.jsonl.part"
    assert list(read_stream(partial, partial=True)) == [RUN, RESULT]
    assert list(read_stream(tmp_path / "run.jsonl")) == [RUN, END]
    assert "did not finish" in refusal(partial).what


@given(order=st.permutations(range(12)))
def test_the_order_of_answers_does_not_show(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    """However the answers came in, the finished stream has the same bytes, in canonical order."""
    folder = tmp_path_factory.mktemp("stream")
    rows = [({"type": "result", "number": n, "text": "é" * n}, (2, n // 3, n % 3)) for n in range(12)]
    for name, sequence in (("given", order), ("straight", list(range(12)))):
        writer = StreamWriter(folder / f"{name}.jsonl")
        for n in sequence:
            writer.write(*rows[n])
        writer.finish()
    straight = (folder / "straight.jsonl").read_bytes()
    assert (folder / "given.jsonl").read_bytes() == straight
    assert [json.loads(line)["number"] for line in straight.splitlines()] == list(range(12))


def test_order_is_by_number_not_by_text(tmp_path: Path) -> None:
    """Request 10 comes after request 9, and rows of one place stay in the order they were written."""
    writer = StreamWriter(tmp_path / "run.jsonl")
    for number in (10, 9, 2):
        writer.write({"type": "result", "number": number}, (2, number, 0))
    writer.write({"type": "result", "number": 9.5}, (2, 9, 0))
    writer.finish()
    lines = (tmp_path / "run.jsonl").read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [2, 9, 9.5, 10]


def test_numbers_that_json_lacks_are_strings(tmp_path: Path) -> None:
    """NaN and the infinities are written as strings, at any depth, and every line is strict JSON."""
    writer = StreamWriter(tmp_path / "run.jsonl")
    values = [float("nan"), float("inf"), float("-inf"), -0.0, 1e308]
    writer.write({"type": "x", "flat": values[0], "deep": {"list": values, "pair": (1, values[1])}}, (0,))
    writer.finish()
    row = json.loads((tmp_path / "run.jsonl").read_text(), parse_constant=pytest.fail)
    assert row["flat"] == "NaN"
    assert row["deep"] == {"list": ["NaN", "Infinity", "-Infinity", -0.0, 1e308], "pair": [1, "Infinity"]}


def test_jsonable_leaves_the_rest_alone() -> None:
    """Strings, integers, booleans and None stay; keys become strings."""
    assert jsonable({1: [True, None, "NaN", 3]}) == {"1": [True, None, "NaN", 3]}


@pytest.mark.parametrize(
    "rows",
    [
        (),
        (RUN,),
        (RUN, RESULT),
        (RUN, RESULT, {"type": "end", "complete": False}),
        (RUN, END, RESULT),
        (RUN, {"type": "end"}),
    ],
)
def test_a_stream_without_its_end_is_refused(tmp_path: Path, rows: tuple[Any, ...]) -> None:
    """No `end`, one that is not complete, or rows after it: refused, unless asked for what there is."""
    path = write(tmp_path / "run.jsonl", *rows)
    error = refusal(path)
    assert "did not finish" in error.what
    assert error.remedy == "run it again"
    assert list(read_stream(path, partial=True)) == list(rows)


@pytest.mark.parametrize("schema", ["conformance/2.0", "conformance/10.0", "bowtie/1.0", "", None])
def test_an_unknown_major_is_refused(tmp_path: Path, schema: str | None) -> None:
    """A schema of another name or major version is refused, also in part."""
    path = write(tmp_path / "run.jsonl", RUN | {"schema": schema}, END)
    for partial in (False, True):
        error = refusal(path, partial=partial)
        assert error.where == f"{path}:1:1"
        assert "this reader knows conformance/1.x" in error.what


def test_an_unknown_minor_and_unknown_keys_are_read(tmp_path: Path) -> None:
    """A later minor version, keys and types that we do not know are passed on."""
    rows = [RUN | {"schema": "conformance/1.7", "more": 1}, {"type": "weather"}, END]
    assert list(read_stream(write(tmp_path / "run.jsonl", *rows))) == rows


def test_the_first_line_is_the_run(tmp_path: Path) -> None:
    """A stream that begins with something else is none."""
    assert "schema" in refusal(write(tmp_path / "run.jsonl", RESULT, END)).what


@pytest.mark.parametrize("garbage", ["{", "nonsense", "", '{"type": "result"} x', "\x00"])
def test_garbage_is_placed(tmp_path: Path, garbage: str) -> None:
    """A line that is not JSON is refused with its number, also where a partial stream is welcome."""
    path = write(tmp_path / "run.jsonl", RUN, RESULT, garbage, END)
    for partial in (False, True):
        error = refusal(path, partial=partial)
        assert error.where == f"{path}:3:1"
        assert error.what.startswith("not JSON")


def test_bytes_that_are_no_text_are_garbage(tmp_path: Path) -> None:
    """A line that is not UTF-8 is refused like any other garbage."""
    path = tmp_path / "run.jsonl"
    path.write_bytes(json.dumps(RUN).encode() + b'\n{"type": "\xff"}\n')
    assert refusal(path).where == f"{path}:2:1"


@pytest.mark.parametrize("line", ["[1, 2]", "3", "null", '"text"', '{"case": "x"}'])
def test_a_line_is_an_object_with_a_type(tmp_path: Path, line: str) -> None:
    """JSON that is not an object with a `type` is refused with its line."""
    error = refusal(write(tmp_path / "run.jsonl", RUN, line, END))
    assert error.where.endswith("run.jsonl:2:1")
    assert error.what == "not an object with a `type`"


def test_a_truncated_last_line_is_tolerated_in_part(tmp_path: Path) -> None:
    """The line that was being written when a run died is left out; the finished rows are all read."""
    path = tmp_path / "run.jsonl"
    path.write_text(f'{json.dumps(RUN)}\n{json.dumps(RESULT)}\n{{"type": "res')
    assert list(read_stream(path, partial=True)) == [RUN, RESULT]
    assert refusal(path).where == f"{path}:3:1"


def test_a_missing_stream_is_a_message(tmp_path: Path) -> None:
    """A stream that is not there is the user's error, with the system's reason."""
    assert refusal(tmp_path / "none.jsonl").what == "cannot be read: No such file or directory"
