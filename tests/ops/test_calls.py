"""Calls as PyTorch code has them, by position and by name, say the same here."""

from typing import Any

import numpy as np
import pytest

import minidl
from minidl.nn import functional as F

x = minidl.tensor([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]])
y = minidl.tensor([[0.5, 2.0, -1.0], [1.5, -0.5, 2.0]])
m = minidl.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0], [2.0, 0.0, 1.0]])
v = minidl.tensor([1.0, -1.0, 2.0])
k = minidl.tensor([[0, 1], [2, 0]])

SAME: list[Any] = [
    (lambda: minidl.sum(input=x, dim=1, keepdim=True), lambda: x.sum(1, True)),
    (lambda: minidl.sum(x, axis=1, keepdims=True), lambda: x.sum(1, True)),
    (lambda: minidl.cat(tensors=[x, y], dim=1), lambda: minidl.cat((x, y), 1)),
    (lambda: minidl.cat([x, y], axis=1), lambda: minidl.cat((x, y), 1)),
    (lambda: minidl.stack(tensors=(x, y), dim=-1), lambda: minidl.stack([x, y], 2)),
    (lambda: minidl.where(condition=x > 0, input=x, other=y), lambda: minidl.where(x > 0, x, y)),
    (lambda: minidl.clamp(input=x, min=0, max=1), lambda: x.clamp(0, 1)),
    (lambda: minidl.add(input=x, other=y), lambda: x + y),
    (lambda: x.mul(other=2), lambda: x * 2),
    (lambda: minidl.pow(input=x, exponent=2), lambda: x**2),
    (lambda: minidl.atan2(input=x, other=y), lambda: minidl.atan2(x, y)),
    (lambda: minidl.max(x, other=y), lambda: minidl.maximum(x, y)),
    (lambda: minidl.max(input=x, dim=1)[1], lambda: x.argmax(1)),
    (lambda: x.std(dim=0, unbiased=False), lambda: x.std(0, correction=0)),
    (lambda: minidl.norm(x, p="fro", dim=1), lambda: x.norm(2, 1)),
    (lambda: minidl.matmul(input=x, other=m), lambda: x @ m),
    (lambda: minidl.mm(input=x, mat2=m), lambda: x @ m),
    (lambda: minidl.mv(input=m, vec=v), lambda: m @ v),
    (lambda: minidl.dot(input=v, tensor=v), lambda: v @ v),
    (lambda: minidl.outer(input=v, vec2=v), lambda: v[:, None] * v),
    (lambda: minidl.broadcast_to(input=v, size=(2, 3)), lambda: v.expand(2, 3)),
    (lambda: x.split(split_size=2, dim=1)[0], lambda: x[:, :2]),
    (lambda: minidl.split(tensor=x, split_size_or_sections=1)[1], lambda: x[1:]),
    (lambda: minidl.gather(input=x, dim=1, index=k, sparse_grad=False), lambda: x.gather(1, k)),
    (lambda: F.softmax(input=x, dim=1), lambda: x.softmax(-1)),
    (lambda: F.relu(input=x, inplace=False), lambda: x.relu()),
    (lambda: F.mse_loss(x, y, size_average=None, reduce=None), lambda: ((x - y) ** 2).mean()),
    (lambda: F.linear(input=x, weight=m), lambda: x @ m.T),
    (lambda: F.layer_norm(input=x, normalized_shape=[3]), lambda: F.layer_norm(x, 3)),
    (lambda: F.bilinear(input1=v, input2=v, weight=m[None]), lambda: (v @ m @ v)[None]),
]


@pytest.mark.parametrize(("call", "plain"), SAME)
def test_calls_as_in_pytorch(call: Any, plain: Any) -> None:
    got, want = call(), plain()
    assert got.shape == want.shape
    np.testing.assert_allclose(got.data, want.data, rtol=1e-6, atol=1e-6)


REFUSED: list[Any] = [
    (NotImplementedError, "relu: the option 'inplace'", lambda: F.relu(x, inplace=True)),
    (NotImplementedError, "add: the option 'alpha'", lambda: minidl.add(x, y, alpha=2)),
    (NotImplementedError, "mse_loss: the option 'reduce'", lambda: F.mse_loss(x, y, reduce=True)),
    (NotImplementedError, "scatter: the option 'reduce'", lambda: x.scatter(1, k, y, reduce="add")),
    (TypeError, "sum: there is no argument 'dims'", lambda: x.sum(dims=1)),
    (TypeError, "sum: argument 'dim' is given twice", lambda: x.sum(dim=1, axis=1)),
    (TypeError, "sum: argument 'dim' is given twice", lambda: x.sum(1, axis=1)),
]


@pytest.mark.parametrize(("error", "text", "call"), REFUSED)
def test_calls_that_are_refused(error: type[Exception], text: str, call: Any) -> None:
    with pytest.raises(error, match=text):
        call()
