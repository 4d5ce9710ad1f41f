"""The bench's own parts: what it counts, what it strikes out, what it prints. Nothing here is timed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from conformance.adapters import BACKENDS
from conformance.adapters.base import Adapter, Tensors
from conformance.arrays import to_wire
from conformance.compare import compare
from conformance.load import load_operator
from conformance.question import expectation, request_for
from conformance.types import Array, Binding, Environment, Request
from tests.bench import bare, loop, oracle
from tests.bench.child import peak
from tests.bench.entrance import Spent, per_item
from tests.bench.figures import WIDTH, Figure, as_json, number, ratio, table
from tests.bench.growth import many
from tests.bench.jobs import Job, Pair, Ran, perform
from tests.bench.loop import Looped, bare_loop, progress, settled
from tests.bench.requests import Recorded, read_requests, write_request
from tests.bench.runs import floor
from tests.bench.startup import imported

HERE = Path(__file__).parent
ONE = to_wire(np.ones(2, np.float32))


def request(number: int = 1, *gradients: str, **more: Any) -> Request:
    """Ask for a call with two tensors."""
    tensors = {"input": ONE, "target": ONE}
    return Request(number, Binding("fake.loss", {"input": "input"}), tensors, {}, gradients, ONE, **more)


class Fake(Adapter):
    """Writes down what is called; refuses what it is told to refuse."""

    name, distribution, namespaces = "fake", "fake", ("fake",)

    def __init__(self, *refused: str) -> None:
        super().__init__()
        self.refused, self.log = refused, list[str]()

    def _say(self, what: str) -> None:
        self.log.append(what)
        if what in self.refused:
            raise ValueError(what)

    def start(self) -> Environment:
        """Never started."""
        raise NotImplementedError

    def tensor(self, array: Array, *, grad: bool) -> Any:
        """Hand the array on."""
        self._say(f"tensor {'d' if grad else 'c'}")
        return array

    def read(self, tensor: Any) -> Array:
        """Read; inputs are read too, by the adapter's own look for mutations, and that is no call."""
        result: Array = tensor
        return result

    def invoke(self, binding: Binding, tensors: Tensors, params: Any) -> Any:
        """Write the call down."""
        del binding, tensors, params
        self._say("call" if "tensor d" in self.log[-2:] else "call plainly")
        return ONE

    def pull_back(
        self,
        call: Callable[[Tensors], Any],
        output: Any,
        tensors: Tensors,
        wanted: tuple[str, ...],
        ct: Array,
    ) -> list[Any | None]:
        """Write the names down."""
        del call, output, tensors, ct
        self._say(f"back {','.join(wanted)}")
        return [ONE for _ in wanted]

    def pull_back_twice(
        self, call: Callable[[Tensors], Any], tensors: Tensors, name: str, ct: Array, direction: Array
    ) -> Any | None:
        """Call once, and write the name down."""
        del ct, direction
        call(tensors)
        self._say(f"twice {name}")
        return ONE


@pytest.mark.parametrize(
    "refused",
    [
        (),
        ("call",),
        ("call", "call plainly"),
        ("back input,target",),
        ("back input,target", "back target"),
        ("twice input",),
        ("tensor c",),
    ],
)
@pytest.mark.parametrize("gradients", [(), ("input",), ("input", "target")])
def test_the_bare_loop_makes_the_calls_that_a_worker_makes(
    refused: tuple[str, ...], gradients: tuple[str, ...]
) -> None:
    """Whatever a framework refuses: the same tensors, calls, derivatives and second attempts, in order."""
    asked = request(1, *gradients, directions=dict.fromkeys(gradients[:1], ONE))
    ours, theirs = Fake(*refused), Fake(*refused)
    bare.call(ours, asked)
    theirs.execute(asked)
    assert ours.log == theirs.log
    assert ours.log


def test_requests_come_back_in_order_and_from_any_place(tmp_path: Path) -> None:
    """So that a loop can go on behind the call that ended it."""
    written = [Recorded(f"op/{n}", "torch", request(n, "input")) for n in range(4)]
    with (tmp_path / "requests").open("wb") as file:
        for each in written:
            write_request(file, each)
    assert list(read_requests(tmp_path / "requests")) == list(enumerate(written))
    assert list(read_requests(tmp_path / "requests", 2)) == list(enumerate(written))[2:]


def test_progress_names_the_call_that_has_not_ended() -> None:
    """The last line may be cut anywhere by the death that it tells of."""
    told = progress("i 1.5\nb 0\ne 0 0.25\nb 3\n")
    assert (told.imported, told.at, told.seconds, told.done) == (1.5, 3, {0: 0.25}, False)
    assert progress("b 0\ne 0 0.25\nb 3\ne 3 0.1").at == 3
    assert progress("b 0\ne 0 0.25\nd\n").done
    assert progress("").imported is None


def ran(*deaths: Pair) -> Ran:
    return Ran(0.0, 1.0, 1.0, 1, deaths, 0, 1)


def test_pairs_are_struck_out_until_neither_side_dies() -> None:
    """A damaged memory kills at another call once the first is left out, and a run elsewhere than a loop."""
    a, b, c, d = ((case, "mindspore") for case in "abcd")
    seen: list[tuple[str, frozenset[Pair]]] = []

    def looped(struck: frozenset[Pair]) -> Looped:
        seen.append(("loop", struck))
        dead = next(((pair,) for pair in (a, b, d) if pair not in struck), ())
        return Looped(1.0, 1.0, 1, dead if c in struck or dead != (d,) else ())

    def run(struck: frozenset[Pair]) -> Ran:
        seen.append(("run", struck))
        return ran() if c in struck else ran(c)

    last, whole, struck = settled(looped, run)
    assert struck == {a, b, c, d}
    assert not last.deaths
    assert not whole.deaths
    # Both were measured without the same pairs.
    assert seen[-2:] == [("loop", struck), ("run", struck)]


def test_what_dies_every_time_ends_all_the_same() -> None:
    """After a number of rounds, with what there is."""
    number = 0

    def run(struck: frozenset[Pair]) -> Ran:
        nonlocal number
        number += 1
        return ran((str(len(struck)), "torch"))

    _, last, struck = settled(lambda _: Looped(1.0, 1.0, 1, ()), run)
    assert last.deaths
    assert number == loop.ROUNDS + 1
    assert len(struck) == loop.ROUNDS


@pytest.fixture
def requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Record plain cases, one that miniatures misbehave on, and one behind it."""
    monkeypatch.setitem(BACKENDS, "miniature", "tests.miniatures:Honest")
    cases = {case.name: case for case in load_operator(HERE / "data" / "miniature.yaml").cases}
    chosen = [case for name, case in cases.items() if name.startswith(("plain", "guilty", "weighted"))]
    chosen.sort(key=lambda case: ("weighted" in case.name, "guilty" in case.name))
    with (tmp_path / "requests").open("wb") as file:
        for number, case in enumerate(chosen):
            (api, *_) = case.op.apis
            asked = request_for(case, api, number, expectation(case, api))
            write_request(file, Recorded(case.id, "miniature", asked))
    return tmp_path / "requests"


@pytest.mark.parametrize("name", ["Segfaults", "Aborts", "Exits", "Hangs", "Honest"])
def test_a_call_that_ends_the_loop_is_struck_out(
    name: str, requests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is behind it is measured; left out from the beginning, nothing dies."""
    monkeypatch.setitem(BACKENDS, "miniature", f"tests.miniatures:{name}")
    guilty = frozenset({("multi_margin_loss/guilty[float32]", "miniature")})
    everything = len(list(read_requests(requests)))
    found = bare_loop("miniature", requests, frozenset(), tmp_path / "loop", patience=2.0)
    assert frozenset(found.deaths) == (frozenset() if name == "Honest" else guilty)
    assert found.calls == everything - len(found.deaths)
    again = bare_loop("miniature", requests, guilty, tmp_path / "loop", patience=2.0)
    assert again.deaths == ()
    assert again.calls == everything - 1


def test_a_run_is_recorded_without_what_is_struck(tmp_path: Path) -> None:
    """Every request that it would send, by a pool without workers: no framework is imported."""
    file = tmp_path / "huber_loss.yaml"
    file.write_text(many(3), encoding="utf-8")
    ids = [case.id for case in load_operator(file).cases]
    out = tmp_path / "requests"
    job = Job(
        "record", str(tmp_path), ("torch",), (), str(file), ((ids[1], "torch"),), None, requests=str(out)
    )
    done = perform(job)
    found = [recorded for _, recorded in read_requests(out)]
    assert {each.case for each in found} == {ids[0], ids[2]}
    assert done.asked == len(found) >= 2
    assert done.deaths == ()
    assert done.peak > 1 << 20


def test_generated_cases_are_as_many_and_as_large_as_asked() -> None:
    """In matrices of a length that a file may have; every one its own question to the oracle."""
    operator = load_operator(Path("huber_loss.yaml"), many(250, 8))
    assert len(operator.cases) == len({case.params["delta"] for case in operator.cases}) == 250
    assert {case.tensors["input"].size for case in operator.cases} == {8}


def test_every_result_to_compare_is_what_its_name_says() -> None:
    """The honest ones conform, so that they take the way which most results take."""
    verdicts = {
        name: compare("output", to_wire(got), exact).status
        for name, got, exact in oracle._results(np.linspace(0.5, 2, 5000).astype(np.longdouble))
    }
    assert verdicts.pop("a hundredth wrong") == "fail"
    assert set(verdicts.values()) == {"pass"}
    assert len(verdicts) == 4


def test_the_floor_of_all_backends() -> None:
    """The longest with its import, or what all calls take on the cores that there are."""
    loops = [Looped(4.0, 1.0, 1, ()), Looped(10.0, 2.0, 1, ()), Looped(12.0, 0.5, 1, ())]
    assert floor(loops, 2) == 13.0
    assert floor(loops[1:], 4) == 12.5
    assert floor(loops, 1) == 26.0


def test_imports_are_read_from_what_python_says() -> None:
    """Whole packages, from any depth."""
    said = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       100 |        200 |   torch.nn\nimport time:  5 | 6 | numpy\nother words\n"
    )
    assert imported(said) == {"torch", "numpy"}


def test_a_table_fits_its_columns_and_names_what_is_over() -> None:
    """Eighty, however long the names; without a target there is no verdict."""
    figures = [
        Figure("One", "name " * 30, 123456.789, "ms/case", 1.0, "note " * 40),
        Figure("One", "good", 0.5, "s", 0.5),
        Figure("Two", "just a number", float("inf"), "passes"),
        Figure("Two", "not even a number", float("nan"), "", 1.0),
    ]
    text = table(figures)
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert [figure.missed for figure in figures] == [True, False, False, True]
    assert text.count("over target: ") == 2
    assert "over target" not in table(figures[1:3])


def test_numbers_and_ratios() -> None:
    """Three digits are enough; over nothing is too much."""
    assert [number(x) for x in (0.012345, 12.345, 99999.6)] == ["0.0123", "12.3", "100,000"]
    assert ratio(1.0, 2.0) == 0.5
    assert ratio(1.0, 0.0) == float("inf")


def test_json_has_the_figures_and_what_they_were_measured_with() -> None:
    """As plain JSON: what it has no number for is null."""
    read = msgspec.json.decode(as_json([Figure("One", "a", float("inf"), "s")], {"cores": 2}))
    assert read["about"] == {"cores": 2}
    assert read["figures"][0]["value"] is None
    assert read["figures"][0]["name"] == "a"


def test_the_least_of_several_times_counts() -> None:
    """Per item, in milliseconds, collecting and running each by itself."""
    assert per_item([Spent(2.0, 4.0, 1000), Spent(3.0, 1.0, 1000)]) == (2.0, 1.0)


def test_memory_is_that_of_this_process() -> None:
    """At least what an interpreter takes."""
    assert peak() > 1 << 20
