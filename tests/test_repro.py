"""Repro scripts: the same bits as the harness sends, exit 1 for every kind of discrepancy, 0 without one."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from conformance import repro_literals, values
from conformance.arrays import NDArray, from_wire, numpy_dtype
from conformance.compare import compare
from conformance.errors import UsageError
from conformance.judge import promised
from conformance.ledger import Ledger
from conformance.load import Api, Case, Operator, api_of, find_case, wire_tensors
from conformance.pool import backend_spec
from conformance.repro import execute_many, script
from conformance.repro_dialects import DIALECTS
from conformance.run import Selection, expectation, run
from conformance.stream import read_stream
from tests.shipped import SEEDS
from tests.shipped import suite as shipped

BACKENDS = ("torch", "paddle", "mindspore")
NAMES = {
    "basic",
    "weighted",
    "weighted-p2",
    "squared",
    "on-the-kink",
    "not-contiguous",
    "unbatched",
    "label-int32",
    "overflow",
    "nan-in-another-class",
    "negative-zero",
    "empty-batch",
    "empty-batch-mean",
    "illegal-p",
    "illegal-reduction",
}
FORMS = (
    "adaptive_log_softmax/every-cluster[float32]",
    "cross_entropy/basic[float32,mean]",
    "cross_entropy/ignored-some[float32,",
    "cross_entropy/weighted[float32,none]",
    "mse_loss/basic[float32,sum]",
    "mse_loss/second-order[float32",
    "triplet_margin_with_distance_loss/pairs-custom[float32,",
)
"""Cases whose calls take every form that a binding has, with their relations and second derivatives."""
FAILING = ("fail", "error", "crash", "timeout")
Row = dict[str, Any]


@pytest.fixture(scope="module")
def suite() -> list[Operator]:
    """Return the shipped cases."""
    return list(shipped())


@pytest.fixture(scope="module")
def rows(suite: list[Operator], tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Run some cases on the real frameworks: of multi_margin_loss, and of what else has other forms."""
    few = [dataclasses.replace(op, cases=[case for case in op.cases if _wanted(case)]) for op in suite]
    out = tmp_path_factory.mktemp("run")
    run(
        [op for op in few if op.cases],
        Selection(tuple(map(backend_spec, BACKENDS))),
        Ledger({}),
        out,
        argv=[],
    )
    return [row for row in read_stream(out / "run.jsonl") if row["type"] == "result"]


def _wanted(case: Case) -> bool:
    seed = case.op.name == "multi_margin_loss" and case.name in NAMES
    return seed or case.id.startswith(FORMS)


def written(suite: list[Operator], row: Row) -> str:
    """Write the script of a row."""
    case = find_case(suite, row["case"])
    return script(case, api_of(case.op, row["api"]), row)


# -- what is written is what is sent ---------------------------------------------------------------


def evaluated(text: str, name: str) -> NDArray:
    """Evaluate the NumPy part of a script."""
    namespace: dict[str, Any] = {"np": np}
    exec("\n\n".join([*repro_literals.HELPERS.values(), text]), namespace)  # noqa: S102 - our own text
    return np.asarray(namespace[name])


def same_bits(text: str, name: str, array: NDArray) -> bool:
    got = evaluated(text, name)
    if array.dtype.name == "bfloat16":  # cast by the framework, which must find nothing left to round
        widened = array.astype(np.float32)
        return got.dtype == np.float32 and got.tobytes() == widened.tobytes()
    return got.dtype == array.dtype and got.shape == array.shape and got.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_literals_hold_every_bit(dtype: str) -> None:
    """What is written out reads back as the same bits, NaN and denormals included."""
    special = [np.nan, np.inf, -np.inf, -0.0, 0.1, 1 / 3, values.number("tiny", dtype), 65504.0]
    kind = numpy_dtype(dtype)
    wide = (values.stream("literals", 400) - 0.5) * 2.0 ** np.floor(values.stream("powers", 400) * 30 - 15)
    for array in (np.array(special, kind), wide.astype(kind).reshape(20, 20), np.array(0.1).astype(kind)):
        assert same_bits(f"x = {repro_literals.array(array)}", "x", array)


@pytest.mark.parametrize(
    "array",
    [
        np.array([[0, -1], [2**62, 3]]),
        np.array(3, np.int32),
        np.zeros((0, 4), np.float32),
        np.full((3, 4), 0.5, np.float32),
        np.array([True, False]),
        np.arange(64, dtype=np.uint8).reshape(4, 4, 4),
    ],
    ids=str,
)
def test_literals_of_other_dtypes_and_shapes(array: NDArray) -> None:
    """Integers, booleans, scalars, nothing and constants are written as what they are."""
    assert same_bits(f"x = {repro_literals.array(array)}", "x", array)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize(
    "spec",
    [
        {"uniform": [50, 40], "low": -3, "high": 7.1},
        {"grid": [2000], "low": -2, "high": 2, "step": 0.25},
        {"signs": [40, 50]},
        {"full": [2000], "value": 0.3},
        {"uniform": [40, 50], "set": [{"at": [3, 4], "value": "max"}, {"at": [0, 0], "value": -0.1}]},
    ],
    ids=lambda spec: next(iter(spec)),
)
def test_large_inputs_are_drawn_again(dtype: str, spec: dict[str, Any]) -> None:
    """A generator is a few lines in a script, and gives the same bits."""
    array = values.build(spec, dtype, "op/case/x")
    text, _ = repro_literals.statements("x", like_case(spec), array)
    assert len(text) < 400
    assert same_bits(text, "x", array)


@pytest.mark.parametrize(
    "spec",
    [{"labels": [2000], "below": 77}, {"label_sets": [60, 40]}, {"label_sets": [60, 40], "most": 5}],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_large_labels_are_drawn_again(dtype: str, spec: dict[str, Any]) -> None:
    """Labels too, of either integer dtype."""
    array = values.build(spec, dtype, "op/case/x")
    assert same_bits(repro_literals.statements("x", like_case(spec), array)[0], "x", array)


def like_case(spec: dict[str, Any]) -> Case:
    return cast("Case", SimpleNamespace(specs={"x": spec}, op=SimpleNamespace(name="op"), name="case"))


def test_large_inputs_of_the_shipped_cases(suite: list[Operator]) -> None:
    """Every input and cotangent that a script does not write out, as each API is sent it."""
    seen = 0
    for op in suite:
        for case in op.cases:
            if all(tensor.size <= repro_literals.INLINE for tensor in case.tensors.values()):
                continue
            for api in op.apis:
                for name, wire in wire_tensors(case, api).items():
                    array = from_wire(wire)
                    assert same_bits(repro_literals.statements(name, case, array)[0], name, array)
                    seen += 1
            ct = case.cotangent((50, 40)).astype(np.float32)
            text, _ = repro_literals.cotangent(case, ct.shape, ct.dtype)
            assert same_bits(text, "cotangent", ct)
    assert seen


@pytest.mark.parametrize("layout", ["transposed", "strided", "sliced", "expanded"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_layouts_are_reproduced(backend: str, layout: str, suite: list[Operator]) -> None:
    """A script lays its inputs out in memory as the harness does."""
    case, api = first(suite, backend, lambda c: c.layouts.get("input") == layout and c.domain == "defined")
    text = script(case, api, {"check": "output", "kind": "value"})
    head, _, _ = text.partition("\ntry:\n    output")
    assert {"sliced": "[1:-1]", "expanded": "stride of 0"}.get(layout, "input = ") in head
    whole = layout == "sliced" or (layout == "expanded" and backend == "paddle")
    values = f"np.array_equal({DIALECTS[backend].read('input', case.dtype)}, given)"
    given = repro_literals.array(case.tensors["input"])
    claim = f"assert input.is_contiguous() == {whole}\ngiven = {given}\nassert {values}\nsys.exit(0)"
    assert execute_many({"layout": f"{head}\n{claim}\n"}) == {"layout": 0}


def first(suite: list[Operator], backend: str, wanted: Any) -> tuple[Case, Api]:
    return next(
        (case, api)
        for op in suite
        for case in op.cases
        for api in op.apis
        if api.backend == backend and wanted(case)
    )


# -- scripts of the real frameworks ----------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_scripts_of_discrepancies_exit_1(backend: str, suite: list[Operator], rows: list[Row]) -> None:
    """Every discrepancy of the run has a script that sees it."""
    failing = [row for row in rows if row["backend"] == backend and row["status"] in FAILING]
    assert failing
    scripts = {f"{r['case']} {r['api']} {r['check']} {r['message']}": written(suite, r) for r in failing}
    statuses = execute_many(scripts)
    assert {name: status for name, status in statuses.items() if status != 1} == {}


def test_the_real_discrepancies_are_of_many_kinds(rows: list[Row]) -> None:
    """What the frameworks do today exercises these; `PLANTED` the others."""
    kinds = {row["kind"] or row["status"] for row in rows if row["status"] in FAILING}
    assert {"value", "nonfinite", "grad_value", "grad_missing", "raises", "crash"} <= kinds


def test_the_scripts_are_of_every_form(suite: list[Operator], rows: list[Row]) -> None:
    """What runs below has modules with tensors placed in them, lists, matrices, callables and constants."""
    passing = [row for row in rows if row["status"] == "pass"]
    names = {row["check"].partition(".")[0] for row in passing}
    assert names >= {"output", "grad", "grad2", "relation", "raises"}
    relations = {row["check"] for row in rows if row["check"].startswith("relation.")}
    wanted = ("repeat", "layout", "permutation", "concatenation", "inputs", "nonnegative")
    assert relations >= {
        f"relation.{n}" for n in (*wanted, "function", "ignored", "ones.weight", "reduction")
    }
    texts = [written(suite, row | {"status": "fail"}) for row in passing if row["check"] == "output"]
    for form in ("place(", ".T,", "[[tail", "lambda a, b", "sparse="):
        assert any(form in text.partition("import numpy")[2] for text in texts), form


@pytest.mark.parametrize("backend", BACKENDS)
def test_scripts_of_what_passes_exit_0(backend: str, suite: list[Operator], rows: list[Row]) -> None:
    """A script must not exit 1 whatever happens: those of passing checks, as if they failed."""
    passing = [row for row in rows if row["backend"] == backend and row["status"] == "pass"]
    passing = [row for row in passing if not row["message"].startswith("no second derivative")]
    kind = {"output": "value", "raises": "no_raise", "relation": "relation"}
    faked = [
        {**row, "status": "fail", "kind": kind.get(row["check"].partition(".")[0], "grad_value")}
        for row in passing
    ]
    scripts = {f"{r['case']} {r['api']} {r['check']}": written(suite, r) for r in faked}
    assert len(scripts) > 20
    statuses = execute_many(scripts)
    assert {name: status for name, status in statuses.items() if status != 0} == {}


def test_observations_have_no_script(suite: list[Operator]) -> None:
    """What accuses nobody is not written up as if it did."""
    case, api = first(suite, "torch", lambda c: c.name == "basic")
    with pytest.raises(UsageError, match="nothing to reproduce"):
        script(case, api, {"check": "output", "status": "observed"})


def test_undefined_cases_without_a_promise_have_no_script(suite: list[Operator]) -> None:
    """Where no document promises an error, nothing is wrong."""
    case, api = next(
        (c, a)
        for op in suite
        for c in op.cases
        for a in op.apis
        if c.domain == "undefined" and not promised(c, a)
    )
    with pytest.raises(UsageError, match="nothing to reproduce"):
        script(case, api, {"check": "output", "status": "fail", "kind": "no_raise"})


# -- every kind, with an API made wrong on purpose ---------------------------------------------------

WRONG = """\
import os, sys, time
import torch

if not hasattr(torch, "honest"):
    torch.honest = torch.nn.functional.multi_margin_loss

def wrong(input, target, **options):
    out = torch.honest(input, target, **options)
    {statement}
    return out

torch.nn.functional.multi_margin_loss = wrong
"""

PLANTED = {
    ("output", "fail", "value"): "out = out * 1.001",
    ("output", "fail", "dtype"): "out = out.double()",
    ("output", "fail", "shape"): "out = out[None]",
    ("output", "fail", "nonfinite"): "out = out * float('nan')",
    ("output", "fail", "raises"): "raise ValueError('no')",
    ("output", "error", ""): "raise KeyError('no')",
    ("output", "fail", "mutated_input"): "input.detach().add_(1)",
    ("output", "crash", ""): "os.abort()",
    ("output", "timeout", ""): "time.sleep(600)",
    ("grad.input", "fail", "grad_value"): "out = out + 0.01 * input.sum()",
    ("grad.input", "fail", "grad_missing"): "out = out.detach()",
    ("grad.input", "fail", "nonfinite"): "out = out + (input - input).sqrt().sum() * 0",
    ("grad.input", "crash", ""): "input.requires_grad and os.kill(os.getpid(), 11)",
}


@pytest.mark.parametrize(("check", "status", "kind"), PLANTED)
def test_every_kind_is_seen_and_only_then(check: str, status: str, kind: str, suite: list[Operator]) -> None:
    """An API that is wrong in one way makes its script exit 1, the honest one 0."""
    case = find_case(suite, "multi_margin_loss/basic[float32,none]")
    api = api_of(case.op, "torch.nn.functional.multi_margin_loss")
    row = {"check": check, "status": status, "kind": kind, "message": "as planted", "worst": [0]}
    text = script(case, api, row)
    at, prelude = text.index("input = "), WRONG.format(statement=PLANTED[check, status, kind])
    planted = (text[:at] + prelude + text[at:]).replace("timeout=60", "timeout=8")
    undone = "torch.nn.functional.multi_margin_loss = getattr(torch, 'honest', None) or "
    honest = text[:at] + f"{undone}torch.nn.functional.multi_margin_loss\n" + text[at:]
    assert execute_many({"planted": planted, "honest": honest}) == {"planted": 1, "honest": 0}


BROKEN = {
    "repeat": "torch.calls = getattr(torch, 'calls', 0) + 1; out = out + 0.01 * torch.calls",
    "layout": "out = out if input.is_contiguous() else out * 1.001",
    "permutation": "out = out + torch.arange(out.numel())",
    "concatenation": "out = out * len(input)",
    "reduction": "out = out * 1.001 if options['reduction'] == 'sum' else out",
    "ones.weight": "out = out * 2 if options.get('weight') is not None else out",
    "ignored": "out = out + 1 if (target == options.get('ignore_index')).any() else out",
    "nonnegative": "out = out - 100",
    "inputs": "input.detach().add_(1)",
}
"""How an API breaks each relation."""


def related_case(suite: list[Operator], relation: str) -> tuple[Case, Api]:
    """Find a case with that relation, and torch's function for it."""
    ids = {
        "reduction": "mse_loss/basic[float32,sum]",
        "ones.weight": "cross_entropy/weighted[float32,none]",
        "nonnegative": "mse_loss/basic[float32,none]",
    }
    name = ids.get(relation, "cross_entropy/basic[float32,none]")
    if relation == "ignored":
        name = next(
            c.id for op in suite for c in op.cases if c.id.startswith("cross_entropy/ignored-some[float32")
        )
    case = find_case(suite, name)
    return case, api_of(case.op, f"torch.nn.functional.{case.op.name}")


@pytest.mark.parametrize("relation", BROKEN)
def test_every_relation_is_seen_broken_and_only_then(relation: str, suite: list[Operator]) -> None:
    """The script of a relation exits 1 for an API that breaks it, and 0 for the honest one."""
    case, api = related_case(suite, relation)
    row = {"check": f"relation.{relation}", "status": "fail", "kind": "relation", "message": "as planted"}
    text = script(case, api, row)
    at = text.index("import torch\n") + len("import torch\n")
    prelude = WRONG.format(statement=BROKEN[relation]).replace("multi_margin_loss", case.op.name)
    undone = f"{api.name} = torch.honest if hasattr(torch, 'honest') else {api.name}\n"
    found = execute_many(
        {"broken": text[:at] + prelude + text[at:], "honest": text[:at] + undone + text[at:]}
    )
    assert found == {"broken": 1, "honest": 0}


def test_a_wrong_second_derivative_is_seen_and_only_then(suite: list[Operator]) -> None:
    """x⁴ beside the loss changes no first bit that the script of `grad2` would look at, and its curvature."""
    case = next(c for op in suite for c in op.cases if c.id.startswith("mse_loss/second-order[float32"))
    api = api_of(case.op, "torch.nn.functional.mse_loss")
    row = {"check": f"grad2.{case.second[0]}", "status": "fail", "kind": "grad_value", "message": "planted"}
    text = script(case, api, row)
    at = text.index("import torch\n") + len("import torch\n")
    prelude = WRONG.format(statement="out = out + 0.01 * input ** 4").replace("multi_margin_loss", "mse_loss")
    undone = f"{api.name} = torch.honest if hasattr(torch, 'honest') else {api.name}\n"
    found = execute_many({"wrong": text[:at] + prelude + text[at:], "honest": text[:at] + undone + text[at:]})
    assert found == {"wrong": 1, "honest": 0}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_broken_promise(backend: str, suite: list[Operator]) -> None:
    """A script for `no_raise` accepts the promised category, and neither another nor a return."""
    found = [
        (case, api)
        for op in suite
        for case in op.cases
        for api in op.apis
        if api.backend == backend and case.domain == "undefined" and promised(case, api)
    ]
    if not found:
        pytest.skip(f"no document of {backend} promises an error")
    case, api = found[0]
    text = script(case, api, {"check": "raises", "status": "fail", "kind": "no_raise"})
    head, _, tail = text.partition("    output = ")
    call = tail.partition("\nexcept")[0]
    raising = {"value": "int('x')", "type": "len(1)", "index": "[][0]", "internal": "{}['x']"}
    scripts = {name: text.replace(call, other) for name, other in {**raising, "returns": "0"}.items()}
    assert head
    kept = {name: int(name not in promised(case, api)) for name in raising}
    assert execute_many(scripts) == {**kept, "returns": 1}


# -- the comparison inside a script is the harness's ----------------------------------------------------


def test_scripts_compare_as_the_harness_does(suite: list[Operator]) -> None:
    """The written-out comparison and `compare` agree on wrong, borderline and special values."""
    dtypes = ("float16", "float32", "float64")
    names = ("on-the-kink", "weighted-p2", "overflow", "nan-in-another-class")
    seeds = [op for op in suite if op.name in SEEDS]
    for case in (c for op in seeds for c in op.cases if c.name in names and c.dtype in dtypes):
        api = case.op.apis[0]
        text = script(case, api, {"check": "output", "kind": "value"})
        body = text[text.index("# index, exact value") : text.index("\n\nwrong = compare(got)")]
        expected = expectation(case, api)
        assert expected is not None
        exact = expected.output
        namespace: dict[str, Any] = {"np": np}
        exec(body, namespace)  # noqa: S102 - our own text
        for change in (0.0, 0.5, 0.99, 1.2, -1.2, 50.0, np.nan, np.inf, -np.inf):
            wide = exact.high + change * exact.bound
            with np.errstate(over="ignore"):
                got = np.asarray(wide.astype(exact.dtype))
            harness = compare("output", _wire(got), exact).status
            assert bool(namespace["compare"](got)) == (harness == "fail"), (case.id, change)


def _wire(array: NDArray) -> Any:
    from conformance.arrays import to_wire  # noqa: PLC0415 - only here

    return to_wire(array)


# -- many scripts in one process ---------------------------------------------------------------------


def test_many_scripts_in_one_process() -> None:
    """Statuses, exceptions, deaths and hangs stay with the script that caused them."""
    scripts = {
        "right": "import sys; sys.exit(0)",
        "wrong": "import sys; print('no'); sys.exit(1)",
        "broken": "1 / 0",
        "ends": "x = 1",
        "dies": "import os; os.kill(os.getpid(), 11)",
        "after": "import sys; sys.exit(1)",
        "hangs": "import time; time.sleep(60)",
        "last": "import sys; sys.exit('a message')",
    }
    assert execute_many(scripts, timeout=5) == {
        "right": 0,
        "wrong": 1,
        "broken": 70,
        "ends": 0,
        "dies": -11,
        "after": 1,
        "hangs": 124,
        "last": 1,
    }


def test_scripts_use_nothing_of_ours(suite: list[Operator], rows: list[Row], tmp_path: Path) -> None:
    """A script runs from an empty folder and imports NumPy, its framework and the standard library only."""
    row = next(row for row in rows if row["backend"] == "torch" and row["kind"] == "grad_missing")
    text = written(suite, row)
    assert "conformance" not in text
    assert row["case"] in text
    assert row["api"] in text
    (tmp_path / "script.py").write_text(text, encoding="utf-8")
    imports = {line for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert imports <= {"import sys", "import numpy as np", "import torch"}
