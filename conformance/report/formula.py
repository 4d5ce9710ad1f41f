"""The definition for people: LaTeX typeset as MathML, and the reference's own source. Pure."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

from latex2mathml.converter import convert_to_element
from markupsafe import Markup

from conformance.definition import Definition

BETWEEN_PARTS = r",\quad "
THIN = "0.167em"
_OPENING = ("(", "[", "{")
_CLOSING = (")", "]", "|", "‖")


def typeset(latex: str) -> list[Markup]:
    """Return each part of a formula as a MathML element of its own, so that a narrow page can wrap them."""
    try:
        return [_part(part) for part in latex.split(BETWEEN_PARTS)] if latex else []
    except Exception:  # noqa: BLE001 - the converter's errors have no common class; a page shows what it can
        return [Markup("<code>{}</code>").format(latex)]


def _part(latex: str) -> Markup:
    """Typeset one part.

    The converter leaves to the browser what TeX does by itself, and browsers do it only where a font for
    mathematics is installed: the space beside `log`, the sign of `= −1`, the brace of `cases`.
    """
    math = convert_to_element(latex, display="block")
    elements = list(math.iter())
    for each in elements:
        each.text = unescape(each.text or "")  # the converter leaves references to characters in its texts
    for row in elements:
        _name_functions(row)
        _sign(row)
        _brace(row)
    return Markup(ET.tostring(math, encoding="unicode"))  # noqa: S704 - escaped as it is serialised


def _name_functions(row: ET.Element) -> None:
    """Make `log` and `softmax` names, not operators, with a thin space where no parenthesis parts them."""
    if row.tag in ("msub", "msup", "msubsup", "munder", "mover", "munderover", "mfrac"):
        return
    children = list(row)
    for place, child in enumerate(children):
        if not _is_name(child):
            continue
        child.tag = "mi"
        before = children[place - 1] if place else None
        after = children[place + 1] if place + 1 < len(children) else None
        if before is not None and _closes(before):
            row.insert(list(row).index(child), ET.Element("mspace", width=THIN))
        if after is not None and not _opens(after):
            row.insert(list(row).index(child) + 1, ET.Element("mspace", width=THIN))


def _is_name(element: ET.Element) -> bool:
    text = element.text or ""
    return element.tag in ("mi", "mo") and len(text) > 1 and text.isalpha()


def _closes(element: ET.Element) -> bool:
    """Whether an element is a value that a name follows: TeX puts a thin space between the two."""
    if element.tag == "mo":
        return element.text in _CLOSING
    return element.tag != "mspace" and not _is_name(element)


def _opens(element: ET.Element) -> bool:
    """Whether an element begins with a parenthesis, or is an operator that has a space of its own."""
    first = element[0] if element.tag in ("mrow", "msub", "msup") and len(element) else element
    return first.tag == "mspace" or (first.tag == "mo" and first.text in _OPENING)


def _sign(row: ET.Element) -> None:
    """A minus behind an operator or an opening parenthesis is a sign, not a difference."""
    children = list(row)
    for before, child in pairwise(children):
        operator = before.tag == "mo" and before.text not in _CLOSING
        if child.tag == "mo" and child.text == "−" and operator:
            child.set("form", "prefix")


def _brace(row: ET.Element) -> None:
    """Leave the brace of `cases` to the style sheet, which stretches it without a font's help."""
    children = list(row)
    for fence, table in pairwise(children):
        if fence.tag == "mo" and fence.text == "{" and table.tag == "mtable":
            fence.set("stretchy", "false")
            fence.set("class", "brace")


@dataclass(frozen=True)
class Source:
    """A function of the reference: where it stands, and its text."""

    title: str
    where: str
    text: str


def sources(definition: Definition) -> list[Source]:
    """Return the reference's function, its derivative, and the variants that some documents print."""
    listed: list[tuple[str, Callable[..., Any] | None]] = [
        ("The function", definition.function),
        ("Its derivative, as a vector-Jacobian product", definition.vjp_function),
        *((f"A variant that some document prints: {name}", v) for name, v in definition.variants.items()),
    ]
    return [found for title, each in listed if each is not None and (found := _source(title, each))]


def _source(title: str, function: Callable[..., Any]) -> Source | None:
    try:
        lines, start = inspect.getsourcelines(function)
    except (OSError, TypeError):  # a reference that was not read from a file
        return None
    file = function.__module__.removeprefix("conformance.").replace(".", "/")
    return Source(title, f"{file}.py:{start}", "".join(lines))
