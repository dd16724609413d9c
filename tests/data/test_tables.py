"""Tables of scikit-learn, and splits by chance."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import random
from minidl.data import TABLES, table, train_test_split
from minidl.errors import ShapeError

SHAPES = {
    "breast_cancer": (569, 30, 2),
    "diabetes": (442, 10, None),
    "digits": (1797, 64, 10),
    "iris": (150, 4, 3),
    "wine": (178, 13, 3),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name):
    pytest.importorskip("sklearn")
    X, y = table(name)
    count, features, classes = SHAPES[name]
    assert X.shape == (count, features)
    assert X.dtype == np.float32
    assert np.isfinite(X).all()
    assert y.shape == (count,)
    if classes is None:
        assert y.dtype == np.float32
        assert (y.min(), y.max()) == (25, 346)
    else:
        assert y.dtype == np.int64
        assert np.unique(y).tolist() == list(range(classes))


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install 'minidl\[examples\]'"):
        table("iris")


def test_no_such_table():
    with pytest.raises(ValueError, match="breast_cancer, .*, wine, not 'boston'"):
        table("boston")


# ---- train_test_split ---------------------------------------------------------------------------


@given(
    classes=st.lists(st.integers(0, 3), min_size=2, max_size=40),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
    stratified=st.booleans(),
)
def test_each_example_in_one_part(classes, share, seed, stratified):
    x, y = np.arange(len(classes)), np.array(classes)
    test = int(np.ceil(share * len(x)))
    options = {"test_size": share, "seed": seed, "stratify": y if stratified else None}
    if test == len(x):
        with pytest.raises(ValueError, match="neither may be empty"):
            train_test_split(x, y, **options)
        return
    x_train, x_test, y_train, y_test = train_test_split(x, y, **options)
    assert len(x_test) == test
    assert sorted([*x_train, *x_test]) == x.tolist()
    np.testing.assert_array_equal(y[x_train], y_train)
    np.testing.assert_array_equal(y[x_test], y_test)
    if stratified:
        for label in set(classes):
            exact = classes.count(label) * test / len(x)
            assert abs((y_test == label).sum() - exact) < 1
    again = train_test_split(x, test_size=test, seed=seed, stratify=options["stratify"])
    np.testing.assert_array_equal(again[0], x_train)
    np.testing.assert_array_equal(again[1], x_test)


def test_the_seed_decides():
    x = np.arange(50)
    splits = [train_test_split(x, seed=seed)[1].tolist() for seed in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]
    random.manual_seed(5)
    drawn = [train_test_split(x)[1].tolist() for _ in range(2)]
    random.manual_seed(5)
    assert drawn == [train_test_split(x)[1].tolist() for _ in range(2)]
    assert drawn[0] != drawn[1]


def test_every_example_is_as_likely_in_the_test():
    """Chi-squared-like bound: 2,000 splits of 8, 2 for the test, 5 standard deviations."""
    counts = np.zeros(8)
    for seed in range(2000):
        counts[train_test_split(np.arange(8), seed=seed, stratify=np.arange(8) % 2)[1]] += 1
    assert (abs(counts - 500) < 5 * np.sqrt(2000 * 0.25 * 0.75)).all()


@pytest.mark.parametrize(
    ("arguments", "options", "reason"),
    [
        ((), {}, r"one array or more, all of one length; got lengths \[\]"),
        ((np.zeros(3), np.zeros(4)), {}, r"got lengths \[3, 4\]"),
        ((np.zeros(3),), {"stratify": np.zeros(4)}, r"got lengths \[3, 4\]"),
    ],
)
def test_split_refuses_shapes(arguments, options, reason):
    with pytest.raises(ShapeError, match=reason):
        train_test_split(*arguments, **options)


@pytest.mark.parametrize("test_size", [0, 4, 0.0, 1.0, -0.5, -1, True])
def test_split_refuses_sizes(test_size):
    with pytest.raises(ValueError, match="neither may be empty"):
        train_test_split(np.zeros(4), test_size=test_size)
