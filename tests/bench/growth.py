"""How a run grows with the number of its cases and with the size of one: its seconds and its memory."""

from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.jobs import Job, perform

_HEAD = """\
op: huber_loss
family: loss
summary: as often, or as large, as a measurement needs it

tensors:
  input: {kind: floating}
  target: {kind: floating}

params:
  reduction: {default: mean}
  delta: {default: 1.0}

apis:
  torch.nn.functional.huber_loss:
    doc: https://example.org
    call: [input, target, reduction, delta]

cases:
"""
_LONGEST = 100
"""Points of one matrix."""


def many(count: int, elements: int = 16) -> str:
    """Write a case file of `count` cases: they differ in a parameter, and so in what the oracle answers."""
    text = [_HEAD]
    for first in range(0, count, _LONGEST):
        deltas = [round(0.5 + n / 1024, 6) for n in range(first, min(first + _LONGEST, count))]
        text.append(
            f"  - case: many-{first}\n    why: One of many.\n    params: {{reduction: none}}\n"
            f"    inputs: {{input: {{uniform: [{elements}]}}, target: {{uniform: [{elements}]}}}}\n"
            f"    matrix: {{delta: {deltas}}}\n"
        )
    return "".join(text)


def growth(folder: Path, base: int, largest: int) -> list[Figure]:
    """Run 1×, 10× and 100× `base` cases, then one case each of 10², 10³, … `largest` elements."""
    figures = []
    for times in (1, 10, 100):
        figures += _run("Growth with cases", f"{times * base} cases", many(times * base), folder)
    elements = 100
    while elements <= largest:
        figures += _run("Growth with elements", f"{elements:,} elements", many(1, elements), folder)
        elements *= 10
    return figures


def _run(section: str, name: str, text: str, folder: Path) -> list[Figure]:
    place = folder / name.replace(",", "").replace(" ", "-")
    place.mkdir(parents=True, exist_ok=True)
    file = place / "huber_loss.yaml"
    file.write_text(text, encoding="utf-8")
    ran = perform(Job("run", str(place), ("torch",), cases=str(file)))
    # From the beginning: until the worker is ready the parent works ahead, on a small run to its end.
    wall = ran.ready + ran.seconds
    note = f"{1e3 * wall / ran.asked:.2f} ms per request" if ran.asked > 1 else ""
    return [
        Figure(section, f"{name}: wall", wall, "s", note=note),
        Figure(section, f"{name}: memory of the parent", ran.peak / 2**20, "MiB"),
    ]
