"""gradcheck and its kin: what they accept, what they refuse, and what they say."""

import numpy as np
import pytest

from minidl import ops
from minidl.testing import GradientError, gradcheck


def test_right_derivatives_pass_to_third_order() -> None:
    x = np.random.default_rng(0).standard_normal((3, 4))
    found = gradcheck(lambda x: ops.softmax(x, -1), (x,), order=3)
    assert {c.order for c in found.checks} == {1, 2, 3}
    assert found.worst < 1e-9


def test_a_wrong_factor_is_named() -> None:
    x = np.random.default_rng(0).standard_normal((3, 4))
    with pytest.raises(GradientError) as caught:
        gradcheck(np.sin, (x,), gradient=lambda g, x: 2 * g * np.cos(x))
    assert caught.value.ratio == pytest.approx(2)
    assert caught.value.problem == "wrong"
