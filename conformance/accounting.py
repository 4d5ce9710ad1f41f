"""Which losses of the frameworks are tested, and why the others are not: every public name is accounted for.

A name is bound by a case file, or `cases/accounting.yaml` says why that loss is not, or it stands there
among the names that are no losses. What a case file binds is read from the case files and written down
nowhere else. So an upgrade cannot bring a loss that nobody has looked at.

    python -m conformance.accounting BACKEND

reads namespaces (a JSON list) from its standard input, imports that framework only, and prints their names.
"""

import re
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal

import msgspec

from conformance.introspect import ask, reply
from conformance.load import Operator, load_suite, shipped_cases
from conformance.yamlfile import YamlFile

FILE = "accounting.yaml"

LOSS_LIKE = re.compile(
    r"loss|entropy|nll|hinge|soft_?max|soft_?min|sigmoid|softplus|sum_?exp|kl_?div|ctc|rnnt|triplet|margin|huber"
    r"|bce|(?<!in)dice|npair|focal|likelihood|divergence|expit|perplexity|contrastive|square_error"
    r"|(?-i:MAE|MSE|mse_)",
    re.IGNORECASE,
)
"""Names that speak of a loss or of a function that losses are made of; none of them is "no loss"."""

_API = re.compile(r"\b(?:torch|paddle|mindspore)(?:\.\w+)+")

Names = dict[str, list[str]]


class Unbound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Losses, or functions that losses are made of, that no case file binds, and why."""

    names: list[str]
    because: Literal[
        "another function",
        "random",
        "container",
        "alias",
        "internal",
        "abstract base class",
        "in place",
        "metric",
        "sparse tensors",
    ]
    why: str


class Namespace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The names of one namespace. Without `others` only those that look like a loss are accounted for."""

    unbound: list[Unbound] = []
    others: list[str] | None = None


Accounting = dict[str, Namespace]


def read_accounting(root: Path | None = None) -> Accounting:
    """Read the accounting beside the case files below `root` (default: the shipped ones).

    Raises:
        InvalidFileError: it is not valid; the message has its line and column.

    """
    return YamlFile((root or shipped_cases()) / FILE).convert(Accounting)


def bound_names(suite: list[Operator]) -> set[str]:
    """Return the full names of the APIs that the case files bind."""
    return {api.name for op in suite for api in op.apis}


def public_names(accounting: Accounting) -> Names:
    """Ask the installed frameworks for the public callables of every namespace in the accounting."""
    found: Names = {}
    for backend in sorted({namespace.partition(".")[0] for namespace in accounting}):
        namespaces = [name for name in accounting if name.partition(".")[0] == backend]
        found |= ask("conformance.accounting", backend, namespaces)
    return found


def complaints(accounting: Accounting, bound: set[str], public: Names) -> list[str]:
    """Say which names are unaccounted for, accounted for twice, gone, or bound in spite of their reason."""
    said = []
    for namespace, found in public.items():
        said += _complaints(namespace, accounting[namespace], bound, set(found))
    existing = {f"{namespace}.{name}" for namespace, found in public.items() for name in found} | {*public}
    for namespace, entry in accounting.items():
        for unbound in entry.unbound:
            said += _reason(namespace, unbound, bound, existing)
    return said


def _complaints(namespace: str, entry: Namespace, bound: set[str], found: set[str]) -> list[str]:
    others = entry.others or []
    listed = [name for unbound in entry.unbound for name in unbound.names] + others
    here = {name.rpartition(".")[2] for name in bound if name.rpartition(".")[0] == namespace}
    wanted = found if entry.others is not None else {name for name in found if LOSS_LIKE.search(name)}
    said = [
        f"{namespace}.{name}: bound by no case file and not in {FILE}" for name in wanted - {*listed} - here
    ]
    said += [
        f"{namespace}.{name}: in {FILE}, but the installed framework has no such name"
        for name in {*listed} - found
    ]
    said += [
        f"{namespace}.{name}: in {FILE} as not tested, but a case file binds it" for name in here & {*listed}
    ]
    said += [
        f"{namespace}.{name}: stands twice in {FILE}" for name, times in Counter(listed).items() if times > 1
    ]
    said += [
        f"{namespace}.{name}: among the names that are no losses, but looks like one: give the reason"
        for name in others
        if LOSS_LIKE.search(name)
    ]
    return sorted(said)


def _reason(namespace: str, unbound: Unbound, bound: set[str], existing: set[str]) -> list[str]:
    """Check that the APIs that a reason speaks of exist, and that an alias is one of something tested."""
    spoken = _API.findall(unbound.why)
    said = [
        f"{namespace}: the reason of {', '.join(unbound.names)} speaks of {api}, which does not exist"
        for api in spoken
        if api not in existing and api not in bound
    ]
    if unbound.because == "alias" and not bound.intersection(spoken):
        said.append(f"{namespace}: {', '.join(unbound.names)} is an alias of no API that a case file binds")
    return said


def main_complaints() -> list[str]:
    """Account for the installed frameworks; an empty list is a clean account."""
    accounting = read_accounting()
    return complaints(accounting, bound_names(load_suite()), public_names(accounting))


def _public(namespaces: list[str]) -> Names:
    """List the callables of these modules that have a public name, in the process that imports them."""
    found = {}
    for namespace in namespaces:
        module = import_module(namespace)
        named = {*dir(module), *getattr(module, "__all__", ())}
        found[namespace] = sorted(
            name
            for name in named
            if not name.startswith("_")
            and callable(getattr(module, name, None))
            and not isinstance(getattr(module, name), ModuleType)
        )
    return found


if __name__ == "__main__":
    reply(_public)
