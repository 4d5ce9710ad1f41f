"""How long the commands take that need no framework, and whether one of them imports one all the same."""

import re
import resource
import sys
import time
from pathlib import Path

from conformance.adapters import BACKENDS
from tests.bench.figures import Figure
from tests.bench.jobs import python

TARGETS = {"list": 0.3, "check": 3.0, "--help": None}
HEAVY = (*BACKENDS, "numpy")
_IMPORT = re.compile(r"^import time:.*\|\s*([\w.]+)$", re.MULTILINE)


def imported(said: str) -> set[str]:
    """Return the top-level packages that `-X importtime` names, whichever process of a command said so."""
    return {name.partition(".")[0] for name in _IMPORT.findall(said)}


def start_up(folder: Path, repeats: int) -> list[Figure]:
    """Time each command, the best of some; one run before fills what it keeps on disk."""
    figures = []
    command = ["-m", "conformance"]
    for name, target in TARGETS.items():
        first, _ = _seconds([*command, name], folder)
        times = [_seconds([*command, name], folder) for _ in range(repeats)]
        best, busy = (min(each) for each in zip(*times, strict=True))
        found = imported(python("-X", "importtime", *command, name, cwd=folder, **_kept(folder)).stderr)
        heavy = [each for each in HEAVY if each in found]
        imports = ", ".join(heavy) or "no framework and no NumPy"
        note = f"{busy:.2f} s of processor; the first time {first:.2f} s; imports {imports}"
        figures.append(Figure("Start-up", f"conformance {name}", best, "s", target, note))
        frameworks = len(found & set(BACKENDS))
        figures.append(Figure("Start-up", f"conformance {name}: frameworks imported", frameworks, "", 0))
    bare = min(_seconds(["-c", "pass"], folder)[0] for _ in range(repeats))
    return [*figures, Figure("Start-up", f"{Path(sys.executable).name} itself", bare, "s")]


def _kept(folder: Path) -> dict[str, str]:
    return {"CONFORMANCE_CACHE": str(folder / "kept")}


def _seconds(arguments: list[str], folder: Path) -> tuple[float, float]:
    """Return the seconds that a command took, and those of all its processes on a processor."""
    began, before = time.perf_counter(), _spent()
    python(*arguments, cwd=folder, **_kept(folder))
    return time.perf_counter() - began, _spent() - before


def _spent() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime
