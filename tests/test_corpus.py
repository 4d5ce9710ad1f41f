"""Malformed files: each ends in one message with its place and exit 4, soon, and executes nothing."""

import gzip
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conformance.__main__ import main
from conformance.documents import LOCK, read_lock
from conformance.errors import Exit, InvalidFileError
from conformance.fold import encode, fold, read_run, write_folded
from conformance.stream import read_stream
from tests.corpus.large import CASES, STREAMS
from tests.corpus.read import HERE, Bad, corpus
from tests.fuzz.resumed import PART, resume
from tests.fuzz.rules import LOADERS

SECONDS = 10.0
"""Far above what any takes (2 s), for a machine that is busy with something else."""
GIGABYTE = 1 << 30


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one message that the command line ends with."""
    began = time.monotonic()
    code = main(arguments)
    said = capsys.readouterr()
    assert (code, said.out) == (Exit.USAGE, "")
    assert time.monotonic() - began < SECONDS
    assert said.err.startswith("conformance: ")
    assert "Traceback" not in said.err
    assert all(character.isprintable() or character == "\n" for character in said.err)
    return said.err.removeprefix("conformance: ")


def small(found: list[Bad]) -> pytest.MarkDecorator:
    """Make a parameter of each record."""
    return pytest.mark.parametrize("bad", found, ids=[bad.name for bad in found])


def large(found: dict[str, tuple[bytes, str, str]]) -> pytest.MarkDecorator:
    """Make a parameter of each file that is made."""
    return pytest.mark.parametrize(("data", "where", "says"), found.values(), ids=found)


@pytest.fixture
def check(tmp_path: Path) -> list[str]:
    """Return the arguments that check a folder's `x.yaml` against an empty ledger."""
    (tmp_path / "none").mkdir()
    return ["check", "--cases", str(tmp_path / "x.yaml"), "--ledger", str(tmp_path / "none")]


def test_the_files_that_are_changed_are_valid(tmp_path: Path) -> None:
    """What the corpus changes is valid, so that each refusal is due to the change."""
    (tmp_path / "ledger.yaml").write_bytes((HERE / "ledger.yaml").read_bytes())
    assert main(["check", "--cases", str(HERE / "valid.yaml"), "--ledger", str(tmp_path)]) == Exit.OK
    assert len(list(read_stream(HERE / "run.jsonl"))) == 7
    assert encode(fold(read_stream(HERE / "run.jsonl"))) == (HERE / "report.json").read_bytes()
    assert len(list(read_run(HERE / "report.json"))) == 7
    assert len(read_lock(HERE)) == 2
    (tmp_path / PART.name).write_bytes(PART.read_bytes())
    (tmp_path / PART.name).rename(tmp_path / "run.jsonl.part")
    resume(tmp_path / "run.jsonl.part")


def test_the_corpus_is_large() -> None:
    """There are more than the two hundred that were asked for."""
    names = [("cases.txt", "valid.yaml"), ("ledgers.txt", "ledger.yaml"), ("streams.txt", "run.jsonl")]
    assert sum(len(corpus(*each)) for each in names) + len(CASES) + len(STREAMS) > 500


@small(corpus("cases.txt", "valid.yaml"))
def test_case_file(bad: Bad, check: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.yaml").write_text(bad.text, encoding="utf-8")
    assert complaint(check, capsys).startswith(f"{tmp_path / 'x.yaml'}:{bad.where}: {bad.says}")


@large(CASES)
def test_large_case_file(
    data: bytes, where: str, says: str, check: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.yaml").write_bytes(data)
    said = complaint(check, capsys)
    assert said.startswith(f"{tmp_path / 'x.yaml'}:{where}")
    assert says in said


@small(corpus("ledgers.txt", "ledger.yaml"))
def test_ledger(bad: Bad, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.yaml").write_text(bad.text, encoding="utf-8")
    said = complaint(["check", "--cases", str(HERE / "valid.yaml"), "--ledger", str(tmp_path)], capsys)
    assert said.startswith(f"{tmp_path / 'x.yaml'}:{bad.where}: {bad.says}")


@small(corpus("streams.txt", "run.jsonl"))
def test_stream(bad: Bad, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(bad.text, encoding="utf-8")
    said = complaint(["compare", str(path), str(HERE / "run.jsonl")], capsys)
    assert said.startswith(f"{path}:{bad.where}: {bad.says}")


@small(corpus("reports.txt", "report.json"))
def test_report(bad: Bad, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    path.write_text(bad.text, encoding="utf-8")
    with pytest.raises(InvalidFileError) as caught:
        list(read_run(path))
    assert str(caught.value).startswith(f"{path}:{bad.where}: {bad.says}")
    if "did not finish" not in bad.says:  # half a run is compared too
        said = complaint(["compare", str(path), str(HERE / "run.jsonl")], capsys)
        assert said == f"{caught.value}\n"


@small(corpus("documents.txt", LOCK))
def test_documents(bad: Bad, tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(bad.text, encoding="utf-8")
    with pytest.raises(InvalidFileError) as caught:
        read_lock(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / LOCK}:{bad.where}: {bad.says}\n  mend it")


@small(corpus("parts.txt", PART.name))
def test_part(bad: Bad, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl.part"
    path.write_text(bad.text, encoding="utf-8")
    with pytest.raises(InvalidFileError) as caught:
        resume(path)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'again.jsonl.resumed'}:{bad.where}: {bad.says}")
    assert all(character.isprintable() or character == "\n" for character in said)


@pytest.mark.parametrize(
    ("loader", "valid", "old", "new"),
    [
        ("op", "valid.yaml", "kind: floating", "kind: LONG"),
        ("op", "valid.yaml", "summary: ", "summary: !LONG "),
        ("ledger", "ledger.yaml", "framework: torch", "framework: LONG"),
        ("stream", "run.jsonl", '"status":"fail"', '"status":"LONG"'),
        ("report", "report.json", '"status":"fail"', '"status":"LONG"'),
        ("documents", "documents.json", '"version": ', '"version": !LONG '),
        ("partial", "part.jsonl", '"version":"2.13.0"', '"version":"LONG"'),
    ],
)
def test_a_long_value_gives_a_short_message(
    loader: str, valid: str, old: str, new: str, tmp_path: Path
) -> None:
    """What is wrong, where, and what to do is read; the million characters between are not."""
    path, text = tmp_path / LOADERS[loader].name, (HERE / valid).read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new.replace("LONG", "x" * 1_000_000), 1), encoding="utf-8")
    with pytest.raises(InvalidFileError) as caught:
        LOADERS[loader].load(path)
    said = str(caught.value)
    assert re.match(re.escape(str(tmp_path)) + r"/[^:]+:[1-9]\d*:[1-9]\d*: \S", said)
    assert len(said) < 1_200 + len(str(path))
    assert " more characters) … " in said


@large(STREAMS)
def test_large_stream(data: bytes, where: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(data)
    with pytest.raises(InvalidFileError) as caught:
        list(read_stream(path))
    assert caught.value.where == f"{path}:{where}"
    assert says in caught.value.what


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'conformance-report/1.0"', b'conformance-report/2.0"'),
        (b'"results":{', b'"results":[],"x":{'),
        (b'"status":"fail"', b'"status":"failed"'),
        (b'"compared":4', b'"compared":"4"'),
        (b'"apis":{"torch', b'"apis":[],"x":{"torch'),
        (b'"backends":[', b'"backends":1,"x":['),
        (b'"max_rel":1.0', b'"max_rel":NaN'),
        (b'"end":{', b'"end":[],"x":{'),
        (b'"claims":[', b'"claims":{},"x":['),
        (b'"family":"loss"', b'"family":1'),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_folded_report(
    old: bytes, new: bytes, packed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    write_folded(path, fold(read_stream(HERE / "run.jsonl")))
    whole = path.read_bytes()
    assert old in whole
    data = whole.replace(old, new, 1)
    path.write_bytes(gzip.compress(data) if packed else data)
    assert complaint(["compare", str(path), str(HERE / "run.jsonl")], capsys).startswith(f"{path}")


@pytest.mark.parametrize("kept", [1, 2, 3, 10, 17, 100, 500, -9, -8, -1])
def test_torn_folded_report(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "report.json.gz"
    write_folded(path, fold(read_stream(HERE / "run.jsonl")))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InvalidFileError, match=r"report\.json\.gz"):
        list(read_run(path))


def test_a_device_is_not_read(check: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A case file that never ends is not begun."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x.yaml").symlink_to("/dev/zero")
    check[2] = str(tmp_path / "folder")
    assert "not a file" in complaint(check, capsys)


def test_nothing_takes_more_than_a_gigabyte(tmp_path: Path) -> None:
    """The files that would become large fit into a gigabyte beside the interpreter and its libraries."""
    (tmp_path / "none").mkdir()
    for place, (data, _, _) in enumerate(CASES.values()):
        (tmp_path / f"{place}.yaml").write_bytes(data)
    code = (
        "import sys; from conformance.__main__ import main\n"
        f"rest = ['--ledger', '{tmp_path}/none']\n"
        f"check = lambda n: main(['check', '--cases', f'{tmp_path}/{{n}}.yaml', *rest])\n"
        f"sys.exit(max(abs(check(n) - 4) for n in range({len(CASES)})))"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (GIGABYTE, GIGABYTE))

    command = [sys.executable, "-c", code]
    subprocess.run(command, check=True, preexec_fn=limit, capture_output=True)


def test_nothing_was_executed() -> None:
    """The commands in the corpus would leave this file."""
    assert not Path("/tmp/corpus-executed").exists()  # noqa: S108 - the name that stands in the corpus
