"""What `pytest --backend torch` adds to each case: its wall, over the same work in a plain loop.

pytest itself takes its time for an item that does nothing: that floor is measured beside it.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.bench.figures import Figure
from tests.bench.growth import many
from tests.bench.jobs import python

TARGET = 1.0


class Spent(msgspec.Struct):
    """Seconds of one way through the items."""

    collecting: float
    running: float
    items: int


class Clock:
    """A plugin that notes when collection and the items begin and end."""

    def __init__(self) -> None:
        self.spent = Spent(0.0, 0.0, 0)
        self.began = time.perf_counter()

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self, session: pytest.Session) -> Iterator[None]:
        """Time the collection."""
        began = time.perf_counter()
        result = yield
        self.spent.collecting = time.perf_counter() - began
        self.spent.items = len(session.items)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Iterator[None]:
        """Time all items."""
        began = time.perf_counter()
        result = yield
        self.spent.running = time.perf_counter() - began
        return result


class EmptyItem(pytest.Item):
    """An item that does nothing."""

    def runtest(self) -> None:
        """Pass."""


class EmptyFile(pytest.File):
    """A file of as many items as its name says."""

    def collect(self) -> Iterator[EmptyItem]:
        """Yield them."""
        for number in range(int(self.path.stem)):
            yield EmptyItem.from_parent(self, name=f"empty-{number}")


class Floor(Clock):
    """A plugin whose items are empty."""

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> EmptyFile | None:
        """Collect files of nothing."""
        return EmptyFile.from_parent(parent, path=file_path) if file_path.suffix == ".empty" else None


def through_pytest(folder: Path, clock: Clock, *options: str) -> Spent:
    """Run pytest on a folder, in this process."""
    code = pytest.main([*options, "-q", "-p", "no:cacheprovider", str(folder)], plugins=[clock])
    if code not in (0, 1):
        raise RuntimeError(f"pytest ended with {code}")
    return clock.spent


def plainly(file: Path, adapter: Any, version: str) -> Spent:
    """Do what each item does, one after the other."""
    from conformance.cache import OracleCache  # noqa: PLC0415 - with the framework, only in a child
    from conformance.judge import judge  # noqa: PLC0415
    from conformance.ledger import load_ledger  # noqa: PLC0415
    from conformance.load import load_operator  # noqa: PLC0415
    from conformance.question import expectation, request_for, resolved_params  # noqa: PLC0415

    began = time.perf_counter()
    operator = load_operator(file)
    loaded = time.perf_counter()
    ledger, oracle = load_ledger(), OracleCache()  # once, as a run does and as the first item does
    (api,) = operator.apis
    for case in operator.cases:
        params = resolved_params(case, api)
        expected = oracle.answer(case, params, lambda case=case: expectation(case, api))  # type: ignore[misc]
        reply = adapter.execute(request_for(case, api, 0, expected))
        for check in judge(case, api, expected, reply):
            ledger.classify(case, api, check, version)
    return Spent(loaded - began, time.perf_counter() - loaded, len(operator.cases))


def main() -> None:
    """In a child: FOLDER OUT REPEATS. Each way in turn, so that what else the machine does is in all."""
    from conformance.adapters import BACKENDS  # noqa: PLC0415
    from conformance.worker import load_adapter  # noqa: PLC0415

    folder, out, repeats = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    adapter = load_adapter(BACKENDS["torch"])
    version = adapter.start().version
    file = folder / "cases" / "huber_loss.yaml"
    ways: dict[str, list[Spent]] = {"plain": [], "pytest": [], "floor": []}
    for _ in range(repeats + 1):  # the first warms up
        ways["plain"].append(plainly(file, adapter, version))
        ways["pytest"].append(through_pytest(file.parent, Clock(), "--backend", "torch"))
        ways["floor"].append(through_pytest(folder / "empty", Floor()))
    out.write_bytes(msgspec.json.encode({name: spent[1:] for name, spent in ways.items()}))


def per_item(spent: list[Spent]) -> tuple[float, float]:
    """Return the milliseconds per item, collecting and running: the least, which others disturb least."""
    return (
        min(1e3 * each.collecting / each.items for each in spent),
        min(1e3 * each.running / each.items for each in spent),
    )


def entrance(folder: Path, items: int, repeats: int) -> list[Figure]:
    """Measure in a child, and subtract."""
    cases, empty, out = folder / "cases", folder / "empty", folder / "spent.json"
    for each in (cases, empty):
        each.mkdir(parents=True, exist_ok=True)
        (each / "pytest.ini").write_text("[pytest]\n")
    (cases / "huber_loss.yaml").write_text(many(items), encoding="utf-8")
    (empty / f"{items}.empty").write_text("")
    python(
        "-m",
        "tests.bench.entrance",
        str(folder),
        str(out),
        str(repeats),
        cwd=folder,
        CONFORMANCE_CACHE=str(folder / "kept"),
    )
    ways = msgspec.json.decode(out.read_bytes(), type=dict[str, list[Spent]])
    (loading, work), (collecting, running) = per_item(ways["plain"]), per_item(ways["pytest"])
    floor = per_item(ways["floor"])
    section, unit = f"pytest's entrance ({items} items)", "ms/item"
    return [
        Figure(section, "the work itself: load", loading, unit),
        Figure(section, "the work itself: cache, call, judge", work, unit),
        Figure(section, "an empty item: collect", floor[0], unit),
        Figure(section, "an empty item: run", floor[1], unit),
        Figure(section, "added to an item: collect", collecting - loading, unit),
        Figure(section, "added to an item: run", running - work, unit),
        Figure(section, "added to an item", collecting - loading + running - work, unit, TARGET),
    ]


if __name__ == "__main__":
    main()
