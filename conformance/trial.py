"""A trial: one case as an honest backend computes it, and as a faulty one can be made to."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from conformance.arithmetic import Arithmetic, arithmetic
from conformance.arrays import NDArray, numpy_dtype, to_wire
from conformance.load import Api, Case
from conformance.oracle import ORACLE_DTYPE, Expectation, is_floating
from conformance.run import resolved_params
from conformance.types import Phase, Raised, Reply, Scalar

Values = dict[str, NDArray]
"""What a backend computes: arrays by the name of their check, `output` or `grad.NAME`."""

LAYOUT_RANK = {"strided": 1, "transposed": 2, "sliced": 1, "expanded": 1}
"""The layouts that are not contiguous, and the rank below which each does not exist."""


class CannotEvaluateError(Exception):
    """The definition has no answer for altered arguments: a label that is no class, a reshape that fails."""


@dataclass
class Call:
    """A case as an API is asked it."""

    case: Case
    api: Api

    @cached_property
    def params(self) -> dict[str, Scalar]:
        """Every parameter's value."""
        return resolved_params(self.case, self.api)

    @property
    def first(self) -> NDArray:
        """The first input: the one that a batch, a rank and a layout are read off."""
        return self.case.tensors[next(name for name in self.case.op.decl.tensors if name in self.case.specs)]


@dataclass
class Trial(Call):
    """A call, what the oracle expects of it, and what an honest backend computes."""

    expected: Expectation
    _altered: dict[str, Values | None] = field(default_factory=dict)

    @cached_property
    def honest(self) -> Values:
        """The exact answer rounded once; at a kink, one end of the subgradients."""
        return self.evaluate()

    @cached_property
    def honest_reply(self) -> Reply:
        """What an honest backend replies."""
        return self.reply({})

    def evaluate(
        self,
        *,
        tensors: dict[str, NDArray] | None = None,
        params: dict[str, Scalar] | None = None,
        variant: str = "",
        clamp_shift: float = 0.0,
        unit_cotangent: bool = False,
        turned_steps: bool = False,
    ) -> Values:
        """Evaluate the definition in high precision, honestly or altered, and round to the case's dtype.

        Raises:
            CannotEvaluateError: altered so, the arguments mean nothing to the definition.

        """
        altered = tensors is not None or bool(params)
        try:
            return self._evaluate(tensors, params, variant, clamp_shift, unit_cotangent, turned_steps)
        except (IndexError, ValueError, ZeroDivisionError) as error:
            if not altered:
                raise
            raise CannotEvaluateError(str(error)) from error

    def _evaluate(
        self,
        tensors: dict[str, NDArray] | None,
        params: dict[str, Scalar] | None,
        variant: str,
        clamp_shift: float,
        unit_cotangent: bool,
        turned_steps: bool,
    ) -> Values:
        definition, given = self.case.op.definition, self.params | (params or {})
        sent = self.case.tensors if tensors is None else tensors
        wide = {n: t.astype(ORACLE_DTYPE) if is_floating(t) else t for n, t in sent.items()}
        kind = numpy_dtype(self.case.dtype)
        with arithmetic(Arithmetic(clamp_shift=clamp_shift)):
            output = definition(wide, given, variant)
            values = {"output": output.astype(kind)}
            if variant or not self.expected.gradients:
                return values
        cotangent = np.ones(output.shape) if unit_cotangent else self._cotangent(output.shape)
        mode = Arithmetic(clamp_shift=clamp_shift)
        with arithmetic(mode):
            gradients = definition.pull_back(cotangent, wide, given)
        if turned_steps:
            with arithmetic(Arithmetic(replay=[1 - taken for taken in mode.steps])):
                gradients = definition.pull_back(cotangent, wide, given)
        with np.errstate(all="ignore"):
            wanted = [n for n in self.expected.gradients if n in gradients]
            return values | {f"grad.{n}": gradients[n].astype(kind) for n in wanted}

    def _cotangent(self, shape: tuple[int, ...]) -> NDArray:
        """Return the case's cotangent; ones where a fault gives the output a shape that it does not fit."""
        fitting = self.expected.output.low.shape
        return self.case.cotangent(shape) if shape == fitting else np.ones(shape)

    def altered(self, name: str, alteration: "Alter") -> Values | None:
        """Evaluate an alteration once, for all the quantities it is planted in."""
        if name not in self._altered:
            try:
                self._altered[name] = alteration(self)
            except CannotEvaluateError:
                self._altered[name] = None
        return self._altered[name]

    def reply(self, instead: dict[str, NDArray | Raised | None], mutated: tuple[str, ...] = ()) -> Reply:
        """Reply honestly but for some quantities."""
        said: dict[str, NDArray | Raised | None] = {**self.honest, **instead}
        sent = {n: to_wire(v) if isinstance(v, np.ndarray) else v for n, v in said.items()}
        output = sent.pop("output")
        assert output is not None
        return Reply(0, output, {n.removeprefix("grad."): g for n, g in sent.items()}, mutated)


Alter = Callable[[Trial], Values | None]
"""Computes a trial from something else than its case says; None where that does not come into play."""


def raised(phase: Phase) -> Raised:
    """Make the exception that a fault raises."""
    return Raised(phase, "runtime", "RuntimeError", "planted")


def laid_out(call: Call, name: str, layout: str) -> bool:
    """Whether a tensor is really laid out so: it is given, and of a size and rank where that differs."""
    tensor = call.case.tensors.get(name)
    return tensor is not None and can_tell(tensor, layout) and call.case.layouts[name] == layout


def can_tell(tensor: NDArray, layout: str) -> bool:
    """Whether a layout puts the elements of such a tensor in other places of memory."""
    axes = tensor.shape if layout != "transposed" else [n for n in tensor.shape if n > 1]
    return tensor.size > 1 and len(axes) >= LAYOUT_RANK[layout]
