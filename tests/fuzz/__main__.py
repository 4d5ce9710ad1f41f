"""`python -m tests.fuzz [LOADER …] [--seconds N]`: fuzz the loaders in turn, and print what came of it.

What was found to reach new code stays in `build/fuzz`, and the next time goes on from there. What breaks a
rule is kept there too, and makes the exit code 1.
"""

import argparse
import re
import subprocess
import sys
from hashlib import sha256

from tests.fuzz.rules import LOADERS, ROOT

WORK = ROOT / "build" / "fuzz"
MOST_MEMORY = 1024
MOST_SECONDS = 10
LARGEST = 20_000
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_PEAK = re.compile(r"stat::peak_rss_mb:\s*(\d+)")
_BROKEN = re.compile(r"^.*(?:BrokenRuleError|ERROR: libFuzzer|ALARM|Error):.*$", re.MULTILINE)


def fuzz(name: str, seconds: int) -> bool:
    """Fuzz one loader in a process of its own; return whether all its rules held."""
    folder = WORK / name
    seeds, found = folder / "seeds", folder / "found"
    for each in (seeds, found):
        each.mkdir(parents=True, exist_ok=True)
    for data in LOADERS[name].seeds():
        (seeds / sha256(data).hexdigest()[:16]).write_bytes(data)
    options = [
        f"-max_total_time={seconds}", f"-timeout={MOST_SECONDS}", f"-max_len={LARGEST}",
        f"-rss_limit_mb={MOST_MEMORY}", f"-malloc_limit_mb={MOST_MEMORY}",
        f"-artifact_prefix={folder}/", "-print_final_stats=1",
    ]  # fmt: skip
    command = [sys.executable, "-m", "tests.fuzz.one", name, *options, str(found), str(seeds)]
    with (folder / "log").open("w", encoding="utf-8") as log:
        code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=False).returncode
    said = (folder / "log").read_text(encoding="utf-8", errors="replace")
    executed, peak = (int(match[1]) if (match := each.search(said)) else 0 for each in (_EXECUTED, _PEAK))
    kept = len(list(found.iterdir()))
    print(f"{name}: {executed} executions, {kept} inputs kept, {peak} MB at most, exit {code}", flush=True)
    if code:
        # A process that ends before the first input broke no rule, but has shown nothing either.
        print("\n".join(_BROKEN.findall(said)[:4]), f"\n  see {folder}", flush=True)
    return code == 0


def main() -> int:
    """Fuzz the loaders that are named, else all; they share the time."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("loader", nargs="*", help=f"of {', '.join(LOADERS)}")
    parser.add_argument("--seconds", type=int, default=60)
    asked = parser.parse_args()
    if unknown := set(asked.loader) - {*LOADERS}:
        parser.error(f"no loader {min(unknown)!r}; there are {', '.join(LOADERS)}")
    names = asked.loader or list(LOADERS)
    held = [fuzz(name, max(1, asked.seconds // len(names))) for name in names]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
