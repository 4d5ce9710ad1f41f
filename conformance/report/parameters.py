"""What of an op's parameters its cases cover: how many cases have each value, by dtype. Pure."""

from collections import Counter
from dataclasses import dataclass, field

from conformance.load import Operator
from conformance.report.facts import in_order
from conformance.report.mapping import written

DTYPES = ("float16", "bfloat16", "float32", "float64")
LEFT_OUT = "left to the API"


@dataclass
class Value:
    """One value of a parameter, or whether an optional tensor is given."""

    text: str
    cases: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """How many cases have it."""
        return self.cases.total()


@dataclass
class Coverage:
    """The cases of one op, counted."""

    dtypes: list[str]
    domains: Counter[str]
    every: Value
    arguments: dict[str, list[Value]]


def coverage(op: Operator) -> Coverage:
    """Count the cases by every parameter's value and every optional tensor's presence."""
    every, domains = Value("any"), Counter(str(case.domain) for case in op.cases)
    found: dict[str, dict[str, Value]] = {}
    optional = [name for name, decl in op.decl.tensors.items() if decl.optional]
    for case in op.cases:
        every.cases[case.dtype] += 1
        texts = {
            name: written(case.params[name]) if name in case.params else LEFT_OUT for name in op.decl.params
        }
        texts |= {name: "given" if name in case.specs else "not given" for name in optional}
        for name, text in texts.items():
            found.setdefault(name, {}).setdefault(text, Value(text)).cases[case.dtype] += 1
    arguments = {
        name: sorted(values.values(), key=lambda value: (value.text == LEFT_OUT, -value.total, value.text))
        for name, values in found.items()
    }
    return Coverage(in_order(every.cases, DTYPES), domains, every, arguments)
