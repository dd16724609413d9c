"""The operations that can race: a function for each, from shapes and options to races.

Its keywords are what the command takes (`--shape`, `--stride` …), its docstring is what `--help`
says; `passes` holds those of its passes that were asked for, and names all of them in PASSES.
"""

from collections.abc import Callable

from minidl.race.contest import Race
from minidl.race.operations.classification import softmax_cross_entropy
from minidl.race.operations.convolution import conv2d
from minidl.race.operations.epilogue import conv_pool
from minidl.race.operations.indexing import index_add
from minidl.race.operations.normalization import layer_norm
from minidl.race.operations.pooling import max_pool
from minidl.race.operations.products import matmul
from minidl.race.operations.random import philox
from minidl.race.operations.recurrent import lstm
from minidl.race.operations.updates import adam

__all__ = ["OPERATIONS"]

OPERATIONS: dict[str, Callable[..., list[Race]]] = {
    "conv2d": conv2d,
    "conv_pool": conv_pool,
    "matmul": matmul,
    "lstm": lstm,
    "max_pool": max_pool,
    "softmax_cross_entropy": softmax_cross_entropy,
    "layer_norm": layer_norm,
    "adam": adam,
    "index_add": index_add,
    "philox": philox,
}
