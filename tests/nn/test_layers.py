"""What the table against PyTorch does not say: errors, dropout, options of our own, functional."""

from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn, ops
from minidl.errors import DtypeError, ShapeError
from minidl.nn import functional as F


def test_functional_has_what_it_claims() -> None:
    for name in F.__all__:
        assert callable(getattr(F, name)), name
    assert {"relu", "batch_norm", "cross_entropy"} <= set(F.__all__)
    assert F.relu is ops.relu


def test_every_formula_finds_its_function() -> None:
    formulas = [v for v in vars(nn).values() if isinstance(v, type) and issubclass(v, nn.Formula)]
    assert len(formulas) > 50
    for formula in formulas:
        if formula is not nn.Formula:
            assert callable(getattr(F, formula._function)), formula
            given = [... if v.default is v.empty else v.default
                     for v in formula.__signature__.parameters.values()]  # fmt: skip
            made = formula(*[2 if v is ... else v for v in given])
            assert repr(made).startswith(formula.__name__)


def test_formula_binds_as_a_function_does() -> None:
    layer = nn.MaxPool2d(2, padding=1)
    assert (layer.kernel_size, layer.stride, layer.padding) == (2, None, 1)
    assert repr(layer) == "MaxPool2d(kernel_size=2, padding=1)"
    with pytest.raises(
        TypeError, match="MaxPool2d: missing a required argument: 'kernel_size'; it"
    ):
        nn.MaxPool2d()
    with pytest.raises(TypeError, match="ReLU: got an unexpected keyword argument 'slope'"):
        nn.ReLU(slope=1)
    loss = nn.CrossEntropyLoss(weight=minidl.tensor([1.0, 2.0]))
    assert list(loss.state_dict()) == ["weight"]
    assert loss.double().weight.dtype == "float64"
    assert nn.ReLU(inplace=True)(minidl.tensor([-1.0])).item() == 0


def test_activation_of_a_layer() -> None:
    x = minidl.tensor([[1.0, -2.0]])
    for activation, expected in (("tanh", ops.tanh), (ops.exp, ops.exp), (None, lambda y: y)):
        layer = nn.Linear(2, 3, activation=activation)
        plain = ops.linear(x, layer.weight, layer.bias)
        # A layer's own tanh is that of our kernels, some units in the last place beside NumPy's.
        np.testing.assert_allclose(layer(x).data, expected(plain).data, rtol=1e-6)
    assert "activation=relu" in repr(nn.Conv2d(1, 1, 3, activation="relu"))
    assert "activation=exp" in repr(nn.Linear(1, 1, activation=ops.exp))
    with pytest.raises(
        ValueError, match="Linear: activation is 'rellu'; give a function or one of"
    ):
        nn.Linear(1, 1, activation="rellu")
    with pytest.raises(ValueError, match="ConvTranspose1d: activation is 3"):
        nn.ConvTranspose1d(1, 1, 1, activation=3)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: nn.Conv2d(3, 4, 3, groups=2),
            ValueError,
            "3 and 4 channels cannot be split into 2",
        ),
        (lambda: nn.Conv2d(1, 1, (3, 3, 3)), ValueError, "expected an int or 2 ints"),
        (lambda: nn.Conv2d(1, 1, 3, padding_mode="mirror"), ValueError, "padding_mode is 'mirror'"),
        (lambda: nn.Conv2d(1, 1, 3, 2, "same"), ValueError, "padding='same' needs stride 1"),
        (lambda: nn.Conv2d(1, 1, 3, padding="most"), ValueError, "padding is 'most'"),
        (lambda: nn.ConvTranspose2d(1, 1, 3, padding="same"), ValueError, "expected ints"),
        (lambda: nn.ConvTranspose2d(1, 1, 3, padding_mode="reflect"), ValueError, "only 'zeros'"),
        (lambda: nn.Embedding(3, 2, max_norm=1.0), NotImplementedError, "max_norm is not offered"),
        (lambda: nn.Embedding(3, 2, sparse=True), NotImplementedError, "sparse is not offered"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), ValueError, "padding_idx is 3, there are 3"),
        (lambda: nn.LSTM(2, 3, proj_size=1), NotImplementedError, "LSTM: proj_size"),
        (lambda: nn.LSTM(2, 0), ValueError, "hidden_size is 0"),
        (lambda: nn.GRU(2, 3, dropout=1.5), ValueError, "GRU: dropout is 1.5"),
        (lambda: nn.RNN(2, 3, nonlinearity="exp"), ValueError, "RNN: nonlinearity is 'exp'"),
        (lambda: nn.RNNCell(2, 3, nonlinearity="exp"), ValueError, "RNNCell: nonlinearity"),
        (lambda: nn.GroupNorm(2, 3), ValueError, "3 channels cannot be split into 2 groups"),
        (lambda: nn.Dropout(1.5), ValueError, "Dropout: p is 1.5, expected 0 to 1"),
        (lambda: nn.ZeroPad2d((1, 2)), ValueError, "expected an int or 4 ints"),
        (
            lambda: nn.Linear(784 / 2, 10),
            TypeError,
            "Linear: in_features is 392.0, expected an int",
        ),
        (lambda: nn.Linear(3, -1), ValueError, "Linear: out_features is -1, expected 0 or more"),
        (lambda: nn.Conv2d(1, "8", 3), TypeError, "Conv2d: out_channels is '8', expected an int"),
        (lambda: nn.Embedding(3, 2.0), TypeError, "Embedding: embedding_dim is 2.0"),
        (lambda: nn.BatchNorm1d(None), TypeError, "BatchNorm1d: num_features is None"),
        (lambda: nn.GroupNorm("2", 4), TypeError, "GroupNorm: num_groups is '2'"),
        (lambda: nn.LayerNorm((3, "4")), TypeError, "LayerNorm: normalized_shape is '4'"),
        (lambda: nn.LSTM(2, None), TypeError, "LSTM: hidden_size is None, expected an int"),
        (lambda: nn.GRUCell(2, -3), ValueError, "GRUCell: hidden_size is -3, expected 0 or more"),
        (lambda: nn.PReLU(1.5), TypeError, "PReLU: num_parameters is 1.5"),
        (lambda: nn.Dropout("0.5"), ValueError, "Dropout: p is '0.5', expected 0 to 1"),
        (lambda: nn.LSTM(2, 3)([1, 2]), DtypeError, r"LSTM: x is \[1, 2\] \(list\), expected a"),
        (
            lambda: nn.GRUCell(2, 3)("x"),
            DtypeError,
            r"GRUCell: x is 'x' \(str\), expected a tensor",
        ),
        (lambda: nn.BatchNorm1d(2)(None), DtypeError, r"BatchNorm1d: x is None \(NoneType\)"),
        (lambda: nn.ConvTranspose1d(1, 1, 2)([1]), DtypeError, r"ConvTranspose1d: x is \[1\]"),
        (lambda: nn.ZeroPad2d(1.5), ValueError, "ZeroPad2d: padding is 1.5, expected an int or 4"),
        (lambda: nn.LSTMCell(2, 3)(minidl.ones(4, 2), minidl.ones(4, 3)), ValueError, "be a pair"),
        (
            lambda: nn.ConvTranspose2d(1, 1, 2)(minidl.ones(1, 1, 3, 3), output_size=()),
            ValueError,
            r"ConvTranspose2d: output_size is \(\), expected an int or 2 ints",
        ),
        (lambda: nn.Bilinear(0, 1, 1), ValueError, "in1_features is 0"),
        (lambda: nn.BatchNorm2d(3)(minidl.ones(2, 3)), ShapeError, "expected 4 axes"),
        (lambda: nn.BatchNorm1d(3)(minidl.ones(1, 3)), ValueError, "one value per channel"),
        (lambda: nn.LSTM(2, 3)(minidl.ones(4, 1, 5)), ShapeError, r"expected \(T, N, 2\)"),
        (
            lambda: nn.GRU(2, 3)(minidl.ones(4, 1, 2), minidl.ones(1, 2, 3)),
            ShapeError,
            r"hx has shape \(1, 2, 3\), expected \(1, 1, 3\)",
        ),
        (
            lambda: nn.LSTM(2, 3)(minidl.ones(4, 1, 2), (minidl.ones(1, 1, 3),)),
            ValueError,
            r"hx must be a pair \(h, c\)",
        ),
        (lambda: nn.GRU(2, 3)(minidl.ones(4, 1, 2), lengths=[5]), ValueError, "lengths"),
        (lambda: nn.GRUCell(2, 3)(minidl.ones(1, 3)), ShapeError, r"expected \(N, 2\)"),
        (
            lambda: nn.GRUCell(2, 3)(minidl.ones(4, 2), minidl.zeros(1, 3)),
            ShapeError,
            r"hx has shape \(1, 3\), expected \(4, 3\)",
        ),
        (
            lambda: nn.LSTMCell(2, 3)(minidl.ones(4, 2), (minidl.zeros(4, 3), minidl.zeros(3))),
            ShapeError,
            r"LSTMCell: hx has shape \(3,\), expected \(4, 3\)",
        ),
        (
            lambda: nn.GRU(2, 3)(minidl.ones(4, 1, 2), (minidl.zeros(1, 1, 3),)),
            TypeError,
            "GRU: hx holds .*, expected a tensor",
        ),
        (
            lambda: nn.GRU(2, 3)(minidl.ones(4, 2), minidl.zeros(1, 1, 3)),
            ShapeError,
            r"hx has shape \(1, 1, 3\), expected \(1, 3\)",
        ),
        (
            lambda: nn.Embedding.from_pretrained(np.ones((3, 2)), padding_idx=3),
            ValueError,
            "padding_idx is 3, there are 3 rows",
        ),
        (
            lambda: nn.Embedding.from_pretrained(np.ones((3, 2)), max_norm=1.0),
            NotImplementedError,
            "max_norm is not offered",
        ),
        (lambda: nn.Softmax2d()(minidl.ones(2, 2)), ShapeError, "expected 3 or 4 axes"),
        (lambda: nn.MSELoss(size_average=False), NotImplementedError, "MSELoss: size_average"),
        (lambda: nn.L1Loss(reduce=True), NotImplementedError, "L1Loss: reduce is not"),
        (
            lambda: nn.ConvTranspose1d(1, 1, 3, 2)(minidl.ones(1, 1, 2), output_size=[7]),
            ValueError,
            "an axis may be 5 to 6, not 7",
        ),
    ],
)
def test_errors(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def test_dropout_of_a_module() -> None:
    x = minidl.ones(50, 40, 3, 3)
    layer = nn.Dropout(0.25)
    y = layer(x)
    assert set(np.unique(y.data)) == {0, np.float32(1 / 0.75)}
    assert (y.data == 0).mean() == pytest.approx(0.25, abs=0.02)
    assert layer.eval()(x) is x
    channels = nn.Dropout2d(0.5)(x).data.reshape(2000, 9)
    assert (channels == channels[:, :1]).all()
    assert 0.4 < (channels[:, 0] == 0).mean() < 0.6
    minidl.manual_seed(3)
    first = nn.Dropout()(x).data
    minidl.manual_seed(3)
    assert (nn.Dropout()(x).data == first).all()
    normal = nn.AlphaDropout(0.2)(minidl.randn(200, 200)).data
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.03
    stacked = nn.LSTM(2, 3, num_layers=2, dropout=0.5)
    steps = minidl.ones(4, 1, 2)
    assert (stacked(steps)[0].data != stacked(steps)[0].data).any()
    stacked.eval()
    assert (stacked(steps)[0].data == stacked(steps)[0].data).all()


def test_batch_norm_function_changes_running_statistics_in_place() -> None:
    mean, var = minidl.zeros(2), minidl.ones(2)
    x = minidl.tensor([[0.0, 2.0], [2.0, 6.0]])
    F.batch_norm(x, mean, var, training=True, momentum=0.5)
    assert mean.tolist() == [0.5, 2]
    assert var.tolist() == [1.5, 4.5]
    F.batch_norm(x, mean, var)
    assert mean.tolist() == [0.5, 2]
    layer = nn.BatchNorm1d(2, momentum=None)
    layer(x)
    layer(x + 2)
    assert layer.running_mean.tolist() == [2, 5]
    assert layer.num_batches_tracked.item() == 2
    layer.reset_running_stats()
    assert layer.running_mean.tolist() == [0, 0]
    layer.half()
    assert layer(x.half()).dtype == "float16"
    assert layer.running_var.dtype == "float16"


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 2), (2, 3, 0)])
def test_an_empty_batch_leaves_running_statistics(shape: tuple[int, ...]) -> None:
    x = minidl.zeros(*shape)
    for layer in (nn.BatchNorm1d(3), nn.InstanceNorm1d(3, track_running_stats=True)):
        if len(shape) == 3 or isinstance(layer, nn.BatchNorm1d):
            assert layer(x).shape == shape
            assert layer.running_mean.tolist() == [0, 0, 0]
            assert layer.running_var.tolist() == [1, 1, 1]


def test_a_refused_batch_does_not_count() -> None:
    layer = nn.BatchNorm1d(2, momentum=None)
    for bad in (minidl.ones(1, 2), minidl.ones(3, 4)):
        with pytest.raises(ValueError, match="batch_norm"):
            layer(bad)
    assert layer.num_batches_tracked.item() == 0
    layer(minidl.tensor([[0.0, 2.0], [2.0, 6.0]]))
    assert layer.running_mean.tolist() == [1, 4]
    assert layer.num_batches_tracked.item() == 1


def test_inputs_by_name() -> None:
    scores, labels = minidl.zeros(2, 3), minidl.tensor([0, 1])
    assert nn.CrossEntropyLoss()(input=scores, target=labels).item() == pytest.approx(np.log(3))


def test_embedding_from_a_table() -> None:
    table = minidl.tensor([[1.0, 2.0], [3.0, 4.0]])
    layer = nn.Embedding.from_pretrained(table, padding_idx=0)
    assert layer.weight.data is table.data
    assert not layer.weight.requires_grad
    assert layer(minidl.tensor([1, 0])).tolist() == [[3, 4], [1, 2]]
    learnt = nn.Embedding.from_pretrained(np.ones((2, 3)), freeze=False)
    assert learnt.weight.requires_grad
    assert learnt.weight.dtype == "float64"
    assert repr(learnt) == "Embedding(2, 3)"
    assert nn.Embedding.from_pretrained(table, padding_idx=-1).padding_idx == 1
    with pytest.raises(ShapeError, match="expected 2 axes"):
        nn.Embedding.from_pretrained([1.0])


def test_lengths_may_be_tensors_and_must_be_whole() -> None:
    layer, x = nn.GRU(2, 3, bidirectional=True), minidl.randn(4, 2, 2)
    out, state = layer(x, lengths=minidl.tensor([2, 4]))
    again, _ = layer(x, lengths=np.array([2, 4]))
    assert (out.data == again.data).all()
    assert (out.data[2:, 0] == 0).all()
    assert (out.data[1, 0, :3] == state.data[0, 0]).all()
    with pytest.raises((DtypeError, ValueError), match="lengths"):
        layer(x, lengths=[1.5, 2.0])
