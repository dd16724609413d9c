"""Numbers below 1.2e-38, the smallest normal one of float32, are computed with and not flushed."""

import numpy as np
import pytest
from every_kernel import CALLS, Draw, results

import minidl_kernels as kernels

TINY = float(np.finfo("f4").tiny)
# What none of these gives: words, losses of logits, squares, and a sigmoid of nearly nothing, 1/2.
NEVER_SMALL = {
    *("philox", "cross_entropy", "logistic_loss", "mean_logistic_loss", "linear: sigmoid"),
    "square_sum",
}


@pytest.mark.parametrize("call", sorted(CALLS.keys() - NEVER_SMALL))
def test_subnormal_numbers_are_kept(call: str) -> None:
    """As the definition has them, which computes in float64 and rounds at the end."""
    found = results(call, CALLS[call](Draw("float32", large=False, scale=1e-40)))
    with kernels.use("reference"):
        expected = results(call, CALLS[call](Draw("float32", large=False, scale=1e-40)))
    below = 0
    for ours, exact in zip(found, expected, strict=True):
        # Each sum is off by half a unit, 7e-46, at each of its steps; flushed, it would be zero.
        np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=1e-42)
        below += np.count_nonzero((exact != 0) & (abs(exact) < TINY)) if exact.dtype == "f4" else 0
    assert below > 5
