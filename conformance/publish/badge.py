"""Badges: per backend what shields.io reads, and an image that needs no service. Counts, and no grades."""

import msgspec
from jinja2 import Environment

from conformance.publish.standing import Standing, standings
from conformance.report.facts import Facts
from conformance.report.links import backend_page, slug

BLUE, GREY = "#1f6feb", "#6e7781"

# One colour whatever the counts are: a badge tells, it does not judge.
_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{{ width }}" height="20" role="img" aria-labelledby="t">
<title id="t">{{ label }}: {{ message }}</title>
<clipPath id="r"><rect width="{{ width }}" height="20" rx="3"/></clipPath>
<g clip-path="url(#r)">
<rect width="{{ left }}" height="20" fill="#30363d"/>
<rect x="{{ left }}" width="{{ width - left }}" height="20" fill="{{ colour }}"/>
</g>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" aria-hidden="true">
<text x="{{ pad }}" y="14" textLength="{{ left - 2 * pad }}">{{ label }}</text>
<text x="{{ left + pad }}" y="14" textLength="{{ width - left - 2 * pad }}">{{ message }}</text>
</g>
</svg>
"""
_PAD = 6
# Widths of Verdana at 11 px, by character; what is not here is as wide as a capital.
_WIDTHS = {
    **dict.fromkeys("ijl.,:;'|![]() /", 4.2),
    **dict.fromkeys("frtI-·", 4.9),
    **dict.fromkeys("abcdeghknopqsuvxyz0123456789_", 6.9),
    **dict.fromkeys("mwMW@%", 10.5),
}


def badges(facts: Facts) -> dict[str, str]:
    """Return the files of all badges by their names."""
    found: dict[str, str] = {}
    for standing in standings(facts):
        label, message, colour = standing.label, _message(standing, facts), _colour(standing, facts)
        endpoint = {"schemaVersion": 1, "label": label, "message": message, "color": colour.lstrip("#")}
        name = slug(standing.backend)
        found[f"{name}.json"] = msgspec.json.format(msgspec.json.encode(endpoint)).decode() + "\n"
        found[f"{name}.svg"] = svg(label, message, colour)
    return found


def target(backend: str) -> str:
    """Return the page of a site that a badge leads to."""
    return backend_page(backend)


def svg(label: str, message: str, colour: str) -> str:
    """Draw a badge: two boxes of text, with a title for those who do not see it."""
    left, right = (round(_width(text)) + 2 * _PAD for text in (label, message))
    template = Environment(autoescape=True).from_string(_SVG)
    return (
        template.render(
            label=_printable(label),
            message=_printable(message),
            colour=colour,
            left=left,
            width=left + right,
            pad=_PAD,
        )
        + "\n"
    )


def _message(standing: Standing, facts: Facts) -> str:
    if standing.lost:
        return "not run"
    return standing.counts if facts.complete else f"incomplete: {standing.counts}"


def _colour(standing: Standing, facts: Facts) -> str:
    return BLUE if facts.complete and not standing.lost else GREY


def _width(text: str) -> float:
    return sum(_WIDTHS.get(char, 7.8) for char in text)


def _printable(text: str) -> str:
    """Drop what an XML file may not hold."""
    return "".join(char for char in text if char.isprintable())
