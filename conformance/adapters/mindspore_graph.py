"""`mindspore.jit` on a function: one call after another, each made a graph anew."""

from typing import Any

from conformance.adapters.written import NotCompiledError

FALLBACKS = (b"PyExecute", b"PyInterpret")
"""Nodes of a graph that hand a statement to the Python interpreter, for the compiler does not know it."""


class Graphs:
    """What makes graphs of the calls of one worker."""

    def __init__(self, mindspore: Any) -> None:
        try:
            from mindspore.graph import api
        except ImportError:  # where it stood until 2.10
            from mindspore.common import api
        self._jit, self._made = mindspore.jit, api.ms_compile_cache
        executor = "JitExecutor_" if getattr(api, "_run_jit_pipeline", bool)() else "GraphExecutor_"
        self._executor = getattr(mindspore._c_expression, executor).get_instance()  # noqa: SLF001

    def call(self, function: Any, tensors: list[Any]) -> tuple[Any, str]:
        """Make a graph of a function of tensors, run it, and say what of it Python computes, if anything.

        Raises:
            NotCompiledError: no graph was made of it.

        """
        before = set(self._made)
        result = self._jit(function)(*tensors)
        made = set(self._made) - before
        if not made:
            raise NotCompiledError("mindspore.jit made no graph of this call, which ran eager")
        graphs = [self._executor.get_func_graph_proto(phase, "anf_ir") for phase in made]
        left = any(node in graph for graph in graphs for node in FALLBACKS)
        return result, "the graph leaves some of it to Python" if left else ""

    def forget(self) -> None:
        """Let go of the graphs: each takes some megabytes."""
        self._executor.del_net_res(None, set(self._made))
        self._made.clear()
