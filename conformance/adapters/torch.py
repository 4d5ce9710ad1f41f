"""PyTorch."""

import platform
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from conformance.adapters.base import Adapter, Tensors, bfloat16_bits, numpy_of
from conformance.arrays import float32_as_bfloat16, to_wire
from conformance.types import Array, Environment


class TorchAdapter(Adapter):
    """`torch`, eager, on the CPU."""

    name = "torch"
    distribution = "torch"
    namespaces = ("torch.nn.functional", "torch.nn", "torch.special")
    entries = ("torch.log_softmax", "torch.logsumexp", "torch.sigmoid", "torch.softmax")
    environ = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # noqa: RUF012 - read only

    def start(self) -> Environment:
        """Import torch; one thread, because with two cores its threads wait for each other."""
        import torch

        torch.set_num_threads(1)
        self._torch = torch
        return Environment(
            self.name,
            self.distribution,
            version("torch"),
            platform.python_version(),
            np.__version__,
            flags={"threads": 1},
        )

    def tensor(self, array: Array, *, grad: bool) -> Any:
        """Copy the bits; a view of a fresh tensor for the layouts that are not contiguous."""
        tensor = self.laid_out(numpy_of(array), array, self._of)
        return tensor.requires_grad_(grad) if grad else tensor

    def _of(self, values: Any, dtype: str) -> Any:
        # torch.from_numpy shares memory with the array, which is a fresh copy here.
        if dtype == "bfloat16":
            return self._torch.from_numpy(bfloat16_bits(values).view(np.int16)).view(self._torch.bfloat16)
        return self._torch.from_numpy(np.ascontiguousarray(values).reshape(values.shape))

    def read(self, tensor: Any) -> Array:
        """Copy out; bfloat16 has no NumPy dtype, so it passes through float32."""
        plain = tensor.detach()
        if plain.dtype == self._torch.bfloat16:
            return float32_as_bfloat16(plain.to(self._torch.float32).numpy())
        return to_wire(plain.numpy())

    def pull_back(
        self,
        call: Callable[[Tensors], Any],
        output: Any,
        tensors: Tensors,
        wanted: tuple[str, ...],
        ct: Array,
    ) -> list[Any | None]:
        """`autograd.grad`; an output without a graph has no gradient by anything."""
        del call
        if not output.requires_grad:
            return [None] * len(wanted)
        cotangent = self.tensor(ct, grad=False).to(output.dtype)
        inputs = [tensors[name] for name in wanted]
        return list(self._torch.autograd.grad(output, inputs, grad_outputs=cotangent, allow_unused=True))

    def pull_back_twice(
        self, call: Callable[[Tensors], Any], tensors: Tensors, name: str, ct: Array, direction: Array
    ) -> Any | None:
        """`autograd.grad` of a gradient that keeps its graph."""
        grad, output, by = self._torch.autograd.grad, call(tensors), [tensors[name]]
        cotangent, along = self.tensor(ct, grad=False), self.tensor(direction, grad=False)
        (first,) = grad(output, by, grad_outputs=cotangent, create_graph=True, allow_unused=True)
        if first is None or not first.requires_grad:
            return None
        return grad(first, by, grad_outputs=along, allow_unused=True)[0]
