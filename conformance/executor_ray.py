"""Workers on the nodes of a Ray cluster: an actor for each lane, with a keeper that starts its workers.

A crash of a framework ends its worker, not the actor: it is a result, as everywhere. The loss of a node ends
the actor: another is made elsewhere, and asked again what was owed.
"""

import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from conformance.backends import BackendSpec, adapter_class
from conformance.bundle import unpacked
from conformance.errors import HarnessError, UsageError
from conformance.executor import Seat, Tell, Worker
from conformance.keeper import Keeper
from conformance.remote import Place, Yardstick

GRACE_SECONDS = 10.0
"""How long a node with what is asked for may take to join; a cluster has to have one by then."""
AVOIDED_SECONDS = 60.0
"""Within which a cluster notices that a node is gone."""
NODE_LABEL = "ray.io/node-id"
CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 5.0
LISTEN_SECONDS = 5.0
Amounts = dict[str, float]


@dataclass(frozen=True)
class Needs:
    """What a worker of one backend takes of a node, and the environment that it runs in."""

    resources: Mapping[str, float] = field(default_factory=dict)
    """As Ray names them: `num_cpus`, `num_gpus`, `memory` (bytes), or a node's own."""
    runtime_env: Mapping[str, Any] = field(default_factory=dict)

    def amounts(self) -> Amounts:
        """Return what it takes, as a node says what it has."""
        names = {"num_cpus": "CPU", "num_gpus": "GPU"}
        taken = {"num_cpus": 1.0, **self.resources}
        return {names.get(name, name): float(count) for name, count in taken.items() if count}

    def options(self, modules: list[str]) -> dict[str, Any]:
        """Return the options of its actor."""
        known = {n: v for n, v in self.resources.items() if n in ("num_cpus", "num_gpus", "memory")}
        own = {n: v for n, v in self.resources.items() if n not in known}
        env = dict(self.runtime_env)
        if isinstance(theirs := env.get("py_modules"), list):  # without any, it is the job's: this package
            env["py_modules"] = [*theirs, *modules]
        return {"num_cpus": 1, **known, "resources": own, "runtime_env": env}


class Actor(Place):
    """An actor with a keeper, on whatever node Ray finds for it."""

    def __init__(self, cluster: "Cluster", backend: str) -> None:
        super().__init__(cluster.yardstick)
        self.name = "a node"
        self.node = ("", "")
        """Its address and Ray's name for it."""
        self._cluster, self._backend = cluster, backend
        self._closing = False
        self._arrived = False
        self._actor = cluster.actor(backend)
        Thread(target=self._listen, daemon=True).start()

    def post(self, *message: Any) -> None:
        """Send the actor a message; Ray keeps the order."""
        # One that is dead says so to who listens.
        self._actor.handle.options(concurrency_group="into").remote(message)

    def unfit(self, backend: str, why: str) -> Any:
        """Say so: Ray chooses the nodes, and another may be no better."""
        del backend
        return "failed", f"{self.name}: {why}"

    def stop(self) -> None:
        """End the actor, wherever it is."""
        self._closing = True
        self._cluster.ray.kill(self._actor)

    def close(self) -> None:
        """Have the keeper end its workers, and then the actor."""
        self._closing = True
        if self._arrived and not self.gone:
            done = self._actor.close.options(concurrency_group="into").remote()
            self._cluster.ray.wait([done], timeout=CLOSE_SECONDS)
        self.end("the run is over")

    def _listen(self) -> None:
        ray = self._cluster.ray
        try:
            while self._arrived or self._arrive():
                if self._closing:
                    return
                self.heard(ray.get(self._actor.hear.options(concurrency_group="out").remote(LISTEN_SECONDS)))
        except ray.exceptions.RuntimeEnvSetupError as error:
            self._fail(f"its runtime environment cannot be made: {_first(error)}")
        except ray.exceptions.ActorUnschedulableError as error:
            self._fail(_first(error))
        except ray.exceptions.RayError as error:
            if not self._arrived and "creation task" in str(error):
                self._fail(f"a node cannot run it: {str(error).strip().splitlines()[-1]}")
            elif not self._closing:
                self._cluster.avoid(self.node[1])
                self.end(f"{self.name} of the cluster is lost: {_first(error)}")

    def _arrive(self) -> bool:
        """Wait until the actor runs; give up where no node will ever have what it takes."""
        ray, began = self._cluster.ray, time.monotonic()
        about = self._actor.about.options(concurrency_group="out").remote()
        while not ray.wait([about], timeout=1.0)[0]:
            if time.monotonic() - began > GRACE_SECONDS and (why := self._cluster.lacks(self._backend)):
                self._fail(why)
                return False
        self.node = ray.get(about)["node"]
        self.name = "node {} ({:.8})".format(*self.node)
        self._arrived = True
        return True

    def _fail(self, why: str) -> None:
        for worker in list(self._workers.values()):
            worker.hear("failed", why)
        self.end(why)

    def waiting(self) -> str:
        """Say what an actor that does not run yet waits for."""
        return "" if self._arrived else f"no node had {_said(self._cluster.amounts(self._backend))} free"


class Cluster:
    """Workers on a Ray cluster; see `executor.Executor`."""

    shared = False

    def __init__(self, needs: Mapping[str, Needs], address: str | None = None) -> None:
        self.ray = _ray()
        self._needs = needs
        self._lost: dict[str, float] = {}
        self.yardstick = Yardstick()
        self._folder = Path(tempfile.mkdtemp(prefix="conformance-ray-"))
        try:
            self._modules = self._join(address)
            self._class = self.ray.remote(concurrency_groups={"into": 1, "out": 1})(Kept)
            self._options = {name: self._checked(name, each) for name, each in needs.items()}
        except BaseException:
            self.close()
            raise
        self._room = self._shared_out()

    def seat(self, spec: BackendSpec) -> Seat:
        """Return a seat; its actor is made when its first worker starts."""
        return _Seat(self, spec)

    def least(self, spec: BackendSpec) -> int:
        """Return what the adapter asks for, as far as there is room."""
        return max(1, min(int(adapter_class(spec).lanes), self.room(spec)))

    def room(self, spec: BackendSpec) -> int:
        """Return how many workers of a backend run at once, while those of all others do."""
        return self._room[spec.name]

    def troubles(self) -> list[str]:
        """Return nothing: what the cluster lacks, a backend is lost for."""
        return []

    def close(self) -> None:
        """Leave the cluster; one that was started for this run ends."""
        self.ray.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)

    def actor(self, backend: str) -> Any:
        """Make an actor for a backend's workers."""
        options = dict(self._options[backend])
        if avoided := self._avoided(backend):
            options["label_selector"] = {NODE_LABEL: f"!in({','.join(avoided)})"}
        return self._class.options(**options).remote()

    def avoid(self, node: str) -> None:
        """Have no new actor on a node that has just been lost: the cluster may not know it yet."""
        self._lost[node] = time.monotonic()

    def amounts(self, backend: str) -> Amounts:
        """Return what a worker of a backend takes."""
        return self._needs[backend].amounts()

    def lacks(self, backend: str) -> str:
        """Say what no node has, or all of them not for all backends at once; the empty string: nothing."""
        wanted, nodes = self.amounts(backend), self._nodes()
        if not any(_fits(wanted, node) for node in nodes):
            has = "; ".join(_said({name: node.get(name, 0.0) for name in wanted}) for node in nodes)
            return f"no node of the cluster has {_said(wanted)}: they have {has or 'nothing'}"
        if not self._shared_out()[backend]:
            return f"the cluster has no room for it ({_said(wanted)}) beside the other backends"
        return ""

    def _join(self, address: str | None) -> list[str]:
        """Connect to the cluster, and take this package along; return where its nodes find that."""
        env = {"py_modules": [str(path) for path in unpacked(self._folder)]}
        where = address or self._usual()
        new = {"include_dashboard": False} if where == "local" else {}
        try:
            _answers(where)
            self.ray.init(address=where, runtime_env=env, log_to_driver=False, logging_level="ERROR", **new)
        except Exception as error:
            raise HarnessError(f"the Ray cluster {where} cannot be used: {_first(error)}") from error
        # Else pages of a raylet's log are printed among our results when its node is lost.
        self.ray._private.worker._worker_logs_enabled = False  # noqa: SLF001 - there is no other switch
        return list(self.ray.get_runtime_context().runtime_env["py_modules"])

    def _usual(self) -> str:
        """Return where the cluster is that Ray would use; `local`, a new one, where that is none or dead."""
        if given := os.environ.get("RAY_ADDRESS"):
            return given
        recorded = self.ray._private.utils.read_ray_address()  # noqa: SLF001 - else Ray waits for a dead one
        try:
            _answers(recorded or "")
        except OSError:
            return "local"
        return str(recorded or "local")

    def _checked(self, backend: str, needs: Needs) -> dict[str, Any]:
        """Return the options of a backend's actors."""
        try:
            options = {"scheduling_strategy": "SPREAD", "max_restarts": 0, **needs.options(self._modules)}
            self._class.options(**options)
        except (TypeError, ValueError) as error:
            raise UsageError(f"backend {backend}: Ray refuses what it is to have: {_first(error)}") from error
        return options

    def _nodes(self) -> list[Amounts]:
        return [dict(node["Resources"]) for node in self._alive()]

    def _alive(self) -> list[dict[str, Any]]:
        return [node for node in self.ray.nodes() if node["Alive"]]

    def _avoided(self, backend: str) -> list[str]:
        """Name the nodes that were lost and count as alive, if the backend can do without them."""
        late = time.monotonic() - AVOIDED_SECONDS
        nodes, wanted = self._alive(), self.amounts(backend)
        avoided = [node["NodeID"] for node in nodes if self._lost.get(node["NodeID"], late) > late]
        others = (node["Resources"] for node in nodes if node["NodeID"] not in avoided)
        return avoided if any(_fits(wanted, node) for node in others) else []

    def _shared_out(self) -> dict[str, int]:
        """Count how many workers each backend has if they are placed by turns until none fits any more."""
        free, room = self._nodes(), dict.fromkeys(self._needs, 0)
        left = list(self._needs)
        while left:
            for backend in list(left):
                wanted = self.amounts(backend)
                node = min((each for each in free if _fits(wanted, each)), key=_rare, default=None)
                if node is None:
                    left.remove(backend)
                    continue
                room[backend] += 1
                for name, count in wanted.items():
                    node[name] -= count
        return room


class _Seat:
    """A lane's actor, and another once that is gone."""

    def __init__(self, cluster: Cluster, spec: BackendSpec) -> None:
        self._cluster, self._spec = cluster, spec
        self._actor: Actor | None = None
        self._lock = Lock()

    def start(self, folder: Path, log: Path, tell: Tell) -> Worker:
        with self._lock:
            if self._actor is None or self._actor.gone:
                self._actor = Actor(self._cluster, self._spec.name)
            actor = self._actor
        return actor.start(self._spec, folder.name, log.name, tell)

    def close(self) -> None:
        if self._actor is not None:
            self._actor.close()


class Kept(Keeper):
    """The keeper as an actor: `into` takes messages in order, while `out` waits for what is said."""

    def about(self) -> dict[str, Any]:
        """Say on which node it is."""
        import ray  # noqa: PLC0415 - there it is installed

        node = ray.get_runtime_context().get_node_id()
        return {**super().about(), "node": (ray.util.get_node_ip_address(), node)}


def _ray() -> Any:
    """Import Ray.

    Raises:
        HarnessError: it is not installed.

    """
    # What a run does here is nobody else's business, unless somebody says so.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: PLC0415 - only with `--executor ray`
    except ImportError as error:
        raise HarnessError(
            f"--executor ray: {error}\n  install it: pip install 'op-conformance[cluster]'"
        ) from error
    return ray


def _answers(address: str) -> None:
    """See whether anybody listens at HOST:PORT, for Ray itself tries for a quarter of an hour.

    Raises:
        OSError: nobody does.

    """
    match = re.fullmatch(r"([^/\s]+):(\d+)", address)
    if match:
        socket.create_connection((match[1], int(match[2])), CONNECT_SECONDS).close()


def _fits(wanted: Amounts, node: Amounts) -> bool:
    return all(node.get(name, 0.0) >= count for name, count in wanted.items())


def _rare(node: Amounts) -> tuple[int, float]:
    """Order nodes: first those with the least that only some workers need, and of them the emptiest."""
    own = [name for name in node if not name.startswith("node:") and not name.endswith("memory")]
    return len(own), -node.get("CPU", 0.0)


def _said(amounts: Amounts) -> str:
    return ", ".join(f"{name}: {count:g}" for name, count in sorted(amounts.items())) or "nothing"


def _first(error: BaseException) -> str:
    """Return the first lines of what Ray says: the rest is a page."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3])[:600] or type(error).__name__
