"""Data: sets of examples, the loader that makes batches of them, and real data to begin with."""

from minidl.data.dataset import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from minidl.data.fashion_mnist import FASHION_MNIST_CLASSES, fashion_mnist
from minidl.data.files import DataFile, cache_folder, load_file
from minidl.data.idx import read_idx
from minidl.data.loader import DataLoader, default_collate

__all__ = [
    "FASHION_MNIST_CLASSES",
    "ConcatDataset",
    "DataFile",
    "DataLoader",
    "Dataset",
    "Subset",
    "TensorDataset",
    "cache_folder",
    "default_collate",
    "fashion_mnist",
    "load_file",
    "random_split",
    "read_idx",
]
