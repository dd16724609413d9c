"""Fashion-MNIST: 70,000 grey images of clothes in ten classes, a part of which comes with minidl.

Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking
machine learning algorithms", arXiv:1708.07747, 2017. MIT licence, Zalando SE.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data.files import DataFile, load_file, read_checked
from minidl.data.idx import parse_idx

__all__ = ["FASHION_MNIST_CLASSES", "fashion_mnist"]

FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_SYSTEM = ("/usr/share/datasets/fashion-mnist",)  # Debian's package dataset-fashion-mnist
_SOURCES = (
    "https://fashion-mnist.s3.eu-central-1.amazonaws.com",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
)
_PART_FOLDER = Path(__file__).parent / "embedded" / "fashion_mnist"  # made by embedded/make.py


def _files(prefix: str, count: int, images: str, labels: str) -> tuple[DataFile, DataFile]:
    return (
        DataFile(f"{prefix}-images-idx3-ubyte.gz", images, 16 + count * 28 * 28),
        DataFile(f"{prefix}-labels-idx1-ubyte.gz", labels, 8 + count),
    )


_WHOLE_FILES = {
    "train": _files(
        "train",
        60_000,
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "test": _files(
        "t10k",
        10_000,
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
_PART_FILES = {
    "train": _files(
        "train",
        10_000,
        "d33512cfdc636a0d8972818e6659995be209a88891df7fa2109d7895922c8985",
        "620cb8e3b9348037c5ff9a07b02d773ab165330e072dfd19e0d21c59f8042dcf",
    ),
    "test": _files(
        "t10k",
        2_000,
        "15a92dd1e9b16ea361928086e77df4dfa890c255c00b5a8c8162c1040ce8eef1",
        "234596aeb6eb48133ec99a62541f90bc0728c9559a681f1e0638037462458f2c",
    ),
}


def fashion_mnist(
    split: str = "train",
    *,
    full: bool = False,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the images and labels of Fashion-MNIST.

    Parameters
    ----------
    split : "train" or "test"
    full : bool
        False: the part that comes with minidl, the first 1,000 (test: 200) images of each class in
        the order of the whole file. True: all 60,000 (test: 10,000).
    root : path, optional
        Where the whole data set is looked for first, and downloaded to. Further places:
        $MINIDL_DATA/fashion_mnist/, Debian's package dataset-fashion-mnist, the user's cache.
    download : bool
        Whether the whole data set may be fetched where no place has it.

    Returns
    -------
    images : (N, 28, 28) uint8
        0 is background, 255 the brightest.
    labels : (N,) int64
        Index into `FASHION_MNIST_CLASSES`.

    Raises
    ------
    FormatError
        A file is damaged or another one.
    FileNotFoundError
        The whole data set is nowhere and could not be fetched.

    Examples
    --------
    >>> from minidl.data import FASHION_MNIST_CLASSES, fashion_mnist
    >>> images, labels = fashion_mnist("test")
    >>> images.shape, images.dtype
    ((2000, 28, 28), dtype('uint8'))
    >>> FASHION_MNIST_CLASSES[labels[0]]
    'Ankle boot'
    """
    if split not in ("train", "test"):
        raise ValueError(f"fashion_mnist: split is 'train' or 'test', not {split!r}")
    if root is not None and not full:
        raise ValueError("fashion_mnist: root= is for the whole data set; pass full=True as well")
    if full:
        places: dict[str, Any] = {"root": root, "system": _SYSTEM, "sources": _SOURCES}
        places["download"] = download
        contents = [load_file("fashion_mnist", file, **places) for file in _WHOLE_FILES[split]]
    else:
        contents = [read_checked(_PART_FOLDER / file.name, file) for file in _PART_FILES[split]]
    images, labels = (parse_idx(content, "fashion_mnist") for content in contents)
    return images, labels.astype(np.int64)
