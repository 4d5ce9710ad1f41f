"""What is asked of the oracle and of a worker about one case of one API."""

from conformance.arrays import to_wire
from conformance.load import Api, Case, wire_params, wire_tensors
from conformance.oracle import Exact, Expectation, exact_gradients, exact_output
from conformance.second import exact_second
from conformance.types import Request, Scalar


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


def request_for(case: Case, api: Api, number: int, expected: Expectation | None) -> Request:
    """Build what the worker is asked: inputs, parameters and a cotangent, never an expected value."""
    ct, directions = None, {}
    if expected is not None and case.gradients:
        kind = case.tensors[first_floating(case)].dtype
        ct = to_wire(case.cotangent(expected.output.low.shape).astype(kind))
        directions = {n: to_wire(case.direction(n).astype(case.tensors[n].dtype)) for n in case.second}
    tensors, params = wire_tensors(case, api), wire_params(case, api)
    return Request(number, api.binding, tensors, params, case.gradients, ct, directions, case.isolated)


def first_floating(case: Case) -> str:
    """Name the tensor whose dtype the output has."""
    return next(
        name for name, decl in case.op.decl.tensors.items() if decl.kind == "floating" and name in case.specs
    )
