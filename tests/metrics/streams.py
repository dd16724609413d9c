"""Drawn data, and a metric fed with them in random batches that is saved and loaded midway."""

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from minidl.metrics import Metric

SEEDS = st.integers(0, 2**32 - 1)
EIGHTHS = st.integers(0, 8).map(lambda i: i / 8)  # ties are frequent, sums are exact


def weights_for(n: int) -> st.SearchStrategy[np.ndarray | None]:
    """No weights, whole ones, or others; zeros among them."""
    numbers = st.one_of(
        st.lists(st.integers(0, 3), min_size=n, max_size=n),
        st.lists(EIGHTHS, min_size=n, max_size=n),
    )
    return st.one_of(st.none(), numbers.map(np.array))


def rows(n: int, classes: int, simplex: bool = False) -> st.SearchStrategy[np.ndarray]:
    """Scores (n, classes) with many ties; with `simplex` each row sums to 1."""
    least = 1 if simplex else 0
    row = st.lists(st.integers(least, 6), min_size=classes, max_size=classes)
    scores = st.lists(row, min_size=n, max_size=n).map(lambda x: np.array(x, np.float64))
    return scores.map(lambda x: x / x.sum(1, keepdims=True)) if simplex else scores


def saved_and_loaded(metric: Metric, fresh: Metric) -> Metric:
    """`fresh` with the state of `metric`, by way of JSON; the same to the bit.

    JSON knows one kind of float, so float32 becomes float64; numbers stay the same.
    """
    state = metric.state_dict()
    text = json.dumps(state, default=lambda array: array.tolist())
    fresh.load_state_dict(json.loads(text))
    again = fresh.state_dict()
    for key, value in state.items():
        assert type(again[key]) is type(value), key
        np.testing.assert_array_equal(again[key], value)
        assert np.asarray(again[key]).dtype.kind == np.asarray(value).dtype.kind, key
    return fresh


def streamed(
    make: Callable[[], Metric], outputs: Any, targets: Any, weights: Any, seed: int
) -> Any:
    """What the metric makes of the samples in a random order and random batches."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(targets))
    ends = np.sort(rng.integers(0, len(order) + 1, rng.integers(0, 5)))  # batches may be empty
    metric = make()
    for number, part in enumerate(np.split(order, ends)):
        metric.update(outputs[part], targets[part], None if weights is None else weights[part])
        if number == len(ends) // 2:
            metric = saved_and_loaded(metric, make())
    return metric.compute()


def check_agreement(
    make: Callable[[], Metric],
    theirs: Callable[[], Any],
    data: tuple[Any, Any, Any],
    seed: int,
    exact: bool = False,
    rtol: float = 1e-12,
) -> None:
    """Whole and in batches it is scikit-learn's figure, or ValueError where that raises it.

    exact : batches must give the very bits of the whole
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            want = theirs()
        except ValueError:
            want = None
    if want is None:
        with pytest.raises(ValueError, match=rf"^{make().name}: "):
            streamed(make, *data, seed)
        return
    whole, batched = make().over(*data), streamed(make, *data, seed)
    np.testing.assert_allclose(whole, want, rtol=rtol, atol=1e-14)
    if exact:
        np.testing.assert_array_equal(batched, whole)
    else:
        np.testing.assert_allclose(batched, whole, rtol=rtol, atol=1e-14)
