"""What another kernel has left in the memory of a thread, where it works, changes nothing."""

from typing import Any

import numpy as np
import pytest
from every_kernel import CALLS, Draw, results

from minidl_kernels.cpu import launch, threads


@pytest.mark.parametrize("call", [call for call in CALLS if call.startswith("conv")])
def test_what_was_left_in_memory_changes_nothing(call: str) -> None:
    """NaN least of all: Winograd's kernels look at their results, and go another way for it."""

    def found(left: float) -> list[Any]:
        launch._here.desk.room.memory[...] = left
        return results(call, CALLS[call](Draw("float32", large=True)))

    before = threads.count
    try:
        threads.set_num_threads(1)
        found(0.0)  # now there is room for all
        for one, other in zip(found(0.0), found(np.nan), strict=True):
            np.testing.assert_array_equal(one, other)
    finally:
        threads.set_num_threads(before)
