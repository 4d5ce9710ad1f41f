"""`pytest cases --backend NAME[:MODE][@DEVICE]`: the case files as tests, one item per case × API.

In process, so `--pdb` stops in the framework's call; a kernel that kills its process kills this one too
(run those under `-n`, or with `conformance run`, which puts every backend in a worker of its own).
"""

import gc
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.compare import Check
from conformance.errors import ConformanceError, HarnessError, UsageError

_FAILING = ("regression", "stale", "notrun")
_MOST_LINES = 15
_LARGE = 100_000


class DiscrepancyError(Exception):
    """A case whose checks are not what the oracle or the ledger says."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--backend`: without it the plugin does nothing."""
    group = parser.getgroup("conformance")
    group.addoption("--backend", default=None, help="collect conformance cases and run them on this backend")
    group.addoption(
        "--conformance-ledger", default=None, help="folder of the ledger (default: the shipped one)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start nothing yet; refuse an unknown backend at once."""
    name = config.getoption("--backend")
    if name is None:
        return
    from conformance.backends import backend_spec  # noqa: PLC0415 - nothing is loaded unless asked for

    try:
        if "=" in name:
            raise UsageError("pytest calls the framework in its own process: run it with that interpreter")
        config.stash[_SPEC] = backend_spec(name)
    except ConformanceError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "CaseFile | None":
    """Collect a YAML file that declares an op."""
    if parent.config.getoption("--backend") is None or file_path.suffix != ".yaml":
        return None
    with file_path.open("rb") as file:
        declares = any(line.startswith(b"op:") for line in file)
    return CaseFile.from_parent(parent, path=file_path) if declares else None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the oracle's answers within their limit, as a run does."""
    if _ORACLE in config.stash:
        _oracle(config).trim()


class CaseFile(pytest.File):
    """An op file."""

    def collect(self) -> Iterator["ApiNode"]:
        """Yield each API of the backend."""
        from conformance import plugins  # noqa: PLC0415
        from conformance.load import load_operator  # noqa: PLC0415

        backend = self.config.stash[_SPEC].name
        try:
            operator = load_operator(self.path, backends=plugins.among([backend]))
        except ConformanceError as error:
            raise self.CollectError(str(error)) from error
        for api in operator.apis:
            if api.backend == backend:
                yield ApiNode.from_parent(self, name=api.name, api=api, cases=operator.cases)


class ApiNode(pytest.Collector):
    """An API: a node of its own, because pytest takes `::` in an id for a level of its tree."""

    def __init__(self, *, api: Any, cases: list[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.api, self.cases = api, cases

    def collect(self) -> Iterator["CaseItem"]:
        """Yield an item for each case."""
        for case in self.cases:
            name = case.id.partition("/")[2]
            # As text: pytest 9 reads brackets in a remembered id as parameters, and `--lf` compares parts.
            nodeid = f"{self.nodeid}::{name}"
            yield CaseItem.from_parent(self, name=name, nodeid=nodeid, case=case, api=self.api)


class CaseItem(pytest.Item):
    """One case through one API."""

    def __init__(self, *, case: Any, api: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.case, self.api = case, api

    def runtest(self) -> None:
        """Run the line for this case: oracle, call, judge, classify."""
        from conformance.judge import judge  # noqa: PLC0415
        from conformance.load import inexpressible  # noqa: PLC0415
        from conformance.run import request_for  # noqa: PLC0415

        if why := inexpressible(self.case, self.api):
            pytest.skip(f"no call: {why}")
        adapter, version, process = _adapter(self.config)
        expected = self._expectation()
        reply = _execute(adapter, process, request_for(self.case, self.api, 0, expected))
        ledger = _ledger(self.config)
        known, failed, declared = [], [], []
        for check in judge(self.case, self.api, expected, reply):
            variant = self.config.stash[_SPEC].variant
            outcome, entry, why = ledger.classify(self.case, self.api, check, version, variant)
            if outcome in _FAILING:
                failed.append((check, why))
            elif outcome == "known":
                known.append(entry)
            elif check.status == "unsupported":
                declared.append(check.message)
        if failed:
            raise DiscrepancyError(self._explain(failed))
        if known:
            pytest.xfail(f"known: {', '.join(dict.fromkeys(known))}")
        if declared:
            pytest.skip(declared[0][:200])

    def _expectation(self) -> Any:
        """Ask the oracle, or its cache, once for all APIs of an op; what is large is not kept."""
        from conformance.run import expectation, resolved_params  # noqa: PLC0415

        params = resolved_params(self.case, self.api)
        key = (self.case.id, repr(params))
        nothing: tuple[str, dict[tuple[str, str], Any]] = ("", {})
        op, kept = self.config.stash.get(_EXPECTED, nothing)
        if op != self.case.op.name:
            op, kept = self.config.stash[_EXPECTED] = (self.case.op.name, {})
        if key in kept:
            return kept[key]
        oracle = _oracle(self.config)
        expected = oracle.answer(self.case, params, lambda: expectation(self.case, self.api))
        if all(tensor.size < _LARGE for tensor in self.case.tensors.values()):
            kept[key] = expected
        return expected

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """Give a discrepancy its own few lines; anything else is a fault of ours, with its traceback."""
        if isinstance(excinfo.value, DiscrepancyError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Point at the case in its YAML file."""
        line = int(self.case.where.rsplit(":", 2)[1])
        return self.path, line - 1, f"{self.case.id} {self.api.name}"

    def _explain(self, failed: list[tuple[Check, str]]) -> str:
        lines = [f"{self.api.name} on {self.case.id}", f"  {self.case.where}: {self.case.why}"]
        for check, why in failed[:3]:
            said = check.message.partition("\n")[0][:160]
            lines.append(f"  {check.check}: {check.kind or check.status}: {said}")
            if check.bound is not None and check.mismatched:
                terms = ", ".join(f"{name} {value:.2g}" for name, value in check.bound_terms.items())
                lines.append(
                    f"    {check.mismatched} of {check.compared} elements; "
                    f"error/bound {check.error_over_bound:.3g}; "
                    f"bound from {terms}"
                )
            if why:
                lines.append(f"    {why}")
        if len(failed) > 3:
            lines.append(f"  … and {len(failed) - 3} more checks")
        cases, how = self._cases(), self._variant()
        lines.append(f"  conformance run --api {self.api.name}{how} -k '{self.case.id}' -o /tmp/run{cases}")
        lines.append(f"  conformance repro '{self.case.id}' {self.api.name} --run /tmp/run/run.jsonl{cases}")
        return "\n".join(lines[:_MOST_LINES])

    def _variant(self) -> str:
        """Return the option that makes the command line run it in the same mode and on the same device."""
        spec = self.config.stash[_SPEC]
        return f" --backend {spec.name}{spec.variant}" if str(spec.variant) else ""

    def _cases(self) -> str:
        """Return the option that makes the command line find this case: none for a shipped one."""
        from conformance.load import shipped_cases  # noqa: PLC0415

        shipped = self.path.resolve().is_relative_to(shipped_cases().resolve())
        return "" if shipped else f" --cases {shlex.quote(str(self.path))}"


_SPEC: Any = pytest.StashKey()
_ADAPTER: Any = pytest.StashKey()
_LEDGER: Any = pytest.StashKey()
_EXPECTED: Any = pytest.StashKey()
_ORACLE: Any = pytest.StashKey()


def _adapter(config: pytest.Config) -> tuple[Any, str, Any]:
    """Import the framework at the first item, not at collection; what it sets up is the process to keep."""
    if _ADAPTER not in config.stash:
        from conformance.process import Process  # noqa: PLC0415
        from conformance.worker import load_adapter, started  # noqa: PLC0415

        adapter = load_adapter(config.stash[_SPEC].loads)
        os.environ.update(adapter.environ)
        try:
            version = started(adapter).version
        except ImportError as error:
            pytest.exit(f"backend {adapter.name} cannot be imported: {error}", returncode=3)
        except HarnessError as error:
            pytest.exit(f"backend {adapter.name} cannot start: {error}", returncode=3)
        # A framework's modules stay: looking for garbage among them would take as long as many items.
        gc.freeze()
        config.stash[_ADAPTER] = (adapter, version, Process())
    adapter, version, process = config.stash[_ADAPTER]
    return adapter, version, process


def _execute(adapter: Any, process: Any, request: Any) -> Any:
    """Answer a request; say what it altered of this process, and put that back, also when it raises.

    The oracle computes in this process too, and keeps its answers for other runs: with the flush-to-zero
    that a kernel left on they would be wrong from then on.
    """
    from msgspec.structs import replace  # noqa: PLC0415

    before = process.look()
    try:
        reply = adapter.execute(request)
    finally:
        altered = process.put_back(before)
    return replace(reply, altered=altered) if altered else reply


def _oracle(config: pytest.Config) -> Any:
    """Return the oracle's answers that runs of the command keep too."""
    if _ORACLE not in config.stash:
        from conformance.cache import OracleCache  # noqa: PLC0415

        config.stash[_ORACLE] = OracleCache()
    return config.stash[_ORACLE]


def _ledger(config: pytest.Config) -> Any:
    if _LEDGER not in config.stash:
        from conformance.ledger import load_ledger  # noqa: PLC0415

        folder = config.getoption("--conformance-ledger")
        try:
            config.stash[_LEDGER] = load_ledger(Path(folder) if folder else None)
        except ConformanceError as error:
            pytest.exit(str(error), returncode=int(error.exit_code))
    return config.stash[_LEDGER]
