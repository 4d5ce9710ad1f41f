"""JAX."""

import platform
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from conformance.adapters.base import Adapter, Tensors
from conformance.arrays import from_wire, to_wire
from conformance.types import Array, Environment


class JaxAdapter(Adapter):
    """`jax`, without an outer `jit`, on the CPU, with 64-bit types."""

    name = "jax"
    distribution = "jax"
    namespaces = ("jax.nn", "jax.scipy.special")
    entries = ("jax.lax.logistic",)
    # `jax.nn` also shows modules and functions of `jax.numpy`.
    homes = ("jax.lax", "jax._src.nn.functions", "jax._src.ops.special", "jax._src.scipy.special")
    dialect = "conformance_jax.dialect:Jax"
    lanes = 2  # it compiles each operation for each shape and dtype
    environ = {  # noqa: RUF012 - read only
        "JAX_PLATFORMS": "cpu",
        "OMP_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    }

    def start(self) -> Environment:
        """Import jax; without `jax_enable_x64` it would make float32 of every float64."""
        import jax

        jax.config.update("jax_enable_x64", True)
        self._jax = jax
        versions = version("jax"), platform.python_version(), np.__version__
        return Environment(self.name, self.distribution, *versions, flags={"threads": 1, "x64": True})

    def tensor(self, array: Array, *, grad: bool) -> Any:
        """Copy the bits. An array of JAX has no strides: every layout is computed, none is a view."""
        del grad  # by argument, in pull_back
        return self._jax.numpy.array(from_wire(array))

    def read(self, tensor: Any) -> Array:
        """Copy out, which waits for the computation; bfloat16 is NumPy's by way of ml_dtypes."""
        return to_wire(np.asarray(tensor))

    def pull_back(
        self,
        call: Callable[[Tensors], Any],
        output: Any,
        tensors: Tensors,
        wanted: tuple[str, ...],
        ct: Array,
    ) -> list[Any | None]:
        """`jax.vjp` by the wanted tensors; zeros, not None, where a function does not depend on one."""

        def function(*differentiated: Any) -> Any:
            return call({**tensors, **dict(zip(wanted, differentiated, strict=True))})

        _, vjp = self._jax.vjp(function, *[tensors[name] for name in wanted])
        return list(vjp(self.tensor(ct, grad=False).astype(output.dtype)))

    def pull_back_twice(
        self, call: Callable[[Tensors], Any], tensors: Tensors, name: str, ct: Array, direction: Array
    ) -> Any | None:
        """`jax.vjp` of a gradient that `jax.vjp` gives."""

        def gradient(tensor: Any) -> Any:
            _, vjp = self._jax.vjp(lambda moved: call({**tensors, name: moved}), tensor)
            return vjp(self.tensor(ct, grad=False))[0]

        return self._jax.vjp(gradient, tensors[name])[1](self.tensor(direction, grad=False))[0]
