"""The random numbers that everybody in a process shares: Python's and NumPy's.

To draw from them is what they are there for, and no fault: it is put back, so that no case depends on
those before it. To seed them anew takes their numbers away from whoever seeded them first.
"""

import ctypes
import random
from collections.abc import Callable
from typing import Any

import numpy as np

WORDS = 624
BLOCKS = 10_000
"""How many times a state is stepped on by its 624 numbers before we say that it was not only drawn from."""


class Shared:
    """A Mersenne twister, with a window on a few words of its memory, for reading its state costs 10 µs."""

    def __init__(
        self,
        name: str,
        window: Callable[[], Any],
        words: Callable[[], tuple[Any, int]],
        save: Callable[[], Any],
        load: Callable[[Any], None],
    ) -> None:
        self._name, self._words, self._load = name, words, load
        self._saved, self._key = save(), words()
        self.look: Callable[[], Any] = window

    def names(self, _was: Any, _now: Any) -> str:
        """Name the generator if it was seeded; drawing from it is no fault."""
        return "" if _drawn(self._key, self._words()[0]) else self._name

    def put_back(self, _: Any) -> None:
        """Load the state that the worker started with: it is the one before every request."""
        self._load(self._saved)


def _drawn(key: tuple[Any, int], now: Any) -> bool:
    """Whether drawing alone leads from one state to the other."""
    twister = np.random.MT19937()
    twister.state = {"bit_generator": "MT19937", "state": {"key": key[0], "pos": key[1]}}
    for _ in range(BLOCKS):
        if np.array_equal(twister.state["state"]["key"], now):
            return True
        twister.random_raw(WORDS, output=False)
    return False


def _window(address: int, expected: bytes, slow: Callable[[], Any]) -> Callable[[], Any]:
    """Return a look at memory if it holds what it should, else the slow way."""
    try:
        memory = (ctypes.c_char * len(expected)).from_address(address)
        look: Callable[[], Any] = memoryview(memory).cast("B").tobytes
        return look if look() == expected else slow
    except (AttributeError, TypeError, ValueError):
        return slow


def _python_words() -> tuple[Any, int]:
    internal = random.getstate()[1]
    return np.array(internal[:WORDS], np.uint32), int(internal[WORDS])


def _numpy_words() -> tuple[Any, int]:
    state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 - the global one is the point
    return state["state"]["key"].copy(), int(state["state"]["pos"])


def _numpy_slowly() -> Any:
    key, position = _numpy_words()
    return key.tobytes(), position


def python_random() -> Shared:
    """Return the generator of the module `random`, as it is now."""
    # CPython's object: its header, the position, the words. Checked against its state before it is used.
    key, position = _python_words()
    expected = np.array([position, *key[:4]], np.uint32).tobytes()
    instance = random._inst  # noqa: SLF001 - what the module's functions share
    window = _window(id(instance) + object.__basicsize__, expected, random.getstate)
    return Shared("Python's random numbers", window, _python_words, random.getstate, random.setstate)


def numpy_random() -> Shared:
    """Return the generator of `np.random.rand` and its like, as it is now."""
    # NumPy's: the words, the position, at an address that its interface for C gives.
    key, position = _numpy_words()
    expected = np.array([*key[-3:], position], np.uint32).tobytes()
    generator: Any = np.random.mtrand._rand._bit_generator  # noqa: SLF001
    address = generator.ctypes.state_address + (WORDS - 3) * 4
    window = _window(address, expected, _numpy_slowly)
    return Shared(
        "NumPy's random numbers",
        window,
        _numpy_words,
        lambda: np.random.get_state(legacy=False),  # noqa: NPY002 - as above
        np.random.set_state,
    )
