"""JUnit XML of a run: one test a case of an API, grouped by backend and operator.

A test fails for what is unexpected, so the file is green exactly where the run exits with 0.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from conformance.publish.unexpected import MATCHES_NOTHING, command, incomplete, said, what
from conformance.report.facts import Facts, shorten, unexpected
from conformance.stream import Row

# XML 1.0 has no way to write these, escaped or not; surrogates cannot even be encoded.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BROKEN = ("crash", "timeout", "harness", "notrun")


@dataclass(frozen=True)
class _Case:
    """One `testcase` and what became of it: `failure`, `error`, `skipped` or nothing."""

    classname: str
    name: str
    outcome: str = ""
    message: str = ""
    kind: str = ""
    text: str = ""


def junit(facts: Facts) -> bytes:
    """Return the run as JUnit XML. No times: equal runs give equal files."""
    suites: dict[tuple[str, str], list[_Case]] = defaultdict(list)
    calls: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in facts.results:
        calls[row["case"], row["api"]].append(row)
    for rows in calls.values():
        suites[rows[0]["backend"], rows[0]["op"]].append(_call(rows, facts.title(rows[0]["backend"])))
    for row in facts.claims:
        suites[row["backend"], row["op"]].append(_claim(row, facts.title(row["backend"])))
    if broken := incomplete(facts):
        suites["run", "complete"] = [
            _Case("run", "complete", "error", why, "incomplete", why) for why in broken
        ]
    for row in filter(unexpected, facts.ledger):
        name = str(row["ledger"])
        suites[row["backend"], "ledger"].append(
            _Case("ledger", name, "failure", MATCHES_NOTHING, "stale", f"{name}: {row['message']}")
        )
    root = ET.Element("testsuites", {"name": "op-conformance"})
    about = {row["backend"]: row for row in facts.backends}
    for place, ((backend, op), cases) in enumerate(sorted(suites.items())):
        root.append(
            _suite(place, facts.title(backend), op, cases, _properties(facts, about.get(backend, {})))
        )
    every = [case for cases in suites.values() for case in cases]
    root.attrib.update(_counts(every, ("tests", "failures", "errors")))
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _call(rows: list[Row], backend: str) -> _Case:
    """Make one test of all checks of a call: the unexpected decides, then the known, then the unsupported."""
    first = rows[0]
    classname, name = f"{first['op']}.{first['api']}", str(first["case"])
    if wrong := [row for row in rows if unexpected(row)]:
        lead = next((row for row in wrong if row["status"] in _BROKEN), wrong[0])
        lines = [f"{row['check']}: {what(row)}: {shorten(said(row))}" for row in wrong]
        text = "\n".join([*lines, command(first, backend)])
        outcome = "error" if lead["status"] in _BROKEN else "failure"
        return _Case(classname, name, outcome, f"{lead['check']}: {what(lead)}", what(lead), text)
    if known := dict.fromkeys(str(row["ledger"]) for row in rows if row["outcome"] == "known"):
        return _Case(classname, name, "skipped", f"known: {', '.join(known)}")
    if all(row["status"] == "unsupported" for row in rows):
        return _Case(classname, name, "skipped", f"unsupported: {shorten(first['message'], 300)}")
    return _Case(classname, name)


def _claim(row: Row, backend: str) -> _Case:
    classname, name = f"{row['op']}.{row['api']}", f"claim.{row['claim']}"
    text = f"{row['says']}\n{row['verdict']}: {shorten(said(row))}\n{command(row, backend)}"
    if unexpected(row):
        return _Case(classname, name, "failure", what(row), str(row["verdict"]), text)
    if row["outcome"] == "known":
        return _Case(classname, name, "skipped", f"known: {row['ledger']}")
    if row["verdict"] != "confirmed":
        return _Case(classname, name, "skipped", f"{row['verdict']}: {shorten(said(row), 300)}")
    return _Case(classname, name)


def _suite(place: int, backend: str, op: str, cases: list[_Case], properties: dict[str, str]) -> ET.Element:
    suite = ET.Element("testsuite", _clean({"name": f"{backend} {op}", "id": place, "package": backend}))
    suite.attrib.update(_counts(cases, ("tests", "failures", "errors", "skipped")))
    listed = ET.SubElement(suite, "properties")
    for name, value in properties.items():
        ET.SubElement(listed, "property", _clean({"name": name, "value": value}))
    for case in cases:
        test = ET.SubElement(suite, "testcase", _clean({"classname": case.classname, "name": case.name}))
        if case.outcome:
            about = {"message": case.message} | ({"type": case.kind} if case.kind else {})
            ET.SubElement(test, case.outcome, _clean(about)).text = _legal(case.text) or None
    return suite


def _properties(facts: Facts, backend: Row) -> dict[str, str]:
    suite = facts.run.get("suite") or {}
    found = {"suite.version": suite.get("version"), "suite.commit": suite.get("commit")}
    found |= {name: backend.get(name) for name in ("framework", "version", "device", "mode", "numpy")}
    return {name: str(value) for name, value in found.items() if value}


def _counts(cases: Iterable[_Case], names: tuple[str, ...]) -> dict[str, str]:
    outcomes = [case.outcome for case in cases]
    of = {"tests": len(outcomes)} | {
        name: outcomes.count(outcome)
        for name, outcome in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    return {name: str(of[name]) for name in names}


def _clean(attributes: dict[str, Any]) -> dict[str, str]:
    return {name: _legal(str(value)) for name, value in attributes.items()}


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
