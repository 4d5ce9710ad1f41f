"""How a repro script says in JAX what the adapter does."""

from conformance.repro_dialects import Dialect
from conformance.types import Layout


class Jax(Dialect):
    """JAX, on the CPU, with 64-bit types."""

    name = "jax"
    imports = """\
import jax
import jax.scipy.special

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)"""

    def tensor(self, values: str, dtype: str) -> str:
        """`jax.numpy.array` keeps NumPy's dtype."""
        return f"jax.numpy.array({values}{', jax.numpy.bfloat16' if dtype == 'bfloat16' else ''})"

    def placed(self, name: str, dtype: str, layout: Layout, shape: tuple[int, ...]) -> str:
        """An array of JAX has no strides, whatever the case says of its layout."""
        del layout, shape
        return f"{name} = {self.tensor(name, dtype)}"

    def reversed_axes(self, ndim: int) -> str:
        """`transpose`; no script needs it, as `placed` makes no views."""
        return f".transpose({', '.join(map(str, reversed(range(ndim))))})"

    def read(self, tensor: str, dtype: str) -> str:
        """NumPy has no bfloat16, so that is read through float32."""
        return f"np.asarray({tensor}{'.astype(jax.numpy.float32)' if dtype == 'bfloat16' else ''})"

    def exp(self, number: float) -> str:
        """`jax.numpy.exp`."""
        return super().exp(number).replace("jax.exp", "jax.numpy.exp")

    def dtype(self, name: str) -> str:
        """A dtype of JAX is NumPy's, which says whether it is equal."""
        return f"jax.numpy.dtype(jax.numpy.{name})"

    def differentiate(self, call: str, name: str, dtype: str) -> str:
        """`jax.vjp`: what is differentiated by is an argument."""
        body = call.replace("\n", "\n    ")
        return f"""\
def function({name}):
    return {body}

output, vjp = jax.vjp(function, {name})
(gradient,) = vjp({self.tensor("cotangent", dtype)}.astype(output.dtype))"""

    def differentiate_twice(self, call: str, name: str, dtype: str) -> str:
        """`jax.vjp` of a gradient that `jax.vjp` gives."""
        body = call.replace("\n", "\n    ")
        return f"""\
cotangent, direction = {self.tensor("cotangent", dtype)}, {self.tensor("direction", dtype)}

def function({name}):
    return {body}

def first({name}):
    return jax.vjp(function, {name})[1](cotangent)[0]

(gradient,) = jax.vjp(first, {name})[1](direction)"""
