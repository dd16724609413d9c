"""The training steps of `works` in JAX: one compiled function a step, which takes and gives state.

The fastest of what was tried: parameters and Adam's moments are donated, so that they are written
in place; images are NHWC (NCHW: twice the time); pooling is a maximum over a reshaped array (with
`reduce_window` the step takes 1.7 times as long); the LSTM multiplies the inputs of all frames at
once and scans over them (unrolled: a tenth slower). "inline" among the words of a form computes on
the calling thread, where the default hands over to another.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

State = dict[str, Any]
RNG = np.random.default_rng(0)


def training(form: str, loss: Callable[..., Any], params: State, *batch: Any) -> Callable[[], Any]:
    """A training step on one batch: loss, gradients and Adam at 1e-3, compiled together."""
    jax.config.update("jax_cpu_enable_async_dispatch", "inline" not in form)

    @partial(jax.jit, donate_argnums=0)
    def run(state: Any, *batch: Any) -> Any:
        params, m, v, t = state
        t = t + 1
        value, g = jax.value_and_grad(loss)(params, *batch)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate, scale = 1e-3 / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)

        def update(p: Any, m: Any, v: Any) -> Any:
            return p - rate * m / (jnp.sqrt(v) / scale + 1e-8)

        return (jax.tree.map(update, params, m, v), m, v, t), value

    params = jax.tree.map(jnp.asarray, params)
    zeros = [jax.tree.map(jnp.zeros_like, params) for _ in range(2)]
    state, inputs = (params, *zeros, jnp.zeros(())), [jnp.asarray(x) for x in batch]

    def step() -> Any:
        nonlocal state
        state, value = run(state, *inputs)
        return jax.block_until_ready(value)

    return step


def cross_entropy(scores: Any, labels: Any) -> Any:
    return -jnp.mean(jax.nn.log_softmax(scores)[jnp.arange(len(labels)), labels])


def drawn(fan_in: int, *shape: int) -> Any:
    """What PyTorch's layers begin with, by its bound."""
    bound = 1 / math.sqrt(fan_in)
    return RNG.uniform(-bound, bound, shape).astype("f4")


def dense(name: str, into: int, out: int) -> State:
    return {f"{name}.weight": drawn(into, into, out), f"{name}.bias": drawn(into, out)}


def linear(p: State, name: str, x: Any) -> Any:
    return x @ p[f"{name}.weight"] + p[f"{name}.bias"]


def images(count: int, *shape: int) -> Any:
    return RNG.random((count, *shape), "f4")


def cnn(form: str) -> Callable[[], Any]:
    """`works.cnn`, NHWC."""

    def conv(p: State, name: str, x: Any) -> Any:
        layout = ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(x, p[f"{name}.weight"], (1, 1), "VALID", None, None, layout)
        return pool(jax.nn.relu(y + p[f"{name}.bias"]))

    def pool(x: Any) -> Any:
        n, h, w, c = x.shape
        return x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))

    def loss(p: State, x: Any, y: Any) -> Any:
        x = conv(p, "second", conv(p, "first", x)).reshape(len(x), -1)
        return cross_entropy(linear(p, "head", jax.nn.relu(linear(p, "hidden", x))), y)

    params = {
        "first.weight": drawn(9, 3, 3, 1, 32), "first.bias": drawn(9, 32),
        "second.weight": drawn(288, 3, 3, 32, 64), "second.bias": drawn(288, 64),
        **dense("hidden", 1600, 128), **dense("head", 128, 10),
    }  # fmt: skip
    return training(form, loss, params, images(32, 28, 28, 1), RNG.integers(0, 10, 32))


def lstm(form: str) -> Callable[[], Any]:
    """`works.lstm`, time first inside."""

    def layer(p: State, name: str, x: Any) -> Any:
        gates = x @ p[f"{name}.w_ih"] + p[f"{name}.b_ih"] + p[f"{name}.b_hh"]

        def frame(carry: Any, gates: Any) -> Any:
            h, c = carry
            i, f, g, o = jnp.split(gates + h @ p[f"{name}.w_hh"], 4, 1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        nothing = jnp.zeros((x.shape[1], 128), x.dtype)
        return lax.scan(frame, (nothing, nothing), gates)[1]

    def loss(p: State, x: Any, y: Any) -> Any:
        x = x.swapaxes(0, 1)
        for name in ("l0", "l1", "l2"):
            x = layer(p, name, x)
        return cross_entropy(linear(p, "head", jax.nn.relu(linear(p, "first", x[-1]))), y)

    params = {**dense("first", 128, 64), **dense("head", 64, 10)}
    for name, size in (("l0", 64), ("l1", 128), ("l2", 128)):
        params |= {f"{name}.w_ih": drawn(128, size, 512), f"{name}.w_hh": drawn(128, 128, 512)}
        params |= {f"{name}.b_ih": drawn(128, 512), f"{name}.b_hh": drawn(128, 512)}
    return training(form, loss, params, images(32, 10, 64), RNG.integers(0, 10, 32))


def autoencoder(form: str) -> Callable[[], Any]:
    """`works.autoencoder`."""

    def loss(p: State, x: Any) -> Any:
        z = jax.nn.relu(linear(p, "second", jax.nn.relu(linear(p, "first", x))))
        z = linear(p, "third", z)
        return jnp.mean(jnp.maximum(z, 0) - z * x + jnp.log1p(jnp.exp(-jnp.abs(z))))

    params = dense("first", 784, 64) | dense("second", 64, 64) | dense("third", 64, 784)
    return training(form, loss, params, images(32, 784))


FORMS = ("", "inline")
# name: (work, its forms)
WORKS = {"cnn": (cnn, FORMS), "lstm": (lstm, FORMS), "autoencoder": (autoencoder, FORMS)}
