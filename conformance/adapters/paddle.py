"""PaddlePaddle."""

import platform
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from conformance.adapters.base import Adapter, Tensors, bfloat16_bits, numpy_of
from conformance.arrays import to_wire
from conformance.types import Array, Category, Environment


class PaddleAdapter(Adapter):
    """`paddle`, dynamic graph, on the CPU."""

    name = "paddle"
    distribution = "paddlepaddle"
    namespaces = ("paddle.nn.functional", "paddle.nn")
    entries = ("paddle.logsumexp", "paddle.sigmoid", "paddle.softmax")
    # paddle reads GLOG_v as a verbosity: a value set for MindSpore would log every kernel.
    environ = {"OMP_NUM_THREADS": "1", "GLOG_v": "0"}  # noqa: RUF012 - read only

    def start(self) -> Environment:
        """Import paddle, without its warning about ccache."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import paddle
        paddle.set_device("cpu")
        self._paddle = paddle
        self._enforce = paddle.base.core.EnforceNotMet
        return Environment(
            self.name,
            self.distribution,
            version("paddlepaddle"),
            platform.python_version(),
            np.__version__,
            flags={"threads": 1},
        )

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
