"""What a loaded suite is made of: ops, their APIs, their cases."""

import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from conformance import values
from conformance.arrays import NDArray
from conformance.definition import Definition
from conformance.opfile import ApiDecl, ClaimDecl, OpFile
from conformance.types import Binding, Domain, Scalar


@dataclass(frozen=True)
class Api:
    """A public API and how it is bound to its op."""

    name: str
    backend: str
    binding: Binding
    decl: ApiDecl
    claims: tuple[ClaimDecl, ...]


@dataclass(frozen=True)
class Case:
    """One concrete call: the op, its tensors and parameters, and what is asked of it."""

    id: str
    name: str
    op: "Operator"
    domain: Domain
    why: str
    dtype: str
    specs: dict[str, Any]
    dtypes: dict[str, str]
    pinned: frozenset[str]
    layouts: dict[str, str]
    params: dict[str, Scalar]
    gradients: tuple[str, ...]
    signed_zero: bool
    where: str
    second: tuple[str, ...] = ()
    isolated: tuple[str, ...] = ()

    @cached_property
    def tensors(self) -> dict[str, NDArray]:
        """The inputs, rounded to their dtypes; the same bits on every machine."""
        made = {
            name: values.build(spec, self.dtypes[name], f"{self.op.name}/{self.name}/{name}")
            for name, spec in self.specs.items()
        }
        for name, tensor in made.items():
            if self.layouts[name] == "expanded" and tensor.ndim and len(tensor):
                made[name] = np.repeat(tensor[:1], len(tensor), 0)  # a stride of 0 repeats the first row
        return made

    def direction(self, name: str) -> NDArray:
        """Return the direction [shape of the input] that its second derivative is taken along."""
        shape = self.tensors[name].shape
        draw = np.floor(values.stream(f"{self.id}/direction/{name}", int(np.prod(shape))) * 4)
        return np.asarray(0.5 + 0.25 * draw).reshape(shape) * np.where(draw.reshape(shape) < 2, 1.0, -1.0)

    def cotangent(self, shape: tuple[int, ...]) -> NDArray:
        """Return a non-trivial cotangent [shape]: ±{0.5, 0.75, 1, 1.25, 1.5}, exact in every dtype."""
        draw = np.floor(values.stream(f"{self.id}/cotangent", int(np.prod(shape))) * 10)
        signed = (0.5 + 0.25 * (draw % 5)) * np.where(draw < 5, 1.0, -1.0)
        return np.asarray(signed).reshape(shape)


@dataclass(frozen=True)
class BindingsSource:
    """The file in a third-party backend's package that binds its APIs to an op, and its bits as read."""

    backend: str
    file: Path
    digest: str


@dataclass(frozen=True)
class Operator:
    """A loaded op file."""

    name: str
    family: str
    summary: str
    decl: OpFile
    """The file, without its cases."""
    definition: Definition
    apis: tuple[Api, ...]
    file: Path
    digest: str
    """Of all that was read, third-party bindings too: a file may be edited while a run lasts."""
    cases: list[Case] = field(default_factory=list)
    """Those that were wanted when it was loaded: all, or those of a shard."""
    ids: list[str] = field(default_factory=list)
    """Of all its cases, in the order of the file."""
    bindings: tuple[BindingsSource, ...] = ()


def suite_digest(suite: list[Operator]) -> str:
    """Name a suite by the bits that decide what a run expects: its case files and its references."""
    digest = blake2b(digest_size=8)
    for op in sorted(suite, key=lambda op: op.name):
        digest.update(op.file.read_bytes() if op.file.is_file() else op.name.encode())
    for source in sorted(Path(str(files("conformance.reference"))).glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def file_digests(suite: list[Operator]) -> dict[str, str]:
    """Name the case file of each operator by its bits: who reads a run later can tell whether it changed."""
    return {
        op.name: blake2b(op.file.read_bytes(), digest_size=6).hexdigest()
        for op in sorted(suite, key=lambda op: op.name)
        if op.file.is_file()
    }


def binding_digests(suite: list[Operator]) -> dict[str, str]:
    """Name the bindings of third-party backends, as `BACKEND/OP`, by their bits.

    They are no part of the suite's own digest: a run of such a backend can be merged with one that knows
    nothing of it.
    """
    found = {f"{each.backend}/{op.name}": each.digest[:12] for op in suite for each in op.bindings}
    return dict(sorted(found.items()))


def suite_commit() -> str:
    """Return the commit that this checkout is at, with `-dirty` where files differ; else nothing."""
    here = Path(__file__).resolve().parent
    git = shutil.which("git")
    if git is None or not (here.parent / ".git").exists():
        return ""
    command = [git, "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    return said.stdout.strip() if said.returncode == 0 else ""
