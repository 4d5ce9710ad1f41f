"""What every backend shares: execute one request, and say exactly which step let an exception out."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from conformance.arrays import (
    FLOATING,
    NDArray,
    bfloat16_as_float32,
    float32_as_bfloat16,
    to_wire,
)
from conformance.types import Array, Binding, Category, Environment, Phase, Raised, Reply, Request, Scalar

Tensors = dict[str, Any]


class Adapter(ABC):
    """One framework, in the process that imported it.

    A subclass says how to make a tensor, read one, and pull a cotangent back. It never interprets
    results: an exception, a missing gradient or an odd dtype travels to the harness as it is.
    """

    name: ClassVar[str]
    distribution: ClassVar[str]
    namespaces: ClassVar[tuple[str, ...]]
    """Only APIs inside these modules may be called, whatever a case file says."""
    environ: ClassVar[dict[str, str]] = {}
    """Environment variables of the worker; they must be set before the framework is imported."""

    def __init__(self) -> None:
        self._phase: Phase = "build"
        self._resolved: dict[str, Callable[..., Any]] = {}

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

    # -- what they share -------------------------------------------------------------------------

    def execute(self, request: Request) -> Reply:
        """Run one request. If it raises with gradients asked for, find out which part refuses.

        A framework may refuse to differentiate by one input and thereby refuse the whole call; the
        output alone, and then each gradient alone, are tried again so that every check has its own
        answer.
        """
        began = time.perf_counter()
        output, gradients, mutated = self._attempt(request, request.gradients)
        whole = output
        if isinstance(output, Raised) and request.gradients:
            output, _, mutated = self._attempt(request, ())
        if isinstance(output, Array) and (
            isinstance(whole, Raised) or any(isinstance(g, Raised) for g in gradients.values())
        ):
            gradients = {name: self._alone(request, name) for name in request.gradients}
        return Reply(request.id, output, gradients, mutated, time.perf_counter() - began)

    def invoke(self, binding: Binding, tensors: Tensors, params: dict[str, Scalar]) -> Any:
        """Call the API: construct it first if it is a class, pass what the binding says, pick the output."""
        values = {**params, **tensors}
        entry = self._resolve(binding.api)
        if binding.init is not None:
            self._phase = "construct"
            entry = entry(**{theirs: values[ours] for ours, theirs in binding.init.items() if ours in values})
        self._phase = "call"
        passed = {theirs: values[ours] for ours, theirs in binding.call.items() if ours in values}
        out = entry(*passed.values()) if binding.positional else entry(**passed)
        return out if binding.returns is None else out[binding.returns]

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
            mutated = tuple(n for n, a in request.tensors.items() if self.read(tensors[n]).data != a.data)
        except Exception as error:  # noqa: BLE001 - whatever a framework raises is a result
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
        except Exception as error:  # noqa: BLE001 - as above
            self._phase = "backward"
            return dict.fromkeys(wanted, self._raised(error))

    def _alone(self, request: Request, name: str) -> Array | Raised | None:
        output, gradients, _ = self._attempt(request, (name,))
        return output if isinstance(output, Raised) else gradients.get(name)

    def _raised(self, error: BaseException) -> Raised:
        message = str(error).strip()
        return Raised(self._phase, self.category(error), type(error).__name__, message[:2000])

    def _resolve(self, api: str) -> Callable[..., Any]:
        if api not in self._resolved:
            module, _, attribute = api.rpartition(".")
            if module not in self.namespaces:
                raise PermissionError(f"{api} is outside the public namespaces of {self.name}")
            self._resolved[api] = getattr(import_module(module), attribute)
        return self._resolved[api]


def ones_like(output: Array) -> Array | None:
    """Return ones of a floating output's shape and dtype; an integer output has no gradient to pull."""
    if output.dtype not in FLOATING:
        return None
    if output.dtype == "bfloat16":
        return float32_as_bfloat16(np.ones(output.shape, np.float32))
    return to_wire(np.ones(output.shape, output.dtype))


def numpy_of(array: Array) -> NDArray:
    """Unpack an array without ml_dtypes: bfloat16 comes as float32, which holds it exactly."""
    if array.dtype == "bfloat16":
        return bfloat16_as_float32(array)
    return np.frombuffer(array.data, array.dtype).reshape(array.shape).copy()


def bfloat16_bits(values: NDArray) -> NDArray:
    """Return the raw bits of float32 values that are bfloat16 numbers: a framework's cast changes a NaN's."""
    return np.frombuffer(float32_as_bfloat16(values).data, np.uint16).reshape(values.shape).copy()


def interleaved(values: NDArray) -> NDArray:
    """Give twice as many columns, the odd ones holding other values: what a kernel blind to strides reads."""
    wide = np.empty((*values.shape[:-1], 2 * values.shape[-1]), values.dtype)
    wide[..., ::2] = values
    wide[..., 1::2] = np.flip(values, -1)
    return wide


def reversed_axes(values: NDArray) -> NDArray:
    """Copy with the axes reversed: reversing them again as a view gives the values, transposed in memory."""
    return np.ascontiguousarray(values.T)
