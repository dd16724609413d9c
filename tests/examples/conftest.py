"""The examples as modules, with little to read, so that a whole run takes a second."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch, tmp_path):
    """example(name) -> its module, in an empty folder, with 200 images to train and 60 to test."""
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def load(name):
        module = importlib.import_module(name)
        if hasattr(module, "fashion_mnist"):
            monkeypatch.setattr(module, "fashion_mnist", few(module.fashion_mnist))
        return module

    yield load
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(EXAMPLES):
            del sys.modules[name]


def few(fashion_mnist):
    def first(split="train", *, full=False):
        assert not full
        images, labels = fashion_mnist(split)
        chosen = np.arange(200 if split == "train" else 60)
        return images[chosen], labels[chosen]

    return first
