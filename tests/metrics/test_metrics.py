"""Metrics without an oracle: how inputs are read, state, names, errors, the confusion picture."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import standin
from streams import saved_and_loaded

import minidl
from minidl import metrics
from minidl.device import _device_packages, _module_of
from minidl.errors import DtypeError, FormatError, ShapeError
from minidl.tape import tie

NAN = float("nan")
SCORES = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8], [0.5, 0.5, 0.0]])
LABELS = np.array([1, 2, 2, 0])  # right, wrong, right, right (the first of two equal scores)
EVERY = {
    "accuracy": metrics.Accuracy,
    "top_k": lambda: metrics.TopK(2),
    "precision": lambda: metrics.Precision("macro"),
    "recall": lambda: metrics.Recall(None),
    "f1": lambda: metrics.F1("weighted"),
    "fbeta": lambda: metrics.FBeta(2.0, "micro"),
    "confusion_matrix": lambda: metrics.ConfusionMatrix(range(4)),
    "roc_auc": lambda: metrics.ROCAUC(labels=range(3)),
    "average_precision": lambda: metrics.AveragePrecision("micro", labels=range(3)),
    "mae": metrics.MeanAbsoluteError,
    "mse": lambda: metrics.MeanSquaredError("raw_values"),
    "rmse": metrics.RootMeanSquaredError,
    "r2": metrics.R2,
}
every = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)


def data_for(metric: metrics.Metric, n: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """Random outputs, targets and weights that the metric takes."""
    rng = np.random.default_rng(seed)
    outputs = rng.random((n, 3)).astype(np.float32)
    targets: Any = rng.integers(0, 3, n)
    if type(metric).__module__.endswith("regression"):
        targets = rng.random((n, 3)).astype(np.float32)
    return outputs / outputs.sum(1, keepdims=True), targets, rng.random(n)


# ---- how inputs are read ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outputs", "targets", "share"),
    [
        (SCORES, LABELS, 0.75),
        (SCORES, LABELS[:, None], 0.75),
        (SCORES, LABELS.astype(np.float32), 0.75),
        (SCORES, np.eye(3)[LABELS], 0.75),
        (SCORES, 0.9 * np.eye(3)[LABELS] + 0.1 / 3, 0.75),  # smoothed labels
        (SCORES, (0.9 * np.eye(3)[LABELS] + 0.1 / 3).astype(np.float16), 0.75),
        (SCORES - 7.0, LABELS, 0.75),
        (np.where(SCORES == 0, -np.inf, SCORES), LABELS, 0.75),
        ([[3, 1], [0, 2]], [0, 0], 0.5),  # whole numbers with one more axis are scores
        (SCORES.reshape(2, 2, 3), LABELS.reshape(2, 2), 0.75),
        (SCORES.reshape(4, 1, 3), LABELS.reshape(4, 1), 0.75),
        ([0.5, 0.7, 0.2], [0, 1, 1], 2 / 3),  # 0.5 is not above the threshold
        ([[0.5], [0.7], [0.2]], [0, 1, 1], 2 / 3),
        ([[0.5], [0.7], [0.2]], [[0], [1], [1]], 2 / 3),
        ([0.5, 0.7, 0.2], [[0.0], [1.0], [1.0]], 2 / 3),
        ([0.5, 0.7, 0.2], [False, True, True], 2 / 3),
        ([4, -1, 7], [4, 1, 7], 2 / 3),
        ([[4, 1], [7, 7]], [[4, 1], [7, 8]], 0.75),
        ([True, False], [1, 1], 0.5),
    ],
)
def test_accuracy_reads_outputs_by_their_shape(outputs: Any, targets: Any, share: float) -> None:
    assert metrics.accuracy(outputs, targets) == pytest.approx(share, rel=1e-15)


def test_options_of_reading() -> None:
    assert metrics.accuracy([-1.0, 2.0, 0.3], [0, 1, 1], threshold=0.0) == 1
    planes = np.moveaxis(SCORES.reshape(2, 2, 3), -1, 1)  # (N, C, L), as in PyTorch
    assert metrics.accuracy(planes, LABELS.reshape(2, 2), class_axis=1) == 0.75
    assert metrics.top_k_accuracy(planes, LABELS.reshape(2, 2), k=2, class_axis=1) == 0.75
    with pytest.raises(ShapeError, match="where axis 1 holds the classes, pass class_axis=1"):
        metrics.accuracy(np.zeros((2, 4, 3)), [[0] * 3] * 2)


def test_weights_of_samples_go_to_their_elements() -> None:
    labels = [[1, 2, 3], [4, 5, 6]]
    wrong = [[1, 2, 3], [0, 0, 6]]
    assert metrics.accuracy(labels, wrong, [1, 3]) == (3 + 3) / 12
    assert metrics.accuracy(labels, wrong, [[1, 1, 1], [0, 1, 1]]) == 4 / 5


def test_greater_class_ranks_higher_among_equal_scores() -> None:
    assert metrics.top_k_accuracy([[1.0, 1.0, 0.0]] * 2, [0, 1], k=1) == 0.5
    assert metrics.TopK(3).name == "top_3_accuracy"
    assert metrics.top_k_accuracy(SCORES, LABELS, k=9) == 1


@pytest.fixture
def _standin_is_a_device() -> Iterator[None]:
    _device_packages.add("standin")
    _module_of.cache_clear()
    yield
    _device_packages.remove("standin")
    _module_of.cache_clear()


@every
@pytest.mark.usefixtures("_standin_is_a_device")
def test_tensors_lists_and_devices(make: Any) -> None:
    outputs, targets, weights = data_for(make(), 20)
    want = make().over(outputs, targets, weights)
    tensors = [minidl.tensor(a) for a in (outputs, targets, weights)]
    tensors[0].requires_grad_()  # metrics look at values alone
    np.testing.assert_array_equal(make().over(*tensors), want)
    lists = [a.tolist() for a in (outputs, targets, weights)]
    np.testing.assert_allclose(make().over(*lists), want, rtol=1e-6)
    on_device = [tie(standin.array(a), None) for a in (outputs, targets, weights)]
    np.testing.assert_array_equal(make().over(*on_device), want)


def test_softmax_of_logits() -> None:
    rng = np.random.default_rng(1)
    logits, targets = rng.normal(size=(30, 3)) * 40, rng.integers(0, 3, 30)
    chances = minidl.softmax(minidl.tensor(logits), 1)
    for make in (metrics.ROCAUC, metrics.AveragePrecision):
        found = make(from_logits=True).over(logits, targets)
        assert found == pytest.approx(make().over(chances, targets), rel=1e-12)


def as_tensors(state: dict[str, Any]) -> dict[str, Any]:
    """The state as a file of tensors beside a file of numbers gives it back."""
    return {k: minidl.tensor(v) if isinstance(v, np.ndarray) else v for k, v in state.items()}


# ---- state --------------------------------------------------------------------------------------


@every
def test_resumed_in_mid_epoch_to_the_bit(make: Any) -> None:
    parts = [data_for(make(), n, seed) for seed, n in enumerate((5, 1, 0, 8, 3))]
    straight, resumed = make(), make()
    for outputs, targets, weights in parts:
        straight.update(outputs, targets, weights)
        resumed = saved_and_loaded(resumed, make())
        resumed.update(outputs, targets, weights)
    want = straight.compute()
    np.testing.assert_array_equal(resumed.compute(), want)
    np.testing.assert_array_equal(resumed.compute(), want)  # it may be asked twice
    state = resumed.state_dict()
    resumed.update(*parts[0])  # what was handed out does not change
    fresh = make()
    fresh.load_state_dict(as_tensors(state))
    np.testing.assert_array_equal(fresh.compute(), want)
    fresh.reset()
    fresh.update(*parts[1])
    np.testing.assert_array_equal(fresh.compute(), make().over(*parts[1]))


@every
def test_weights_of_one_are_none(make: Any) -> None:
    outputs, targets, _ = data_for(make(), 12)
    mixed = make()
    mixed.update(outputs[:4], targets[:4])
    mixed.update(outputs[4:8], targets[4:8], np.ones(4))
    mixed.update(outputs[8:], targets[8:], [1] * 4)
    np.testing.assert_allclose(mixed.compute(), make().over(outputs, targets), rtol=1e-14)


@every
def test_state_of_another_metric_is_refused(make: Any) -> None:
    metric = make()
    metric.update(*data_for(metric, 6))
    before = metric.state_dict()
    with pytest.raises(FormatError, match=f"^{metric.name}: a state holds .*; got what"):
        metric.load_state_dict({"what": 1})
    key, value = list(before.items())[-1]
    with pytest.raises(FormatError, match=f"^{metric.name}: the state's '{key}' is"):
        metric.load_state_dict(before | {key: 3 if isinstance(value, np.ndarray) else [3]})
    for name, kept in metric.state_dict().items():
        np.testing.assert_array_equal(kept, before[name])


@every
def test_nothing_to_compute(make: Any) -> None:
    metric = make()
    with pytest.raises(ValueError, match=f"^{metric.name}: nothing to compute"):
        metric.compute()
    outputs, targets, weights = data_for(metric, 4)
    metric.update(outputs, targets, weights * 0)
    with pytest.raises(ValueError, match=f"^{metric.name}: nothing to compute"):
        metric.compute()


@every
def test_arrays_given_and_handed_out_may_be_written_over(make: Any) -> None:
    metric, (outputs, targets, weights) = make(), data_for(make(), 9)
    want = make().over(outputs, targets, weights)
    metric.update(outputs, targets, weights)
    handed_out = [v for v in metric.state_dict().values() if isinstance(v, np.ndarray)]
    for array in (outputs, targets, weights, *handed_out):
        array[...] = 0
    np.testing.assert_array_equal(metric.compute(), want)


def test_counts_are_whole_until_a_weight_is_not() -> None:
    matrix = metrics.ConfusionMatrix()
    matrix.update([5, 1], [1, 1], [2, 3])
    assert matrix.compute().dtype == np.int64
    matrix.update([1], [5], [0.5])
    assert matrix.compute().tolist() == [[3.0, 2.0], [0.5, 0.0]]
    assert matrix.classes.tolist() == [1, 5]


def test_sums_do_not_cancel_and_equal_targets_are_equal() -> None:
    """Where a sum of squares would lose everything, and where a mean would round."""
    targets = 1e9 + np.arange(10.0)
    r2 = metrics.R2()
    for part in np.split(np.arange(10), [3, 4]):
        r2.update(targets[part] + 1, targets[part])
    assert r2.compute() == pytest.approx(1 - 10 / 82.5, rel=1e-12)
    assert metrics.r2_score([0.1, 0.1, 0.2], [0.1] * 3) == 0
    assert metrics.r2_score([0.1] * 3, [0.1] * 3, [0.3, 0.1, 0.7]) == 1


def test_samples_of_many_numbers() -> None:
    """Images, say: a figure over all of their numbers."""
    a, b = np.random.default_rng(0).random((2, 4, 3, 2, 2))
    assert metrics.mean_squared_error(a, b) == pytest.approx(np.mean((a - b) ** 2), rel=1e-14)
    assert metrics.mean_absolute_error(a, b, multioutput="raw_values").shape == (12,)


# ---- the mean of a loss -------------------------------------------------------------------------


def test_mean_loss() -> None:
    loss = metrics.MeanLoss()
    loss.update(minidl.tensor(2.0, requires_grad=True), weights=30)
    loss = saved_and_loaded(loss, metrics.MeanLoss())
    loss.update(np.float32(5.0), weights=10)
    assert (loss.name, loss.compute()) == ("loss", 2.75)
    loss.update([4.0, 1.0, NAN], weights=[1, 2, 0])
    assert loss.compute() == (110 + 6) / 43
    for bad, mean in [(np.inf, np.inf), (-np.inf, NAN), (NAN, NAN)]:
        loss.update(bad, weights=1)
        np.testing.assert_equal(loss.compute(), mean)
    loss.reset()
    with pytest.raises(ValueError, match="^loss: nothing to compute"):
        loss.compute()
    loss.update([4.0, 1.0])
    assert loss.compute() == 2.5


# ---- names --------------------------------------------------------------------------------------


def test_get() -> None:
    for name, kind in [
        ("accuracy", metrics.Accuracy),
        ("acc", metrics.Accuracy),
        ("top_3_accuracy", metrics.TopK),
        ("recall_macro", metrics.Recall),
        ("f1_weighted", metrics.F1),
        ("roc_auc", metrics.ROCAUC),
        ("mae", metrics.MeanAbsoluteError),
        ("r2", metrics.R2),
    ]:
        found = metrics.get(name)
        assert (type(found), found.name) == (kind, name)
        assert metrics.get(name) is not found
        assert metrics.get(found) is found
    assert metrics.get("top_3_accuracy").k == 3
    assert metrics.get("recall_macro").average == "macro"
    with pytest.raises(ValueError, match="^metrics.get: .*'acuracy'; did you mean 'accuracy'?"):
        metrics.get("acuracy")
    with pytest.raises(ValueError, match="'xyz'; choose one of accuracy, acc, precision"):
        metrics.get("xyz")
    for wrong in (metrics.Accuracy, len, None):
        with pytest.raises(TypeError, match="expected a name or a Metric such as Accuracy()"):
            metrics.get(wrong)


@pytest.mark.parametrize("name", metrics._NAMES)
def test_every_name_makes_a_metric(name: str) -> None:
    assert metrics.get(name).name == name
    assert name in metrics.get.__doc__ or name.rpartition("_")[0] in metrics.get.__doc__


# ---- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "outputs", "targets", "error", "reason"),
    [
        ("accuracy", [1, 2], [1, 2, 3], ShapeError, r"one sample for each .* \(2,\) and \(3,\)"),
        ("accuracy", 1, 2, ShapeError, r"got shapes \(\) and \(\)"),
        ("accuracy", [[1, 2], [3]], [1, 2], ShapeError, "rows that differ in shape"),
        ("accuracy", ["a"], [1], DtypeError, "outputs of dtype <U1"),
        ("accuracy", [1j], [1], DtypeError, "complex128; expected numbers or bools"),
        ("accuracy", [[0.1, 0.9]], [2], ValueError, r"targets hold 2 at index 0; .* 0 … 1"),
        ("accuracy", [[0.1, 0.9]] * 2, [0, -1], ValueError, "targets hold -1 at index 1"),
        ("accuracy", [[0.1, NAN]], [0], ValueError, r"outputs hold nan at index \(0, 1\)"),
        ("accuracy", [0.1, NAN], [0, 1], ValueError, "outputs hold nan at index 1"),
        ("accuracy", [0.1, 3.0], [0, 3], ValueError, "targets hold 3 .* probability of class 1"),
        ("accuracy", [1, 2], [1, 0.5], ValueError, "targets hold 0.5 .* labels are whole numbers"),
        ("accuracy", [1, 2], [1, NAN], ValueError, "targets hold nan"),
        ("accuracy", [1, 2], [1, 1e30], ValueError, "targets hold 1e"),
        (
            "accuracy",
            [[0.1, 0.9]],
            [[1, 1]],
            ValueError,
            r"index 0 sums to 2, .* targets.ravel\(\)",
        ),
        ("accuracy", [[0.1, 0.9]], [[1, 0, 0]], ShapeError, r"got targets of shape \(1, 3\)"),
        ("accuracy", [[1, 2, 3]], [[1, 2]], ShapeError, r"\(1, 3\) do not go with .* \(1, 2\)"),
        ("f1", [0, 1, 2], [0, 1, 2], ValueError, "average='binary' is for two classes, 3 have"),
        ("f1", [0, 2], [0, 2], ValueError, r"pos_label is 1, but the classes are \[0, 2\]"),
        ("top_5_accuracy", [0.1], [0], ShapeError, r"shape \(1,\), expected scores \(N, C\)"),
        ("top_5_accuracy", [[0.1, 0.2]], [5], ValueError, "targets hold 5 at index 0"),
        ("roc_auc", [[[0.1]]], [0], ShapeError, r"shape \(N,\) or \(N, C\)"),
        ("roc_auc", [0.1, NAN], [0, 1], ValueError, "outputs hold nan at index 1"),
        ("roc_auc", [[0.1, 0.8]], [1], ValueError, "row at index 0 .* 0.9, not 1; .*from_logits"),
        ("roc_auc", [0.1, 0.2, 0.3], [0, 1, 2], ValueError, r"then have shape \(N, 3\)"),
        ("roc_auc", [[0.2, 0.3, 0.5]] * 2, [0, 1], ValueError, "of 2 classes, .* 3 columns"),
        ("average_precision", [0.1, 0.2], [2, 3], ValueError, r"pos_label is 1, .* \[2, 3\]"),
        ("mse", [[1.0, 2.0]], [1.0], ShapeError, r"\(1, 2\), targets \(1,\); .* not broadcast"),
        ("mae", [1.0, np.inf], [1.0, 2.0], ValueError, "outputs hold inf at index 1"),
        ("r2", [1.0, 2.0], [1.0, NAN], ValueError, "targets hold nan at index 1"),
    ],
)
def test_bad_input(metric: str, outputs: Any, targets: Any, error: type, reason: str) -> None:
    with pytest.raises(error, match=f"^{metric}: .*{reason}"):
        metrics.get(metric).over(outputs, targets)


@every
@pytest.mark.parametrize(
    ("weights", "error", "reason"),
    [
        ([1.0], ShapeError, r"weights have shape \(1,\), expected \(2,\)"),
        ([1.0, -2.0], ValueError, "weights hold -2.0 at index 1; a weight is 0 or more"),
        ([NAN, 1.0], ValueError, "weights hold nan at index 0"),
    ],
)
def test_bad_weights(make: Any, weights: Any, error: type, reason: str) -> None:
    metric = make()
    outputs, targets, _ = data_for(metric, 2)
    with pytest.raises(error, match=f"^{metric.name}: {reason}"):
        metric.update(outputs, targets, weights)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: metrics.TopK(0), "top_0_accuracy: k must be 1 or more"),
        (lambda: metrics.Precision("mean"), "precision: average is 'mean', expected one of"),
        (lambda: metrics.Recall(zero_division=2), "recall: zero_division is 2"),
        (lambda: metrics.FBeta(-1.0), "fbeta: beta must be 0 or more, got -1.0"),
        (lambda: metrics.F1(labels=[]), "f1: labels must hold at least one label"),
        (lambda: metrics.F1(labels=[1, 1]), r"f1: labels hold a label twice: \[1, 1\]"),
        (lambda: metrics.ConfusionMatrix(normalize="row"), "confusion_matrix: normalize is 'row'"),
        (lambda: metrics.ROCAUC(multi_class="all"), "roc_auc: multi_class is 'all'"),
        (lambda: metrics.ROCAUC(None, "ovo"), "roc_auc: average=None is not offered"),
        (lambda: metrics.ROCAUC("binary"), "roc_auc: average is 'binary'"),
        (lambda: metrics.ROCAUC(labels=[1, 0]), r"roc_auc: labels must ascend; got \[1, 0\]"),
        (lambda: metrics.R2("mean"), "r2: multioutput is 'mean'"),
    ],
)
def test_bad_options(make: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}"):
        make()


def test_batches_that_do_not_go_together() -> None:
    squares = metrics.MeanSquaredError()
    squares.update(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ShapeError, match="2 outputs a sample, those before had 3"):
        squares.update(np.zeros((2, 2)), np.zeros((2, 2)))
    area = metrics.ROCAUC()
    area.update([0.5], [1])
    with pytest.raises(ShapeError, match=r"outputs have shape \(1, 2\), those before had \(1,\)"):
        area.update([[0.5, 0.5]], [1])
    area = metrics.ROCAUC(labels=[0, 1, 2])
    with pytest.raises(ValueError, match=r"targets hold 3, which is not among .* \[0, 1, 2\]"):
        area.update([[0.5, 0.5, 0.0]], [3])
    with pytest.raises(ValueError, match="3 labels for outputs of 2 classes"):
        area.update([0.5], [1])
    with pytest.raises(ValueError, match="'ovo' takes no weights"):
        metrics.ROCAUC(multi_class="ovo").update([0.5], [1], [1.0])
    with pytest.raises(ShapeError, match=r"weights have shape \(2,\), a sample has 3 outputs"):
        metrics.mean_absolute_error(np.zeros((2, 3)), np.zeros((2, 3)), multioutput=[1, 2])


# ---- the picture --------------------------------------------------------------------------------


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What stands in the picture that is written next."""
    figure = pytest.importorskip("matplotlib.figure").Figure
    found: list[str] = []
    savefig = figure.savefig

    def looked_at(self: Any, *args: Any, **options: Any) -> None:
        axes = self.axes[0]
        found.extend(text.get_text() for text in axes.texts)
        found.extend(label.get_text() for label in axes.get_xticklabels())
        found.append(axes.get_title())
        savefig(self, *args, **options)

    monkeypatch.setattr(figure, "savefig", looked_at)
    return found


def test_picture(texts: list[str], tmp_path: Any) -> None:
    matrix = metrics.ConfusionMatrix(range(3), "true")
    matrix.update([0, 1, 1] + [0] * 300, [0, 1, 0] + [0] * 300)
    matrix.plot(tmp_path / "matrix.png", ["cat", "dog", "mouse"])
    assert (tmp_path / "matrix.png").read_bytes()[:4] == b"\x89PNG"
    cells = ["1.00", "<.01", "1"]  # of 9; nothing stands where nothing is
    assert texts == [*cells, "cat", "dog", "mouse", "303 samples, 99.7% right"]


def test_picture_of_many_classes_shows_colours_alone(texts: list[str], tmp_path: Any) -> None:
    metrics.plot_confusion_matrix(
        np.ones((60, 60), int), tmp_path / "matrix.svg", title="all right"
    )
    assert texts == [*map(str, range(0, 60, 2)), "all right"]


def test_picture_refuses(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "matrix.png"
    with pytest.raises(ShapeError, match=r"^plot_confusion_matrix: a matrix \(C, C\) is wanted"):
        metrics.plot_confusion_matrix(np.zeros((2, 3)), path)
    for entry, reason in [(NAN, "hold nan at index"), (-1.0, "are counts or shares, 0 or more")]:
        with pytest.raises(ValueError, match=f"^plot_confusion_matrix: matrix entries {reason}"):
            metrics.plot_confusion_matrix([[1.0, entry], [0.0, 1.0]], path)
    with pytest.raises(ValueError, match=r"1 names for 2 classes; give .*labels=range\(n\)"):
        metrics.plot_confusion_matrix(np.eye(2), path, ["cat"])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="needs matplotlib.* 'minidl\\[examples\\]'"):
        metrics.plot_confusion_matrix(np.eye(2), path)
    assert not path.exists()
