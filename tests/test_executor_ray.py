"""Workers on a real Ray cluster of two nodes: equal results, a node killed in mid-run, what nodes lack."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance import executor_ray
from conformance.arrays import from_wire, to_wire
from conformance.errors import HarnessError, UsageError
from conformance.executor_ray import Actor, Cluster, Needs
from conformance.hold import LONG
from conformance.pool import Lost, Pool
from conformance.types import Array, Binding, Death, Reply, Request
from tests.executors import NAMES, TOY, local, pool_of, real, rows
from tests.far_toys import asked
from tests.test_pool import alive, said

ray = pytest.importorskip("ray") if os.environ.get("CI") != "true" else __import__("ray")
MEMORY = 80 << 20
Join = Callable[..., Cluster]


class Nodes:
    """The cluster: a head, which stays, and another node, which goes and comes back."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as Made  # noqa: PLC0415 - it takes a second

        self._made = Made()
        self._made.add_node(num_cpus=2, object_store_memory=MEMORY, include_dashboard=False)
        self.add()
        self.settle()

    def add(self) -> None:
        """Have the other node join."""
        self._other = self._made.add_node(num_cpus=2, object_store_memory=MEMORY, resources={"other": 2})

    def settle(self) -> None:
        """Wait until the cluster has noticed which nodes it has: a dead one gets actors until then."""
        self._made.wait_for_nodes()

    @property
    def address(self) -> str:
        """Where the cluster is."""
        return str(self._made.address)

    @property
    def other(self) -> str:
        """Ray's name for the other node."""
        return str(self._other.node_id)

    def kill(self) -> None:
        """Lose the other node without a word."""
        self._made.remove_node(self._other, allow_graceful=False)

    def shutdown(self) -> None:
        """End all of it."""
        self._made.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """Start the cluster, once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Nodes()
        yield cluster
        cluster.shutdown()


@pytest.fixture
def join(nodes: Nodes) -> Iterator[Join]:
    """Join the cluster for backends and what they need."""
    made: list[Cluster] = []

    def of(**needs: Needs) -> Cluster:
        made.append(Cluster(needs, nodes.address))
        return made[-1]

    yield of
    for executor in made:
        executor.close()


def leaving(folder: Path) -> Needs:
    """Have what a node that is killed leaves in a folder of the tests."""
    return Needs(runtime_env={"env_vars": {"TMPDIR": str(folder)}})


def actors(pool: Pool) -> list[Actor]:
    """Return the actors of a pool's lanes."""
    seats: list[Any] = [lane._seat for lane in pool._all]
    return [seat._actor for seat in seats]


def answers(pool: Pool) -> dict[int, Any]:
    """Return all answers; each number once."""
    heard = [(number, answer) for _, number, answer in pool.answers(until_idle=True)]
    assert len(heard) == len({number for number, _ in heard})
    return dict(heard)


def test_a_worker_there_is_as_one_here(join: Join) -> None:
    """With the adapter's variables, a folder of its own, and its share; large tensors are sent."""
    executor = join(toy=Needs())
    assert (executor.room(TOY), executor.shared) == (4, False)
    large = np.arange(LONG, dtype=np.float32)
    with Pool([TOY], executor=executor, workers=2) as pool:
        pool.submit("toy", Request(1, Binding("turn", {}), {"x": to_wire(large)}, {}))
        for number in (2, 3):
            pool.submit("toy", asked(number), lane=number)
        found = answers(pool)
        assert len({actor.node for actor in actors(pool)}) == 2
    assert isinstance(found[1].output, Array)
    np.testing.assert_array_equal(from_wire(found[1].output), -large)
    told = [said(found[number]) for number in (2, 3)]
    assert {each["level"] for each in told} == {"3"}
    assert len({each["folder"] for each in told}) == 2
    assert not any(alive(each["pid"]) or Path(each["folder"]).exists() for each in told)


def test_a_crash_is_the_result_of_its_call(join: Join) -> None:
    """The actor outlives it: no node is lost, and the next worker is in the same place."""
    with Pool([TOY], executor=join(toy=Needs())) as pool:
        for number, what in enumerate(["say", "die", "say"]):
            pool.submit("toy", asked(number, what))
        pool.environments()
        (actor,) = actors(pool)
        found = answers(pool)
        assert actors(pool) == [actor]
        assert pool.losses() == []
    assert [type(found[number]) for number in range(3)] == [Reply, Death, Reply]
    assert (found[1].status, found[1].signal, found[1].stderr) == ("crash", "exit status 9", "Oh no.")


def test_a_call_that_hangs_in_native_code_is_ended_there(join: Join) -> None:
    """It is a result; its process is gone."""
    with Pool([TOY], timeout=1.0, executor=join(toy=Needs())) as pool:
        pool.submit("toy", asked(1))
        process = said(answers(pool)[1])["pid"]
        pool.submit("toy", asked(2, "hang"))
        found = answers(pool)
    assert isinstance(found[2], Death)
    assert found[2].status == "timeout"
    assert not alive(process)


def test_resources_that_no_node_has_are_said_and_others_finish(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the nodes have; nothing waits for a node that will not come."""
    monkeypatch.setattr(executor_ray, "GRACE_SECONDS", 0.5)
    executor = join(toy=Needs({"other": 1}), far=Needs({"Ascend": 2}))
    far = replace(TOY, name="far")
    with Pool([TOY, far], executor=executor) as pool:
        pool.submit("toy", asked(1))
        pool.submit("far", asked(2))
        found = answers(pool)
    assert isinstance(found[1], Reply)
    assert isinstance(found[2], Lost)
    assert found[2].reason == (
        "backend far cannot start: no node of the cluster has Ascend: 2, CPU: 1: "
        "they have Ascend: 0, CPU: 2; Ascend: 0, CPU: 2"
    )


def test_what_does_not_fit_beside_the_others_is_said(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of each has to run at once."""
    monkeypatch.setattr(executor_ray, "GRACE_SECONDS", 0.5)
    executor = join(toy=Needs({"other": 2}), far=Needs({"other": 1}))
    assert [executor._room[name] for name in ("toy", "far")] == [1, 0]
    assert executor.lacks("toy") == ""
    room = "the cluster has no room for it (CPU: 1, other: 1) beside the other backends"
    assert executor.lacks("far") == room


def test_workers_are_counted_by_what_the_nodes_have(join: Join) -> None:
    """By turns, until none fits any more."""
    assert join(toy=Needs({"num_cpus": 0.5}), far=Needs({"other": 1}))._room == {"toy": 4, "far": 2}


def test_a_backend_has_the_runtime_environment_that_it_asks_for(join: Join) -> None:
    """Variables reach its workers."""
    with Pool([TOY], executor=join(toy=Needs(runtime_env={"env_vars": {"TOY_VERSION": "2.5"}}))) as pool:
        environment = pool.environments()["toy"]
        assert not isinstance(environment, Lost)
        assert environment.version == "2.5"


def test_without_an_address_it_is_the_cluster_of_this_machine(
    nodes: Nodes, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the one that the environment names; where the last one is dead, a new one."""
    executor = join(toy=Needs())
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    # What Ray itself reads may be of a cluster that was started since, by tests beside these.
    monkeypatch.setattr("ray._private.utils.read_ray_address", lambda: nodes.address)
    assert executor._usual() == nodes.address
    monkeypatch.setattr("ray._private.utils.read_ray_address", lambda: "127.0.0.1:1")
    assert executor._usual() == "local"
    monkeypatch.setattr("ray._private.utils.read_ray_address", lambda: None)
    assert executor._usual() == "local"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert executor._usual() == "10.0.0.1:6379"


def test_an_environment_that_ray_refuses_is_said(join: Join) -> None:
    """It is the command line's fault."""
    with pytest.raises(UsageError, match=r"backend toy: Ray refuses what it is to have: .*py_modules"):
        join(toy=Needs(runtime_env={"py_modules": 3}))


def test_a_framework_that_a_node_lacks_is_said(join: Join) -> None:
    """With the node; the backend is lost."""
    with Pool([TOY], executor=join(toy=Needs(runtime_env={"env_vars": {"TOY_LACKS": "toynn"}}))) as pool:
        state = pool.environments()["toy"]
    assert isinstance(state, Lost)
    assert state.reason.startswith("backend toy cannot start: node ")
    assert state.reason.endswith(": ImportError: no module named toynn")


def test_a_node_that_lacks_what_a_keeper_needs_is_said(join: Join, tmp_path: Path) -> None:
    """It is not taken for one that is lost, and tried again."""
    (tmp_path / "msgspec.py").write_text("raise ImportError('there is no msgspec here')")
    executor = join(toy=Needs(runtime_env={"env_vars": {"PYTHONPATH": str(tmp_path)}}))
    with Pool([TOY], executor=executor) as pool:
        state = pool.environments()["toy"]
        assert pool.losses() == []
    assert isinstance(state, Lost)
    assert state.reason == (
        "backend toy cannot start: a node cannot run it: ImportError: there is no msgspec here"
    )


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:1"])
def test_a_cluster_that_is_not_there_is_said(address: str) -> None:
    """In one message, and at once; nothing is left behind."""
    with pytest.raises(HarnessError, match=f"the Ray cluster {address} cannot be used: "):
        Cluster({"toy": Needs()}, address)
    assert not ray.is_initialized()


def test_a_node_killed_in_mid_run_changes_no_result(nodes: Nodes, join: Join, tmp_path: Path) -> None:
    """Torch and paddle on a node each; what one owed is asked again, and the stream is this machine's."""
    pool = pool_of(join(**dict.fromkeys(NAMES, leaving(tmp_path))))
    owed: dict[str, int] = {}

    def progress(done: int, *_: Any) -> None:
        for actor, lane in zip(actors(pool), pool._all, strict=True):
            if not owed and done > 50 and actor.node[1] == nodes.other and lane._sent > 20:
                owed[lane.spec.name] = lane._sent
                nodes.kill()

    try:
        summary = real(pool, tmp_path, progress)
    finally:
        nodes.add()
    ((name, count),) = owed.items()
    (loss,) = summary.losses
    assert loss.startswith(f"a worker of {name} was lost: node ")
    assert int(loss.split("; ")[-1].split()[0]) > 0
    assert rows(tmp_path) == local()
    assert (summary.exit_code, summary.lost, summary.troubles) == (0, {}, [])
    print(f"\nkilled node {nodes.other} while {name} owed {count} calls: {loss}")


def test_a_lost_node_takes_its_worker_with_it(nodes: Nodes, join: Join, tmp_path: Path) -> None:
    """A worker that hangs there does not live on, and no new one is put on a node that is lost."""
    nodes.settle()
    with Pool([TOY], executor=join(toy=leaving(tmp_path)), workers=2) as pool:
        for number in (0, 1):
            pool.submit("toy", asked(number), lane=number)
        found = answers(pool)
        place = [actor.node[1] for actor in actors(pool)].index(nodes.other)
        process = said(found[place])["pid"]
        for number in range(2, 9):
            pool.submit("toy", asked(number, "slow"), lane=place)
        time.sleep(0.5)
        nodes.kill()  # for good: nothing needs two nodes any more
        last = answers(pool)[8]
        assert len(pool.losses()) == 1
        assert said(last)["pid"] != process
        assert not alive(process)
