"""The published site: a static folder of pages that opens from disk, complete without JavaScript."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from conformance.ledger import Entry, Ledger
from conformance.load import Operator
from conformance.report import links
from conformance.report.environment import environment, folder
from conformance.report.evidence import Library
from conformance.report.facts import Facts, accused
from conformance.report.groups import Group, group
from conformance.stream import Row
from conformance.suite import binding_digests, file_digests

FOLDERS = ("op", "d", "m", "backend", "family", "assets", "repro")


@dataclass(frozen=True)
class Page:
    """One page: its path in the site, its template and what the template is told."""

    path: str
    template: str
    context: dict[str, Any] = field(default_factory=dict)


@dataclass
class Site:
    """What every page is made from."""

    facts: Facts
    suite: list[Operator]
    ledger: Ledger
    changes: Any = None
    """The comparison with another run, if the site has one."""

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """The ledger's entries by id."""
        return {entry.id: entry for listed in self.ledger.entries.values() for entry in listed}

    @cached_property
    def ops(self) -> dict[str, Operator]:
        """The suite's operators by name; a stream may know others."""
        return {op.name: op for op in self.suite}

    @cached_property
    def changed_files(self) -> list[str]:
        """The operators whose case files are no longer those of the run: their pages may mix the two."""
        suite = self.facts.run["suite"] or {}
        then = {**(suite.get("files") or {}), **(suite.get("bindings") or {})}
        now = {**file_digests(self.suite), **binding_digests(self.suite)}
        return sorted(op for op, digest in then.items() if now.get(op, digest) != digest)

    @cached_property
    def library(self) -> Library:
        """The suite's cases and APIs by name."""
        return Library(self.suite)

    @cached_property
    def groups(self) -> list[Group]:
        """The failing results in groups of one cause: unexpected before known."""
        return group(self.facts.results, self.entries)

    @cached_property
    def discrepancies(self) -> dict[tuple[str, str], list[Row]]:
        """Every (case, API) with a failing or stale result, and all of these: each has a page."""
        found: dict[tuple[str, str], list[Row]] = {}
        for row in self.facts.results:
            if accused(row):
                found.setdefault((row["case"], row["api"]), []).append(row)
        return found


def write_site(site: Site, out: Path) -> Path:
    """Write every page below `out`, replacing those of an earlier site, and return the index.

    Every page gets `root` (the way back to the site's folder), `facts`, `entries` and `here` (its path).
    """
    from conformance.report.pages import WRITERS  # noqa: PLC0415 - pages are made from `Site`

    for name in FOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)
    write_assets(out / "assets")
    for writer in WRITERS:
        writer(site, out)
    return out / links.INDEX


Pages = Callable[[Site], Iterator[Page]]


def written(pages: Pages) -> Callable[[Site, Path], None]:
    """Return a writer of the pages that a function yields."""

    def write(site: Site, out: Path) -> None:
        env = environment()
        for page in pages(site):
            _write_page(env, site, out, page)

    return write


def _write_page(env: Any, site: Site, out: Path, page: Page) -> None:
    common = {
        "root": "../" * page.path.count("/"),
        "here": page.path,
        "facts": site.facts,
        "entries": site.entries,
        "has_comparison": site.changes is not None,
        "changed_files": site.changed_files,
    }
    path = out / page.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(env.get_template(page.template).render(common | page.context), "utf-8")


def write_assets(out: Path) -> None:
    """Write one style and one script: the parts in order of their names."""
    out.mkdir(parents=True, exist_ok=True)
    for kind in ("css", "js"):
        parts = sorted((folder() / "assets").glob(f"*.{kind}"))
        text = "\n".join(part.read_text(encoding="utf-8") for part in parts)
        (out / f"site.{kind}").write_text(text, encoding="utf-8")
