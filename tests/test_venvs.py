"""Environments: made by pip for real, seen to work, whole or not there."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import plugins
from conformance.__main__ import main
from conformance.errors import Exit, HarnessError
from conformance.load import _adapter, shipped_cases
from conformance.requirements import Wanted
from conformance.venvs import _started

Captured = pytest.CaptureFixture[str]
SIGMOID = shipped_cases() / "activation" / "sigmoid.yaml"

ADAPTER = """
import platform
from importlib import import_module
from importlib.metadata import version

import numpy as np

from conformance.adapters.base import Adapter
from conformance.arrays import from_wire, to_wire
from conformance.types import Environment


class VendoredAdapter(Adapter):
    name = "vendored"
    distribution = "vendored-framework"
    namespaces = ("vendored",)

    def start(self):
        import_module("vendored")
        number = version("vendored-framework")
        return Environment(self.name, self.distribution, number, platform.python_version(), np.__version__)

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
"""
BINDINGS = (
    "op: sigmoid\napis:\n  vendored.sigmoid:\n    doc: https://v.example/sigmoid\n    call: {input: x}\n"
)
GOOD = """
import numpy as np


def sigmoid(x):
    return (1 / (1 + np.exp(-x.astype(np.longdouble)))).astype(x.dtype)
"""
BROKEN = "raise ImportError('libvendored.so: cannot open shared object file')\n"


def wheel(folder: Path, name: str, version: str, files: dict[str, str], metadata: str = "") -> Path:
    """Write a wheel, as small as one can be."""
    about = f"{name.replace('-', '_')}-{version}.dist-info"
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    files |= {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as packed:
        for inside, text in files.items():
            packed.writestr(inside, text)
        packed.writestr(f"{about}/RECORD", "".join(f"{inside},,\n" for inside in files))
    return path


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Build two versions of a framework, and its adapter, which is installed here; return their folder."""
    folder, site = tmp_path / "wheels", tmp_path / "site"
    folder.mkdir()
    wheel(folder, "vendored-framework", "2.0", {"vendored.py": GOOD})
    wheel(folder, "vendored-framework", "3.0", {"vendored.py": BROKEN})
    adapter = wheel(
        folder,
        "conformance-vendored",
        "1.0",
        {
            "conformance_vendored/__init__.py": "",
            "conformance_vendored/adapter.py": ADAPTER,
            "conformance_vendored/bindings/sigmoid.yaml": BINDINGS,
            "conformance_vendored-1.0.dist-info/entry_points.txt": "[conformance.backends]\n"
            "vendored = conformance_vendored.adapter:VendoredAdapter\n",
        },
        "Requires-Dist: vendored-framework\nRequires-Dist: op-conformance\n",
    )
    with zipfile.ZipFile(adapter) as packed:
        packed.extractall(site)
    about = site / "conformance_vendored-1.0.dist-info" / "direct_url.json"
    about.write_text(json.dumps({"url": adapter.as_uri(), "archive_info": {}}))
    monkeypatch.setenv("CONFORMANCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_FIND_LINKS", f"{folder} {os.environ.get('PIP_FIND_LINKS', '')}")
    monkeypatch.syspath_prepend(str(site))
    forget()
    yield folder
    monkeypatch.undo()
    forget()


def forget() -> None:
    """Forget what was looked up or imported."""
    plugins.registered.cache_clear()
    _adapter.cache_clear()
    for name in [name for name in sys.modules if name.startswith("conformance_vendored")]:
        del sys.modules[name]


def kept(tmp_path: Path) -> list[str]:
    """Return what there is of environments, locks left out."""
    folder = tmp_path / "cache" / "environments"
    return sorted(each.name for each in folder.glob("[!.]*"))


def listed(capsys: Captured) -> str:
    """Return what `env list` prints."""
    capsys.readouterr()
    assert main(["env", "list"]) == Exit.OK
    return capsys.readouterr().out


def test_an_environment_is_made_used_and_removed(wheels: Path, tmp_path: Path, capsys: Captured) -> None:
    """Over what a killed creation left; a worker of it runs cases by its name, and by its path."""
    assert wheels.exists()
    left = tmp_path / "cache" / "environments" / "vendored-2.0" / "bin" / "python"
    left.parent.mkdir(parents=True)
    left.symlink_to(sys.executable)
    options = ["--backend", "vendored=vendored-2.0", "--cases", str(SIGMOID), "--no-site"]
    run = ["run", *options, "-k", "basic[float32]", "-o", str(tmp_path / "out")]
    assert listed(capsys) == ""
    assert main(run) == Exit.USAGE
    assert "vendored-2.0 is not an executable interpreter" in capsys.readouterr().err

    assert main(["env", "create", "vendored==2.0"]) == Exit.OK
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("vendored: vendored-framework 2.0, Python 3")
    assert printed[1] == f"conformance run --backend vendored={left}"
    assert listed(capsys) == f"vendored-2.0  {printed[0]}  {left}\n"

    assert main(["env", "create", "vendored==2.0"]) == Exit.USAGE
    assert f"the environment vendored-2.0 is there already: {left}" in capsys.readouterr().err
    inside = ["env", "create", "torch", "--name", "other", "--path", str(left.parent.parent)]
    assert main(inside) == Exit.USAGE
    assert "the environment vendored-2.0 is there already" in capsys.readouterr().err

    assert main(run) == Exit.OK
    run[2] = printed[1].partition("--backend ")[2]
    assert main(run) == Exit.OK
    rows = [json.loads(line) for line in (tmp_path / "out" / "run.jsonl").read_text().splitlines()]
    assert [row["version"] for row in rows if row["type"] == "backend"] == ["2.0"]
    run[2] = "vendored=another"
    assert main(run) == Exit.USAGE
    assert "nor an environment; there are vendored-2.0" in capsys.readouterr().err

    assert main(["env", "remove", "vendored-2.0"]) == Exit.OK
    assert kept(tmp_path) == []
    assert listed(capsys) == ""
    assert main(["env", "remove", "vendored-2.0"]) == Exit.USAGE
    assert "no environment 'vendored-2.0'; there are none" in capsys.readouterr().err


def test_one_in_which_no_worker_starts_is_not_kept(wheels: Path, tmp_path: Path, capsys: Captured) -> None:
    """What the worker says is said; the folder is gone, also one of the user's choice."""
    assert wheels.exists()
    asked = ["env", "create", "vendored==3.0", "--path", str(tmp_path / "there")]
    assert main(asked) == Exit.HARNESS
    told = capsys.readouterr().err
    assert "no worker starts in it: backend vendored cannot start: ImportError: libvendored.so" in told
    assert not (tmp_path / "there").exists()
    assert kept(tmp_path) == []


FAILURES = {
    "a version that does not exist": (
        ["vendored==9.9", "--pip-arg=--no-index"],
        Exit.USAGE,
        ["pip cannot install that:", "vendored-framework==9.9 (from versions: 2.0, 3.0)"],
    ),
    "no network": (
        ["vendored==9.9", "--index-url=https://127.0.0.1:9/simple", "--pip-arg=--retries=1"],
        Exit.HARNESS,
        ["pip cannot reach its index; see to the network, or name one: --index-url", "connection broken"],
    ),
}


@pytest.mark.parametrize(("asked", "code", "says"), FAILURES.values(), ids=FAILURES)
def test_what_pip_cannot_do_is_said_in_its_words(
    wheels: Path, tmp_path: Path, capsys: Captured, asked: list[str], code: Exit, says: list[str]
) -> None:
    """What is asked for wrongly is exit 4, what fails here exit 3; nothing is left."""
    assert wheels.exists()
    assert main(["env", "create", *asked]) == code
    told = capsys.readouterr()
    for each in says:
        assert each in told.err
    assert told.out == ""
    assert kept(tmp_path) == []


def test_what_is_there_is_not_overwritten(wheels: Path, tmp_path: Path, capsys: Captured) -> None:
    """A folder with anything in it, an interpreter that is none or too old, a name that is a path."""
    assert wheels.exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\necho 3 9\n")
    old.chmod(0o700)
    for more, says in (
        (["--path", str(tmp_path / "full")], "full is not empty: choose another --path"),
        (["--python", "/no/python"], "/no/python is not an executable interpreter"),
        (["--python", str(old)], f"{old} is Python 3.9: a worker needs 3.11 or later"),
        (["--name", "../up"], "'../up' is no name of an environment"),
    ):
        assert main(["env", "create", "vendored==2.0", *more]) == Exit.USAGE
        assert says in capsys.readouterr().err
    assert (tmp_path / "full" / "thesis.tex").exists()
    assert kept(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_interrupted_leaves_nothing(wheels: Path, tmp_path: Path, number: int) -> None:
    """Exit 2, no folder, no record, no process that goes on."""
    assert wheels.exists()
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "-m", "conformance", "env", "create", "vendored==2.0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        python = tmp_path / "cache" / "environments" / "vendored-2.0" / "bin" / "python"
        while not python.is_symlink() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        told = process.communicate()[1]
    assert process.returncode == Exit.INTERRUPTED
    assert "interrupted" in told
    assert kept(tmp_path) == []
    started = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(str(python).encode() in each for each in started)


def test_another_version_than_was_asked_for_is_said() -> None:
    """What PYTHONPATH offers would be taken for what was installed."""
    asked = Wanted(("torch",), (), (), {"torch": "==1.0"}, "torch-1.0")
    with pytest.raises(HarnessError, match=r"a worker there has torch .*, not ==1\.0: is it from PYTHONPATH"):
        _started(asked, Path(sys.executable))
