"""How each API takes the op's arguments: its own names, its own defaults, and what differs. Pure."""

from dataclasses import dataclass, field
from typing import Any

from conformance.load import Api, Operator
from conformance.report import links
from conformance.report.facts import in_order

_HOLDS = {
    "logit": " of logits",
    "probability": " of probabilities",
    "log_probability": " of log-probabilities",
    "positive": " of positive numbers",
    "weight": " of weights",
}
NO_ARGUMENT = "no such argument"


@dataclass(frozen=True)
class Slot:
    """One canonical argument as one API takes it."""

    name: str = ""
    default: str = ""
    renamed: bool = False
    other_default: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """One API: its slot for every canonical argument, and what it is sent besides."""

    api: str
    doc: str
    anchor: str
    slots: tuple[Slot, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Argument:
    """A canonical argument of the op."""

    name: str
    about: str
    default: str = ""


@dataclass
class Mapping:
    """The whole table, its lines by backend, and the arguments whose defaults differ between APIs."""

    arguments: list[Argument]
    backends: dict[str, list[Line]] = field(default_factory=dict)
    defaults: list[tuple[str, list[tuple[str, list[str]]]]] = field(default_factory=list)


def mapping(op: Operator, order: list[str]) -> Mapping:
    """Return the table of one op; `order` is that of the backends."""
    made = Mapping([*_tensors(op), *_params(op)])
    for backend in in_order({api.backend for api in op.apis}, order):
        made.backends[backend] = [_line(op, api) for api in op.apis if api.backend == backend]
    for name in op.decl.params:
        by_value: dict[str, list[str]] = {}
        for api in op.apis:
            by_value.setdefault(written(_own_default(op, api, name)), []).append(api.name)
        if len(by_value) > 1:
            usual_first = sorted(by_value.items(), key=lambda each: -len(each[1]))
            made.defaults.append((name, usual_first))
    return made


def written(value: Any) -> str:
    """Write a value as Python does; a whole number of a real parameter keeps its point."""
    return repr(value)


def _tensors(op: Operator) -> list[Argument]:
    found = []
    for name, decl in op.decl.tensors.items():
        kind = "integer tensor" if decl.kind == "label" else "tensor"
        holds = _HOLDS.get(decl.holds, "")
        found.append(Argument(name, f"{kind}{holds}" + (", optional" if decl.optional else "")))
    return found


def _params(op: Operator) -> list[Argument]:
    return [
        Argument(name, decl.about, "" if decl.required else written(decl.default))
        for name, decl in op.decl.params.items()
    ]


def _own_default(op: Operator, api: Api, name: str) -> Any:
    return api.decl.defaults.get(name, op.decl.params[name].default)


def _line(op: Operator, api: Api) -> Line:
    taken = _names(api)
    slots = [_tensor_slot(op, api, name, taken) for name in op.decl.tensors]
    slots += [_param_slot(op, api, name, taken) for name in op.decl.params]
    notes = [f"always called with {name}={written(value)}" for name, value in api.decl.fixed.items()]
    if api.decl.positional:
        notes.append("takes its arguments by position")
    if api.decl.returns is not None:
        notes.append(f"returns several values; this op is number {api.decl.returns}, counted from 0")
    return Line(api.name, api.decl.doc, f"api-{links.slug(api.name)}", tuple(slots), tuple(notes))


def _names(api: Api) -> dict[str, str]:
    """Return the API's own name of each canonical argument that it takes."""
    binding = api.binding
    taken = {**(binding.init or {}), **binding.call}
    taken |= {name: f".{place}" for name, place in binding.state.items()}
    for own, rows in binding.lists.items():
        for i, row in enumerate(rows):
            taken |= {name: f"{own}[{i}][{j}]" for j, name in enumerate(row)}
    return taken


def _tensor_slot(op: Operator, api: Api, name: str, taken: dict[str, str]) -> Slot:
    if name not in taken:
        return Slot(notes=(NO_ARGUMENT,))
    notes = []
    if name in api.decl.transposed:
        notes.append("transposed")
    if name in api.binding.state:
        notes.append("an attribute of the module")
    if api.decl.label and op.decl.tensors[name].kind == "label":
        notes.append(f"sent as {api.decl.label}")
    return Slot(taken[name], renamed=taken[name] != name, notes=tuple(notes))


def _param_slot(op: Operator, api: Api, name: str, taken: dict[str, str]) -> Slot:
    decl, own = op.decl.params[name], _own_default(op, api, name)
    differs = written(own) != written(decl.default)
    if name not in taken:
        return Slot(default=written(own), other_default=differs, notes=(NO_ARGUMENT,))
    notes = []
    if name in api.decl.integral:
        notes.append("documented as int")
    if name in api.decl.functions:
        notes.append("takes a callable")
    default = "" if decl.required else written(own)
    return Slot(taken[name], default, taken[name] != name, differs and not decl.required, tuple(notes))
