"""Take up a run that did not finish: what is settled in its stream is not asked again.

A run that is killed leaves `run.jsonl.part`: its rows, in the order of answers, among them notes that only a
resumed run needs (`heard`, `settled`). A pair of case and API whose rows are not all there is asked anew.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from conformance.backends import titled
from conformance.compare import Check
from conformance.errors import InvalidFileError
from conformance.judge import check_names
from conformance.line import Line
from conformance.load import Api, Case
from conformance.plan import Pair
from conformance.pool import Pool
from conformance.record import RELATED
from conformance.repeat import CHECK
from conformance.stream import ASKED, HEARD, SETTLED, Row, read_stream, unjson

_SAME = (
    *(("suite", name) for name in ("digest", "bindings", "numpy", "version")),
    *((name,) for name in ("oracle", "selection", "shard")),
)
_RELATION = "relation."
_WRITTEN = ("kind", "outcome", "ledger", "message", "family", "domain")
_OPTIONS = "resume with the options and versions of the run, or run again from the start"
_CHANGED = "no run wrote this: run again from the start, without `--resume`"


@dataclass
class Earlier:
    """A stream that did not finish, set aside under a name of its own while it is taken up."""

    path: Path
    head: Row
    asked: list[str] = field(default_factory=list)
    backends: dict[str, Row] = field(default_factory=dict)
    """What those of them said that had started by then."""
    settled: dict[Pair, int] = field(default_factory=dict)
    """What need not be asked again, and in which line that stands."""

    @classmethod
    def of(cls, path: Path, target: Path) -> "Earlier | None":
        """Read what is settled in a stream that is to be continued as `target`; None: nothing is.

        Raises:
            InvalidFileError: it finished, or it is no stream.

        """
        aside = target.with_suffix(".jsonl.resumed")
        if not aside.exists():  # else an earlier try was killed while it was still copying
            part = path if path.suffix == ".part" else path.with_suffix(".jsonl.part")
            if not part.exists():
                what = "this run finished" if path.exists() else "there is no such run"
                raise InvalidFileError(str(path), f"{what}: nothing to resume", f"looked for {part}")
            part.replace(aside)
        earlier: Earlier | None = None
        for number, row in enumerate(read_stream(aside, partial=True), 1):
            if earlier is None:
                earlier = cls(aside, row)
            elif row["type"] == ASKED:
                earlier.asked = row["backends"]
            elif row["type"] == "backend":
                earlier.backends[row["backend"]] = row
            elif row["type"] == SETTLED:
                earlier.settled[row["case"], row["api"]] = number
        if earlier is None or not earlier.settled:
            aside.unlink()
            return None
        return earlier

    @property
    def argv(self) -> list[str]:
        """The command of the run: the whole is reported as one."""
        return list(self.head.get("argv", []))

    def check(self, head: Row, backends: dict[str, Row], titles: list[str]) -> None:
        """Refuse to continue with anything else than what began; `titles` are the backends as asked for.

        Raises:
            InvalidFileError: the suite, the selection, the oracle or a backend is another one.

        """
        for keys in _SAME:
            self._same(".".join(keys), _at(self.head, keys), _at(head, keys))
        then = self.asked or [titled(row) for row in self.backends.values()]
        self._same("backends", sorted(then), sorted(titles))
        for name, row in self.backends.items():
            if name not in backends:
                self.refuse(1, f"{name!r} answered and was not asked", _CHANGED)
            for key in ("version", "device", "mode", "python", "numpy"):
                if not row.get("lost") and not backends[name].get("lost"):
                    self._same(f"{name} {key}", row.get(key), backends[name].get(key))

    def _same(self, what: str, then: Any, now: Any) -> None:
        if then != now:
            self.refuse(1, f"{what} was {then!r} and is {now!r}", _OPTIONS)

    def refuse(self, line: int, what: str, remedy: str = _CHANGED) -> NoReturn:
        """Say in which line it stands that this cannot go on."""
        raise InvalidFileError(f"{self.path}:{line}:1", f"cannot be resumed: {what}", remedy)


def _at(row: Row, keys: tuple[str, ...]) -> Any:
    value: Any = row
    for key in keys:
        value = (value or {}).get(key)
    return value


def take_up(earlier: Earlier, line: Line, pool: Pool) -> set[Pair]:
    """Copy the settled rows into a run that has written its header, and return what need not be asked.

    Raises:
        InvalidFileError: it was another run, or somebody changed what it wrote.

    """
    line.meet_all(pool)
    earlier.check(line.head, line.environments, line.titles)
    seen: Counter[Pair] = Counter()
    for row, case, api in _taken(earlier, line):
        if row["type"] == HEARD:
            line.claims.note(case.op.name, api.name, case.id, [tuple(each) for each in row["claims"]])
            line.stream.note(row)
        else:
            place = seen[case.id, api.name]
            seen[case.id, api.name] += 1
            related = RELATED if row["check"].startswith(_RELATION) else 0
            check = Check(row["check"], row["status"], row["kind"], error_over_bound=_ratio(row))
            line.copy(case, api, check, row, place + related)
    for case_id, name in sorted(earlier.settled):
        line.stream.note({"type": SETTLED, "case": case_id, "api": name})
    line.done += len(earlier.settled)
    line.settled += len(earlier.settled)
    earlier.path.unlink()
    return set(earlier.settled)


def _taken(earlier: Earlier, line: Line) -> Iterator[tuple[Row, Case, Api]]:
    """Yield the rows of what is settled, each with what it is about.

    Raises:
        InvalidFileError: a row, or the lack of one, that this run cannot have left.

    """
    for pair, number in earlier.settled.items():
        if pair not in line.places:
            earlier.refuse(number, f"{pair[1]!r} is not asked about {pair[0]!r}")
    found: Counter[Pair] = Counter()
    for number, row in enumerate(read_stream(earlier.path, partial=True), 1):
        if row["type"] not in (HEARD, "result") or (pair := (row["case"], row["api"])) not in earlier.settled:
            continue
        case, api = line.plan[line.places[pair]]
        if row["type"] == HEARD:
            what = _unclaimed(row, api)
        else:
            repeated = row["check"] == CHECK and line.repeats is not None
            own = not repeated and not row["check"].startswith(_RELATION)
            what = _foreign(row, case, api) or (_undue(row, case, api, found[pair]) if own else "")
            found[pair] += own
        if what:
            earlier.refuse(number, what)
        yield row, case, api
    for pair, number in earlier.settled.items():
        due = check_names(*line.plan[line.places[pair]])
        if found[pair] != len(due):
            what = f"of {pair[1]!r} on {pair[0]!r} there is no {due[found[pair]]!r}, and it says that all is"
            earlier.refuse(number, what)


def _unclaimed(row: Row, api: Api) -> str:
    """Say which claim that a case was held against is none of that API."""
    known = {claim.claim for claim in api.claims}
    unknown = next((name for name, *_ in row["claims"] if name not in known), None)
    return "" if unknown is None else f"{api.name!r} has no claim {unknown!r}"


def _foreign(row: Row, case: Case, api: Api) -> str:
    """Say what a result lacks that every run writes, or says otherwise than the case files."""
    if lacking := next((name for name in _WRITTEN if name not in row), ""):
        return f"a result without `{lacking}`"
    said = {"op": case.op.name, "family": case.op.family, "backend": api.backend, "domain": case.domain}
    wrong = next((name for name in said if row[name] != said[name]), "")
    return f"`{wrong}` is {row[wrong]!r}, and {said[wrong]!r} in the case file" if wrong else ""


def _undue(row: Row, case: Case, api: Api, before: int) -> str:
    """Say that a check is not the one that has to stand there: they are in the order of the case."""
    due = check_names(case, api)
    wanted = due[before] if before < len(due) else "a relation"
    return "" if row["check"] == wanted else f"the check {row['check']!r} stands where {wanted!r} has to"


def _ratio(row: Row) -> float | None:
    value = unjson(row).get("error_over_bound")
    return None if value is None else float(value)
