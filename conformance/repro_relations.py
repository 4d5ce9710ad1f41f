"""Repro scripts of broken relations: two calls, and what has to hold between them."""

from typing import Any

import numpy as np

from conformance.arrays import from_wire
from conformance.load import Api, Case, wire_tensors
from conformance.relations import Relation, relations
from conformance.repro_call import call_text
from conformance.repro_dialects import Dialect
from conformance.repro_literals import array, statements
from conformance.run import expectation, resolved_params


def written_inputs(case: Case, api: Api, dialect: Dialect) -> tuple[str, set[str]]:
    """Write the statements that leave each input as a tensor of the framework."""
    lines, helpers = [], set[str]()
    for name, wire in wire_tensors(case, api).items():
        values = from_wire(wire)
        text, needed = statements(name, case, values)
        helpers |= needed
        contiguous = wire.layout == "contiguous" or not values.ndim
        prefix, literal = f"{name} = ", text.removeprefix(f"{name} = ")
        if contiguous and not needed and literal != text and f"\n{name}" not in literal:
            lines.append(prefix + dialect.tensor(literal, wire.dtype))
        else:
            lines += [text, dialect.placed(name, wire.dtype, wire.layout, values.shape)]
    return "\n".join(lines), helpers


def relation_text(case: Case, api: Api, row: dict[str, Any], dialect: Dialect) -> tuple[str, str, set[str]]:
    """Write the inputs, the calls and the comparison of one relation, and name the helpers they need."""
    expected = expectation(case, api)
    assert expected is not None
    found = relations(case, api, expected, resolved_params(case, api))
    relation = next(each for each in found if each.name == row["check"])
    calls = [*([(case, api)] if relation.source is not None else []), *relation.calls]
    blocks, helpers = [], set[str]()
    for name, (other, through) in zip(("first", "second"), calls, strict=False):
        block, needed = _call(name, other, through, dialect)
        blocks.append(block)
        helpers |= needed
    body = "\n\n".join([*blocks, f"# {relation.says}", _judgement(relation)])
    return "", body, helpers


def _call(name: str, case: Case, api: Api, dialect: Dialect) -> tuple[str, set[str]]:
    """Write a function that makes the inputs, calls, and returns the result as float64 or as it is."""
    inputs, helpers = written_inputs(case, api, dialect)
    defined, call = call_text(case, api, dialect)
    steps = "\n".join(part for part in (inputs, defined, f"return {dialect.read(call, case.dtype)}") if part)
    lines = [f"def {name}():", *(f"    {line}" if line else "" for line in steps.splitlines())]
    caught = f"""\
try:
    {name} = {name}()
except Exception as error:
    print("the {name} call raised", type(error).__name__, error)
    sys.exit(1)"""
    return "\n".join(lines) + f"\n\n\n{caught}", helpers


def _judgement(relation: Relation) -> str:
    if relation.name == "relation.nonnegative":
        return "print(first)\nsys.exit(1 if (first < 0).any() else 0)"
    if relation.bound is None:
        return "print(first, second)\nsys.exit(0 if first.tobytes() == second.tobytes() else 1)"
    bound = array(np.asarray(relation.bound, np.float64))
    first = "first.astype(np.float64)"
    second = "second.astype(np.float64)"
    return f"""\
one, other = {relation.source_text.format(first)}, {relation.follow_text.format(second)}
bound = {bound}  # how far apart rounding may put two honest results
print(one, other, sep="\\n")
if one.shape != other.shape or (np.isnan(one) != np.isnan(other)).any():
    sys.exit(1)
with np.errstate(invalid="ignore"):
    apart = (abs(one - other) > bound) & (one != other)
sys.exit(1 if apart.any() else 0)"""
