"""Repro scripts of results that vary: the same call, several times in each of several processes."""

import textwrap

from conformance.oracle import Expectation
from conformance.question import first_floating
from conformance.repro_dialects import Dialect
from conformance.repro_literals import cotangent
from conformance.suite import Case

GUARD = """\
import hashlib
import subprocess
import sys

if sys.argv[1:] != ["child"]:  # what differs between processes takes several of them to see
    found = {}
    for _ in range(4):
        child = subprocess.run([sys.executable, __file__, "child"], capture_output=True, text=True)
        found.setdefault("exit status", set()).add(child.returncode)
        for line in child.stdout.splitlines():
            if line.startswith("result "):
                found.setdefault(line.split()[1], set()).add(line.split(maxsplit=2)[2])
    varying = {name: len(results) for name, results in found.items() if len(results) > 1}
    print("different results of the same call:", varying or "none")
    sys.exit(1 if varying else 0)
"""
_SEEN = """\
def seen(name, values):
    values = np.asarray(values)
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), values.dtype.type(np.nan), values)  # which NaN means nothing
    bits = hashlib.md5(values.tobytes()).hexdigest()
    print("result", name, values.dtype, values.shape, bits, flush=True)"""


def repetition_text(case: Case, dialect: Dialect, call: str, expected: Expectation | None) -> str:
    """Write what each process does: the calls and gradients that the run asked for, several times."""
    output = f"output = {call}\nseen('output', {dialect.read('output', case.dtype)})"
    blocks, values = [_attempt("output", output)], ""
    if expected is not None and case.gradients:
        kind = case.tensors[first_floating(case)].dtype
        text, _ = cotangent(case, expected.output.low.shape, kind)
        values = text.replace("cotangent = ", "values = ", 1)
        for name in case.gradients:
            block = f"cotangent = values\n{dialect.differentiate(call, name, kind.name)}\n"
            block += f"seen('grad.{name}', {dialect.read('gradient', case.dtype)})"
            blocks.append(_attempt(f"grad.{name}", block))
    body = textwrap.indent("\n".join(blocks), "    ")
    return "\n\n".join(part for part in (_SEEN, values, f"for _ in range(5):\n{body}") if part)


def _attempt(name: str, block: str) -> str:
    return f"""\
try:
{textwrap.indent(block, "    ")}
except Exception as error:  # a refusal is a result too
    print("result {name} raised", type(error).__name__, flush=True)"""
