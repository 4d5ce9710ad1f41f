"""A pool without workers: what measures a run's own part answers in its place."""

from typing import Any, Self

from conformance.backends import BackendSpec
from conformance.executor import Local
from conformance.pool import Pool
from conformance.types import Environment


class Workerless(Pool):
    """Starts nothing, loses nothing, and says that every backend is ready; a subclass takes calls."""

    hold: Any = None
    """A call has its tensors in it."""
    executor = Local()
    version = "0"

    def __init__(self, specs: list[BackendSpec], *_: Any, **__: Any) -> None:
        self.specs, self.timeout, self.workers = specs, 30.0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def widen(self, calls: object) -> None:
        """Do nothing."""

    def environment(self, backend: str) -> Environment:
        """Say that it is ready."""
        return Environment(backend, backend, self.version, "", "")

    def environments(self) -> dict[str, Any]:
        """Say that all are."""
        return {spec.name: self.environment(spec.name) for spec in self.specs}

    def losses(self) -> list[str]:
        """Say that no worker was lost."""
        return []

    def lost(self, backend: str) -> str:
        """Say that it is not, or nothing more would be asked."""
        del backend
        return ""
