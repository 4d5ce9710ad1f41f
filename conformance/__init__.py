"""A conformance suite for the operators of deep-learning frameworks."""

__version__ = "0.1.0"
SCHEMA = "conformance/1.0"
