"""PyTorch."""

import platform
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from conformance.adapters.base import Adapter, Tensors
from conformance.adapters.layouts import bfloat16_bits, numpy_of
from conformance.adapters.written import written
from conformance.arrays import float32_as_bfloat16, to_wire
from conformance.types import Array, Category, Environment, Reply, Request


class TorchAdapter(Adapter):
    """`torch`, eager or compiled."""

    name = "torch"
    distribution = "torch"
    namespaces = ("torch.nn.functional", "torch.nn", "torch.special")
    entries = ("torch.log_softmax", "torch.logsumexp", "torch.sigmoid", "torch.softmax")
    environ = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # noqa: RUF012 - read only
    modes = ("eager", "compile")
    devices = ("cpu", "cuda", "mps", "xpu")

    def start(self) -> Environment:
        """Import torch; one thread, because with two cores its threads wait for each other."""
        import torch

        torch.set_num_threads(1)
        self._torch = torch
        self._find_device()
        flags = {"threads": 1, **self._switches()}
        if self.mode == "compile":
            from conformance.adapters.torch_compile import Compiler

            self._compiler = Compiler(torch, self.temporary(), self.device)
            flags["compiler"] = self._compiler.start()
        versions = version("torch"), platform.python_version(), np.__version__
        return Environment(self.name, self.distribution, *versions, self.device, self.mode, flags)

    def _find_device(self) -> None:
        """See that the device is there."""
        kind, _, number = self.device.partition(":")
        if kind == "cpu":
            return
        module = getattr(self._torch, kind)
        count = module.device_count() if module.is_available() else 0
        if int(number or 0) >= count:
            raise self.absent(count)

    def _switches(self) -> dict[str, Any]:
        """Read what decides about accuracy, also for a device that is not in use."""
        torch = self._torch
        return {
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
            "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
            "cudnn.deterministic": torch.backends.cudnn.deterministic,
        }

    def execute(self, request: Request) -> Reply:
        """Execute one request, and forget what was compiled for it."""
        reply = super().execute(request)
        if self.mode == "compile":
            self._compiler.forget()
        return reply

    def make(self, entry: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call, or compile the call: a function of its tensors; a module was constructed before."""
        if self.mode == "eager":
            return entry(*args, **kwargs)
        result, broken = self._compiler.call(*written(entry, args, kwargs, self._torch.is_tensor))
        if broken:
            self.note(broken)
        return result

    def moved(self, module: Any) -> Any:
        """`to` moves parameters and buffers; what is on the CPU is there already."""
        return module if self.device == "cpu" else module.to(self.device)

    def category(self, error: BaseException) -> Category:
        """TorchRuntimeError is what any refusal is while a call is traced: an honest one."""
        honest = type(error).__name__ == "TorchRuntimeError"
        return "runtime" if honest else super().category(error)

    def tensor(self, array: Array, *, grad: bool) -> Any:
        """Copy the bits; a view of a fresh tensor for the layouts that are not contiguous."""
        tensor = self.laid_out(numpy_of(array), array, self._of)
        return tensor.requires_grad_(grad) if grad else tensor

    def _of(self, values: Any, dtype: str) -> Any:
        # torch.from_numpy shares memory with the array, which is a fresh copy here.
        if dtype == "bfloat16":
            made = self._torch.from_numpy(bfloat16_bits(values).view(np.int16)).view(self._torch.bfloat16)
        else:
            made = self._torch.from_numpy(np.ascontiguousarray(values).reshape(values.shape))
        return made if self.device == "cpu" else made.to(self.device)

    def read(self, tensor: Any) -> Array:
        """Copy out; bfloat16 has no NumPy dtype, so it passes through float32."""
        plain = tensor.detach().cpu()
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
