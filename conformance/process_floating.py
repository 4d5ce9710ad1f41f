"""The floating-point environment of the calling thread: rounding, subnormal numbers, traps."""

import ctypes
import platform
import sys
from typing import Any

Float = tuple[Any, ...]
SSE_ROUNDING, SSE_FLUSH, SSE_TRAPS = 0x6000, 0x8040, 0x1F80
X87_ROUNDING, X87_PRECISION, X87_TRAPS = 0x0C00, 0x0300, 0x003F
_SSE = SSE_ROUNDING | SSE_FLUSH | SSE_TRAPS


def _library() -> Any:
    """Return the C library's mathematics, holding the GIL at its calls, or None."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.PyDLL("libm.so.6")
        _ = library.fegetenv, library.fesetenv
    except (OSError, AttributeError):
        return None
    return library


class Registers:
    """The control registers of x86-64, as glibc's `fegetenv` hands them out."""

    def __init__(self, library: Any) -> None:
        self.buffer = ctypes.create_string_buffer(64)
        self.words = (ctypes.c_uint32 * 8).from_buffer(self.buffer)
        self.get, self.set = library.fegetenv, library.fesetenv

    def look(self) -> Float:
        """Return the control bits of SSE and of x87; the flags that arithmetic raises are not among them."""
        self.get(self.buffer)
        return self.words[7] & _SSE, self.words[0] & 0xFFFF

    def names(self, was: Float, now: Float) -> str:
        """Name what differs, most visible first."""
        sse, x87 = was[0] ^ now[0], was[1] ^ now[1]
        if sse & SSE_ROUNDING or x87 & X87_ROUNDING:
            return "the rounding mode"
        if sse & SSE_FLUSH:
            return "flush-to-zero"
        return "the precision of long double" if x87 & X87_PRECISION else "the floating-point traps"

    def put_back(self, was: Float) -> None:
        """Load the control bits; whatever flags were raised are cleared."""
        self.get(self.buffer)
        self.words[7] = was[0]
        self.words[0] = (self.words[0] & ~0xFFFF) | was[1]
        self.words[1] &= ~0x003F  # of x87, raised flags under a trap let through would be fatal
        self.set(self.buffer)


class Sums:
    """The same by its effects, for other processors and C libraries: rounding and flush-to-zero."""

    def __init__(self, library: Any) -> None:
        self.one, self.quarter, self.three_quarters = 1.0, 2.0**-54, 3 * 2.0**-54
        self.least, self.half = 2.0**-1022, 0.5
        self.set = library.fesetenv if library is not None else None

    def look(self) -> Float:
        """Return whether sums round to nearest, and whether a subnormal number is one.

        The operands are attributes: the compiler would compute a sum of constants.
        """
        one = self.one
        nearest = one + self.quarter == one and one + self.three_quarters > one
        return nearest, self.least * self.half != 0.0

    def names(self, was: Float, now: Float) -> str:
        """Name what differs."""
        return "the rounding mode" if was[0] != now[0] else "flush-to-zero"

    def put_back(self, _: Float) -> None:
        """Load the default environment, where there is a C library to ask; the worker is replaced anyway."""
        if self.set is not None:
            self.set(ctypes.c_void_p(-1))  # FE_DFL_ENV of glibc


def _choose() -> Registers | Sums:
    library = _library()
    x86 = platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"
    return Registers(library) if library is not None and x86 else Sums(library)


floating = _choose()
