"""The text of an issue, ready to paste upstream: Markdown that no message can break out of. Pure."""

import re
from dataclasses import dataclass, field

from conformance.report.sentences import Code, Sentence

MOST_SCRIPT = 24_000
"""Longer scripts are attached: an issue holds 65 536 characters, and a page should stay light."""
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~])")


@dataclass
class Issue:
    """What an issue says."""

    verdict: Sentence
    variant: str = ""
    """The mode and device, where it is not eager on the CPU."""
    environment: list[str] = field(default_factory=list)
    case: str = ""
    why: str = ""
    message: str = ""
    stderr: str = ""
    summary: str = ""
    """The definition, in a line."""
    document: str = ""
    expected: list[str] = field(default_factory=list)
    """What the definition gives, in sentences."""
    inputs: list[tuple[str, str, str]] = field(default_factory=list)
    """Name, what it is, its values; empty where they are too long to read."""
    params: list[str] = field(default_factory=list)
    script: str = ""
    suite: str = ""


def title(issue: Issue) -> str:
    """Return the title: one line, without markup."""
    said = " ".join(issue.verdict.text.split())[:240]
    return f"[{issue.variant}] {said}" if issue.variant else said


def body(issue: Issue) -> str:
    """Return the text, in Markdown."""
    parts = [
        _sentence(issue.verdict),
        *_section("Environment", [f"- {plain(line)}" for line in issue.environment], together=True),
        *_section("What happens", _happens(issue)),
        *_section("What is expected", _expected(issue)),
        *_section("Inputs", _inputs(issue)),
        *_section("How to reproduce", _script(issue)),
        f"Found by {plain(issue.suite)}, case {code(issue.case)}." if issue.suite else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def code(text: str) -> str:
    """Write a code span that holds any text: delimiters longer than the backticks in it, on one line."""
    line = " ".join(text.split()) or " "
    ticks = "`" * (_longest(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def fenced(text: str, language: str = "text") -> str:
    """Write a code block that holds any text: its fence is longer than any run of backticks in it."""
    fence = "`" * max(3, _longest(text) + 1)
    return f"{fence}{language}\n{text.strip(chr(10))}\n{fence}"


def plain(text: str) -> str:
    """Write text that Markdown and HTML leave alone, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _longest(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _sentence(verdict: Sentence) -> str:
    return "".join(code(p) if isinstance(p, Code) else _SPECIAL.sub(r"\\\1", p) for p in verdict.parts) + "."


def _section(heading: str, parts: list[str], *, together: bool = False) -> list[str]:
    found = [part for part in parts if part]
    if not found:
        return []
    return [f"### {heading}", "\n".join(found)] if together else [f"### {heading}", *found]


def _happens(issue: Issue) -> list[str]:
    found = [fenced(issue.message)] if issue.message.strip() else []
    if issue.stderr.strip():
        found += ["The end of its standard error:", fenced(issue.stderr)]
    return found


def _expected(issue: Issue) -> list[str]:
    found = [f"The definition: {code(issue.summary)}."] if issue.summary else []
    found += [plain(each) for each in issue.expected]
    return [*found, f"Documentation: <{issue.document}>"] if _is_link(issue.document) else found


def _is_link(url: str) -> bool:
    return url.startswith(("https://", "http://")) and not re.search(r"[\s<>]", url)


def _inputs(issue: Issue) -> list[str]:
    lines = [f"{name}: {about}" + (f"\n{values}" if values else "") for name, about, values in issue.inputs]
    shown = [fenced("\n".join([*lines, *issue.params]))] if lines or issue.params else []
    return [plain(issue.why), *shown] if shown else []


def _script(issue: Issue) -> list[str]:
    if not issue.script:
        return []
    if len(issue.script) > MOST_SCRIPT:
        return [
            "The attached script needs NumPy and the framework; it exits 1 while the discrepancy is there."
        ]
    return [
        "This script needs NumPy and the framework; it exits 1 while the discrepancy is there, else 0.",
        fenced(issue.script, "python"),
    ]
