"""What holds for every test here."""

from hypothesis import HealthCheck, settings

# The same examples in every run and every process: CI does not hang on luck, a slow machine, or a folder.
settings.register_profile(
    "the same everywhere",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("the same everywhere")
