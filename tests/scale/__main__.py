"""`python -m tests.scale [--largest N]`: measure each stage at 1000, 10 000, … cases; print a table."""

import argparse
import math
import os
import platform
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from tests.bench.figures import Figure, as_json, table
from tests.bench.jobs import ROOT, python
from tests.scale.child import Job, Took
from tests.scale.suites import BACKENDS, write

OUT = ROOT / "reports" / "scale.json"
SHARD = (1, 64)
NOT_LARGER = 100_000
"""Cases up to which two whole runs are compared: all their rows are in memory, 3 kB each."""
Results = dict[tuple[str, int], Took]


def perform(job: Job) -> Took:
    """Have a process of its own do one stage."""
    folder = Path(job.out)
    folder.mkdir(parents=True, exist_ok=True)
    asked, answered = folder / "job.json", folder / "took.json"
    asked.write_bytes(msgspec.json.encode(job))
    kept = str(folder.parent / "kept")
    python("-m", "tests.scale.child", str(asked), str(answered), cwd=folder, CONFORMANCE_CACHE=kept)
    return msgspec.json.decode(answered.read_bytes(), type=Took)


def measure(cases: int, folder: Path) -> dict[str, Took]:
    """Go through all stages with a suite of so many cases."""
    ops = len(write(folder / "cases", cases))
    stream = str(folder / "run" / "run.jsonl")

    def stage(name: str, title: str, shard: tuple[int, int] = (1, 1), streams: tuple[str, ...] = ()) -> Took:
        print(f"{cases:,} cases: {title} …", file=sys.stderr, flush=True)
        out = str(folder / title.replace(" ", "-").replace("/", "-"))
        return perform(Job(name, str(folder / "cases"), ops, out, BACKENDS, shard, streams))

    of = "{}/{}".format(*SHARD)
    found = {
        "load, the first time": stage("load", "first"),
        "load": stage("load", "load"),
        f"load {of}": stage("load", f"load {of}", SHARD),
        f"run {of}": stage("run", f"run {of}", SHARD),
        "run": stage("run", "run"),
        "merge": stage("merge", "merge", streams=(stream,)),
    }
    if cases <= NOT_LARGER:
        found["fold"] = stage("fold", "fold", streams=(stream,))
        found["compare"] = stage("compare", "compare", streams=(stream, stream))
    return found


def figures(results: Results) -> list[Figure]:
    """Say, stage by stage, what each size took, and how it grew from the size before."""
    found = []
    for stage in dict.fromkeys(stage for stage, _ in results):
        before: tuple[int, Took] | None = None
        for cases in sorted(cases for each, cases in results if each == stage):
            took, section = results[stage, cases], f"Growth with cases: {stage}"
            note = f"{took.calls:,} calls, {took.size / 1e6:,.0f} MB written" if took.size else ""
            found.append(Figure(section, f"{cases:,}: processor", took.seconds, "s", note=note))
            found.append(Figure(section, f"{cases:,}: memory at most", took.peak / 2**20, "MiB"))
            if before is not None:
                found += growth(section, before, (cases, took))
            before = cases, took
    return found


def growth(section: str, before: tuple[int, Took], after: tuple[int, Took]) -> list[Figure]:
    """Compare two sizes: the power of the number of cases that time grows with, and bytes for each more."""
    (few, less), (many, more) = before, after
    power = math.log(more.seconds / less.seconds) / math.log(many / few)
    each = (more.peak - less.peak) / (many - few)
    name = f"{few:,} to {many:,}"
    return [
        Figure(section, f"{name}: time grows with the power", power, ""),
        Figure(
            section, f"{name}: processor for each", 1e6 * (more.seconds - less.seconds) / (many - few), "µs"
        ),
        Figure(section, f"{name}: memory for each", each, "bytes"),
    ]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="tests.scale", description=__doc__)
    parser.add_argument("--largest", type=int, default=100_000, help="cases of the largest suite")
    parser.add_argument("-o", "--out", type=Path, default=OUT, help="where the JSON goes")
    given = parser.parse_args()
    results: Results = {}
    cases = 1000
    while cases <= given.largest:
        with TemporaryDirectory(prefix="scale-") as folder:
            results |= {(stage, cases): took for stage, took in measure(cases, Path(folder)).items()}
        cases *= 10
    about: dict[str, object] = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    said = figures(results)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_bytes(as_json(said, about))
    print(table(said))


if __name__ == "__main__":
    main()
