"""Every metric gives scikit-learn's figure on drawn cases, whole and in random batches.

Empty classes, ties and weights of 0 are drawn often. With HYPOTHESIS_PROFILE=thorough each test
draws 1,000 cases, more than 10,000 in all.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_equal
from streams import EIGHTHS, SEEDS, check_agreement, rows, weights_for

from minidl import metrics

sk = pytest.importorskip("sklearn.metrics")

NAN = float("nan")


def exact(weights: np.ndarray | None) -> bool:
    """Counts are whole, so that their order cannot matter."""
    return weights is None or weights.dtype.kind == "i"


@st.composite
def labelled(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Predicted and true labels, each of classes of its own choice, and weights."""
    n = draw(st.integers(1, 10))
    found = [
        draw(st.lists(st.sampled_from(classes), min_size=n, max_size=n))
        for classes in draw(
            st.tuples(*[st.sets(st.integers(-1, 4), min_size=1)] * 2).map(
                lambda pair: [sorted(classes) for classes in pair]
            )
        )
    ]
    return np.array(found[0]), np.array(found[1]), draw(weights_for(n))


@given(labelled(), SEEDS)
def test_accuracy(data: Any, seed: int) -> None:
    outputs, targets, weights = data
    check_agreement(
        metrics.Accuracy,
        lambda: sk.accuracy_score(targets, outputs, sample_weight=weights),
        data,
        seed,
        exact(weights),
    )


@pytest.mark.parametrize("average", ["binary", "micro", "macro", "weighted", None])
@given(
    data=labelled(),
    seed=SEEDS,
    labels=st.none() | st.lists(st.integers(-1, 5), min_size=1, max_size=4, unique=True),
    zero_division=st.sampled_from([0, 1, NAN]),
    beta=st.sampled_from([0.0, 0.5, 1.0, 2.0, float("inf")]),
    few=st.booleans(),
)
def test_precision_recall_f(
    data: Any, seed: int, average: Any, labels: Any, zero_division: Any, beta: float, few: bool
) -> None:
    outputs, targets, weights = data
    if few:  # classes 0 and 1, for "binary"
        outputs, targets = abs(outputs) % 2, abs(targets) % 2
    options = {"average": average, "labels": labels, "zero_division": zero_division}
    for make, theirs in [
        (metrics.Precision, sk.precision_score),
        (metrics.Recall, sk.recall_score),
        (metrics.F1, sk.f1_score),
        (lambda **o: metrics.FBeta(beta, **o), lambda *a, **o: sk.fbeta_score(*a, beta=beta, **o)),
    ]:
        check_agreement(
            lambda make=make: make(**options),
            lambda theirs=theirs: theirs(targets, outputs, sample_weight=weights, **options),
            (outputs, targets, weights),
            seed,
            exact(weights),
        )


@given(
    data=labelled(),
    seed=SEEDS,
    labels=st.none() | st.lists(st.integers(-1, 5), min_size=1, max_size=4, unique=True),
    normalize=st.sampled_from([None, "true", "pred", "all"]),
)
def test_confusion_matrix(data: Any, seed: int, labels: Any, normalize: Any) -> None:
    outputs, targets, weights = data
    if labels is not None and weights is not None:  # where only weights of 0 are left, we raise
        assume(weights[np.isin(targets, labels)].any() or not np.isin(targets, labels).any())
    check_agreement(
        lambda: metrics.ConfusionMatrix(labels, normalize),
        lambda: sk.confusion_matrix(
            targets, outputs, labels=labels, normalize=normalize, sample_weight=weights
        ),
        data,
        seed,
        exact(weights),
    )


@given(n=st.integers(1, 8), classes=st.integers(3, 5), seed=SEEDS, draw=st.data())
def test_scores_count_by_their_greatest(n: int, classes: int, seed: int, draw: Any) -> None:
    """Scores, and one-hot targets, are read as their argmax; top-k ranks ties as scikit-learn."""
    scores = draw.draw(rows(n, classes))
    targets = np.array(draw.draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)))
    weights = draw.draw(weights_for(n))
    k = draw.draw(st.integers(1, classes - 1))
    check_agreement(
        lambda: metrics.TopK(k),
        lambda: top_k(targets, scores, k, classes, weights),
        (scores, targets, weights),
        seed,
        exact(weights),
    )
    for wanted in (targets, targets[:, None], np.eye(classes)[targets]):
        check_agreement(
            lambda: metrics.F1("macro"),
            lambda: sk.f1_score(targets, scores.argmax(1), average="macro", sample_weight=weights),
            (scores, wanted, weights),
            seed,
            exact(weights),
        )


def top_k(targets: Any, scores: Any, k: int, classes: int, weights: Any) -> float:
    if weights is not None and not weights.any():
        raise ValueError("scikit-learn raises ZeroDivisionError")
    return sk.top_k_accuracy_score(
        np.append(targets, range(classes)),  # all occur, or two of them would be taken as binary
        np.concatenate([scores, np.eye(classes)]),
        k=k,
        labels=range(classes),
        normalize=False,
        sample_weight=np.append(
            np.ones(len(targets)) if weights is None else weights, [0] * classes
        ),
    ) / (len(targets) if weights is None else weights.sum())


@given(n=st.integers(1, 12), seed=SEEDS, draw=st.data())
def test_ranking_of_two_classes(n: int, seed: int, draw: Any) -> None:
    scores = np.array(draw.draw(st.lists(EIGHTHS, min_size=n, max_size=n)))
    classes = draw.draw(st.sampled_from([(0, 1), (0, 1, 2), (1, 2), (3,), (-1, 1)]))
    targets = np.array(draw.draw(st.lists(st.sampled_from(classes), min_size=n, max_size=n)))
    weights = draw.draw(weights_for(n))
    for make, theirs in [
        (metrics.ROCAUC, sk.roc_auc_score),
        (metrics.AveragePrecision, sk.average_precision_score),
    ]:

        def checked(theirs: Any = theirs) -> Any:
            if weights is not None and not weights.any():
                raise ValueError("scikit-learn looks at the classes first")
            return theirs(targets, scores, sample_weight=weights)

        check_agreement(make, checked, (scores, targets, weights), seed, exact(weights))
        if set(targets) <= {0, 1}:
            for columns in (scores[:, None], np.stack([1 - scores, scores], 1)):
                assert_equal(make().over(columns, targets), make().over(scores, targets))


@pytest.mark.parametrize("average", ["macro", "weighted", "micro", None])
@given(n=st.integers(1, 12), classes=st.integers(3, 4), seed=SEEDS, draw=st.data())
def test_ranking_of_many_classes(average: Any, n: int, classes: int, seed: int, draw: Any) -> None:
    scores = draw.draw(rows(n, classes, simplex=True))
    targets = np.array(draw.draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)))
    weights = draw.draw(weights_for(n))
    labels = draw.draw(st.sampled_from([None, range(classes)]))
    if labels is None and classes == 3 and draw.draw(st.booleans()):
        targets = targets * 3 - 2  # the columns are the labels that occur, whatever these are
    options = {"average": average, "multi_class": "ovr", "labels": labels}
    data = scores, targets, weights

    def roc_auc() -> Any:
        if weights is not None and not weights.any():
            raise ValueError("scikit-learn looks at the classes first")
        return sk.roc_auc_score(
            targets, scores, sample_weight=weights, **options | {"labels": labels and [*labels]}
        )

    check_agreement(lambda: metrics.ROCAUC(**options), roc_auc, data, seed)

    def average_precision() -> Any:
        if weights is not None and not weights.any():
            raise ValueError("scikit-learn looks at the classes first")
        if labels is None and len(set(targets)) < classes:
            raise ValueError("scikit-learn takes two classes as binary")
        if labels is None:
            return sk.average_precision_score(
                targets, scores, average=average, sample_weight=weights
            )
        members = targets[:, None] == np.array(labels)
        return sk.average_precision_score(
            members.astype(int), scores, average=average, sample_weight=weights
        )

    check_agreement(
        lambda: metrics.AveragePrecision(average, labels=labels), average_precision, data, seed
    )
    if average in ("macro", "weighted") and len(set(targets)) > 1:
        options["multi_class"] = "ovo"
        check_agreement(
            lambda: metrics.ROCAUC(**options),
            lambda: sk.roc_auc_score(targets, scores, **options | {"labels": labels and [*labels]}),
            (scores, targets, None),
            seed,
        )


@given(n=st.integers(1, 8), count=st.integers(1, 3), seed=SEEDS, draw=st.data())
def test_regression(n: int, count: int, seed: int, draw: Any) -> None:
    row = st.lists(st.integers(-8, 8).map(lambda i: i / 4), min_size=count, max_size=count)
    outputs, targets = (np.array(draw.draw(st.lists(row, min_size=n, max_size=n))) for _ in "ab")
    weights = draw.draw(weights_for(n))
    custom = [[1.0, 2.0], [0.5, 0.25, 0.25]][count - 2] if count > 1 else "uniform_average"
    offset = draw.draw(st.sampled_from([0, 2.0**20]))  # sums of squares would cancel
    data = outputs + offset, targets + offset, weights

    def figure(theirs: Any, multioutput: Any) -> Any:
        if weights is not None and not weights.any():
            raise ValueError("scikit-learn raises ZeroDivisionError")
        return theirs(data[1], data[0], sample_weight=weights, multioutput=multioutput)

    for make, theirs in [
        (metrics.MeanAbsoluteError, sk.mean_absolute_error),
        (metrics.MeanSquaredError, sk.mean_squared_error),
        (metrics.RootMeanSquaredError, sk.root_mean_squared_error),
        (metrics.R2, sk.r2_score),
    ]:
        averages = ["uniform_average", "raw_values", custom]
        for average in averages + ["variance_weighted"] * (make is metrics.R2):
            check_agreement(
                lambda make=make, average=average: make(average),
                lambda theirs=theirs, average=average: figure(theirs, average),
                data,
                seed,
                rtol=1e-8 if make is metrics.R2 else 1e-12,
            )
