"""Suites of any size: op files as people write them, and their definitions, made to measure.

An op has 2000 cases, more than any that is shipped, so a million cases are 500 ops. A case is about as
long as a shipped one, and two come of each entry. All cases of a dtype have the same inputs, and no result
depends on `index`: so one answer is right for all of them.
"""

from pathlib import Path

from conformance.arrays import NDArray
from conformance.definition import definitions, reference

CASES = 2000
"""Of an op."""
INPUT = [0.5, -1.25, 2.0, 3.75]
BACKENDS = ("torch", "paddle", "mindspore")
_APIS = ("torch.nn.functional", "paddle.nn.functional", "mindspore.ops")

_HEAD = """\
op: {op}
family: scale
summary: twice the input, as often as a measurement needs it

tensors:
  input: {{kind: floating}}

params:
  index: {{default: 0}}

apis:
{apis}
claims:
  torch.nn.functional.{op}:
    - claim: formula
      says: "output = 2 · input"
      cases: ["many-*"]
      conforms: [output]

cases:
"""
_API = "  {where}.{op}:\n    doc: https://example.org/{where}.{op}\n    call: [input, index]\n"
_CASE = """\
  - case: many-{n}
    why: One of many, which differ in what does not matter.
    inputs: {{input: {input}}}
    params: {{index: {n}}}
    matrix: {{dtype: [float32, float64]}}
"""


def define(ops: int) -> list[str]:
    """Define so many ops, unless they are already; return their names."""
    names = [f"scale_{number:04}" for number in range(ops)]
    for name in names:
        if name not in definitions():
            _define(name)
    return names


def _define(name: str) -> None:
    def doubled(input: NDArray, index: int = 0) -> NDArray:  # noqa: A002 - as every definition has it
        del index
        return input * 2

    def pulled(cotangent: NDArray, input: NDArray, index: int = 0) -> dict[str, NDArray]:  # noqa: A002
        del input, index
        return {"input": cotangent * 2}

    doubled.__name__ = name
    reference(differentiable=("input",))(doubled).vjp(pulled)


def write(folder: Path, cases: int) -> list[str]:
    """Write a suite of so many cases; return the names of its ops, which are defined then."""
    names = define(-(-cases // CASES))
    folder.mkdir(parents=True, exist_ok=True)
    for place, op in enumerate(names):
        entries = (min(CASES, cases - place * CASES) + 1) // 2
        head = _HEAD.format(op=op, apis="".join(_API.format(op=op, where=where) for where in _APIS))
        body = "".join(_CASE.format(n=n, input=INPUT) for n in range(entries))
        (folder / f"{op}.yaml").write_text(head + body, encoding="utf-8")
    return names
