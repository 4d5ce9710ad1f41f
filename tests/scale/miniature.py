"""Workers that are no processes: a pool that answers every call as soon as it is asked, and rightly."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from conformance.arrays import to_wire
from conformance.backends import BackendSpec
from conformance.cache import OracleCache
from conformance.child import Call
from conformance.oracle import Expectation
from conformance.suite import Case
from conformance.types import Reply, Request, Scalar
from tests.scale.suites import INPUT
from tests.workerless import Workerless


class Answering(Workerless):
    """Takes calls, and answers them in their order when it is asked for answers."""

    version = "1.0"

    def __init__(self, specs: list[BackendSpec]) -> None:
        super().__init__(specs)
        self.calls: Counter[str] = Counter()
        self._owed = list[tuple[str, int, Reply]]()
        self._decode = msgspec.msgpack.Decoder(Request).decode

    def submit(self, backend: str, request: Request | Call, lane: int = 0) -> None:
        """Compute the answer: twice the input, and twice the cotangent."""
        del lane
        asked = self._decode(request.data) if isinstance(request, Call) else request
        self.calls[backend] += 1
        kind = asked.tensors["input"].dtype
        output = to_wire(np.array(INPUT, kind) * 2)
        pulled = to_wire(np.frombuffer(asked.cotangent.data, kind) * 2) if asked.cotangent else None
        self._owed.append((backend, asked.id, Reply(asked.id, output, {"input": pulled})))

    def answers(self, *, until_idle: bool = False) -> Iterator[tuple[str, int, Any]]:
        """Answer what is owed."""
        del until_idle
        owed, self._owed = self._owed, []
        yield from owed


class Oracle(OracleCache):
    """Evaluates each op once for each dtype: its output is right for all cases, its gradient by theirs.

    What a folder of answers takes for each case is measured by `make bench`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[str, str], Expectation] = {}

    def answer(
        self, case: Case, params: dict[str, Scalar], compute: Callable[[], Expectation | None]
    ) -> Expectation | None:
        """Return the answer of the first case of this dtype, its gradient for this case's cotangent."""
        del params
        known = self._known.get((case.op.name, case.dtype))
        if known is None:
            expected = compute()
            assert expected is not None
            self._known[case.op.name, case.dtype] = expected
            return expected
        output, gradient = known.output, known.gradients["input"]
        exact = case.cotangent(output.low.shape).astype(output.low.dtype) * 2
        return Expectation(output, {"input": replace(gradient, low=exact, high=exact)})

    def trim(self) -> None:
        """Do nothing: there is no folder."""
