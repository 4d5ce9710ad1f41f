"""Arrays and numbers as Python source for repro scripts: the same bits, in as few characters as hold them."""

import math
import textwrap
from hashlib import blake2b
from typing import Any

import numpy as np

from conformance.arrays import NDArray
from conformance.load import Case
from conformance.types import Scalar

INLINE = 1000
"""Up to so many elements an input is written out; a larger one is drawn again, by the same expression."""

WIDTH = 100

DRAWS = '''\
def draws(key, count):
    """Numbers in [0, 1): the upper 53 bits of PCG64's raw output, which NumPy keeps stable."""
    return (np.random.PCG64(key).random_raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
'''

# float64 -> float32 -> bfloat16 would round twice; this rounds once, to the 8 bits that bfloat16 has.
ROUND_TO_BFLOAT16 = '''\
def round_to_bfloat16(values):
    """Round to nearest even with 8 bits of mantissa, so that the framework's cast is exact."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(mantissa * 256), exponent - 8)
'''


PLACE = '''\
def place(module, tensors):
    """Put tensors where the module keeps parameters of its own."""
    for path, tensor in tensors.items():
        *parents, name = path.split(".")
        owner = module
        for parent in parents:
            owner = owner[int(parent)] if parent.isdigit() else getattr(owner, parent)
        if name.isdigit():
            owner[int(name)] = tensor
        else:
            delattr(owner, name)
            object.__setattr__(owner, name, tensor)
    return module
'''


def scalar(value: Scalar) -> str:
    """Write a parameter."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(scalar, value))}]"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return '"' + value.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    return repr(value)


def number(value: Any) -> str:
    """Write a number of any NumPy floating dtype; a longdouble that no float64 holds becomes a string."""
    if np.isnan(value):
        return "np.nan"
    if np.isinf(value):
        return "np.inf" if value > 0 else "-np.inf"
    if isinstance(value, np.longdouble) and float(value) != value:
        return f'"{value!s}"'
    return repr(float(value))


def index(place: tuple[int, ...]) -> str:
    """Write the index of an element."""
    return repr(tuple(int(i) for i in place))


def array(values: NDArray) -> str:
    """Write an array as an expression; bfloat16 as float32, which holds it exactly."""
    plain = values.astype(np.float32) if values.dtype.name == "bfloat16" else values
    kind = "np.bool_" if plain.dtype == bool else f"np.{plain.dtype.name}"
    if plain.size == 0:
        return f"np.zeros({plain.shape}, {kind})"
    first = plain.reshape(-1)[0]
    if plain.size > 4 and plain.tobytes() == np.full(plain.shape, first).tobytes():
        return f"np.full({plain.shape}, {_element(first)}, {kind})"
    return f"np.array({_nested(plain, '')}, {kind})"


def _nested(values: NDArray, indent: str) -> str:
    if values.ndim == 0:
        return _element(values[()])
    inner = indent + "    "
    items = [_nested(item, inner) for item in values]
    line = f"[{', '.join(items)}]"
    if "\n" not in line and len(indent + line) <= WIDTH - 20:
        return line
    if values.ndim > 1:
        return "[\n" + "".join(f"{inner}{item},\n" for item in items) + indent + "]"
    filled = textwrap.fill(", ".join(items), WIDTH, initial_indent=inner, subsequent_indent=inner)
    return f"[\n{filled},\n{indent}]"


def _element(value: Any) -> str:
    """Write one element: the shortest decimal of its own dtype, where that reads back as the same bits."""
    if value.dtype.kind in "iub":
        return repr(value.item())
    if not np.isfinite(value):
        return number(value)
    short = str(value)
    return short if value.dtype.type(float(short)) == value else repr(float(value))


def statements(name: str, case: Case, values: NDArray) -> tuple[str, set[str]]:
    """Write `name = …` for an input as it is sent, and say which helper functions that needs."""
    spec = case.specs[name]
    if values.size <= INLINE or not isinstance(spec, dict) or "values" in spec:
        return f"{name} = {array(values)}", set()
    lines = _drawn(name, spec, _key(f"{case.op.name}/{case.name}/{name}"))
    helpers = {"draws"} if "draws(" in lines else set()
    if values.dtype.name == "bfloat16":
        helpers.add("round_to_bfloat16")
        lines += f"\n{name} = round_to_bfloat16({name})"
    lines += f"\n{name} = {name}.astype({_kind(values)})"
    for change in spec.get("set", []):
        place = tuple(change["at"])
        lines += f"\n{name}[{', '.join(map(str, place))}] = {_element(_plain(values)[place])}"
    return lines, helpers


def cotangent(case: Case, shape: tuple[int, ...], kind: np.dtype[Any]) -> tuple[str, set[str]]:
    """Write `cotangent = …`, the vector that the gradient is pulled back from."""
    values = case.cotangent(shape).astype(kind)
    if values.size <= INLINE:
        return f"cotangent = {array(values)}", set()
    draw = f"draw = np.floor(draws({_key(f'{case.id}/cotangent')}, {values.size}) * 10)"
    formula = "(0.5 + 0.25 * (draw % 5)) * np.where(draw < 5, 1.0, -1.0)"
    return f"{draw}\ncotangent = ({formula}).reshape({shape}).astype({_kind(values)})", {"draws"}


def _plain(values: NDArray) -> NDArray:
    return values.astype(np.float32) if values.dtype.name == "bfloat16" else values


def _kind(values: NDArray) -> str:
    return f"np.{_plain(values).dtype.name}"


def _key(seed: str) -> int:
    """Name the stream of a seed, as `values.stream` does."""
    return int.from_bytes(blake2b(seed.encode(), digest_size=8).digest(), "little")


def _drawn(name: str, spec: dict[str, Any], key: int) -> str:
    """Write the expression of one generator of `values`; a test holds the bits of both together."""
    kind = next(k for k in ("uniform", "grid", "labels", "label_sets", "signs", "full") if k in spec)
    shape = tuple(spec[kind])
    draw = f"draws({key}, {math.prod(shape)})"
    if kind == "label_sets":
        return _label_sets(name, shape, key, int(spec.get("most", shape[-1])))
    if kind == "full":
        return f"{name} = np.full({shape}, {float(spec.get('value', 1.0))!r})"
    if kind == "uniform":
        low, high = float(spec.get("low", -1.0)), float(spec.get("high", 1.0))
        formula = f"{low!r} + {high - low!r} * {draw}"
    elif kind == "grid":
        low, high, step = (float(spec.get(k, d)) for k, d in (("low", -2.0), ("high", 2.0), ("step", 0.5)))
        formula = f"{low!r} + {step!r} * np.floor({draw} * {round((high - low) / step) + 1})"
    elif kind == "labels":
        formula = f"np.floor({draw} * {int(spec['below'])})"
    else:
        formula = f"np.where({draw} < 0.5, -1.0, 1.0)"
    return f"{name} = ({formula}).reshape({shape})"


def _label_sets(name: str, shape: tuple[int, ...], key: int, most: int) -> str:
    rows, classes = math.prod(shape[:-1]), shape[-1]
    return textwrap.dedent(f"""\
        draw = draws({key}, {rows * (classes + 1)}).reshape({rows}, {classes + 1})
        {name} = np.argsort(draw[:, :{classes}], axis=1, kind="stable")
        length = np.floor(draw[:, {classes}] * {min(most, classes) + 1}).astype(np.int64)
        {name}[np.arange({classes}) == length[:, np.newaxis]] = -1
        {name} = {name}.reshape({shape})""")


HELPERS = {"draws": DRAWS, "place": PLACE, "round_to_bfloat16": ROUND_TO_BFLOAT16}
