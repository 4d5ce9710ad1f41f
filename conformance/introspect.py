"""Ask an installed framework about itself, in a process that imports that framework and nothing else.

MindSpore and PaddlePaddle cannot live in one process, and neither may be imported by ours: so a question
is a line of JSON on the standard input of `python -m MODULE BACKEND`, and the answer one on its output.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from conformance.adapters import BACKENDS
from conformance.adapters.base import Adapter
from conformance.errors import HarnessError

SECONDS = 180.0


def adapter_class(backend: str) -> type[Adapter]:
    """Return the adapter of a backend, for what it knows without its framework."""
    module, _, name = BACKENDS[backend].partition(":")
    found: type[Adapter] = getattr(import_module(module), name)
    return found


def installed_version(backend: str) -> str:
    """Return the version of the framework that is installed, without a build's own mark (`+cpu`)."""
    return version(adapter_class(backend).distribution).partition("+")[0]


def ask(module: str, backend: str, question: Any) -> Any:
    """Put a question to `python -m module backend` and return the answer.

    Raises:
        HarnessError: the process failed; the message has its last words.

    """
    with tempfile.TemporaryDirectory(prefix="conformance-") as scratch:  # frameworks litter their folder
        done = subprocess.run(  # noqa: S603 - our own interpreter, our own module
            [sys.executable, "-W", "ignore", "-m", module, backend],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env={**os.environ, **adapter_class(backend).environ},
            cwd=Path(scratch),
            check=False,
        )
    if done.returncode:
        raise HarnessError(f"backend {backend} cannot be asked about itself: {done.stderr.strip()[-600:]}")
    return json.loads(done.stdout)


def reply(answer: Callable[[Any], Any]) -> None:
    """Be the far side of `ask`: read the question, answer it, and let nobody else print on the output."""
    question = json.loads(sys.stdin.read())
    output = os.dup(1)
    os.dup2(2, 1)
    text = json.dumps(answer(question))
    with os.fdopen(output, "w") as stream:
        stream.write(text)
        stream.flush()
    os._exit(0)  # a framework's own farewell can crash, and has nothing to add
