"""Where workers run, as the command line says it: each option with its executor, else one message."""

import os
import sys
from pathlib import Path

import pytest

from conformance.__main__ import main
from conformance.cli_executor import Kind, Where, executor_for
from conformance.errors import Exit, UsageError
from conformance.executor import Local

BACKENDS = ("torch", "paddle")


def test_without_options_workers_run_here() -> None:
    """As ever."""
    assert isinstance(executor_for(Where(), BACKENDS), Local)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (Where(hosts=["gpu1"]), "--host is for --executor ssh"),
        (Where(Kind.RAY, hosts=["gpu1"]), "--host is for --executor ssh"),
        (Where(ssh_config=Path("conf")), "--ssh-config is for --executor ssh"),
        (Where(Kind.SSH, hosts=["a"], address="b:1"), "--address is for --executor ray"),
        (Where(resources=["torch=num_gpus:1"]), "--resources is for --executor ray"),
        (Where(runtime_env=["torch=a.yaml"]), "--runtime-env is for --executor ray"),
        (Where(Kind.SSH), "--executor ssh needs a --host"),
        (Where(Kind.SSH, hosts=["-oX=1"]), r"--host takes \[USER@\]HOST"),
        (Where(Kind.SSH, hosts=["a"], ssh_config=Path("no/file")), "there is no file no/file"),
        (Where(Kind.RAY, resources=["jax=num_gpus:1"]), "BACKEND=… with one of torch, paddle; not 'jax"),
        (Where(Kind.RAY, resources=["torch"]), "--resources takes BACKEND=…"),
        (Where(Kind.RAY, resources=["torch=a:1", "torch=b:1"]), "--resources is given twice for torch"),
        (Where(Kind.RAY, resources=["torch=num_gpus"]), "takes NAME:AMOUNT,… as num_gpus:1,num_cpus:2"),
        (Where(Kind.RAY, resources=["torch=num_gpus:-1"]), "takes NAME:AMOUNT"),
        (Where(Kind.RAY, resources=["torch=:1"]), "takes NAME:AMOUNT"),
        (Where(Kind.RAY, runtime_env=["torch=no/file"]), "--runtime-env: no/file cannot be read"),
    ],
)
def test_what_the_options_do_not_say_is_a_usage_error(where: Where, said: str) -> None:
    """Before anything is started."""
    with pytest.raises(UsageError, match=said):
        executor_for(where, BACKENDS)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "pip"])
def test_a_runtime_environment_is_a_mapping(tmp_path: Path, text: str) -> None:
    """In YAML or JSON."""
    (tmp_path / "env").write_text(text)
    with pytest.raises(UsageError, match=r"--runtime-env: .*env (cannot be read|is no mapping)"):
        executor_for(Where(Kind.RAY, runtime_env=[f"torch={tmp_path / 'env'}"]), BACKENDS)


def test_without_ssh_its_executor_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says what is not installed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="needs the command ssh"):
        executor_for(Where(Kind.SSH, hosts=["a"]), BACKENDS)


def test_without_ray_its_executor_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The environment's fault: exit 3, and nothing is left."""
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.chdir(tmp_path)
    command = ["run", "--backend", "torch", "--op", "l1_loss", "--executor", "ray"]
    assert main(command) == Exit.HARNESS
    assert "pip install 'op-conformance[cluster]'" in capfd.readouterr().err
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - a name is enough


def test_a_command_that_reaches_no_host_says_so_once(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Every case is not run, and the exit says that there is no verdict."""
    (tmp_path / "conf").write_text("Host nobody\n  HostName 127.0.0.1\n  Port 1\n")
    where = ["--executor", "ssh", "--host", "nobody", "--ssh-config", str(tmp_path / "conf")]
    chosen = ["--backend", "torch", "--op", "l1_loss", "-k", "basic[float32", "--no-cache", "--no-site"]
    assert main(["run", *chosen, *where, "-o", str(tmp_path / "out")]) == Exit.HARNESS
    told = capfd.readouterr().out
    assert told.count("Connection refused") == 1
    assert "incomplete: backend torch cannot start: host nobody" in told
