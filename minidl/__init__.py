"""minidl: a neural-network engine to read in an evening and to use in earnest."""

import importlib
from typing import TYPE_CHECKING

from minidl import autograd, creation, dtypes, ops
from minidl.autograd import *
from minidl.creation import *
from minidl.device import device
from minidl.dtypes import *
from minidl.dtypes import bool_ as bool
from minidl.errors import DeviceError, DtypeError, FormatError, LabelError, ShapeError
from minidl.fusion import fusion
from minidl.memory import as_the_environment_says as _settle_memory
from minidl.memory import keep_freed_memory
from minidl.ops import *
from minidl.random import initial_seed, manual_seed
from minidl.serialization import load, read_metadata, save
from minidl.tape import backward, grad
from minidl.tensor import Tensor
from minidl_kernels import conv2d_plan, exact_convolution
from minidl_kernels.cpu.threads import get_num_threads, set_num_threads

from minidl import nn, optim  # isort: skip (they stand on the above)
from minidl.nn.config import load_model, save_model  # isort: skip

__version__ = "0.1.0"
__all__ = [
    "DeviceError",
    "DtypeError",
    "FormatError",
    "LabelError",
    "ShapeError",
    "Tensor",
    "backward",
    "bool",
    "conv2d_plan",
    "data",
    "device",
    "exact_convolution",
    "fusion",
    "get_num_threads",
    "grad",
    "initial_seed",
    "keep_freed_memory",
    "load",
    "load_model",
    "manual_seed",
    "metrics",
    "nn",
    "optim",
    "read_metadata",
    "save",
    "save_model",
    "set_num_threads",
    "training",
]
__all__ += autograd.__all__
__all__ += creation.__all__
__all__ += dtypes.__all__
__all__ += ops.__all__


_settle_memory()

_LATER = ("data", "keras", "metrics", "testing", "training")  # loaded when they are first asked for

if TYPE_CHECKING:
    from minidl import data, metrics, training
    from minidl import keras as keras
    from minidl import testing as testing
    from minidl.cards import card as card


def __getattr__(name: str) -> object:
    if name == "card":
        return importlib.import_module("minidl.cards").card
    if name not in _LATER:
        raise AttributeError(f"module 'minidl' has no attribute {name!r}")
    return importlib.import_module(f"minidl.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, "card"})
