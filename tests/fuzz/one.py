"""`python -m tests.fuzz.one LOADER [libFuzzer options]`: fuzz one loader until it breaks a rule."""

import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["conformance"]):
    from tests.fuzz.rules import LOADERS, Loader, holds, warm
from tests.fuzz.trees import mutated

LIKELY = 0.6
"""How often the tree is changed, and not the bytes."""


def mutator(loader: Loader) -> "atheris.Mutator":
    """Return a mutation for libFuzzer: the same seed gives the same bytes."""

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)  # noqa: S311 - no secret
        if chance.random() < LIKELY:
            try:
                text = loader.write(mutated(loader.parse(data.decode()), chance))
                made = text.encode("utf-8", "surrogatepass")
            except Exception:  # noqa: BLE001 - no tree: then its bytes are changed
                made = b""
            if 0 < len(made) <= most:
                return made
        return bytes(atheris.Mutate(data, most))

    return mutate


def main() -> None:
    """Fuzz; libFuzzer ends the process."""
    name, *options = sys.argv[1:]
    loader = LOADERS[name]
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as made:  # noqa: S108
        folder = Path(made)
        warm(loader, folder)
        atheris.Setup(
            [sys.argv[0], *options], lambda data: holds(loader, folder, data), custom_mutator=mutator(loader)
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
