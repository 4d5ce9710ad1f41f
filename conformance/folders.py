"""Where things that can be made again are kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the user's folder: `CONFORMANCE_CACHE`, or below `XDG_CACHE_HOME`, or below `~/.cache`."""
    if given := os.environ.get("CONFORMANCE_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "op-conformance"
