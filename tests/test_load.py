"""Case files: how a matrix expands, what a case and an API become, and that the shipped ones load."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.adapters import BACKENDS
from conformance.arrays import FLOATING, from_wire
from conformance.errors import Exit, HarnessError, InvalidFileError, UsageError
from conformance.expand import Shared
from conformance.load import (
    Case,
    Operator,
    api_of,
    evidence,
    find_case,
    inexpressible,
    load_operator,
    load_suite,
    wire_params,
    wire_tensors,
)
from conformance.question import request_for

HEAD = """
op: multi_margin_loss
family: loss
summary: a hinge
tensors:
  input: {kind: floating}
  target: {kind: label}
  weight: {kind: floating, optional: true}
params: {p: {default: 1}, margin: {default: 1.0}, reduction: {default: mean}}
apis:
  torch.nn.functional.multi_margin_loss: {doc: x, call: [input, target, p, margin, weight, reduction]}
  paddle.nn.MultiMarginLoss:
    {doc: x, init: {p: p, margin: m}, call: {input: input, target: label}, label: int32, integral: [margin]}
"""
PLAIN = """
  - case: plain
    why: why not
    inputs: {input: {uniform: [2, 3]}, target: [0, 2]}
"""


def operator(*cases: str) -> Operator:
    """Load an op file with these cases."""
    return load_operator(Path("x.yaml"), HEAD + "cases:" + "".join(cases))


def only(case: str) -> Case:
    """Load an op file with one case that expands to one."""
    (found,) = operator(case).cases
    return found


def ids(*cases: str) -> list[str]:
    """Return the ids of these cases, without the op."""
    return [case.id.removeprefix("multi_margin_loss/") for case in operator(*cases).cases]


@pytest.fixture(scope="module")
def shipped() -> list[Operator]:
    """Load the shipped case files once."""
    return load_suite()


def test_the_id_of_the_design() -> None:
    """Dtype and reduction stand bare, in the order of the matrix: the id that design.md publishes."""
    case = PLAIN.replace("plain", "weighted-p2") + "    matrix: {dtype: [float32], reduction: [none]}\n"
    assert only(case).id == "multi_margin_loss/weighted-p2[float32,none]"


def test_a_matrix_expands_in_order() -> None:
    """The last axis varies fastest; what is neither dtype nor reduction is shown with its name."""
    matrix = "{dtype: [float16, float64], p: [1, 2], margin: [0.5], input.layout: [strided]}"
    case = f"{PLAIN}    matrix: {matrix}\n"
    assert ids(case) == [
        "plain[float16,p=1,margin=0.5,input.layout=strided]",
        "plain[float16,p=2,margin=0.5,input.layout=strided]",
        "plain[float64,p=1,margin=0.5,input.layout=strided]",
        "plain[float64,p=2,margin=0.5,input.layout=strided]",
    ]


def test_dtype_is_float32_unless_said() -> None:
    """A case without a dtype axis is a float32 case, and its id says so first."""
    assert ids(PLAIN, PLAIN.replace("plain", "next") + "    matrix: {p: [2]}\n") == [
        "plain[float32]",
        "next[float32,p=2]",
    ]


def test_matrix_values_go_where_they_belong() -> None:
    """An axis sets a parameter, a tensor's dtype or its layout, over what the case says itself."""
    case = PLAIN + (
        "    params: {p: 2, margin: 3.0}\n"
        "    matrix: {dtype: [bfloat16], margin: [0.5], target.dtype: [int32], input.layout: [transposed]}\n"
    )
    found = only(case)
    assert found.dtype == "bfloat16"
    assert found.params == {"p": 2, "margin": 0.5}
    assert found.dtypes == {"input": "bfloat16", "target": "int32"}
    assert found.layouts == {"input": "transposed", "target": "contiguous"}
    assert found.pinned == {"target"}


def test_tensors_have_their_dtypes() -> None:
    """Floating tensors follow the case's dtype, labels are int64, and an input may pin its own."""
    found = only(PLAIN.replace("[0, 2]}", "{values: [0, 2], dtype: int8}, weight: [1, 2, 3]}"))
    assert {name: array.dtype.name for name, array in found.tensors.items()} == {
        "input": "float32",
        "target": "int8",
        "weight": "float32",
    }
    assert found.tensors["target"].tolist() == [0, 2]


def test_inputs_do_not_depend_on_the_matrix() -> None:
    """Every point of a matrix has the same numbers, rounded to its dtype; another case has others."""
    case = PLAIN + "    matrix: {dtype: [float64, float16], reduction: [none, sum]}\n"
    first, second, half, _ = (case.tensors["input"] for case in operator(case).cases)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(half, first.astype(np.float16))
    other = only(PLAIN.replace("plain", "other")).tensors["input"]
    assert not np.array_equal(other, first.astype(np.float32))


def test_gradients_are_by_every_floating_input() -> None:
    """Without `gradients` each differentiable input that is there counts; with it, the named ones."""
    weighted = PLAIN.replace("[0, 2]}", "[0, 2], weight: [1, 2, 3]}")
    assert only(PLAIN).gradients == ("input",)
    assert only(weighted).gradients == ("input", "weight")
    assert only(weighted + "    gradients: [weight]\n").gradients == ("weight",)
    assert only(weighted + "    gradients: []\n").gradients == ()


def test_the_cotangent_is_not_trivial() -> None:
    """A cotangent is ±{0.5 … 1.5}, exact in every dtype, never zero or uniform, and pinned by the id."""
    case = only(PLAIN)
    drawn = case.cotangent((40,))
    assert set(abs(drawn)) == {0.5, 0.75, 1.0, 1.25, 1.5}
    assert {-1.0, 1.0} == set(np.sign(drawn))
    assert case.cotangent((5,)).tolist() == [0.5, 0.75, -0.5, -0.75, -1.0]
    assert case.cotangent(()).shape == ()


def test_labels_go_out_in_the_documented_dtype() -> None:
    """An API that documents int32 labels is sent int32, unless the case pins a dtype of its own."""
    op = operator(PLAIN, PLAIN.replace("plain", "pinned") + "    matrix: {target.dtype: [int64]}\n")
    torch, paddle = op.apis
    plain, pinned = op.cases
    pairs = [(case, api) for case in (plain, pinned) for api in (torch, paddle)]
    sent = {(case.name, api.backend): wire_tensors(case, api)["target"] for case, api in pairs}
    assert {key: array.dtype for key, array in sent.items()} == {
        ("plain", "torch"): "int64",
        ("plain", "paddle"): "int32",
        ("pinned", "torch"): "int64",
        ("pinned", "paddle"): "int64",
    }
    assert from_wire(sent["plain", "paddle"]).tolist() == [0, 2]


def test_layouts_travel() -> None:
    """The layout that a case asks for goes out with the tensor."""
    case = only(PLAIN + "    matrix: {input.layout: [transposed]}\n")
    sent = wire_tensors(case, case.op.apis[0])
    assert (sent["input"].layout, sent["target"].layout) == ("transposed", "contiguous")


@pytest.mark.parametrize(("given", "sent"), [(2.0, 2), (0.5, 0.5), (3, 3), (-1.0, -1)])
def test_whole_numbers_go_out_as_int_where_documented(given: float, sent: float) -> None:
    """`integral` sends 2.0 as the int 2, and leaves 0.5 to be refused; other APIs get the float."""
    case = only(PLAIN + f"    params: {{margin: {given}}}\n")
    torch, paddle = case.op.apis
    assert [(type(v), v) for v in wire_params(case, paddle).values()] == [(type(sent), sent)]
    assert [(type(v), v) for v in wire_params(case, torch).values()] == [(type(given), given)]


def test_bindings() -> None:
    """A list binds names to themselves, a mapping to the API's; a function has no constructor."""
    torch, paddle = operator(PLAIN).apis
    assert torch.binding.call["weight"] == "weight"
    assert torch.binding.init is None
    assert paddle.binding.init == {"p": "p", "margin": "m"}
    assert paddle.binding.call == {"input": "input", "target": "label"}


def test_find_case_suggests() -> None:
    """An id with a typing error is answered with the nearest ones; one far from all, without."""
    suite = [operator(PLAIN + "    matrix: {reduction: [none, sum]}\n")]
    assert find_case(suite, "multi_margin_loss/plain[float32,sum]").params == {"reduction": "sum"}
    with pytest.raises(UsageError, match=r"did you mean multi_margin_loss/plain\[float32,sum\]"):
        find_case(suite, "multi_margin_loss/plain[float32,sun]")
    with pytest.raises(UsageError) as caught:
        find_case(suite, "zzzz")
    assert str(caught.value) == "no case 'zzzz'"


def test_api_of_unknown_api_is_ours() -> None:
    """Inside the harness an unknown API is a fault of the harness."""
    with pytest.raises(HarnessError, match=r"multi_margin_loss has no API 'torch\.nope'"):
        api_of(operator(PLAIN), "torch.nope")


def test_evidence_leaves_out_the_op() -> None:
    """Patterns in an op's own file do not repeat the op's name."""
    case = only(PLAIN)
    assert evidence("plain[*", case)
    assert not evidence("multi_margin_loss/plain[*", case)


def test_an_op_stands_in_one_file(tmp_path: Path) -> None:
    """The same op in two files is refused, naming both."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(HEAD + "cases:" + PLAIN)
    with pytest.raises(InvalidFileError, match=r"b\.yaml:1:1: op 'multi_margin_loss' stands in .*a\.yaml"):
        load_suite(tmp_path)


def test_a_folder_without_cases_is_a_usage_error(tmp_path: Path) -> None:
    """No case files is an answer of its own, not an empty suite."""
    with pytest.raises(UsageError, match="no case files below") as caught:
        load_suite(tmp_path)
    assert caught.value.exit_code == Exit.USAGE


def test_one_file_is_a_suite(tmp_path: Path) -> None:
    """A single file may be named in place of a folder."""
    path = tmp_path / "one.yaml"
    path.write_text(HEAD + "cases:" + PLAIN)
    assert [op.file for op in load_suite(path)] == [path]


def test_shipped_ids_are_unique_and_well_formed(shipped: list[Operator]) -> None:
    """Every shipped id stands once and reads op/name[dtype,…]."""
    found = [case.id for op in shipped for case in op.cases]
    assert [case_id for case_id, times in Counter(found).items() if times > 1] == []
    shape = re.compile(rf"[a-z0-9_]+/[a-z0-9-]+\[({'|'.join(FLOATING)})(,[^,\[\]]+)*\]")
    assert [case_id for case_id in found if not shape.fullmatch(case_id)] == []


def test_the_seed_operators_are_shipped(shipped: list[Operator]) -> None:
    """The three seed operators are there, each bound to every backend."""
    seeds = {"hinge_embedding_loss", "multi_margin_loss", "multilabel_margin_loss"}
    found = [op for op in shipped if op.name in seeds]
    assert {op.name for op in found} == seeds
    for op in found:
        assert {api.backend for api in op.apis} == set(BACKENDS)
        assert all(api.decl.doc.startswith("https://") for api in op.apis)


def test_shipped_tensors_build(shipped: list[Operator]) -> None:
    """Every small tensor of every shipped case builds, in the dtype it says."""
    for op in shipped:
        for case in op.cases:
            if case.name != "large":
                assert {n: a.dtype.name for n, a in case.tensors.items()} == case.dtypes, case.id


def test_shipped_declarations_say_where_they_come_from(shipped: list[Operator]) -> None:
    """Each `unsupported` cites a document, and every case says why it exists."""
    declared: list[Any] = [decl for op in shipped for api in op.apis for decl in api.decl.unsupported]
    assert declared
    assert [decl for decl in declared if not decl.source.startswith("https://") or len(decl.why) < 10] == []
    assert [case.id for op in shipped for case in op.cases if len(case.why) < 5] == []


# -- what an API cannot be asked -------------------------------------------------------------------------

FORMS = """
op: multi_margin_loss
family: loss
summary: a hinge
tensors:
  input: {kind: floating}
  target: {kind: label}
  weight: {kind: floating, optional: true}
params: {p: {default: 1}, margin: {default: 1.0}, reduction: {default: mean}}
apis:
  torch.nn.functional.multi_margin_loss: {doc: x, call: [input, target]}
  torch.nn.MultiMarginLoss: {doc: x, init: [p], call: [input, target], defaults: {margin: 2.0}}
  paddle.nn.MultiMarginLoss: {doc: x, init: [], call: [input, target], state: {weight: tail.0.weight}}
  paddle.nn.functional.multi_margin_loss:
    {doc: x, call: [input, target, more], lists: {more: [[weight]]}, fixed: {sparse: true},
     transposed: [input], functions: [reduction]}
cases:
  - {case: plain, why: nothing else, inputs: {input: [[1, 2]], target: [0]}}
  - {case: default, why: the op's own, inputs: {input: [[1, 2]], target: [0]}, params: {margin: 1.0}}
  - {case: other, why: another, inputs: {input: [[1, 2]], target: [0]}, params: {margin: 2.0}}
  - {case: whole, why: an exponent, inputs: {input: [[1, 2]], target: [0]}, params: {p: 2}}
  - {case: weighted, why: weights, inputs: {input: [[1, 2]], target: [0], weight: [1, 2]}}
"""


def test_what_an_api_has_no_argument_for_cannot_be_asked() -> None:
    """Unless it is the API's own value; a tensor may also be placed in a module, or packed in a list."""
    op = load_operator(Path("x.yaml"), FORMS)
    function, module, placed, packed = op.apis
    cases = {case.name: case for case in op.cases}
    assert {inexpressible(cases["plain"], api) for api in op.apis} == {""}
    assert inexpressible(cases["default"], function) == ""
    assert inexpressible(cases["other"], function) == f"{function.name} takes no margin; its own is 1.0"
    assert inexpressible(cases["default"], module) == f"{module.name} takes no margin; its own is 2.0"
    assert inexpressible(cases["other"], module) == inexpressible(cases["whole"], module) == ""
    assert inexpressible(cases["weighted"], function) == f"{function.name} takes no weight"
    assert inexpressible(cases["weighted"], placed) == inexpressible(cases["weighted"], packed) == ""


def test_the_forms_of_a_call_are_bound() -> None:
    """What the file says of constants, modules, lists, matrices and callables is what a worker is told."""
    placed, packed = (api.binding for api in load_operator(Path("x.yaml"), FORMS).apis[2:])
    assert placed.state == {"weight": "tail.0.weight"}
    assert (packed.lists, packed.fixed) == ({"more": [["weight"]]}, {"sparse": True})
    assert (packed.transposed, packed.functions) == (("input",), ("reduction",))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("state: {weight:", "state: {bias:", "the op has no tensor 'bias'"),
        ("[[weight]]", "[[bias]]", "the op has no tensor 'bias'"),
        ("transposed: [input]", "transposed: [p]", "the op has no tensor 'p'"),
        ("functions: [reduction]", "functions: [input]", "the op has no parameter 'input'"),
    ],
)
def test_forms_speak_of_what_there_is(old: str, new: str, said: str) -> None:
    """A name that is misspelt would silently not be passed."""
    with pytest.raises(InvalidFileError, match=said):
        load_operator(Path("x.yaml"), FORMS.replace(old, new))


def test_a_case_is_isolated_from_those_whom_it_says() -> None:
    """A call that damages one framework's process has one for itself; the others' need none."""
    (op,) = load_suite(None, ["nll_loss"])
    case = next(case for case in op.cases if case.isolated)
    able = [api for api in op.apis if not inexpressible(case, api)]
    alone = {api.backend: request_for(case, api, 1, None).isolated for api in able}
    assert alone == {"torch": False, "paddle": True, "mindspore": False}


def test_cases_share_what_is_equal_and_only_that() -> None:
    """Of a million cases most have the same dtypes and layouts; 1, 1.0 and True are not the same."""
    (op,) = (each for each in load_suite(ops=["huber_loss"]) if each.name == "huber_loss")
    assert len(op.cases) > 200
    for name in ("dtypes", "layouts", "pinned", "gradients", "params"):
        values = [getattr(case, name) for case in op.cases]
        assert len({id(value) for value in values}) == len({repr(value) for value in values}) < len(values)
    shared = Shared()
    one, real, true = ({"p": value} for value in (1, 1.0, True))
    assert [shared.one(each) for each in (one, real, true, dict(one))] == [one, real, true, one]
    assert type(shared.one({"p": 1.0})["p"]) is float
