"""The templates' environment: everything is escaped, an unknown name is an error."""

from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from conformance.backends import titled
from conformance.report import facts as words
from conformance.report import links


def folder() -> Path:
    """Return the folder of this package, with `templates` and `assets`."""
    return Path(str(files("conformance.report")))


def environment() -> Environment:
    """Return the environment that every page is rendered in."""
    env = Environment(
        loader=FileSystemLoader(folder() / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(
        multiple=words.multiple,
        plural=words.plural,
        show=words.show,
        shorten=words.shorten,
        tail=words.tail,
        word=lambda status: words.WORDS.get(status, status),
        glyph=lambda status: words.GLYPHS.get(status, "·"),
        breakable=breakable,
        titled=titled,
        is_link=lambda url: str(url).startswith(("https://", "http://")),
        slug=links.slug,
        op_page=links.op_page,
        backend_page=links.backend_page,
        mechanism_page=links.mechanism_page,
    )
    env.globals.update(
        domains=words.DOMAINS,
        about_domain=words.ABOUT_DOMAIN,
        kinds=words.KINDS,
        discrepancy_page=links.discrepancy_page,
    )
    return env


def breakable(name: str) -> Markup:
    """Let a dotted or slashed name break after its dots, slashes and underscores, on a phone."""
    text = str(Markup.escape(name))
    for mark in (".", "/", "_", "["):
        text = text.replace(mark, f"{mark}<wbr>")
    return Markup(text)  # noqa: S704 - escaped above; only <wbr> is added
