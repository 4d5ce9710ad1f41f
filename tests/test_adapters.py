"""The adapters against the real frameworks: every trap of their authors' notes, absorbed.

Run as a script with a backend's name, this file is the process that imports that framework, once, and tries
every probe in it; run by pytest, it starts such a process per framework and says what each probe found.
"""

import json
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.adapters import BACKENDS
from conformance.adapters.base import Adapter
from conformance.arrays import FLOATING, NDArray, from_wire, numpy_dtype, to_wire
from conformance.errors import BindingError
from conformance.types import Array, Binding, Layout, Raised, Reply, Request
from conformance.worker import load_adapter

HINGE = {
    "torch": "torch.nn.functional.hinge_embedding_loss",
    "paddle": "paddle.nn.functional.hinge_embedding_loss",
    "mindspore": "mindspore.ops.hinge_embedding_loss",
}
NAMES = {
    "torch": {"input": "input", "target": "target"},
    "paddle": {"input": "input", "target": "label"},
    "mindspore": {"input": "inputs", "target": "targets"},
}
ALL = tuple(BACKENDS)
LAYOUTS: tuple[Layout, ...] = ("contiguous", "transposed", "strided", "sliced", "expanded")
PROBES: dict[str, tuple[Callable[[Adapter], None], tuple[str, ...]]] = {}


def probe(*backends: str) -> Callable[[Callable[[Adapter], None]], Callable[[Adapter], None]]:
    """Register a probe for some frameworks, or for all."""

    def register(function: Callable[[Adapter], None]) -> Callable[[Adapter], None]:
        PROBES[function.__name__] = (function, backends or ALL)
        return function

    return register


def arr(values: Any, dtype: str = "float32", layout: Layout = "contiguous") -> Array:
    """Make an array of the wire."""
    return to_wire(np.array(values, numpy_dtype(dtype)), layout)


def hinge(
    adapter: Adapter, *wanted: str, x: Any = (0.25, 3.0, -1.0), y: Any = (-1, 1, 1), **more: Any
) -> Reply:
    """Ask for hinge_embedding_loss without reduction, and gradients by the wanted inputs."""
    call = {**NAMES[adapter.name], "reduction": "reduction"}
    tensors = {"input": arr(x), "target": arr(y)} | more.get("tensors", {})
    binding = Binding(more.get("api", HINGE[adapter.name]), call)
    ct = more.get("ct", arr(np.full(np.shape(x), 2.0))) if wanted else None
    return adapter.execute(Request(7, binding, tensors, {"reduction": "none"}, wanted, ct))


def values(got: Any) -> list[Any]:
    """Read a reply's array."""
    assert isinstance(got, Array), got
    read: list[Any] = from_wire(got).astype(float).tolist()
    return read


# -- tensors ----------------------------------------------------------------------------------------------


def every_bit_pattern(dtype: str) -> NDArray:
    """Numbers of every kind: both zeros, denormals, the largest, infinities, NaN, and ordinary ones."""
    kind = numpy_dtype(dtype)
    if kind.kind in "iub":
        limits = np.iinfo(kind)
        return np.array([limits.min, -1, 0, 1, limits.max], kind)
    if kind.itemsize == 2:
        mantissa = 10 if dtype == "float16" else 7
        bits = np.arange(1 << 16, dtype=np.uint16)
        infinite = ((1 << 15) - 1) >> mantissa << mantissa
        return np.append(bits[(bits & 0x7FFF) <= infinite], np.uint16(infinite | 1 << (mantissa - 1))).view(
            kind
        )
    info = np.finfo(kind)
    some = [0.0, -0.0, info.smallest_subnormal, info.tiny, info.max, -info.max, np.inf, -np.inf, np.nan, 0.1]
    return np.array(some, kind)


@probe()
def dtypes_survive_bit_for_bit(adapter: Adapter) -> None:
    """Each floating dtype and the label dtypes come back with the bits they were sent with, NaN too."""
    for dtype in (*FLOATING, "int32", "int64"):
        sent = to_wire(every_bit_pattern(dtype))
        back = adapter.read(adapter.tensor(sent, grad=False))
        assert (back.dtype, back.shape) == (dtype, sent.shape)
        assert back.data == sent.data, dtype


@probe()
def shapes_survive(adapter: Adapter) -> None:
    """Scalars, single elements and tensors without elements keep their rank."""
    for shape in ((), (1,), (0,), (0, 3), (1, 1, 2), (2, 3)):
        for dtype in ("float32", "bfloat16", "int64"):
            back = adapter.read(adapter.tensor(arr(np.ones(shape), dtype), grad=False))
            assert (back.dtype, back.shape) == (dtype, shape)


@probe()
def layouts_are_real_and_hold_the_same_numbers(adapter: Adapter) -> None:
    """Views read back equal, and only a slice of whole rows is contiguous in the framework."""
    for dtype in (*FLOATING, "int32", "int64"):
        for layout in LAYOUTS:
            sent = arr([[1, 2, 3], [1, 2, 3]], dtype, layout)
            tensor = adapter.tensor(sent, grad=False)
            assert adapter.read(tensor).data == sent.data, (dtype, layout)
            copied = layout == "expanded" and adapter.name == "paddle"  # its `expand` makes a new tensor
            whole = layout in ("contiguous", "sliced") or copied
            if hasattr(tensor, "is_contiguous"):
                assert tensor.is_contiguous() == whole, (dtype, layout)


@probe("torch")
def a_slice_and_a_repeated_row_lie_in_memory_as_they_say(adapter: Adapter) -> None:
    """A sliced tensor starts behind the start of its memory; the rows of an expanded one are one row."""
    for dtype in ("float32", "bfloat16", "int64"):
        sliced, expanded = (
            adapter.tensor(arr([[1, 2, 3], [1, 2, 3]], dtype, layout), grad=False) for layout in LAYOUTS[3:]
        )
        assert sliced.storage_offset() == 3
        assert expanded.stride() == (0, 1)


@probe()
def layouts_of_what_has_too_few_axes_are_plain(adapter: Adapter) -> None:
    """A scalar has no stride to speak of, and no elements are nowhere in memory."""
    for layout in LAYOUTS:
        for shape in ((), (0,), (0, 3), (1,)):
            sent = arr(np.ones(shape), "float32", layout)
            back = adapter.read(adapter.tensor(sent, grad=False))
            assert (back.shape, back.data) == (shape, sent.data), (layout, shape)


@probe()
def a_view_is_differentiated_as_a_tensor_of_its_own(adapter: Adapter) -> None:
    """The gradient by a view has the view's shape: not its memory's, and not that of its one row."""
    x, y = [[0.25, 3.0], [0.25, 3.0]], [[1.0, -1.0], [1.0, 1.0]]
    for layout in LAYOUTS:
        reply = hinge(adapter, "input", x=x, y=y, tensors={"input": arr(x, layout=layout), "target": arr(y)})
        assert values(reply.gradients["input"]) == [[2.0, 0.0], [2.0, 2.0]], layout


@probe()
def a_computation_sees_the_numbers_and_not_the_memory(adapter: Adapter) -> None:
    """An op on a strided or transposed input gives what it gives on a contiguous one."""
    x, y = np.arange(6.0).reshape(2, 3) / 4, np.where(np.arange(6).reshape(2, 3) % 2, 1.0, -1.0)
    results = [
        hinge(adapter, "input", x=x, y=y, tensors={"input": arr(x, layout=one), "target": arr(y, layout=two)})
        for one in ("contiguous", "transposed", "strided", "sliced")
        for two in ("contiguous", "transposed", "strided", "sliced")
    ]
    assert len({(values(r.output).__repr__(), values(r.gradients["input"]).__repr__()) for r in results}) == 1


@probe()
def tensors_are_copies(adapter: Adapter) -> None:
    """Neither the wire's bytes nor another tensor of them is shared, and what was read stays as it was."""
    sent = arr([1.0, 2.0])
    first, second = adapter.tensor(sent, grad=False), adapter.tensor(sent, grad=False)
    before = adapter.read(first)
    first[0] = 5.0
    assert values(adapter.read(first)) == [5.0, 2.0]
    assert values(before) == values(sent) == values(adapter.read(second)) == [1.0, 2.0]


@probe()
def a_nan_is_not_a_changed_input(adapter: Adapter) -> None:
    """An input that is NaN, whatever its dtype, is the same afterwards: its bits are not lost on the way."""
    for dtype in FLOATING:
        tensors = {"input": arr([np.nan, 1.0], dtype), "target": arr([1, -1], dtype)}
        reply = hinge(adapter, tensors=tensors)
        assert reply.mutated == (), dtype
        assert isinstance(reply.output, Raised) or np.isnan(from_wire(reply.output).astype(float)[0])


# -- calls and gradients ------------------------------------------------------------------------------------


@probe()
def a_call_gives_output_and_gradient(adapter: Adapter) -> None:
    """The plain case, by hand: losses, vᵀJ with v = 2, and inputs that are as they were."""
    reply = hinge(adapter, "input")
    assert (reply.id, values(reply.output), reply.mutated) == (7, [0.75, 3.0, -1.0], ())
    assert values(reply.gradients["input"]) == [-2.0, 2.0, 2.0]


@probe()
def a_cotangent_takes_the_dtype_of_the_output(adapter: Adapter) -> None:
    """A float64 cotangent for a float32 output, which MindSpore itself refuses, is brought to float32."""
    reply = hinge(adapter, "input", ct=arr([1.0, -1.5, 0.5], "float64"))
    assert values(reply.gradients["input"]) == [-1.0, -1.5, 0.5]
    assert isinstance(reply.gradients["input"], Array)
    assert reply.gradients["input"].dtype == "float32"


@probe()
def equal_inputs_keep_gradients_of_their_own(adapter: Adapter) -> None:
    """Two inputs with the same values are two tensors: MindSpore would add their gradients together."""
    tensors = {name: adapter.tensor(arr([1.0, 2.0]), grad=True) for name in ("a", "b")}
    assert tensors["a"] is not tensors["b"]

    def call(given: dict[str, Any]) -> Any:
        return given["a"] * given["a"] + given["b"]

    pulled = adapter.pull_back(call, call(tensors), tensors, ("a", "b"), arr([1.0, 1.0]))
    assert [values(adapter.read(g)) for g in pulled] == [[2.0, 4.0], [1.0, 1.0]]


@probe()
def an_input_that_is_not_used_has_no_gradient(adapter: Adapter) -> None:
    """None in torch and paddle; zeros in MindSpore, which has no other answer."""
    tensors = {name: adapter.tensor(arr([1.0, 2.0]), grad=True) for name in ("a", "b")}
    pulled = adapter.pull_back(
        lambda t: t["a"] * 3.0, tensors["a"] * 3.0, tensors, ("a", "b"), arr([1.0, 1.0])
    )
    assert values(adapter.read(pulled[0])) == [3.0, 3.0]
    if adapter.name == "mindspore":
        assert values(adapter.read(pulled[1])) == [0.0, 0.0]
    else:
        assert pulled[1] is None


@probe()
def an_output_without_a_graph_has_no_gradient_by_anything(adapter: Adapter) -> None:
    """A constant of its inputs: None, or zeros, and no exception."""
    tensors = {"a": adapter.tensor(arr([1.0, 2.0]), grad=True)}

    def call(_: dict[str, Any]) -> Any:
        return adapter.tensor(arr([4.0, 4.0]), grad=False)

    (pulled,) = adapter.pull_back(call, call(tensors), tensors, ("a",), arr([1.0, 1.0]))
    assert pulled is None or (adapter.name == "mindspore" and values(adapter.read(pulled)) == [0.0, 0.0])


@probe("torch")
def a_refusal_by_one_input_does_not_lose_the_others(adapter: Adapter) -> None:
    """Torch refuses multi_margin_loss whole where its weight wants a gradient: the rest is asked alone."""
    call = {"input": "input", "target": "target", "weight": "weight", "reduction": "reduction"}
    binding = Binding("torch.nn.functional.multi_margin_loss", call)
    tensors = {"input": arr([[0.0, 0.5]]), "target": arr([0], "int64"), "weight": arr([2.0, 1.0])}
    ct = arr([1.0])
    reply = adapter.execute(Request(1, binding, tensors, {"reduction": "none"}, ("input", "weight"), ct))
    assert values(reply.output) == [1.5]
    assert isinstance(reply.gradients["input"], Array)
    assert from_wire(reply.gradients["input"]).tolist() == [[-1.0, 1.0]]
    refused = reply.gradients["weight"]
    assert isinstance(refused, Raised)
    assert refused.category == "runtime"


@probe()
def a_gradient_is_differentiated_once_more(adapter: Adapter) -> None:
    """The third power: 6·x·v·r, in each framework's own way."""
    x, v, r = [1.0, -2.0, 0.5], [1.0, 0.5, -2.0], [0.5, 1.0, 2.0]
    tensors = {"a": adapter.tensor(arr(x), grad=True)}
    pulled = adapter.pull_back_twice(lambda t: t["a"] * t["a"] * t["a"], tensors, "a", arr(v), arr(r))
    assert values(adapter.read(pulled)) == [3.0, -6.0, -12.0]


@probe()
def what_is_linear_has_no_second_derivative_or_zeros(adapter: Adapter) -> None:
    """None where the framework knows that there is none, else zeros; never an exception."""
    tensors = {"a": adapter.tensor(arr([1.0, 2.0]), grad=True)}
    pulled = adapter.pull_back_twice(lambda t: t["a"] * 3.0, tensors, "a", arr([1.0, 1.0]), arr([1.0, 1.0]))
    assert pulled is None or values(adapter.read(pulled)) == [0.0, 0.0]


@probe()
def second_derivatives_come_with_the_answer(adapter: Adapter) -> None:
    """Of a request that gives directions; a hinge has zeros, or none."""
    binding = Binding(HINGE[adapter.name], {**NAMES[adapter.name], "reduction": "reduction"})
    tensors = {"input": arr([0.25, 3.0]), "target": arr([-1, 1])}
    along = {"input": arr([1.0, 1.0])}
    request = Request(1, binding, tensors, {"reduction": "none"}, ("input",), arr([1.0, 1.0]), along)
    second = adapter.execute(request).second["input"]
    assert second is None or isinstance(second, Raised) or not any(values(second))


# -- the forms of a call ------------------------------------------------------------------------------------


class Noted:
    """Stands for an API: keeps what it is called with."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.weight = "its own"
        self.tail = [[self.__class__.__new__(self.__class__)]]
        self.tail[0][0].weight = "its own"

    def __call__(self, *given: Any, **named: Any) -> list[Any]:
        """Return everything it knows."""
        return [self, given, named]


def noted(adapter: Adapter, binding: Binding, tensors: dict[str, Any], **params: Any) -> Any:
    """Make a call through `invoke`, of an API that notes it."""
    api: Any = Noted if binding.init is not None else lambda *given, **named: [None, given, named]
    adapter._resolved[binding.api] = api
    return adapter.invoke(binding, tensors, params)


@probe()
def constants_go_where_the_binding_says(adapter: Adapter) -> None:
    """To a function with its arguments, to a class at its construction."""
    call = {"x": "input"}
    _, _, named = noted(adapter, Binding("f", call, fixed={"sparse": True}), {"x": 1})
    assert named == {"input": 1, "sparse": True}
    entry, _, named = noted(adapter, Binding("c", call, {"p": "p"}, fixed={"k": 2}), {"x": 1}, p=3)
    assert (entry.options, named) == ({"p": 3, "k": 2}, {"input": 1})


@probe()
def tensors_are_placed_in_a_module(adapter: Adapter) -> None:
    """`state` replaces what the module made for itself, along attributes and places."""
    state = {"w": "weight", "t": "tail.0.0.weight", "absent": "bias"}
    entry, _, _ = noted(adapter, Binding("c", {"x": "x"}, {}, state=state), {"x": 0, "w": 1, "t": 2})
    assert (entry.weight, entry.tail[0][0].weight) == (1, 2)


@probe()
def tensors_are_packed_and_turned(adapter: Adapter) -> None:
    """`lists` packs the rows whose tensors are all given; `transposed` turns a matrix, differentiably."""
    matrix = adapter.tensor(arr([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), grad=True)
    lists = {"tails": [["a", "b"], ["c", "d"]]}
    binding = Binding("f", {"tails": "tails", "m": "m"}, lists=lists, transposed=("m",))
    _, _, named = noted(adapter, binding, {"a": 1, "b": 2, "c": 3, "m": matrix})
    assert named["tails"] == [[1, 2]]
    assert values(adapter.read(named["m"])) == [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]
    weights = arr([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    tensors = {"m": matrix}
    turned = adapter.transpose(matrix)
    (pulled,) = adapter.pull_back(lambda t: adapter.transpose(t["m"]), turned, tensors, ("m",), weights)
    assert values(adapter.read(pulled)) == [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]


@probe()
def parameters_name_functions(adapter: Adapter) -> None:
    """`functions` passes a callable over the framework's own tensors; what is no name stays what it is."""
    one, two = (adapter.tensor(arr(x), grad=False) for x in ([[1.0, 2.0]], [[3.0, -1.0]]))
    binding = Binding("f", {"how": "how"}, functions=("how",))
    for name, wanted in (("l1", 5.0), ("squared", 13.0)):
        _, _, named = noted(adapter, binding, {}, how=name)
        assert values(adapter.read(named["how"](one, two))) == [wanted]
    assert noted(adapter, binding, {}, how=None)[2] == {"how": None}


@probe()
def arguments_go_by_position_up_to_the_last_that_is_given(adapter: Adapter) -> None:
    """A gap is None, tuples are lists, and one of several outputs is picked."""
    binding = Binding("f", {"a": "a", "b": "b", "c": "c"}, positional=True, returns=1)
    assert noted(adapter, binding, {"a": 1}) == (1,)
    assert noted(adapter, binding, {"b": 2}, c=(1, 2)) == (None, 2, [1, 2])


# -- errors -------------------------------------------------------------------------------------------------


@probe()
def an_error_belongs_to_the_call_that_caused_it(adapter: Adapter) -> None:
    """Shapes that do not fit raise at the call; the next call, before and after, is unharmed."""
    for _ in range(3):
        bad = hinge(adapter, "input", y=(1, 1))
        assert isinstance(bad.output, Raised), bad.output
        assert bad.output.phase == "call"
        good = hinge(adapter, "input")
        assert values(good.output) == [0.75, 3.0, -1.0]
        assert values(good.gradients["input"]) == [-2.0, 2.0, 2.0]


@probe("mindspore")
def an_asynchronous_kernel_error_appears_at_its_call(adapter: Adapter) -> None:
    """A kernel that fails while running, a label outside, raises there and not at an unrelated read."""
    call = {"input": "input", "target": "target", "reduction": "reduction"}
    binding = Binding("mindspore.ops.multi_margin_loss", call)
    tensors = {"input": arr([[0.0, 0.5]]), "target": arr([1 << 20], "int64")}
    reply = adapter.execute(Request(1, binding, tensors, {"reduction": "none"}))
    assert not isinstance(reply.output, Raised) or reply.output.phase == "call"
    assert values(adapter.read(adapter.tensor(arr([1.0]), grad=False))) == [1.0]


@probe()
def only_public_namespaces_are_called(adapter: Adapter) -> None:
    """Whatever a case file names, nothing outside the framework's public modules is resolved."""
    for api in (
        "os.system",
        "builtins.eval",
        f"{adapter.name}.load",
        f"{adapter.name}.nn.functional.os.system",
    ):
        with pytest.raises(BindingError, match="outside the public namespaces"):
            hinge(adapter, api=api)
    shown = {
        "torch": ("torch.nn.functional.importlib", "torch.nn.functional.Callable", "torch.nn.modules"),
        "paddle": ("paddle.nn.functional.common", "paddle.nn.utils"),
        "mindspore": ("mindspore.ops.PyExecute", "mindspore.ops.Custom", "mindspore.ops.tensordump"),
    }
    for api in shown[adapter.name]:
        with pytest.raises(BindingError, match=f"{re.escape(api)} is no operator of {adapter.name}"):
            hinge(adapter, api=api)


@probe()
def exceptions_have_categories(adapter: Adapter) -> None:
    """By class: the four that callers are meant to catch, RuntimeError, and everything else is internal."""
    table = {NotImplementedError: "unsupported", IndexError: "index", TypeError: "type", ValueError: "value"}
    for kind, category in (
        table | {RuntimeError: "runtime", KeyError: "internal", SystemError: "internal"}
    ).items():
        assert adapter.category(kind("x")) == category


@probe("paddle")
def the_class_of_paddles_own_errors_is_known(adapter: Adapter) -> None:
    """EnforceNotMet stands outside Python's hierarchy and is paddle's RuntimeError."""
    import paddle  # noqa: PLC0415 - only in paddle's own process

    assert adapter.category(paddle.base.core.EnforceNotMet("x")) == "runtime"
    reply = hinge(adapter, tensors={"input": arr([1.0], "bfloat16"), "target": arr([1], "int32")})
    if isinstance(reply.output, Raised):
        assert reply.output.category != "internal"


# -- the process ------------------------------------------------------------------------------------------


@probe("mindspore")
def the_first_stumble_over_numpy_2_is_behind_us(adapter: Adapter) -> None:
    """The first mix of a tensor and a Python number works: the SystemError was spent in the warm-up."""
    tensor = adapter.tensor(arr([1.0, 2.0]), grad=False)
    assert values(adapter.read(tensor * 2.0)) == [2.0, 4.0]
    assert values(adapter.read(tensor + 1)) == [2.0, 3.0]


@probe()
def the_environment_is_described_and_set(adapter: Adapter) -> None:
    """Name, version and threads; GLOG_v, of opposite meanings, is each framework's own."""
    assert adapter.environ.get("GLOG_v") == {"paddle": "0", "mindspore": "3"}.get(adapter.name)
    assert {name: os.environ[name] for name in adapter.environ} == adapter.environ
    assert os.environ["OMP_NUM_THREADS"] == "1"
    others = {"torch", "paddle", "mindspore"} - {adapter.name}
    assert not others & set(sys.modules), "one framework a process"


def main(backend: str, out: Path) -> None:
    """Try every probe in this process and write what each found."""
    adapter = load_adapter(BACKENDS[backend])
    environment = adapter.start()
    found = {"start": f"{environment.backend} {environment.version}"}
    for name, (function, backends) in PROBES.items():
        if backend in backends:
            try:
                function(adapter)
                found[name] = ""
            except Exception:  # noqa: BLE001 - the probe's own failure, shown by the test
                found[name] = traceback.format_exc()
    out.write_text(json.dumps(found))


# -- what pytest sees ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[dict[str, str], str]]:
    """Run a framework's process once, and give its findings and what it printed."""
    cache: dict[str, tuple[dict[str, str], str]] = {}

    def report(backend: str) -> tuple[dict[str, str], str]:
        if backend not in cache:
            folder = tmp_path_factory.mktemp(backend)
            variables = os.environ | load_adapter(BACKENDS[backend]).environ
            done = subprocess.run(
                [sys.executable, __file__, backend, str(folder / "found.json")],
                cwd=folder,
                env=variables,
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-3000:]
            cache[backend] = json.loads((folder / "found.json").read_text()), done.stdout + done.stderr
        return cache[backend]

    return report


Report = Callable[[str], tuple[dict[str, str], str]]
PAIRS = [(backend, name) for backend in ALL for name, (_, takes) in PROBES.items() if backend in takes]


@pytest.mark.parametrize(("backend", "name"), PAIRS, ids=[f"{b}-{n}" for b, n in PAIRS])
def test_adapter(reports: Report, backend: str, name: str) -> None:
    """Each probe above holds in the process that imported the real framework."""
    found, _ = reports(backend)
    assert found[name] == "", found[name]


@pytest.mark.parametrize("backend", ALL)
def test_a_framework_starts_as_itself_and_in_silence(reports: Report, backend: str) -> None:
    """The version is the installed one, and neither import, warm-up nor calls print anything."""
    found, printed = reports(backend)
    distribution = load_adapter(BACKENDS[backend]).distribution
    assert found["start"] == f"{backend} {version(distribution)}"
    assert printed == ""


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
