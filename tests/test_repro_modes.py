"""Repro scripts of the modes that compile, and of devices, executed: 1 for what is wrong in that mode."""

import ast
from typing import Any

import pytest

from conformance.backends import PLAIN, Variant
from conformance.errors import UsageError
from conformance.load import api_of, find_case
from conformance.repro import execute_many, script
from conformance.repro_dialects import DIALECTS, dialect_of
from tests import compiler
from tests.shipped import suite

MODES = {"torch": "compile", "paddle": "to_static", "mindspore": "graph"}
L1, PAIRS = "l1_loss/basic[float32,mean]", "multilabel_margin_loss/basic[float32,none]"
NLL = "nll_loss/weighted[float32,none]"
BCE = "binary_cross_entropy/basic[float32,none]"
CTC = "ctc_loss/basic[float32,none]"
RIGHT = {
    "torch": [("torch.nn.L1Loss", "grad.input"), ("torch.nn.functional.l1_loss", "relation.permutation")],
    "paddle": [("paddle.nn.L1Loss", "grad.input"), ("paddle.nn.functional.l1_loss", "relation.permutation")],
    "mindspore": [("mindspore.nn.L1Loss", "grad.input"), ("mindspore.ops.l1_loss", "relation.permutation")],
}
WRONG: dict[str, list[tuple[str, str, str, dict[str, Any]]]] = {
    "torch": [
        (PAIRS, "torch.nn.functional.multilabel_margin_loss", "output", {"kind": "value"}),
        (PAIRS, "torch.nn.MultiLabelMarginLoss", "grad.input", {"kind": "grad_value"}),
        (
            CTC,
            "torch.nn.functional.ctc_loss",
            "output",
            {"kind": "raises", "error": {"exception": "NotCompiledError", "phase": "call"}},
        ),
    ],
    "paddle": [(BCE, "paddle.nn.BCELoss", "grad.target", {"kind": "grad_value"})],
    "mindspore": [(NLL, "mindspore.nn.NLLLoss", "grad.weight", {"kind": "grad_value"})],
}


def written(case: str, api: str, check: str, variant: Variant, **more: Any) -> str:
    """Write the script of a failing check."""
    found = find_case(list(suite()), case)
    row = {"case": case, "api": api, "check": check, "status": "fail", "kind": "value", "message": "", **more}
    return script(found, api_of(found.op, api), row, "1.0", variant)


@pytest.mark.parametrize("backend", MODES)
def test_scripts_run_in_the_mode(backend: str) -> None:
    """What conforms in it exits 0: a class, its gradient, a relation; what fails in it alone exits 1."""
    compiler.wanted(backend)
    variant = Variant(MODES[backend])
    scripts = {f"{api} {check}": written(L1, api, check, variant) for api, check in RIGHT[backend]}
    wanted = dict.fromkeys(scripts, 0)
    for case, api, check, more in WRONG[backend]:
        scripts[f"{case} {api} {check}"] = written(case, api, check, variant, **more)
        wanted[f"{case} {api} {check}"] = 1
    how = DIALECTS[backend].compilers[variant.mode].partition("(")[0]
    assert all(f"{how}(" in text and f" in {how}(" in text for text in scripts.values())
    assert all("conformance" not in text for text in scripts.values())
    assert execute_many(scripts) == wanted


def test_what_is_not_compiled_asks_for_the_whole_graph() -> None:
    """Called as it stands, it would run eager, and conform."""
    more = {"kind": "raises", "error": {"exception": "NotCompiledError", "phase": "call"}}
    text = written(CTC, "torch.nn.functional.ctc_loss", "output", Variant("compile"), **more)
    assert "torch.compile(call, fullgraph=True)(" in text
    with pytest.raises(UsageError, match="was not compiled: of that there is no script"):
        written(L1, "paddle.nn.L1Loss", "output", Variant("to_static"), **more)


@pytest.mark.parametrize("backend", MODES)
@pytest.mark.parametrize("mode", ["eager", "compiled"])
def test_every_form_of_a_call_is_python(backend: str, mode: str) -> None:
    """Functions as parameters, modules with tensors placed in them, lists of tensors, picked outputs."""
    variant = Variant(MODES[backend]) if mode == "compiled" else PLAIN
    for op in suite():
        for api in (api for api in op.apis if api.backend == backend):
            case = next(each for each in op.cases if each.domain == "defined" and each.gradients)
            row = {"check": "output", "status": "fail", "kind": "value", "message": ""}
            text = script(case, api, row, "1.0", variant)
            ast.parse(text)
            assert ("def call(" in text) == (mode == "compiled")


def test_scripts_run_on_the_device() -> None:
    """Tensors are made on it, modules moved there, results read back from it."""
    text = written(L1, "torch.nn.L1Loss", "grad.input", Variant(device="cuda:1"))
    assert ", device='cuda:1')" in text
    assert "L1Loss(reduction=\"mean\").to('cuda:1')(" in text
    assert ".detach().cpu().numpy()" in text
    assert "Seen with torch 1.0, on cuda:1." in text
    assert 'paddle.set_device("gpu")' in written(L1, "paddle.nn.L1Loss", "output", Variant(device="gpu"))
    text = written(L1, "mindspore.nn.L1Loss", "output", Variant("graph", "ascend:3"))
    assert 'mindspore.set_device("Ascend", 3)' in text


def test_a_dialect_that_does_not_know_a_mode_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Better no script than one in another mode."""
    monkeypatch.setattr(type(DIALECTS["torch"]), "compilers", {})
    with pytest.raises(UsageError, match="backend torch:compile has no repro scripts"):
        dialect_of("torch", Variant("compile"))
