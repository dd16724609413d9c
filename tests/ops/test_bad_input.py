"""Bad input: one error of the stated kind that opens with the operation and says what is wrong."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import standin

import minidl
from minidl import nn, ops
from minidl.device import _device_packages, _module_of
from minidl.errors import DeviceError, DtypeError, ShapeError
from minidl.tape import tie


def t(*shape: int, dtype: str = "float32", requires_grad: bool = False) -> Any:
    """Numbers in (0, 1): valid for every loss."""
    array = np.linspace(0.1, 0.9, int(np.prod(shape))).reshape(shape).astype(dtype)
    return minidl.tensor(array, requires_grad=requires_grad)


def i(*values: int) -> Any:
    return minidl.tensor(list(values))


REFUSED = [
    # What is no tensor where one is needed.
    (lambda: ops.relu("a"), DtypeError, r"relu: x is 'a' \(str\), expected a tensor"),
    (lambda: t(2) + "a", DtypeError, r"add: y is 'a' \(str\), expected a tensor or a number"),
    (lambda: t(2) * 1j, DtypeError, r"mul: y is 1j \(complex\)"),
    (lambda: ops.exp(None), DtypeError, "exp: x is None, expected a tensor"),
    (lambda: t(2) + None, DtypeError, "add: y is None, expected a tensor"),
    (lambda: ops.mse_loss(t(2), [1.0]), DtypeError, r"mse_loss: target is \[1.0\] \(list\)"),
    (lambda: ops.mse_loss(t(2)), TypeError, "mse_loss: missing 1 .*'target'"),
    (lambda: ops.cat([t(2), "a"]), DtypeError, r"cat: tensors is 'a' \(str\), expected a tensor"),
    (lambda: ops.conv2d(t(1, 1, 3, 3), None), DtypeError, "conv2d: weight is None"),
    (
        lambda: ops.rnn(t(1, 2, 2), None, None, t(3, 3), None, None),
        TypeError,
        r"rnn: w_ih is None, expected a tensor of shape \(3, 2\)",
    ),
    # Shapes.
    (lambda: t(2, 3) + t(2, 4), ShapeError, r"add: the shapes do not broadcast: x is \(2, 3\)"),
    (
        lambda: ops.pairwise_distance(t(2, 3), t(2, 4)),
        ShapeError,
        "pairwise_distance: sub: the shapes do not broadcast",
    ),
    (lambda: t(2, 3).reshape("a", 2), DtypeError, r"reshape: .*shape is \('a', 2\)"),
    (lambda: ops.permute(t(2, 3), ()), ShapeError, r"permute: dims \(\) must name each of the 2"),
    (lambda: ops.permute(t(), (0,)), ShapeError, r"permute: dims \(0,\) must name each of the 0"),
    (lambda: ops.conv1d(t(1, 2, 5), t(0, 2, 3)), ShapeError, r"conv1d: weight .*axis is empty"),
    (
        lambda: ops.conv_transpose1d(t(1, 2, 5), t(2, 3, 0)),
        ShapeError,
        r"conv_transpose1d: weight has shape \(2, 3, 0\)",
    ),
    (
        lambda: ops.scaled_dot_product_attention(t(3, 4), t(3, 4), t(3, 4), t(1, 3, 3)),
        ShapeError,
        r"scaled_dot_product_attention: attn_mask has shape \(1, 3, 3\), expected \(3, 3\)",
    ),
    (
        lambda: ops.batch_norm(t(4, 3), t(2), t(3), training=True),
        ShapeError,
        r"batch_norm: running_mean has shape \(2,\)",
    ),
    (
        lambda: ops.cross_entropy(t(2, 3), t(2, 3), weight=t(1, 3)),
        ShapeError,
        "cross_entropy: weight .* one for each of the 3 classes",
    ),
    # Dtypes.
    (lambda: ops.prelu(t(2, 3), t(3, dtype="float64")), DtypeError, "prelu: x is float32, weight"),
    (
        lambda: ops.bilinear(t(2, 3), t(2, 3), t(4, 3, 3), t(4, dtype="float64")),
        DtypeError,
        "bilinear: .*bias is float64; they must have one dtype",
    ),
    (
        lambda: ops.addmm(t(2, dtype="float64"), t(2, 2), t(2, 2)),
        DtypeError,
        "addmm: input is float64, product is float32",
    ),
    (
        lambda: ops.batch_norm(t(4, 3), i(0, 0, 0), t(3)),
        DtypeError,
        "batch_norm: running_mean is int64, expected a float dtype",
    ),
    (
        lambda: ops.instance_norm(t(1, 2, 4), t(2, 3)),
        ShapeError,
        r"instance_norm: running_mean has shape \(2, 3\), expected one number for each of the 2",
    ),
    (
        lambda: ops.instance_norm(t(1, 2, 4), "mean"),
        DtypeError,
        r"instance_norm: running_mean is 'mean' \(str\), expected a tensor",
    ),
    (
        lambda: nn.functional.batch_norm(t(4, 3), i(0, 0, 0), t(3), training=True),
        DtypeError,
        "batch_norm: running_mean is int64, expected a float dtype",
    ),
    (
        lambda: nn.functional.batch_norm(t(4, 3), t(2, 3), t(3), training=True),
        ShapeError,
        r"batch_norm: running_mean has shape \(2, 3\), expected one number for each of the 3",
    ),
    (
        lambda: nn.functional.batch_norm([1], None, None, training=True),
        DtypeError,
        r"batch_norm: x is \[1\] \(list\), expected a tensor",
    ),
    (lambda: ops.logical_not(None), DtypeError, "logical_not: x is None, expected a tensor"),
    (lambda: ops.logical_or(None, 0), DtypeError, "logical_or: x is None, expected a tensor"),
    (lambda: ops.pairwise_distance(None, t(2)), DtypeError, "pairwise_distance: sub: x is N"),
    (lambda: ops.getitem({}, 0), ValueError, r"getitem: 0 \(x is {} \(dict\), index"),
    # Labels, probabilities, indices.
    (
        lambda: ops.cross_entropy(t(2, 3), i(0, 3)),
        IndexError,
        "cross_entropy: target holds class 3 at 1, but the input has 3 classes",
    ),
    (lambda: ops.nll_loss(t(2, 3), i(0, -1)), IndexError, "nll_loss: target holds class -1"),
    (
        lambda: ops.cross_entropy(t(2, 3), i(0, 1), ignore_index=1.5),
        TypeError,
        "cross_entropy: ignore_index is 1.5, expected an int",
    ),
    (
        lambda: ops.binary_cross_entropy(t(2), t(2) + 1),
        ValueError,
        r"binary_cross_entropy: target has an element outside \[0, 1\]",
    ),
    (
        lambda: ops.binary_cross_entropy(t(2) * float("nan"), t(2)),
        ValueError,
        r"binary_cross_entropy: input has an element outside \[0, 1\]; apply sigmoid",
    ),
    (lambda: ops.embedding(i(0, 5), t(3, 2)), IndexError, "embedding: input holds 5, .* 3 rows"),
    (lambda: ops.select(t(2, 3), 0, 1.5), TypeError, "select: index is 1.5, expected an int"),
    (lambda: ops.narrow(t(2, 3), 1, 0.5, 1), TypeError, "narrow: start is 0.5, expected an int"),
    # Options.
    (lambda: ops.one_hot(i(0, 1), 2.5), TypeError, "one_hot: num_classes is 2.5"),
    (lambda: ops.one_hot(minidl.zeros(0).long(), 0), ValueError, "one_hot: num_classes is 0"),
    (
        lambda: ops.embedding(i(0), t(3, 2), padding_idx=True),
        TypeError,
        "embedding: padding_idx is True, expected an int",
    ),
    (
        lambda: ops.max_pool2d(t(1, 4, 4), 1.5),
        ValueError,
        "max_pool2d: kernel_size is 1.5, expected an int or 2 ints",
    ),
    (lambda: ops.conv2d(t(1, 4, 4), t(1, 1, 2, 2), stride=True), ValueError, "conv2d: stride is T"),
    (lambda: ops.group_norm(t(2, 4), 1.5), TypeError, "group_norm: num_groups is 1.5"),
    (lambda: ops.layer_norm(t(2, 4), 4, eps=-1), ValueError, "layer_norm: eps is -1"),
    (lambda: ops.layer_norm(t(2, 4), 4, eps=None), ValueError, "layer_norm: eps is None"),
    (lambda: ops.cosine_similarity(t(2, 4), t(2, 4), None), TypeError, "cosine_similarity: dim is"),
    (lambda: ops.tensordot(t(2, 2), t(2, 2), [[0]]), ValueError, r"tensordot: dims is \[\[0\]\]"),
    (lambda: ops.pad(t(2), (1, 1), value=(0,)), TypeError, r"pad: value is \(0,\)"),
    (lambda: ops.pad(t(2), (1.5, 1)), TypeError, "pad: pad is 1.5, expected an int"),
    (lambda: ops.pad(t(2), 1), TypeError, "pad: pad is 1, expected a tuple"),
    (lambda: ops.chunk(t(2), 1.5), TypeError, "chunk: chunks is 1.5"),
    (lambda: ops.roll(t(2), 1.5), TypeError, "roll: "),
    (lambda: ops.tril(t(2, 2), 0.5), TypeError, "tril: diagonal is 0.5, expected an int"),
    (lambda: t(2).sum(dim="a"), TypeError, "sum: dim must be an int, got 'a'"),
    (lambda: t(2).sum(dtype="complex64"), DtypeError, "sum: dtype 'complex64' is not offered"),
    (lambda: ops.mse_loss(t(2), t(2), reduction="avg"), ValueError, "mse_loss: reduction is 'avg'"),
]


@pytest.mark.parametrize(("call", "kind", "text"), REFUSED)
def test_refused(call: Any, kind: type[Exception], text: str) -> None:
    """One exception, of this kind, that opens with this text; no other hangs on it."""
    with pytest.raises(kind) as caught:
        call()
    error = caught.value
    assert re.match(text, str(error)), str(error)
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__


# ---- devices ------------------------------------------------------------------------------------


@pytest.fixture
def there() -> Iterator[Any]:
    """A function that puts an array on the stand-in for a GPU."""
    _device_packages.add("standin")
    _module_of.cache_clear()
    yield lambda x: tie(standin.array(x.numpy()), None)
    _device_packages.remove("standin")
    _module_of.cache_clear()


MIXED = [
    (lambda d: d(t(2, 3)) + t(2, 3), "add: .*x on cuda:0, y on cpu; move one"),
    (lambda d: ops.matmul(t(2, 2), d(t(2, 2))), "matmul: .*x on cpu, y on cuda:0"),
    (lambda d: ops.cat([d(t(2)), t(2)]), "cat: .*tensors on cuda:0, tensors on cpu"),
    (lambda d: ops.mse_loss(d(t(2)), t(2)), "mse_loss: .*input on cuda:0, target on cpu"),
    (lambda d: ops.cross_entropy(d(t(2, 3)), i(0, 1)), "cross_entropy: .*target on cpu"),
    (lambda d: ops.nll_loss(d(t(2, 3)), d(i(0, 1)), t(3)), "nll_loss: .*weight on cpu"),
    (lambda d: ops.conv2d(d(t(1, 3, 3)), t(1, 1, 2, 2)), "conv2d: .* on cpu"),
    (lambda d: ops.linear(d(t(2, 3)), d(t(4, 3)), t(4)), "linear: .*bias on cpu"),
    (lambda d: ops.embedding(i(0), d(t(3, 2))), "embedding: .*input on cpu, weight on cuda:0"),
    (lambda d: ops.gather(d(t(2)), 0, i(0)), "gather: .*index on cpu"),
    (lambda d: ops.index_select(d(t(2)), 0, i(0)), "index_select: .*index on cpu"),
    (lambda d: ops.scatter_add(d(t(2)), 0, d(i(0)), t(1)), "scatter_add: .*src on cpu"),
    (lambda d: ops.index_add(d(t(2)), 0, d(i(0)), t(1)), "index_add: .*source on cpu"),
]


@pytest.mark.parametrize(("call", "text"), MIXED)
def test_devices_do_not_mix(there: Any, call: Any, text: str) -> None:
    with pytest.raises(DeviceError) as caught:
        call(there)
    assert re.match(text, str(caught.value)), str(caught.value)


BEYOND = [
    (lambda d: d(t(2, 3))[d(i(0, 2))], "getitem: index 2 is out of range for axis 0 of length 2"),
    (lambda d: ops.embedding(d(i(3)), d(t(3, 2))), "embedding: input holds 3"),
    (lambda d: ops.cross_entropy(d(t(1, 3)), d(i(3))), "cross_entropy: target holds class 3 at 0"),
    (lambda d: ops.gather(d(t(2)), 0, d(i(2))), "gather: index 2 is out of range"),
    (lambda d: ops.index_select(d(t(2)), 0, d(i(-1))), "index_select: index -1 is out of range"),
    (lambda d: ops.take(d(t(2)), d(i(2))), "take: index 2 is out of range"),
]


@pytest.mark.parametrize(("call", "text"), BEYOND)
def test_a_device_does_not_read_beyond_the_end(there: Any, call: Any, text: str) -> None:
    """A device's own indexing would wrap round and give numbers."""
    with pytest.raises(IndexError, match=text):
        call(there)


# ---- empty batches ------------------------------------------------------------------------------


EMPTY = [
    lambda x: ops.max_pool2d(x, 2),
    lambda x: ops.avg_pool2d(x, 2),
    lambda x: ops.adaptive_max_pool2d(x, 3),
    lambda x: ops.conv2d(x, t(2, 2, 3, 3)),
    lambda x: ops.conv_transpose2d(x, t(2, 2, 3, 3)),
    lambda x: ops.layer_norm(x, 4),
    lambda x: ops.group_norm(x, 1),
    lambda x: ops.unfold(x, 2),
    lambda x: ops.interpolate(x, scale_factor=2),
    lambda x: ops.softmax(x, 1),
    lambda x: ops.linear(x, t(3, 4)),
]


@pytest.mark.parametrize("call", EMPTY)
def test_an_empty_batch_goes_forth_and_back(call: Any) -> None:
    x = t(0, 2, 4, 4, requires_grad=True)
    y = call(x)
    assert y.shape[0] == 0
    y.sum().backward()
    assert x.grad.shape == x.shape


def test_pooling_goes_back_where_there_are_no_channels() -> None:
    x = t(2, 0, 4, 4, requires_grad=True)
    ops.max_pool2d(x, 2).sum().backward()
    assert x.grad.shape == x.shape
