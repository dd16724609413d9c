"""Make the part of Fashion-MNIST that comes with minidl: `python -m minidl.data.embedded.make`.

Reads the whole data set (as `fashion_mnist(full=True)` finds it) and writes, into the folder
`fashion_mnist` beside this file or the one named on the command line, the first 1,000 training and
200 test images of each class, in the order in which they stand in the whole. The files are of the
publisher's names and format. Prints the SHA-256 of each content, which
`minidl/data/fashion_mnist.py` checks. The compressed bytes may differ with another zlib; the
content never does.
"""

import gzip
import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data.fashion_mnist import fashion_mnist
from minidl.data.idx import format_idx

PER_CLASS = {"train": 1000, "test": 200}
PREFIX = {"train": "train", "test": "t10k"}

Array = np.ndarray[Any, Any]


def first_of_each_class(labels: Array, count: int) -> Array:
    """Return the indices of the first `count` examples of each class, in ascending order."""
    chosen = [np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen))


def part(split: str) -> dict[str, bytes]:
    """Return the content of the files of one split by their names."""
    images, labels = fashion_mnist(split, full=True)
    chosen = first_of_each_class(labels, PER_CLASS[split])
    return {
        f"{PREFIX[split]}-images-idx3-ubyte.gz": format_idx(images[chosen]),
        f"{PREFIX[split]}-labels-idx1-ubyte.gz": format_idx(labels[chosen].astype(np.uint8)),
    }


def main(folder: Path) -> None:
    """Write the files into `folder` and print the digests of their contents."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in PER_CLASS:
        for name, content in part(split).items():
            (folder / name).write_bytes(gzip.compress(content, 9, mtime=0))
            print(name, len(content), hashlib.sha256(content).hexdigest())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "fashion_mnist")
