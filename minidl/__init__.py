"""minidl: a neural-network engine to read in an evening and to use in earnest."""

from minidl import ops
from minidl.device import device
from minidl.dtypes import *
from minidl.errors import DeviceError, DtypeError, FormatError, ShapeError
from minidl.tape import backward, grad
from minidl.tensor import Tensor, from_dlpack, from_numpy, tensor

# TEMPORARY while parts are being written
try:
    from minidl.autograd import *
    from minidl.creation import *
    from minidl.random import initial_seed, manual_seed
except ImportError as _e:
    import sys

    print(f"(minidl: {_e})", file=sys.stderr)
for _n in ops.__all__:
    if _n not in globals():
        globals()[_n] = getattr(ops, _n)
