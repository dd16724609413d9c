"""Augmentation of images: small changes by chance that leave the label what it is.

Each is a `transform` for a `DataLoader`: `transform(batch, stream) -> batch`. The images are the
batch, or the first part of a tuple or list; the other parts pass through. They are (N, C, H, W),
and every image of a batch gets draws of its own, so the result is a function of batch and stream
alone. Dtype, device and order in memory stay.

Sources: C. Shorten, T. M. Khoshgoftaar, "A survey on image data augmentation for deep learning",
Journal of Big Data 6:60, 2019; flips and crops as in A. Krizhevsky, I. Sutskever, G. E. Hinton,
"ImageNet classification with deep convolutional neural networks", NeurIPS 2012.
"""

import abc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.device import array_module, channels_last, is_array, is_channels_last, laid_out_like
from minidl.dtypes import get_default_dtype
from minidl.errors import DtypeError, ShapeError
from minidl.random import Stream
from minidl.tensor import Tensor

__all__ = ["Compose", "Crop", "Flip", "Normalize", "Shift"]

Array = Any  # a NumPy or CuPy array
_MODES = {"zero": "constant", "reflect": "reflect"}  # our names, and those of `pad`


class _Augmentation(abc.ABC):
    """Finds the images in a batch; a subclass changes them in `images`."""

    @abc.abstractmethod
    def images(self, x: Array, stream: Stream) -> Array:
        """Return the changed images; `x` is (N, C, H, W) and stays as it is."""

    def __call__(self, batch: Any, stream: Stream) -> Any:
        if isinstance(batch, tuple | list) and batch:
            parts = (self(batch[0], stream), *batch[1:])
            return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
        name = type(self).__name__
        x = batch.data if isinstance(batch, Tensor) else batch
        if not is_array(x):
            raise DtypeError(
                f"{name}: a batch is a tensor of images or a tuple that begins with one; got "
                f"{type(batch).__name__}"
            )
        if x.ndim != 4:
            raise ShapeError(f"{name}: images are (N, C, H, W); got shape {x.shape}")
        return Tensor(self.images(x, stream))


class Flip(_Augmentation):
    """Mirrors an image left to right, with probability `p`.

    p : float, 0 … 1; ValueError for another
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"Flip: p is a probability, 0 to 1; got {p}")
        self.p = p

    def __repr__(self) -> str:
        return f"Flip(p={self.p})"

    def images(self, x: Array, stream: Stream) -> Array:
        """Return the images, some of them mirrored."""
        xp = array_module(x)
        chosen = stream.uniform((len(x), 1, 1, 1), dtype="float64") < self.p
        return laid_out_like(xp.where(xp.asarray(chosen), x[..., ::-1], x), x)


class Crop(_Augmentation):
    """Cuts a window out of an image, at a place by chance.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the window.
    padding : int
        So many pixels are put around the image before. 4 for 32x32 images is usual (He et al.
        2016).
    mode : "zero" or "reflect"
        What they are: zeros, or the image mirrored at its edge, for which `padding` must be less
        than its height and width.

    Raises
    ------
    ValueError
        A size below 1, a negative padding, an unknown mode.
    ShapeError
        Images that are smaller than the window, or too small to be mirrored.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.data.augment import Crop
    >>> from minidl.random import Stream
    >>> Crop(28, padding=2)(np.zeros((8, 1, 28, 28)), Stream(0)).shape
    (8, 1, 28, 28)
    """

    def __init__(self, size: int | Sequence[int], padding: int = 0, mode: str = "zero") -> None:
        height, width = (size, size) if isinstance(size, int | np.integer) else tuple(size)
        if height < 1 or width < 1:
            raise ValueError(f"Crop: size must be 1 or more, got {size}")
        _check_border("Crop", "padding", padding, mode)
        self.size, self.padding, self.mode = (int(height), int(width)), padding, mode

    def __repr__(self) -> str:
        return f"Crop({self.size}, padding={self.padding}, mode={self.mode!r})"

    def images(self, x: Array, stream: Stream) -> Array:
        """Return a window of each image."""
        return _windows("Crop", x, self.size, self.padding, self.mode, stream)


class Shift(_Augmentation):
    """Moves an image by up to `k` pixels, up or down and left or right.

    Every one of the (2k + 1)^2 shifts is equally likely. What comes in from outside is as `mode`
    says, see `Crop`.
    """

    def __init__(self, k: int, mode: str = "zero") -> None:
        _check_border("Shift", "k", k, mode)
        self.k, self.mode = k, mode

    def __repr__(self) -> str:
        return f"Shift({self.k}, mode={self.mode!r})"

    def images(self, x: Array, stream: Stream) -> Array:
        """Return the images, each moved."""
        return _windows("Shift", x, x.shape[2:], self.k, self.mode, stream)


class Normalize(_Augmentation):
    """(x - mean) / std, for each channel; nothing is left to chance.

    Whole numbers become the default float dtype and keep their scale: for bytes, mean and std are
    those of bytes.

    Parameters
    ----------
    mean, std : float, or one for each channel

    Raises
    ------
    ValueError
        A std that is not positive, more than one axis.
    ShapeError
        Their number is not that of the channels.
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean, self.std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
        if self.mean.ndim > 1 or self.std.ndim > 1:
            raise ValueError("Normalize: mean and std are numbers, or one number for each channel")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all()):
            raise ValueError(f"Normalize: mean {mean} and std {std} must be finite")
        if (self.std <= 0).any():
            raise ValueError(f"Normalize: std must be above 0; got {std}")

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean.tolist()}, std={self.std.tolist()})"

    def images(self, x: Array, stream: Stream) -> Array:
        """Return the normalised images."""
        kind = x.dtype if x.dtype.kind == "f" else get_default_dtype()
        xp = array_module(x)
        mean, std = (xp.asarray(self._channels(name, x).astype(kind)) for name in ("mean", "std"))
        return laid_out_like((x.astype(kind) - mean) / std, x)

    def _channels(self, name: str, x: Array) -> Array:
        value = getattr(self, name)
        if value.size not in (1, x.shape[1]):
            raise ShapeError(
                f"Normalize: {name} has {value.size} numbers, the images of shape {x.shape} have "
                f"{x.shape[1]} channels"
            )
        return value.reshape(-1, 1, 1)


class Compose:
    """One transform after the other, each with a stream of its own.

    What one draws moves no other's draws; only its place in the list counts.

    Examples
    --------
    >>> from minidl.data.augment import Compose, Flip, Normalize, Shift
    >>> Compose([Shift(2), Flip(), Normalize(0.29, 0.35)])
    Compose([Shift(2, mode='zero'), Flip(p=0.5), Normalize(mean=0.29, std=0.35)])
    """

    def __init__(self, transforms: Sequence[Callable[[Any, Stream], Any]]) -> None:
        self.transforms = list(transforms)

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.transforms))}])"

    def __call__(self, batch: Any, stream: Stream) -> Any:
        """Return the batch after the last transform."""
        for place, transform in enumerate(self.transforms):
            batch = transform(batch, stream.fork(place))
        return batch


def _check_border(name: str, argument: str, width: int, mode: str) -> None:
    if isinstance(width, bool) or not isinstance(width, int | np.integer) or width < 0:
        raise ValueError(f"{name}: {argument} is a whole number from 0; got {width!r}")
    if mode not in _MODES:
        raise ValueError(f"{name}: mode is 'zero' or 'reflect', not {mode!r}")


def _windows(
    name: str, x: Array, size: Sequence[int], border: int, mode: str, stream: Stream
) -> Array:
    """Cut a window of `size` out of each image with `border` pixels around it, by chance."""
    if mode == "reflect" and border >= min(x.shape[2:]):
        raise ShapeError(f"{name}: {border} pixels cannot be mirrored from images of {x.shape[2:]}")
    spare = [have + 2 * border - want for have, want in zip(x.shape[2:], size, strict=True)]
    if min(spare) < 0:
        raise ShapeError(
            f"{name}: a window of {tuple(size)} does not fit images of {x.shape[2:]} with "
            f"{border} pixels around them"
        )
    xp = array_module(x)
    top, left = (xp.asarray(stream.integers(0, room + 1, (len(x),))) for room in spare)
    around = ((0, 0), (0, 0), (border, border), (border, border))
    padded = xp.pad(x, around, mode=_MODES[mode]) if border else x
    n, c, row, column = padded.strides
    every = xp.lib.stride_tricks.as_strided(  # (N, C, places down, places across, height, width)
        padded,
        (*x.shape[:2], spare[0] + 1, spare[1] + 1, *size),
        (n, c, row, column, row, column),
    )
    cut = every[xp.arange(len(x)), :, top, left]
    return channels_last(cut) if is_channels_last(x) else cut
