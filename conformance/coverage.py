"""What the cases of an op have to reach: branches of the definition, regimes, pairs of parameter values."""

from collections import Counter

from conformance.arithmetic import Arithmetic, arithmetic
from conformance.errors import InvalidFileError
from conformance.pairs import missing
from conformance.regimes import regimes, unreached
from conformance.run import resolved_params
from conformance.suite import Case, Operator

MOST_ELEMENTS = 100_000
"""Larger cases are not counted: what they reach, a smaller one has to reach as well."""


def check_coverage(op: Operator) -> None:
    """Refuse an op whose cases do not reach what they declare, or what every op has to reach.

    Raises:
        InvalidFileError: naming everything that is missing.

    """
    lacking = [
        f"branch {name!r} ({op.decl.branches[name]}) is reached by no case" for name in unreached_branches(op)
    ]
    lacking += [f"regime {name!r} is reached by no case" for name in unreached(op)]
    lacking += [f"no case combines {_text(one)} with {_text(other)}" for one, other in missing(op)]
    lacking += [
        f"parameter {n!r} names no `values` to combine" for n, p in op.decl.params.items() if not p.values
    ]
    lacking += [f"exempt names no regime: {name!r}" for name in op.decl.exempt if name not in regimes(op)]
    if lacking:
        more = f"\n  … and {len(lacking) - 20} more" if len(lacking) > 20 else ""
        listed = "".join(f"\n  {each}" for each in lacking[:20])
        raise InvalidFileError(
            f"{op.file}:1:1",
            f"the cases of {op.name} do not reach everything:{listed}{more}",
            "write the case, or say under `exempt` or `excluded_pairs` why there is none",
        )


def reached(case: Case) -> Counter[str]:
    """Count the elements that take each branch of the definition in a case."""
    mode = Arithmetic()
    params = resolved_params(case, case.op.apis[0])
    with arithmetic(mode):
        case.op.definition(case.tensors, params)
    return mode.reached


def unreached_branches(op: Operator) -> list[str]:
    """Return the declared branches that no case with an answer reaches.

    Raises:
        InvalidFileError: the reference marks a branch that the file does not declare.

    """
    counted: Counter[str] = Counter(dict.fromkeys(op.decl.branches, 0))
    for case in op.cases:
        if case.domain != "undefined" and all(t.size <= MOST_ELEMENTS for t in case.tensors.values()):
            counted.update(reached(case))
    for name in counted:
        if name not in op.decl.branches:
            raise InvalidFileError(
                f"{op.file}:1:1", f"the reference has a branch {name!r}", "declare it under `branches`"
            )
    return [name for name, number in counted.items() if not number]


def _text(point: dict[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in point.items())
