"""The options that say where workers run, and how many."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conformance.errors import UsageError

if TYPE_CHECKING:
    from conformance.executor import Executor


class Kind(StrEnum):
    """Where workers run."""

    LOCAL = "local"
    SSH = "ssh"
    RAY = "ray"


WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Workers of each backend; else as many as are of use.")
]
ExecutorOption = Annotated[Kind, typer.Option("--executor", help="Where workers run.")]
HostOption = Annotated[
    list[str] | None, typer.Option("--host", help="ssh: [USER@]HOST[:PORT][=PYTHON] (repeatable).")
]
SshConfigOption = Annotated[Path | None, typer.Option("--ssh-config", help="ssh: its -F FILE.")]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", help="ray: the cluster's; else RAY_ADDRESS, this machine's, or new."),
]
ResourcesOption = Annotated[
    list[str] | None,
    typer.Option("--resources", help="ray: BACKEND=NAME:AMOUNT,… of each worker, as torch=num_gpus:1."),
]
RuntimeEnvOption = Annotated[
    list[str] | None,
    typer.Option("--runtime-env", help="ray: BACKEND=FILE, Ray's runtime environment as YAML or JSON."),
]


@dataclass(frozen=True)
class Where:
    """What the options say."""

    kind: Kind = Kind.LOCAL
    hosts: Sequence[str] = ()
    ssh_config: Path | None = None
    address: str | None = None
    resources: Sequence[str] = ()
    runtime_env: Sequence[str] = ()


def executor_for(where: Where, backends: Sequence[str]) -> "Executor":
    """Make the executor that the options ask for.

    Raises:
        UsageError: an option belongs to another executor, or is not what it has to be.
        HarnessError: the cluster cannot be reached, or Ray is not installed.

    """
    given = {
        "--host": (Kind.SSH, where.hosts),
        "--ssh-config": (Kind.SSH, where.ssh_config),
        "--address": (Kind.RAY, where.address),
        "--resources": (Kind.RAY, where.resources),
        "--runtime-env": (Kind.RAY, where.runtime_env),
    }
    for option, (kind, value) in given.items():
        if value and where.kind is not kind:
            raise UsageError(f"{option} is for --executor {kind}")
    if where.kind is Kind.SSH:
        return _ssh(where, len(backends))
    if where.kind is Kind.RAY:
        return _ray(where, backends)
    from conformance.executor import Local  # noqa: PLC0415 - what a command needs, it loads

    return Local(len(backends))


def _ssh(where: Where, backends: int) -> "Executor":
    from conformance.executor_ssh import Address, Ssh, find_client  # noqa: PLC0415 - as above

    if not where.hosts:
        raise UsageError("--executor ssh needs a --host: [USER@]HOST[:PORT][=PYTHON]")
    if where.ssh_config is not None and not where.ssh_config.is_file():
        raise UsageError(f"--ssh-config: there is no file {where.ssh_config}")
    addresses = [Address.read(text) for text in where.hosts]
    find_client()
    return Ssh(addresses, backends, where.ssh_config)


def _ray(where: Where, backends: Sequence[str]) -> "Executor":
    amounts = _by_backend("--resources", where.resources, backends)
    files = _by_backend("--runtime-env", where.runtime_env, backends)
    asked = {name: _amounts(text) for name, text in amounts.items()}
    environments = {name: _mapping(Path(text)) for name, text in files.items()}
    from conformance.executor_ray import Cluster, Needs  # noqa: PLC0415 - as above

    needs = {name: Needs(asked.get(name, {}), environments.get(name, {})) for name in backends}
    return Cluster(needs, where.address)


def _by_backend(option: str, texts: Sequence[str], backends: Sequence[str]) -> dict[str, str]:
    """Read `BACKEND=…`, once for each."""
    found: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in backends or not value:
            raise UsageError(f"{option} takes BACKEND=… with one of {', '.join(backends)}; not {text!r}")
        if name in found:
            raise UsageError(f"{option} is given twice for {name}")
        found[name] = value
    return found


def _amounts(text: str) -> dict[str, float]:
    """Read `NAME:AMOUNT,…`."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, amount = part.rpartition(":")
        try:
            found[name.strip()] = float(amount)
        except ValueError:
            found[""] = 0.0
    if not all(found) or any(not 0 <= amount < float("inf") for amount in found.values()):
        raise UsageError(f"--resources takes NAME:AMOUNT,… as num_gpus:1,num_cpus:2; not {text!r}")
    return found


def _mapping(path: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - as above

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"--runtime-env: {path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"--runtime-env: {path} is no mapping: see Ray's `runtime_env`")
    return found
