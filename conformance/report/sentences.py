"""The verdict on one case of one API, in one sentence. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from conformance.report.facts import KINDS, multiple, number, show
from conformance.stream import Row

_STATUSES = ("crash", "timeout", "error")
_QUANTITIES = ("output", "grad", "grad2", "relation", "repeat")


class Code(str):
    """A part of a sentence that is a name in a program."""

    __slots__ = ()


Part = str | Code


@dataclass(frozen=True)
class Sentence:
    """A sentence in parts, so that each medium can mark the names in it as its own markup does."""

    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The sentence as plain text."""
        return "".join(self.parts)

    @property
    def marked(self) -> list[tuple[str, bool]]:
        """The parts, each with whether it is a name in a program."""
        return [(part, isinstance(part, Code)) for part in self.parts]


def lead(rows: list[Row]) -> Row:
    """Choose the failing check that a page speaks of first: how bad, then the output before gradients."""

    def place(row: Row) -> tuple[int, int]:
        status, what = row["status"], str(row["check"]).partition(".")[0]
        return (
            _STATUSES.index(status) if status in _STATUSES else len(_STATUSES),
            _QUANTITIES.index(what) if what in _QUANTITIES else 0,
        )

    return min(rows, key=place)


def verdict(rows: list[Row]) -> Sentence:
    """Say what an API does wrong on a case, from all its failing checks there."""
    first = lead(rows)
    does = _does(first, rows)
    rest = [row for row in rows if row is not first and not _told(row, first)]
    return Sentence((Code(first["api"]), " ", *does, *_also(rest)))


def quantity(check: str, *, article: str = "the ") -> list[Part]:
    """Name what a check compares."""
    what, _, name = check.partition(".")
    if what == "grad" and name:
        return [f"{article}gradient by ", Code(name)]
    if what == "grad2" and name:
        return [f"{article}second derivative by ", Code(name)]
    if what == "relation" and name:
        return [f"{article}relation ", Code(name)]
    if what == "repeat":
        return [f"{article}same call made again"]
    return [f"{article}output"]


def _told(row: Row, first: Row) -> bool:
    """Whether the sentence about the first check covers this one: a refused call has no gradients either."""
    whole = first["status"] in _STATUSES or _refuses_all(first)
    missing = row["kind"] == first["kind"] == "grad_missing" and not (row["error"] or first["error"])
    return missing or (whole and (row["status"], row["kind"]) == (first["status"], first["kind"]))


def _refuses_all(row: Row) -> bool:
    return bool(row["kind"] == "raises" and row["check"] != "raises")


def _also(rest: list[Row]) -> list[Part]:
    if not rest:
        return []
    if len(rest) == 1:
        return ["; ", *quantity(str(rest[0]["check"])), " fails too"]
    return [f"; {len(rest)} other checks fail too"]


def _does(row: Row, rows: list[Row]) -> list[Part]:
    """Return the predicate of the sentence."""
    kind, check = row["kind"] or row["status"], str(row["check"])
    if row["outcome"] == "stale":
        entry = Code(row["ledger"] or "an entry")
        return ["conforms in ", *quantity(check), ", although the ledger has ", entry]
    if kind in _UNCOMPARED:
        return _UNCOMPARED[kind](row)
    if kind == "grad_missing":
        return _missing(row, rows)
    if kind in ("value", "grad_value"):
        return ["computes a wrong ", *quantity(check, article=""), _size(row)]
    if kind == "nonfinite":
        return _misplaced(row)
    if kind in ("dtype", "shape"):
        said = _line(row)
        return ["returns ", *quantity(check), f" in the wrong {kind}{': ' if said else ''}{said}"]
    if kind == "grad_extra":
        return ["gives ", *quantity(check, article="a "), " where none is due"]
    return [f"fails: {KINDS.get(kind, kind)} in ", *quantity(check)]


def _crash(row: Row) -> list[Part]:
    signal = (row["error"] or {}).get("signal")
    return ["ends the process (", Code(signal), ")"] if signal else ["ends the process"]


def _timeout(row: Row) -> list[Part]:
    said = _line(row)
    return [f"does not return{': ' if said else ''}{said}"]


def _internal(row: Row) -> list[Part]:
    return ["fails with an internal error", *_exception(row)]


def _refusal(row: Row) -> list[Part]:
    if row["check"] == "raises":
        return ["raises, but not what and where its documentation promises", *_exception(row)]
    return ["refuses this call", *_exception(row)]


def _relation(row: Row) -> list[Part]:
    said = _line(row).partition(";")[0]
    return ["breaks ", *quantity(str(row["check"])), f": {said}" if said else ""]


def _varies(row: Row) -> list[Part]:
    return [f"does not give the same each time: {_line(row)}"]


_UNCOMPARED = {
    "harness": lambda row: [f"was not judged, by a fault of the harness: {_line(row)}"],
    "crash": _crash,
    "timeout": _timeout,
    "error": _internal,
    "raises": _refusal,
    "no_raise": lambda _: ["returns a value where its documentation promises an error"],
    "mutated_input": lambda row: [_line(row).replace("changed its input", "changes its input", 1)],
    "mutated_process": lambda row: [_line(row).replace("changed its process", "changes its process", 1)],
    "relation": _relation,
    "nondeterministic": _varies,
}


def _exception(row: Row) -> list[Part]:
    name = (row["error"] or {}).get("exception")
    return [": ", Code(name)] if name else []


def _missing(row: Row, rows: Iterable[Row]) -> list[Part]:
    if row["error"]:
        return ["refuses ", *quantity(str(row["check"])), *_exception(row)]
    names = [
        str(r["check"]).partition(".")[2] for r in rows if r["kind"] == "grad_missing" and not r["error"]
    ]
    listed: list[Part] = []
    for place, name in enumerate(names):
        listed += [" and " if place and place == len(names) - 1 else ", " if place else "", Code(name)]
    has = "the definition has one" if len(names) == 1 else "the definition has them"
    return ["gives no gradient by ", *listed, f", where {has}"]


def _misplaced(row: Row) -> list[Part]:
    got, exact = _nonfinite(row["got"]), row["expected"]
    wanted = f"the exact value is {show(exact)}" if exact is not None else "it should not"
    count = _count(row)
    what = got or show(row["got"])
    return [
        f"gives {what} in ",
        *quantity(str(row["check"])),
        f" where {wanted}",
        f", {count}" if count else "",
    ]


def _nonfinite(value: object) -> str:
    return {"NaN": "NaN", "Infinity": "∞", "-Infinity": "−∞"}.get(str(value), "")


def _count(row: Row) -> str:
    compared = row["compared"] or 0
    if compared <= 1 or not row["mismatched"]:
        return ""
    return f"{row['mismatched']:,} of {compared:,} elements"


def _size(row: Row) -> str:
    ratio, count = number(row["error_over_bound"]), _count(row)
    worst = f"{'worst ' if count else ''}{multiple(ratio)} the bound" if ratio is not None else ""
    found = [each for each in (count, worst) if each]
    return f": {', '.join(found)}" if found else ""


def _line(row: Row) -> str:
    lines = str(row["message"] or "").strip().splitlines()
    return lines[0][:200] if lines else ""
