"""What a case file may not say: each mistake is exit 4 at its own file, line and column."""

from pathlib import Path

import pytest

from conformance.errors import Exit, InvalidFileError
from conformance.load import load_operator

FILE = Path("cases/loss/x.yaml")
TEXT = """\
op: multi_margin_loss
family: loss
summary: a hinge
tensors:
  input: {kind: floating}
  target: {kind: label}
  weight: {kind: floating, optional: true}
params: {p: {default: 1}, margin: {default: 1.0}, reduction: {default: mean}}
apis:
  torch.nn.functional.multi_margin_loss:
    doc: https://example.org
    call: [input, target, p, margin, weight, reduction]
    unsupported:
      - {dtype: [float16], why: no kernel, source: https://example.org}
      - {cases: ["plain*"], label: [int32], why: no kernel, source: https://example.org}
cases:
  - case: plain
    why: nothing special
    inputs: {input: {uniform: [2, 3]}, target: [0, 2]}
    params: {p: 2}
    gradients: [input]
    matrix: {dtype: [float32, float64], reduction: [none]}
  - case: second
    why: another
    inputs: {input: [[1.0, 2.0]], target: [1]}
claims:
  torch.nn.functional.multi_margin_loss:
    - {claim: formula, says: the hinge, cases: ["plain*"], conforms: [output]}
    - claim: raises
      says: refuses
      cases: ["second*"]
      refused: true
"""
API = "torch.nn.functional.multi_margin_loss"
WHOLE = "    call: [input, target, p, margin, weight, reduction]\n"

MISTAKES = [
    # old text, new text, line:column, what the message says
    ("op: multi_margin_loss", "op: multi_marign_loss", "1:1", "'multi_marign_loss' has no reference"),
    ("kind: label", "kind: labels", "6:12", "Invalid enum value 'labels'"),
    ("family: loss\n", "", "1:1", "missing required field 'family'"),
    ("summary: a hinge", "summary: 3", "3:1", "Expected 'str', got 'int'"),
    ("family: loss", "familie: loss", "2:1", "unknown field 'familie'"),
    ("apis:\n  torch.nn", "apis:\n  tensorflow.nn", "10:3", "in no namespace of a backend"),
    (WHOLE, "    call: [input, traget]\n", "12:5", "'traget' is neither a tensor nor a parameter"),
    (WHOLE, WHOLE + "    init: {q: q}\n", "13:5", "'q' is neither a tensor nor a parameter"),
    (
        WHOLE,
        "    call: {input: 'x=exit(), y', target: target}\n",
        "12:12",
        "'x=exit(), y' is no name of an arg",
    ),
    (WHOLE, "    call: {input: input, target: class}\n", "12:26", "'class' is no name of an argument"),
    (WHOLE, WHOLE + "    init: {margin: 'm)#'}\n", "13:12", "'m)#' is no name of an argument"),
    (WHOLE, WHOLE + "    fixed: {'m=1,n': 1}\n", "13:13", "'m=1,n' is no name of an argument"),
    (WHOLE, WHOLE + "    integral: [marign]\n", "13:5", "no parameter 'marign'"),
    (WHOLE, WHOLE + "    defaults: {q: 1}\n", "13:5", "no parameter 'q'"),
    ("    params: {p: 2}\n", "    isolated: [toch]\n", "20:5", "there is no backend 'toch'"),
    ("    params: {p: 2}\n", "    isolated: true\n", "20:5", "Expected 'array', got 'bool'"),
    (WHOLE, WHOLE + "    label: int31\n", "13:5", "'int31' is not one of"),
    (WHOLE, WHOLE + "    lable: int32\n", "13:5", "unknown field 'lable'"),
    ("{dtype: [float16], why", "{dtype: [half], why", "14:10", "'half' is not one of"),
    ("label: [int32]", "label: [int]", "15:29", "'int' is not one of"),
    ('["plain*"], label', '["plan*"], label', "15:18", "'plan*' matches no case"),
    ("why: no kernel, source: https://example.org}\n      -", "why: no kernel}\n      -", "14:9", "'source'"),
    ("case: plain", "case: Plain_1", "17:5", "is not a name: lower case, digits and hyphens"),
    ("    why: nothing special\n", "", "17:5", "missing required field 'why'"),
    ("{input: {uniform", "{inptu: {uniform", "19:14", "no tensor 'inptu'"),
    (", target: [0, 2]}", "}", "19:5", "the op needs the tensor 'target'"),
    ("{uniform: [2, 3]}", "{unifrom: [2, 3]}", "19:14", "give exactly one of"),
    ("{uniform: [2, 3]}", "{uniform: [2, 3], hi: 1}", "19:14", "unknown key 'hi' beside 'uniform'"),
    ("{uniform: [2, 3]}", "{uniform: [9999, 9999]}", "19:14", "more than 16777216 elements"),
    ("{uniform: [2, 3]}", "[[1, 2], [3]]", "19:14", "not an array: the rows differ in length"),
    ("target: [0, 2]", "target: [0, 1.5]", "19:40", "not an array: a value that int64 does not hold"),
    ("target: [0, 2]", "target: {values: [0], dtype: int31}", "19:40", "unknown dtype 'int31'"),
    ("params: {p: 2}", "params: {q: 2}", "20:14", "no parameter 'q'"),
    ("params: {p: 2}", "params: {p: [2]}", "20:14", "'p' takes one value, not a list"),
    ("gradients: [input]", "gradients: [inptu]", "21:17", "the case has no input 'inptu'"),
    ("gradients: [input]", "gradients: [weight]", "21:17", "the case has no input 'weight'"),
    ("[float32, float64]", "[float32, float8]", "22:14", "'float8' is not one of float16, bfloat16"),
    ("[float32, float64]", "[]", "22:14", "nothing on the axis 'dtype'"),
    ("[float32, float64]", "[float32, float32]", "17:5", "stands at cases/loss/x.yaml:17:5 too"),
    ("reduction: [none]", "reductoin: [none]", "22:41", "reductoin: 'none' is not a parameter"),
    ("reduction: [none]", "weight.dtype: [float16]", "22:41", "weight.dtype: 'float16' is not"),
    ("reduction: [none]", "input.dtype: [float8]", "22:41", "input.dtype: 'float8' is not"),
    ("reduction: [none]", "input.layout: [diagonal]", "22:41", "input.layout: 'diagonal' is not"),
    ("case: second\n", "case: second\n    domain: defind\n", "24:5", "Invalid enum value 'defind'"),
    ("case: second\n", "case: plain\n    matrix: {reduction: [none]}\n", "23:5", "stands at cases"),
    (f"claims:\n  {API}", f"claims:\n  {API}s", "27:3", "which this file does not bind"),
    ('cases: ["plain*"], conforms', 'cases: ["plan*"], conforms', "28:49", "'plan*' matches no case"),
    (", conforms: [output]", "", "28:8", "give exactly one way to verify the claim"),
    (", conforms: [output]", ", conforms: [output], variant: x", "28:8", "give exactly one way"),
    ("conforms: [output]", "variant: squared-hinge", "28:60", "no variant 'squared-hinge'"),
    ("conforms: [output]", "raises: [ValueErr]", "28:69", "Invalid enum value 'ValueErr'"),
    ('      cases: ["second*"]\n', "", "29:7", "names the cases that are its evidence"),
]


@pytest.mark.parametrize(("old", "new", "at", "says"), MISTAKES, ids=[m[3][:40] for m in MISTAKES])
def test_a_mistake_is_placed(old: str, new: str, at: str, says: str) -> None:
    """One mistake in an otherwise valid file is reported at its own place, in words, as exit 4."""
    assert TEXT.count(old) == 1
    with pytest.raises(InvalidFileError) as caught:
        load_operator(FILE, TEXT.replace(old, new))
    assert says in str(caught.value)
    assert caught.value.where == f"{FILE}:{at}"
    assert caught.value.exit_code == Exit.USAGE


def test_the_file_without_a_mistake_is_valid() -> None:
    """The text that the mistakes are planted in loads: each failure above has one cause."""
    assert len(load_operator(FILE, TEXT).cases) == 3
