"""Render a stream as one static page: complete without JavaScript, nothing fetched, opens from disk."""

import base64
import hashlib
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from conformance.ledger import Entry, Ledger
from conformance.load import Operator
from conformance.report import facts as words
from conformance.report.evidence import Evidence, Library, evidence, representative
from conformance.report.facts import DOMAINS, Facts, in_order, read_facts
from conformance.report.groups import Group, group
from conformance.report.matrix import matrix
from conformance.report.others import (
    VERDICTS,
    answer,
    claims_by_api,
    limits,
    observations,
    surprises,
)

FULL_GROUPS = 120  # beyond these, a group shows its results and its repro command, not its evidence
INLINE_SCRIPTS = 280_000  # characters of repro scripts in the page; every script is a file beside it too
MOST_SURPRISES = 15


def write_report(stream: Path, out: Path, suite: list[Operator], ledger: Ledger) -> Path:
    """Write `out`/index.html, and the repro scripts it links in `out`/repro, from a stream.

    Args:
        stream: `run.jsonl`, also of a run that did not finish; the page then says so.
        out: the folder to write to; created if need be.
        suite: the operators, for the inputs of the cases.
        ledger: the known discrepancies, for their reasons.

    Raises:
        InvalidFileError: not a stream of a major version we know.

    """
    facts = read_facts(stream)
    entries = {entry.id: entry for listed in ledger.entries.values() for entry in listed}
    groups = group(facts.results, entries)
    shown = _evidence(groups, facts, Library(suite))
    out.mkdir(parents=True, exist_ok=True)
    _write_scripts(out / "repro", shown)
    context = _judged(facts, groups, entries) | _overview(facts, suite)
    template = environment().get_template("index.html")
    path = out / "index.html"
    path.write_text(template.render(context, evidence=shown, inline=_inline(shown), **_assets()), "utf-8")
    return path


def _judged(facts: Facts, groups: list[Group], entries: dict[str, Entry]) -> dict[str, Any]:
    """Return what the page says of verdicts: the answer, the surprises, the groups."""
    found = surprises(facts, groups, entries)
    domains = in_order((each.domain for each in groups), DOMAINS)
    return {
        "answer": answer(facts, found),
        "surprises": found,
        "most_surprises": MOST_SURPRISES,
        "groups": {domain: [each for each in groups if each.domain == domain] for domain in domains},
        "full_groups": FULL_GROUPS,
        "filters": _filters(groups),
        "entries": entries,
    }


def _overview(facts: Facts, suite: list[Operator]) -> dict[str, Any]:
    """Return what the page says besides: the run, the matrix, claims, observations, limits."""
    return {
        "facts": facts,
        "tables": matrix(facts, {op.name: op.summary for op in suite}),
        "differences": {op.name: op.decl.differences for op in suite if op.decl.differences},
        "claims": claims_by_api(facts.claims),
        "verdicts": VERDICTS,
        "observations": observations(facts),
        "limits": limits(facts, suite),
    }


def environment() -> Environment:
    """Return the templates' environment: everything is escaped, an unknown name is an error."""
    env = Environment(
        loader=FileSystemLoader(_folder()),
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
        breakable=_breakable,
        is_link=lambda url: str(url).startswith(("https://", "http://")),
    )
    env.globals.update(domains=DOMAINS, about_domain=words.ABOUT_DOMAIN, kinds=words.KINDS)
    return env


def _folder() -> Path:
    return Path(str(files("conformance.report")))


def _breakable(name: str) -> Markup:
    """Let a dotted or slashed name break after its dots, slashes and underscores, on a phone."""
    text = str(Markup.escape(name))
    for mark in (".", "/", "_", "["):
        text = text.replace(mark, f"{mark}<wbr>")
    return Markup(text)  # noqa: S704 - escaped above; only <wbr> is added


def _assets() -> dict[str, Any]:
    """Return our own style and script, and their hashes: the page's policy runs nothing else."""
    style = (_folder() / "style.css").read_text(encoding="utf-8")
    script = (_folder() / "filter.js").read_text(encoding="utf-8")
    return {
        "style": Markup(style),  # noqa: S704 - a file of this package
        "script": Markup(script),  # noqa: S704 - a file of this package
        "style_hash": _hash(style),
        "script_hash": _hash(script),
    }


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _evidence(groups: list[Group], facts: Facts, library: Library) -> dict[str, Evidence]:
    """Return the evidence of every group, by the group's id."""
    return {each.id: evidence(representative(each, library), facts, library) for each in groups}


def _inline(shown: dict[str, Evidence]) -> dict[str, str]:
    """Say for each group how much of its evidence stands in the page: `all`, `evidence` or `brief`."""
    spent, levels = 0, {}
    for place, (name, each) in enumerate(shown.items()):
        spent += len(each.script)
        full = place < FULL_GROUPS
        levels[name] = "all" if full and spent <= INLINE_SCRIPTS else "evidence" if full else "brief"
    return levels


def _write_scripts(folder: Path, shown: dict[str, Evidence]) -> None:
    """Write the repro scripts, and remove those of an earlier report."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("d-*.py"):
        old.unlink()
    for name, each in shown.items():
        if each.script:
            (folder / f"{name}.py").write_text(each.script, encoding="utf-8")


def _filters(groups: Iterable[Group]) -> dict[str, list[str]]:
    """Return the choices of the filter, of those that make a choice."""
    choices = {
        "outcome": [g.outcome for g in groups],
        "backend": [g.backend for g in groups],
        "op": [g.op for g in groups],
        "kind": [g.kind for g in groups],
    }
    return {name: sorted(set(found)) for name, found in choices.items() if len(set(found)) > 1}
