"""Metrics: honest figures over many batches, equal to scikit-learn's.

A metric is an object: `update(outputs, targets, weights=None)` with each batch, `compute()` at the
end, `reset()` to begin anew; `state_dict()` and `load_state_dict()` stop and go on in between.
Beside each stands a function for whole arrays. Tensors of any device, arrays and lists go in.

Outputs come first, targets second, as in the losses; scikit-learn has them the other way round.

>>> from minidl import metrics
>>> accuracy, f1 = metrics.get("accuracy"), metrics.F1("macro")
>>> for outputs, targets in [([2, 0, 1], [2, 0, 0]), ([1], [1])]:
...     accuracy.update(outputs, targets)
...     f1.update(outputs, targets)
>>> accuracy.compute(), f1.compute()
(0.75, 0.7778)
>>> metrics.confusion_matrix([2, 0, 1, 1], [2, 0, 0, 1]).tolist()
[[1, 1, 0], [0, 1, 0], [0, 0, 1]]
"""

import difflib
import functools
import re
from collections.abc import Callable

from minidl.metrics.base import MeanLoss, Metric
from minidl.metrics.classification import (
    F1,
    Accuracy,
    FBeta,
    Precision,
    Recall,
    TopK,
    accuracy,
    f1_score,
    fbeta_score,
    precision,
    recall,
    top_k_accuracy,
)
from minidl.metrics.confusion import ConfusionMatrix, confusion_matrix, plot_confusion_matrix
from minidl.metrics.ranking import (
    ROCAUC,
    AveragePrecision,
    average_precision_score,
    roc_auc_score,
)
from minidl.metrics.regression import (
    R2,
    MeanAbsoluteError,
    MeanSquaredError,
    RootMeanSquaredError,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
    root_mean_squared_error,
)

__all__ = [
    "F1",
    "R2",
    "ROCAUC",
    "Accuracy",
    "AveragePrecision",
    "ConfusionMatrix",
    "FBeta",
    "MeanAbsoluteError",
    "MeanLoss",
    "MeanSquaredError",
    "Metric",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "TopK",
    "accuracy",
    "average_precision_score",
    "confusion_matrix",
    "f1_score",
    "fbeta_score",
    "get",
    "mean_absolute_error",
    "mean_squared_error",
    "plot_confusion_matrix",
    "precision",
    "r2_score",
    "recall",
    "roc_auc_score",
    "root_mean_squared_error",
    "top_k_accuracy",
]

_NAMES: dict[str, Callable[..., Metric]] = {
    "accuracy": Accuracy,
    "acc": Accuracy,
    "precision": Precision,
    "recall": Recall,
    "f1": F1,
    "confusion_matrix": ConfusionMatrix,
    "roc_auc": ROCAUC,
    "average_precision": AveragePrecision,
    "mean_absolute_error": MeanAbsoluteError,
    "mae": MeanAbsoluteError,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "root_mean_squared_error": RootMeanSquaredError,
    "rmse": RootMeanSquaredError,
    "r2": R2,
}
_NAMES |= {
    f"{name}_{average}": functools.partial(_NAMES[name], average)
    for name in ("precision", "recall", "f1")
    for average in ("micro", "macro", "weighted")
}


def get(metric: str | Metric) -> Metric:
    """Return the metric of a name, newly made and called so; a metric as it is.

    metric : "accuracy" ("acc"), "top_5_accuracy" (any number), "precision", "recall" and "f1", also
        with "_micro", "_macro" or "_weighted", "confusion_matrix", "roc_auc", "average_precision",
        "mean_absolute_error" ("mae"), "mean_squared_error" ("mse"), "root_mean_squared_error"
        ("rmse"), "r2"; or an object with a name, `reset`, `update` and `compute`

    Raises ValueError for another name, TypeError for another object.

    >>> from minidl import metrics
    >>> metrics.get("f1_macro")
    F1(name='f1_macro')
    """
    if isinstance(metric, str):
        if top := re.fullmatch(r"top_(\d+)_accuracy", metric):
            return TopK(int(top[1]))
        if metric in _NAMES:
            return _NAMES[metric](name=metric)
        near = difflib.get_close_matches(metric, _NAMES, 1)
        hint = (
            f"did you mean {near[0]!r}?"
            if near
            else f"choose one of {', '.join([*_NAMES, 'top_5_accuracy'])}"
        )
        raise ValueError(f"metrics.get: no metric is called {metric!r}; {hint}")
    if isinstance(metric, type) or not all(
        hasattr(metric, part) for part in ("name", "reset", "update", "compute")
    ):
        raise TypeError(
            f"metrics.get: expected a name or a Metric such as Accuracy(), got {metric!r}"
        )
    return metric
