"""The README's recipes, tried: what it tells a newcomer to write works as it stands."""

import re
import subprocess
import sys
from pathlib import Path

from conformance.load import load_operator

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()

_PRELUDE = """
import numpy as np
from conformance.arithmetic import add, positive_part
from conformance.arrays import NDArray
from conformance.definition import definitions, reference
"""

_DRIVER = """
import sys
from pathlib import Path
from conformance.ledger import Ledger
from conformance.load import load_suite
from conformance.pool import backend_spec
from conformance.run import Selection, run
definitions()
suite = load_suite(Path(sys.argv[1]))
summary = run(suite, Selection((backend_spec("torch"),)), Ledger({}), Path(sys.argv[2]))
print(dict(summary.statuses), int(summary.exit_code))
"""


def _blocks(language: str, section: str) -> list[str]:
    text = README.partition(f"## {section}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_readme_case_loads_where_it_says() -> None:
    """The case of `Add a case`, appended to the operator's file, expands to eight cases."""
    (block,) = _blocks("yaml", "Add a case")
    path = ROOT / "cases" / "loss" / "multi_margin_loss.yaml"
    text = path.read_text().replace("\ncases:\n", f"\ncases:\n{block}", 1)
    names = [case.id for case in load_operator(path, text).cases if case.name == "two-rows"]
    assert len(names) == 8
    assert "multi_margin_loss/two-rows[float32,p=1,none]" in names


def test_the_readme_operator_conforms(tmp_path: Path) -> None:
    """The function pair and the YAML file of `Add an operator`, as printed, run green on torch."""
    (pair,) = _blocks("python", "Add an operator")
    (cases,) = _blocks("yaml", "Add an operator")
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "softsign.yaml").write_text(cases)
    program = tmp_path / "operator.py"
    program.write_text(_PRELUDE + pair + _DRIVER)
    command = [sys.executable, "-P", str(program), str(tmp_path / "cases"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.strip() == "{'pass': 6} 0", done.stderr


def test_the_readme_names_only_commands_that_exist() -> None:
    """Every `conformance …` line of the README is a command with a help page."""
    names = set(re.findall(r"^conformance (\w+)", README, re.MULTILINE))
    assert {"run", "list", "show", "repro", "check", "schema", "audit", "ledger"} <= names
    for name in sorted(names):
        command = [sys.executable, "-m", "conformance", name, "--help"]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0, name
