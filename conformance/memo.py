"""What runs wrote of a case, by the bits that its calls gave: the same bits would be judged the same again.

Judging is a pure function: of the program, the ledger, the op's file, the framework's version and the bits
of the answers. So a case's file is named by the first three, and each of its pairs holds the version and a
hash of every answer. The calls are made in every run; where an answer differs by a bit, and wherever
something failed in a way that is not known, all is judged anew. Each file has a hash of itself.
"""

from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import msgspec
from msgspec.structs import replace

from conformance import entries
from conformance.cache import fingerprint
from conformance.folders import cache_folder
from conformance.hold import Hold
from conformance.ledger import Ledger
from conformance.suite import Case
from conformance.types import Outcome, Reply, Request, Status

LIMIT = 1 << 30
"""Bytes that the folder may hold; the entries that were not read for longest go first."""
LARGEST = 64 << 20
"""Bytes of the largest entry that is kept."""


class Kept(msgspec.Struct, array_like=True):
    """All of a pair of a case and an API: what it was asked, what came, and what was written of it."""

    version: str
    requests: list[bytes] = []
    """Encoded, without their numbers."""
    held: list[tuple[str, ...]] = []
    """The large tensors of each, which have files of their own."""
    answers: list[bytes] = []
    """A hash of each answer, in the order of the requests."""
    lines: list[tuple[int, bytes]] = []
    """Its rows in the stream, each with its place among them."""
    results: list[tuple[Status, Outcome]] = []
    hits: list[str] = []
    """The entries of the ledger that its checks matched."""
    heard: list[tuple[str, bool, str]] = []
    """What claims got from it."""
    related: int = 0
    """How many relations were to be judged."""


_decoder = msgspec.msgpack.Decoder(dict[str, Kept])
_encode = msgspec.msgpack.Encoder().encode


class Page:
    """What is kept of one case, by API."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._path = folder, entries.place(folder, name)
        content = entries.read(self._path)
        self.pairs = {} if content is None else _decoder.decode(content)
        self._changed = False

    def put_back(self, kept: Kept, hold: Hold) -> bool:
        """Have the large tensors of a pair where workers read them; False: one is not kept any more."""
        names = {name for each in kept.held for name in each}
        return all(hold.borrow(name, entries.place(self._folder, name)) for name in names)

    def take_over(self, request: Request, hold: Hold) -> bool:
        """Keep the large tensors of a request, which are where workers read them; say whether one is new."""
        grown = False
        for name in request.held:
            path = entries.place(self._folder, name)
            if hold.sizes[name] <= LARGEST and not path.exists():
                grown |= hold.lend(name, path)
        return grown

    def keep(self, api: str, kept: Kept) -> None:
        """Take down what became of a pair."""
        self.pairs[api] = kept
        self._changed = True

    def write(self) -> bool:
        """Leave it for the next run; a folder that cannot be written costs time and nothing else."""
        if not self._changed:
            return False
        content = _encode(self.pairs)
        return len(content) <= LARGEST and entries.write(self._path, content)


class Memo:
    """A folder of what runs wrote, safe to share between runs at the same time."""

    def __init__(self, ledger: Ledger, folder: Path | None = None, limit: int = LIMIT) -> None:
        self.folder = folder or cache_folder() / "memo"
        self.limit = limit
        self._about = sha256(program().encode() + _encode(ledger.entries)).digest()
        self.grown = False
        """Whether anything was added."""

    def page(self, case: Case) -> Page:
        """Return what is kept of a case."""
        name = sha256(self._about + f"{case.op.digest} {case.id}".encode()).hexdigest()[:40]
        return Page(self.folder, name)

    def trim(self) -> None:
        """If it has grown, remove what was not read for longest until the folder is within its limit."""
        if self.grown:  # else it is as the run before left it, and to look takes a second
            entries.trim(self.folder, self.limit)


def hashed(reply: Reply) -> bytes:
    """Name an answer by its bits: all of it but its number and the time that it took."""
    return sha256(_encode(replace(reply, id=0, seconds=0.0))).digest()


@cache
def program() -> str:
    """Name all that judges: this package's sources, the references', NumPy, the machine's arithmetic."""
    digest = sha256(fingerprint().encode())
    package = Path(str(files("conformance")))
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
