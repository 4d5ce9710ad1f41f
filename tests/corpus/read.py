"""The corpus of malformed files: small texts in place of others in a valid file, and where that is noticed.

A record in `*.txt` is a line `@@ name | line:column | what the message says`, then the text that is replaced
(`-`) and what takes its place (`+`). Without `-` the whole file is replaced.
"""

from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent


class Bad(NamedTuple):
    """A malformed file and the complaint that it deserves."""

    name: str
    text: str
    where: str
    says: str


def corpus(name: str, valid: str) -> list[Bad]:
    """Read the records of `name`, which change the file `valid`."""
    whole = (HERE / valid).read_text(encoding="utf-8")
    found = []
    for record in (HERE / name).read_text(encoding="utf-8").split("\n@@ ")[1:]:
        head, *lines = record.removesuffix("\n").split("\n")
        called, where, says = head.split(" | ", 2)
        old, new = ("\n".join(line[1:] for line in lines if line[:1] == sign) for sign in "-+")
        if old not in whole:
            raise ValueError(f"{name}: {called}: {old!r} is not in {valid}")
        found.append(Bad(called, whole.replace(old, new, 1) if old else new, where, says))
    return found
