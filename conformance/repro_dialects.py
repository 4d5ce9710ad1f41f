"""How each framework's tensors, reads and gradients are written in a repro script.

These are the adapters (`conformance/adapters`) as a person would type them; where an adapter changes,
so must its dialect. A test runs the scripts, so neither can drift unnoticed.
"""

from abc import ABC, abstractmethod
from copy import copy
from importlib import import_module
from typing import ClassVar

from conformance import plugins
from conformance.backends import CPU, PLAIN, Variant
from conformance.errors import UsageError
from conformance.types import Layout


class Dialect(ABC):
    """One framework's way of writing things down."""

    name: ClassVar[str]
    """The module that the framework is imported as."""
    distribution: ClassVar[str] = ""
    """Under which it is installed, if that is another name."""
    refusals: ClassVar[str] = ""
    """Exception classes of its own that mean an honest refusal."""
    imports: ClassVar[str]
    compilers: ClassVar[dict[str, str]] = {}
    """By mode, how a function is compiled: `torch.compile({})`."""
    devices: ClassVar[tuple[str, ...]] = ()
    """Kinds of devices, beside the default one, that its scripts can be made for."""
    whole: ClassVar[dict[str, str]] = {}
    """By mode, how that is done where a call that is not compiled has to be an error."""
    variant: Variant = PLAIN
    strict = False
    """Whether a call that is not compiled has to be an error."""

    def compiled(self, function: str) -> str:
        """Write how a function is compiled in this mode; nothing in eager."""
        how = self.whole if self.strict else self.compilers
        return how.get(self.variant.mode, "").format(function)

    def prelude(self) -> str:
        """Write the imports, and what makes the device the one that is used."""
        return self.imports

    def constructed(self, module: str) -> str:
        """Write a module, as a class constructs it, where the tensors are."""
        return module

    @abstractmethod
    def tensor(self, values: str, dtype: str) -> str:
        """Make a contiguous tensor from a NumPy expression, on the device."""

    @abstractmethod
    def reversed_axes(self, ndim: int) -> str:
        """Return the method call that reverses the axes as a view."""

    @abstractmethod
    def read(self, tensor: str, dtype: str) -> str:
        """Return an expression for the values as a NumPy array."""

    @abstractmethod
    def differentiate(self, call: str, name: str, dtype: str) -> str:
        """Write the statements that leave `gradient`, from `cotangent` (NumPy) and `name`, a tensor."""

    @abstractmethod
    def differentiate_twice(self, call: str, name: str, dtype: str) -> str:
        """Write the statements that leave `gradient`: the second derivative by `name` along `direction`."""

    def expanded(self, shape: tuple[int, ...]) -> str:
        """Return the method call that repeats the first row without copying it."""
        return f".expand({list(shape)})"

    def exp(self, number: float) -> str:
        """Compute a tensor of one element that no operator returns by itself."""
        return f"{self.name}.exp({self.tensor(f'np.full(1, {number}, np.float32)', 'float32')})"

    def dtype(self, name: str) -> str:
        """Name a dtype."""
        return f"{self.name}.{name}"

    def placed(self, name: str, dtype: str, layout: Layout, shape: tuple[int, ...]) -> str:
        """Turn the NumPy array `name` into a tensor of the same name, laid out in memory as the case says."""
        ndim = len(shape)
        if layout == "transposed" and ndim > 1:
            source = self.tensor(f"np.ascontiguousarray({name}.T)", dtype)
            return f"{name} = {source}{self.reversed_axes(ndim)}  # transposed in memory"
        if layout == "strided" and ndim:
            wide = (*shape[:-1], 2 * shape[-1])
            source = self.tensor(f"np.stack([{name}, np.flip({name}, -1)], -1).reshape({wide})", dtype)
            return f"{name} = {source}[..., ::2]  # every second element of a larger tensor"
        if layout == "sliced" and ndim:
            around = f"np.zeros((1, *{name}.shape[1:]), {name}.dtype)"
            source = self.tensor(f"np.concatenate([{around}, {name}, {around}])", dtype)
            return f"{name} = {source}[1:-1]  # a slice from the middle of a larger tensor"
        if layout == "expanded" and ndim and shape[0]:
            source = self.tensor(f"{name}[:1].copy()", dtype)
            return f"{name} = {source}{self.expanded(shape)}  # one row in memory, repeated by a stride of 0"
        return f"{name} = {self.tensor(name, dtype)}"


class Torch(Dialect):
    """PyTorch."""

    name = "torch"
    imports = "import torch"
    compilers = {"compile": "torch.compile({})"}  # noqa: RUF012 - read only
    whole = {"compile": "torch.compile({}, fullgraph=True)"}  # noqa: RUF012 - read only
    devices = ("cuda", "mps", "xpu")

    def tensor(self, values: str, dtype: str) -> str:
        """`torch.tensor` keeps NumPy's dtype."""
        there = "" if self.variant.device == CPU else f", device={self.variant.device!r}"
        return f"torch.tensor({values}{there})" + (".to(torch.bfloat16)" if dtype == "bfloat16" else "")

    def constructed(self, module: str) -> str:
        """`to` moves what a module has made itself."""
        return module if self.variant.device == CPU else f"{module}.to({self.variant.device!r})"

    def reversed_axes(self, ndim: int) -> str:
        """`permute`."""
        return f".permute({', '.join(map(str, reversed(range(ndim))))})"

    def read(self, tensor: str, dtype: str) -> str:
        """NumPy has no bfloat16, so that is read through float32."""
        here = "" if self.variant.device == CPU else ".cpu()"
        return f"{tensor}.detach(){here}{'.float()' if dtype == 'bfloat16' else ''}.numpy()"

    def differentiate(self, call: str, name: str, dtype: str) -> str:
        """`autograd.grad`; an output without a graph has no gradient."""
        return f"""\
{name}.requires_grad_()
output = {call}
cotangent = {self.tensor("cotangent", dtype)}.to(output.dtype)
gradient = None
if output.requires_grad:
    (gradient,) = torch.autograd.grad(output, [{name}], grad_outputs=cotangent, allow_unused=True)"""

    def differentiate_twice(self, call: str, name: str, dtype: str) -> str:
        """`autograd.grad` of a gradient that keeps its graph."""
        return f"""\
{name}.requires_grad_()
output = {call}
cotangent, direction = {self.tensor("cotangent", dtype)}, {self.tensor("direction", dtype)}
(first,) = torch.autograd.grad(output, [{name}], grad_outputs=cotangent, create_graph=True)
(gradient,) = torch.autograd.grad(first, [{name}], grad_outputs=direction, allow_unused=True)"""


class Paddle(Dialect):
    """PaddlePaddle."""

    name = "paddle"
    distribution = "paddlepaddle"
    imports = 'import paddle\n\npaddle.set_device("cpu")'
    refusals = "paddle.base.core.EnforceNotMet"
    compilers = {"to_static": "paddle.jit.to_static({}, full_graph=True)"}  # noqa: RUF012 - read only
    devices = ("gpu", "xpu")

    def prelude(self) -> str:
        """`set_device`: tensors are made there."""
        return self.imports.replace('"cpu"', f'"{self.variant.device}"')

    def tensor(self, values: str, dtype: str) -> str:
        """`paddle.to_tensor` keeps NumPy's dtype."""
        return f"paddle.to_tensor({values})" + (".astype(paddle.bfloat16)" if dtype == "bfloat16" else "")

    def reversed_axes(self, ndim: int) -> str:
        """`transpose` is a view."""
        return f".transpose({list(reversed(range(ndim)))})"

    def read(self, tensor: str, dtype: str) -> str:
        """`.numpy()` of bfloat16 would be raw bits."""
        return f"{tensor}{'.astype(paddle.float32)' if dtype == 'bfloat16' else ''}.numpy()"

    def differentiate(self, call: str, name: str, dtype: str) -> str:
        """`paddle.grad`; an output that stops gradients has none."""
        return f"""\
{name}.stop_gradient = False
output = {call}
cotangent = {self.tensor("cotangent", dtype)}.astype(output.dtype)
gradient = None
if not output.stop_gradient:
    (gradient,) = paddle.grad(output, [{name}], grad_outputs=[cotangent], allow_unused=True)"""

    def differentiate_twice(self, call: str, name: str, dtype: str) -> str:
        """`paddle.grad` of a gradient that keeps its graph."""
        return f"""\
{name}.stop_gradient = False
output = {call}
cotangent, direction = {self.tensor("cotangent", dtype)}, {self.tensor("direction", dtype)}
(first,) = paddle.grad(output, [{name}], grad_outputs=[cotangent], create_graph=True)
(gradient,) = paddle.grad(first, [{name}], grad_outputs=[direction], allow_unused=True)"""


class MindSpore(Dialect):
    """MindSpore, PyNative, with or without `jit`."""

    name = "mindspore"
    compilers = {"graph": "mindspore.jit({})"}  # noqa: RUF012 - read only
    devices = ("gpu", "ascend")
    imports = """\
import mindspore

mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
mindspore.set_device("CPU")
# PyNative is asynchronous: without this line an error appears at a later, unrelated call.
mindspore.runtime.launch_blocking()
try:  # With NumPy 2 the first op on a tensor and a Python number fails, once per process, with a notice.
    mindspore.Tensor(np.ones(1, np.float32)) + 1
except SystemError:
    pass"""

    def prelude(self) -> str:
        """`set_device`: everything runs there."""
        name = {"gpu": "GPU", "ascend": "Ascend"}.get(self.variant.kind, "CPU")
        number = self.variant.device.partition(":")[2]
        return self.imports.replace('"CPU"', f'"{name}"{number and f", {number}"}')

    def tensor(self, values: str, dtype: str) -> str:
        """Give the dtype, as the constructor converts some."""
        return f"mindspore.Tensor({values}, mindspore.{'bool_' if dtype == 'bool' else dtype})"

    def reversed_axes(self, ndim: int) -> str:
        """`permute`."""
        return f".permute({', '.join(map(str, reversed(range(ndim))))})"

    def read(self, tensor: str, dtype: str) -> str:
        """NumPy has no bfloat16, so that is read through float32."""
        return f"{tensor}{'.astype(mindspore.float32)' if dtype == 'bfloat16' else ''}.asnumpy()"

    def exp(self, number: float) -> str:
        """`ops.exp`."""
        return super().exp(number).replace("mindspore.exp", "mindspore.ops.exp")

    def differentiate(self, call: str, name: str, dtype: str) -> str:
        """`GradOperation`: what is differentiated by is an argument; MindSpore gives zeros, never None."""
        body = call.replace("\n", "\n    ")
        return f"""\
def function({name}):
    return {body}

output = function({name})
cotangent = {self.tensor("cotangent", dtype)}.astype(output.dtype)
gradient = mindspore.ops.GradOperation(get_all=True, sens_param=True)(function)({name}, cotangent)[0]"""

    def expanded(self, shape: tuple[int, ...]) -> str:
        """`broadcast_to`."""
        return f".broadcast_to({tuple(shape)})"

    def differentiate_twice(self, call: str, name: str, dtype: str) -> str:
        """`GradOperation` nested."""
        body = call.replace("\n", "\n    ")
        return f"""\
operation = mindspore.ops.GradOperation(sens_param=True)
cotangent, direction = {self.tensor("cotangent", dtype)}, {self.tensor("direction", dtype)}

def function({name}):
    return {body}

def first({name}):
    return operation(function)({name}, cotangent)

gradient = operation(first)({name}, direction)"""


DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (Torch(), Paddle(), MindSpore())}


def dialect_of(backend: str, variant: Variant = PLAIN) -> Dialect:
    """Return the dialect of a backend; a third-party one's adapter says where its own stands.

    Raises:
        UsageError: it says nothing, what it names is no dialect, or it does not know the mode or device.

    """
    adapter = plugins.adapter_class(backend)
    dialect = copy(DIALECTS[backend] if backend in DIALECTS else _third_party(backend, adapter.dialect))
    lacks_mode = variant.mode in adapter.modes[1:] and variant.mode not in dialect.compilers
    if lacks_mode or (variant.kind in adapter.devices[1:] and variant.kind not in dialect.devices):
        raise UsageError(f"backend {backend}{variant} has no repro scripts: its dialect does not know that")
    dialect.variant = variant
    return dialect


def _third_party(backend: str, place: str) -> Dialect:
    if not place:
        raise UsageError(
            f"backend {backend!r} has no repro scripts: its adapter names no `dialect` to write them in"
        )
    module, _, name = place.partition(":")
    try:
        found = getattr(import_module(module), name)
        if isinstance(found, type) and issubclass(found, Dialect):
            return found()
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise UsageError(f"backend {backend!r}: its dialect {place} cannot be used: {what}") from error
    raise UsageError(f"backend {backend!r}: {place} is no subclass of conformance.repro_dialects.Dialect")
