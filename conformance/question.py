"""What is asked of the oracle and of a worker about one case of one API."""

from functools import cached_property

from conformance.arrays import to_wire
from conformance.load import Api, Case, wire_params, wire_tensors
from conformance.oracle import Exact, Expectation, exact_gradients, exact_output
from conformance.second import exact_second
from conformance.types import Array, Request, Scalar


def expectation(case: Case, api: Api) -> Expectation | None:
    """Evaluate the oracle for a case as this API sees it; None where the definition says nothing."""
    if case.domain == "undefined":
        return None
    params = resolved_params(case, api)
    definition = case.op.definition
    output = exact_output(definition, case.tensors, params, case.dtype)
    wanted = tuple(name for name in case.gradients if name in definition.differentiable)
    ct = case.cotangent(output.low.shape).astype(case.tensors[first_floating(case)].dtype)
    gradients = exact_gradients(definition, case.tensors, params, case.dtype, ct, wanted) if wanted else {}
    second = {
        name: exact_second(definition, case.tensors, params, case.dtype, ct, name, case.direction(name))
        for name in case.second
    }
    return Expectation(output, gradients, second)


def variant(case: Case, api: Api, name: str) -> Exact:
    """Evaluate a documented variant of the op on a case."""
    params = resolved_params(case, api)
    return exact_output(case.op.definition, case.tensors, params, case.dtype, variant=name)


def resolved_params(case: Case, api: Api) -> dict[str, Scalar]:
    """Return every parameter's value: the case's, else the default that this API documents."""
    documented = {n: api.decl.defaults.get(n, p.default) for n, p in case.op.decl.params.items()}
    resolved = {**documented, **case.params}
    real = {n for n, p in case.op.decl.params.items() if isinstance(p.default, float)}
    return {n: float(v) if n in real and isinstance(v, int) else v for n, v in resolved.items()}


class Packed:
    """A case as it goes over the wire, packed once for all APIs that are asked it."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self._tensors: dict[str, dict[str, Array]] = {}
        self._cotangents: dict[tuple[int, ...], Array] = {}

    def tensors(self, api: Api) -> dict[str, Array]:
        """Return the inputs, labels in the dtype that this API documents."""
        label = api.decl.label or ""
        if label not in self._tensors:
            self._tensors[label] = wire_tensors(self.case, api)
        return self._tensors[label]

    def cotangent(self, shape: tuple[int, ...]) -> Array:
        """Return the cotangent of an output [shape], in its dtype."""
        if shape not in self._cotangents:
            kind = self.case.tensors[first_floating(self.case)].dtype
            self._cotangents[shape] = to_wire(self.case.cotangent(shape).astype(kind))
        return self._cotangents[shape]

    @cached_property
    def directions(self) -> dict[str, Array]:
        """The directions of second derivatives, each of its input's shape and dtype."""
        case = self.case
        return {n: to_wire(case.direction(n).astype(case.tensors[n].dtype)) for n in case.second}


def request_for(
    case: Case, api: Api, number: int, expected: Expectation | None, packed: Packed | None = None
) -> Request:
    """Build what the worker is asked: inputs, parameters and a cotangent, never an expected value."""
    packed = packed or Packed(case)
    ct, directions = None, {}
    if expected is not None and case.gradients:
        ct, directions = packed.cotangent(expected.output.low.shape), packed.directions
    tensors, params = packed.tensors(api), wire_params(case, api)
    alone = api.backend in case.isolated
    return Request(number, api.binding, tensors, params, case.gradients, ct, directions, alone)


def first_floating(case: Case) -> str:
    """Name the tensor whose dtype the output has."""
    return next(
        name for name, decl in case.op.decl.tensors.items() if decl.kind == "floating" and name in case.specs
    )
