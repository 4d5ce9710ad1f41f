"""JAX as a backend of op-conformance."""
