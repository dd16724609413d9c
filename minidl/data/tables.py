"""Tables: small classic data sets, which come with scikit-learn; and splits of arrays by chance."""

import math
from typing import Any

import numpy as np

from minidl.data.dataset import draw_seed, shuffle_stream
from minidl.errors import ShapeError

__all__ = ["TABLES", "table", "train_test_split"]

Array = np.ndarray[Any, Any]
TABLES = ("breast_cancer", "diabetes", "digits", "iris", "wine")


def table(name: str) -> tuple[Array, Array]:
    """Return one of scikit-learn's small data sets, which need no download.

    =============  ====  ========  =============================================================
    name              N  features  what
    =============  ====  ========  =============================================================
    breast_cancer   569        30  is a tumour malignant (0) or benign (1), from its cells
    diabetes        442        10  how far a disease went within a year: a number, 25 to 346
    digits        1,797        64  which digit is on an image of 8x8, 0 to 16 a pixel
    iris            150         4  which of three irises, from the sizes of its leaves
    wine            178        13  which of three cultivars, from what is in the wine
    =============  ====  ========  =============================================================

    Parameters
    ----------
    name : one of `TABLES`

    Returns
    -------
    X : (N, features) float32
        As scikit-learn has them; their scales differ widely except in digits and diabetes.
    y : (N,)
        int64 classes from 0; float32 for diabetes.

    Raises
    ------
    ValueError
        Another name.
    ImportError
        scikit-learn is not installed.
    """
    if name not in TABLES:
        raise ValueError(f"table: name is one of {', '.join(TABLES)}, not {name!r}")
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(
            "table: the tables come with scikit-learn, which is not installed; "
            "pip install 'minidl[examples]'"
        ) from error
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return X.astype(np.float32), y.astype(np.float32 if name == "diabetes" else np.int64)


def train_test_split(
    *arrays: Array,
    test_size: float = 0.25,
    seed: int | None = None,
    stratify: Array | None = None,
) -> list[Array]:
    """Cut arrays at random into a part to train and a part to test, all in the same way.

    Parameters
    ----------
    *arrays : (N, ...)
    test_size : float or int
        Share of the examples that are for the test, rounded up, or their number.
    seed : int, optional
        The split is a function of it and of N and `stratify`. Default: drawn from the stream
        "shuffle".
    stratify : (N,), optional
        Classes: each has in the test its share of the whole, rounded down or up.

    Returns
    -------
    list
        For each array its part to train and its part to test, scikit-learn's order:
        X_train, X_test, y_train, y_test. Copies, in an order by chance.

    Raises
    ------
    ShapeError
        No array, or sizes that differ.
    ValueError
        A part would be empty.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.data import train_test_split
    >>> x, y = np.arange(8), np.array([0, 0, 0, 0, 1, 1, 1, 1])
    >>> x_train, x_test, y_train, y_test = train_test_split(x, y, seed=1, stratify=y)
    >>> len(x_train), sorted(y_test.tolist())
    (6, [0, 1])
    """
    sizes = [len(array) for array in (*arrays, *([] if stratify is None else [stratify]))]
    if not arrays or len(set(sizes)) > 1:
        raise ShapeError(
            f"train_test_split: expected one array or more, all of one length; got lengths {sizes}"
        )
    count = sizes[0]
    whole = isinstance(test_size, int | np.integer) and not isinstance(test_size, bool)
    test = int(test_size) if whole else math.ceil(count * test_size)
    if not 0 < test < count:
        raise ValueError(
            f"train_test_split: test_size {test_size} of {count} examples leaves {count - test} to "
            f"train and {test} to test; neither may be empty"
        )
    order = shuffle_stream(draw_seed() if seed is None else seed).fork(3).permutation(count)
    in_test = np.zeros(count, np.bool_)  # of each place in that order
    if stratify is None:
        in_test[:test] = True
    else:
        in_test[_stratified(np.asarray(stratify)[order], test)] = True
    parts = (order[~in_test], order[in_test])
    return [np.asarray(array)[part] for array in arrays for part in parts]


def _stratified(classes: Array, test: int) -> Array:
    """Return the first places of each class, together `test`: its share rounded down or up."""
    _, codes, counts = np.unique(classes, return_inverse=True, return_counts=True)
    shares = counts * test / len(classes)
    takes = np.floor(shares).astype(np.int64)
    most_left = np.argsort(takes - shares, kind="stable")  # the greatest remainders first
    takes[most_left[: test - takes.sum()]] += 1
    return np.concatenate([np.flatnonzero(codes == code)[:n] for code, n in enumerate(takes)])
