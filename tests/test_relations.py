"""Relations: each is made where it applies, holds for an honest backend, and breaks for its own miniature."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.arrays import NDArray, numpy_dtype, to_wire
from conformance.load import load_operator
from conformance.pool import Fault, Lost
from conformance.relate import hold
from conformance.relations import Relation, related, relations
from conformance.run import expectation, resolved_params
from conformance.suite import Api, Case
from conformance.types import Death, Raised, Reply

TEXT = """
op: multi_margin_loss
family: loss
summary: what relations are made from
tensors:
  input: {kind: floating}
  target: {kind: label}
  weight: {kind: floating, optional: true}
params:
  p: {default: 1}
  margin: {default: 1.0}
  reduction: {default: mean}
relations:
  cases: ["plain*", "weighted*"]
  batch: {input: 0, target: 0}
  ones: [weight]
  ignored: {tensor: target, param: p}
  nonnegative: true
apis:
  torch.nn.functional.multi_margin_loss:
    doc: https://example.org
    call: [input, target, p, margin, weight, reduction]
  torch.nn.MultiMarginLoss:
    doc: https://example.org
    init: [p, margin, weight, reduction]
    call: [input, target]
    unsupported:
      - {dtype: [float64], why: an example of it, source: https://example.org}
cases:
  - case: plain
    why: Three rows, one of which has the label that the exponent names.
    inputs: {input: [[0.5, 2.0, 0.25], [1.0, 0.0, 0.5], [2.0, 1.5, 1.0]], target: [0, 1, 2]}
    matrix: {dtype: [float32, float64], reduction: [none, mean, sum]}
  - case: weighted
    why: The same with weights.
    inputs: {input: [[0.5, 2.0, 0.25], [1.0, 0.0, 0.5]], target: [0, 2], weight: [0.5, 2.0, 1.0]}
    matrix: {reduction: [none]}
  - case: other
    why: A case that the relations do not name.
    inputs: {input: [[0.5, 2.0, 0.25]], target: [0]}
"""
OP = load_operator(Path("multi_margin_loss.yaml"), TEXT)
FUNCTION, CLASS = OP.apis
Backend = Callable[[dict[str, NDArray], dict[str, Any]], NDArray]


def case(name: str) -> Case:
    """Find a case by the part of its id after the op."""
    return next(c for c in OP.cases if c.id.partition("/")[2] == name)


def made(name: str, api: Api = FUNCTION) -> dict[str, Relation]:
    """Return the relations of a case by name."""
    found = case(name)
    expected = expectation(found, api)
    assert expected is not None
    return {r.name: r for r in relations(found, api, expected, resolved_params(found, api))}


def honest(tensors: dict[str, NDArray], params: dict[str, Any]) -> NDArray:
    """Compute the loss as the definition says."""
    return OP.definition(tensors, params)


def answered(relation: Relation, name: str, backend: Backend) -> Any:
    """Put the calls of a relation to a backend and judge its answers."""

    def reply(given: Case, api: Api) -> Reply:
        value = backend(given.tensors, resolved_params(given, api))
        return Reply(0, to_wire(np.asarray(value).astype(numpy_dtype(given.dtype))))

    return hold(relation, reply(case(name), FUNCTION), [reply(*call) for call in relation.calls])


def test_which_relations_a_case_has() -> None:
    """Reductions relate to `none`, weights to no weights, classes to functions, labels to their absence."""
    always = {"repeat", "layout", "permutation", "concatenation", "inputs", "nonnegative"}
    names = {n: {r.removeprefix("relation.") for r in made(n)} for n in ("plain[float32,none]",)}
    assert names["plain[float32,none]"] == always | {"ignored"}
    assert "relation.reduction" in made("plain[float32,sum]")
    assert "relation.ones.weight" in made("weighted[float32,none]")
    assert "relation.function" in made("plain[float32,mean]", CLASS)


def test_where_relations_are_checked() -> None:
    """Only on the cases named, and not where the API's document excludes the case."""
    assert related(case("plain[float32,mean]"), CLASS)
    assert not related(case("plain[float64,mean]"), CLASS)
    assert not related(case("other[float32]"), FUNCTION)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_an_honest_backend_keeps_them_all(reduction: str) -> None:
    """The definition itself breaks none, the dropped label apart, for this op ignores no label."""
    name = f"plain[float32,{reduction}]"
    for relation in made(name).values():
        if relation.name != "relation.ignored":
            found = answered(relation, name, honest)
            assert (found.status, found.kind) == ("pass", ""), (relation.name, found.message)
            assert found.compared > 0


def by_place(tensors: dict[str, NDArray], params: dict[str, Any]) -> NDArray:
    """Make the loss of a row depend on where it stands."""
    each = OP.definition(tensors, {**params, "reduction": "none"})
    return np.asarray(each + np.arange(each.size) / 8)


def by_size(tensors: dict[str, NDArray], params: dict[str, Any]) -> NDArray:
    """Make the losses depend on how many there are."""
    return np.asarray(honest(tensors, params) * len(tensors["input"]))


def without_sum(tensors: dict[str, NDArray], params: dict[str, Any]) -> NDArray:
    """Take a sum for a mean."""
    return honest(tensors, {**params, "reduction": "mean" if params["reduction"] == "sum" else "none"})


def negative(tensors: dict[str, NDArray], params: dict[str, Any]) -> NDArray:
    """Give losses below 0."""
    return np.asarray(-honest(tensors, params))


def weight_of_one_doubles(tensors: dict[str, NDArray], params: dict[str, Any]) -> NDArray:
    """Add 1 to each weight."""
    weight = {n: t + 1 for n, t in tensors.items() if n == "weight"}
    return honest({**tensors, **weight}, params)


@pytest.mark.parametrize(
    ("name", "relation", "backend"),
    [
        ("plain[float32,none]", "permutation", by_place),
        ("plain[float32,none]", "concatenation", by_size),
        ("plain[float32,sum]", "reduction", without_sum),
        ("plain[float32,none]", "nonnegative", negative),
        ("weighted[float32,none]", "ones.weight", weight_of_one_doubles),
        ("plain[float32,none]", "ignored", by_size),
    ],
)
def test_a_miniature_breaks_its_relation(name: str, relation: str, backend: Backend) -> None:
    """A backend that is wrong in this way fails with kind `relation`, and says which relation."""
    each = made(name)[f"relation.{relation}"]
    found = answered(each, name, backend)
    assert (found.status, found.kind) == ("fail", "relation")
    assert each.says in found.message


def test_repeating_a_call_compares_bits() -> None:
    """One bit of the output, or of a gradient, is enough."""
    relation = made("plain[float32,none]")["relation.repeat"]
    one = to_wire(np.array([1.0, 2.0], np.float32))
    other = to_wire(np.array([1.0, np.nextafter(np.float32(2), np.float32(3))], np.float32))
    same, differs = Reply(0, one, {"input": one}), Reply(0, one, {"input": other})
    assert hold(relation, same, [same]).status == "pass"
    assert hold(relation, same, [Reply(0, other, {"input": one})]).kind == "relation"
    assert "its grad.input differs" in hold(relation, same, [differs]).message


def test_a_changed_input_breaks_a_relation() -> None:
    """What the worker saw changed is reported under the relation as well."""
    relation = made("plain[float32,none]")["relation.inputs"]
    one = to_wire(np.array([1.0], np.float32))
    assert hold(relation, Reply(0, one), []).status == "pass"
    assert hold(relation, Reply(0, one, mutated=("input",)), []).kind == "relation"


def test_what_is_no_result() -> None:
    """Refusals, deaths, losses and our own faults keep their own words."""
    relation = made("plain[float32,none]")["relation.permutation"]
    one = Reply(0, to_wire(np.array([1.0, 2.0, 3.0], np.float32)))
    refused = Reply(0, Raised("call", "value", "ValueError", "no"))
    assert hold(relation, refused, [one]).status == "observed"
    assert hold(relation, one, [refused]).kind == "relation"
    assert hold(relation, one, [Death("crash", "died")]).status == "crash"
    assert hold(relation, one, [Lost("gone")]).status == "notrun"
    assert hold(relation, one, [Fault("ours")]).status == "harness"
