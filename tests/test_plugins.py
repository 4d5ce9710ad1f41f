"""Backends of other distributions: found by metadata, bound by their own files, told apart in streams."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance import plugins
from conformance.__main__ import main
from conformance.errors import InvalidFileError, UsageError
from conformance.index import names
from conformance.load import _adapter, load_suite, shipped_cases
from conformance.pool import backend_spec
from conformance.suite import binding_digests, file_digests, suite_digest

Captured = pytest.CaptureFixture[str]
SIGMOID = shipped_cases() / "activation" / "sigmoid.yaml"

ADAPTER = """
import platform

import numpy as np

from conformance.adapters.base import Adapter
from conformance.arrays import from_wire, to_wire
from conformance.types import Environment


class VendoredAdapter(Adapter):
    name = "vendored"
    distribution = "vendored"
    namespaces = ("vendored.ops",)

    def start(self):
        return Environment(self.name, self.distribution, "1.0", platform.python_version(), np.__version__)

    def tensor(self, array, *, grad):
        return from_wire(array).copy()

    def read(self, tensor):
        return to_wire(tensor)

    def pull_back(self, call, output, tensors, wanted, ct):
        x = tensors["input"].astype(np.longdouble)
        y = 1 / (1 + np.exp(-abs(x)))
        return [(from_wire(ct) * y * (np.exp(-abs(x)) * y)).astype(output.dtype)]

    def pull_back_twice(self, call, tensors, name, ct, direction):
        return None


class Unfinished(Adapter):
    name = "vendored"
    namespaces = ("vendored.ops",)


class Misnamed(VendoredAdapter):
    name = "other"


class NoAdapter:
    name = "vendored"
"""
OPS = """
import numpy as np


def sigmoid(x):
    return (1 / (1 + np.exp(-x.astype(np.longdouble)))).astype(x.dtype)


def wrong(x):
    return sigmoid(x) + np.asarray(0.125, x.dtype)
"""
BINDINGS = """\
op: sigmoid
apis:
  vendored.ops.sigmoid:
    doc: https://vendored.example/sigmoid
    call: {input: x}
"""
ENTRY = "vendored = vendored.adapter:VendoredAdapter"

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install distributions: a package `vendored`, and metadata that registers backends."""
    site = tmp_path / "site"

    def made(entry: str = ENTRY, bindings: str = BINDINGS, distribution: str = "vendored") -> Path:
        package = site / "vendored"
        (package / "bindings").mkdir(parents=True, exist_ok=True)
        for name, text in (("__init__.py", ""), ("adapter.py", ADAPTER), ("ops.py", OPS)):
            (package / name).write_text(text)
        (package / "bindings" / "sigmoid.yaml").write_text(bindings)
        metadata = site / f"{distribution}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[conformance.backends]\n{entry}\n")
        forget()
        return package

    monkeypatch.setenv("CONFORMANCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(site))  # a worker finds it as any interpreter does
    monkeypatch.syspath_prepend(str(site))
    yield made
    monkeypatch.undo()
    forget()


def forget() -> None:
    """Forget what was looked up or imported: another test installs something else."""
    plugins.registered.cache_clear()
    _adapter.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "vendored"]:
        del sys.modules[name]


def run(out: Path, *more: str) -> int:
    options = ["--backend", "vendored", "--cases", str(SIGMOID), "--no-site", "-o", str(out)]
    return main(["run", *options, *more])


def header(out: Path) -> dict[str, dict[str, str]]:
    with (out / "run.jsonl").open() as lines:
        head: dict[str, dict[str, str]] = json.loads(lines.readline())["suite"]
    return head


def test_an_installed_backend_is_run_by_its_name(install: Install, tmp_path: Path) -> None:
    """Its worker is asked, every check has a result, and the stream names the bindings by their bits."""
    install()
    assert run(tmp_path / "out", "-k", "basic") == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "run.jsonl").read_text().splitlines()]
    results = [row for row in rows if row["type"] == "result"]
    assert {row["api"] for row in results} == {"vendored.ops.sigmoid"}
    assert {"output", "grad.input"} <= {row["check"] for row in results}
    assert {row["status"] for row in results} == {"pass"}
    assert list(header(tmp_path / "out")["bindings"]) == ["vendored/sigmoid"]


def test_what_is_installed_is_said_and_changes_nothing(install: Install, capsys: Captured) -> None:
    """`list` and `run --help` name it without importing it; the suite is the same until it is asked for."""
    before = load_suite(ops=["sigmoid"])
    plain = names(SIGMOID)
    install()
    assert main(["list", "--cases", str(SIGMOID)]) == 0
    assert "backend vendored  vendored 1.0:" in capsys.readouterr().out
    assert main(["run", "--help"]) == 0
    assert "Also installed: vendored  vendored 1.0" in capsys.readouterr().out
    after = load_suite(ops=["sigmoid"])
    assert [op.digest for op in before] == [op.digest for op in after]
    assert names(SIGMOID) == plain
    assert "vendored" not in sys.modules


def test_list_and_check_know_it_when_asked(install: Install, capsys: Captured) -> None:
    """Its APIs stand beside ours, and its bindings are valid."""
    install()
    assert main(["list", "--backend", "vendored", "--cases", str(SIGMOID)]) == 0
    printed = capsys.readouterr().out
    assert "  vendored.ops.sigmoid" in printed
    assert "  torch.nn.functional.sigmoid" in printed
    assert main(["check", "--backend", "vendored", "--op", "sigmoid"]) == 0
    assert main(["check", "--backend", "nobody", "--op", "sigmoid"]) == 4


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (
            "torch = vendored.adapter:VendoredAdapter",
            "'torch' is built in, and vendored 1.0 registers it too",
        ),
        (
            "vendored = vendored.nowhere:Adapter",
            "vendored.nowhere:Adapter cannot be imported: ModuleNotFound",
        ),
        ("vendored = vendored.adapter:Nobody", "vendored.adapter:Nobody cannot be imported: AttributeError"),
        ("vendored = vendored.adapter:NoAdapter", "is no subclass of conformance.adapters.base.Adapter"),
        (
            "vendored = vendored.adapter:Unfinished",
            "does not define distribution, pull_back, pull_back_twice",
        ),
        ("vendored = vendored.adapter:Misnamed", "calls itself 'other'"),
        ("vendored = vendored.adapter", "a backend is a name of lower case, digits and underscores"),
    ],
)
def test_what_cannot_be_a_backend_is_said_in_a_line(install: Install, entry: str, says: str) -> None:
    """Which distribution, what is wrong, what to do; nothing is started."""
    install(entry)
    with pytest.raises(UsageError) as told:
        backend_spec(entry.partition(" ")[0])
    assert says in str(told.value)
    assert "vendored 1.0" in str(told.value)


def test_two_distributions_of_one_name_are_refused(install: Install) -> None:
    """Both are named."""
    install()
    install(distribution="another")
    with pytest.raises(UsageError, match=r"another 1\.0 and vendored 1\.0|vendored 1\.0 and another 1\.0"):
        backend_spec("vendored")


def test_a_collision_is_exit_4_on_the_command_line_and_under_pytest(
    install: Install, tmp_path: Path, capsys: Captured
) -> None:
    """A default run, which asks for nobody, is not troubled by it."""
    install("torch = vendored.adapter:VendoredAdapter")
    assert main(["run", "--backend", "torch", "-o", str(tmp_path / "out")]) == 4
    assert "uninstall that" in capsys.readouterr().err
    command = [sys.executable, "-m", "pytest", "--backend", "torch", "-q", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 4
    assert "'torch' is built in, and vendored 1.0 registers it too" in done.stderr


MALFORMED = {
    "a key that no binding has": (("call:", "calls:"), ":5:5: ", "unknown field 'calls'"),
    "an op of another name": (("op: sigmoid", "op: softmax"), ":1:1: ", "stands in sigmoid.yaml"),
    "outside the namespaces": (("vendored.ops.", "vendored."), ":3:3: ", "outside the public namespaces"),
    "another backend's": (
        ("vendored.ops.", "torch.nn.x"),
        ":3:3: ",
        "in no namespace of a backend (vendored)",
    ),
    "one of ours": (("vendored.ops.", "torch."), ":3:3: ", "'torch.sigmoid' is bound at "),
    "an argument that the op has not": (("{input: x}", "{inputs: x}"), ":5:5: ", "neither a tensor nor a"),
    "a claim about nothing": (
        ("op: sigmoid", "op: sigmoid\nclaims: {vendored.x: []}"),
        ":2:10: ",
        "not bind",
    ),
    "not YAML": (("{input: x}", "{input: x"), ":6:1: ", "not valid YAML"),
}


@pytest.mark.parametrize(("change", "place", "says"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_binding_is_placed(
    install: Install, capsys: Captured, change: tuple[str, str], place: str, says: str
) -> None:
    """One message with file, line and column, and exit 4, as for a case file."""
    file = install(bindings=BINDINGS.replace(*change)) / "bindings" / "sigmoid.yaml"
    assert main(["check", "--backend", "vendored", "--op", "sigmoid"]) == 4
    told = capsys.readouterr().err
    assert f"{file}{place}" in told
    assert says in told


def test_a_binding_of_no_op_and_no_bindings_at_all_are_said(install: Install) -> None:
    """A file that nothing would ever load is a mistake, and so is a backend that binds nothing."""
    package = install()
    (package / "bindings" / "sigmoyd.yaml").write_text(BINDINGS)
    with pytest.raises(InvalidFileError, match="the suite has no op 'sigmoyd'"):
        load_suite(ops=["sigmoid"], backends=["vendored"])
    for path in (package / "bindings").iterdir():
        path.unlink()
    (package / "bindings").rmdir()
    with pytest.raises(UsageError, match=r"'vendored' of vendored 1\.0 has no bindings"):
        load_suite(ops=["sigmoid"], backends=["vendored"])


def test_bindings_are_part_of_what_names_an_op_and_not_of_the_suite(install: Install) -> None:
    """Nothing kept of other bindings is taken up, while runs of the other backends still belong together."""
    plain = load_suite(ops=["sigmoid"])
    package = install()
    before = load_suite(ops=["sigmoid"], backends=["vendored"])
    (package / "bindings" / "sigmoid.yaml").write_text(BINDINGS + "# read again\n")
    after = load_suite(ops=["sigmoid"], backends=["vendored"])
    assert len({suite[0].digest for suite in (plain, before, after)}) == 3
    assert binding_digests(plain) == {}
    assert binding_digests(before) != binding_digests(after)
    assert suite_digest(plain) == suite_digest(before) == suite_digest(after)
    assert file_digests(plain) == file_digests(after)


def test_shards_of_different_bindings_are_not_merged(
    install: Install, tmp_path: Path, capsys: Captured
) -> None:
    """The message names the bindings; shards of the same ones make one run."""
    package = install()
    for shard in ("1/2", "2/2"):
        assert run(tmp_path / shard[0], "--shard", shard) == 0
    streams = [str(tmp_path / each / "run.jsonl") for each in "12"]
    assert main(["merge", *streams, "--cases", str(SIGMOID), "-o", str(tmp_path / "all")]) == 0
    assert header(tmp_path / "all")["bindings"] == header(tmp_path / "1")["bindings"]
    (package / "bindings" / "sigmoid.yaml").write_text(BINDINGS + "# changed\n")
    assert run(tmp_path / "2", "--shard", "2/2") == 0
    capsys.readouterr()
    assert main(["merge", *streams, "--cases", str(SIGMOID), "-o", str(tmp_path / "all")]) == 4
    assert "suite.bindings.vendored/sigmoid is" in capsys.readouterr().err


def test_a_wrong_backend_is_a_regression_and_without_a_dialect_that_is_said(
    install: Install, tmp_path: Path, capsys: Captured
) -> None:
    """Exit 1 without a ledger; page and command say why there is no script, and its own ledger is obeyed."""
    install(bindings=BINDINGS.replace("ops.sigmoid", "ops.wrong"))
    out = tmp_path / "out"
    assert main(["run", "--backend", "vendored", "--cases", str(SIGMOID), "-k", "basic", "-o", str(out)]) == 1
    pages = [page.read_text() for page in (out / "d").rglob("*.html")]
    assert pages
    assert all("has no repro scripts" in page for page in pages)
    capsys.readouterr()
    asked = ["repro", "sigmoid/basic[float32]", "vendored.ops.wrong", "--run", str(out / "run.jsonl")]
    assert main(asked) == 4
    assert "backend 'vendored' has no repro scripts" in capsys.readouterr().err
    assert main(["ledger", "update", str(out / "run.jsonl"), "--cases", str(SIGMOID)]) == 0
    proposed = capsys.readouterr().out.replace("TODO", "an eighth too much")
    (tmp_path / "known").mkdir()
    (tmp_path / "known" / "sigmoid.yaml").write_text(f"framework: vendored\n{proposed}")
    known = ["--ledger", str(tmp_path / "known")]
    assert main(["check", "--op", "sigmoid", *known]) == 0
    assert run(out, "-k", "basic", *known) == 0
