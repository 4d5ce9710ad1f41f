"""No loss of the three frameworks is left out unseen: every public name is accounted for."""

from pathlib import Path

import pytest

from conformance.accounting import (
    LOSS_LIKE,
    Accounting,
    Namespace,
    Unbound,
    complaints,
    main_complaints,
    public_names,
    read_accounting,
)
from conformance.errors import InvalidFileError

SPACE = "torch.nn"
PUBLIC = {SPACE: ["L1Loss", "Softmin", "OldLoss", "Linear"]}
BOUND = {"torch.nn.L1Loss"}


def account(others: tuple[str, ...] | None = ("Linear",), **changed: Unbound) -> Accounting:
    """Return a clean account of PUBLIC, with some reasons changed."""
    reasons = {
        "softmin": Unbound(["Softmin"], "another function", "softmax of the negated input"),
        "old": Unbound(["OldLoss"], "alias", "the class torch.nn.L1Loss under its first name"),
    }
    unbound = list({**reasons, **changed}.values())
    return {SPACE: Namespace(unbound, None if others is None else list(others))}


def test_every_public_name_of_the_installed_frameworks_is_accounted_for() -> None:
    """Bound by a case file, or a loss with a reason not to be, or no loss: and only one of the three."""
    said = main_complaints()
    assert not said, "\n".join(said)


def test_a_clean_account_has_no_complaint() -> None:
    """The miniature that the other tests spoil."""
    assert complaints(account(), BOUND, PUBLIC) == []


@pytest.mark.parametrize("name", ["NewLoss", "Conv9d"])
def test_a_name_that_an_upgrade_brings_is_named(name: str) -> None:
    """Whether it looks like a loss or not, in a namespace that is accounted for completely."""
    said = complaints(account(), BOUND, {SPACE: [*PUBLIC[SPACE], name]})
    assert said == [f"torch.nn.{name}: bound by no case file and not in accounting.yaml"]


def test_in_a_namespace_without_others_only_losses_are_looked_for() -> None:
    """`torch` itself has 800 names; those that look like a loss must not be missed there."""
    partial = account(others=None)
    assert complaints(partial, BOUND, {SPACE: [*PUBLIC[SPACE], "Conv9d"]}) == []
    assert len(complaints(partial, BOUND, {SPACE: [*PUBLIC[SPACE], "NewLoss"]})) == 1


def test_a_listed_name_that_is_gone_is_named() -> None:
    """From either list."""
    said = complaints(account(), BOUND, {SPACE: ["L1Loss", "Softmin"]})
    assert [line.partition(":")[0] for line in said] == ["torch.nn.Linear", "torch.nn.OldLoss"]


def test_a_reason_not_to_test_what_is_tested_by_now_is_stale() -> None:
    """A case file binds it: the reason goes."""
    said = complaints(account(), {*BOUND, "torch.nn.Softmin"}, PUBLIC)
    assert said == ["torch.nn.Softmin: in accounting.yaml as not tested, but a case file binds it"]


def test_a_loss_cannot_hide_among_the_names_that_are_none() -> None:
    """What looks like one needs a reason."""
    said = complaints(account(others=("Linear", "NewLoss")), BOUND, {SPACE: [*PUBLIC[SPACE], "NewLoss"]})
    assert said == [
        "torch.nn.NewLoss: among the names that are no losses, but looks like one: give the reason"
    ]


def test_a_name_stands_once() -> None:
    """Two reasons for one name contradict each other sooner or later."""
    said = complaints(account(others=("Linear", "Linear")), BOUND, PUBLIC)
    assert said == ["torch.nn.Linear: stands twice in accounting.yaml"]


def test_a_reason_speaks_of_what_exists() -> None:
    """`alias of torch.nn.X` says nothing once X is gone."""
    gone = Unbound(["Softmin"], "another function", "the opposite of torch.nn.Softmaxed")
    said = complaints(account(softmin=gone), BOUND, PUBLIC)
    assert said == ["torch.nn: the reason of Softmin speaks of torch.nn.Softmaxed, which does not exist"]


def test_an_alias_is_one_of_something_tested() -> None:
    """Otherwise its tests are nowhere."""
    said = complaints(account(), set(), PUBLIC)
    assert "torch.nn: OldLoss is an alias of no API that a case file binds" in said


@pytest.mark.parametrize(
    "name", ["npair_loss", "BCELoss", "CTCLossV2", "KLDivLoss", "mse_loss", "logsumexp", "Dice"]
)
def test_names_of_losses_look_like_losses(name: str) -> None:
    """However they are spelt."""
    assert LOSS_LIKE.search(name)


@pytest.mark.parametrize("name", ["tril_indices", "max_pool1d", "Embedding", "MultiheadAttention"])
def test_names_of_other_things_do_not(name: str) -> None:
    """A pattern that calls everything a loss would make the reasons worthless."""
    assert not LOSS_LIKE.search(name)


def test_names_come_from_a_process_of_their_own() -> None:
    """Public callables, no modules, no names with an underscore."""
    found = public_names({"torch.special": Namespace()})["torch.special"]
    assert {"expit", "logsumexp"} <= set(found)
    assert not {"torch", "Tensor_", "_special"} & set(found)


def test_an_unknown_kind_of_reason_is_refused(tmp_path: Path) -> None:
    """With its line and column, as every file that people write."""
    path = tmp_path / "accounting.yaml"
    path.write_text('torch.nn:\n  unbound:\n    - {names: [X], because: tired, why: "no time"}\n')
    with pytest.raises(InvalidFileError, match=r"accounting\.yaml:3:"):
        read_accounting(tmp_path)
