"""Every operation that minidl claims, by family; `registry` lists them all."""

from minidl.ops.arithmetic import *
from minidl.ops.linalg import *
from minidl.ops.reduction import *
from minidl.ops.shape import *
from minidl.tape import registry

__all__ = ["registry"]
