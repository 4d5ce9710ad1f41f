"""Coverage: a branch, a regime or a pair that no case reaches is named, as is a branch nobody declared."""

import numpy as np
import pytest

from conformance.arithmetic import Arithmetic, arithmetic, reach
from conformance.coverage import check_coverage, reached, unreached_branches
from conformance.errors import InvalidFileError
from conformance.load import load_operator, load_suite, shipped_cases
from conformance.regimes import regimes, unreached

PATH = shipped_cases() / "loss" / "smooth_l1_loss.yaml"


def test_branches_are_counted_by_the_context() -> None:
    """`reach` counts elements by branch and hands the mask on."""
    mode = Arithmetic()
    with arithmetic(mode):
        mask = reach("above", np.array([1.0, -1.0, 2.0]) > 0)
    assert mask.tolist() == [True, False, True]
    assert mode.reached == {"above": 2}


def test_every_declared_branch_of_every_op_is_marked_and_reached() -> None:
    """The shipped files declare exactly the branches that the references mark, and reach each."""
    declared = 0
    for op in load_suite():
        assert unreached_branches(op) == []
        declared += len(op.decl.branches)
    assert declared > 20


def test_a_branch_that_no_case_reaches_is_named() -> None:
    """A declared branch that the reference never takes fails the check."""
    op = load_operator(PATH)
    op.decl.branches["nowhere"] = "a place no case is in"
    assert unreached_branches(op) == ["nowhere"]
    with pytest.raises(InvalidFileError, match="branch 'nowhere'"):
        check_coverage(op)


def test_a_branch_that_nobody_declared_is_named() -> None:
    """What the reference marks has to be declared."""
    op = load_operator(PATH)
    name = next(iter(op.decl.branches))
    del op.decl.branches[name]
    with pytest.raises(InvalidFileError, match=f"has a branch '{name}'"):
        unreached_branches(op)


def test_a_case_counts_its_own_branches() -> None:
    """A case reaches some branch, with as many elements as take it."""
    op = load_operator(PATH)
    assert all(sum(reached(case).values()) > 0 for case in op.cases if case.name == "basic")


def test_a_regime_that_no_case_reaches_is_named() -> None:
    """Without the cases that hold NaN in the input, that regime is missing; exempting it is enough."""
    op = load_operator(PATH)
    assert unreached(op) == []
    op.cases[:] = [
        c
        for c in op.cases
        if "input" not in c.tensors or not np.isnan(c.tensors["input"].astype(float)).any()
    ]
    assert {"input nan", "input nan beside finite"} <= set(unreached(op))
    with pytest.raises(InvalidFileError, match="regime 'input nan'"):
        check_coverage(op)


def test_an_exemption_names_a_regime() -> None:
    """An exemption from something that does not exist is a mistake."""
    op = load_operator(PATH)
    op.decl.exempt["input sideways"] = "there is no such thing"
    with pytest.raises(InvalidFileError, match="exempt names no regime: 'input sideways'"):
        check_coverage(op)


def test_what_every_op_has_to_reach() -> None:
    """Numbers, layouts, lengths and ranks, by tensor; labels have both ends and both dtypes."""
    names = set(regimes(load_suite(None, ["multi_margin_loss"])[0]))
    wanted = {
        "input largest",
        "weight nan",
        "target last",
        "target int32",
        "input sliced",
        "batch 17",
        "rank 5",
    }
    assert wanted <= names
    assert "target nan" not in names
