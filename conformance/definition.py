"""`@reference`: what a file in `reference/` declares, and the registry that the oracle reads."""

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from conformance.arrays import NDArray
from conformance.errors import HarnessError

Function = Callable[..., Any]
Vjp = Callable[..., dict[str, NDArray]]

_registry: dict[str, "Definition"] = {}


class Definition:
    """An op's reference: the function, its VJP, and the variants that some documents print instead.

    Attributes:
        name: canonical op name.
        differentiable: the inputs that the derivative is defined for.
        function, vjp_function: the formula and, same argument names after the cotangent, its VJP.
        variants: other formulas found in documentation, by name: claims are held against them.

    """

    def __init__(self, function: Function, differentiable: tuple[str, ...]) -> None:
        self.name = function.__name__
        self.function = function
        self.differentiable = differentiable
        self.vjp_function: Vjp | None = None
        self.variants: dict[str, Function] = {}
        self.signature = inspect.signature(function)

    def vjp(self, function: Vjp) -> Vjp:
        """Register the vector-Jacobian product: (cotangent, *same arguments) -> {input: gradient}."""
        expected = ["cotangent", *self.signature.parameters]
        if list(inspect.signature(function).parameters) != expected:
            raise TypeError(f"{self.name}: its vjp takes {', '.join(expected)}")
        self.vjp_function = function
        return function

    def variant(self, function: Function) -> Function:
        """Register another formula for the same op, one that some documentation prints."""
        self.variants[function.__name__] = function
        return function

    def __call__(
        self, tensors: Mapping[str, NDArray], params: Mapping[str, Any], variant: str = ""
    ) -> NDArray:
        """Evaluate in the precision of the floating tensors; float parameters are brought to it first."""
        kind = working_kind(tensors)
        function = self.variants[variant] if variant else self.function
        return np.asarray(function(**tensors, **_in_kind(params, kind))).astype(kind)

    def pull_back(
        self, cotangent: NDArray, tensors: Mapping[str, NDArray], params: Mapping[str, Any]
    ) -> dict[str, NDArray]:
        """Evaluate the VJP: one gradient, of its input's shape, for each differentiable input present."""
        if self.vjp_function is None:
            raise HarnessError(f"reference {self.name!r} has no VJP")
        kind = working_kind(tensors)
        arguments = dict.fromkeys(self.signature.parameters)
        defaults = {n: p.default for n, p in self.signature.parameters.items() if p.default is not p.empty}
        arguments.update(defaults | dict(tensors) | _in_kind(params, kind))
        gradients = self.vjp_function(cotangent.astype(kind), **arguments)
        return {n: np.asarray(g).astype(kind) for n, g in gradients.items() if n in tensors}


def working_kind(tensors: Mapping[str, NDArray]) -> np.dtype[Any]:
    """Return the dtype of the first floating tensor: the precision that an evaluation runs in."""
    for tensor in tensors.values():
        if tensor.dtype.kind not in "iub":
            kind: np.dtype[Any] = tensor.dtype
            return kind
    raise HarnessError("a case needs at least one floating tensor")


def _in_kind(params: Mapping[str, Any], kind: np.dtype[Any]) -> dict[str, Any]:
    return {n: kind.type(v) if isinstance(v, float) else v for n, v in params.items()}


def reference(*, differentiable: tuple[str, ...]) -> Callable[[Function], Definition]:
    """Declare a function the reference of the op of its name."""

    def declare(function: Function) -> Definition:
        definition = Definition(function, differentiable)
        if definition.name in _registry:
            raise TypeError(f"op {definition.name!r} has two references")
        _registry[definition.name] = definition
        return definition

    return declare


def definitions() -> Mapping[str, Definition]:
    """All ops that have a reference, by name."""
    import_module("conformance.reference")
    return _registry
