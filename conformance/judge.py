"""From an answer to checks: what one API's reply on one case means. Pure."""

from msgspec.structs import replace

from conformance.arrays import from_wire
from conformance.compare import Check, compare, digest_of
from conformance.errors import HarnessError
from conformance.globs import glob
from conformance.load import Api, Case, evidence
from conformance.memory import MEMORY
from conformance.opfile import UnsupportedDecl
from conformance.oracle import Exact, Expectation
from conformance.pool import Answer, Fault, Lost, Unsent
from conformance.types import Array, Category, Death, Raised, Reply

UNBLAMED = (MEMORY,)
"""What a call leaves behind that replaces its worker and accuses nobody: others may have filled it before."""


def judge(case: Case, api: Api, expected: Expectation | None, answer: Answer | Lost | Unsent) -> list[Check]:
    """Hold an answer against the oracle, or against the documentation where there is no oracle.

    Every quantity that the case asks for gets a check, also when nothing came back: a comparison that
    did not happen is never silent.
    """
    checks = _judge(case, api, expected, answer)
    due = check_names(case, api)
    if [check.check for check in checks] != due:
        raise HarnessError(f"{case.id}: checks {due} were due, {[c.check for c in checks]} were made")
    return [_counted(check, expected) for check in checks]


def _judge(case: Case, api: Api, expected: Expectation | None, answer: Answer | Lost | Unsent) -> list[Check]:
    names = check_names(case, api)
    if isinstance(answer, Unsent):
        return [Check(name, "unsupported", message=f"no call: {answer.reason}") for name in names]
    if isinstance(answer, Lost):
        return [Check(name, "notrun", message=answer.reason) for name in names]
    if isinstance(answer, Fault):
        return [Check(name, "harness", message=answer.message) for name in names]
    if isinstance(answer, Death):
        error = {"signal": answer.signal, "stderr": answer.stderr}
        return [Check(name, answer.status, message=answer.message, error=error) for name in names]
    if expected is None:
        return [_undefined(case, api, answer)]
    declared = declared_unsupported(case, api)
    if isinstance(answer.output, Raised):
        return [_refused(name, answer.output, declared) for name in names]
    checks = [_output(case, expected, answer, answer.output)]
    checks += [_gradient(case, expected, answer, name) for name in case.gradients]
    checks += [_second(expected, answer, name) for name in case.second]
    return [_beyond(check, declared) for check in checks] if declared else checks


def _counted(check: Check, expected: Expectation | None) -> Check:
    """Turn a pass that compared nothing, where there was something to compare, into a harness fault."""
    if check.status != "pass" or check.compared or expected is None:
        return check
    what, _, name = check.check.partition(".")
    exact = {"grad": expected.gradients, "grad2": expected.second}[what][name] if name else expected.output
    if exact.low.size == 0:
        return check
    return Check(check.check, "harness", message="passed without comparing an element")


def check_names(case: Case, api: Api) -> list[str]:
    """Name the checks of a case and an API: known before anything runs."""
    if case.domain == "undefined":
        return ["raises" if promised(case, api) else "output"]
    return ["output", *(f"grad.{n}" for n in case.gradients), *(f"grad2.{n}" for n in case.second)]


def promised(case: Case, api: Api) -> tuple[Category, ...]:
    """Name the categories of error that the API's documentation promises for this (undefined) case."""
    found: list[Category] = []
    for claim in api.claims:
        if claim.raises and any(evidence(pattern, case) for pattern in claim.cases):
            found += claim.raises
    return tuple(dict.fromkeys(found))


def declared_unsupported(case: Case, api: Api) -> UnsupportedDecl | None:
    """Find the declaration, made before running, that this API's documentation excludes this case."""
    for decl in api.decl.unsupported:
        by_dtype = not decl.dtype or case.dtype in decl.dtype
        labels = {case.dtypes[n] for n in case.pinned if n not in case.op.definition.differentiable}
        by_label = not decl.label or bool(labels & set(decl.label))
        by_case = not decl.cases or any(glob(p, case.id.partition("/")[2]) for p in decl.cases)
        if by_dtype and by_label and by_case and _excluded_by_what_is_given(decl, case, api):
            return decl
    return None


def _excluded_by_what_is_given(decl: UnsupportedDecl, case: Case, api: Api) -> bool:
    """Whether the values, tensors and shape of a case are those that a declaration speaks of."""
    own = api.decl.defaults
    params = {n: case.params.get(n, own.get(n, p.default)) for n, p in case.op.decl.params.items()}
    first = case.tensors[next(name for name in case.op.decl.tensors if name in case.specs)]
    return (
        all(params[name] in values for name, values in decl.params.items())
        and all(name in case.specs for name in decl.given)
        and all(name not in case.specs for name in decl.without)
        and (not decl.rank or first.ndim in decl.rank)
        and (not decl.empty or first.size == 0)
    )


def describe(raised: Raised) -> dict[str, str]:
    """Return an exception as the stream records it."""
    return {
        "phase": raised.phase,
        "category": raised.category,
        "exception": raised.exception,
        "message": raised.message,
    }


def _refused(name: str, raised: Raised, declared: UnsupportedDecl | None) -> Check:
    first_line = raised.message.splitlines()[0] if raised.message else ""
    said = f"raised {raised.exception} at {raised.phase}: {first_line[:200]}"
    if declared is not None:
        message = f"declared: {declared.why} ({declared.source}); {said}"
        return Check(name, "unsupported", message=message, error=describe(raised))
    if raised.category == "internal":
        return Check(name, "error", message=said, error=describe(raised))
    return Check(name, "fail", "raises", said, error=describe(raised))


def _output(case: Case, expected: Expectation, reply: Reply, output: Array) -> Check:
    check = _held("output", output, expected, expected.output, signed_zero=case.signed_zero)
    if reply.notes:
        check = replace(check, message="; ".join(filter(None, (check.message, reply.notes))))
    if check.status == "pass" and reply.mutated:
        said = f"changed its input {', '.join(reply.mutated)}"
        return replace(check, status="fail", kind="mutated_input", message=said)
    if not (blamed := [each for each in reply.altered if each not in UNBLAMED]):
        return check
    said = f"changed its process: {', '.join(blamed)}"
    if check.status == "pass":
        return replace(check, status="fail", kind="mutated_process", message=said)
    return replace(check, message=f"{check.message}; and {said}")


def _gradient(case: Case, expected: Expectation, reply: Reply, name: str) -> Check:
    check, got = f"grad.{name}", reply.gradients.get(name)
    if name not in case.op.definition.differentiable:
        return Check(check, "observed", message=f"not differentiable by definition; gave {_gave(got)}")
    if got is None:
        return Check(check, "fail", "grad_missing", "no gradient, where the definition has one")
    if isinstance(got, Raised):
        message = f"refused with {got.exception} at {got.phase}: {got.message[:200]}"
        return Check(check, "fail", "grad_missing", message, error=describe(got))
    return _held(check, got, expected, expected.gradients[name])


def _second(expected: Expectation, reply: Reply, name: str) -> Check:
    """Judge a second derivative. No document promises one, so a refusal accuses nobody; a wrong one does."""
    check, got, exact = f"grad2.{name}", reply.second.get(name), expected.second[name]
    if isinstance(got, Array):
        return _held(check, got, expected, exact)
    if got is None and not exact.low.any():
        return Check(check, "pass", message="no second derivative, where it is 0", compared=exact.low.size)
    said = "gave none" if got is None else f"refused with {got.exception}: {got.message[:160]}"
    return Check(check, "unsupported", message=f"no document promises a second derivative; {said}")


def _held(check: str, got: Array, expected: Expectation, exact: Exact, *, signed_zero: bool = False) -> Check:
    """Compare; the same bits on the same case get the verdict that they got before."""
    digest = digest_of(got)
    verdict: Check | None = expected.verdicts.get((check, digest))
    if verdict is None:
        verdict = compare(check, got, exact, signed_zero=signed_zero, digest=digest)
        expected.verdicts[check, digest] = verdict
    return verdict


def _gave(got: Array | Raised | None) -> str:
    if got is None:
        return "none"
    if isinstance(got, Raised):
        return f"{got.exception} at {got.phase}"
    return "zeros" if not from_wire(got).any() else "a gradient that is not zero"


def _beyond(check: Check, declared: UnsupportedDecl) -> Check:
    """A case that the documentation excludes and the API computes anyway accuses nobody."""
    verdict = "conforms" if check.status == "pass" else f"{check.kind or check.status}: {check.message}"
    message = f"beyond its documentation ({declared.why}): {verdict}"
    return Check(check.check, "observed", message=message, digest=check.digest, compared=check.compared)


def _undefined(case: Case, api: Api, reply: Reply) -> Check:
    categories = promised(case, api)
    output = reply.output
    kept = isinstance(output, Raised) and output.category in categories
    declared = declared_unsupported(case, api)
    if declared is not None and isinstance(output, Raised) and not kept:
        return _refused("raises" if categories else "output", output, declared)
    # A refusal to differentiate by one input (at the call) is not an error that came too late.
    late = [g for g in reply.gradients.values() if isinstance(g, Raised) and g.phase in ("read", "backward")]
    if not categories:
        return _observe(output, late)
    wanted = " or ".join(categories)
    if isinstance(output, Array) and late:
        message = f"its documentation promises an error ({wanted}); raised only at {late[0].phase}"
        return Check("raises", "fail", "raises", message, error=describe(late[0]))
    if isinstance(output, Array):
        shown = _shown(output)
        message = f"its documentation promises an error ({wanted}); returned {shown}"
        return Check("raises", "fail", "no_raise", message, digest=digest_of(output))
    said = f"raised {output.exception} at {output.phase}"
    if output.category == "internal":
        return Check("raises", "error", message=f"{said}, an internal error", error=describe(output))
    if output.phase in ("read", "backward"):
        return Check("raises", "fail", "raises", f"{said}, only when read", error=describe(output))
    if not kept:
        message = f"{said} ({output.category}); its documentation promises {wanted}"
        return Check("raises", "fail", "raises", message, error=describe(output))
    return Check("raises", "pass", message=said, compared=1, error=describe(output))


def _observe(output: Array | Raised, late: list[Raised]) -> Check:
    if isinstance(output, Raised):
        message = f"raised {output.exception} at {output.phase}"
        return Check("output", "observed", message=message, error=describe(output))
    message = f"returned {_shown(output)}"
    if late:
        message += f", then raised {late[0].exception} at {late[0].phase}"
    return Check("output", "observed", message=message, digest=digest_of(output))


def _shown(output: Array) -> str:
    values = from_wire(output).reshape(-1)
    few = ", ".join(f"{float(v):.6g}" for v in values[:4])
    return f"{output.dtype}{list(output.shape)} {few}{', …' if values.size > 4 else ''}"
