"""The worked example of a third-party backend, docs/jax, with the real JAX."""

import importlib
import json
import os
import sys
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from conformance import plugins
from conformance.__main__ import main
from conformance.load import load_suite
from conformance.repro import execute_many

ROOT = Path(__file__).parent.parent
KNOWN = ROOT / "docs" / "jax" / "known"
OPS = ("log_sigmoid", "log_softmax", "logsumexp", "sigmoid", "softmax", "softplus")

Captured = pytest.CaptureFixture[str]
Row = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def present() -> None:
    """JAX and the example are there; in CI they have to be."""
    if os.environ.get("CI") == "true":
        version("conformance-jax")
        return
    try:
        version("jax")
        version("conformance-jax")
    except PackageNotFoundError as error:
        pytest.skip(f"{error.name} is not installed: pip install -e docs/jax")


def run(out: Path, code: int, *options: str) -> list[Row]:
    """Run some cases on JAX; return the results."""
    assert main(["run", "--backend", "jax", "--no-cache", "-o", str(out), *options]) == code
    rows = [json.loads(line) for line in (out / "run.jsonl").read_text().splitlines()]
    return [row for row in rows if row["type"] == "result"]


def test_its_bindings_are_valid_and_need_no_jax(capsys: Captured) -> None:
    """Each op that is bound, with every API, and a ledger that names nothing else."""
    suite = load_suite(ops=OPS, backends=["jax"])
    bound = Counter(op.name for op in suite for api in op.apis if api.backend == "jax")
    assert bound == {
        "log_sigmoid": 1, "log_softmax": 2, "logsumexp": 2, "sigmoid": 3, "softmax": 2, "softplus": 1,
    }  # fmt: skip
    assert "jax" not in sys.modules
    options = [part for op in OPS for part in ("--op", op)]
    assert main(["check", *options, "--ledger", str(KNOWN)]) == 0
    assert "6 operators" in capsys.readouterr().out


def test_its_adapter_is_as_short_as_the_others() -> None:
    """A backend is one small file and its bindings."""
    text = (ROOT / "docs" / "jax" / "conformance_jax" / "adapter.py").read_text()
    assert len(text.splitlines()) <= 80


def test_jax_conforms_on_ordinary_inputs(tmp_path: Path) -> None:
    """Outputs and gradients of every API that softplus and sigmoid have, in every dtype, bfloat16 too."""
    options = ["--op", "softplus", "--op", "sigmoid", "-k", "*/basic[*", "--no-site"]
    results = run(tmp_path, 0, *options)
    assert Counter(row["status"] for row in results if row["check"] in ("output", "grad.input")) == {
        "pass": 32
    }
    assert {row["api"] for row in results} == {
        "jax.nn.softplus", "jax.nn.sigmoid", "jax.scipy.special.expit", "jax.lax.logistic",
    }  # fmt: skip
    assert all(row["compared"] for row in results if row["check"] in ("output", "grad.input"))


def test_layouts_and_second_derivatives_are_answered(tmp_path: Path) -> None:
    """An array of JAX has no strides, so a layout is only values; `vjp` of `vjp` is a number to compare."""
    results = run(tmp_path, 0, "--op", "log_softmax", "-k", "*/*second*", "--no-site")
    assert any(row["check"] == "grad2.input" for row in results)
    results = run(tmp_path, 0, "--op", "softplus", "-k", "*layout*", "--no-site")
    assert results


def test_what_is_known_of_jax_is_in_its_ledger_and_its_scripts_show_it(
    tmp_path: Path, capsys: Captured
) -> None:
    """Flushed denormals are a regression, with the ledger they are known; the scripts agree."""
    options = ["--op", "softplus", "-k", "*denormal-result[*", "--no-site"]
    known = run(tmp_path / "known", 0, *options, "--ledger", str(KNOWN))
    assert Counter(row["outcome"] for row in known)["known"] == 2
    failing = [row for row in run(tmp_path / "new", 1, *options) if row["status"] == "fail"]
    assert {row["check"] for row in failing} == {"output", "grad.input"}
    scripts = {}
    for row in failing:
        capsys.readouterr()
        stream = str(tmp_path / "new" / "run.jsonl")
        assert main(["repro", row["case"], row["api"], "--check", row["check"], "--run", stream]) == 0
        scripts[row["check"]] = capsys.readouterr().out
    assert all("\nimport jax\n" in text and "import conformance" not in text for text in scripts.values())
    assert execute_many(scripts) == {"output": 1, "grad.input": 1}


WRONG = '''
from conformance_jax.adapter import JaxAdapter


class Wrong(JaxAdapter):
    """Loses the cotangent."""

    name = "wrong_jax"
    namespaces = ("wrong_jax.ops",)
    homes = ("wrong_jax", "jax")

    def pull_back(self, call, output, tensors, wanted, ct):
        ones = type(ct)(ct.dtype, ct.shape, self.read(self._jax.numpy.ones_like(output)).data)
        return super().pull_back(call, output, tensors, wanted, ones)
'''
BOUND = """\
op: softplus
apis:
  wrong_jax.ops.relu:
    doc: https://wrong.example/relu
    call: {input: x}
  wrong_jax.ops.softplus:
    doc: https://wrong.example/softplus
    call: {input: x}
    defaults: {threshold: 1.0e+18}
"""


def test_a_wrong_adapter_and_a_wrong_binding_are_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relu bound as softplus has wrong outputs; an adapter that drops the cotangent, wrong gradients."""
    package = tmp_path / "site" / "wrong_jax"
    (package / "bindings").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "adapter.py").write_text(WRONG)
    (package / "ops.py").write_text("from jax.nn import relu, softplus\n")
    (package / "bindings" / "softplus.yaml").write_text(BOUND)
    metadata = tmp_path / "site" / "wrong_jax-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong_jax\nVersion: 1\n")
    entry = "wrong_jax = wrong_jax.adapter:Wrong"
    (metadata / "entry_points.txt").write_text(f"[conformance.backends]\n{entry}\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    importlib.invalidate_caches()
    plugins.registered.cache_clear()
    options = ["--op", "softplus", "-k", "softplus/basic[float32]", "--no-site", "-o", str(tmp_path / "out")]
    try:
        assert main(["run", "--backend", "wrong_jax", "--no-cache", *options]) == 1
    finally:
        monkeypatch.undo()
        plugins.registered.cache_clear()
    rows = [json.loads(line) for line in (tmp_path / "out" / "run.jsonl").read_text().splitlines()]
    kinds = {
        (r["api"], r["check"]): r["kind"] for r in rows if r["type"] == "result" and r["status"] == "fail"
    }
    assert kinds == {
        ("wrong_jax.ops.relu", "output"): "value",
        ("wrong_jax.ops.relu", "grad.input"): "grad_value",
        ("wrong_jax.ops.softplus", "grad.input"): "grad_value",
    }
