"""The C++ compiler that `torch.compile` wants on the CPU: in CI it is there, elsewhere it may be missing."""

import os
import shutil

import pytest


def wanted(backend: str) -> None:
    """Skip a test that compiles with torch where there is nothing to compile with, CI apart."""
    missing = shutil.which(os.environ.get("CXX", "g++")) is None
    if backend == "torch" and missing and os.environ.get("CI") != "true":
        pytest.skip("no C++ compiler: apt-get install g++")
