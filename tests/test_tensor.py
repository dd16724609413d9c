"""The face of a tensor: making it, printing it, indexing it, giving it to other worlds."""

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
from minidl import Tensor
from minidl.errors import DeviceError, DtypeError, ShapeError

SMALL = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


# ---- making -------------------------------------------------------------------------------------


def test_what_python_gives() -> None:
    assert minidl.tensor(1.5).dtype == "float32"
    assert minidl.tensor([1, 2]).dtype == "int64"
    assert minidl.tensor([True]).dtype == "bool"
    assert minidl.tensor([[1, 2.0]]).shape == (1, 2)
    assert minidl.tensor([]).dtype == "float32"
    assert minidl.tensor([minidl.tensor(1.0), 2.0]).tolist() == [1.0, 2.0]
    assert minidl.tensor(np.float64(2)).dtype == "float64"
    assert minidl.tensor(np.arange(3, dtype=">f4")).dtype == "float32"


def test_what_cannot_be_a_tensor() -> None:
    with pytest.raises(ShapeError, match="ragged"):
        minidl.tensor([[1, 2], [3]])
    arrays = [np.zeros(2, "complex64"), np.zeros(2, "uint16")]
    for bad in ("text", [1 + 2j], *arrays, [None], object()):
        with pytest.raises(DtypeError):
            minidl.tensor(bad)
    with pytest.raises(DtypeError, match="dtype 'float128' is not offered|choose one of"):
        minidl.tensor([1.0], dtype="complex64")
    with pytest.raises(RuntimeError, match="requires a gradient, which would be lost"):
        minidl.tensor([minidl.tensor(1.0, requires_grad=True)])
    with pytest.raises(DtypeError, match="only floats have gradients, not int64"):
        minidl.tensor([1], requires_grad=True)


def test_tensor_copies_and_from_numpy_shares() -> None:
    array = np.zeros(2)
    copied, shared = minidl.tensor(array), minidl.from_numpy(array)
    array[0] = 5
    assert (copied.tolist(), shared.tolist()) == ([0, 0], [5, 0])
    view = array[::-1]
    assert minidl.tensor(view).data.base is not array
    with pytest.raises(TypeError, match="expected a NumPy array, got list"):
        minidl.from_numpy([1.0])
    with pytest.raises(DtypeError, match="cannot be shared"):
        minidl.from_numpy(np.zeros(2, ">f4"))


def test_constructors() -> None:
    assert minidl.zeros(2, 3).shape == minidl.zeros((2, 3)).shape == (2, 3)
    assert minidl.ones([2], dtype="int64").tolist() == [1, 1]
    assert minidl.full((2,), 3).dtype == "int64"
    assert minidl.full((2,), 3.0).dtype == "float32"
    assert minidl.full((2,), True).dtype == "bool"
    assert minidl.arange(3).tolist() == [0, 1, 2]
    assert minidl.arange(1, 2, 0.25).tolist() == [1, 1.25, 1.5, 1.75]
    assert minidl.arange(3, 0, -1).tolist() == [3, 2, 1]
    assert minidl.linspace(0, 1, 3).tolist() == [0, 0.5, 1]
    assert minidl.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert minidl.zeros(1, requires_grad=True).requires_grad
    assert minidl.zeros_like(minidl.ones(2, dtype="float64")).dtype == "float64"
    assert minidl.full_like(minidl.ones(2), 4).tolist() == [4, 4]
    for bad in ((-1,), (1.5,), ("a",)):
        with pytest.raises(ShapeError, match="is no shape"):
            minidl.zeros(*bad)
    with pytest.raises(ValueError, match="does not lead"):
        minidl.arange(0, 3, -1)
    with pytest.raises(ValueError, match="does not lead"):
        minidl.arange(0, 3, 0)


def test_random_constructors_follow_the_seed() -> None:
    def draw() -> list[Any]:
        minidl.manual_seed(3)
        return [
            minidl.rand(2, 3).tolist(),
            minidl.randn(4, dtype="float64").tolist(),
            minidl.randint(10, (5,)).tolist(),
            minidl.randint(-3, 3, (5,)).tolist(),
            minidl.randperm(6).tolist(),
            minidl.rand_like(minidl.zeros(2)).tolist(),
            minidl.randn_like(minidl.zeros(2)).tolist(),
        ]

    first = draw()
    assert draw() == first
    assert sorted(first[4]) == list(range(6))
    assert all(0 <= v < 1 for row in first[0] for v in row)
    assert minidl.rand(2, 3).tolist() != first[0]
    with pytest.raises(ValueError, match="expected low < high"):
        minidl.randint(3, 3, (2,))


def test_default_dtype() -> None:
    minidl.set_default_dtype("float64")
    try:
        for x in (minidl.tensor(1.0), minidl.zeros(1), minidl.rand(1)):
            assert x.dtype == "float64"
    finally:
        minidl.set_default_dtype("float32")
    with pytest.raises(DtypeError, match="expected a float dtype"):
        minidl.set_default_dtype("int64")


# ---- what it says of itself ---------------------------------------------------------------------


def test_repr() -> None:
    assert repr(minidl.tensor([1.0, 2.5])) == "tensor([1. , 2.5])"
    assert repr(minidl.tensor([1, 2])) == "tensor([1, 2])"
    assert repr(minidl.tensor([1.0], requires_grad=True)) == "tensor([1.], requires_grad=True)"
    assert repr(minidl.tensor([1.0], requires_grad=True) * 2.0) == "tensor([2.], grad_fn=<mul>)"
    assert repr(minidl.tensor([1.0], dtype="float64")) == "tensor([1.], dtype=float64)"
    assert repr(minidl.zeros(0, 3)) == "tensor([], shape=(0, 3), dtype=float32)"
    assert "shape=(50, 50)" in repr(minidl.zeros(50, 50))
    assert f"{minidl.tensor(1.23456):.2f}" == "1.23"


def test_attributes() -> None:
    x = minidl.zeros(2, 3, 4)
    assert (x.ndim, x.dim(), x.numel(), x.size(), x.size(1)) == (3, 3, 24, (2, 3, 4), 3)
    assert (x.stride(), x.element_size(), x.device) == ((12, 4, 1), 4, "cpu")
    assert x.is_contiguous()
    assert (x.T.shape, x.mT.shape) == ((4, 3, 2), (2, 4, 3))
    assert x.is_leaf
    assert x.is_floating_point()
    y = minidl.zeros(2, requires_grad=True) * 2.0
    assert not y.is_leaf
    assert y.grad_fn.name == "mul"


# ---- Python's own questions ---------------------------------------------------------------------


def test_numbers_of_one_element() -> None:
    x = minidl.tensor([[2.0]])
    assert (x.item(), float(x), int(x), bool(x), len(x)) == (2.0, 2.0, 2, True, 1)
    assert [10, 20, 30][minidl.tensor(1)] == 20
    with pytest.raises(ShapeError, match=r"item: the tensor has shape \(2,\)"):
        minidl.zeros(2).item()
    with pytest.raises(ShapeError, match=r"use .any\(\) or .all\(\)"):
        bool(minidl.zeros(2))
    with pytest.raises(TypeError, match="only a whole number"):
        range(minidl.tensor(1.5))
    with pytest.raises(TypeError, match="has no length"):
        len(minidl.tensor(1.0))
    assert 3.0 in minidl.tensor([1.0, 3.0])
    assert 4.0 not in minidl.tensor([1.0, 3.0])
    assert [row.tolist() for row in minidl.eye(2)] == [[1, 0], [0, 1]]


def test_hash_and_equality() -> None:
    x, y = minidl.tensor([1.0]), minidl.tensor([1.0])
    assert len({x, y}) == 2
    assert (x == y).tolist() == [True]


def test_truth_values_combine() -> None:
    a, b = minidl.tensor([True, True, False]), minidl.tensor([True, False, False])
    assert (a & b).tolist() == [True, False, False]
    assert (a | b).tolist() == [True, True, False]
    assert (a ^ b).tolist() == [False, True, False]
    assert (~a).tolist() == [False, False, True]
    with pytest.raises(DtypeError, match="offered for truth values only"):
        minidl.tensor([1]) & minidl.tensor([2])


def test_copies() -> None:
    x = minidl.tensor([1.0], requires_grad=True)
    x.grad = minidl.tensor([2.0])
    y = copy.deepcopy(x)
    assert (y.requires_grad, y.tolist(), y.grad.tolist()) == (True, [1.0], [2.0])
    assert not np.shares_memory(x.data, y.data)
    (y * 2.0).backward()
    assert x.grad.tolist() == [2.0]
    with pytest.raises(RuntimeError, match="only leaves"):
        copy.deepcopy(x * 2.0)
    with pytest.raises(TypeError, match="use minidl.save"):
        pickle.dumps(x)


# ---- other worlds -------------------------------------------------------------------------------


def test_numpy_shares_read_only() -> None:
    x = minidl.tensor([1.0, 2.0])
    array = x.numpy()
    assert np.shares_memory(array, x.data)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    x.add_(1.0)
    assert array.tolist() == [2.0, 3.0]
    assert np.asarray(x).tolist() == [2.0, 3.0]
    assert np.asarray(x, dtype="float64").dtype == "float64"
    with pytest.raises(RuntimeError, match=r"use .detach\(\).numpy\(\)"):
        minidl.zeros(1, requires_grad=True).numpy()
    with pytest.raises(RuntimeError, match="requires a gradient"):
        np.asarray(minidl.zeros(1, requires_grad=True))


def test_numpy_on_the_left() -> None:
    x = minidl.tensor([1.0, 2.0], requires_grad=True)
    y = np.array([3.0, 4.0], "float32") * x
    assert isinstance(y, Tensor)
    assert y.requires_grad
    assert isinstance(np.ones((2, 2), "float32") @ x, Tensor)


@given(hnp.arrays(st.sampled_from(["float32", "float64", "int64", "uint8"]), SMALL))
def test_dlpack_both_ways(array: np.ndarray) -> None:
    x = minidl.from_dlpack(array)
    np.testing.assert_array_equal(x.data, array)
    back = np.from_dlpack(minidl.tensor(array))
    np.testing.assert_array_equal(back, array)


def test_dlpack_of_awkward_memory() -> None:
    frozen = np.arange(3.0)
    frozen.flags.writeable = False
    for array in (frozen, np.arange(3.0)[::-1]):
        x = minidl.from_numpy(array)
        exported = np.from_dlpack(x)
        np.testing.assert_array_equal(exported, array)
        assert not np.shares_memory(exported, array)
        with pytest.raises(BufferError, match="cannot be shared"):
            x.__dlpack__(copy=False)
    x = minidl.tensor([1.0, 2.0])
    assert np.shares_memory(np.from_dlpack(x), x.data)
    with pytest.raises(BufferError, match="requires a gradient"):
        np.from_dlpack(minidl.zeros(1, requires_grad=True))
    with pytest.raises(TypeError, match="list has no __dlpack__"):
        minidl.from_dlpack([1.0])
    with pytest.raises(DtypeError, match="complex128 is not offered"):
        minidl.from_dlpack(np.zeros(2, complex))


def test_dlpack_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.arange(6.0).reshape(2, 3)
    x = minidl.from_dlpack(theirs.T)
    assert x.tolist() == theirs.T.tolist()
    x.add_(1.0)
    assert theirs[0, 0] == 1.0
    assert torch.from_dlpack(minidl.tensor([1.0, 2.0])).tolist() == [1.0, 2.0]
    with pytest.raises(BufferError, match="the source refuses"):
        minidl.from_dlpack(torch.zeros(1, requires_grad=True))


def test_to() -> None:
    x = minidl.tensor([1.5, -2.5])
    assert x.to("float32") is x
    assert x.to("cpu") is x
    assert x.to("float64").dtype == x.double().dtype == "float64"
    assert x.to(minidl.zeros(1, dtype="int64")).tolist() == x.long().tolist() == [1, -2]
    assert x.bool().tolist() == [True, True]
    assert x.half().dtype == "float16"
    assert x.type_as(minidl.tensor([1])).dtype == "int64"
    assert x.to("float32", copy=True) is not x
    with pytest.raises(DeviceError, match="device 'tpu' is unknown|dtype"):
        x.to(device="tpu")
    y = minidl.tensor([1.0], requires_grad=True)
    y.double().backward()
    assert y.grad.dtype == "float32"


def test_a_device_that_is_missing_says_what_is_missing() -> None:
    from minidl.device import cupy

    try:
        cupy()
    except DeviceError:
        with pytest.raises(DeviceError, match="device 'cuda'.*(CuPy|GPU|compute)"):
            minidl.zeros(1).cuda()
        with pytest.raises(DeviceError, match="device 'cuda'"), minidl.device("cuda"):
            minidl.zeros(1)
    else:
        assert minidl.zeros(1).cuda().device == "cuda:0"


def test_device_names() -> None:
    assert minidl.device("cuda") == "cuda:0"
    assert (minidl.device("cuda:1").type, minidl.device("cuda:1").index) == ("cuda", 1)
    assert (minidl.device("cpu").type, minidl.device("cpu").index) == ("cpu", None)
    for bad in ("gpu", "cuda:x", "cpu:0", ""):
        with pytest.raises(DeviceError, match="is unknown"):
            minidl.device(bad)


# ---- indexing -----------------------------------------------------------------------------------


def test_indices_of_all_kinds() -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    x = minidl.tensor(array)
    three = minidl.tensor([0, 2])
    for index in (
        0,
        -1,
        np.int64(1),
        slice(None),
        slice(0, 2),
        None,
        ...,
        (0, ..., 1),
        (slice(None), [0, 2]),
        (0, [True, False, True]),
        [1, 0],
    ):
        np.testing.assert_array_equal(x[index].data, array[index])
    np.testing.assert_array_equal(x[:, three].data, array[:, [0, 2]])
    np.testing.assert_array_equal(x[x > 5].data, array[array > 5])
    np.testing.assert_array_equal(x[minidl.tensor(1)].data, array[1])
    assert np.shares_memory(x[0, 1:].data, x.data)
    np.testing.assert_array_equal(x[::-1, ::-2].data, array[::-1, ::-2])  # PyTorch refuses these


def test_bad_indices() -> None:
    x = minidl.zeros(2, 3)
    for index in (2, (0, 3), [0, 5], (0, 0, 0)):
        with pytest.raises(IndexError):
            x[index]
    with pytest.raises(IndexError, match="float32 is no index"):
        x[minidl.tensor([0.5])]


def test_assignment() -> None:
    x = minidl.zeros(2, 3)
    x[0] = 1
    x[:, 1] = minidl.tensor([5.0, 6.0])
    x[x == 0] = -1.0
    x[[1], [2]] += 2.0
    assert x.tolist() == [[1, 5, 1], [-1, 6, 1]]
    with pytest.raises(ShapeError, match=r"setitem: value \(2,\) does not fit"):
        x[0] = minidl.tensor([1.0, 2.0])
    with pytest.raises(IndexError):
        x[5] = 1.0
    with pytest.raises(DtypeError, match="setitem: the value is float32, the tensor int64"):
        minidl.tensor([1])[0] = minidl.tensor(1.5)


def test_changes_in_place() -> None:
    x = minidl.tensor([1.0, 4.0])
    same = x
    x += 1
    x -= minidl.tensor([1.0, 1.0])
    x *= 2
    x /= 4
    assert x is same
    assert x.sqrt_().tolist() == [np.float32(0.5**0.5), np.float32(2**0.5)]
    assert x.fill_(3).tolist() == [3, 3]
    assert x.copy_(minidl.tensor([7])).tolist() == [7, 7]
    assert x.clamp_(max=5).tolist() == [5, 5]
    assert x.zero_().tolist() == [0, 0]


def test_methods_are_the_ops() -> None:
    x = minidl.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.reshape(4).tolist() == x.view(-1).tolist() == x.flatten().tolist() == [1, 2, 3, 4]
    assert x.sum(dim=0).tolist() == x.sum(axis=0).tolist() == [4, 6]
    assert x.permute(1, 0).tolist() == x.t().tolist() == [[1, 3], [2, 4]]
    assert x.repeat(1, 2).shape == (2, 4)
    values, indices = x.max(1)
    assert (values.tolist(), indices.tolist()) == ([2, 4], [1, 1])
    assert x.std().item() == pytest.approx(1.2909944)
    assert "sum" in repr(x.sum)
    assert x.sum.__doc__.startswith("The sum")


def test_requires_grad_can_be_switched() -> None:
    x = minidl.zeros(1)
    x.requires_grad = True
    assert x.requires_grad
    y = x * 2.0
    with pytest.raises(RuntimeError, match=r"use .detach\(\)"):
        y.requires_grad_(False)
    x.requires_grad = False
    assert not x.requires_grad
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        x.register_hook(print)


def test_grad_takes_what_fits() -> None:
    x = minidl.ones(2, requires_grad=True)
    x.grad = minidl.zeros(2)
    x.grad = None
    with pytest.raises(TypeError, match="grad: expected a Tensor or None, got str"):
        x.grad = "a"
    with pytest.raises(ShapeError, match=r"grad: \(3,\) on cpu does not fit a tensor \(2,\)"):
        x.grad = minidl.zeros(3)
    with pytest.raises(TypeError, match="register_hook: 5 cannot be called"):
        x.register_hook(5)


@pytest.mark.parametrize(
    ("change", "slope"),
    [
        (lambda x, w: x.square_(), 6.0),
        (lambda x, w: x.abs_(), 1.0),
        (lambda x, w: x.mul_(w), 4.0),
        (lambda x, w: x.pow_(3), 27.0),
        (lambda x, w: x.div_(w), 0.25),
        (lambda x, w: x.exp_(), math.exp(3.0)),
        (lambda x, w: x.__imul__(w), 4.0),
        (lambda x, w: x.lerp_(w, 0.25), 0.75),
    ],
)
def test_changes_in_place_keep_what_their_derivatives_need(change: Any, slope: float) -> None:
    x = minidl.tensor([3.0], dtype="float64", requires_grad=True)
    w = minidl.tensor([4.0], dtype="float64", requires_grad=True)
    y = x * 1.0
    z = change(y, w)
    assert z is y
    z.backward()
    assert x.grad.item() == pytest.approx(slope)


def test_sizes_by_name_and_one_by_one() -> None:
    x = minidl.arange(6)
    assert x.reshape(2, 3).shape == x.reshape((2, 3)).shape == x.reshape(shape=(2, 3)).shape
    assert x.reshape(2, 3).permute(dims=(1, 0)).shape == (3, 2)
    assert minidl.zeros(size=(2, 3)).shape == minidl.zeros(2, 3).shape == (2, 3)
    assert minidl.arange(end=3).tolist() == [0, 1, 2]
    assert minidl.randint(high=5, size=(4,), dtype="int32").dtype == "int32"
    assert minidl.ones_like(x, dtype="float64", requires_grad=True).requires_grad


def test_a_tensor_is_not_equal_to_what_is_no_number() -> None:
    x = minidl.ones(2)
    assert (x == None) is False  # noqa: E711 (what is tested)
    assert (x != "a") is True


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (TypeError, "arange: end is 'a', expected a number", lambda: minidl.arange("a")),
        (ValueError, "arange: end is nan", lambda: minidl.arange(math.nan)),
        (TypeError, "linspace: steps is 1.5", lambda: minidl.linspace(0, 1, 1.5)),
        (ShapeError, "eye: .*whole numbers from 0", lambda: minidl.eye(-1)),
        (TypeError, "full: fill_value is 'a'", lambda: minidl.full((2,), "a")),
        (ShapeError, "zeros: .*more than any memory", lambda: minidl.zeros(2**40, 2**40)),
        (ValueError, "randint: expected low < high", lambda: minidl.randint(0, 2**70, (1,))),
        (TypeError, "randint: size is missing", lambda: minidl.randint(3)),
        (TypeError, "fill_: 'a' is no number", lambda: minidl.zeros(1).fill_("a")),
        (ShapeError, r"copy_: \(3,\) does not fit", lambda: minidl.zeros(2).copy_(minidl.ones(3))),
    ],
)
def test_what_is_refused(error: type[Exception], text: str, call: Any) -> None:
    with pytest.raises(error, match=text):
        call()
