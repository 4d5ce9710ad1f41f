"""The keeper: it always answers, ends what hangs, sees who dies, and leaves nothing."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conformance import bundle
from conformance.child import Call, batch
from conformance.keeper import Keeper, Said
from conformance.types import Environment, Reply
from tests.executors import TOY
from tests.far_toys import asked
from tests.test_pool import alive, said


@pytest.fixture(name="keeper")
def _keeper(tmp_path: Path) -> Iterator[Keeper]:
    """A keeper with a folder."""
    root = tmp_path / "kept"
    root.mkdir()
    keeper = Keeper(root)
    yield keeper
    keeper.close()


def start(keeper: Keeper, number: int = 1, **more: Any) -> None:
    """Have a toy started, and wait until it is ready."""
    spec = msgspec.msgpack.encode(replace(TOY, **more))
    keeper.handle(("start", number, spec, {"TOY_LEVEL": "7"}, f"toy-{number}", "log"))
    assert until(keeper, number, "said")[0] == "ready"


def until(keeper: Keeper, number: int, what: str) -> Any:
    """Wait for something that is said; nothing else may be but what precedes an end."""
    for _ in range(60):
        for one, heard, value in keeper.hear(0.5):
            if (one, heard) == (number, what):
                return value
            assert (heard, value) == ("said", None)
    raise AssertionError(f"never said: {what}")


def send(keeper: Keeper, *what: str, number: int = 1) -> None:
    """Ask the toy."""
    calls = [Call.of(asked(place, each)) for place, each in enumerate(what)]
    keeper.handle(("send", number, batch(calls)))


def told(keeper: Keeper) -> dict[str, Any]:
    """Ask the toy about its process."""
    send(keeper, "say")
    return said(msgspec.msgpack.decode(until(keeper, 1, "said"), type=Reply))


def everything(keeper: Keeper, seconds: float) -> list[Said]:
    """Return all that is said within a time."""
    heard: list[Said] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        heard += keeper.hear(0.2)
    return heard


def test_a_worker_has_what_the_near_side_says(keeper: Keeper) -> None:
    """Its variables and its folder; the interpreter is the keeper's where none is named."""
    start(keeper)
    found = told(keeper)
    assert found["level"] == "7"
    assert Path(found["folder"]) == keeper._root / "toy-1"
    assert Path(f"/proc/{found['pid']}/exe").resolve() == Path(sys.executable).resolve()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not say")
def test_who_is_kept_on_one_core_is_kept_on_one_of_this_machine(keeper: Keeper) -> None:
    """By its place in the run: the near side's cores have other numbers."""
    ours = os.sched_getaffinity(0)
    found = []
    for number in (1, 2):
        start(keeper, number, core=1000 + number)
        send(keeper, "say", number=number)
        process = said(msgspec.msgpack.decode(until(keeper, number, "said"), type=Reply))["pid"]
        found.append(os.sched_getaffinity(process))
    assert [len(cores) for cores in found] == [1, 1]
    assert set.union(*found) <= ours
    assert (found[0] != found[1]) == (len(ours) > 1)


def test_an_end_is_told_after_the_last_answer(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it answered, the end of its channel, and only then its status; its last words can be had."""
    monkeypatch.setattr("conformance.keeper.POLL", 0.0)  # its end is seen before all that it said is read
    start(keeper)
    send(keeper, "say", "say", "die")
    heard = everything(keeper, 2.0)
    assert [(what, type(value).__name__) for _, what, value in heard] == [
        ("said", "bytes"),
        ("said", "bytes"),
        ("said", "NoneType"),
        ("status", "int"),
    ]
    assert heard[-1] == (1, "status", 9)
    keeper.handle(("words", 1))
    assert until(keeper, 1, "words") == "Oh no."


def test_who_died_before_it_was_asked_is_no_end_of_a_call(keeper: Keeper) -> None:
    """`idle` says so, and nothing else follows."""
    start(keeper)
    send(keeper, "late")
    assert isinstance(until(keeper, 1, "said"), bytes)
    assert until(keeper, 1, "status") == 9
    send(keeper, "say")
    assert everything(keeper, 0.5) == [(1, "idle", None)]


def test_who_hangs_is_ended_and_the_keeper_answers_meanwhile(keeper: Keeper) -> None:
    """Native code that keeps its interpreter to itself holds up nobody else."""
    start(keeper)
    process = told(keeper)["pid"]
    send(keeper, "hang")
    keeper.handle(("words", 1))
    assert until(keeper, 1, "words") == ""
    keeper.handle(("kill", 1))
    assert until(keeper, 1, "status") == -9
    assert not alive(process)


def test_what_cannot_be_started_is_refused(keeper: Keeper) -> None:
    """With the reason; a message about who is not there says nothing."""
    spec = msgspec.msgpack.encode(replace(TOY, python="/no/python"))
    keeper.handle(("start", 1, spec, {}, "toy-1", "log"))
    assert "/no/python" in until(keeper, 1, "refused")
    for message in (("send", 1, b""), ("words", 1), ("kill", 1), ("ping",)):
        keeper.handle(message)
    assert keeper.hear(0.1) == []


def test_a_keeper_that_closes_leaves_nothing(keeper: Keeper) -> None:
    """No process and no folder."""
    start(keeper)
    process = told(keeper)["pid"]
    send(keeper, "hang")
    keeper.close()
    assert not alive(process)
    assert not keeper._root.exists()


def test_a_keeper_needs_the_bundle_numpy_and_msgspec(tmp_path: Path) -> None:
    """Nothing else that we depend on, and no other copy of us."""
    (package, _) = bundle.unpacked(tmp_path)
    needed = [Path(each.__file__ or "").parent for each in (sys.modules["numpy"], msgspec)]
    for each in needed:
        (tmp_path / each.name).symlink_to(each)
    said = "import conformance.keeper, conformance.worker, sys; print(conformance.__file__)"
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {said}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert Path(done.stdout.strip()).parent == package


def test_another_version_of_this_package_is_not_taken_for_it(
    keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the interpreter has: a worker is of the same version as who asks it."""
    (tmp_path / "conformance").mkdir()
    (tmp_path / "conformance" / "__init__.py").write_text("raise ImportError('another version')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    start(keeper)


def test_the_environment_of_a_worker_is_what_its_adapter_says(keeper: Keeper) -> None:
    """As everywhere."""
    spec = msgspec.msgpack.encode(TOY)
    keeper.handle(("start", 1, spec, {"TOY_VERSION": "3.1"}, "toy-1", "log"))
    ready = until(keeper, 1, "said")
    assert msgspec.msgpack.decode(ready[1], type=Environment).version == "3.1"
