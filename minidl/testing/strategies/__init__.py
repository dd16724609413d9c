"""Hypothesis strategies for whoever tests operations: arrays, operands and configurations that fit.

    from hypothesis import given
    from minidl import testing
    from minidl.testing import strategies as some

    @given(some.matmul_operands())
    def test_my_matmul(operands):
        testing.gradcheck(my_matmul, operands)

All shrink towards small shapes, contiguous arrays and simple numbers. They draw NumPy arrays, of
float64 unless told otherwise, and nothing in them is subnormal. Needs Hypothesis:
`pip install 'minidl[testing]'`.

    values    floats, at_kinks, distinct, ties
    arrays    shapes, dtypes, arrays, same_twice, broadcastable
    places    axes, indices, with_axes, with_index
    operands  matmul_operands, einsum_operands, sequences
    spatial   convolutions, transposed_convolutions, max_poolings, average_poolings
"""

try:
    import hypothesis  # noqa: F401
except ImportError:
    raise ImportError(
        "minidl.testing.strategies needs Hypothesis, which is not installed: "
        "pip install 'minidl[testing]'"
    ) from None

from minidl.testing.layouts import LAYOUTS, laid_out
from minidl.testing.strategies import arrays as _arrays
from minidl.testing.strategies import operands, places, spatial, values
from minidl.testing.strategies.arrays import *
from minidl.testing.strategies.operands import *
from minidl.testing.strategies.places import *
from minidl.testing.strategies.spatial import *
from minidl.testing.strategies.values import *

__all__ = ["LAYOUTS", "laid_out"]
__all__ += _arrays.__all__
__all__ += operands.__all__
__all__ += places.__all__
__all__ += spatial.__all__
__all__ += values.__all__
