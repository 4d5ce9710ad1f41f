"""What the tests of executors share: a selection of real frameworks, and this machine's stream of it."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from conformance.backends import BackendSpec
from conformance.executor import Executor
from conformance.ledger import load_ledger
from conformance.load import load_suite
from conformance.pool import Pool, backend_spec
from conformance.run import Selection, run
from conformance.summary import Progress, Summary
from tests.far_toys import Far

ROOT = Path(__file__).parent.parent
OPERATOR = "hinge_embedding_loss"
NAMES = ("torch", "paddle")
TOY = BackendSpec("toy", f"{Far.__module__}:Far", "", (str(ROOT),))


def real(pool: Pool | None, out: Path, progress: Progress | None = None) -> Summary:
    """Run all calls of one operator through torch and paddle, as the command does."""
    selection = Selection(tuple(specs(here=pool is None)), (OPERATOR,))
    return run(load_suite(None, [OPERATOR]), selection, load_ledger(), out, pool=pool, progress=progress)


def specs(*, here: bool = False) -> list[BackendSpec]:
    """Return the two frameworks."""
    return [backend_spec(name, here=here) for name in NAMES]


def pool_of(executor: Executor) -> Pool:
    """Make a pool of the two frameworks."""
    return Pool(specs(), executor=executor)


@cache
def local() -> list[bytes]:
    """Return the stream that this machine's workers give, but for its head: that has the time in it."""
    with TemporaryDirectory() as folder:
        assert real(None, Path(folder)).exit_code == 0
        return rows(Path(folder))


def rows(out: Path) -> list[bytes]:
    """Return the lines of a stream, but for its head."""
    return (out / "run.jsonl").read_bytes().splitlines()[1:]
