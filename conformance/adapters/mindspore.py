"""MindSpore."""

import os
import platform
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import numpy as np

from conformance.adapters.base import Adapter, Tensors
from conformance.adapters.layouts import numpy_of
from conformance.adapters.written import written
from conformance.arrays import float32_as_bfloat16, to_wire
from conformance.types import Array, Environment, Reply, Request


class MindSporeAdapter(Adapter):
    """`mindspore`, PyNative, with or without `jit`."""

    name = "mindspore"
    distribution = "mindspore"
    namespaces = (
        "mindspore.ops",
        "mindspore.nn",
        "mindspore.mint",
        "mindspore.mint.special",
        "mindspore.mint.nn",
        "mindspore.mint.nn.functional",
    )
    # `mindspore.ops` also shows what compiles, runs Python, talks to other processes and writes files.
    homes = (
        "mindspore.mint",
        "mindspore.nn.layer",
        "mindspore.nn.loss",
        "mindspore.ops.auto_generate",
        "mindspore.ops.function.array_func",
        "mindspore.ops.function.math_func",
        "mindspore.ops.function.nn_func",
        "mindspore.ops.operations.array_ops",
        "mindspore.ops.operations.math_ops",
        "mindspore.ops.operations.nn_ops",
    )
    lanes = 2
    spins = True
    # MindSpore reads GLOG_v as a level: 3 is errors only.
    environ = {"OMP_NUM_THREADS": "1", "GLOG_v": "3"}  # noqa: RUF012 - read only
    modes = ("eager", "graph")
    devices = ("cpu", "gpu", "ascend")

    def start(self) -> Environment:
        """Import mindspore, synchronise every call, and absorb its first stumble over NumPy 2.

        PyNative is asynchronous: a failing op returns, and its error appears at an unrelated later
        read. `launch_blocking` makes the error appear at the call that caused it.
        """
        import mindspore

        mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
        self._ms = mindspore
        self._find_device()
        mindspore.runtime.launch_blocking()
        self._warm_up()
        if self.mode == "graph":
            from conformance.adapters.mindspore_graph import Graphs

            self._graphs = Graphs(mindspore)
        deterministic = mindspore.get_context("deterministic")
        flags = {"threads": 1, "launch_blocking": True, "deterministic": deterministic}
        versions = version("mindspore"), platform.python_version(), np.__version__
        return Environment(self.name, self.distribution, *versions, self.device, self.mode, flags)

    def _find_device(self) -> None:
        """See that the device is there, and make it the one that everything runs on."""
        kind, _, number = self.device.partition(":")
        if kind != "cpu":
            module = getattr(self._ms.device_context, kind)
            count = module.device_count() if module.is_available() else 0
            if int(number or 0) >= count:
                raise self.absent(count)
        name = {"cpu": "CPU", "gpu": "GPU", "ascend": "Ascend"}[kind]
        self._ms.set_device(name, int(number or 0))

    def execute(self, request: Request) -> Reply:
        """Execute one request, and forget the graphs that were made for it."""
        reply = super().execute(request)
        if self.mode == "graph":
            self._graphs.forget()
        return reply

    def make(self, entry: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call, or make a graph of the call and run it; a cell was constructed before."""
        if self.mode == "eager":
            return entry(*args, **kwargs)
        result, fallen_back = self._graphs.call(*written(entry, args, kwargs, self._is_tensor))
        if fallen_back:
            self.note(fallen_back)
        return result

    def _is_tensor(self, value: Any) -> bool:
        return isinstance(value, self._ms.Tensor)

    def _warm_up(self) -> None:
        """With NumPy 2 the first op that mixes a tensor and a Python number fails, once per process."""
        saved = os.dup(2)
        with open(os.devnull, "wb") as null:  # noqa: PTH123 - a file descriptor is what is needed
            os.dup2(null.fileno(), 2)
            try:
                with suppress(SystemError):
                    _ = self._ms.Tensor(np.ones(1, np.float32)) + 1
            finally:
                os.dup2(saved, 2)
                os.close(saved)

    def tensor(self, array: Array, *, grad: bool) -> Any:
        """Copy the values into a new tensor: gradients key on the tensor object, so none is shared."""
        del grad  # by position, in pull_back
        return self.laid_out(numpy_of(array), array, self._of)

    def expand(self, tensor: Any, shape: list[int]) -> Any:
        """`broadcast_to`; whether it copies is MindSpore's affair."""
        return tensor.broadcast_to(tuple(shape))

    def _of(self, values: Any, dtype: str) -> Any:
        # The dtype is given: from a list or another dtype the constructor would convert.
        return self._ms.Tensor(values, getattr(self._ms, "bool_" if dtype == "bool" else dtype))

    def read(self, tensor: Any) -> Array:
        """Copy out (`asnumpy` shares memory); bfloat16 passes through float32."""
        if tensor.dtype == self._ms.bfloat16:
            return float32_as_bfloat16(tensor.astype(self._ms.float32).asnumpy())
        return to_wire(tensor.asnumpy())

    def pull_back(
        self,
        call: Callable[[Tensors], Any],
        output: Any,
        tensors: Tensors,
        wanted: tuple[str, ...],
        ct: Array,
    ) -> list[Any | None]:
        """`GradOperation` with the cotangent; the wanted tensors are arguments, never captured.

        MindSpore answers zeros, not None, where it has no gradient: that cannot be told from a zero.
        """
        others = {name: tensor for name, tensor in tensors.items() if name not in wanted}

        def function(*differentiated: Any) -> Any:
            return call({**others, **dict(zip(wanted, differentiated, strict=True))})

        cotangent = self.tensor(ct, grad=False)
        if cotangent.dtype != output.dtype:
            cotangent = cotangent.astype(output.dtype)
        gradient = self._ms.ops.GradOperation(get_all=True, sens_param=True)(function)
        return list(gradient(*[tensors[name] for name in wanted], cotangent))

    def pull_back_twice(
        self, call: Callable[[Tensors], Any], tensors: Tensors, name: str, ct: Array, direction: Array
    ) -> Any | None:
        """`GradOperation` nested: MindSpore answers zeros where it has no second derivative."""
        others = {key: tensor for key, tensor in tensors.items() if key != name}
        operation = self._ms.ops.GradOperation(sens_param=True)
        cotangent, along = self.tensor(ct, grad=False), self.tensor(direction, grad=False)

        def function(tensor: Any) -> Any:
            return call({**others, name: tensor})

        def gradient(tensor: Any) -> Any:
            return operation(function)(tensor, cotangent)

        return operation(gradient)(tensors[name], along)
