"""`conformance ledger update`: propose entries for what a run found unexpected, each with `reason: TODO`.

A proposal matches exactly the failing results that it was made from: its case patterns are widened only
as far as no conforming result is caught, for that would be stale at once.
"""

import datetime as dt
import math
import re
from collections import Counter, defaultdict
from typing import Any

import yaml

from conformance.backends import CPU, EAGER, Variant
from conformance.globs import glob
from conformance.ledger import FAILING
from conformance.load import Operator

Row = dict[str, Any]
Key = tuple[str, ...]


def proposals(rows: list[Row], suite: list[Operator]) -> str:
    """Return the YAML text of proposed entries, by framework, for unexpected failures of a stream."""
    ran = {row["backend"]: row for row in rows if row["type"] == "backend"}
    ours = {op.name for op in suite}
    results = [row for row in rows if row["type"] == "result" and row["op"] in ours]
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in results:
        if row["outcome"] == "regression" and row["status"] in FAILING:
            groups[row["backend"], row["op"], row["kind"] or row["status"], mechanism(row)].append(row)
    by_file: dict[str, list[Row]] = defaultdict(list)
    for (backend, op, _, _), failing in sorted(groups.items()):
        by_file[f"{backend}/{op}"] += entries(failing, results, ran[backend])
    for row in rows:
        if row["type"] == "claim" and row["outcome"] == "regression":
            by_file[f"{row['backend']}/{row['op']}"].append(_claim_entry(row, ran[row["backend"]]))
    return "".join(
        f"# reports/known/{file}.yaml\n"
        + yaml.safe_dump({"entries": _distinct(found)}, sort_keys=False, allow_unicode=True, width=110)
        for file, found in sorted(by_file.items())
    )


def _distinct(found: list[Row]) -> list[Row]:
    """Number the ids that entries of one mechanism share: the ledger wants each once."""
    times: Counter[str] = Counter()
    for entry in found:
        times[entry["id"]] += 1
        if times[entry["id"]] > 1:
            entry["id"] += f"-{times[entry['id']]}"
    return found


def mechanism(row: Row) -> str:
    """Name what failures with one cause share: the exception and its words, or the case's name."""
    error = row.get("error")
    if error and "exception" in error:
        words = re.sub(r"[^A-Za-z ]+", " ", error["message"])[:40]
        return f"{error['exception']} {' '.join(words.split())}"
    if error:
        return str(error.get("signal", ""))
    return str(row["case"].partition("[")[0])


def entries(failing: list[Row], results: list[Row], backend: Row) -> list[Row]:
    """Make the fewest entries that match `failing` and nothing else among `results` of a backend."""
    wanted: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in failing:
        wanted[row["api"], row["check"]].add(_short(row))
    by_cases: dict[frozenset[str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for (api, check), found_in in wanted.items():
        by_cases[frozenset(found_in)][check].add(api)
    found = []
    for cases, checks in by_cases.items():
        by_apis: dict[frozenset[str], list[str]] = defaultdict(list)
        for check, claimed in checks.items():
            by_apis[frozenset(claimed)].append(check)
        for apis, names in by_apis.items():
            mine = [r for r in failing if r["api"] in apis and r["check"] in names and _short(r) in cases]
            others = [
                r
                for r in results
                if r["op"] == mine[0]["op"]
                and r["api"] in apis
                and r["check"] in names
                and _short(r) not in cases
            ]
            found.append(_entry(mine, patterns(set(cases), {_short(r) for r in others}), backend))
    return found


def patterns(cases: set[str], others: set[str]) -> list[str]:
    """Cover `cases` with globs that match none of `others`, the widest first."""
    chosen: list[str] = []
    left = set(cases)
    while left:
        case = min(left)
        allowed = [c for c in (*_candidates(case), case) if not any(glob(c, other) for other in others)]
        widest = max(allowed, key=lambda candidate: sum(glob(candidate, each) for each in cases))
        chosen.append(widest)
        left = {each for each in left if not glob(widest, each)}
    return sorted(chosen)


def _candidates(case: str) -> list[str]:
    """Wider and wider readings of a case id, from the whole name to one parameter left open."""
    name, _, inside = case.partition("[")
    parts = inside.rstrip("]").split(",")
    ends = [f"{name}[{','.join(parts[:n])},*" for n in range(1, len(parts))]
    starts = [f"{name}[*{','.join(parts[n:])}]" for n in range(1, len(parts))]
    single = [f"{name}[*{part},*" for part in parts[1:-1]]
    return [f"{name}[*", *ends, *starts, *single]


def _entry(rows: list[Row], cases: list[str], backend: Row) -> Row:
    first = rows[0]
    entry: Row = {
        "id": f"{first['backend']}-{first['op']}-{_slug(mechanism(first))}".strip("-"),
        "op": first["op"],
        "api": sorted({r["api"] for r in rows}),
        "check": sorted({r["check"] for r in rows}),
        "cases": cases,
        "kind": first["kind"] or first["status"],
    }
    if first["kind"] in ("value", "grad_value"):
        entry["band"] = band(rows)
    return {**entry, **_footer(backend)}


def band(rows: list[Row]) -> dict[str, list[float]]:
    """Return the range of error/bound, by dtype, rounded outward to two digits."""
    ratios: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        dtype = row["case"].partition("[")[2].partition(",")[0].rstrip("]")
        ratios[dtype].append(float(row["error_over_bound"]))
    return {
        dtype: [_round(min(found), math.floor), _round(max(found), math.ceil)]
        for dtype, found in sorted(ratios.items())
    }


def _claim_entry(row: Row, backend: Row) -> Row:
    return {
        "id": f"{row['backend']}-{row['op']}-claim-{row['claim']}-{row['api'].rpartition('.')[2].lower()}",
        "op": row["op"],
        "api": [row["api"]],
        "check": [f"claim.{row['claim']}"],
        "kind": "refuted",
        **_footer(backend),
    }


def _slug(text: str) -> str:
    return re.sub("[^a-z0-9]+", "-", text.lower())[:48]


def _footer(backend: Row) -> Row:
    variant = Variant.of(backend)
    return {
        **({} if variant.mode == EAGER else {"modes": [variant.mode]}),
        **({} if variant.device == CPU else {"devices": [variant.kind]}),
        "versions": f"=={backend['version'].partition('+')[0]}",
        "reason": "TODO",
        "upstream": "unreported",
        "since": dt.datetime.now(tz=dt.UTC).date().isoformat(),
    }


def _round(value: float, direction: Any) -> float:
    """Round to two digits, outward."""
    if value == 0 or math.isinf(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{direction(value / unit) * unit:.6g}")


def _short(row: Row) -> str:
    return str(row["case"].partition("/")[2])
