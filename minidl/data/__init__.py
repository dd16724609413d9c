"""Data: sets of examples, the loader that makes batches of them, and real data to begin with."""

from minidl.data.archives import content_digest, extract_checked
from minidl.data.audio import log_mel, pooled_frames, read_wav
from minidl.data.augment import Compose, Crop, Flip, Normalize, Shift
from minidl.data.dataset import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from minidl.data.fashion_mnist import FASHION_MNIST_CLASSES, fashion_mnist
from minidl.data.files import DataFile, cache_folder, load_file
from minidl.data.idx import read_idx
from minidl.data.japanese_vowels import japanese_vowels
from minidl.data.loader import DataLoader, default_collate
from minidl.data.sequences import pad_sequences
from minidl.data.spoken_digits import SPOKEN_DIGITS_RATE, SPOKEN_DIGITS_SPEAKERS, spoken_digits
from minidl.data.tables import TABLES, table, train_test_split

__all__ = [
    "FASHION_MNIST_CLASSES",
    "SPOKEN_DIGITS_RATE",
    "SPOKEN_DIGITS_SPEAKERS",
    "TABLES",
    "Compose",
    "ConcatDataset",
    "Crop",
    "DataFile",
    "DataLoader",
    "Dataset",
    "Flip",
    "Normalize",
    "Shift",
    "Subset",
    "TensorDataset",
    "cache_folder",
    "content_digest",
    "default_collate",
    "extract_checked",
    "fashion_mnist",
    "japanese_vowels",
    "load_file",
    "log_mel",
    "pad_sequences",
    "pooled_frames",
    "random_split",
    "read_idx",
    "read_wav",
    "spoken_digits",
    "table",
    "train_test_split",
]
