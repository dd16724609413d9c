"""A call of every kernel, small or large: for tests that ask the same of all of them.

    draw = Draw("float32", large=True)
    for call in CALLS:
        arguments = CALLS[call](draw)
        found = results(call, arguments)      # the arrays that the kernel returns, or writes to

A key of CALLS is the name of a kernel, and after a colon what is special about the call.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minidl_kernels as kernels


@dataclass
class Draw:
    """Draws the arguments of a call.

    large : so much work that it is shared among threads; otherwise for the loops of the definition
    scale : factor of `scaled` arrays: those in which a kernel's result is linear, or nearly so
    """

    dtype: str
    large: bool
    scale: float = 1.0
    rng: Any = field(default_factory=lambda: np.random.default_rng(0))

    def __call__(self, *shape: int) -> Any:
        return self.rng.normal(size=shape).astype(self.dtype)

    def scaled(self, *shape: int) -> Any:
        return (self.rng.normal(size=shape) * self.scale).astype(self.dtype)

    def size(self, small: int, large: int) -> int:
        return large if self.large else small


def results(call: str, arguments: tuple[Any, ...]) -> list[Any]:
    """Run a kernel; return its arrays: for one that writes to its arguments, those."""
    kernel, _, special = call.partition(": ")
    with kernels.algorithm("winograd" if special.startswith("winograd") else None):
        found = getattr(kernels, kernel)(*arguments)
    return arrays(arguments if kernel.endswith("_") else found)


def arrays(found: Any) -> list[Any]:
    """The arrays in a tuple or list, or in those within it."""
    if isinstance(found, tuple | list):
        return [a for part in found for a in arrays(part)]
    return [found] if isinstance(found, np.ndarray) else []


# ---- images: (N, C, H, W) in meaning, channels last in memory -----------------------------------


def images(draw: Callable[..., Any], n: int, c: int, *space: int) -> Any:
    return np.moveaxis(draw(n, *space, c), -1, 1)


# name: channels, space and channels of the result, small and large; kernel, stride, padding, groups
# (0: a group for each channel)
LAYERS: dict[str, tuple[Any, ...]] = {
    "winograd": ((9, (6, 5), 17), (32, (30, 33), 40), (3, 3), 1, 1, 1),
    "winograd, images": ((9, (6, 5), 8), (24, (17, 14), 40), (3, 3), 1, 1, 1),
    "winograd, deep": ((5, (6, 5), 9), (250, (7, 9), 244), (3, 3), 1, 1, 1),
    "winograd, shallow": ((3, (6, 5), 16), (3, (41, 250), 32), (3, 3), 1, 1, 1),
    "direct": ((3, (7, 6), 19), (3, (51, 50), 19), (3, 3), 1, 1, 1),
    "direct, vectors": ((3, (7, 6), 16), (3, (51, 50), 24), (3, 3), 1, 1, 1),
    "NCHW": ((3, (7, 6), 19), (19, (33, 40), 35), (1, 1), 1, 0, 1),
    "strides": ((9, (8, 7), 24), (9, (41, 40), 24), (3, 2), 2, 1, 1),
    "depthwise": ((19, (6, 7), 19), (19, (40, 41), 19), (3, 3), 1, 1, 0),
    "depthwise, strides": ((9, (8, 7), 9), (19, (61, 60), 19), (5, 5), 2, 2, 0),
    "depthwise, oblong": ((9, (6, 7), 9), (19, (40, 41), 19), (3, 2), 1, 1, 0),
    "one channel": ((1, (6, 7), 19), (1, (70, 41), 19), (3, 3), 2, 1, 1),
    "groups": ((8, (6, 5), 16), (8, (40, 41), 16), (3, 3), 1, 0, 2),
    "1-d": ((5, (9,), 17), (5, (3000,), 17), (3,), 1, 1, 1),
    "3-d": ((4, (4, 5, 3), 9), (4, (10, 20, 21), 9), (2, 2, 2), 1, 1, 1),
}


def _layer(draw: Draw, name: str) -> tuple[Any, Any, Any]:
    """The shapes of x and w, and the options."""
    small, large, kernel, stride, padding, groups = LAYERS[name]
    c, space, o = large if draw.large else small
    axes, n, groups = len(kernel), 8 if name == "winograd, images" else 3, groups or c
    options = (stride,) * axes, ((padding, padding),) * axes, (1,) * axes, groups
    return (n, c, *space), (o, c // groups, *kernel), options


def _output(x: Any, w: Any, options: Any) -> tuple[int, ...]:
    stride, padding, _, _ = options
    space = zip(x[2:], w[2:], stride, padding, strict=True)
    return (x[0], w[0], *((s + sum(p) - k) // step + 1 for s, k, step, p in space))


def _images(draw: Draw, name: str, *shape: int) -> Any:
    return draw.scaled(*shape) if name == "NCHW" else images(draw.scaled, *shape)


def conv(name: str) -> Callable[[Draw], Any]:
    def arguments(draw: Draw) -> Any:
        x, w, options = _layer(draw, name)
        if name == "direct":
            options = (*options, draw.scaled(w[0]), "relu")
        return _images(draw, name, *x), draw(*w), *options

    return arguments


def conv_input(name: str) -> Callable[[Draw], Any]:
    def arguments(draw: Draw) -> Any:
        x, w, options = _layer(draw, name)
        return _images(draw, name, *_output(x, w, options)), draw(*w), x, *options

    return arguments


def conv_weight(name: str) -> Callable[[Draw], Any]:
    def arguments(draw: Draw) -> Any:
        x, w, options = _layer(draw, name)
        return _images(draw, name, *_output(x, w, options)), images(draw, *x), w, *options

    return arguments


def conv_pool(name: str, size: Any = (2, 2)) -> Callable[[Draw], Any]:
    def arguments(draw: Draw) -> Any:
        x, w, options = _layer(draw, name)
        return images(draw.scaled, *x), draw(*w), *options, draw.scaled(w[0]), "relu", size

    return arguments


def conv_pool_gradient(name: str, of_x: bool) -> Callable[[Draw], Any]:
    def arguments(draw: Draw) -> Any:
        x, w, *rest = conv_pool(name)(Draw(draw.dtype, draw.large))
        y, place = kernels.conv_pool(x, w, *rest)
        return images(draw.scaled, *y.shape), place, x, w, *rest[:4], (2, 2), of_x

    return arguments


def conv_relu_gradient(name: str, of_x: bool = True) -> Callable[[Draw], Any]:
    def arguments(draw: Draw) -> Any:
        x, w, *options = conv(name)(Draw(draw.dtype, draw.large))
        y = kernels.conv(x, w, *options[:4], None, "relu")
        return images(draw.scaled, *y.shape), y, x, w, *options[:4], of_x

    return arguments


def unfold(draw: Draw) -> Any:
    x = images(draw.scaled, 2, 3, draw.size(6, 40), 7)
    return x, (2, 3), (1, 2), ((1, 0), (0, 1)), (1, 1)


def fold(draw: Draw) -> Any:
    x, *options = unfold(draw)
    return kernels.unfold(x, *options), x.shape, *options


def max_pool(draw: Draw) -> Any:
    x = images(draw.scaled, 2, 19, draw.size(8, 80), 31)
    return x, (3, 2), (2, 2), (1, 0), (1, 1), False


def max_pool_input(draw: Draw) -> Any:
    x, *options = max_pool(Draw(draw.dtype, draw.large))
    y, index = kernels.max_pool(x, *options)
    return images(draw.scaled, *y.shape), index, x.shape, options[:-1]


def max_pool_input_of_places(draw: Draw) -> Any:
    return max_pool_input(draw)[:-1]


def avg_pool(draw: Draw) -> Any:
    return (
        images(draw.scaled, 2, 19, draw.size(8, 80), 31),
        (3, 2),
        (2, 2),
        (1, 0),
        True,
        True,
        None,
    )


def avg_pool_input(draw: Draw) -> Any:
    x, *options = avg_pool(Draw(draw.dtype, draw.large))
    y = kernels.avg_pool(x, *options)
    return images(draw.scaled, *y.shape), x.shape, *options


# ---- rows ---------------------------------------------------------------------------------------


def index_add(draw: Draw) -> Any:
    rows = draw.size(20, 2000)
    return draw.scaled(rows, 33), draw.rng.integers(0, rows // 3, rows), rows // 3


def matmul(rows: int, transposed: bool = False) -> Callable[[Draw], Any]:
    def arguments(draw: Draw) -> Any:
        m, k, n = min(rows, draw.size(17, 170)), draw.size(30, 304), draw.size(19, 590)
        if transposed:
            return draw.scaled(k, m).T, draw(n, k).T
        return draw.scaled(m, k), draw(k, n)

    return arguments


def matmul_of_stacks(draw: Draw) -> Any:
    m, k, n = (draw.size(size, 5 * size) for size in (17, 30, 19))
    return draw.scaled(3, m, k), draw(3, k, n)


def linear(activation: str | None, rows: int = 61) -> Callable[[Draw], Any]:
    def arguments(draw: Draw) -> Any:
        m, k, n = draw.size(9, rows), draw.size(30, 110), draw.size(19, 590)
        return draw.scaled(m, k), draw(n, k), draw.scaled(n), activation

    return arguments


def linear_of_few(draw: Draw) -> Any:
    k, n = draw.size(30, 300), draw.size(19, 190)
    return draw.scaled(5, k), draw(n, k), draw.scaled(n), None


def linear_gradient(activation: str | None, rows: int = 61) -> Callable[[Draw], Any]:
    def arguments(draw: Draw) -> Any:
        x, w, bias, _ = linear(activation, rows)(Draw(draw.dtype, draw.large))
        y = kernels.linear(x, w, bias, activation)
        return draw.scaled(*y.shape), x, w, y, activation

    return arguments


def dropout(kind: str) -> Callable[[Draw], Any]:
    def arguments(draw: Draw) -> Any:
        x = draw.scaled(draw.size(3, 40), 19, 7, 9)
        if kind == "image":
            x = np.moveaxis(x, -1, 1)
        return x, 2**40 + 5, 2**64 - 7, 0.3, x.shape, 1.5, 0.0

    return arguments


def standardize(kind: str) -> Callable[[Draw], Any]:
    def arguments(draw: Draw) -> Any:
        n = draw.size(20, 1000)
        if kind == "groups":  # of 9 channels, which are last in memory
            x = draw.scaled(draw.size(3, 50), 4, 5, 2, 9).transpose(0, 3, 4, 1, 2)
            return x, draw(18), draw.scaled(18), (2, 3, 4), (1, 2, 9, 1, 1), 1.0
        axes = (1,) if kind == "rows" else (0,)
        return draw.scaled(n, 37), draw(37), draw.scaled(37), axes, (1, 37), 1.0

    return arguments


def standardize_gradient(kind: str) -> Callable[[Draw], Any]:
    def arguments(draw: Draw) -> Any:
        x, w, b, axes, shape, eps = standardize(kind)(Draw(draw.dtype, draw.large))
        _, centre, _, rstd = kernels.standardize(x, w, b, axes, shape, eps)
        g = draw.scaled(x.size).reshape(x.shape)
        return x, w, axes, shape, centre, rstd, g, None, None, ("x", "weight", "bias")

    return arguments


def cross_entropy(draw: Draw) -> Any:
    rows = draw.size(20, 600)
    return draw(rows, 43), draw.rng.integers(-1, 43, rows)


def cross_entropy_input(draw: Draw) -> Any:
    x, target = cross_entropy(draw)
    _, powers, total = kernels.cross_entropy(x, target)
    return draw.scaled(len(x)), target, powers, total


def logistic_loss(draw: Draw) -> Any:
    x = draw(draw.size(20, 1000), 37)
    return x, draw.rng.random(x.shape).astype(draw.dtype)


def logistic_loss_input(draw: Draw) -> Any:
    x, target = logistic_loss(draw)
    return draw.scaled(*x.shape), x, target


def philox(draw: Draw) -> Any:
    return draw(1), 7, 2**64 - 5, draw.size(99, 100_003)


# ---- sequences ----------------------------------------------------------------------------------

BLOCKS = {"rnn": 1, "lstm": 4, "gru": 3}
STACKED = ("lstm", "gru", "tanh", "relu")


def recurrent(kind: str) -> Callable[[Draw], Any]:
    def arguments(draw: Draw) -> Any:
        steps, count, ins, size = draw.size(3, 9), draw.size(3, 37), 11, draw.size(9, 40)
        lengths = draw.rng.integers(1, steps + 1, count)
        x = draw.scaled(steps, count, ins)
        states = [draw.scaled(count, size) for _ in range(2 if kind == "lstm" else 1)]
        rows, scale = BLOCKS[kind] * size, np.asarray(1 / math.sqrt(size), draw.dtype)
        weights = [draw(rows, columns) * scale for columns in (ins, size)]
        biases = [draw.scaled(rows) for _ in range(2 if kind == "gru" else 1)]
        return x, *states, *weights, *biases, lengths, True, *["tanh"][: kind == "rnn"]

    return arguments


def recurrent_gradient(kind: str) -> Callable[[Draw], Any]:
    def arguments(draw: Draw) -> Any:
        given = recurrent(kind)(Draw(draw.dtype, draw.large))
        found = getattr(kernels, kind)(*given)
        states = 2 if kind == "lstm" else 1
        g = [draw.scaled(*a.shape) for a in found[: 1 + states]]
        options = given[-3:] if kind == "rnn" else given[-2:]
        kept = found[1 + states :]
        return *g, *given[: 3 + states], found[0], *kept, *options

    return arguments


def recurrent_layers(kind: str) -> Callable[[Draw], Any]:
    def arguments(draw: Draw) -> Any:
        steps, count, ins, size = draw.size(3, 9), draw.size(3, 37), 11, draw.size(9, 40)
        lengths = draw.rng.integers(1, steps + 1, count)
        states = [draw.scaled(3, count, size) for _ in range(2 if kind == "lstm" else 1)]
        rows, scale = BLOCKS.get(kind, 1) * size, np.asarray(1 / math.sqrt(size), draw.dtype)
        weights = []
        for columns in (ins, size, size):
            biases = [draw.scaled(rows) for _ in range(2 if kind == "gru" else 1)]
            weights.append([draw(rows, columns) * scale, draw(rows, size) * scale, *biases])
        return draw.scaled(steps, count, ins), states, weights, lengths, kind

    return arguments


def recurrent_layers_gradient(kind: str) -> Callable[[Draw], Any]:
    def arguments(draw: Draw) -> Any:
        x, *rest = recurrent_layers(kind)(Draw(draw.dtype, draw.large))
        out, *last, kept = kernels.recurrent_layers(x, *rest)
        g = draw.scaled(*out.shape), [draw.scaled(*a.shape) for a in last]
        return *g, x, *rest[:2], kept, *rest[2:]

    return arguments


# ---- steps of optimisers ------------------------------------------------------------------------


SGD = (0.1, 0.9, 0, 0.01, True, False)
ADAM = (3, 0.1, 0.9, 0.99, 1.0, 0.1, True)


def sgd_(draw: Draw) -> Any:
    n = draw.size(99, 70_001)
    return *(draw.scaled(n) for _ in range(3)), *SGD


def adam_(draw: Draw) -> Any:
    n = draw.size(99, 70_001)
    p, g, m, v, most = (draw.scaled(n) for _ in range(5))
    return p, g, m, abs(v), abs(most), *ADAM


def sgd_all_(draw: Draw) -> Any:
    sizes = (9, 1, draw.size(20, 20_001), draw.size(99, 70_001))
    return *([draw.scaled(n) for n in sizes] for _ in range(3)), *SGD


def adam_all_(draw: Draw) -> Any:
    p, g, m = sgd_all_(draw)[:3]
    v, most = ([abs(draw.scaled(a.size)) for a in p] for _ in range(2))
    return p, g, m, v, most, *ADAM


def square_sum(draw: Draw) -> Any:
    return (sgd_all_(draw)[0],)


NORMS = ("rows", "columns", "groups")
POOLED = ("winograd", "winograd, images", "direct", "direct, vectors", "strides")
CALLS: dict[str, Callable[[Draw], Any]] = {
    **{f"conv: {name}": conv(name) for name in LAYERS},
    **{f"conv_input: {name}": conv_input(name) for name in LAYERS},
    **{f"conv_weight: {name}": conv_weight(name) for name in LAYERS},
    **{f"conv_pool: {name}": conv_pool(name) for name in POOLED},
    "conv_pool: 3 x 2": conv_pool("direct, vectors", (3, 2)),
    **{f"conv_pool_gradient: {name}": conv_pool_gradient(name, True) for name in POOLED},
    **{f"conv_pool_gradient: {name}, not of x": conv_pool_gradient(name, False) for name in POOLED},
    **{f"conv_relu_gradient: {name}": conv_relu_gradient(name) for name in POOLED},
    "conv_relu_gradient: winograd, shallow, not of x": conv_relu_gradient(
        "winograd, shallow", False
    ),
    "unfold": unfold,
    "fold": fold,
    "max_pool": max_pool,
    "max_pool_input": max_pool_input,
    "max_pool_input: of places": max_pool_input_of_places,
    "avg_pool": avg_pool,
    "avg_pool_input": avg_pool_input,
    "index_add": index_add,
    **{kind: recurrent(kind) for kind in BLOCKS},
    **{f"{kind}_gradient": recurrent_gradient(kind) for kind in BLOCKS},
    **{f"recurrent_layers: {kind}": recurrent_layers(kind) for kind in STACKED},
    **{f"recurrent_layers_gradient: {kind}": recurrent_layers_gradient(kind) for kind in STACKED},
    "matmul": matmul(170),
    "matmul: transposed": matmul(170, transposed=True),
    "matmul: eight rows": matmul(8),
    "matmul: few rows": matmul(5),
    "matmul: few rows, transposed": matmul(5, transposed=True),
    "matmul: stacks": matmul_of_stacks,
    **{f"linear: {a}": linear(a) for a in (None, "relu", "sigmoid", "tanh")},
    "linear: few rows": linear_of_few,
    **{f"linear_gradient: {a}": linear_gradient(a) for a in (None, "relu", "sigmoid", "tanh")},
    "linear_gradient: many rows": linear_gradient("relu", 700),
    "philox": philox,
    **{f"dropout: {kind}": dropout(kind) for kind in ("in order", "image")},
    "cross_entropy": cross_entropy,
    "cross_entropy_input": cross_entropy_input,
    "logistic_loss": logistic_loss,
    "logistic_loss_input": logistic_loss_input,
    "logistic_loss_input: of a mean": lambda draw: (
        draw.scaled(1).reshape(()),
        *logistic_loss(draw),
    ),
    "mean_logistic_loss": logistic_loss,
    **{f"standardize: {kind}": standardize(kind) for kind in NORMS},
    **{f"standardize_gradient: {kind}": standardize_gradient(kind) for kind in NORMS},
    "sgd_": sgd_,
    "adam_": adam_,
    "sgd_all_": sgd_all_,
    "adam_all_": adam_all_,
    "square_sum": square_sum,
}
