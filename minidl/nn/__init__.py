"""Layers, losses and containers under PyTorch's names; see `Module` first."""

from minidl.nn import (
    activation,
    containers,
    convolution,
    dropout,
    embedding,
    functional,
    init,
    linear,
    losses,
    normalization,
    padding,
    pooling,
    recurrent,
    utils,
)
from minidl.nn.activation import *
from minidl.nn.containers import *
from minidl.nn.convolution import *
from minidl.nn.dropout import *
from minidl.nn.embedding import *
from minidl.nn.formula import Formula
from minidl.nn.linear import *
from minidl.nn.losses import *
from minidl.nn.module import Module, Parameter
from minidl.nn.normalization import *
from minidl.nn.padding import *
from minidl.nn.pooling import *
from minidl.nn.recurrent import *
from minidl.nn.summary import summary

__all__ = ["Formula", "Module", "Parameter", "functional", "init", "summary", "utils"]
__all__ += activation.__all__
__all__ += containers.__all__
__all__ += convolution.__all__
__all__ += dropout.__all__
__all__ += embedding.__all__
__all__ += linear.__all__
__all__ += losses.__all__
__all__ += normalization.__all__
__all__ += padding.__all__
__all__ += pooling.__all__
__all__ += recurrent.__all__
