"""Layers, losses and containers under PyTorch's names; see `Module` first."""
# ruff: noqa: F401, F403 (all of it is there to be imported from here)

from minidl.nn import functional, init, utils
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
