"""How a repro script makes its call: as a person would, also where that person has it compiled."""

from collections.abc import Iterator

from conformance.load import Api, Case, wire_params
from conformance.repro_dialects import Dialect
from conformance.repro_literals import WIDTH, scalar


def call_text(case: Case, api: Api, dialect: Dialect) -> tuple[str, str]:
    """Write what has to be defined before the call, nothing in eager mode, and the call as an expression.

    The required tensors go by position, everything else by keyword.
    """
    compiled = dialect.compiled("call")
    given = _given(case, api)
    if not compiled:
        return "", _line(_entry(api, given, dialect), _arguments(case, api, given), _picked(api))
    names = list(dict.fromkeys(_passed(case, api)))
    inside = given | {name: name for name in names} | _lists(api, {name: name for name in case.specs})
    inside |= {name: str(case.params[name]) for name in _functions(case, api)}
    wanted = [FUNCTIONS[str(case.params[name])][1] for name in _functions(case, api)]
    entry, made = (api.name, "") if api.binding.init is None else ("module", _entry(api, given, dialect))
    body = _line(entry, _arguments(case, api, inside), "").replace("\n", "\n    ")
    function = f"def call({', '.join(names)}):\n    return {body}"
    outside = ", ".join(given[name] for name in names)
    if not made:
        return "\n\n".join([*wanted, function]), f"{compiled}({outside}){_picked(api)}"
    inner = function.replace("\n", "\n    ")
    whole = f"def compiled():\n    module = {made}\n\n    {inner}\n\n    return {compiled}"
    return "\n\n".join([*wanted, whole]), f"compiled()({outside}){_picked(api)}"


def _line(entry: str, arguments: list[str], picked: str) -> str:
    line = f"{entry}({', '.join(arguments)}){picked}"
    return line if len(line) <= WIDTH - 12 else f"{entry}(\n    {', '.join(arguments)}\n){picked}"


def _entry(api: Api, given: dict[str, str], dialect: Dialect) -> str:
    """Write what is called: a function's name, or a class constructed."""
    binding = api.binding
    if binding.init is None:
        return api.name
    passed = [f"{k}={given[n]}" for n, k in binding.init.items() if n in given]
    entry = dialect.constructed(f"{api.name}({', '.join([*passed, *_fixed(api)])})")
    placed = [f'"{path}": {given[n]}' for n, path in binding.state.items() if n in given]
    return f"place({entry}, {{{', '.join(placed)}}})" if placed else entry


def _fixed(api: Api) -> list[str]:
    return [f"{name}={scalar(value)}" for name, value in api.binding.fixed.items()]


def _picked(api: Api) -> str:
    return "" if api.binding.returns is None else f"[{api.binding.returns}]"


def _arguments(case: Case, api: Api, given: dict[str, str]) -> list[str]:
    """Write the arguments. The binding lists them in the order of the signature, so the first may be bare."""
    binding = api.binding
    arguments, leading = [], True
    last = max((n for n, name in enumerate(binding.call) if name in given), default=-1)
    for place, (name, keyword) in enumerate(binding.call.items()):
        required = name in case.op.decl.tensors and not case.op.decl.tensors[name].optional
        leading = leading and required and name in given
        if name in given:
            arguments.append(given[name] if leading or binding.positional else f"{keyword}={given[name]}")
        elif binding.positional and place < last:
            arguments.append("None")
    return arguments + (_fixed(api) if binding.init is None else [])


def _passed(case: Case, api: Api) -> Iterator[str]:
    """Name the tensors that the call itself takes, those in lists one by one."""
    for name in api.binding.call:
        if name in api.binding.lists:
            yield from (t for row in api.binding.lists[name] for t in row if t in case.specs)
        elif name in case.specs:
            yield name


def _functions(case: Case, api: Api) -> list[str]:
    return [name for name in api.binding.functions if isinstance(case.params.get(name), str)]


def _given(case: Case, api: Api) -> dict[str, str]:
    """Write everything that the call may take, in the form in which this API takes it."""
    binding = api.binding
    given = {name: scalar(value) for name, value in wire_params(case, api).items()}
    given |= {name: name for name in case.specs}
    for name in binding.transposed:
        if name in given:
            given[name] = f"{name}.T"
    given |= _lists(api, given)
    return given | {name: FUNCTIONS[str(case.params[name])][0] for name in _functions(case, api)}


def _lists(api: Api, given: dict[str, str]) -> dict[str, str]:
    found = {}
    for name, rows in api.binding.lists.items():
        packed = [f"[{', '.join(given[t] for t in row)}]" for row in rows if all(t in given for t in row)]
        found[name] = f"[{', '.join(packed)}]"
    return found


FUNCTIONS = {
    "l1": ("lambda a, b: (a - b).abs().sum(-1)", "def l1(a, b):\n    return (a - b).abs().sum(-1)"),
    "squared": (
        "lambda a, b: ((a - b) * (a - b)).sum(-1)",
        "def squared(a, b):\n    return ((a - b) * (a - b)).sum(-1)",
    ),
}
"""What parameters may name, as `adapters.base.FUNCTIONS` has it; a compiler takes no lambda."""
