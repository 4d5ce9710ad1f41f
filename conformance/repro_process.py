"""What a repro script says of a call that changes its process: how each thing is looked at, in Python."""

_LOOKS = {
    "the rounding mode": "bool(one + 2.0**-54 == one and one + 3 * 2.0**-54 > one)",
    "flush-to-zero": "bool(least / 2 == 0)",
    "the precision of long double": "bool(np.longdouble(1) + np.longdouble(2.0**-60) == 1)",
    "the floating-point traps": 'ctypes.CDLL("libm.so.6").fegetexcept()',
    "the current folder": 'os.path.exists(".") and os.getcwd()',
    "the environment": "dict(os.environ)",
    "Python's random numbers": "random.getstate()",
    "NumPy's random numbers": "np.random.get_state()[1].tolist()",
    "NumPy's handling of errors": "np.geterr()",
    "the recursion limit": "sys.getrecursionlimit()",
    "the import path": "list(sys.path)",
    "the locale": "locale.setlocale(locale.LC_NUMERIC)",
    "a signal handler": "[signal.getsignal(n) for n in signal.valid_signals()]",
    "a pending alarm": "signal.getitimer(signal.ITIMER_REAL)[0] > 0",
}
"""By the names that `conformance.process` gives them."""

_MODULES = ("ctypes", "locale", "os", "random", "signal")


def mutation_text(message: str) -> tuple[str, str]:
    """Write the statements before and after the call that see whether it changed what the message names."""
    looks = {name: text for name, text in _LOOKS.items() if name in message}
    used = [name for name in _MODULES if any(f"{name}." in text for text in looks.values())]
    lines = "".join(f'        "{name}": {text},\n' for name, text in looks.items())
    imports = "".join(f"import {name}\n" for name in used)
    before = f"""\
{imports}

def process():
    one, least = np.float64(1.0), np.float64(2.0**-1022)
    return {{
{lines}    }}


found = process()"""
    after = """\
changed = [name for name, value in process().items() if value != found[name]]
if changed:
    print("the call changed its process:", *changed)
    sys.exit(1)"""
    return before.lstrip("\n"), after
