"""`python -m tests.bench [--quick] [--only PART …]`: measure, print the table, write reports/bench.json."""

import argparse
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from conformance.load import load_suite
from tests.bench.entrance import entrance
from tests.bench.figures import Figure, as_json, table
from tests.bench.growth import growth
from tests.bench.jobs import ROOT
from tests.bench.oracle import comparison, oracle_and_cache
from tests.bench.runs import runs
from tests.bench.startup import start_up

OUT = ROOT / "reports" / "bench.json"


class Scale(msgspec.Struct, frozen=True):
    """How much is measured: everything, or so little that it takes a minute."""

    ops: tuple[str, ...] = ()
    cases: int = 100
    elements: int = 10_000_000
    items: int = 400
    repeats: int = 5


QUICK = Scale(("l1_loss", "sigmoid"), 10, 100_000, 200, 3)


def parts(scale: Scale, folder: Path, cores: int) -> dict[str, Callable[[], list[Figure]]]:
    """Return what there is to measure, by name, the quickest first."""
    return {
        "startup": lambda: start_up(folder, scale.repeats),
        "compare": lambda: comparison(scale.repeats),
        "pytest": lambda: entrance(folder / "pytest", scale.items, scale.repeats),
        "growth": lambda: growth(folder / "growth", scale.cases, scale.elements),
        "oracle": lambda: oracle_and_cache(load_suite(None, scale.ops), folder / "runs" / "kept" / "oracle"),
        # Behind the oracle, whose answers are in the folder then.
        "runs": lambda: runs(folder / "runs", scale.ops, cores),
    }


def main() -> None:
    """Measure."""
    names = list(parts(Scale(), Path(), 1))
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few operators and small sizes: a minute")
    parser.add_argument("--only", action="append", choices=names, help="this part (repeatable)")
    parser.add_argument("-o", "--out", type=Path, default=OUT, help="where the JSON goes")
    given = parser.parse_args()
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    figures: list[Figure] = []
    with TemporaryDirectory(prefix="bench-") as folder:
        for name, measure in parts(QUICK if given.quick else Scale(), Path(folder), cores).items():
            if not given.only or name in given.only:
                print(f"{name} …", file=sys.stderr, flush=True)
                figures += measure()
    about: dict[str, object] = {
        "quick": given.quick,
        "cores": cores,
        "load before": load,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_bytes(as_json(figures, about))
    print(table(figures))
    if load > 0.5:
        print(f"the machine had other work when this began: load {load:.1f} on {cores} cores")


if __name__ == "__main__":
    main()
