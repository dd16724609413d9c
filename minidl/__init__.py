"""minidl: a neural-network engine to read in an evening and to use in earnest."""

from minidl import autograd, creation, dtypes, ops
from minidl.autograd import *
from minidl.creation import *
from minidl.device import device
from minidl.dtypes import *
from minidl.dtypes import bool_ as bool
from minidl.errors import DeviceError, DtypeError, FormatError, ShapeError
from minidl.ops import *
from minidl.random import initial_seed, manual_seed
from minidl.serialization import load, read_metadata, save
from minidl.tape import backward, grad
from minidl.tensor import Tensor

from minidl import nn, optim  # isort: skip (they stand on all of the above)

__version__ = "0.1.0"
__all__ = [
    "DeviceError",
    "DtypeError",
    "FormatError",
    "ShapeError",
    "Tensor",
    "backward",
    "bool",
    "device",
    "grad",
    "initial_seed",
    "load",
    "manual_seed",
    "nn",
    "optim",
    "read_metadata",
    "save",
]
__all__ += autograd.__all__
__all__ += creation.__all__
__all__ += dtypes.__all__
__all__ += ops.__all__
