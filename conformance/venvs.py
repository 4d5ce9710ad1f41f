"""Environments of other versions: a venv with a framework and what a worker needs, kept by its name.

One that is whole has a record, written last; what lacks it is nobody's, and made anew. A real worker has
started in it by then, and the record says what that said of itself.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from filelock import FileLock, Timeout
from packaging.specifiers import SpecifierSet

from conformance.errors import ConformanceError, HarnessError, UsageError
from conformance.folders import cache_folder
from conformance.types import Environment

if TYPE_CHECKING:
    from conformance.requirements import Wanted

OLDEST = (3, 11)
"""The oldest Python that a worker runs in."""
LAST_LINES, LONGEST = 12, 800
"""Of what pip says when it fails: lines, and characters of each."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_RECORD, _UNFINISHED = ".json", ".conformance-unfinished"
_UNREACHABLE = re.compile(
    r"connection broken|ConnectionPool|Could not fetch URL|unreachable|name resolution|timed? ?out",
    re.IGNORECASE,
)
_IMPOSSIBLE = ("No matching distribution", "ResolutionImpossible", "Invalid requirement", "no such option")


class Venv(msgspec.Struct, frozen=True):
    """An environment that is whole."""

    name: str
    folder: str
    requirements: tuple[str, ...]
    workers: tuple[Environment, ...]
    """What a worker of each of its backends said of itself."""

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(_interpreter(Path(self.folder)))


def home() -> Path:
    """Return the folder of environments and their records."""
    return cache_folder() / "environments"


def create(
    wanted: "Wanted",
    *,
    name: str = "",
    folder: Path | None = None,
    python: str = sys.executable,
    pip: Sequence[str] = (),
) -> Venv:
    """Make an environment and see a worker of each of its backends start in it.

    Args:
        wanted: what is installed in it.
        name: under which it is kept; without one, that of what is installed.
        folder: where, if not below `home`.
        python: the interpreter that it is made of.
        pip: further options of `pip install`.

    Raises:
        UsageError: the name or the folder is taken, or there is no such interpreter or version.
        HarnessError: it cannot be made, or no worker starts in it; nothing of it is left.

    """
    name = name or wanted.name
    place = (folder or home() / name).absolute()
    with _claimed(name):
        _refuse_taken(name, place)
        _refuse_interpreter(python)
        try:
            with _ended_by_signals():
                _install(place, wanted, python, pip)
                workers = _started(wanted, _interpreter(place))
        except BaseException as error:
            _clear(place)
            if isinstance(error, OSError):
                raise HarnessError(f"cannot make {place}: {error.strerror or error}") from error
            raise
        made = Venv(name, str(place), tuple(wanted.requirements), workers)
        (place / _UNFINISHED).unlink()
        _write(made)
    return made


def listed() -> list[Venv]:
    """Return the environments that are whole, by name; one that somebody removed by hand is none."""
    found = (_read(path) for path in sorted(home().glob(f"*{_RECORD}")))
    return [each for each in found if each is not None]


def remove(name: str) -> Path:
    """Remove an environment, wherever it is, or what a killed creation left of one; return its folder.

    Raises:
        UsageError: there is none of that name.

    """
    left = home() / name
    with _claimed(name):
        unfinished = left.is_dir() and not _record(name).exists()
        folder = left if unfinished else Path(_named(name).folder)
        _record(name).unlink(missing_ok=True)  # first: what is half gone must not be taken for whole
        _clear(folder)
    return folder


def interpreter(backend: str, text: str) -> str:
    """Return the interpreter that `--backend BACKEND=…` means: a program, or that of an environment by name.

    Raises:
        UsageError: it is neither.

    """
    if shutil.which(text) is not None:
        return text
    with suppress(UsageError):
        return _named(text).python
    there = [each.name for each in listed()]
    known = f", nor an environment; there are {', '.join(there)}" if there else ""
    raise UsageError(f"backend {backend}: {text} is not an executable interpreter{known}")


def _named(name: str) -> Venv:
    found = _read(_record(name)) if _NAME.fullmatch(name) else None
    if found is None:
        there = ", ".join(each.name for each in listed()) or "none"
        raise UsageError(f"no environment {name!r}; there are {there}")
    return found


def _refuse_taken(name: str, place: Path) -> None:
    """Refuse a name or a folder that somebody uses; clear away what a killed creation has left."""
    for each in listed():
        if each.name == name or Path(each.folder) == place:
            raise UsageError(
                f"the environment {each.name} is there already: {each.python}\n"
                f"  use it, or `conformance env remove {each.name}`, or choose another --name and --path"
            )
    if place.exists() and (place.parent == home().absolute() or (place / _UNFINISHED).exists()):
        _clear(place)
    if place.is_dir() and not any(place.iterdir()):
        place.rmdir()
    if place.exists() or place.is_symlink():
        raise UsageError(f"{place} is not empty: choose another --path")


def _refuse_interpreter(python: str) -> None:
    command = [python, "-I", "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
        version = tuple(map(int, said.split()))
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        raise UsageError(f"{python} is not an executable interpreter: {error}") from error
    if version < OLDEST:
        there, oldest = (".".join(map(str, each)) for each in (version, OLDEST))
        raise UsageError(
            f"{python} is Python {there}: a worker needs {oldest} or later; choose another --python"
        )


def _install(place: Path, wanted: "Wanted", python: str, pip: Sequence[str]) -> None:
    place.mkdir(parents=True)
    (place / _UNFINISHED).touch()
    _do([python, "-I", "-m", "venv", str(place)], "venv")
    # Isolated: what PYTHONPATH offers here is not in the environment. pip's own configuration counts.
    install = [str(_interpreter(place)), "-I", "-m", "pip", "install", "--no-input"]
    install += ["--disable-pip-version-check", *([] if os.isatty(2) else ["--quiet"]), *pip]
    _do([*install, *wanted.requirements], "pip")
    if wanted.adapters:
        _do([*install, "--no-deps", *wanted.adapters], "pip")


def _do(command: list[str], what: str) -> None:
    """Run a program, which shows its progress on our standard error; say its last words if it fails."""
    with subprocess.Popen(  # noqa: S603 - the interpreter that the user named
        command, stdin=subprocess.DEVNULL, stdout=2, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            told = process.communicate()[1].decode(errors="replace")
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise _failure(what, process.returncode, told)


def _failure(what: str, status: int, told: str) -> ConformanceError:
    lines = [line for line in told.splitlines() if line.strip() and not line.startswith("[notice]")]
    shown = [line if len(line) <= LONGEST else f"{line[:LONGEST]} …" for line in lines[-LAST_LINES:]]
    last = "".join(f"\n  {line}" for line in shown)
    if what == "pip" and _UNREACHABLE.search(told):
        return HarnessError(f"pip cannot reach its index; see to the network, or name one: --index-url{last}")
    if what == "pip" and any(each in told for each in _IMPOSSIBLE):
        return UsageError(f"pip cannot install that:{last}")
    return HarnessError(f"{what} failed with exit status {status}:{last}")


def _started(wanted: "Wanted", python: Path) -> tuple[Environment, ...]:
    """Start a worker of each backend, and return what they say of themselves."""
    from conformance.pool import Lost, Pool, backend_spec  # noqa: PLC0415 - what starts workers asks us too

    with Pool([backend_spec(f"{name}={python}") for name in wanted.backends]) as pool:
        said = pool.environments()
    workers = []
    for name, state in said.items():
        if isinstance(state, Lost):
            raise HarnessError(f"it was installed, and no worker starts in it: {state.reason}")
        if not SpecifierSet(wanted.versions[name]).contains(state.version, prereleases=True):
            raise HarnessError(
                f"a worker there has {state.framework} {state.version}, not {wanted.versions[name]}: "
                "is it from PYTHONPATH?"
            )
        workers.append(state)
    return tuple(workers)


@contextmanager
def _claimed(name: str) -> Iterator[None]:
    """Hold a name while something is made of it or removed."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of an environment: letters, digits, dots and hyphens")
    home().mkdir(parents=True, exist_ok=True)
    lock = FileLock(home() / f".{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"another process is at work on the environment {name}: wait for it") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Make of SIGTERM and SIGHUP what Ctrl-C is, so that they leave nothing half made either."""
    was = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                was[number] = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in was.items():
            signal.signal(number, handler)


def _record(name: str) -> Path:
    return home() / f"{name}{_RECORD}"


def _interpreter(folder: Path) -> Path:
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def _clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _write(made: Venv) -> None:
    record = _record(made.name)
    whole = record.with_suffix(".new")
    whole.write_bytes(msgspec.json.encode(made))
    whole.replace(record)


def _read(record: Path) -> Venv | None:
    try:
        found = msgspec.json.decode(record.read_bytes(), type=Venv)
    except (OSError, msgspec.DecodeError):
        return None
    return found if Path(found.python).exists() else None
