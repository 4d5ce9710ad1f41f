"""Miniatures: deliberately wrong backends, and an honest one, as real adapters in real workers.

They compute multi_margin_loss with NumPy. Each is wrong in one way, so that a test can say which status
and kind that way has, and that nothing else is touched.
"""

import ctypes
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.adapters.base import Adapter, Tensors
from conformance.arithmetic import Arithmetic, arithmetic
from conformance.arrays import NDArray, from_wire, to_wire
from conformance.definition import definitions
from conformance.oracle import Exact, exact_output, is_floating
from conformance.second import exact_second
from conformance.types import Array, Binding, Environment, Reply, Request, Scalar

Arrays = dict[str, NDArray]
Params = dict[str, Scalar]


@dataclass
class Box:
    """A tensor of this framework: an array."""

    values: NDArray


class Honest(Adapter):
    """Evaluates the definition in long double and rounds once."""

    name = "miniature"
    distribution = "miniature"
    namespaces = ("miniature",)

    def start(self) -> Environment:
        """Load the definition now, so that the first case is not the slow one."""
        self.definition = definitions()["multi_margin_loss"]
        return Environment(self.name, self.distribution, "1.0", platform.python_version(), np.__version__)

    def tensor(self, array: Array, *, grad: bool) -> Any:
        """Copy the array."""
        del grad
        return Box(from_wire(array).copy())

    def read(self, tensor: Any) -> Array:
        """Copy the array out."""
        return to_wire(tensor.values)

    def invoke(self, binding: Binding, tensors: Tensors, params: Params) -> Any:
        """Compute the loss, keeping what the derivative will need, as autograd does."""
        del binding
        self._phase = "call"
        self._saved = {name: box.values.copy() for name, box in tensors.items()}
        self._params = params
        return Box(self.output(self._saved, params))

    def pull_back(
        self,
        call: Callable[[Tensors], Any],
        output: Any,
        tensors: Tensors,
        wanted: tuple[str, ...],
        ct: Array,
    ) -> list[Any | None]:
        """Compute the gradients of the last call."""
        del call, output, tensors
        gradients = self.gradients(self._saved, self._params, from_wire(ct))
        return [None if gradients[name] is None else Box(np.asarray(gradients[name])) for name in wanted]

    def pull_back_twice(
        self, call: Callable[[Tensors], Any], tensors: Tensors, name: str, ct: Array, direction: Array
    ) -> Any | None:
        """Differentiate the VJP along the direction."""
        call(tensors)
        arrays, kind = self._saved, self._saved[name].dtype
        params: dict[str, Any] = self._params
        v, along = from_wire(ct), from_wire(direction)
        exact = exact_second(self.definition, arrays, params, kind.name, v, name, along)
        return Box(exact.low.astype(kind))

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Return the loss; most miniatures are wrong here."""
        with arithmetic(Arithmetic()):
            return self.definition(_wide(arrays), params).astype(arrays["input"].dtype)

    def gradients(self, arrays: Arrays, params: Params, cotangent: NDArray) -> dict[str, NDArray | None]:
        """Return the gradients; others are wrong here."""
        kind = arrays["input"].dtype
        with arithmetic(Arithmetic()):
            pulled = self.definition.pull_back(cotangent, _wide(arrays), params)
        return {name: gradient.astype(kind) for name, gradient in pulled.items()}


def _wide(arrays: Arrays) -> Arrays:
    return {name: a.astype(np.longdouble) if is_floating(a) else a for name, a in arrays.items()}


# -- wrong outputs ------------------------------------------------------------------------------------


class AlwaysWrong(Honest):
    """Adds one."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Return the loss and one."""
        loss = super().output(arrays, params)
        return np.asarray(loss + loss.dtype.type(1))


class JustInsideTheBound(Honest):
    """Returns the largest numbers that still conform."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Step down from the first number beyond the bound."""
        exact, value = self._beyond(arrays, params)
        below = np.nextafter(value, value.dtype.type(-np.inf))
        return np.asarray(below).reshape(exact.low.shape)

    def _beyond(self, arrays: Arrays, params: Params) -> tuple[Exact, NDArray]:
        """Return the smallest numbers of the dtype that lie beyond the bound."""
        kind = arrays["input"].dtype
        exact = exact_output(self.definition, arrays, params, kind.name)
        value = np.atleast_1d((exact.low + exact.bound).astype(kind))
        while (conforms := value - exact.low <= exact.bound).any():
            value = np.where(conforms, np.nextafter(value, kind.type(np.inf)), value)
        while not (above := np.nextafter(value, kind.type(-np.inf)) - exact.low <= exact.bound).all():
            value = np.where(above, value, np.nextafter(value, kind.type(-np.inf)))
        return exact, value


class OffByOneUlpTimesK(JustInsideTheBound):
    """Returns the first numbers that do not conform: one ULP from its twin."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Return the first numbers beyond the bound."""
        exact, value = self._beyond(arrays, params)
        return value.reshape(exact.low.shape)


class WrongShape(Honest):
    """Gives the loss an axis too many."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Return the loss, [1, *]."""
        return super().output(arrays, params)[np.newaxis]


class WrongDtype(Honest):
    """Returns float64, whatever it was given."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Return the loss as float64."""
        return super().output(arrays, params).astype(np.float64)


class NanEverywhere(Honest):
    """Returns NaN."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Return NaN in the right shape."""
        return np.full_like(super().output(arrays, params), np.nan)


class EmptyOutputs(Honest):
    """Returns nothing, in the right dtype."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Return the loss without its elements."""
        return super().output(arrays, params).reshape(-1)[:0]


class SwapsReduction(Honest):
    """Takes the sum for the mean, the mean for the sum, and the mean for none."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Return the loss in another reduction."""
        other = {"mean": "sum", "sum": "mean", "none": "mean"}[str(params["reduction"])]
        return super().output(arrays, {**params, "reduction": other})


class IgnoresWeight(Honest):
    """Accepts a weight and does nothing with it, in the forward pass."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Return the unweighted loss."""
        return super().output({n: a for n, a in arrays.items() if n != "weight"}, params)


class IgnoresMargin(Honest):
    """Accepts a margin and uses 1, in the forward pass."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Return the loss for a margin of 1."""
        return super().output(arrays, {n: v for n, v in params.items() if n != "margin"})


class MutatesInput(Honest):
    """Computes in place, in its caller's tensor."""

    def invoke(self, binding: Binding, tensors: Tensors, params: Params) -> Any:
        """Clear the input after use."""
        result = super().invoke(binding, tensors, params)
        tensors["input"].values[...] = 0
        return result


class MutatesInputInBackward(Honest):
    """Leaves the input alone until its derivative is asked for."""

    def pull_back(
        self,
        call: Callable[[Tensors], Any],
        output: Any,
        tensors: Tensors,
        wanted: tuple[str, ...],
        ct: Array,
    ) -> list[Any | None]:
        """Clear the input after differentiating."""
        pulled = super().pull_back(call, output, tensors, wanted, ct)
        tensors["input"].values[...] = 0
        return pulled


# -- wrong gradients ----------------------------------------------------------------------------------


class GradientMissing(Honest):
    """Gives no gradient by anything."""

    def gradients(self, arrays: Arrays, params: Params, cotangent: NDArray) -> dict[str, NDArray | None]:
        """Return None for each."""
        return dict.fromkeys(super().gradients(arrays, params, cotangent))


class GradientZero(Honest):
    """Gives zeros as gradients."""

    def gradients(self, arrays: Arrays, params: Params, cotangent: NDArray) -> dict[str, NDArray | None]:
        """Return zeros of the right shape and dtype."""
        honest = super().gradients(arrays, params, cotangent)
        return {name: np.zeros_like(gradient) for name, gradient in honest.items()}


class RaisesInBackwardOnly(Honest):
    """Computes the loss and refuses its derivative."""

    def gradients(self, arrays: Arrays, params: Params, cotangent: NDArray) -> dict[str, NDArray | None]:
        """Raise what frameworks raise."""
        raise NotImplementedError("derivative of loss is not implemented")


# -- refusals -----------------------------------------------------------------------------------------


class Raises(Honest):
    """Refuses every call, in an orderly way."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Raise a RuntimeError."""
        del arrays, params
        raise RuntimeError("not today")


class RaisesInternal(Honest):
    """Stumbles over itself."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Raise what no caller can be meant to see."""
        del arrays, params
        raise KeyError("kernel registry")


# -- processes that misbehave -------------------------------------------------------------------------


class _Misbehaves(Honest):
    """Honest, but for what it does on the guilty case."""

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Misbehave if the margin is 2."""
        if params.get("margin") == 2.0:
            self.misbehave()
        return super().output(arrays, params)

    def misbehave(self) -> None:
        """Do what a subclass is named for."""
        raise NotImplementedError


class Hangs(_Misbehaves):
    """Never answers."""

    def misbehave(self) -> None:
        """Sleep for an hour, after saying so."""
        print("waiting for a lock", file=sys.stderr, flush=True)
        time.sleep(3600)


class Segfaults(_Misbehaves):
    """Dies of a segmentation fault."""

    def misbehave(self) -> None:
        """Die as native code dies, after saying something."""
        print("about to read what is not ours", file=sys.stderr, flush=True)
        ctypes.string_at(0)


class Aborts(_Misbehaves):
    """Dies of a failed native assertion."""

    def misbehave(self) -> None:
        """Abort, after the assertion's message."""
        os.write(2, b"Assertion `cur_target >= 0 && cur_target < n_classes` failed.\n")
        os.abort()


class Exits(_Misbehaves):
    """Ends its process without a signal."""

    def misbehave(self) -> None:
        """Exit at once."""
        os._exit(3)


class PrintsToStdout(Honest):
    """Prints from Python and from native code, also what is not text, on both descriptors."""

    def start(self) -> Environment:
        """Print before being ready."""
        self._noise()
        return super().start()

    def output(self, arrays: Arrays, params: Params) -> NDArray:
        """Print while computing."""
        self._noise()
        return super().output(arrays, params)

    def _noise(self) -> None:
        print("a friendly greeting", flush=True)
        for descriptor in (1, 2):
            os.write(descriptor, bytes(range(256)) * 64)


class AnswersOutOfOrder(Honest):
    """Answers the guilty question with an earlier answer."""

    _last: Reply

    def execute(self, request: Request) -> Reply:
        """Repeat the last reply where the margin is 2."""
        if request.params.get("margin") != 2.0:
            self._last = super().execute(request)
        return self._last


class FailsAtStart(Honest):
    """Cannot be imported."""

    def start(self) -> Environment:
        """Fail as an import of a broken installation does."""
        raise ImportError("libminiature.so: undefined symbol")


class DiesAtStart(Honest):
    """Dies while it is imported."""

    def start(self) -> Environment:
        """Die of an illegal instruction, as a build for another processor does."""
        signal.raise_signal(signal.SIGILL)
        return super().start()
