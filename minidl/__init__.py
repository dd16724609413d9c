"""minidl: a neural-network engine to read in an evening and to use in earnest."""

from minidl.tape import backward, grad
from minidl.tensor import Tensor, from_dlpack, from_numpy, tensor

try:
    from minidl.autograd import *
    from minidl.creation import *
    from minidl.random import manual_seed
except ImportError:
    pass

__all__ = ["Tensor", "backward", "from_numpy", "grad", "tensor"]
