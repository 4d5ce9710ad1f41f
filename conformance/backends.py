"""A backend as it is asked for, `NAME[:MODE][@DEVICE][=PYTHON]`, and what a run needs to start it."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from conformance import plugins
from conformance.errors import UsageError

EAGER, CPU = "eager", "cpu"


class Variant(NamedTuple):
    """How and where a framework executes a call."""

    mode: str = EAGER
    device: str = CPU

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Variant":
        """Return that of a stream's `backend` row, which may leave it out."""
        return cls(row.get("mode") or EAGER, row.get("device") or CPU)

    @property
    def kind(self) -> str:
        """The kind of device, without its number."""
        return self.device.partition(":")[0]

    def __str__(self) -> str:
        """Write what follows a name: `:compile`, `@cuda:1`, both, or nothing for eager on the CPU."""
        how = "" if self.mode == EAGER else f":{self.mode}"
        return how if self.device == CPU else f"{how}@{self.device}"


PLAIN = Variant()


@dataclass(frozen=True)
class BackendSpec:
    """A backend to run: its name, its adapter (`module:Class`), the interpreter if not ours, its variant."""

    name: str
    adapter: str
    python: str = sys.executable
    paths: tuple[str, ...] = ()
    variant: Variant = PLAIN
    core: int | None = None
    """The only core that a worker may use, if it is kept to one; elsewhere a place among the cores there."""

    @property
    def loads(self) -> str:
        """What a worker is told to load: the adapter, with a mode and a device where they are not plain."""
        return self.adapter if self.variant == PLAIN else " ".join((self.adapter, *self.variant))


def titled(row: Mapping[str, Any]) -> str:
    """Name the backend of a stream's `backend` row with its mode and device: `torch:compile@cuda`.

    A stream of another program may have named it so already.
    """
    name, more = str(row["backend"]), str(Variant.of(row))
    return name if name.endswith(more) else name + more


def adapter_class(spec: BackendSpec) -> Any:
    """Return the class of a backend's adapter; importing it imports no framework."""
    module, _, name = spec.adapter.partition(":")
    return getattr(__import__(module, fromlist=[name]), name)


def backend_specs(
    texts: Iterable[str], mode: str = "", device: str = "", *, here: bool = True
) -> tuple[BackendSpec, ...]:
    """Read what a run is to use; `mode` and `device` are for each that names none itself.

    Raises:
        UsageError: as `backend_spec`; or a framework is named twice.

    """
    specs: dict[str, BackendSpec] = {}
    for text in texts:
        spec = backend_spec(text, mode, device, here=here)
        if spec.name in specs:
            raise UsageError(
                f"backend {spec.name} is named twice, and a run has one variant of a framework: run each "
                "into a folder of its own (-o), and hold one against the other with `conformance compare`"
            )
        specs[spec.name] = spec
    return tuple(specs.values())


def backend_spec(text: str, mode: str = "", device: str = "", *, here: bool = True) -> BackendSpec:
    """Read `NAME[:MODE][@DEVICE][=PYTHON]`; `mode` and `device` are for a text that names none.

    An interpreter `here` may be the name of an environment, and is ours where none is named.

    Raises:
        UsageError: there is no such backend, or it is no good, or it has no such mode or device, or there is
            no such interpreter.

    """
    head, _, python = text.partition("=")
    plain, at, where = head.partition("@")
    name, colon, how = plain.partition(":")
    adapter = plugins.adapter_class(name)  # whatever is wrong with it is said before anything starts
    how = _chosen(name, "mode", how if colon else None, mode, adapter.modes)
    where = _chosen(name, "device", where if at else None, device, adapter.devices)
    if here and python:
        from conformance.venvs import interpreter  # noqa: PLC0415 - a worker imports this module and needs less

        python = interpreter(name, python)
    python = python or (sys.executable if here else "")
    return BackendSpec(name, plugins.find(name), python, variant=Variant(how, where))


def _chosen(name: str, what: str, own: str | None, common: str, has: tuple[str, ...]) -> str:
    """Return the mode or device that is asked for; a device may have a number, `cuda:1`."""
    if own is not None and common and own != common:
        raise UsageError(f"backend {name} is to have the {what} {own!r}, and --{what} says {common!r}")
    chosen = common or has[0] if own is None else own
    kind, colon, number = chosen.partition(":") if what == "device" else (chosen, "", "")
    if kind not in has:
        raise UsageError(f"backend {name} has no {what} {chosen!r}; it has {', '.join(has)}")
    if colon and not (number.isascii() and number.isdecimal()):
        raise UsageError(f"backend {name}: {chosen!r} is no device; one of several is {kind}:0, {kind}:1, …")
    return chosen
