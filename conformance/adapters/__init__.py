"""Backends by name: where each one's adapter class stands. A new backend is one file and one line."""

BACKENDS: dict[str, str] = {
    "torch": "conformance.adapters.torch:TorchAdapter",
    "paddle": "conformance.adapters.paddle:PaddleAdapter",
    "mindspore": "conformance.adapters.mindspore:MindSporeAdapter",
}
