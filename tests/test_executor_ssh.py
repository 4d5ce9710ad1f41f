"""Workers over ssh: a real sshd on this machine, with keys of its own; hosts that are lost, or lacking."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.arrays import from_wire, to_wire
from conformance.errors import UsageError
from conformance.executor_ssh import Address, Ssh
from conformance.hold import LONG
from conformance.pool import Lost, Pool
from conformance.types import Array, Binding, Death, Reply, Request
from tests.executors import TOY, local, pool_of, real, rows
from tests.far_toys import asked
from tests.test_pool import alive, said

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
"""
CLIENT = """
Host first second third
  HostName 127.0.0.1
  Port {port}
  HostKeyAlias sshd
  User {user}
Host stranger
  HostName 127.0.0.1
  Port {port}
  HostKeyAlias another
Host nobody
  HostName 127.0.0.1
  Port 1
Host *
  IdentityFile {folder}/user
  IdentitiesOnly yes
  StrictHostKeyChecking yes
  UserKnownHostsFile {folder}/known
  GlobalKnownHostsFile none
"""
Connect = Callable[..., Ssh]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start a server that admits us; return the client's configuration."""
    if SSHD is None:
        if os.environ.get("CI") == "true":
            pytest.fail("sshd is missing: install openssh-server")
        pytest.skip("sshd is missing")
    folder = tmp_path_factory.mktemp("sshd")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # it insists on this folder, empty
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    known = (folder / "host.pub").read_text()
    (folder / "known").write_text(f"sshd {known}")
    (folder / "sshd_config").write_text(CONFIG.format(port=port, folder=folder))
    config = folder / "ssh_config"
    config.write_text(CLIENT.format(port=port, folder=folder, user=getpass.getuser()))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield config
    server.kill()
    server.wait()


@pytest.fixture
def connect(client: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Connect]:
    """Connect to hosts by name, with our interpreter where none is given."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made: list[Ssh] = []

    def of(*hosts: str, backends: int = 1) -> Ssh:
        named = [Address.read(host if "=" in host else f"{host}={sys.executable}") for host in hosts]
        made.append(Ssh(named, backends, client))
        return made[-1]

    yield of
    for executor in made:
        executor.close()


def wrapped(folder: Path, how: str) -> str:
    """Make an interpreter that is ours, started so."""
    script = folder / f"python-{len(list(folder.iterdir()))}"
    script.write_text(f'#!/bin/sh\n{how} "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    return str(script)


def answers(pool: Pool) -> dict[int, Any]:
    """Return all answers; each number once."""
    heard = [(number, answer) for _, number, answer in pool.answers(until_idle=True)]
    assert len(heard) == len({number for number, _ in heard})
    return dict(heard)


def cut(executor: Ssh, place: int = 0) -> None:
    """Lose the connection to a host, as when a cable is pulled."""
    connection = executor._hosts[place].connection
    assert connection is not None
    connection._popen.kill()


def test_a_host_is_named_as_for_ssh() -> None:
    """With a user, a port and an interpreter; what ssh would take for an option is refused."""
    assert Address.read("gpu1") == Address("gpu1")
    assert Address.read("me@gpu1:2222=/opt/py/bin/python") == Address("me@gpu1", "2222", "/opt/py/bin/python")
    command = Address.read("me@gpu1:2222=~/py").command(Path("conf"))
    assert command[:6] == ["ssh", "-T", "-F", "conf", "-p", "2222"]
    assert command[-3:-1] == ["--", "me@gpu1"]
    assert command[-1].startswith("~/py -u -c ")
    for text in ("", "-oProxyCommand=x", "a b", "me@", "host:port", "host:=x", "host="):
        with pytest.raises(UsageError, match="--host takes"):
            Address.read(text)


def test_two_hosts_give_the_stream_of_this_machine(connect: Connect, tmp_path: Path) -> None:
    """Byte for byte, of real frameworks; each host has one of them, and nothing is left there."""
    executor = connect("first", "second", backends=2)
    summary = real(pool_of(executor), tmp_path / "out")
    assert [host.unfit for host in executor._hosts] == [{}, {}]
    executor.close()
    assert rows(tmp_path / "out") == local()
    assert (summary.exit_code, summary.losses, summary.troubles) == (0, [], [])
    assert not list(tmp_path.glob("conformance-*"))


def test_workers_are_spread_and_have_what_they_need(connect: Connect) -> None:
    """One on each host, with the adapter's variables, a folder of its own, and no file of ours."""
    executor = connect("first", "second")
    with Pool([TOY], executor=executor, workers=2) as pool:
        for number in (0, 1):
            pool.submit("toy", asked(number), lane=number)
        told = [said(answer) for answer in answers(pool).values()]
        assert [host.seats for host in executor._hosts] == [1, 1]
        assert not pool.hold.shared
    executor.close()
    assert len({each["pid"] for each in told}) == 2
    assert {each["level"] for each in told} == {"3"}
    assert [Path(each["folder"]).name for each in told] in (["toy-0", "toy-1"], ["toy-1", "toy-0"])
    assert not any(Path(each["folder"]).exists() for each in told)
    assert not any(alive(each["pid"]) for each in told)


def test_there_is_room_for_a_worker_on_each_core(connect: Connect) -> None:
    """Of all hosts together, shared by the backends."""
    cores = len(os.sched_getaffinity(0))
    assert connect("first", "second").room(TOY) == 2 * cores
    assert connect("first", "second", backends=2).room(TOY) == cores


def test_a_large_tensor_is_sent_there_and_back(connect: Connect) -> None:
    """A file of ours would not be seen there, nor one of theirs here."""
    large = np.arange(LONG, dtype=np.float32)
    with Pool([TOY], executor=connect("first")) as pool:
        pool.submit("toy", Request(1, Binding("turn", {}), {"x": to_wire(large)}, {}))
        answer = answers(pool)[1]
        assert pool.hold.sizes == {}
    assert isinstance(answer.output, Array)
    np.testing.assert_array_equal(from_wire(answer.output), -large)


def test_a_crash_is_the_result_of_its_call(connect: Connect) -> None:
    """With the last words of the process; what is printed disturbs nothing, and others are answered."""
    with Pool([TOY], executor=connect("first")) as pool:
        for number, what in enumerate(["say", "noise", "die", "say"]):
            pool.submit("toy", asked(number, what))
        found = answers(pool)
    assert [type(found[number]) for number in range(4)] == [Reply, Reply, Death, Reply]
    assert (found[2].status, found[2].signal, found[2].stderr) == ("crash", "exit status 9", "Oh no.")
    assert found[2].sequence == ()
    assert said(found[0])["pid"] == said(found[1])["pid"] != said(found[3])["pid"]


def test_who_dies_between_two_calls_accuses_none(connect: Connect) -> None:
    """What is sent to a process that is dead already was not its end."""
    with Pool([TOY], executor=connect("first")) as pool:
        pool.submit("toy", asked(1, "late"))
        answers(pool)
        time.sleep(1)
        pool.submit("toy", asked(2))
        assert isinstance(answers(pool)[2], Reply)


def test_a_call_that_hangs_in_native_code_is_ended_there(connect: Connect) -> None:
    """The process is gone on the host, and what follows is answered by another."""
    with Pool([TOY], timeout=1.0, executor=connect("first")) as pool:
        pool.submit("toy", asked(1))
        process = said(answers(pool)[1])["pid"]
        pool.submit("toy", asked(2, "hang"))
        pool.submit("toy", asked(3))
        found = answers(pool)
    assert isinstance(found[2], Death)
    assert found[2].status == "timeout"
    assert said(found[3])["pid"] != process
    assert not alive(process)


def test_a_lost_connection_accuses_nobody(connect: Connect) -> None:
    """What was owed is asked of the other host, each call is answered once, and the worker there ends."""
    executor = connect("first", "second")
    with Pool([TOY], executor=executor) as pool:
        pool.submit("toy", asked(0))
        first = said(answers(pool)[0])
        host = next(place for place, host in enumerate(executor._hosts) if host.seats)
        for number in range(1, 7):
            pool.submit("toy", asked(number, "slow"))
        time.sleep(0.5)
        cut(executor, host)
        found = answers(pool)
        (loss,) = pool.losses()
        assert executor._hosts[1 - host].seats == 1
    assert all(isinstance(answer, Reply) for answer in found.values())
    assert sorted(found) == list(range(1, 7))
    assert len({said(answer)["pid"] for answer in found.values()} - {first["pid"]}) == 1
    assert "the connection to host" in loss
    assert loss.endswith("calls asked again")
    assert not alive(first["pid"])
    assert not Path(first["folder"]).exists()
    assert executor.troubles() == []


def test_a_connection_that_is_silent_accuses_nobody(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time for an answer is over, and the host says nothing either: the call is made elsewhere."""
    monkeypatch.setattr("conformance.remote.WORDS_SECONDS", 0.5)
    executor = connect("first", "second")
    with Pool([TOY], timeout=1.0, executor=executor) as pool:
        pool.submit("toy", asked(0))
        answers(pool)
        connection = next(host.connection for host in executor._hosts if host.seats)
        assert connection is not None
        os.kill(connection._popen.pid, signal.SIGSTOP)
        pool.submit("toy", asked(1))
        assert isinstance(answers(pool)[1], Reply)
        (loss,) = pool.losses()
    assert "does not answer any more; 1 call asked again" in loss


def test_the_only_host_is_connected_anew(connect: Connect) -> None:
    """There is no other; what it was asked is answered."""
    executor = connect("first")
    with Pool([TOY], executor=executor) as pool:
        pool.submit("toy", asked(0))
        answers(pool)
        pool.submit("toy", asked(1, "slow"))
        cut(executor)
        assert isinstance(answers(pool)[1], Reply)
        assert len(pool.losses()) == 1


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("nobody", "Connection refused"),
        ("stranger", "Host key verification failed"),
        ("first=no-such-python", "not found"),
    ],
)
def test_a_host_that_cannot_be_used_is_said_and_others_do_its_work(
    connect: Connect, host: str, why: str
) -> None:
    """One line says what it lacks; the run is answered, and no success."""
    executor = connect(host, "second")
    with Pool([TOY], executor=executor, workers=2) as pool:
        for number in (0, 1):
            pool.submit("toy", asked(number), lane=number)
        assert all(isinstance(answer, Reply) for answer in answers(pool).values())
        assert pool.losses() == []
    (trouble,) = executor.troubles()
    assert trouble.startswith(f"host {host.partition('=')[0]}: ")
    assert why in trouble


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("exec env TOY_LACKS=toynn", "ImportError: no module named toynn"),
        ("exec env TOY_VERSION=0.9", "version '0.9', host second has '1.0'"),
    ],
)
def test_a_host_whose_framework_is_another_is_not_used(
    connect: Connect, tmp_path: Path, how: str, why: str
) -> None:
    """What it lacks is said, or how it differs: a run speaks of one version."""
    executor = connect("second", f"first={wrapped(tmp_path, how)}")
    with Pool([TOY], executor=executor) as pool:
        pool.environments()
        assert executor._hosts[0].seats == 1
        pool._add(TOY)  # as `widen` does, once the first has said what it is
        pool.environments()
        for number in range(4):
            pool.submit("toy", asked(number), lane=number)
        found = answers(pool)
        assert all(isinstance(answer, Reply) for answer in found.values())
        assert executor._hosts[0].seats == 2
        assert pool.losses() == []
    (trouble,) = executor.troubles()
    assert trouble.startswith("host first for toy: ")
    assert why in trouble


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("exec env TOY_LACKS=toynn", "host first: ImportError: no module named toynn"),
        ("set -- -S -I -u -c 'import sys;exec(eval(sys.stdin.readline()))'; exec", "No module named"),
        ("echo Welcome!; exec", "does its shell print something by itself?"),
        ("exit 3; exec", "its interpreter said nothing"),
    ],
)
def test_where_no_host_is_left_a_backend_is_lost(
    connect: Connect, tmp_path: Path, how: str, why: str
) -> None:
    """With what each lacks; nothing hangs, and it is said once."""
    executor = connect(f"first={wrapped(tmp_path, how)}")
    with Pool([TOY], executor=executor) as pool:
        pool.submit("toy", asked(1))
        (answer,) = answers(pool).values()
    assert isinstance(answer, Lost)
    assert answer.reason.startswith("backend toy cannot start: host first: ")
    assert why in answer.reason


def test_an_interrupted_run_leaves_nothing_on_a_host(connect: Connect) -> None:
    """Not even a call that hangs in native code."""
    executor = connect("first")
    with pytest.raises(KeyboardInterrupt), Pool([TOY], executor=executor) as pool:  # noqa: PT012 - as it is
        pool.submit("toy", asked(1))
        told = said(answers(pool)[1])
        pool.submit("toy", asked(2, "hang"))
        raise KeyboardInterrupt
    executor.close()
    assert not alive(told["pid"])
    assert not Path(told["folder"]).exists()
