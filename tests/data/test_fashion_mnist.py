"""Fashion-MNIST: the part that comes along, and the whole where this machine has it."""

import functools
import gzip
import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from minidl.data import FASHION_MNIST_CLASSES, fashion_mnist, idx
from minidl.data.embedded import make
from minidl.errors import FormatError

PART = Path(make.__file__).parent / "fashion_mnist"
SIZES = {"train": (10_000, 1_000), "test": (2_000, 200)}


@pytest.fixture(scope="module")
def whole():
    """The whole data set, of this machine; nothing is fetched for a test."""
    try:
        return {split: fashion_mnist(split, full=True, download=False) for split in SIZES}
    except FileNotFoundError:
        pytest.skip("the whole of Fashion-MNIST is not on this machine")


@pytest.mark.parametrize("split", SIZES)
def test_part_is_stratified(split):
    count, each = SIZES[split]
    images, labels = fashion_mnist(split)
    assert images.shape == (count, 28, 28)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [each] * len(FASHION_MNIST_CLASSES)
    assert images.max() == 255
    images[0], labels[0] = 0, 0  # a copy of the caller's own
    assert fashion_mnist(split)[0][0].any()


@pytest.mark.parametrize("split", SIZES)
def test_part_can_be_told_apart(split):
    """The labels belong to the images: the nearest class mean is right far above chance."""
    images, labels = fashion_mnist("train")
    means = np.stack([images[labels == c].mean(0).ravel() for c in range(10)])
    x, y = fashion_mnist(split)
    x = x.reshape(len(x), -1).astype(float)
    nearest = (np.square(means).sum(1) - 2 * x @ means.T).argmin(1)
    assert (nearest == y).mean() > 0.65


def test_part_is_what_make_takes_from_the_whole(whole):
    for split, (images, labels) in whole.items():
        chosen = make.first_of_each_class(labels, SIZES[split][1])
        part_images, part_labels = fashion_mnist(split)
        np.testing.assert_array_equal(part_images, images[chosen])
        np.testing.assert_array_equal(part_labels, labels[chosen])


def test_make_writes_the_contents_that_stand_there(whole, tmp_path, capsys, monkeypatch):
    fast = functools.partial(gzip.compress, compresslevel=1)  # the content is what counts
    monkeypatch.setattr(make.gzip, "compress", lambda content, level, mtime: fast(content))
    make.main("fashion_mnist", tmp_path)
    printed = capsys.readouterr().out
    for path in sorted(PART.iterdir()):
        content = gzip.decompress(path.read_bytes())
        assert gzip.decompress((tmp_path / path.name).read_bytes()) == content
        assert f"{path.name} {len(content)} {hashlib.sha256(content).hexdigest()}\n" in printed


def test_whole(whole):
    for split, count in (("train", 60_000), ("test", 10_000)):
        images, labels = whole[split]
        assert images.shape == (count, 28, 28)
        assert np.bincount(labels).tolist() == [count // 10] * 10


def test_whole_from_a_folder_of_the_users(whole, tmp_path, monkeypatch):
    folder = tmp_path / "fashion_mnist"
    folder.mkdir()
    monkeypatch.setenv("MINIDL_DATA", str(tmp_path))
    images, labels = whole["test"]
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx.format_idx(images))
    packed = gzip.compress(idx.format_idx(labels.astype(np.uint8)))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(packed)
    np.testing.assert_array_equal(fashion_mnist("test", full=True, download=False)[0], images)

    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(packed[:-20])
    with pytest.raises(FormatError, match=r"t10k-labels-idx1-ubyte\.gz: truncated"):
        fashion_mnist("test", full=True, download=False)


def test_the_part_is_not_taken_for_the_whole(tmp_path):
    shutil.copytree(PART, tmp_path / "part")
    with pytest.raises(FormatError, match="not the file expected: 1568016 bytes"):
        fashion_mnist("test", full=True, root=tmp_path / "part", download=False)


def test_no_folder_no_network(tmp_path, monkeypatch):
    """Where there is nothing and fetching is not allowed, the text says what to do."""
    monkeypatch.setenv("MINIDL_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys.modules[fashion_mnist.__module__], "_SYSTEM", ())
    with pytest.raises(FileNotFoundError, match=r"https://.*train-images-idx3-ubyte\.gz"):
        fashion_mnist(full=True, root=tmp_path / "none", download=False)
    assert list(tmp_path.iterdir()) == []


def test_arguments():
    with pytest.raises(ValueError, match="'train' or 'test', not 'valid'"):
        fashion_mnist("valid")
    with pytest.raises(ValueError, match="full=True"):
        fashion_mnist(root=".")
