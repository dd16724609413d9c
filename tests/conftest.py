"""How long Hypothesis looks, and which tests are left out where there is no GPU."""

import os

import pytest
from hypothesis import HealthCheck, settings

# No deadlines: the first call of a kernel compiles it.
settings.register_profile("dev", deadline=None, max_examples=15)
settings.register_profile(
    "ci", deadline=None, max_examples=20, derandomize=True, database=None, print_blob=True
)
settings.register_profile(
    "thorough", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "dev"))


# Programs that need what the tests do not: CuPy.
collect_ignore = ["standin/record.py"]


def gpu_here() -> bool:
    # CuPy imports cleanly without a driver; a broader `except` would turn a warning into a skip.
    try:
        import cupy
    except ImportError:
        return False
    return cupy.cuda.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if gpu and not gpu_here():
        for item in gpu:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
