"""Who agrees with whom: all APIs on one question, grouped by what they did. Pure."""

from dataclasses import dataclass, field

from conformance.report.facts import BESIDES, FAILING, Facts, show
from conformance.stream import Row

ORDER = ("pass", *FAILING, "observed", "unsupported", "notrun", "harness")


_CONVENTIONS = {
    "below": "; at the kink it takes the slope below",
    "above": "; at the kink it takes the slope above",
    "middle": "; at the kink it takes the middle of the slopes",
    "mixed": "; at the kinks it takes now one slope, now another",
}


@dataclass
class Camp:
    """APIs that gave the same answer to the same question."""

    status: str
    said: str
    apis: list[str] = field(default_factory=list)


def camps(rows: list[Row]) -> list[Camp]:
    """Group the answers to one question: passing together, failing by their bits, refusals by exception."""
    found: dict[tuple[str, ...], Camp] = {}
    for row in rows:
        key = _key(row)
        camp = found.setdefault(key, Camp(row["status"], _said(row)))
        camp.apis.append(row["api"])
    return sorted(found.values(), key=lambda camp: (ORDER.index(camp.status), -len(camp.apis)))


@dataclass
class Answers:
    """What every API did on the checks of a case, those together that were answered alike."""

    checks: list[str]
    camps: list[Camp]
    suspect_oracle: bool
    apis: dict[str, str] = field(default_factory=dict)
    """Every API that answered, with its status."""


def answers(failing: list[Row], facts: Facts) -> list[Answers]:
    """Say for each failing check who agrees with whom, once for checks with the same camps."""
    found: list[Answers] = []
    for row in failing:
        rows = facts.answers(row)
        one = Answers(
            [str(row["check"])], camps(rows), suspect_oracle(rows), {r["api"]: r["status"] for r in rows}
        )
        same = next((each for each in found if _alike(each, one)), None)
        if same:
            same.checks += one.checks
        else:
            found.append(one)
    return found


def _alike(one: Answers, other: Answers) -> bool:
    return (one.camps, one.suspect_oracle) == (other.camps, other.suspect_oracle)


def suspect_oracle(rows: list[Row]) -> bool:
    """Whether two frameworks or more agree with each other, in bits or in print, and all differ from us."""
    numeric = [row for row in rows if row.get("digest") and row["status"] in ("pass", "fail")]
    answers = {row["digest"] for row in numeric}
    worst = {(str(row.get("worst")), show(row.get("got"))) for row in numeric}
    return (
        len({row["backend"] for row in numeric}) > 1
        and all(row["status"] == "fail" and row.get("kind") not in BESIDES for row in numeric)
        and (len(answers) == 1 or (len(worst) == 1 and all(row.get("got") is not None for row in numeric)))
    )


def _key(row: Row) -> tuple[str, ...]:
    status, error = row["status"], row.get("error") or {}
    if status == "unsupported":
        return status, str(row.get("declared"))
    if status == "pass" and row["check"] != "raises":
        return status, row.get("convention", "")
    if row.get("digest"):
        return status, row.get("kind", ""), row["digest"]
    if not error:
        return status, row.get("kind", ""), str(row.get("message"))
    return (
        status,
        row.get("kind", ""),
        error.get("exception", ""),
        error.get("phase", error.get("signal", "")),
    )


def _said(row: Row) -> str:
    status = row["status"]
    if status == "unsupported":
        return f"its documentation excludes this: {row.get('declared') or row.get('message', '')}"
    if status == "pass":
        kink = _CONVENTIONS.get(row.get("convention") or "", "")
        return str(row.get("message") or "conforms to the definition") + kink
    lines = str(row.get("message", "")).splitlines() or [""]
    return lines[0][:240]
