"""How each framework's tensors, reads and gradients are written in a repro script.

These are the adapters (`conformance/adapters`) as a person would type them; where an adapter changes,
so must its dialect. A test runs the scripts, so neither can drift unnoticed.
"""

from abc import ABC, abstractmethod
from importlib import import_module
from typing import ClassVar

from conformance import plugins
from conformance.errors import UsageError
from conformance.load import Api, Case, wire_params
from conformance.repro_literals import WIDTH, scalar
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

    @abstractmethod
    def tensor(self, values: str, dtype: str) -> str:
        """Make a contiguous tensor from a NumPy expression."""

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

    def tensor(self, values: str, dtype: str) -> str:
        """`torch.tensor` keeps NumPy's dtype."""
        return f"torch.tensor({values})" + (".to(torch.bfloat16)" if dtype == "bfloat16" else "")

    def reversed_axes(self, ndim: int) -> str:
        """`permute`."""
        return f".permute({', '.join(map(str, reversed(range(ndim))))})"

    def read(self, tensor: str, dtype: str) -> str:
        """NumPy has no bfloat16, so that is read through float32."""
        return f"{tensor}.detach(){'.float()' if dtype == 'bfloat16' else ''}.numpy()"

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
    """MindSpore, PyNative."""

    name = "mindspore"
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


def dialect_of(backend: str) -> Dialect:
    """Return the dialect of a backend; a third-party one's adapter says where its own stands.

    Raises:
        UsageError: it says nothing, or what it names is no dialect.

    """
    if backend in DIALECTS:
        return DIALECTS[backend]
    place = plugins.adapter_class(backend).dialect
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


def call_text(case: Case, api: Api) -> str:
    """Write the call as a person would: the required tensors by position, everything else by keyword.

    The binding lists its arguments in the order of the API's signature, so the leading tensors may go by
    position.
    """
    binding = api.binding
    given = _given(case, api)
    entry = api.name
    fixed = [f"{name}={scalar(value)}" for name, value in binding.fixed.items()]
    if binding.init is not None:
        passed = [f"{k}={given[n]}" for n, k in binding.init.items() if n in given]
        entry += f"({', '.join([*passed, *fixed])})"
        fixed = []
        if placed := [f'"{path}": {given[n]}' for n, path in binding.state.items() if n in given]:
            entry = f"place({entry}, {{{', '.join(placed)}}})"
    arguments, leading = [], True
    last = max((n for n, name in enumerate(binding.call) if name in given), default=-1)
    for place, (name, keyword) in enumerate(binding.call.items()):
        required = name in case.op.decl.tensors and not case.op.decl.tensors[name].optional
        leading = leading and required and name in given
        if name in given:
            arguments.append(given[name] if leading or binding.positional else f"{keyword}={given[name]}")
        elif binding.positional and place < last:
            arguments.append("None")
    arguments += fixed
    picked = "" if binding.returns is None else f"[{binding.returns}]"
    line = f"{entry}({', '.join(arguments)}){picked}"
    if len(line) <= WIDTH - 12:
        return line
    return f"{entry}(\n    {', '.join(arguments)}\n){picked}"


def _given(case: Case, api: Api) -> dict[str, str]:
    """Write everything that the call may take, in the form in which this API takes it."""
    binding = api.binding
    given = {name: scalar(value) for name, value in wire_params(case, api).items()}
    given |= {name: name for name in case.specs}
    for name in binding.transposed:
        if name in given:
            given[name] = f"{name}.T"
    for name, rows in binding.lists.items():
        packed = [f"[{', '.join(given[t] for t in row)}]" for row in rows if all(t in given for t in row)]
        given[name] = f"[{', '.join(packed)}]"
    for name in binding.functions:
        if isinstance(case.params.get(name), str):
            given[name] = FUNCTIONS[str(case.params[name])]
    return given


FUNCTIONS = {
    "l1": "lambda a, b: (a - b).abs().sum(-1)",
    "squared": "lambda a, b: ((a - b) * (a - b)).sum(-1)",
}
"""The callables that a parameter may name, as `adapters.base.FUNCTIONS` has them."""
