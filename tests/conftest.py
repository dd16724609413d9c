"""How long Hypothesis looks, which tests are left out where there is no GPU, and a full disk."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

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
collect_ignore_glob = ["benchmarks/*.py"]  # each is run by itself, beside what it imports


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


@pytest.fixture
def room() -> Callable[[int], AbstractContextManager[None]]:
    """`with room(size):` no file can grow beyond so many bytes, as if the disk were full."""

    @contextmanager
    def within(size: int) -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return within
