"""The commands about environments: other versions of frameworks, beside those installed here."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.cli_app import app

if TYPE_CHECKING:
    from conformance.types import Environment

env_app = typer.Typer(help="Environments with other versions of frameworks.", no_args_is_help=True)
app.add_typer(env_app, name="env")


@env_app.command("create")
def create_command(
    requirements: Annotated[
        list[str], typer.Argument(help="BACKEND==VERSION, as paddle==3.2.2; and whatever else goes with it.")
    ],
    backend: Annotated[
        list[str] | None,
        typer.Option("--backend", help="Whom it is for, if no requirement has the name (repeatable)."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Its name; else after the requirements.")] = "",
    path: Annotated[Path | None, typer.Option("--path", help="Where it goes, if not to the cache.")] = None,
    python: Annotated[str, typer.Option("--python", help="The interpreter to make it of.")] = sys.executable,
    index_url: Annotated[str, typer.Option("--index-url", help="The index that pip takes from.")] = "",
    pip_arg: Annotated[
        list[str] | None,
        typer.Option("--pip-arg", help="One more argument of `pip install`, as --pip-arg=--pre."),
    ] = None,
) -> None:
    """Make an environment with a version of a framework, see a worker start in it, and say how to use it."""
    from conformance.requirements import wanted  # noqa: PLC0415 - what a command needs, it loads
    from conformance.venvs import create  # noqa: PLC0415

    pip = [*([f"--index-url={index_url}"] if index_url else []), *(pip_arg or ())]
    asked = wanted(requirements, backend or ())
    made = create(asked, name=name, folder=path, python=python, pip=pip)
    for worker in made.workers:
        print(_described(worker))
    print(f"conformance run {' '.join(f'--backend {each.backend}={made.python}' for each in made.workers)}")


@env_app.command("list")
def list_command() -> None:
    """List the environments: name, what is in it, its interpreter."""
    from conformance.venvs import listed  # noqa: PLC0415

    for each in listed():
        print(f"{each.name}  {'; '.join(map(_described, each.workers))}  {each.python}")


@env_app.command("remove")
def remove_command(name: Annotated[str, typer.Argument(help="As `conformance env list` has it.")]) -> None:
    """Remove an environment."""
    from conformance.venvs import remove  # noqa: PLC0415

    print(f"removed {remove(name)}")


def _described(worker: "Environment") -> str:
    about = f"Python {worker.python}, NumPy {worker.numpy}, {worker.device}"
    return f"{worker.backend}: {worker.framework} {worker.version}, {about}"
