"""What is kept of a case comes back bit for bit, under a name that changes with whatever judges it."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from conformance import memo as module
from conformance.adapters import BACKENDS
from conformance.adapters.layouts import numpy_of
from conformance.arrays import to_wire
from conformance.child import Call, body
from conformance.hold import Held, Hold
from conformance.ledger import Ledger, load_ledger
from conformance.load import load_operator
from conformance.memo import Kept, Memo, hashed
from conformance.suite import Case
from conformance.types import Array, Binding, Raised, Reply, Request

HERE = Path(__file__).parent
TEXT = (HERE / "data" / "miniature.yaml").read_text()


@pytest.fixture(autouse=True)
def _backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setitem(BACKENDS, "miniature", "miniatures:Honest")


def case_in(folder: Path, text: str = TEXT) -> Case:
    """Return the first case of an op file that stands in a folder."""
    path = folder / "miniature.yaml"
    path.write_text(text)
    return load_operator(path).cases[0]


def kept(request: bytes) -> Kept:
    """Make something to keep."""
    return Kept("1.0", [request], [()], [b"hash"], [(0, b"{}\n")], [("pass", "ok")], ["entry"], [])


def known(memo: Memo, case: Case) -> dict[str, Kept]:
    """Return what is kept of a case."""
    page = memo.page(case)
    return page.pairs


def leave(memo: Memo, case: Case, what: Kept) -> None:
    """Keep something of a case."""
    page = memo.page(case)
    page.keep("toy.op", what)
    assert page.write()


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    """Under the same name; another case has its own."""
    case, other = load_operator(HERE / "data" / "miniature.yaml").cases[:2]
    leave(Memo(Ledger({}), tmp_path), case, kept(b"request"))
    again = Memo(Ledger({}), tmp_path)
    assert known(again, case) == {"toy.op": kept(b"request")}
    assert known(again, other) == {}


@pytest.mark.parametrize("what", ["file", "ledger", "program"])
def test_what_judges_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """An op file, a ledger or a program that is another one finds nothing of what was kept."""
    case = case_in(tmp_path)
    leave(Memo(Ledger({}), tmp_path / "memo"), case, kept(b"request"))
    ledger = Ledger({})
    if what == "file":
        case = case_in(tmp_path, TEXT + "# a comment is enough\n")
    elif what == "ledger":
        ledger = load_ledger()
    else:
        monkeypatch.setattr(module, "program", lambda: "another")
    assert known(Memo(ledger, tmp_path / "memo"), case) == {}


def test_a_file_that_is_edited_meanwhile_names_nothing(tmp_path: Path) -> None:
    """What a run loaded is what its verdicts are of; those who load the file as it is now find nothing."""
    case = case_in(tmp_path)
    edited = case_in(tmp_path, TEXT + "# edited while the run lasts\n")
    leave(Memo(Ledger({}), tmp_path / "memo"), case, kept(b"request"))
    memo = Memo(Ledger({}), tmp_path / "memo")
    assert known(memo, edited) == {}
    assert known(memo, case) != {}


def test_every_source_is_a_part_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte more in any module of the package, and it is another program."""
    (tmp_path / "report").mkdir()
    (tmp_path / "judge.py").write_text("one")
    (tmp_path / "report" / "page.py").write_text("two")
    monkeypatch.setattr(module, "files", lambda _: tmp_path)
    names = set()
    for change in ("", "judge.py", "report/page.py"):
        if change:
            (tmp_path / change).write_text("changed")
        module.program.cache_clear()
        names.add(module.program())
    module.program.cache_clear()
    assert len(names) == 3


@pytest.mark.parametrize("cut", [slice(0, -1), slice(3, None), slice(0, 20), slice(0, 0)])
def test_a_damaged_file_is_nothing(tmp_path: Path, cut: slice) -> None:
    """And it is gone, so that the next one takes its place."""
    case = case_in(tmp_path)
    memo = Memo(Ledger({}), tmp_path / "memo")
    leave(memo, case, kept(b"request"))
    (path,) = (tmp_path / "memo").glob("*/*")
    path.write_bytes(path.read_bytes()[cut])
    assert known(memo, case) == {}
    assert not path.exists()
    leave(memo, case, kept(b"request"))
    assert known(memo, case) != {}


def test_a_folder_that_cannot_be_written_costs_time_alone(tmp_path: Path) -> None:
    """Nothing is kept, and nothing is raised."""
    case = case_in(tmp_path)
    (tmp_path / "taken").write_text("a file")
    page = Memo(Ledger({}), tmp_path / "taken").page(case)
    page.keep("toy.op", kept(b"request"))
    assert not page.write()


def request_of(*arrays: np.ndarray) -> Request:
    """Ask something about tensors."""
    tensors = {f"t{place}": to_wire(each) for place, each in enumerate(arrays)}
    return Request(7, Binding("toy.op", {}), tensors, {"p": 1.5}, ("t0",), to_wire(arrays[0]))


def holds(folder: Path, *names: str) -> list[Hold]:
    """Make folders of large tensors, as runs have them."""
    made = [Hold(folder / name) for name in names]
    for each in made:
        each.folder.mkdir()
    return made


def test_a_large_tensor_is_kept_once(tmp_path: Path) -> None:
    """However many requests have it, in a file of its own; a later run has it where its workers read."""
    case = case_in(tmp_path)
    large = np.arange(40_000, dtype=np.float64)
    first, later = holds(tmp_path, "first", "later")
    asked = [request_of(large, np.ones(3)), request_of(np.ones(2), large), request_of(large * 2)]
    requests = [first.request(each) for each in asked]
    memo = Memo(Ledger({}), tmp_path / "memo")
    page = memo.page(case)
    assert [page.take_over(each, first) for each in requests] == [True, False, True]
    page.keep("toy.op", Kept("1.0", [body(each) for each in requests], [each.held for each in requests]))
    assert page.write()
    sizes = sorted(path.stat().st_size for path in (tmp_path / "memo").glob("*/*"))
    assert sizes[0] < 2000
    assert sizes[1:] == [large.nbytes] * 2
    back = memo.page(case).pairs["toy.op"]
    assert memo.page(case).put_back(back, later)
    assert [Call.numbered(7, each) for each in back.requests] == [Call.of(each) for each in requests]
    read = msgspec.msgpack.decode(Call.numbered(7, back.requests[0]).data, type=Request)
    np.testing.assert_array_equal(numpy_of(Held(str(later.folder)).request(read).tensors["t0"]), large)


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_what_lacks_a_large_tensor_is_asked_anew(tmp_path: Path, how: str) -> None:
    """The folder's limit may have taken it, or a disk changed it; then it is kept again."""
    case = case_in(tmp_path)
    first, later, last = holds(tmp_path, "first", "later", "last")
    request = first.request(request_of(np.arange(40_000, dtype=np.float64)))
    page = Memo(Ledger({}), tmp_path / "memo").page(case)
    page.take_over(request, first)
    (path,) = (tmp_path / "memo").glob("*/*")
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[::-1])
    pair = Kept("1.0", [body(request)], [request.held])
    assert not page.put_back(pair, later)
    assert page.take_over(request, first)
    assert page.put_back(pair, last)


@pytest.mark.parametrize("number", [0, 127, 128, 255, 256, 65_535, 65_536, 1 << 40])
def test_a_body_takes_any_number(number: int) -> None:
    """Encoded without its number, and with it: the same bytes as encoded at once."""
    request = request_of(np.ones(2))
    asked = Request(number, *[getattr(request, name) for name in request.__struct_fields__[1:]])
    assert Call.numbered(number, body(request)) == Call.of(asked)


def test_an_answer_is_its_bits() -> None:
    """Not its number, nor the time that it took; everything else counts, a NaN's payload and −0 too."""
    one = Reply(1, to_wire(np.zeros(2)), {"t0": None}, (), 0.5)
    same = Reply(2, to_wire(np.zeros(2)), {"t0": None}, (), 0.7)
    assert hashed(one) == hashed(same)
    nan = np.array([0x7FF8000000000001], np.uint64).view(np.float64)
    others = [
        Reply(1, to_wire(np.array([0.0, -0.0])), {"t0": None}),
        Reply(1, to_wire(np.zeros((2, 1))), {"t0": None}),
        Reply(1, to_wire(np.zeros(2)), {}),
        Reply(1, to_wire(np.zeros(2)), {"t0": None}, ("t0",)),
        Reply(1, to_wire(np.zeros(2)), {"t0": None}, altered=("the locale",)),
        Reply(1, Raised("call", "value", "ValueError", "no"), {"t0": None}),
        Reply(1, to_wire(nan), {"t0": None}),
        Reply(1, Array("float64", (1,), np.array([np.nan]).tobytes()), {"t0": None}),
    ]
    assert len({hashed(one), *map(hashed, others)}) == 1 + len(others)


def test_the_folder_keeps_within_its_limit(tmp_path: Path) -> None:
    """The entries that were not read for longest go, if this run has added any."""
    cases = load_operator(HERE / "data" / "miniature.yaml").cases[:3]
    memo = Memo(Ledger({}), tmp_path, limit=1500)
    for case in cases:
        leave(memo, case, kept(b"x" * 1000))
    memo.trim()
    assert len(list(tmp_path.glob("*/*"))) == 3  # nothing says that it has grown
    memo.grown = True
    memo.trim()
    assert len(list(tmp_path.glob("*/*"))) == 1
