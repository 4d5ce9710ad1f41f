"""Killed at any moment and resumed, a run leaves what an undisturbed one does; and one folder has one run."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conformance.__main__ import main
from conformance.backends import PLAIN, Variant
from conformance.errors import Exit, InvalidFileError
from conformance.ledger import Ledger
from conformance.load import load_operator
from conformance.lock import claimed
from conformance.pool import BackendSpec
from conformance.resume import Earlier
from conformance.run import Selection, run

HERE = Path(__file__).parent
KILLS = 50

# A slow miniature: with some milliseconds a case there is a moment to be killed at.
PROGRAM = """
import sys
from pathlib import Path
from conformance.adapters import BACKENDS
from conformance.ledger import Ledger
from conformance.load import load_operator
from conformance.pool import BackendSpec
from conformance.run import Selection, run
here, out, resume = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
BACKENDS["miniature"] = "miniatures:Honest"
suite = [load_operator(here / "data" / "miniature.yaml")]
spec = BackendSpec("miniature", "miniatures:Honest", paths=(str(here),))
print("ready", flush=True)
run(suite, Selection((spec,)), Ledger({}), out, argv=["run"], resume=Path(resume[0]) if resume else None)
"""


def start(out: Path) -> "subprocess.Popen[bytes]":
    parts = [path for path in (out / "run.jsonl.part", out / "run.jsonl.resumed") if path.exists()]
    resume = [str(out / "run.jsonl.part")] if parts else []
    command = [sys.executable, "-c", PROGRAM, str(HERE), str(out), *resume]
    environ = {**os.environ, "PYTHONPATH": str(HERE)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ)


def finished(out: Path) -> bytes:
    process = start(out)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    return (out / "run.jsonl").read_bytes()


def test_killed_at_fifty_moments_a_run_is_the_run(tmp_path: Path) -> None:
    """SIGKILL between any two instructions: nothing settled is lost, and the bytes are equal."""
    began = time.monotonic()
    undisturbed = finished(tmp_path / "whole")
    length = time.monotonic() - began
    draw, kills = random.Random(7), 0  # noqa: S311 - moments, not secrets
    out = tmp_path / "killed"
    while kills < KILLS:
        process = start(out)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(draw.uniform(0, length * 0.6))
        if process.poll() is not None:  # it was faster: begin another one
            assert process.returncode == 0, process.communicate()[1].decode()
            assert (out / "run.jsonl").read_bytes() == undisturbed
            (out / "run.jsonl").unlink()
            continue
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    assert finished(out) == undisturbed
    assert [path.name for path in out.iterdir()] == ["run.jsonl"]


def partial_stream(folder: Path, settled: int) -> Path:
    """Cut an honest run as a kill after so many settled pairs would have, in the middle of a line."""
    program_out = folder / "whole"
    finished(program_out)
    rows = [msgspec.json.decode(line) for line in (program_out / "run.jsonl").read_bytes().splitlines()]
    pairs = list(dict.fromkeys((r["case"], r["api"]) for r in rows if r["type"] == "result"))[:settled]
    kept = [r for r in rows if r["type"] in ("run", "backend") or (r.get("case"), r.get("api")) in pairs]
    kept += [{"type": "settled", "case": case, "api": api} for case, api in pairs]
    part = folder / "cut" / "run.jsonl.part"
    part.parent.mkdir()
    part.write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in kept) + b'{"type":"result","case":"to')
    return part


def resumed(part: Path, variant: Variant = PLAIN, **changes: Any) -> Path:
    suite = [load_operator(HERE / "data" / "miniature.yaml")]
    spec = BackendSpec("miniature", "miniatures:Honest", paths=(str(HERE),), variant=variant)
    selection = Selection((spec,), **changes)
    run(suite, selection, Ledger({}), part.parent, argv=["run"], resume=part)
    return part.parent / "run.jsonl"


def test_what_is_settled_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result of the first part stands in the whole as it was written, even if it would differ today."""
    from conformance.adapters import BACKENDS  # noqa: PLC0415 - only here

    monkeypatch.setitem(BACKENDS, "miniature", "miniatures:Honest")
    monkeypatch.syspath_prepend(HERE)
    part = partial_stream(tmp_path, 3)
    part.write_bytes(part.read_bytes().replace(b'"message":""', b'"message":"of the first part"'))
    lines = resumed(part).read_bytes().splitlines()
    results = [msgspec.json.decode(line) for line in lines if b'"type":"result"' in line]
    first = {(r["case"], r["api"]) for r in results if r["message"] == "of the first part"}
    assert len(first) == 3
    assert len({(r["case"], r["api"]) for r in results}) > 3
    assert not part.exists()


def test_a_pair_that_was_cut_in_the_middle_is_asked_anew_and_stands_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows without the note that they are all there are dropped: kept, they would stand twice."""
    from conformance.adapters import BACKENDS  # noqa: PLC0415 - only here

    monkeypatch.setitem(BACKENDS, "miniature", "miniatures:Honest")
    monkeypatch.syspath_prepend(HERE)
    part = partial_stream(tmp_path, 3)
    lines = part.read_bytes().splitlines(keepends=True)
    notes = [line for line in lines if b'"settled"' in line]
    part.write_bytes(b"".join(line for line in lines if line != notes[-1]))
    assert resumed(part).read_bytes() == (tmp_path / "whole" / "run.jsonl").read_bytes()


def test_another_selection_is_refused_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of one run and half of another are no run."""
    from conformance.adapters import BACKENDS  # noqa: PLC0415 - only here

    monkeypatch.setitem(BACKENDS, "miniature", "miniatures:Honest")
    monkeypatch.syspath_prepend(HERE)
    part = partial_stream(tmp_path, 3)
    with pytest.raises(InvalidFileError, match="cannot be resumed: selection was"):
        resumed(part, keyword="plain")
    with pytest.raises(InvalidFileError, match=r"backends was \['miniature'\] and is \['miniature:graph'\]"):
        resumed(part, Variant("graph"))
    assert resumed(part).exists()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"kind":"",', "", "a result without `kind`"),
        ('"check":"output"', '"check":"outputs"', "the check 'outputs' stands where 'output' has to"),
        ('{"type":"settled","case":"', '{"type":"settled","case":"x', "is not asked about 'x"),
    ],
)
def test_what_no_run_wrote_is_refused_and_nothing_is_lost(
    old: str, new: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same suite, selection and versions, and changed since; `tests/corpus/parts.txt` has more."""
    from conformance.adapters import BACKENDS  # noqa: PLC0415 - only here

    monkeypatch.setitem(BACKENDS, "miniature", "miniatures:Honest")
    monkeypatch.syspath_prepend(HERE)
    part = partial_stream(tmp_path, 3)
    whole = part.read_text()
    assert old in whole
    part.write_text(whole.replace(old, new, 1))
    with pytest.raises(InvalidFileError, match=rf"run\.jsonl\.resumed:\d+:1: cannot be resumed: .*{says}"):
        resumed(part)
    aside = part.with_name("run.jsonl.resumed")
    assert aside.read_text() == whole.replace(old, new, 1)
    aside.write_text(whole)
    assert resumed(part).read_bytes() == (tmp_path / "whole" / "run.jsonl").read_bytes()


def test_a_finished_run_and_no_run_cannot_be_resumed(tmp_path: Path) -> None:
    """One message each."""
    (tmp_path / "run.jsonl").write_text("{}")
    with pytest.raises(InvalidFileError, match="this run finished"):
        Earlier.of(tmp_path / "run.jsonl", tmp_path / "run.jsonl")
    with pytest.raises(InvalidFileError, match="there is no such run"):
        Earlier.of(tmp_path / "other.jsonl", tmp_path / "run.jsonl")
    (tmp_path / "run.jsonl.part").write_bytes(b"")
    assert Earlier.of(tmp_path / "run.jsonl.part", tmp_path / "run.jsonl") is None  # killed before it began


def test_a_second_run_into_the_same_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would write into the first one's stream; once that is over, or dead, the folder is free."""
    arguments = ["run", "--backend", "torch", "--op", "huber_loss", "-k", "printed", "--no-site"]
    with claimed(tmp_path):
        program = "import sys; from conformance.__main__ import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", program, *arguments, "-o", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == Exit.USAGE
        assert f"another run is writing to {tmp_path}" in done.stderr
    assert main([*arguments, "-o", str(tmp_path)]) == Exit.OK
    capsys.readouterr()
