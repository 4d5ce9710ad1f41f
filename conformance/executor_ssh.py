"""Workers on other hosts, over ssh: one connection and one keeper for each.

Who may log in where, with which key, is ssh's own business: its configuration, its agent, its known hosts.
A host needs an interpreter with NumPy, msgspec and the frameworks; this package is taken along.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread, Timer
from typing import Any

from conformance.backends import BackendSpec, adapter_class
from conformance.bundle import bundle
from conformance.child import far_end
from conformance.errors import UsageError
from conformance.executor import Gone, Seat, Tell, Worker
from conformance.keeper import BOOTSTRAP
from conformance.remote import Place, Yardstick

CONNECT_SECONDS = 60.0
"""How long a host may take until its keeper answers."""
PING_SECONDS = 10.0
CLOSE_SECONDS = 5.0
OPTIONS = (
    "BatchMode=yes",  # nobody is there to be asked for a password
    "ConnectTimeout=20",
    "ServerAliveInterval=10",  # a connection that is dead without a word is noticed in half a minute
    "ServerAliveCountMax=3",
)
BEGIN = "import sys;exec(eval(sys.stdin.readline()))"
"""What execnet has a bare interpreter begin with."""
_ADDRESS = re.compile(
    r"(?P<host>(?:[^@\s:=-][^@\s:=]*@)?[^@\s:=-][^@\s:=]*)(?::(?P<port>\d{1,5}))?(?:=(?P<python>\S.*))?"
)


@dataclass(frozen=True)
class Address:
    """A host as it was named: for ssh, and which interpreter of it."""

    host: str
    port: str = ""
    python: str = "python3"

    @classmethod
    def read(cls, text: str) -> "Address":
        """Read `[USER@]HOST[:PORT][=PYTHON]`.

        Raises:
            UsageError: it is not that.

        """
        match = _ADDRESS.fullmatch(text)
        if not match:
            raise UsageError(f"--host takes [USER@]HOST[:PORT][=PYTHON], as me@gpu1:22=/opt/py; not {text!r}")
        return cls(match["host"], match["port"] or "", match["python"] or cls.python)

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"host {self.host}" + (f":{self.port}" if self.port else "")

    def command(self, config: Path | None) -> list[str]:
        """Return the command that begins its interpreter."""
        options = [part for option in OPTIONS for part in ("-o", option)]
        more = ["-F", str(config)] if config else []
        more += ["-p", self.port] if self.port else []
        return ["ssh", "-T", *more, *options, "--", self.host, f'{self.python} -u -c "{BEGIN}"']


class Connection(Place):
    """A host while it is connected; made at once, connected in the background."""

    def __init__(self, host: "Host", log: Path, package: bytes, yardstick: Yardstick) -> None:
        super().__init__(yardstick)
        self.name = host.address.name
        self.up = False
        self.settled = Event()
        """Set once it is known whether it can be used."""
        self.cores = 1
        self._host, self._log, self._package = host, log, package
        self._outbox: SimpleQueue[tuple[Any, ...] | None] = SimpleQueue()
        self._closing = False
        self._over_once = Lock()
        with log.open("wb") as words:
            self._popen = subprocess.Popen(  # noqa: S603 - the host that the user named
                host.address.command(host.config),
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                start_new_session=True,  # Ctrl-C comes to us alone
            )
        self._late = Timer(CONNECT_SECONDS, self._over, (f"no answer in {CONNECT_SECONDS:.0f} s",))
        self._late.daemon = True
        self._late.start()
        Thread(target=self._serve, daemon=True).start()

    def post(self, *message: Any) -> None:
        """Send the keeper a message, once it is there."""
        self._outbox.put(message)

    def unfit(self, backend: str, why: str) -> Any:
        """Have another host tried."""
        self._host.unfit[backend] = why
        return Gone(f"{self.name}: {why}", unfit=True)

    def waiting(self) -> str:
        """Say whether it is still being connected."""
        return "" if self.up else f"{self.name} is not connected yet"

    def stop(self) -> None:
        """End ssh: the keeper, whose input ends, then ends its workers."""
        self._outbox.put(None)
        self._late.cancel()
        self._popen.kill()
        self.settled.set()

    def close(self) -> None:
        """Have the keeper end, and wait for it."""
        self._closing = True
        self._outbox.put(None)
        if self.up and not self.gone:
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(CLOSE_SECONDS)
        self.end("the run is over")
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(1.0)

    def _serve(self) -> None:
        try:
            channel = far_end(self._popen, BOOTSTRAP)
            channel.setcallback(lambda said: self._hear(channel, said), endmarker=None)
            channel.send(self._package)
            while (message := self._next()) is not None:
                channel.send(message)
            channel.close()
            assert self._popen.stdin is not None
            self._popen.stdin.close()  # the interpreter ends with its input, once it has cleaned up
        except (EOFError, OSError):
            self._over("")
        except AssertionError:
            self._over("what it wrote is no interpreter's (does its shell print something by itself?)")

    def _next(self) -> tuple[Any, ...] | None:
        try:
            return self._outbox.get(timeout=PING_SECONDS)
        except Empty:
            return ("ping",)

    def _hear(self, channel: Any, said: Any) -> None:
        if said is None:
            errors = channel._remoteerrors  # noqa: SLF001 - execnet raises it where nobody is
            self._over(str(errors.pop()).strip().splitlines()[-1] if errors else "")
            return
        for number, what, value in said:
            if number == 0 and what == "about":
                self.cores, self.up = value["cores"], True
                self._late.cancel()
                self.settled.set()
            elif number == 0:
                self._over(value)
        self.heard(said)

    def _over(self, why: str) -> None:
        """The connection is at its end; if it never was one, the host cannot be used."""
        if self._closing or not self._over_once.acquire(blocking=False):
            return
        with suppress(subprocess.TimeoutExpired):  # it may be saying why
            self._popen.wait(1.0)
        words = self._log.read_text(errors="replace").strip().splitlines()
        said = why or "; ".join(words[-2:])
        host = self._host
        if self.up:
            host.losses += 1
            self.end(f"the connection to {self.name} is lost" + (f": {said}" if said else ""))
            return
        host.out = said or "its interpreter said nothing"
        again = host.losses > 0
        host.losses += again
        self.end(f"{self.name} cannot be used: {host.out}", unfit=not again)


class Host:
    """A host, and what is known of it."""

    def __init__(self, address: Address, config: Path | None) -> None:
        self.address, self.config = address, config
        self.out = ""
        """Why it cannot be used at all."""
        self.unfit: dict[str, str] = {}
        """Why not for a backend."""
        self.losses = 0
        self.seats = 0
        self.connection: Connection | None = None

    def reason(self, backend: str) -> str:
        """Say why it cannot be used for a backend, or nothing."""
        return self.unfit.get(backend, "") or ("" if self.losses else self.out)


class Ssh:
    """Workers on hosts, spread evenly; see `executor.Executor`."""

    shared = False

    def __init__(self, addresses: Iterable[Address], backends: int, config: Path | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="conformance-ssh-"))
        self._hosts = [Host(address, config) for address in addresses]
        self._backends, self._package, self._yardstick = max(1, backends), bundle(), Yardstick()
        self._connections = 0
        self._lock = Lock()
        for host in self._hosts:
            self._connect(host)

    def seat(self, spec: BackendSpec) -> Seat:
        """Find a host when the first worker starts."""
        return _Seat(self, spec)

    def least(self, spec: BackendSpec) -> int:
        """Return what the adapter asks for."""
        return int(adapter_class(spec).lanes)

    def room(self, spec: BackendSpec) -> int:
        """Return a backend's share of the cores of all hosts that can be used for it."""
        self._settle()
        fit = [host for host in self._hosts if not host.reason(spec.name)]
        cores = sum(host.connection.cores for host in fit if host.connection and host.connection.up)
        return cores // self._backends

    def troubles(self) -> list[str]:
        """Say which hosts could not be used, or not for a backend that others ran."""
        self._settle()
        out = [host for host in self._hosts if host.out and not host.losses]
        if len(out) == len(self._hosts):
            return []  # every backend is lost, and that says why
        found = [f"{host.address.name}: {host.out}" for host in out]
        for host in self._hosts:
            for backend, why in host.unfit.items():
                if any(not other.reason(backend) for other in self._hosts):
                    found.append(f"{host.address.name} for {backend}: {why}")
        return found

    def close(self) -> None:
        """End the keepers, all at once."""
        open_ones = [host.connection for host in self._hosts if host.connection is not None]
        closing = [Thread(target=connection.close) for connection in open_ones]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def pick(self, backend: str) -> tuple[Host, Connection]:
        """Return the host with the fewest seats among those that can be used and were lost least.

        Raises:
            OSError: there is none.

        """
        with self._lock:
            fit = [host for host in self._hosts if not host.reason(backend)]
            if not fit:
                reasons = [f"{host.address.name}: {host.reason(backend)}" for host in self._hosts]
                raise OSError("; ".join(reasons))
            host = min(fit, key=lambda each: (each.losses, each.seats))
            host.seats += 1
            if host.connection is None or host.connection.gone:
                self._connect(host)
            assert host.connection is not None
            return host, host.connection

    def _settle(self) -> None:
        """Wait until it is known of each host whether it can be used."""
        for host in self._hosts:
            if host.connection is not None:
                host.connection.settled.wait(CONNECT_SECONDS + CLOSE_SECONDS)

    def release(self, host: Host) -> None:
        """Take a seat back."""
        with self._lock:
            host.seats -= 1

    def _connect(self, host: Host) -> None:
        self._connections += 1
        log = self._folder / f"connection-{self._connections}.log"
        host.out = ""
        host.connection = Connection(host, log, self._package, self._yardstick)


class _Seat:
    """A lane's place on a host, and on another once that is gone."""

    def __init__(self, executor: Ssh, spec: BackendSpec) -> None:
        self._executor, self._spec = executor, spec
        self._host: Host | None = None
        self._connection: Connection | None = None
        self._lock = Lock()

    def start(self, folder: Path, log: Path, tell: Tell) -> Worker:
        with self._lock:
            if self._host is None or self._connection is None or not self._usable:
                self.close()
                self._host, self._connection = self._executor.pick(self._spec.name)
            connection = self._connection
        return connection.start(self._spec, folder.name, log.name, tell)

    def close(self) -> None:
        if self._host is not None:
            self._executor.release(self._host)
            self._host = self._connection = None

    @property
    def _usable(self) -> bool:
        assert self._host is not None
        assert self._connection is not None
        return not self._connection.gone and not self._host.reason(self._spec.name)


def find_client() -> None:
    """Look for ssh itself.

    Raises:
        UsageError: it is not installed.

    """
    if shutil.which("ssh", path=os.environ.get("PATH")) is None:
        raise UsageError("--executor ssh needs the command ssh, which is not installed")
