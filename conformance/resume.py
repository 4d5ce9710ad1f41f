"""Take up a run that did not finish: what is settled in its stream is not asked again.

A run that is killed leaves `run.jsonl.part`: its rows, in the order of answers, among them notes that only a
resumed run needs (`heard`, `settled`). A pair of case and API whose rows are not all there is asked anew.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.compare import Check
from conformance.errors import InvalidFileError
from conformance.line import Line
from conformance.pool import Pool
from conformance.record import RELATED, Pair
from conformance.stream import ASKED, HEARD, SETTLED, Row, read_stream, unjson

_SAME = (
    *(("suite", name) for name in ("digest", "numpy", "version")),
    *((name,) for name in ("oracle", "selection", "shard")),
)


@dataclass
class Earlier:
    """A stream that did not finish, set aside under a name of its own while it is taken up."""

    path: Path
    head: Row
    asked: list[str] = field(default_factory=list)
    backends: dict[str, Row] = field(default_factory=dict)
    """What those of them said that had started by then."""
    settled: set[Pair] = field(default_factory=set)

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
        for row in read_stream(aside, partial=True):
            if earlier is None:
                earlier = cls(aside, row)
            elif row["type"] == ASKED:
                earlier.asked = row["backends"]
            elif row["type"] == "backend":
                earlier.backends[row["backend"]] = row
            elif row["type"] == SETTLED:
                earlier.settled.add((row["case"], row["api"]))
        if earlier is None or not earlier.settled:
            aside.unlink()
            return None
        return earlier

    @property
    def argv(self) -> list[str]:
        """The command of the run: the whole is reported as one."""
        return list(self.head.get("argv", []))

    def check(self, head: Row, backends: dict[str, Row]) -> None:
        """Refuse to continue with anything else than what began.

        Raises:
            InvalidFileError: the suite, the selection, the oracle or a backend is another one.

        """
        for keys in _SAME:
            self._same(".".join(keys), _at(self.head, keys), _at(head, keys))
        self._same("backends", sorted(self.asked or self.backends), sorted(backends))
        for name, row in self.backends.items():
            for key in ("version", "device", "mode", "python", "numpy"):
                if not row.get("lost") and not backends[name].get("lost"):
                    self._same(f"{name} {key}", row.get(key), backends[name].get(key))

    def _same(self, what: str, then: Any, now: Any) -> None:
        if then != now:
            raise InvalidFileError(
                str(self.path),
                f"cannot be resumed: {what} was {then!r} and is {now!r}",
                "resume with the options and versions of the run, or run again from the start",
            )


def _at(row: Row, keys: tuple[str, ...]) -> Any:
    value: Any = row
    for key in keys:
        value = (value or {}).get(key)
    return value


def take_up(earlier: Earlier, line: Line, pool: Pool) -> set[Pair]:
    """Copy the settled rows into a run that has written its header, and return what need not be asked.

    Raises:
        InvalidFileError: it was another run.

    """
    line.meet_all(pool)
    earlier.check(line.head, line.environments)
    cases = {case.id: case for case, _ in line.plan}
    apis = {(case.op.name, api.name): api for case, api in line.plan}
    seen: dict[Pair, int] = {}
    for row in read_stream(earlier.path, partial=True):
        pair = (row.get("case", ""), row.get("api", ""))
        if pair not in earlier.settled:
            continue
        case = cases[pair[0]]
        if row["type"] == HEARD:
            line.claims.note(case.op.name, pair[1], case.id, [tuple(each) for each in row["claims"]])
            line.stream.note(row)
        elif row["type"] == "result":
            place = seen[pair] = seen.get(pair, -1) + 1
            related = RELATED if row["check"].startswith("relation.") else 0
            check = Check(row["check"], row["status"], row["kind"], error_over_bound=_ratio(row))
            line.copy(case, apis[case.op.name, pair[1]], check, row, place + related)
    for case_id, api in sorted(earlier.settled):
        line.stream.note({"type": SETTLED, "case": case_id, "api": api})
    line.done += len(earlier.settled)
    line.settled += len(earlier.settled)
    earlier.path.unlink()
    return earlier.settled


def _ratio(row: Row) -> float | None:
    value = unjson(row).get("error_over_bound")
    return None if value is None else float(value)
