"""A run's wall over a bare loop that makes the same calls: for each backend, and for all of them together."""

from pathlib import Path

from conformance.adapters import BACKENDS
from tests.bench.figures import Figure, ratio
from tests.bench.jobs import Job, Pair, Ran, perform
from tests.bench.loop import Looped, bare_loop, settled

RUN, WHOLE = 1.3, 1.5
SHORT, AGAIN = 30.0, 3
"""A bare loop of fewer seconds, and its run, are repeated so often: their noise is as large as our part."""


def runs(folder: Path, ops: tuple[str, ...], cores: int) -> list[Figure]:
    """Measure every backend, then the whole command."""
    kept = str(folder / "kept" / "oracle")
    figures, loops, struck = list[Figure](), dict[str, Looped](), frozenset[Pair]()
    for backend in BACKENDS:
        looped, out, more = _backend(backend, folder / backend, ops, kept)
        loops[backend] = looped
        struck |= more
        figures += out
    return figures + _whole(folder / "all", ops, kept, loops, struck, cores)


def _backend(
    backend: str, folder: Path, ops: tuple[str, ...], kept: str
) -> tuple[Looped, list[Figure], frozenset[Pair]]:
    """Record what a run asks, which fills the oracle's cache; then loop, run warm, and run cold."""
    requests = folder / "requests"

    def job(mode: str, struck: frozenset[Pair], cache: str | None = kept) -> Ran:
        pairs = tuple(sorted(struck))
        return perform(Job(mode, str(folder), (backend,), ops, None, pairs, cache, str(requests)))

    job("record", frozenset())
    looped, _, struck = settled(
        lambda struck: bare_loop(backend, requests, struck, folder), lambda struck: job("run", struck)
    )
    # The run in there has left what it wrote: a run of every night finds that of the night before.
    warm = job("run", struck)
    loops, runs = [looped], [warm]
    for _ in range(AGAIN if looped.seconds < SHORT else 0):
        loops.append(bare_loop(backend, requests, struck, folder))
        runs.append(job("run", struck))
    # Of each the least: what else a machine does meanwhile makes either longer, never shorter.
    looped = min(loops, key=lambda each: each.seconds)
    warm, cold = min(runs, key=lambda each: each.seconds), job("run", struck, None)
    return looped, backend_figures(backend, looped, warm, cold, len(struck)), struck


def backend_figures(backend: str, looped: Looped, warm: Ran, cold: Ran, struck: int) -> list[Figure]:
    """Say what was measured of a backend."""
    section = f"Run of {backend} over its bare loop"
    out = f"{looped.calls} requests; left out {struck} cases that kill or hang a process"
    restarts = f"{warm.restarts} restarts of a worker are in it" if warm.restarts else ""
    return [
        Figure(section, "bare loop", looped.seconds, "s", note=out),
        Figure(section, "import of the framework", looped.imported, "s"),
        Figure(section, "run, what the last one kept at hand", warm.seconds, "s", note=restarts),
        Figure(section, "run, without any cache", cold.seconds, "s"),
        Figure(section, "ratio, warm", ratio(warm.seconds, looped.seconds), "", RUN),
        Figure(section, "ratio, cold", ratio(cold.seconds, looped.seconds), ""),
        Figure(section, "memory of the parent, at most", warm.peak / 2**20, "MiB"),
    ]


def floor(loops: list[Looped], cores: int) -> float:
    """Return the least wall of all backends' calls: that of the longest, or a share of the cores."""
    longest = max(each.imported + each.seconds for each in loops)
    return max(longest, sum(each.seconds for each in loops) / cores)


def _whole(
    folder: Path,
    ops: tuple[str, ...],
    kept: str,
    loops: dict[str, Looped],
    struck: frozenset[Pair],
    cores: int,
) -> list[Figure]:
    """Run the command with all backends, warm and cold."""
    least = floor(list(loops.values()), cores)
    section = f"conformance run --no-site, all backends, {cores} cores"
    figures = [Figure(section, "least: bare loops and imports", least, "s")]
    for name, cache, target in (("warm", kept, WHOLE), ("cold", None, None)):
        ran = perform(Job("command", str(folder), tuple(BACKENDS), ops, None, tuple(sorted(struck)), cache))
        deaths = f"{len(ran.deaths)} deaths, {ran.restarts} restarts in it" if ran.restarts else ""
        figures.append(Figure(section, f"wall, {name}", ran.whole, "s", note=deaths))
        figures.append(Figure(section, f"ratio, {name}", ratio(ran.whole, least), "", target))
        figures.append(Figure(section, f"memory of the parent, {name}", ran.peak / 2**20, "MiB"))
    return figures
