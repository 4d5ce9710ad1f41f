"""Relations: what an op keeps between one call and another, whatever the oracle says of each.

An op file declares them once. Each is checked on every case named there: the source call is the case as
it stands, the follow-up calls are made from it (metamorphic testing, Chen et al. 2018,
https://doi.org/10.1145/3143561). Two results may differ by the bounds of both, never by more; results of
the same call twice not by a bit.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.arrays import NDArray
from conformance.globs import glob
from conformance.judge import declared_unsupported
from conformance.oracle import Exact, Expectation, exact_output
from conformance.suite import Api, Case

Map = Callable[[NDArray], NDArray]
Oracle = Callable[[Case, dict[str, Any]], Exact]


@dataclass(frozen=True)
class Relation:
    """One relation on one case of one API.

    Attributes:
        name: the check, `relation.NAME`.
        says: what has to hold, in words.
        calls: the follow-up calls.
        source: what the relation makes of the case's own result; None where only follow-ups are compared.
        bound: how far apart the two sides may be, elementwise; None: the same bits.
        follow: what the relation makes of the follow-up's result.
        source_text, follow_text: the same, as NumPy expressions of `{}`.

    """

    name: str
    says: str
    calls: tuple[tuple[Case, Api], ...]
    source: Map | None
    bound: NDArray | None
    follow: Map = lambda values: values
    source_text: str = "{}"
    follow_text: str = "{}"


def related(case: Case, api: Api) -> bool:
    """Whether relations are checked on this case of this API."""
    decl = case.op.decl.relations
    return (
        decl is not None
        and case.domain == "defined"
        and any(glob(pattern, case.id.partition("/")[2]) for pattern in decl.cases)
        and declared_unsupported(case, api) is None
    )


def exactly(case: Case, params: dict[str, Any]) -> Exact:
    """Evaluate the oracle for the output of a follow-up call."""
    return exact_output(case.op.definition, case.tensors, params, case.dtype)


def relations(
    case: Case,
    api: Api,
    expected: Expectation,
    params: dict[str, Any],
    oracle: Oracle = exactly,
) -> list[Relation]:
    """Return the relations of a case, in a fixed order, with the follow-up calls that they need.

    `oracle` is asked for the output of those follow-up calls whose own bound a relation needs.
    """
    exact = expected.output
    found = [
        Relation("relation.repeat", "the same call twice gives the same bits", ((case, api),), _same, None),
        _layout(case, api, exact),
        *_batch(case, api, exact, params),
        *_reduction(case, api, exact, params, oracle),
        *_ones(case, api, params, oracle),
        *_ignored(case, api, exact, params),
        *_class(case, api, exact),
        *_alone(case),
    ]
    return [relation for relation in found if relation is not None]


def _same(values: NDArray) -> NDArray:
    return values


def derived(case: Case, what: str, tensors: dict[str, NDArray], **changed: Any) -> Case:
    """Return a case made from another one: other tensors, other parameters."""
    made = replace(
        case,
        id=f"{case.id}~{what}",
        specs={name: spec for name, spec in case.specs.items() if name in tensors},
        gradients=(),
        second=(),
        **changed,
    )
    made.__dict__["tensors"] = tensors
    return made


def _layout(case: Case, api: Api, exact: Exact) -> Relation | None:
    layouts = {n: "strided" if t.ndim < 2 else "transposed" for n, t in case.tensors.items()}
    if layouts == case.layouts:
        return None
    other = derived(case, "layout", case.tensors, layouts=layouts)
    says = "inputs that are views of other memory give what contiguous ones give"
    return Relation("relation.layout", says, ((other, api),), _same, 2 * exact.bound)


def _batch(case: Case, api: Api, exact: Exact, params: dict[str, Any]) -> list[Relation]:
    """Permute the batch, and put it behind itself: per-sample losses do not touch each other."""
    axes = case.op.decl.relations.batch if case.op.decl.relations else {}
    mine = {n: a for n, a in axes.items() if n in case.tensors}
    sizes = {case.tensors[n].shape[a] for n, a in mine.items() if case.tensors[n].ndim > a}
    if not mine or len(sizes) != 1 or any(case.tensors[n].ndim <= a for n, a in mine.items()):
        return []
    (size,) = sizes
    if size < 2 or (params.get("reduction", "none") == "none" and exact.low.shape[:1] != (size,)):
        return []
    order = np.roll(np.arange(size), 1)[::-1]
    permuted = {n: np.take(t, order, axes[n]) if n in mine else t for n, t in case.tensors.items()}
    twice = {n: np.concatenate([t, t], axes[n]) if n in mine else t for n, t in case.tensors.items()}
    reduction = params.get("reduction", "none")
    by_row = reduction == "none"
    layouts = dict.fromkeys(case.layouts, "contiguous")
    first = derived(case, "permutation", permuted, layouts=layouts)
    second = derived(case, "concatenation", twice, layouts=layouts)
    moved: Map = (lambda v: v[order]) if by_row else _same
    doubled: Map = (lambda v: np.concatenate([v, v])) if by_row else _same
    if reduction == "sum":
        doubled = lambda v: v * 2  # noqa: E731 - one of three maps
    return [
        Relation(
            "relation.permutation",
            "permuting the batch permutes the losses",
            ((first, api),),
            moved,
            moved(2 * exact.bound),
            source_text=f"{{}}[{order.tolist()}]" if by_row else "{}",
        ),
        Relation(
            "relation.concatenation",
            "a batch behind itself gives the losses behind themselves",
            ((second, api),),
            doubled,
            doubled(3 * exact.bound),
            source_text="np.concatenate([{0}, {0}])" if by_row else "{} * 2" if reduction == "sum" else "{}",
        ),
    ]


def _reduction(case: Case, api: Api, exact: Exact, params: dict[str, Any], oracle: Oracle) -> list[Relation]:
    """Reduce the result of `none` by hand: what `sum` and `mean` give."""
    decl = case.op.decl.relations
    reduction = params.get("reduction")
    if reduction not in ("sum", "mean") or decl is None or (reduction == "mean" and not decl.plain_mean):
        return []
    whole = derived(case, "reduction", case.tensors, params={**case.params, "reduction": "none"})
    each = oracle(whole, {**params, "reduction": "none"})
    if not each.low.size:
        return []
    share = each.low.size if reduction == "mean" else 1
    bound = exact.bound + np.sum(each.bound) / share
    reduce_: Map = lambda v: np.asarray(np.sum(v) / share)  # noqa: E731
    text = f"np.asarray(np.sum({{}}) / {share})"
    says = f"the {reduction} is the {reduction} of the losses that `none` gives"
    return [Relation("relation.reduction", says, ((whole, api),), _same, bound, reduce_, follow_text=text)]


def _ones(case: Case, api: Api, params: dict[str, Any], oracle: Oracle) -> list[Relation]:
    """Weights of one: what no weights give."""
    decl = case.op.decl.relations
    found = []
    for name in decl.ones if decl else ():
        if name not in case.tensors:
            continue
        rest = {n: t for n, t in case.tensors.items() if n != name}
        ones = {n: np.ones_like(t) if n == name else t for n, t in case.tensors.items()}
        without = derived(case, "without", rest)
        bound = oracle(without, params).bound
        calls = ((derived(case, "ones", ones), api), (without, api))
        says = f"ones as {name} give what no {name} gives"
        found.append(Relation(f"relation.ones.{name}", says, calls, None, 2 * bound))
    return found


def _ignored(case: Case, api: Api, exact: Exact, params: dict[str, Any]) -> list[Relation]:
    """Drop the samples whose label is ignored: nothing changes but their own places."""
    decl = case.op.decl.relations
    if decl is None or not decl.ignored:
        return []
    labels = case.tensors[decl.ignored["tensor"]]
    kept = labels != params[decl.ignored["param"]]
    if labels.ndim != 1 or kept.all() or not kept.any():
        return []
    rows = {n: t[kept] if n in decl.batch else t for n, t in case.tensors.items()}
    by_row = params.get("reduction", "none") == "none"
    kept_of: Map = (lambda v: v[kept]) if by_row else _same
    other = derived(case, "ignored", rows, layouts=dict.fromkeys(case.layouts, "contiguous"))
    says = "samples with an ignored label can be left out"
    text = f"{{}}[np.array({kept.tolist()})]" if by_row else "{}"
    bound = kept_of(2 * exact.bound)
    return [Relation("relation.ignored", says, ((other, api),), kept_of, bound, source_text=text)]


def _class(case: Case, api: Api, exact: Exact) -> list[Relation]:
    """Call the function of the same backend that the class wraps: they agree."""
    if api.binding.init is None:
        return []
    from conformance.load import inexpressible  # noqa: PLC0415 - that module needs this package's others

    for other in case.op.apis:
        alike = other.backend == api.backend and other.binding.init is None
        same = other.decl.defaults == api.decl.defaults and other.decl.label == api.decl.label
        if alike and same and not inexpressible(case, other) and declared_unsupported(case, other) is None:
            says = f"it gives what {other.name} gives"
            return [Relation("relation.function", says, ((case, other),), _same, 2 * exact.bound)]
    return []


def _alone(case: Case) -> list[Relation]:
    """Return what can be seen from the case's own answer."""
    found = [Relation("relation.inputs", "a call leaves its inputs as they were", (), _same, None)]
    if case.op.decl.relations and case.op.decl.relations.nonnegative:
        found.append(Relation("relation.nonnegative", "no loss is below 0", (), _same, None))
    return found
