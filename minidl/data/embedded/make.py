"""Make the data that come with minidl: `python -m minidl.data.embedded.make [DIR]`.

Writes, into folders beside this file or in DIR:
- `fashion_mnist`: the first 1,000 training and 200 test images of each class, in the order in which
  they stand in the whole, which is taken from where `fashion_mnist(full=True)` finds it;
- `japanese_vowels`: the publisher's two text files, unchanged, from `$MINIDL_DATA/japanese_vowels`.

The files are of the publishers' names and formats. Prints the SHA-256 of each content, which the
modules that read them check. The compressed bytes may differ with another zlib; the content never
does.
"""

import gzip
import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data.fashion_mnist import fashion_mnist
from minidl.data.files import load_file
from minidl.data.idx import format_idx
from minidl.data.japanese_vowels import FILES

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


def japanese_vowels() -> dict[str, bytes]:
    """Return the content of the publisher's files by their names."""
    return {
        file.name: load_file("japanese_vowels", file, download=False) for file in FILES.values()
    }


MAKERS = {
    "fashion_mnist": lambda: part("train") | part("test"),
    "japanese_vowels": japanese_vowels,
}


def main(name: str, folder: Path) -> None:
    """Write one data set's files into `folder` and print the digests of their contents."""
    contents = MAKERS[name]()
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        (folder / file).write_bytes(gzip.compress(content, 9, mtime=0))
        print(file, len(content), hashlib.sha256(content).hexdigest())


if __name__ == "__main__":
    here = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for each in MAKERS:
        main(each, here / each)
