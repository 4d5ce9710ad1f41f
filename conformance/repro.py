"""Repro scripts: one discrepancy as a Python script with NumPy and one framework, nothing of ours.

A script exits 1 while the discrepancy is there and 0 once it is fixed. It is written for the
maintainer of the framework, who has not installed this project.
"""

import textwrap
from importlib import metadata
from typing import Any

from conformance.adapters.written import NotCompiledError
from conformance.backends import CPU, PLAIN, Variant
from conformance.errors import HarnessError, UsageError
from conformance.judge import promised
from conformance.load import Api, Case, evidence
from conformance.oracle import Expectation
from conformance.repeat import CHECK as REPEAT
from conformance.repro_batch import execute_many
from conformance.repro_call import call_text
from conformance.repro_comparison import comparison_text
from conformance.repro_dialects import Dialect, dialect_of
from conformance.repro_literals import HELPERS, WIDTH, array, cotangent
from conformance.repro_process import mutation_text
from conformance.repro_relations import relation_text, written_inputs
from conformance.repro_repeat import GUARD, repetition_text
from conformance.run import expectation, resolved_params
from conformance.types import Category

__all__ = ["execute_many", "recall", "script"]

CHILD_SECONDS = 60

_VERDICTS = {
    "value": "computes a wrong value",
    "grad_value": "computes a wrong gradient",
    "nonfinite": "gives NaN or infinity where it should not, or a number where it should not",
    "dtype": "returns the wrong dtype",
    "shape": "returns the wrong shape",
    "grad_missing": "gives no gradient",
    "raises": "raises",
    "no_raise": "does not raise",
    "mutated_input": "changes its input",
    "mutated_process": "changes its process",
    "relation": "breaks a relation between two calls",
    "nondeterministic": "gives different results for the same call",
    "crash": "ends the process",
    "timeout": "does not return",
    "error": "fails with an internal error",
}


def script(case: Case, api: Api, row: dict[str, Any], version: str = "", variant: Variant = PLAIN) -> str:
    """Write the script for one `result` row of a stream.

    Args:
        case, api: what was run.
        row: the result; `check`, `status`, `kind`, `message`, `worst` and `error` are used.
        version: of the framework as the stream's `backend` row has it; else the one installed here.
        variant: the mode and the device, from the same row.

    Raises:
        UsageError: the row is an observation or did not come about: there is nothing to reproduce; or the
            backend says nothing of how its scripts are written, or how to have a call compiled or refused.

    """
    status = row.get("status", "fail")
    undefined = case.domain == "undefined"
    fatal = status in ("crash", "timeout")
    if status in ("observed", "notrun", "harness") or (undefined and not fatal and not promised(case, api)):
        what = f"{case.id} of {api.name}, {row['check']}"
        raise UsageError(f"{what}: {status}, so there is nothing to reproduce")
    dialect = dialect_of(api.backend, variant)
    if (row.get("error") or {}).get("exception") == NotCompiledError.__name__:
        dialect.strict = True
        if not dialect.compiled("call"):
            raise UsageError(f"{case.id} of {api.name} was not compiled: of that there is no script")
    inputs, helpers = written_inputs(case, api, dialect)
    defined, call = call_text(case, api, dialect)
    expected = recall(case, api)
    if row["check"] == "relation.inputs":
        row = {**row, "check": "output", "kind": "mutated_input"}
    if repeated := row["check"] == REPEAT:
        body = repetition_text(case, dialect, call, expected)
    elif row["check"].startswith("relation."):
        defined = ""
        inputs, body, more = relation_text(case, api, row, dialect)
        helpers |= more
    elif fatal:
        body = _survival(case, dialect, call, expected)
    elif expected is None:
        body = _promise(dialect, call, promised(case, api))
    else:
        body = _comparison(case, dialect, call, row, expected)
    if (row.get("error") or {}).get("phase") == "build":  # the framework refuses to make the inputs
        inputs, body = "", body.replace("try:\n", f"try:\n{textwrap.indent(inputs, '    ')}\n", 1)
    helpers |= {name for name in HELPERS if f"{name}(" in body or f"{name}(" in defined}
    parts = [
        _header(case, api, row, dialect, version),
        GUARD if repeated else _GUARD.format(seconds=CHILD_SECONDS) if fatal else "import sys",
        f"import numpy as np\n{dialect.prelude()}",
        f'print("{dialect.name}", {dialect.name}.__version__)',
        *(HELPERS[name] for name in sorted(helpers)),
        inputs,
        defined,
        body,
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _header(case: Case, api: Api, row: dict[str, Any], dialect: Dialect, version: str) -> str:
    check, kind = row["check"], row.get("kind") or row.get("status", "fail")
    compiled = dialect.compiled("…")
    who = f"{api.name} in {compiled}" if compiled else api.name
    what = f"{who} {_VERDICTS.get(kind, kind)}"
    if check.startswith("grad."):
        what += f" (gradient by `{check[5:]}`)"
    elif kind == "raises" and case.domain == "undefined":
        what = f"{who} raises, but not what and where its document promises"
    message = (row.get("message") or "").strip().splitlines()
    lines = [what + (f": {message[0]}" if message else ".")]
    lines += [f"  {case.id}: {case.why}", f"  {case.op.name}: {case.op.summary}", f"  {api.decl.doc}"]
    for claim in api.claims if case.domain == "undefined" else ():
        if claim.raises and any(evidence(pattern, case) for pattern in claim.cases):
            lines.append(f"  The document says: {' '.join(claim.says.split())}")
    where = "" if dialect.variant.device == CPU else f", on {dialect.variant.device}"
    lines += [
        f"  Seen with {_seen(dialect, version)}{where}.",
        "Exits 1 while the discrepancy is there, 0 once it is fixed.",
    ]
    return "\n".join(_comment(line) for line in lines)


def _comment(line: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in line[:600])
    text = printable.strip()
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent="# ",
        subsequent_indent="# " if text == printable else "#   ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _seen(dialect: Dialect, version: str) -> str:
    distribution = dialect.distribution or dialect.name
    try:
        return f"{distribution} {version or metadata.version(distribution)}"
    except metadata.PackageNotFoundError:
        return f"{distribution}, version not recorded"


_memory: list[tuple[Case, str, Expectation | None]] = []


def recall(case: Case, api: Api) -> Expectation | None:
    """Ask the oracle, remembering its last answers: the scripts of one case follow each other."""
    params = repr(sorted(resolved_params(case, api).items()))
    for known, given, answer in _memory:
        if known is case and given == params:
            return answer
    answer = expectation(case, api)
    _memory[:] = [*_memory[-1:], (case, params, answer)]
    return answer


def _comparison(case: Case, dialect: Dialect, call: str, row: dict[str, Any], expected: Expectation) -> str:
    """Call, differentiate, and compare as `conformance.compare` does."""
    check: str = row["check"]
    what, _, name = check.partition(".")
    exact = {"grad": expected.gradients, "grad2": expected.second}[what][name] if name else expected.output
    before = ""
    if what == "grad2":
        kind = case.tensors[name].dtype
        before, _ = cotangent(case, expected.output.low.shape, kind)
        before += f"\ndirection = {array(case.direction(name).astype(kind))}"
        block = dialect.differentiate_twice(call, name, kind.name)
        result = "gradient"
        block += f"\ngot = {dialect.read(result, exact.dtype)}"
    elif name:
        kind = _first_floating(case)
        before, _ = cotangent(case, expected.output.low.shape, case.tensors[kind].dtype)
        block = dialect.differentiate(call, name, case.tensors[kind].dtype.name)
        block += f'\nif gradient is None:\n    print("no gradient by `{name}`")\n    sys.exit(1)'
        result = "gradient"
    else:
        block, result = f"output = {call}", "output"
    if what != "grad2":
        block += f"\ngot = {dialect.read(result, exact.dtype)}"
    empty = exact.low.size > 0 and not all(case.tensors[n].size for n in case.specs)
    repeated = not name and (empty or bool(row.get("nondeterministic")))
    if repeated and empty:
        block += (
            "\n# Of no elements some kernels return what memory held before, by luck a zero: so there are"
        )
        block += "\n# thousands in it, and the call is repeated."
        block += f"\nfreed = [{dialect.exp(8.0)} for _ in range(100)]\ndel freed"
    if repeated:
        block += f"\nrepeats = [{dialect.read(call, exact.dtype)} for _ in range(100)]"
    after = ""
    if row.get("kind") == "mutated_input":
        before, after = _mutation(case, dialect)
    if row.get("kind") == "mutated_process":
        before, after = mutation_text(row["message"])
    wanted = f"{dialect.dtype(exact.dtype)}, {exact.low.shape}"
    shape = f"""\
if ({result}.dtype, tuple({result}.shape)) != ({wanted}):
    print("got", {result}.dtype, tuple({result}.shape), "expected", {wanted})
    sys.exit(1)"""
    signed = case.signed_zero and not name
    comparison = comparison_text(exact, tuple(row.get("worst") or ()), signed=signed, repeated=repeated)
    return "\n\n".join(part for part in (before, _attempt(block), after, shape, comparison) if part)


def _attempt(block: str) -> str:
    return f"""\
try:
{textwrap.indent(block, "    ")}
except Exception as error:
    print(f"raised {{type(error).__name__}}: {{error}}")
    sys.exit(1)"""


def _mutation(case: Case, dialect: Dialect) -> tuple[str, str]:
    """Write the statements before and after the call that see whether it changed an input."""
    bits = ", ".join(f'"{n}": {dialect.read(n, case.dtypes[n])}.tobytes()' for n in case.specs)
    before = f"def inputs():\n    return {{{bits}}}\n\nbefore = inputs()"
    after = """\
changed = [name for name, bits in inputs().items() if bits != before[name]]
if changed:
    print("the call changed its input", *changed)
    sys.exit(1)"""
    return before, after


def _first_floating(case: Case) -> str:
    """Name the tensor whose dtype the cotangent has (as `run.request_for`)."""
    for name, decl in case.op.decl.tensors.items():
        if decl.kind == "floating" and name in case.specs:
            return name
    raise HarnessError(f"{case.id} has no floating tensor")


_CLASSES = {
    "value": "ValueError",
    "type": "TypeError",
    "index": "IndexError",
    "unsupported": "NotImplementedError",
}


def _promise(dialect: Dialect, call: str, categories: tuple[Category, ...]) -> str:
    """Write a script that is right where the call itself raises what the document promises."""
    names = [_CLASSES[category] for category in categories if category in _CLASSES]
    right = [f"isinstance(error, ({', '.join(names)},))"] if names else []
    if "runtime" in categories:  # a subclass is another category: NotImplementedError is one
        right.append("type(error) is RuntimeError")
        right += [f"isinstance(error, {dialect.refusals})"] if dialect.refusals else []
    return f"""\
try:
{textwrap.indent(f"output = {call}", "    ")}
except Exception as error:
    print(f"raised {{type(error).__name__}}: {{error}}")
    # The document promises an error of this class; another one came out by accident.
    sys.exit(0 if {" or ".join(right)} else 1)
print("returned, where the document promises an error")
sys.exit(1)"""


def _survival(case: Case, dialect: Dialect, call: str, expected: Expectation | None) -> str:
    """Write what the child process does: the call, and every gradient that the run asked for."""
    blocks = [_tolerant(f"output = {call}\n{dialect.read('output', case.dtype)}")]
    if expected is not None and case.gradients:
        kind = case.tensors[_first_floating(case)].dtype
        text, _ = cotangent(case, expected.output.low.shape, kind)
        text = text.replace("cotangent = ", "values = ", 1)
        for name in case.gradients:
            block = f"cotangent = values\n{dialect.differentiate(call, name, kind.name)}"
            blocks.append(_tolerant(f"{block}\n{dialect.read('gradient', case.dtype)}"))
        if dialect.name == "paddle":  # as the run has it: by all inputs at once
            text += "".join(f"\n{name}.stop_gradient = False" for name in case.gradients)
            by, ct = ", ".join(case.gradients), dialect.tensor("values", kind.name)
            whole = f"paddle.grad(output, [{by}], grad_outputs=[{ct}], allow_unused=True)"
            blocks.append(
                _tolerant(
                    f"output = {call}\ngradients = {whole}\n[g.numpy() for g in gradients if g is not None]"
                )
            )
        blocks.insert(0, text)
    return "\n\n".join([*blocks, "sys.exit(0)"])


def _tolerant(block: str) -> str:
    return f"""\
try:
{textwrap.indent(block, "    ")}
except Exception as error:  # a refusal is not a crash
    print(f"raised {{type(error).__name__}}")"""


_GUARD = """\
import signal
import subprocess
import sys

if sys.argv[1:] != ["child"]:  # the call takes its process down: it gets one of its own
    command = [sys.executable, __file__, "child"]
    try:
        status = subprocess.run(command, timeout={seconds}, capture_output=True).returncode
    except subprocess.TimeoutExpired:
        print("no answer in {seconds} s")
        sys.exit(1)
    if status:
        print("the process died:", signal.Signals(-status).name if status < 0 else f"exit status {{status}}")
    sys.exit(1 if status else 0)
"""
