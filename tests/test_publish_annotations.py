"""Annotations: at the case in the YAML, escaped as GitHub reads them, and never too many."""

import re
from pathlib import Path

from conformance.ledger import Ledger
from conformance.publish.annotations import MOST, annotations
from tests.publishing import CASE, HOSTILE, PADDLE, TORCH, claim, facts, result, stale, suite, wrong

LINE = re.compile(r"::(error|warning) ((?:[a-z]+=[^:,\r\n]*,?)+)::([^\r\n]*)")

OP_FILE = "cases/loss/multi_margin_loss.yaml"


def read(line: str) -> tuple[str, dict[str, str], str]:
    """Read a line as a runner does."""
    found = LINE.fullmatch(line)
    assert found, line
    properties = dict(part.split("=", 1) for part in found[2].split(","))
    return found[1], {name: plain(value) for name, value in properties.items()}, plain(found[3])


def plain(text: str) -> str:
    for code, char in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, char)
    return text


def test_an_annotation_points_at_the_case(tmp_path: Path) -> None:
    """File relative to the repository, line and column of the case; how many, and the command."""
    run = facts(wrong(), wrong(check="grad.input"), result(api=PADDLE))
    (line,) = annotations(run, suite(tmp_path), tmp_path)
    level, properties, message = read(line)
    assert level == "error"
    assert properties == {
        "file": OP_FILE,
        "line": "14",
        "col": "5",
        "title": f"{TORCH}: wrong value",
    }
    assert message.splitlines() == [
        f"{CASE} output: got 1, exact 2",
        "and 1 more result like it",
        f"conformance run --backend torch --api {TORCH} -k '{CASE}'",
    ]


def test_the_worst_of_a_group_is_shown(tmp_path: Path) -> None:
    """The surest accusation first, then the largest error."""
    cases = [case.id for case in suite(tmp_path)[0].cases]
    rows = [
        wrong(cases[0], domain="extended", error_over_bound="Infinity"),
        wrong(cases[1], error_over_bound=2.0),
        wrong(cases[2], error_over_bound="Infinity"),
    ]
    (line,) = annotations(facts(*rows), suite(tmp_path), tmp_path)
    assert read(line)[2].startswith(cases[2])


def test_the_most_severe_comes_first(tmp_path: Path) -> None:
    """GitHub shows ten: an incomplete run, a crash, a wrong value, a refuted claim, a stale entry."""
    rows = [wrong(), wrong(api=PADDLE, status="crash", kind="", message="died"), claim(), stale()]
    lines = annotations(facts(*rows, lost="gone"), suite(tmp_path), tmp_path)
    titles = [read(line)[1]["title"] for line in lines]
    assert titles == [
        "incomplete run",
        f"{PADDLE}: crashes the process",
        f"{TORCH}: wrong value",
        f"{TORCH}: document refuted",
        "torch: ledger entry that matches nothing",
    ]


def test_what_lies_outside_of_the_repository_has_no_place(tmp_path: Path) -> None:
    """An installed suite is not in the repository whose job it is; the annotation stays."""
    (line,) = annotations(facts(wrong()), suite(tmp_path / "installed"), tmp_path / "repository")
    assert list(read(line)[1]) == ["title"]
    (unknown,) = annotations(facts(wrong("multi_margin_loss/gone[float32]", op="gone")), [], tmp_path)
    assert list(read(unknown)[1]) == ["title"]


def test_a_stale_entry_is_pointed_at_in_the_ledger(tmp_path: Path) -> None:
    """Where the ledger is at hand."""
    ledger = Ledger({}, wheres={"old": f"{tmp_path}/known/torch/toy.yaml:7:9"})
    (line,) = annotations(facts(result(), stale()), suite(tmp_path), tmp_path, ledger)
    assert read(line)[1] | {"title": ""} == {
        "file": "known/torch/toy.yaml",
        "line": "7",
        "col": "9",
        "title": "",
    }


def test_no_message_can_make_a_command(tmp_path: Path) -> None:
    """A line break is escaped, so that each annotation is one line, and it is read back as it was."""
    run = facts(wrong(HOSTILE, TORCH + ",file=/etc/passwd::x", message=HOSTILE), lost=HOSTILE)
    lines = annotations(run, suite(tmp_path), tmp_path)
    assert len(lines) == 2
    for line in lines:
        assert "\n" not in line
        assert read(line)[1].get("file", OP_FILE) == OP_FILE
        assert HOSTILE in read(line)[2]


def test_there_are_never_more_than_a_page(tmp_path: Path) -> None:
    """The last line says how many are left out."""
    rows = [wrong(api=f"torch.toy_{n}") for n in range(MOST + 7)]
    lines = annotations(facts(*rows, lost="gone"), suite(tmp_path), tmp_path)
    assert len(lines) == MOST + 1
    level, _, message = read(lines[-1])
    assert (level, message.split()[0]) == ("warning", "8")


def test_nothing_unexpected_is_nothing_said(tmp_path: Path) -> None:
    """Also where much is known."""
    assert annotations(facts(wrong(outcome="known", ledger="e")), suite(tmp_path), tmp_path) == []
