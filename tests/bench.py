"""`make bench`: our wall time over a bare loop that makes the same framework calls, in one session.

The bare loop runs in one process per framework: it makes the tensors, calls the API forward and
backward and reads the results back, with nothing of ours in between. Both sides leave out the import
of the framework, and the cases that kill the process. Ratios, because machines differ.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from conformance.adapters import BACKENDS
from conformance.adapters.base import Adapter
from conformance.judge import declared_unsupported
from conformance.ledger import load_ledger
from conformance.load import Api, Case, Operator, inexpressible, load_suite
from conformance.pool import Pool, backend_spec
from conformance.run import Selection, expectation, request_for, run
from conformance.stream import read_stream
from conformance.types import Request
from conformance.worker import load_adapter

OUT = Path("reports/bench.json")


def bare_loop(backend: str, requests: Path) -> float:
    """Make every call of `requests`, and nothing else; return the seconds it took after the import."""
    adapter = load_adapter(BACKENDS[backend])
    adapter.start()
    decoder = msgspec.msgpack.Decoder(list[Request])
    calls = decoder.decode(requests.read_bytes())
    began = time.perf_counter()
    for call in calls:
        try:
            _call(adapter, call)
        except Exception:  # noqa: BLE001, S112 - a refusal is a call too
            continue
    return time.perf_counter() - began


def _call(adapter: Adapter, request: Request) -> None:
    tensors = {n: adapter.tensor(a, grad=n in request.gradients) for n, a in request.tensors.items()}

    def forward(given: dict[str, Any]) -> Any:
        return adapter.invoke(request.binding, given, request.params)

    output = forward(tensors)
    adapter.read(output)
    if request.cotangent is not None and request.gradients:
        for gradient in adapter.pull_back(forward, output, tensors, request.gradients, request.cotangent):
            if gradient is not None:
                adapter.read(gradient)


def survivors(suite: list[Operator], results: Path) -> list[Operator]:
    """Drop the cases that killed a process in the last run: a bare loop would not come back from them."""
    deadly = {row["case"] for row in read_stream(results) if row.get("status") in ("crash", "timeout")}
    for op in suite:
        op.cases[:] = [case for case in op.cases if case.id not in deadly]
    return suite


def start_up(backends: tuple[str, ...]) -> float:
    """Seconds until workers of these backends are ready."""
    began = time.perf_counter()
    with Pool([backend_spec(name) for name in backends]) as pool:
        pool.environments()
        return time.perf_counter() - began


def oracle_seconds(suite: list[Operator]) -> tuple[float, int]:
    """Seconds that the oracle takes for every case once, and how many cases that is."""
    began, count = time.perf_counter(), 0
    for op in suite:
        for case in op.cases:
            expectation(case, op.apis[0])
            case.__dict__.pop("tensors", None)
            count += 1
    return time.perf_counter() - began, count


def run_seconds(suite: list[Operator], backends: tuple[str, ...], out: Path) -> float:
    """Wall time of a run of these backends."""
    began = time.perf_counter()
    run(suite, Selection(tuple(backend_spec(name) for name in backends)), load_ledger(), out)
    return time.perf_counter() - began


def measure(suite: list[Operator]) -> dict[str, dict[str, float]]:
    """Measure every backend, then all of them together."""
    rows: dict[str, dict[str, float]] = {}
    oracle, cases = oracle_seconds(suite)
    with TemporaryDirectory() as folder:
        for backend in BACKENDS:
            calls = list(_calls(suite, backend))
            requests = Path(folder) / "requests"
            requests.write_bytes(msgspec.msgpack.encode([request for _, _, request in calls]))
            command = [sys.executable, "-m", "tests.bench", backend, str(requests)]
            shown = subprocess.run(command, check=True, capture_output=True, text=True)
            bare = float(shown.stdout.strip().splitlines()[-1])
            begin = start_up((backend,))
            wall = run_seconds(suite, (backend,), Path(folder) / backend) - begin
            rows[backend] = {
                "calls": len(calls),
                "bare": bare,
                "start": begin,
                "run": wall,
                "ratio": wall / bare,
            }
        begin = start_up(tuple(BACKENDS))
        wall = run_seconds(suite, tuple(BACKENDS), Path(folder) / "all") - begin
        bares = [row["bare"] for row in rows.values()]
        floor = max(*bares, sum(bares) / 2)
        total = sum(row["calls"] for row in rows.values())
        rows["all"] = {"calls": total, "bare": floor, "start": begin, "run": wall, "ratio": wall / floor}
    rows["oracle"] = {"calls": cases, "bare": 0.0, "start": 0.0, "run": oracle, "ratio": 0.0}
    return rows


def _calls(suite: list[Operator], backend: str) -> list[tuple[Case, Api, Request]]:
    calls: list[tuple[Case, Api, Request]] = []
    for op in suite:
        for case in op.cases:
            for api in op.apis:
                if api.backend == backend and not inexpressible(case, api):
                    expected = None if declared_unsupported(case, api) else expectation(case, api)
                    calls.append((case, api, request_for(case, api, len(calls), expected)))
    return calls


def main() -> None:
    """Measure and print; or, with arguments, be the bare loop of one backend."""
    if len(sys.argv) == 3:
        print(bare_loop(sys.argv[1], Path(sys.argv[2])))
        return
    rows = measure(survivors(load_suite(), Path("reports/latest/run.jsonl")))
    OUT.write_text(json.dumps(rows, indent=2) + "\n")
    print(f"{'':10} {'calls':>6} {'bare s':>8} {'start s':>8} {'run s':>8} {'ratio':>6} {'calls/s':>8}")
    for name, row in rows.items():
        rate = row["calls"] / row["run"]
        print(
            f"{name:10} {row['calls']:6.0f} {row['bare']:8.2f} {row['start']:8.2f} {row['run']:8.2f} "
            f"{row['ratio']:6.2f} {rate:8.0f}"
        )


if __name__ == "__main__":
    main()
