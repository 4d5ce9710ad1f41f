"""`torch.compile` with its default backend, inductor: one call after another, each compiled anew."""

import os
from typing import Any

from conformance.adapters.written import NotCompiledError
from conformance.errors import UnavailableError
from conformance.memory import allow_files

HEADERS = 1 << 29
"""Bytes of the largest file of it: the headers of its kernels, compiled once."""


class Compiler:
    """What compiles the calls of one worker.

    Args:
        torch: the framework.
        folder: where its compilers may leave files.
        device: what it compiles for.

    """

    def __init__(self, torch: Any, folder: str, device: str) -> None:
        # Read at each compilation. A pool of processes would outlive its worker.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        allow_files(HEADERS)
        torch._inductor.config.compile_threads = 1  # noqa: SLF001 - documented there
        self._torch, self._device = torch, device
        self._counters = torch._dynamo.utils.counters  # noqa: SLF001 - nothing else says what was compiled

    def start(self) -> str:
        """Compile something small, forward and backward: the first takes far longer. Name the compilers.

        Raises:
            UnavailableError: there is no C++ compiler, and that is needed.

        """
        torch = self._torch

        def small(x: Any) -> Any:
            return (x * x).sum()

        try:
            from torch._inductor.cpp_builder import get_cpp_compiler

            name = f"inductor, {get_cpp_compiler()}" if self._device == "cpu" else "inductor"
            result, _ = self.call(small, [torch.ones(3, device=self._device, requires_grad=True)])
            result.backward()
        except RuntimeError as error:
            if "InvalidCxxCompiler" not in f"{type(error).__name__}: {error}":
                raise
            raise UnavailableError(
                "torch:compile needs a C++ compiler and finds none: install g++, or set CXX to one"
            ) from error
        return name

    def call(self, function: Any, tensors: list[Any]) -> tuple[Any, str]:
        """Compile a function of tensors, call it, and say where its graph was broken, if it was.

        Raises:
            NotCompiledError: no graph of it was compiled.

        """
        self.forget()
        result = self._torch.compile(function)(*tensors)
        breaks = sorted(str(reason).split("\n", 1)[0] for reason in self._counters["graph_break"])
        graphs = self._counters["aot_autograd"]["ok"]
        if not graphs:
            why = f": {breaks[0]}" if breaks else ""
            raise NotCompiledError(f"torch.compile compiled no graph of this call, which ran eager{why}")
        broken = f"compiled in {graphs} graphs, broken at: {'; '.join(breaks)}" if breaks else ""
        return result, broken

    def forget(self) -> None:
        """Forget what was compiled before, or after some calls nothing would be compiled any more."""
        self._torch._dynamo.reset()  # noqa: SLF001 - the documented name
        self._counters.clear()
