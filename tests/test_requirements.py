"""Requirements of environments: whom they are for, what pip is asked, what it is called."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from conformance import plugins
from conformance.errors import UsageError
from conformance.requirements import OURS, WORKER, wanted
from conformance.venvs import OLDEST

PYPROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize(
    ("asked", "installed", "backends", "name"),
    [
        (["torch==2.12.0"], ["torch==2.12.0"], ["torch"], "torch-2.12.0"),
        (["paddle==3.2.2"], ["paddlepaddle==3.2.2"], ["paddle"], "paddle-3.2.2"),
        (["paddlepaddle==3.2.2"], ["paddlepaddle==3.2.2"], ["paddle"], "paddlepaddle-3.2.2"),
        (["mindspore"], ["mindspore"], ["mindspore"], "mindspore"),
        (["paddle>=3,<3.3"], ["paddlepaddle<3.3,>=3"], ["paddle"], "paddle-3-3.3"),
        (
            ["paddle==3.2.2", "mindspore==2.9.0"],
            ["paddlepaddle==3.2.2", "mindspore==2.9.0"],
            ["paddle", "mindspore"],
            "paddle-3.2.2-mindspore-2.9.0",
        ),
    ],
)
def test_a_backend_is_installed_as_its_distribution(
    asked: list[str], installed: list[str], backends: list[str], name: str
) -> None:
    """With what a worker needs, and named as it was asked for."""
    found = wanted(asked)
    assert list(found.requirements) == [*installed, *WORKER]
    assert list(found.backends) == backends
    assert found.name == name
    assert found.adapters == ()


def test_what_is_asked_for_is_not_asked_for_twice() -> None:
    """NumPy in a version of the user's choice stands for ours."""
    found = wanted(["paddle==3.2.2", "numpy==1.26.4"])
    assert found.requirements == ("paddlepaddle==3.2.2", "numpy==1.26.4", "msgspec>=0.19")
    assert found.versions == {"paddle": "==3.2.2"}


def test_a_wheel_is_for_the_backend_that_is_named() -> None:
    """Files, addresses and other distributions of a framework say nothing of the backend themselves."""
    for text in (
        "./paddlepaddle-3.4.0.dev0-cp311-none-any.whl",
        "paddlepaddle-gpu==3.2.2",
        "https://e.org/a",
    ):
        found = wanted([text], ["paddle"])
        assert found.requirements == (text, *WORKER)
        assert found.versions == {"paddle": ""}
    assert wanted(["./a/b-1.0.whl"], ["torch"]).name == "b-1.0.whl"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["padle==3.2.2"], "no backend among padle==3.2.2; there are torch, paddle, mindspore"),
        (["./paddle.whl"], "--backend NAME says which one"),
        (["paddle=3.2.2"], "'paddle=3.2.2' is no requirement: "),
        (["paddle==x"], "write NAME==VERSION"),
    ],
)
def test_what_means_nothing_is_refused(asked: list[str], says: str) -> None:
    """What, and how to write it."""
    with pytest.raises(UsageError) as told:
        wanted(asked)
    assert says in str(told.value)


def test_a_backend_that_does_not_exist_is_refused() -> None:
    """By the name that `--backend` gives."""
    with pytest.raises(UsageError, match="no backend 'tensorflow'; there are"):
        wanted(["tensorflow==2"], ["tensorflow"])


def test_a_third_party_backend_brings_its_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter is installed without what it depends on; what else it needs is asked for beside."""
    package, metadata = tmp_path / "conformance_v", tmp_path / "conformance_v-1.5.dist-info"
    for folder in (package, metadata):
        folder.mkdir()
    (package / "__init__.py").write_text("")
    (package / "adapter.py").write_text(
        "from conformance.adapters.base import Adapter\n"
        "class V(Adapter):\n"
        "    name, distribution, namespaces = 'v', 'v-framework', ('v',)\n"
        "    start = tensor = read = pull_back = pull_back_twice = lambda *_: None\n"
    )
    needs = ("op-conformance", "V_framework>=1", "scipy>=1; python_version>'3'", "dev; extra=='dev'")
    text = "".join(f"Requires-Dist: {each}\n" for each in needs)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: conformance-v\nVersion: 1.5\n{text}")
    (metadata / "entry_points.txt").write_text("[conformance.backends]\nv = conformance_v.adapter:V\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.registered.cache_clear()
    try:
        found = wanted(["v==2"])
        assert found.requirements == ("v-framework==2", "scipy>=1", *WORKER)
        assert found.adapters == ("conformance-v==1.5",)
        (metadata / "direct_url.json").write_text('{"url": "file:///src/v", "dir_info": {"editable": true}}')
        assert wanted(["v==2"]).adapters == ("file:///src/v",)
    finally:
        plugins.registered.cache_clear()


def test_what_a_worker_needs_is_what_the_project_says() -> None:
    """The names, the oldest Python and our own name stand in two places."""
    ours = {Requirement(each).name for each in PYPROJECT["dependencies"]}
    assert {Requirement(each).name for each in WORKER} <= ours
    assert PYPROJECT["requires-python"] == ">={}.{}".format(*OLDEST)
    assert PYPROJECT["name"] == OURS
