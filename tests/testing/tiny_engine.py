"""An engine with PyTorch's method names and a tape of its own; it has no autograd.grad."""

import numpy as np


class Tensor:
    """An array, its gradient, and how it came about: parents, and a function to their gradients."""

    def __init__(self, data, parents=(), pull=None):
        self.data, self.parents, self.pull = data, parents, pull
        self.grad, self.requires_grad = None, any(p.requires_grad for p in parents)

    shape = property(lambda self: self.data.shape)

    def detach(self):
        return Tensor(self.data)

    def clone(self):
        return Tensor(self.data.copy(order="K"))

    def numpy(self):
        return self.data

    def requires_grad_(self):
        self.requires_grad = True
        return self

    def new_zeros(self, shape):
        return Tensor(np.zeros(shape, self.data.dtype))

    def float(self):
        return Tensor(self.data.astype("float32"))

    def permute(self, *axes):
        return Tensor(self.data.transpose(axes))

    def __getitem__(self, index):
        return Tensor(self.data[index])

    def __mul__(self, other):
        x, y = self.data, other.data
        return Tensor(
            np.asarray(x * y),
            (self, other),
            lambda g: (summed(g * y, x.shape), summed(g * x, y.shape)),
        )

    def backward(self, g, retain_graph=False):
        self._receive(g.data)

    def _receive(self, g):
        self.grad = Tensor(g if self.grad is None else self.grad.data + g)
        if self.pull is not None:
            for parent, h in zip(self.parents, self.pull(g), strict=True):
                if parent.requires_grad:
                    parent._receive(h)


def summed(g, shape):
    """The sum of g over what broadcasting repeated."""
    g = np.sum(g, axis=tuple(range(np.ndim(g) - len(shape))))
    ones = tuple(k for k, n in enumerate(shape) if n == 1)
    return np.sum(g, axis=ones, keepdims=True).reshape(shape)


def halved(x):
    """x squared, with half of its gradient."""
    return Tensor(x.data * x.data, (x,), lambda g: (g * x.data,))


def first_alone(x, y):
    """x * y, whose gradient is not summed over what was repeated."""
    return Tensor(x.data * y.data, (x, y), lambda g: (g * y.data, summed(g * x.data, y.shape)))
