"""The modes that compile, with the real frameworks: what is compiled, that it was, and what if it was not.

Run as a script with a backend's name, this file is the process that imports that framework, once, and tries
every probe in it; run by pytest, it starts such a process per framework and says what each probe found.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.__main__ import main as command
from conformance.adapters import BACKENDS
from conformance.adapters.base import Adapter
from conformance.adapters.written import written
from conformance.arrays import from_wire, to_wire
from conformance.errors import BindingError
from conformance.memory import room
from conformance.repro import execute_many
from conformance.types import Array, Binding, Raised, Reply, Request
from conformance.worker import Attended, load_adapter, started

MODES = {"torch": "compile", "paddle": "to_static", "mindspore": "graph"}
FUNCTIONS = {
    "torch": ("torch.nn.functional.cross_entropy", "target"),
    "paddle": ("paddle.nn.functional.cross_entropy", "label"),
    "mindspore": ("mindspore.ops.cross_entropy", "target"),
}
CLASSES = {
    "torch": ("torch.nn.CrossEntropyLoss", "input", "target"),
    "paddle": ("paddle.nn.CrossEntropyLoss", "input", "label"),
    "mindspore": ("mindspore.nn.CrossEntropyLoss", "logits", "labels"),
}
X = np.array([[0.5, -1.0, 2.0], [0.0, 1.0, 3.0]], np.float32)
Y = np.array([1, 2], np.int32)
ms: Any = None
TRIES = 4
PROBES: dict[str, tuple[Callable[[Adapter], None], tuple[str, ...]]] = {}


def probe(*backends: str) -> Callable[[Callable[[Adapter], None]], Callable[[Adapter], None]]:
    """Register a probe for some frameworks, or for all."""

    def register(function: Callable[[Adapter], None]) -> Callable[[Adapter], None]:
        PROBES[function.__name__] = (function, backends or tuple(MODES))
        return function

    return register


def entropy(adapter: Adapter, x: Any = X, y: Any = Y, reduction: str = "none") -> Reply:
    """Ask for cross_entropy, and its gradient for a cotangent of 1, 2 and so on."""
    api, target = FUNCTIONS[adapter.name]
    binding = Binding(api, {"input": "input", "target": target, "reduction": "reduction"})
    return adapter.execute(request(adapter, binding, x, y, reduction))


def request(adapter: Adapter, binding: Binding, x: Any, y: Any, reduction: str) -> Request:
    """Ask for cross_entropy as a binding expresses it."""
    labels = y.astype(np.int32 if adapter.name == "mindspore" else np.int64)
    tensors = {"input": to_wire(x), "target": to_wire(labels)}
    ct = to_wire(np.arange(1, len(x) + 1, dtype=np.float32))
    return Request(1, binding, tensors, {"reduction": reduction}, ("input",), ct)


def right(reply: Reply, x: Any = X, y: Any = Y) -> None:
    """Compare with the definition."""
    assert isinstance(reply.output, Array), reply.output
    gradient = reply.gradients["input"]
    assert isinstance(gradient, Array), gradient
    shares = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    rows = np.arange(len(x))
    np.testing.assert_allclose(from_wire(reply.output), -np.log(shares[rows, y]), rtol=1e-5)
    wanted = (shares - (np.arange(x.shape[1]) == y[:, None])) * np.arange(1, len(x) + 1)[:, None]
    np.testing.assert_allclose(from_wire(gradient), wanted, rtol=1e-4, atol=1e-6)


# -- probes -----------------------------------------------------------------------------------------------


@probe()
def a_function_is_compiled(adapter: Adapter) -> None:
    """Output and gradient are right, and nothing is said, for there is nothing to say."""
    reply = entropy(adapter)
    right(reply)
    assert reply.notes == ""


@probe()
def a_class_is_constructed_and_its_call_compiled(adapter: Adapter) -> None:
    """As a person would: the module outside, the call inside."""
    api, x, y = CLASSES[adapter.name]
    binding = Binding(api, {"input": x, "target": y}, {"reduction": "reduction"})
    right(adapter.execute(request(adapter, binding, X, Y, "none")))


@probe()
def calls_that_read_alike_are_not_mistaken_for_each_other(adapter: Adapter) -> None:
    """Two functions that are called by the same text, one after the other, are two."""
    place = "mindspore.ops" if adapter.name == "mindspore" else f"{adapter.name}.nn.functional"
    relu, sigmoid = np.maximum(X, 0), 1 / (1 + np.exp(-X))
    for name, wanted in (("relu", relu), ("sigmoid", sigmoid), ("relu", relu)):
        entry = getattr(import_module(place), name)
        out = adapter.make(entry, [adapter.tensor(to_wire(X), grad=False)], {})
        np.testing.assert_allclose(from_wire(adapter.read(out)), wanted, rtol=1e-5)


@probe()
def every_call_is_compiled_anew(adapter: Adapter) -> None:
    """No limit of recompilations is met: more shapes than any framework compiles of one function."""
    place = "mindspore.ops" if adapter.name == "mindspore" else f"{adapter.name}.nn.functional"
    for size in range(2, 12):
        x = np.linspace(-1, 1, size, dtype=np.float32)
        request = Request(1, Binding(f"{place}.relu", {"x": "input"}, positional=True), {"x": to_wire(x)}, {})
        output = adapter.execute(request).output
        assert isinstance(output, Array), output
        np.testing.assert_array_equal(from_wire(output), np.maximum(x, 0))


@probe()
def a_refusal_is_a_refusal(adapter: Adapter) -> None:
    """An unknown reduction is refused at the call; torch makes its ValueError a RuntimeError."""
    reply = entropy(adapter, reduction="median")
    assert isinstance(reply.output, Raised)
    category = "runtime" if adapter.name == "torch" else "value"
    assert (reply.output.phase, reply.output.category) == ("call", category), reply.output
    assert "median" in reply.output.message


@probe()
def what_is_not_compiled_is_no_answer(adapter: Adapter) -> None:
    """Each framework can be told to run eager all the same: then that is a refusal, and never a pass."""
    with eager(adapter.name):
        reply = entropy(adapter)
    assert isinstance(reply.output, Raised)
    found = (reply.output.phase, reply.output.category, reply.output.exception)
    assert found == ("call", "unsupported", "NotCompiledError")
    assert "ran eager" in reply.output.message
    right(entropy(adapter))


def eager(backend: str) -> Any:
    """Have a framework's compiler do nothing while this lasts."""
    if backend == "torch":
        return import_module("torch._dynamo.config").patch(disable=True)
    if backend == "paddle":
        return Switched(import_module("paddle").jit.enable_to_static, False, True)
    return Switched(lambda on: os.environ.update(MS_JIT=str(int(on))), False, True)


class Switched:
    """Something that is off inside."""

    def __init__(self, switch: Callable[[bool], Any], inside: bool, outside: bool) -> None:
        self._switch, self._inside, self._outside = switch, inside, outside

    def __enter__(self) -> None:
        self._switch(self._inside)

    def __exit__(self, *_: object) -> None:
        self._switch(self._outside)


@probe("torch", "mindspore")
def what_the_graph_leaves_out_is_said(adapter: Adapter) -> None:
    """A broken graph of torch, and a statement that MindSpore hands to Python, stand in the answer."""
    tensor = adapter.tensor(to_wire(X), grad=False)
    odd = broken if adapter.name == "torch" else unknown
    globals()["ms"] = sys.modules[adapter.name]
    adapter._notes.clear()
    assert np.array_equal(from_wire(adapter.read(adapter.make(odd, [tensor], {}))), X + 2)
    (note,) = adapter._notes
    assert ("2 graphs, broken at" if adapter.name == "torch" else "leaves some of it to Python") in note


def unknown(x: Any) -> Any:
    """Compute something in NumPy, which MindSpore's compiler does not know."""
    return ms.Tensor(np.add(x.asnumpy(), 2))


def broken(x: Any) -> Any:
    """Break a graph of torch."""
    y = x + 1
    sys.modules["torch"]._dynamo.graph_break()
    return y + 1


@probe()
def the_compiler_leaves_the_process_as_it_was(adapter: Adapter) -> None:
    """What it sets is set before the first request: no call is accused of it."""
    attended = Attended(adapter, room())
    api, target = FUNCTIONS[adapter.name]
    binding = Binding(api, {"input": "input", "target": target, "reduction": "reduction"})
    for reduction in ("none", "none"):
        reply = attended.execute(request(adapter, binding, X, Y, reduction))
        assert (reply.altered, reply.spoiled) == ((), False)


@probe("torch", "paddle")
def compilers_leave_their_files_with_the_worker(adapter: Adapter) -> None:
    """Temporary files go where the worker's folder goes."""
    assert adapter.folder is not None
    assert Path(os.environ["TMPDIR"]).is_relative_to(adapter.folder)
    if adapter.name == "torch":
        assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == os.environ["TMPDIR"]


@probe("mindspore")
def graphs_are_let_go(adapter: Adapter) -> None:
    """Each takes megabytes."""
    right(entropy(adapter))
    assert not adapter._graphs._made  # type: ignore[attr-defined]


def main(backend: str, out: Path) -> None:
    """Try every probe in this process and write what each found."""
    adapter = load_adapter(f"{BACKENDS[backend]} {MODES[backend]} cpu")
    adapter.folder = str(out.parent)
    environment = started(adapter)
    found = {"start": f"{environment.mode} {environment.device}"}
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
def reports(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """Run a framework's process once, and give its findings."""
    cache: dict[str, dict[str, str]] = {}

    def report(backend: str) -> dict[str, str]:
        if backend not in cache:
            folder = tmp_path_factory.mktemp(backend)
            # Now and then a program of paddle's ends its process by SIGSEGV (see README): nothing of ours
            # shows in that, and it is begun again.
            for _ in range(TRIES):
                done = subprocess.run(
                    [sys.executable, __file__, backend, str(folder / "found.json")],
                    cwd=folder,
                    env=os.environ | load_adapter(BACKENDS[backend]).environ,
                    capture_output=True,
                    text=True,
                    timeout=400,
                    check=False,
                )
                if done.returncode != -signal.SIGSEGV:
                    break
            assert done.returncode == 0, done.stderr[-3000:]
            cache[backend] = json.loads((folder / "found.json").read_text())
        return cache[backend]

    return report


PAIRS = [(backend, name) for backend in MODES for name, (_, takes) in PROBES.items() if backend in takes]


@pytest.mark.parametrize(("backend", "name"), PAIRS, ids=[f"{b}-{n}" for b, n in PAIRS])
def test_mode(reports: Callable[[str], dict[str, str]], backend: str, name: str) -> None:
    """Each probe above holds in the process that imported the real framework."""
    from tests import compiler  # noqa: PLC0415 - as a script, this file has no package around it

    compiler.wanted(backend)
    found = reports(backend)
    assert found["start"] == f"{MODES[backend]} cpu"
    assert found[name] == "", found[name]


def test_a_call_is_written_down() -> None:
    """Tensors are arguments, those in lists too; the rest stands in the text, or beside it."""
    seen: dict[str, Any] = {}

    def entry(*args: Any, **kwargs: Any) -> str:
        seen.update(args=args, kwargs=kwargs)
        return "called"

    tensors = [np.full(1, n) for n in range(4)]
    nested = [[tensors[1], tensors[2]], [tensors[3]]]
    kwargs = {"tails": nested, "mode": "a'b", "scale": float("inf"), "cut": [1, 2], "f": len, "none": None}
    function, passed = written(entry, [tensors[0], 2.5], kwargs, lambda value: isinstance(value, np.ndarray))
    assert [id(each) for each in passed] == [id(each) for each in tensors]
    assert function(*"abcd") == "called"
    assert seen["args"] == ("a", 2.5)
    assert seen["kwargs"] == {**kwargs, "tails": [["b", "c"], ["d"]]}


@pytest.mark.parametrize("name", ["x=exit(), y", "class", "m)#", ""])
def test_what_is_no_name_is_not_written_into_a_call(name: str) -> None:
    """A binding is data: nothing of it is executed, whoever wrote it, and however it got past `check`."""
    with pytest.raises(BindingError, match="no name of an argument"):
        written(print, [], {name: 1}, lambda _: False)


# -- through the command ------------------------------------------------------------------------------------


def rows(out: Path) -> list[dict[str, Any]]:
    """Read a stream."""
    return [json.loads(line) for line in (out / "run.jsonl").read_text().splitlines()]


def test_a_mode_from_the_command_to_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run says in which mode it was; what fails in it only is shown by a script in that mode."""
    where = ["--op", "binary_cross_entropy", "--api", "paddle.nn.functional.*", "-k", "basic[float32,none]"]
    options = [*where, "--no-site", "--no-cache"]
    assert command(["run", "--backend", "paddle", *options, "-o", str(tmp_path / "eager")]) == 0
    compiled = tmp_path / "compiled"
    assert command(["run", "--mode", "to_static", "--backend", "paddle", *options, "-o", str(compiled)]) <= 1
    found = rows(compiled)
    backend = next(row for row in found if row["type"] == "backend")
    assert (backend["backend"], backend["mode"], backend["device"]) == ("paddle", "to_static", "cpu")
    failing = {row["check"]: row for row in found if row.get("status") == "fail"}
    assert failing["grad.target"]["kind"] == "grad_value"  # zeros; in eager there is none
    said = capsys.readouterr().out
    assert "paddle:to_static 3." in said
    runs = [str(folder / "run.jsonl") for folder in (tmp_path / "eager", compiled)]
    assert command(["compare", *runs]) in (0, 1)
    assert "paddle:to_static 3." in capsys.readouterr().out
    case, api = failing["grad.target"]["case"], failing["grad.target"]["api"]
    scripts = {}
    for name, run in zip(("eager", "compiled"), runs, strict=True):
        assert command(["repro", case, api, "--check", "grad.target", "--run", run]) == 0
        scripts[name] = capsys.readouterr().out
    assert "paddle.jit.to_static(call, full_graph=True)(" in scripts["compiled"]
    assert "to_static" not in scripts["eager"]
    assert execute_many(scripts) == {"eager": 1, "compiled": 1}


def test_a_compiler_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a C++ compiler torch cannot start in that mode: incomplete, 3, and one sentence."""
    monkeypatch.setenv("CXX", "/no/such/compiler")
    options = ["--op", "sigmoid", "-k", "basic[float32]", "--no-site", "--no-cache", "-o", str(tmp_path)]
    assert command(["run", "--backend", "torch:compile", *options]) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "backend torch cannot start: torch:compile needs a C++ compiler and finds none: install g++" in said
    )


def test_devices_that_are_not_there_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hundredth GPU: incomplete, 3, and one sentence each."""
    backends = [
        part
        for name in ("torch@cuda:99", "paddle@gpu:99", "mindspore@gpu:99")
        for part in ("--backend", name)
    ]
    options = ["--op", "sigmoid", "-k", "basic[float32]", "--no-site", "--no-cache", "-o", str(tmp_path)]
    assert command(["run", *backends, *options]) == 3
    said = " ".join(capsys.readouterr().out.split())
    for name, device, distribution in (
        ("torch", "cuda:99", "torch"),
        ("paddle", "gpu:99", "paddlepaddle"),
        ("mindspore", "gpu:99", "mindspore"),
    ):
        start = f"backend {name} cannot start: device {device} is not there: this {distribution} sees "
        assert start in said
    lost = {row["backend"]: row["lost"] for row in rows(tmp_path) if row["type"] == "backend"}
    assert all("is not there" in why for why in lost.values())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
