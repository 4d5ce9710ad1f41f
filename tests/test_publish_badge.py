"""Badges: counts of operators, no grades, and an image that anybody can read."""

from xml.etree import ElementTree as ET

import msgspec
import pytest

from conformance.publish.badge import badges, svg, target
from conformance.publish.standing import standings
from conformance.report.facts import Facts
from conformance.report.links import backend_page
from tests.publishing import HOSTILE, facts, result, wrong


def run() -> Facts:
    rows = [
        result("agree/a", op="agree"),
        result("agree/b", op="agree", status="unsupported"),
        result("known/a", op="known"),
        wrong("known/b", op="known", outcome="known", ledger="e"),
        wrong("new/a", op="new", status="crash"),
        result("none/a", op="none", status="unsupported"),
        result("none/b", op="none", status="observed"),
    ]
    return facts(*rows)


def test_operators_agree_differ_or_are_unsupported() -> None:
    """One failing result, known or not, is a difference; what nothing could judge is no agreement."""
    torch, paddle = standings(run())
    assert (torch.agree, torch.differ, torch.unsupported) == (("agree",), ("known", "new"), ("none",))
    assert torch.counts == "1 operator agrees · 2 differ · 1 unsupported"
    assert paddle.counts == "0 operators agree · 0 differ · 0 unsupported"


def test_what_was_not_run_is_said() -> None:
    """It neither agrees nor differs."""
    rows = [result("a/a", op="a"), result("a/b", op="a", status="notrun", outcome="notrun")]
    torch, _ = standings(facts(*rows))
    assert torch.counts == "0 operators agree · 0 differ · 0 unsupported · 1 not run"


def test_shields_reads_the_endpoint() -> None:
    """Its schema's keys, and a message without percentages."""
    files = badges(run())
    assert sorted(files) == ["paddle.json", "paddle.svg", "torch.json", "torch.svg"]
    assert msgspec.json.decode(files["torch.json"]) == {
        "schemaVersion": 1,
        "label": "torch 1.2.3",
        "message": "1 operator agrees · 2 differ · 1 unsupported",
        "color": "1f6feb",
    }


def test_an_incomplete_run_has_grey_badges_that_say_so() -> None:
    """No old promise in the colours of a new one."""
    files = badges(facts(result(), lost="no module"))
    torch, paddle = (msgspec.json.decode(files[f"{name}.json"]) for name in ("torch", "paddle"))
    assert torch["message"].startswith("incomplete: 1 operator agrees")
    assert paddle["message"] == "not run"
    assert {torch["color"], paddle["color"]} == {"6e7781"}


@pytest.mark.parametrize("text", ["torch 2.13.0", HOSTILE, "算子", ""])
def test_the_image_is_well_formed_and_has_a_name(text: str) -> None:
    """Its title is what is drawn, and nothing in a text can end an element."""
    root = ET.fromstring(svg(text, text, "#123456"))  # noqa: S314 - we wrote it
    space = {"s": "http://www.w3.org/2000/svg"}
    drawn = [each.text or "" for each in root.findall(".//s:text", space)]
    title = root.find("s:title", space)
    assert title is not None
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-labelledby"] == title.attrib["id"]
    assert title.text == ": ".join(drawn)
    assert not root.findall(".//s:script", space)


def test_the_boxes_are_as_wide_as_their_text() -> None:
    """The two boxes fill the image; a longer text has a wider one."""
    short, long = (ET.fromstring(svg("a", text, "#123456")) for text in ("one", "one and twenty"))  # noqa: S314
    for root in (short, long):
        _, *boxes = (float(each.attrib["width"]) for each in root.iter() if each.tag.endswith("rect"))
        assert sum(boxes) == float(root.attrib["width"])
    assert float(long.attrib["width"]) > float(short.attrib["width"])


def test_a_badge_leads_to_the_backend() -> None:
    """To the page of the site that has the counts' reasons."""
    assert target("torch") == backend_page("torch")
