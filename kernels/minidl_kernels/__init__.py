"""The one door to a kernel: arrays in, arrays out; nothing here knows of tensors or gradients.

`minidl_kernels.conv(x, w, …)` runs the kernel that fits the arrays that come in. A kernel may stand
in several rooms, and the first that has it is taken:

    NumPy arrays   cpu/ (Numba), then generic/ (plain array code)
    CuPy arrays    cuda/ (CUDA C), then generic/
    use("reference")  reference/ (plain loops: the definition, and the oracle of every test)

Which one runs depends on the type of the arrays and on `use`, never on a warm cache or on timing.
"""

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minidl_kernels.plans import algorithm, conv2d_plan, exact_convolution

__all__ = ["KERNELS", "algorithm", "conv2d_plan", "exact_convolution", "find", "use"]

# Each kernel and the module (the same name in every room) that holds it.
KERNELS: dict[str, str] = {
    "conv": "convolution",
    "conv_input": "convolution",
    "conv_weight": "convolution",
    "conv_pool": "epilogue",
    "conv_pool_gradient": "epilogue",
    "conv_relu_gradient": "epilogue",
    "unfold": "convolution",
    "fold": "convolution",
    "max_pool": "pooling",
    "max_pool_input": "pooling",
    "avg_pool": "pooling",
    "avg_pool_input": "pooling",
    "index_add": "indexing",
    "recurrent_layers": "recurrent",
    "recurrent_layers_gradient": "recurrent",
    "rnn": "recurrent",
    "rnn_gradient": "recurrent",
    "lstm": "recurrent",
    "lstm_gradient": "recurrent",
    "gru": "recurrent",
    "gru_gradient": "recurrent",
    "matmul": "products",
    "linear": "dense",
    "linear_gradient": "dense",
    "philox": "philox",
    "dropout": "philox",
    "cross_entropy": "classification",
    "cross_entropy_input": "classification",
    "logistic_loss": "classification",
    "logistic_loss_input": "classification",
    "mean_logistic_loss": "classification",
    "standardize": "normalization",
    "standardize_gradient": "normalization",
    "sgd_": "updates",
    "sgd_all_": "updates",
    "adam_": "updates",
    "adam_all_": "updates",
    "square_sum": "updates",
}

_ROOMS = {"cpu": ("cpu", "generic"), "cuda": ("cuda", "generic"), "reference": ("reference",)}
_forced: str | None = None


def use(room: str | None) -> contextlib.AbstractContextManager[None]:
    """Force every kernel to come from one room; None chooses by the arrays again.

    room : "cpu", "cuda", "reference" or None

    Takes effect at once; as a context manager (`with use("reference"):`) it is undone at the end.
    Raises ValueError for another name.
    """
    global _forced
    if room is not None and room not in _ROOMS:
        raise ValueError(f"use: room is {room!r}; expected one of {sorted(_ROOMS)} or None")
    before, _forced = _forced, room

    @contextlib.contextmanager
    def undo() -> Iterator[None]:
        global _forced
        try:
            yield
        finally:
            _forced = before

    return undo()


def find(kernel: str, room: str) -> Callable[..., Any]:
    """Return the function that `kernel` names in `room`, or in the rooms that stand in for it."""
    for folder in _ROOMS[room]:
        path = f"{__name__}.{folder}.{KERNELS[kernel]}"
        try:
            module = importlib.import_module(path)
        except ModuleNotFoundError as error:
            if error.name is None or not path.startswith(error.name):
                raise  # a module that the kernel itself needs is missing
            continue
        if hasattr(module, kernel):
            return getattr(module, kernel)
    raise NotImplementedError(f"{kernel}: there is no kernel for {room!r}")


def _door(kernel: str) -> Callable[..., Any]:
    found: dict[str, Callable[..., Any]] = {}  # by room

    def call(first: Any, *args: Any, **options: Any) -> Any:
        room = _forced or ("cpu" if type(first) is np.ndarray else _room_of(first, args))
        function = found.get(room)
        if function is None:
            function = found[room] = find(kernel, room)
        return function(first, *args, **options)

    call.__name__ = call.__qualname__ = kernel
    call.__doc__ = f"See `minidl_kernels.reference.{KERNELS[kernel]}.{kernel}`, the definition."
    return call


def _room_of(first: Any, args: Sequence[Any]) -> str:
    """The room of a kernel's first array: it may be in a list, or left out."""
    for a in (first, *args):
        array = a[0] if type(a) is list and a else a
        if array is not None:  # a gradient that nobody asked for: the next argument tells
            return "cpu" if type(array) is np.ndarray else "cuda"
    return "cpu"


def __getattr__(name: str) -> Callable[..., Any]:
    if name not in KERNELS:
        raise AttributeError(f"module {__name__!r} has no kernel {name!r}")
    function = globals()[name] = _door(name)
    return function
