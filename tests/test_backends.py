"""How a backend is asked for: names, modes, devices, interpreters, and what there is not."""

import sys

import pytest

from conformance.__main__ import main
from conformance.adapters import BACKENDS
from conformance.backends import PLAIN, BackendSpec, Variant, backend_spec, backend_specs, titled
from conformance.errors import UsageError

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("text", "name", "variant", "python"),
    [
        ("torch", "torch", PLAIN, sys.executable),
        ("torch:eager@cpu", "torch", PLAIN, sys.executable),
        ("torch:compile", "torch", Variant("compile"), sys.executable),
        ("torch@cuda:1", "torch", Variant(device="cuda:1"), sys.executable),
        ("paddle:to_static@gpu", "paddle", Variant("to_static", "gpu"), sys.executable),
        ("mindspore:graph@ascend:0", "mindspore", Variant("graph", "ascend:0"), sys.executable),
        (f"paddle:to_static@gpu={sys.executable}", "paddle", Variant("to_static", "gpu"), sys.executable),
        ("torch=sh", "torch", PLAIN, "sh"),
    ],
)
def test_a_backend_is_read(text: str, name: str, variant: Variant, python: str) -> None:
    """Name, mode, device and interpreter, each but the first left out or not."""
    assert backend_spec(text) == BackendSpec(name, BACKENDS[name], python, variant=variant)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("flax", "no backend 'flax'"),
        ("torch:graph", "backend torch has no mode 'graph'; it has eager, compile"),
        ("torch:", "backend torch has no mode ''"),
        ("paddle@cuda", "backend paddle has no device 'cuda'; it has cpu, gpu, xpu"),
        ("torch@", "backend torch has no device ''"),
        ("torch@CPU", "backend torch has no device 'CPU'"),
        ("torch@cuda:one", "'cuda:one' is no device; one of several is cuda:0, cuda:1, …"),
        ("torch@cuda:", "'cuda:' is no device"),
        ("torch@cuda:1:compile", "'cuda:1:compile' is no device"),
        ("torch:compile=/no/python", "/no/python is not an executable interpreter"),
    ],
)
def test_what_there_is_not_is_said(text: str, says: str) -> None:
    """Which it has stands in the message."""
    with pytest.raises(UsageError) as raised:
        backend_spec(text)
    assert says in str(raised.value)


def test_a_mode_and_a_device_for_all() -> None:
    """Backends that name none of their own have it; one that names another is a contradiction."""
    one, other = backend_specs(["torch:eager", "paddle"], "eager", "cpu")
    assert (one.variant, other.variant) == (PLAIN, PLAIN)
    assert [spec.variant for spec in backend_specs(["torch", "torch:compile"][1:], "compile")] == [
        Variant("compile")
    ]
    with pytest.raises(UsageError, match="backend paddle has no mode 'compile'; it has eager, to_static"):
        backend_specs(["torch", "paddle"], "compile")
    with pytest.raises(UsageError, match="is to have the mode 'eager', and --mode says 'compile'"):
        backend_specs(["torch:eager"], "compile")


@pytest.mark.parametrize("second", ["torch:compile", "torch", "torch@cuda", f"torch={sys.executable}"])
def test_a_run_has_one_variant_of_a_framework(second: str) -> None:
    """Two are two runs, to be compared."""
    with pytest.raises(UsageError, match=r"named twice.*folder of its own.*conformance compare"):
        backend_specs(["torch", "paddle", second])


def test_the_command_refuses_with_4(capsys: Captured) -> None:
    """A mode that a backend does not have, for it alone or for all, starts nothing."""
    for options in (["--backend", "torch:graph"], ["--mode", "compile"], ["--device", "gpu"]):
        assert main(["run", *options]) == 4
        assert "; it has " in capsys.readouterr().err


def test_what_a_worker_is_told_to_load() -> None:
    """The plain adapter as ever; a variant behind it."""
    assert backend_spec("torch").loads == BACKENDS["torch"]
    assert backend_spec("torch:compile@cuda:1").loads == f"{BACKENDS['torch']} compile cuda:1"


@pytest.mark.parametrize(
    ("row", "title"),
    [
        ({"backend": "torch"}, "torch"),
        ({"backend": "torch", "mode": "eager", "device": "cpu"}, "torch"),
        ({"backend": "torch", "mode": "compile", "device": "cpu"}, "torch:compile"),
        ({"backend": "torch", "mode": "compile", "device": "cuda:1"}, "torch:compile@cuda:1"),
        ({"backend": "torch:compile", "mode": "compile"}, "torch:compile"),
        ({"backend": "torch", "mode": None, "device": "cuda"}, "torch@cuda"),
    ],
)
def test_titles(row: dict[str, str], title: str) -> None:
    """A row of a stream is named with its mode and device, once."""
    assert titled(row) == title
