"""What every backend shares: execute one request, and say exactly which step let an exception out."""

import atexit
import os
import shutil
import signal
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from conformance.adapters.layouts import laid_out_so, memory_of
from conformance.arrays import (
    FLOATING,
    NDArray,
    float32_as_bfloat16,
    to_wire,
)
from conformance.errors import BindingError, UnavailableError
from conformance.types import Array, Binding, Category, Environment, Phase, Raised, Reply, Request, Scalar

Tensors = dict[str, Any]
MESSAGE = 2000
"""How many characters of an exception's message are kept."""


class Adapter(ABC):
    """One framework, in the process that imported it.

    A subclass says how to make a tensor, read one, and pull a cotangent back. It never interprets
    results: an exception, a missing gradient or an odd dtype travels to the harness as it is.
    """

    name: ClassVar[str]
    distribution: ClassVar[str]
    namespaces: ClassVar[tuple[str, ...]]
    """Only APIs inside these modules may be called, whatever a case file says."""
    entries: ClassVar[tuple[str, ...]] = ()
    """And these functions, whose modules hold much else."""
    homes: ClassVar[tuple[str, ...]] = ()
    """Where what may be called is defined, if not anywhere in the framework: a namespace may show more."""
    lanes: ClassVar[int] = 1
    """How many workers share its cases, at least: more where a call takes so long that others would wait."""
    spins: ClassVar[bool] = False
    """Whether its threads wait for each other without sleeping: each of its workers is kept on one core."""
    dialect: ClassVar[str] = ""
    """Where a third-party backend's `repro_dialects.Dialect` stands, `module:Class`, if it has one."""
    environ: ClassVar[dict[str, str]] = {}
    """Environment variables of the worker; they must be set before the framework is imported."""
    modes: ClassVar[tuple[str, ...]] = ("eager",)
    """How it can execute a call, the default first."""
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    """The kinds of devices that it knows, the default first; whether one is there, `start` has to see."""
    mode = "eager"
    device = "cpu"
    """What was asked for; set, if it is not this, before `start`, whose answer has to say the same."""
    folder: str | None = None
    """A folder that goes when the worker does."""

    def __init__(self) -> None:
        self._phase: Phase = "build"
        self._resolved: dict[str, Callable[..., Any]] = {}
        self._notes: list[str] = []

    # -- what a framework provides ---------------------------------------------------------------

    @abstractmethod
    def start(self) -> Environment:
        """Import the framework, quieten it, restrict it to one thread, and describe it."""

    @abstractmethod
    def tensor(self, array: Array, *, grad: bool) -> Any:
        """Make a new tensor of the array's dtype and layout, differentiable or not."""

    @abstractmethod
    def read(self, tensor: Any) -> Array:
        """Copy a tensor out, waiting for whatever computes it."""

    @abstractmethod
    def pull_back(
        self,
        call: Callable[[Tensors], Any],
        output: Any,
        tensors: Tensors,
        wanted: tuple[str, ...],
        ct: Array,
    ) -> list[Any | None]:
        """Gradients by the wanted inputs for the cotangent `ct`; None where the framework gives none."""

    @abstractmethod
    def pull_back_twice(
        self, call: Callable[[Tensors], Any], tensors: Tensors, name: str, ct: Array, direction: Array
    ) -> Any | None:
        """Derivative of the gradient by `name` along `direction`; None where there is none."""

    # -- what a framework with modes or devices of its own provides besides ---------------------------

    def make(self, entry: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Make the call. A mode that compiles compiles it first, and sees that it was compiled.

        Raises:
            NotCompiledError: it was not; the answer of the eager call is not the one that was asked for.

        """
        return entry(*args, **kwargs)

    def moved(self, module: Any) -> Any:
        """Move what a class has constructed to where the tensors are."""
        return module

    # -- what they share -------------------------------------------------------------------------

    def execute(self, request: Request) -> Reply:
        """Run one request. If it raises with gradients asked for, find out which part refuses.

        A framework may refuse to differentiate by one input and thereby refuse the whole call; the
        output alone, and then each gradient alone, are tried again so that every check has its own
        answer.
        """
        began = time.perf_counter()
        self._notes.clear()
        output, gradients, mutated = self._attempt(request, request.gradients)
        whole = output
        if isinstance(output, Raised) and request.gradients:
            output, _, mutated = self._attempt(request, ())
        if isinstance(output, Array) and (
            isinstance(whole, Raised) or any(isinstance(g, Raised) for g in gradients.values())
        ):
            gradients = {name: self._alone(request, name) for name in request.gradients}
        second = {
            name: self._second(request, name) if isinstance(output, Array) else None
            for name in request.directions
        }
        seconds, notes = time.perf_counter() - began, "; ".join(self._notes)
        return Reply(request.id, output, gradients, mutated, seconds, second, notes=notes)

    def absent(self, count: int) -> UnavailableError:
        """Say that the device that was asked for is not there; `count` of its kind are."""
        kind = self.device.partition(":")[0]
        seen = f"{count} of kind {kind}" if count else f"none of kind {kind}"
        return UnavailableError(f"device {self.device} is not there: this {self.distribution} sees {seen}")

    def temporary(self) -> str:
        """Return a folder for what compilers leave: that of the worker and of those that replace it."""
        if self.folder is None:
            folder = tempfile.mkdtemp(prefix="conformance-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        else:
            folder = str(Path(self.folder, "compiled"))
            Path(folder).mkdir(exist_ok=True)
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        return folder

    def note(self, what: str) -> None:
        """Have something said of the request that is executed: what a compiler made of it."""
        if what not in self._notes:
            self._notes.append(what)

    def invoke(self, binding: Binding, tensors: Tensors, params: dict[str, Scalar]) -> Any:
        """Call the API: construct it first if it is a class, pass what the binding says, pick the output."""
        self._phase = "construct" if binding.init is not None else "call"
        values = self._values(binding, tensors, params)
        entry = self._resolve(binding.api)
        fixed = dict(binding.fixed)
        if binding.init is not None:
            given = {theirs: values[ours] for ours, theirs in binding.init.items() if ours in values}
            entry, fixed = self.moved(entry(**given, **fixed)), {}
            for ours, path in binding.state.items():
                if ours in values:
                    place(entry, path, values[ours])
        self._phase = "call"
        passed = {theirs: values[ours] for ours, theirs in binding.call.items() if ours in values}
        if binding.positional:
            last = max((n for n, ours in enumerate(binding.call) if ours in values), default=-1)
            out = self.make(entry, [values.get(ours) for ours in list(binding.call)[: last + 1]], fixed)
        else:
            out = self.make(entry, [], dict(**passed, **fixed))  # twice the same name is an error
        return out if binding.returns is None else out[binding.returns]

    def _values(self, binding: Binding, tensors: Tensors, params: dict[str, Scalar]) -> dict[str, Any]:
        """Name everything that the call may take, in the form in which this API takes it."""
        values: dict[str, Any] = {n: list(v) if isinstance(v, tuple) else v for n, v in params.items()}
        values |= tensors
        for name in binding.transposed:
            if name in values:
                values[name] = self.transpose(values[name])
        for name, rows in binding.lists.items():
            values[name] = [[values[t] for t in row] for row in rows if all(t in values for t in row)]
        for name in binding.functions:
            if isinstance(values.get(name), str):
                values[name] = FUNCTIONS[values[name]]
        return values

    def laid_out(self, values: NDArray, array: Array, of: Callable[[NDArray, str], Any]) -> Any:
        """Make a tensor (with `of`) of these values whose memory is laid out as the case says."""
        layout = array.layout if laid_out_so(array.layout, values) else "contiguous"
        tensor = of(memory_of(values, layout), array.dtype)
        if layout == "transposed":
            return self.permute(tensor, list(reversed(range(values.ndim))))
        if layout == "expanded":
            return self.expand(tensor, list(values.shape))
        views: dict[str, Any] = {"strided": (..., slice(None, None, 2)), "sliced": slice(1, -1)}
        return tensor[views[layout]] if layout in views else tensor

    def permute(self, tensor: Any, axes: list[int]) -> Any:
        """Return a view with the axes in another order."""
        return tensor.permute(*axes)

    def expand(self, tensor: Any, shape: list[int]) -> Any:
        """Return a view that repeats the first row, without copying it."""
        return tensor.expand(shape)

    def transpose(self, tensor: Any) -> Any:
        """Return a matrix the other way round, differentiably."""
        return tensor.T

    def category(self, error: BaseException) -> Category:
        """Name the category of an exception by its class; messages are for people."""
        table: tuple[tuple[type[BaseException], Category], ...] = (
            (NotImplementedError, "unsupported"),
            (IndexError, "index"),
            (TypeError, "type"),
            (ValueError, "value"),
        )
        for kind, category in table:
            if isinstance(error, kind):
                return category
        return "runtime" if type(error) is RuntimeError else "internal"

    def _attempt(
        self, request: Request, wanted: tuple[str, ...]
    ) -> tuple[Array | Raised, dict[str, Array | Raised | None], tuple[str, ...]]:
        self._phase = "build"
        gradients: dict[str, Array | Raised | None] = {}
        mutated: tuple[str, ...] = ()

        def call(tensors: Tensors) -> Any:
            return self.invoke(request.binding, tensors, request.params)

        try:
            tensors = {n: self.tensor(a, grad=n in wanted) for n, a in request.tensors.items()}
            raw = call(tensors)
            self._phase = "read"
            output = self.read(raw)
            # An undefined case has no cotangent, for nobody knows the shape of its answer; its backward
            # pass runs all the same, because an error may come only there.
            cotangent = request.cotangent or ones_like(output)
            if wanted and cotangent is not None:
                gradients = self._gradients(cotangent, call, raw, tensors, wanted)
            # Last, because a backward pass can write where it should not as well as a forward one.
            self._phase = "read"
            read = ((n, self.read(tensors[n]).data, a.data) for n, a in request.tensors.items())
            mutated = tuple(n for n, now, given in read if not same_bits(now, given))
        except BaseException as error:  # noqa: BLE001 - a framework's SystemExit is a result too
            return self._raised(error), gradients, mutated
        return output, gradients, mutated

    def _gradients(
        self,
        cotangent: Array,
        call: Callable[[Tensors], Any],
        raw: Any,
        tensors: Tensors,
        wanted: tuple[str, ...],
    ) -> dict[str, Array | Raised | None]:
        self._phase = "backward"
        try:
            pulled = self.pull_back(call, raw, tensors, wanted, cotangent)
            return {n: None if g is None else self.read(g) for n, g in zip(wanted, pulled, strict=True)}
        except BaseException as error:  # noqa: BLE001 - as above
            self._phase = "backward"
            return dict.fromkeys(wanted, self._raised(error))

    def _alone(self, request: Request, name: str) -> Array | Raised | None:
        output, gradients, _ = self._attempt(request, (name,))
        return output if isinstance(output, Raised) else gradients.get(name)

    def _second(self, request: Request, name: str) -> Array | Raised | None:
        """Differentiate the gradient by `name` once more, along the direction that the request gives."""

        def call(tensors: Tensors) -> Any:
            return self.invoke(request.binding, tensors, request.params)

        assert request.cotangent is not None
        try:
            tensors = {n: self.tensor(a, grad=n == name) for n, a in request.tensors.items()}
            pulled = self.pull_back_twice(call, tensors, name, request.cotangent, request.directions[name])
            return None if pulled is None else self.read(pulled)
        except BaseException as error:  # noqa: BLE001 - as above
            self._phase = "backward"
            return self._raised(error)

    def _raised(self, error: BaseException) -> Raised:
        if isinstance(error, BindingError):
            raise error
        # A worker ignores SIGINT, so there it is the call's own; elsewhere somebody pressed Ctrl-C.
        if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            raise error
        return Raised(self._phase, self.category(error), type(error).__name__, said_by(error))

    def permits(self, api: str) -> bool:
        """Whether a name is one of a public namespace, going by the name alone."""
        module, _, attribute = api.rpartition(".")
        public = attribute.isidentifier() and not attribute.startswith("_")
        return public and api not in self.namespaces and (module in self.namespaces or api in self.entries)

    def _resolve(self, api: str) -> Callable[..., Any]:
        if api not in self._resolved:
            if not self.permits(api):
                raise BindingError(f"{api} is outside the public namespaces of {self.name}")
            module, _, attribute = api.rpartition(".")
            entry = getattr(import_module(module), attribute)
            home = getattr(entry, "__module__", None) or ""
            within = any(f"{home}.".startswith(f"{each}.") for each in self.homes or (self.name,))
            if not callable(entry) or not within:
                # A module that the namespace imported, or what no case has any business with.
                raise BindingError(f"{api} is no operator of {self.name}")
            self._resolved[api] = entry
        return self._resolved[api]


def same_bits(read: bytes, given: bytes) -> bool:
    """Whether two buffers are equal; a file's is compared by words, for Python takes it byte by byte."""
    if type(given) is bytes or len(read) != len(given):
        return read == given
    word = np.uint64 if len(read) % 8 == 0 else np.uint8
    return np.array_equal(np.frombuffer(read, word), np.frombuffer(given, word))


def said_by(error: BaseException) -> str:
    """Return an exception's message, cut to a length and a text that can be sent, whatever it is made of."""
    try:
        start = str(error)[: 4 * MESSAGE].strip()[:MESSAGE]
        return start.encode("utf-8", "backslashreplace").decode()
    except BaseException as another:  # noqa: BLE001 - `str` runs the framework's code
        return f"its message cannot be read: {type(another).__name__}"


def _l1(a: Any, b: Any) -> Any:
    return (a - b).abs().sum(-1)


def _squared(a: Any, b: Any) -> Any:
    return ((a - b) * (a - b)).sum(-1)


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {"l1": _l1, "squared": _squared}
"""The callables that a parameter may name, over the tensors of any framework."""


def place(module: Any, path: str, tensor: Any) -> None:
    """Put a tensor where a module keeps a parameter of its own (`tail.0.weight`)."""
    *parents, name = steps = path.split(".")
    if any(step.startswith("_") for step in steps):
        raise BindingError(f"{path} is no parameter of a module")
    for parent in parents:
        module = module[int(parent)] if parent.isdigit() else getattr(module, parent)
    if name.isdigit():  # a list of parameters
        module[int(name)] = tensor
        return
    delattr(module, name)
    object.__setattr__(module, name, tensor)


def ones_like(output: Array) -> Array | None:
    """Return ones of a floating output's shape and dtype; an integer output has no gradient to pull."""
    if output.dtype not in FLOATING:
        return None
    if output.dtype == "bfloat16":
        return float32_as_bfloat16(np.ones(output.shape, np.float32))
    return to_wire(np.ones(output.shape, output.dtype))
