"""The ledger: the reviewed list of known discrepancies, and what it makes of a check.

An entry never silences: what it matches is executed, must fail with the entry's kind, and must stay in
its band. One that passes, matches nothing, changes kind or leaves its band fails the run.
"""

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from conformance import plugins
from conformance.adapters import BACKENDS
from conformance.backends import CPU, EAGER, PLAIN, Variant
from conformance.compare import Check
from conformance.errors import InvalidFileError, UsageError
from conformance.globs import after_op, glob
from conformance.load import Api, Case
from conformance.types import Outcome, Scalar
from conformance.yamlfile import YamlFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from conformance.checking import Checked

BAND_SLACK = 1.1
FAILING = ("fail", "error", "crash", "timeout")


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One known discrepancy. Matchers narrow; a matcher that is absent matches all.

    `cases` are globs over the part of the id after the op, `api` and `check` globs too; a refuted claim
    is matched by `check: claim.ID` with kind `refuted`. `band` gives, by dtype, the measured range of
    error/bound. `nondeterministic` is for results that read memory nobody wrote: they vary from run to
    run and may even be right by luck, so a pass is not stale.

    An entry was measured in eager mode on the CPU, and there it has to hold; in another mode or on another
    device it explains what fails alike, with no larger an error, and may as well not hold. One that names
    `modes` or `devices` (by kind, `cuda`) has to hold in these, and speaks of no others.
    """

    id: str
    op: str
    api: list[str]
    check: list[str]
    kind: str | list[str]
    versions: str
    reason: str
    upstream: str
    since: str
    cases: tuple[str, ...] = ("*",)
    dtype: list[str] = []
    params: dict[str, list[Scalar]] = {}
    band: dict[str, tuple[float, float]] = {}
    nondeterministic: bool = False
    modes: list[str] = []
    devices: list[str] = []

    @property
    def kinds(self) -> list[str]:
        """The kinds of failure that this entry knows."""
        return [self.kind] if isinstance(self.kind, str) else self.kind

    def covers(self, case: Case) -> bool:
        """Whether this entry speaks of that case, the op, API and check aside."""
        return (
            (not self.dtype or case.dtype in self.dtype)
            and all(
                name in case.params and case.params[name] in wanted for name, wanted in self.params.items()
            )
            and any(glob(pattern, case.id.partition("/")[2]) for pattern in self.cases)
        )

    def speaks_of(self, op: str, api: Api, check: str, version: str, variant: Variant = PLAIN) -> bool:
        """Whether op, API, check, version, mode and device match, the case aside."""
        return (
            self.op == op
            and any(glob(pattern, api.name) for pattern in self.api)
            and any(glob(pattern, check) for pattern in self.check)
            and SpecifierSet(self.versions).contains(version.partition("+")[0], prereleases=True)
            and (not self.modes or variant.mode in self.modes)
            and (not self.devices or variant.kind in self.devices)
        )

    def holds_in(self, variant: Variant) -> bool:
        """Whether it was measured in that mode and on that kind of device, and has to hold there."""
        return variant.mode in (self.modes or [EAGER]) and variant.kind in (self.devices or [CPU])


class LedgerFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`reports/known/<framework>/<op>.yaml`."""

    framework: str
    entries: list[Entry]


@dataclass
class Ledger:
    """All entries, and how often each one matched in this run."""

    entries: dict[str, list[Entry]]
    hits: Counter[str] = field(default_factory=Counter)
    wheres: dict[str, str] = field(default_factory=dict)
    _speaking: dict[tuple[str, str, str, str, Variant], list[Entry]] = field(default_factory=dict)

    @contextmanager
    def apart(self) -> "Iterator[Counter[str]]":
        """Yield what the checks inside match, which counts all the same."""
        before, self.hits = self.hits, Counter()
        try:
            yield self.hits
        finally:
            before.update(self.hits)
            self.hits = before

    def classify(
        self, case: Case, api: Api, check: Check, version: str, variant: Variant = PLAIN
    ) -> tuple[Outcome, str, str]:
        """Return the outcome of a check, the entry behind it, and why if it is not `ok` or `known`."""
        entries = [e for e in self._about(case.op.name, api, check.check, version, variant) if e.covers(case)]
        self.hits.update(entry.id for entry in entries)
        measured = case.dtype, check.error_over_bound
        return _classify(entries, check.status, check.kind or check.status, measured, variant)

    def classify_claim(
        self, op: str, api: Api, claim: str, verdict: str, version: str, variant: Variant = PLAIN
    ) -> tuple[Outcome, str, str]:
        """Return the outcome of a claim: a refuted one has to be known."""
        entries = self._about(op, api, f"claim.{claim}", version, variant)
        self.hits.update(entry.id for entry in entries)
        status = {"refuted": "fail", "notrun": "notrun"}.get(verdict, "pass")
        return _classify(entries, status, "refuted", ("", None), variant)

    def check(self, found: "Iterable[Checked]") -> None:
        """Refuse an entry that can match nothing: its op, API or case is not in the suite.

        Raises:
            InvalidFileError: the first such entry, at its place.

        """
        ops = {op.op: (op.apis, [after_op(case) for case in op.cases]) for op in found}
        for entry in (entry for entries in self.entries.values() for entry in entries):
            apis, names = ops.get(entry.op, ([], []))
            known = any(glob(pattern, api) for pattern in entry.api for api in apis)
            nowhere = [p for p in entry.cases if not any(glob(p, name) for name in names)]
            missing = "API" if not known else f"case like {nowhere[0]!r}" if nowhere else ""
            what = missing if entry.op in ops else "op"
            if what:
                raise InvalidFileError(
                    self.wheres.get(entry.id, "ledger"), f"ledger entry {entry.id!r}: there is no such {what}"
                )

    def _about(self, op: str, api: Api, check: str, version: str, variant: Variant) -> list[Entry]:
        """Entries about that check of that API; looked up once for all cases."""
        key = (op, api.name, check, version, variant)
        if key not in self._speaking:
            candidates = self.entries.get(api.backend, [])
            self._speaking[key] = [e for e in candidates if e.speaks_of(op, api, check, version, variant)]
        return self._speaking[key]

    def is_nondeterministic(self, backend: str, entry_id: str) -> bool:
        """Whether an entry says that its results vary from run to run."""
        if not entry_id:
            return False
        return any(e.nondeterministic for e in self.entries.get(backend, []) if e.id == entry_id)

    def unmatched(self, backend: str, ops: set[str], variant: Variant = PLAIN) -> list[Entry]:
        """Entries that have to hold in what was run in full, and matched nothing."""
        about = [e for e in self.entries.get(backend, []) if e.op in ops and e.holds_in(variant)]
        return [entry for entry in about if not self.hits[entry.id]]


Measured = tuple[str, float | None]


def _classify(
    entries: list[Entry], status: str, kind: str, measured: Measured, variant: Variant
) -> tuple[Outcome, str, str]:
    if status == "notrun":
        return "notrun", "", ""
    if status == "harness":
        return "regression", "", ""
    if status not in FAILING:
        holding = [entry for entry in entries if not entry.nondeterministic and entry.holds_in(variant)]
        if holding:
            return "stale", holding[0].id, f"ledger entry {holding[0].id} says it fails; it does not"
        varying = [entry for entry in entries if entry.nondeterministic]
        return "ok", varying[0].id if varying else "", ""
    for entry in entries:
        if kind in entry.kinds and _in_band(entry, measured, entry.holds_in(variant)):
            return "known", entry.id, ""
    if not entries:
        return "regression", "", ""
    entry = entries[0]
    if kind not in entry.kinds:
        return "regression", entry.id, f"ledger entry {entry.id} knows it as {entry.kind}; now it is {kind}"
    dtype, ratio = measured
    allowed = list(entry.band.get(dtype, ()))
    return (
        "regression",
        entry.id,
        f"ledger entry {entry.id} allows error/bound {allowed} in {dtype}; now {ratio:.4g}",
    )


def _in_band(entry: Entry, measured: Measured, held: bool) -> bool:
    """Whether an error is no larger than an entry knows it and, where that was `held`, no smaller either."""
    dtype, ratio = measured
    if not entry.band or ratio is None:
        return True
    if dtype not in entry.band:
        return False
    low, high = entry.band[dtype]
    return ratio <= high * BAND_SLACK and (not held or low / BAND_SLACK <= ratio)


def load_ledger(root: Path | None = None) -> Ledger:
    """Load every ledger file (default: the shipped ones).

    Raises:
        InvalidFileError: an entry is malformed, has no reason, a bad specifier, or an id used twice.
        UsageError: there is no such folder.

    """
    folder = root or Path(str(files("conformance.known")))
    if not folder.is_dir():
        raise UsageError(f"no ledger folder {folder}")
    entries: dict[str, list[Entry]] = {}
    wheres: dict[str, str] = {}
    for path in sorted(folder.rglob("*.yaml")):
        document = YamlFile(path)
        parsed = document.convert(LedgerFile)
        if parsed.framework not in BACKENDS and parsed.framework not in plugins.installed():
            there = ", ".join([*BACKENDS, *plugins.installed()])
            raise document.fail(("framework",), f"no backend {parsed.framework!r}; there are {there}")
        for index, entry in enumerate(parsed.entries):
            _check_entry(document, index, entry, wheres)
            _check_variant(document, index, entry, parsed.framework)
            wheres[entry.id] = document.where(("entries", index, "id"))
        entries.setdefault(parsed.framework, []).extend(parsed.entries)
    return Ledger(entries, wheres=wheres)


def _check_entry(document: YamlFile, index: int, entry: Entry, seen: dict[str, str]) -> None:
    path = ("entries", index)
    if entry.id in seen:
        raise document.fail((*path, "id"), f"ledger id {entry.id!r} stands twice")
    if not entry.reason.strip() or "TODO" in entry.reason:
        raise document.fail(
            (*path, "reason"), f"entry {entry.id!r} has no reason yet", "write why the backend does this"
        )
    try:
        SpecifierSet(entry.versions)
    except InvalidSpecifier as error:
        raise document.fail((*path, "versions"), f"not a version specifier: {entry.versions!r}") from error


def _check_variant(document: YamlFile, index: int, entry: Entry, backend: str) -> None:
    """Refuse an entry about a mode or a device that its framework does not have: it would match nothing."""
    for what, named in (("modes", entry.modes), ("devices", entry.devices)):
        has = getattr(plugins.adapter_class(backend), what) if named else ()
        for place, each in enumerate(named):
            if each not in has:
                there = f"{backend} has no {what[:-1]} {each!r}; it has {', '.join(has)}"
                raise document.fail(("entries", index, what, place), there)
