"""PaddlePaddle."""

import platform
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import numpy as np

from conformance.adapters.base import Adapter, Tensors
from conformance.adapters.layouts import bfloat16_bits, numpy_of
from conformance.adapters.written import NotCompiledError, written
from conformance.arrays import to_wire
from conformance.types import Array, Category, Environment


class PaddleAdapter(Adapter):
    """`paddle`, dynamic graph or made static."""

    name = "paddle"
    distribution = "paddlepaddle"
    namespaces = ("paddle.nn.functional", "paddle.nn")
    entries = ("paddle.logsumexp", "paddle.sigmoid", "paddle.softmax")
    # paddle reads GLOG_v as a verbosity: a value set for MindSpore would log every kernel.
    environ = {"OMP_NUM_THREADS": "1", "GLOG_v": "0"}  # noqa: RUF012 - read only
    modes = ("eager", "to_static")
    devices = ("cpu", "gpu", "xpu")

    def start(self) -> Environment:
        """Import paddle, without its warning about ccache."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import paddle
        self._paddle = paddle
        self._find_device()
        self._enforce = paddle.base.core.EnforceNotMet
        if self.mode == "to_static":
            self.temporary()  # it writes the functions that it transforms
        versions = version("paddlepaddle"), platform.python_version(), np.__version__
        flags = {"threads": 1, **self._switches()}
        return Environment(self.name, self.distribution, *versions, self.device, self.mode, flags)

    def _find_device(self) -> None:
        """See that the device is there, and make it the one that tensors are made on."""
        device, kind = self._paddle.device, self.device.partition(":")[0]
        if kind != "cpu":
            there = {"gpu": device.is_compiled_with_cuda, "xpu": device.is_compiled_with_xpu}[kind]()
            count = {"gpu": device.cuda, "xpu": device.xpu}[kind].device_count() if there else 0
            if int(self.device.partition(":")[2] or 0) >= count:
                raise self.absent(count)
        self._paddle.set_device(self.device)

    def _switches(self) -> dict[str, Any]:
        """Read what decides about accuracy; a build without a GPU knows none of it."""
        found: dict[str, Any] = {}
        for name in ("FLAGS_cudnn_deterministic", "FLAGS_embedding_deterministic"):
            with suppress(ValueError):
                found |= self._paddle.get_flags(name)
        return found

    def make(self, entry: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call, or make the call static and execute its program; a layer was constructed before."""
        if self.mode == "eager":
            return entry(*args, **kwargs)
        function, tensors = written(entry, args, kwargs, self._paddle.is_tensor)
        static = self._paddle.jit.to_static(function, full_graph=True)
        result = static(*tensors)
        if not len(static.program_cache):
            raise NotCompiledError("paddle.jit.to_static made no program of this call, which ran eager")
        return result

    def category(self, error: BaseException) -> Category:
        """EnforceNotMet, a C++ class outside Python's hierarchy, is paddle's RuntimeError."""
        return "runtime" if isinstance(error, self._enforce) else super().category(error)

    def tensor(self, array: Array, *, grad: bool) -> Any:
        """Copy the values; strided layouts are views made by slicing and by `t`/`transpose`."""
        tensor = self.laid_out(numpy_of(array), array, self._of)
        tensor.stop_gradient = not grad
        return tensor

    def permute(self, tensor: Any, axes: list[int]) -> Any:
        """`transpose` is the view with other axes."""
        return tensor.transpose(axes)

    def _of(self, values: Any, dtype: str) -> Any:
        # paddle takes an array of uint16 for the bits of bfloat16.
        return self._paddle.to_tensor(bfloat16_bits(values) if dtype == "bfloat16" else values)

    def read(self, tensor: Any) -> Array:
        """Copy out; `.numpy()` of bfloat16 is the raw bits already."""
        values = tensor.numpy()
        if tensor.dtype == self._paddle.bfloat16:
            return Array("bfloat16", values.shape, np.ascontiguousarray(values).tobytes())
        return to_wire(values)

    def pull_back(
        self,
        call: Callable[[Tensors], Any],
        output: Any,
        tensors: Tensors,
        wanted: tuple[str, ...],
        ct: Array,
    ) -> list[Any | None]:
        """`paddle.grad`; an output that stops gradients has none by anything."""
        del call
        if output.stop_gradient:
            return [None] * len(wanted)
        cotangent = self.tensor(ct, grad=False)
        if cotangent.dtype != output.dtype:
            cotangent = cotangent.astype(output.dtype)
        inputs = [tensors[name] for name in wanted]
        return list(self._paddle.grad(output, inputs, grad_outputs=[cotangent], allow_unused=True))

    def pull_back_twice(
        self, call: Callable[[Tensors], Any], tensors: Tensors, name: str, ct: Array, direction: Array
    ) -> Any | None:
        """`paddle.grad` of a gradient that keeps its graph."""
        grad, output, by = self._paddle.grad, call(tensors), [tensors[name]]
        cotangent, along = self.tensor(ct, grad=False), self.tensor(direction, grad=False)
        (first,) = grad(output, by, grad_outputs=[cotangent], create_graph=True, allow_unused=True)
        if first is None or first.stop_gradient:
            return None
        return grad(first, by, grad_outputs=[along], allow_unused=True)[0]
