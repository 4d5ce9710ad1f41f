"""The plan of a run: the same pairs, places and order as a list of them has."""

from itertools import groupby

import pytest

from conformance.errors import NothingRanError
from conformance.load import Api, Case, load_suite
from conformance.plan import Plan
from conformance.pool import backend_spec
from conformance.selection import Selection, in_shard

SUITE = [
    op for op in load_suite(ops=["huber_loss", "log_sigmoid"]) if op.name in ("huber_loss", "log_sigmoid")
]
CHOSEN = Selection((backend_spec("torch"), backend_spec("mindspore")), keyword="float32", shard=(2, 3))
PAIRS = [(c, a) for op in SUITE for c in op.cases for a in op.apis if CHOSEN.takes(c, a)]
Named = list[tuple[str, list[str]]]


def named(questions: object) -> Named:
    """Write questions by their names."""
    return [(case.id, [api.name for api in apis]) for case, apis in questions]  # type: ignore[attr-defined]


def grouped(pairs: list[tuple[Case, Api]]) -> Named:
    """Group pairs that stand together by their case."""
    each = groupby(pairs, key=lambda pair: pair[0].id)
    return [(case, [api.name for _, api in members]) for case, members in each]


def test_a_plan_is_the_list_of_its_pairs() -> None:
    """In order, by place, and backwards."""
    plan = CHOSEN.plan(SUITE)
    assert len(plan) == len(PAIRS) > 50
    assert list(plan) == PAIRS
    assert [plan[place] for place in range(len(plan))] == PAIRS
    assert plan[3:9:2] == PAIRS[3:9:2]
    assert named(plan.questions()) == grouped(PAIRS)
    assert named(plan.questions(backwards=True)) == grouped(PAIRS[::-1])
    with pytest.raises(IndexError):
        _ = plan[len(plan)]


def test_every_pair_has_its_place_and_no_other_has_one() -> None:
    """By the names of case and API."""
    plan = CHOSEN.plan(SUITE)
    assert [plan.places[case.id, api.name] for case, api in PAIRS] == list(range(len(PAIRS)))
    case, api = PAIRS[0]
    for pair in ((case.id, "paddle.nn.functional.huber_loss"), ("huber_loss/none[float32]", api.name)):
        assert pair not in plan.places
        with pytest.raises(KeyError):
            _ = plan.places[pair]


def test_what_is_settled_is_not_asked_again() -> None:
    """Of a case the APIs that are left, and no case without any."""
    plan = CHOSEN.plan(SUITE)
    settled = {(case.id, api.name) for place, (case, api) in enumerate(PAIRS) if place < 9 or place % 4}
    left = [(case, api) for case, api in PAIRS if (case.id, api.name) not in settled]
    assert list(plan.without(settled)) == left
    assert plan.without(set()) is plan
    assert not plan.without({(case.id, api.name) for case, api in PAIRS})


def test_it_says_what_is_asked_of_whom() -> None:
    """Each API with its op, once; the calls of each backend."""
    plan = CHOSEN.plan(SUITE)
    ordered = dict.fromkeys((case.op.name, api.name) for case, api in PAIRS)
    assert [(op.name, api.name) for op, api in plan.bindings()] == list(ordered)
    assert plan.calls().total() == len(PAIRS)
    assert plan.calls()["torch"] == sum(api.backend == "torch" for _, api in PAIRS)


def test_cases_that_are_asked_of_the_same_apis_share_them() -> None:
    """A million cases hold no million lists."""
    plan = Selection((backend_spec("torch"),)).plan(SUITE)
    assert len(plan.cases) > 100
    assert len({id(apis) for _, apis in plan.questions()}) == len(SUITE)


def test_an_empty_selection_is_refused() -> None:
    """Before anything is written, and where the plan is made."""
    empty = Selection((backend_spec("torch"),), keyword="nothing is called so")
    for ask in (empty.check, empty.plan):
        with pytest.raises(NothingRanError):
            ask(SUITE)


def test_a_shard_is_loaded_as_it_is_selected() -> None:
    """Its cases are those of the whole suite, of which the ids are known."""
    part = load_suite(ops=["huber_loss"], keep=lambda name: in_shard(name, (2, 3)))
    (op,) = (each for each in part if each.name == "huber_loss")
    (whole,) = (each for each in SUITE if each.name == "huber_loss")
    assert op.ids == whole.ids == [case.id for case in whole.cases]
    assert [case.id for case in op.cases] == [name for name in op.ids if in_shard(name, (2, 3))]
    made = {case.id: case for case in whole.cases}
    for case in op.cases:
        for name in ("specs", "params", "dtypes", "layouts", "where", "gradients", "pinned", "second"):
            assert repr(getattr(case, name)) == repr(getattr(made[case.id], name))  # there are NaNs
    assert Plan(()).calls() == {}
