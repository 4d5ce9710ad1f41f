"""What is taken to another machine: all that a worker needs, nothing that it must not see."""

from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

from conformance.bundle import bundle, unpacked


def test_the_bundle_has_what_a_worker_is_made_of() -> None:
    """The harness and execnet, as sources; no expected answers, and no report."""
    names = ZipFile(BytesIO(bundle())).namelist()
    for needed in ("keeper", "child", "worker", "types", "adapters/torch", "adapters/base"):
        assert f"conformance/{needed}.py" in names
    assert "execnet/gateway_base.py" in names
    assert all(name.endswith(".py") for name in names)
    assert not any(name.startswith(("conformance/reference/", "conformance/report/")) for name in names)


def test_a_zip_and_a_folder_are_the_same(tmp_path: Path) -> None:
    """To the byte."""
    archive = ZipFile(BytesIO(bundle()))
    roots = unpacked(tmp_path)
    assert [root.name for root in roots] == ["conformance", "execnet"]
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.py")}
    assert files == set(archive.namelist())
    assert all(archive.read(name) == (tmp_path / name).read_bytes() for name in files)
