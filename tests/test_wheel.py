"""The wheel, installed where this repository is not: what a user of another project's CI gets."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def _run(command: list[str], folder: Path, *, status: int = 0) -> str:
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=clean, check=False)
    assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the tracked files: nothing that happens to lie about gets in."""
    copy = tmp_path_factory.mktemp("source")
    tracked = _run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT)
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    out = tmp_path_factory.mktemp("dist")
    _run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(out), str(copy)], out)
    (built,) = out.glob("op_conformance-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel with its torch extra, and pytest, in an environment of its own; return its bin."""
    home = tmp_path_factory.mktemp("elsewhere")
    _run([sys.executable, "-m", "venv", str(home / "venv")], home)
    python = home / "venv" / "bin" / "python"
    pins = str(ROOT / "constraints.txt")
    _run([str(python), "-m", "pip", "install", "-q", "-c", pins, f"{wheel}[torch]", "pytest"], home)
    return python.parent


def test_the_wheel_claims_one_import_name(wheel: Path) -> None:
    """Nothing in the wheel lands outside `conformance/` and its own metadata."""
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"conformance"}
    assert "conformance/reference/margin.py" in names
    assert "conformance/cases/loss/multi_margin_loss.yaml" in names
    assert "conformance/known/torch/multi_margin_loss.yaml" in names
    assert "conformance/py.typed" in names
    assert "conformance/report/templates/index.html" in names
    assert "conformance/schemas/report.schema.json" in names


def test_the_command_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """`conformance run --backend torch` finds cases, references, ledger and templates in the wheel."""
    selected = ["--backend", "torch", "--op", "multi_margin_loss", "-k", "basic"]
    shown = _run([str(installed / "conformance"), "run", *selected, "-o", "out"], tmp_path)
    assert "nothing unexpected" in shown
    assert (tmp_path / "out" / "run.jsonl").exists()
    assert "multi_margin_loss" in (tmp_path / "out" / "index.html").read_text()
    for asset in ("site.css", "site.js"):
        assert (tmp_path / "out" / "assets" / asset).stat().st_size > 1000
    assert (tmp_path / "out" / "report.json.gz").exists()


def test_the_pytest_plugin_works_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """`pytest CASES --backend torch` works with the plugin that the wheel registers."""
    where = "from conformance.load import shipped_cases; print(shipped_cases())"
    cases = _run([str(installed / "python"), "-c", where], tmp_path).strip()
    command = [str(installed / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", cases]
    shown = _run([*command, "--backend", "torch", "-k", "hinge_embedding and basic"], tmp_path)
    assert "24 passed" in shown


def test_a_backend_that_is_not_installed_is_an_incomplete_run(installed: Path, tmp_path: Path) -> None:
    """Asking for a framework that is not there exits 3 with its name, and is never a skip."""
    command = [str(installed / "conformance"), "run", "--backend", "paddle", "-k", "basic", "-o", "out"]
    shown = _run(command, tmp_path, status=3)
    assert "paddle cannot start: ModuleNotFoundError" in " ".join(shown.split())
