"""Fused operations against their plain graphs: outputs, gradients, second derivatives."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
import minidl_kernels as kernels
from minidl import nn
from minidl.nn import functional as F
from minidl.tape import observe
from minidl.testing import gradcheck


def seen(function: Any) -> list[str]:
    """The operations that run forward, in their order."""
    names = []
    with observe(lambda event: event.kind == "forward" and names.append(event.op.name)):
        function()
    return names


def drawn(*shape: int, dtype: str = "f4", seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def layer(*arrays: Any, function: Any, order: int = 1) -> list[Any]:
    """A function's output, its gradients along random numbers, and if asked theirs in turn."""
    tensors = [minidl.tensor(a).requires_grad_() for a in arrays]
    y = function(*tensors)
    g = minidl.tensor(drawn(*y.shape, dtype=y.dtype.name, seed=1)).requires_grad_()
    first = minidl.grad(y, tensors, g, create_graph=order == 2)
    found = [y, *first]
    if order == 2:
        along = [drawn(*t.shape, dtype=t.dtype.name, seed=2) for t in first]
        found += minidl.grad(first, [*tensors, g], along, allow_unused=True)
    return [None if t is None else t.detach().numpy() for t in found]


# ---- the switch ----------------------------------------------------------------------------------


def test_the_switch_is_a_function_and_a_context_manager() -> None:
    x, w = minidl.ones(1, 1, 4, 4), minidl.ones(1, 1, 3, 3)
    fused = lambda: seen(lambda: F.conv2d(x, w, activation="relu", pool=2))  # noqa: E731
    assert fused() == ["conv_pool"]
    with minidl.fusion(False):
        assert fused() == ["conv", "relu", "max_pool"]
        with minidl.fusion(True):
            assert fused() == ["conv_pool"]
        assert fused() == ["conv", "relu", "max_pool"]
    assert fused() == ["conv_pool"]
    minidl.fusion(False)
    try:
        assert fused() == ["conv", "relu", "max_pool"]
    finally:
        minidl.fusion()
    with pytest.raises(RuntimeError, match="inside"), minidl.fusion(False):
        raise RuntimeError("inside")
    assert fused() == ["conv_pool"]
    with pytest.raises(TypeError, match="fusion: on is 0, expected True or False"):
        minidl.fusion(0)


def test_every_fused_operation_has_a_plain_graph() -> None:
    """Layers of all kinds that have one, each with the switch on and off."""
    minidl.manual_seed(0)
    layers = [nn.LSTM(3, 4), nn.GRU(3, 4), nn.RNN(3, 4), nn.LayerNorm(3)]
    x = minidl.tensor(drawn(5, 2, 3))
    target = minidl.tensor([0, 2, 1, 1, 0])
    calls = [lambda m=m: m(x) for m in layers]
    calls.append(lambda: F.cross_entropy(x[:, 0], target))
    for call in calls:
        fused, names = call(), seen(call)
        with minidl.fusion(False):
            plain, plain_names = call(), seen(call)
        assert len(plain_names) > len(names)
        for a, b in zip(flat(fused), flat(plain), strict=True):
            np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-5, atol=1e-6)


def flat(outputs: Any) -> list[Any]:
    if isinstance(outputs, tuple):
        return [t for o in outputs for t in flat(o)]
    return [outputs]


# ---- convolutions --------------------------------------------------------------------------------


@st.composite
def convolutions(draw: Any) -> Any:
    """Arrays, and a function of them: a convolution with what may follow it."""
    axes = draw(st.sampled_from([1, 2, 2, 2, 3]))
    groups, n = draw(st.sampled_from([1, 1, 2])), draw(st.integers(0, 3))
    each, outputs = draw(st.sampled_from([1, 2, 5])), draw(st.sampled_from([1, 3, 8, 16]))
    kernel = draw(st.integers(1, 3))
    space = [kernel + draw(st.integers(3, 6)) for _ in range(axes)]
    options = {"groups": groups, "padding": draw(st.integers(0, 1))}
    options["activation"] = draw(st.sampled_from([None, "relu", "relu", "tanh", F.sigmoid]))
    options["pool"] = draw(st.sampled_from([None, 2, 2, (2, 1), (3, 2), 1, ((2,) * axes, 2)]))
    shapes = [(n, groups * each, *space), (groups * outputs, each, *[kernel] * axes)]
    if draw(st.booleans()):
        shapes.append((groups * outputs,))
    function = getattr(F, f"conv{axes}d")
    alike = options["pool"] is None or axes != 2 or not goes_alone(*shapes[:2], options["padding"])
    return shapes, lambda *tensors: function(*tensors, **options), alike


def goes_alone(x: tuple[int, ...], w: tuple[int, ...], padding: int) -> bool:
    """Whether a convolution is Winograd's if nothing is pooled, and direct where that is fused.

    So it is with few channels; the error of both is bounded (`minidl_kernels.plans`).
    """
    groups = x[1] // w[1]
    return kernels.conv2d_plan(x, w, padding=padding, groups=groups).forward.shallow


@given(convolutions(), st.sampled_from(["f4", "f8"]), st.sampled_from([1, 2]))
def test_a_fused_convolution_equals_the_plain_graph(case: Any, dtype: str, order: int) -> None:
    """Forward to the bit, where the kernels are the same; a gradient sums the same terms."""
    shapes, function, alike = case
    arrays = [drawn(*shape, dtype=dtype) for shape in shapes]
    fused = layer(*arrays, function=function, order=order)
    with minidl.fusion(False):
        plain = layer(*arrays, function=function, order=order)
    if alike:
        np.testing.assert_array_equal(fused[0], plain[0])
    for a, b in zip(fused, plain, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype
            # Of sums of some hundred terms; Winograd's error is some ten times as large.
            tolerance = {4: 2e-5 if alike else 1e-4, 8: 1e-13}[a.itemsize]
            scale = np.abs(b).max(initial=1)
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("pool", [None, 2], ids=["relu", "pool"])
def test_larger_than_a_tile_in_float32(pool: Any) -> None:
    """So large that threads share the work; channels that fill vectors."""
    arrays = drawn(4, 3, 31, 30), drawn(16, 3, 3, 3), drawn(16)
    function = lambda *t: F.conv2d(*t, activation="relu", pool=pool)  # noqa: E731
    fused = layer(*arrays, function=function)
    with minidl.fusion(False):
        plain = layer(*arrays, function=function)
    if pool is None or not goes_alone((4, 3, 31, 30), (16, 3, 3, 3), 0):
        np.testing.assert_array_equal(fused[0], plain[0])
    for a, b in zip(fused, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


@pytest.mark.parametrize(
    "options", [{}, {"pool": 2}, {"pool": (2, 1)}, {"padding": "same"}], ids=str
)
def test_derivatives_to_second_order(options: Any) -> None:
    arrays = drawn(2, 2, 5, 4, dtype="f8"), drawn(3, 2, 2, 2, dtype="f8"), drawn(3, dtype="f8")
    function = lambda *t: F.conv2d(*t, activation="relu", **options)  # noqa: E731
    gradcheck(function, arrays, order=2)


def test_only_what_is_wanted_is_computed() -> None:
    x, w = minidl.tensor(drawn(1, 1, 4, 4)), minidl.tensor(drawn(2, 1, 3, 3)).requires_grad_()
    y = F.conv2d(x, w, activation="relu")
    assert [p is w.node for p in y.node.parents] == [True]
    (gw,) = minidl.grad(y.sum(), [w])
    assert gw.shape == w.shape


def test_a_change_in_place_of_the_output_is_seen() -> None:
    x, w = minidl.tensor(drawn(1, 1, 4, 4)), minidl.tensor(drawn(2, 1, 3, 3)).requires_grad_()
    y = F.conv2d(x, w, activation="relu")
    with minidl.no_grad():
        y.mul_(2)
    with pytest.raises(RuntimeError, match="conv_relu: its output, which its derivative needs"):
        y.sum().backward()


def test_what_does_not_fit_is_named() -> None:
    x, w = minidl.ones(1, 1, 4, 4), minidl.ones(1, 1, 3, 3)
    with pytest.raises(ValueError, match="conv2d: activation is 'rellu'; give a function or one"):
        F.conv2d(x, w, activation="rellu")
    with pytest.raises(minidl.ShapeError, match=r"max_pool2d: a kernel that extends over \(3, 3\)"):
        F.conv2d(x, w, pool=3)
    with pytest.raises(ValueError, match="conv2d: pool is 0, expected at least 1"):
        F.conv2d(x, w, pool=0)
    with pytest.raises(ValueError, match="expected a size or"):
        F.conv2d(x, w, pool=(2, 2, 2))


@pytest.mark.parametrize("on", [True, False])
def test_a_dense_layer_that_does_not_fit_is_named(on: bool) -> None:
    x, w = minidl.ones(2, 3), minidl.ones(4, 3)
    with minidl.fusion(on):
        with pytest.raises(minidl.ShapeError, match=r"linear: x has shape \(4, 3\), weight"):
            F.linear(w, w.T)
        with pytest.raises(ValueError, match="linear: activation is 'elu', expected one of"):
            F.linear(x, w, None, "elu")


def test_nothing_large_is_kept_behind_a_pool() -> None:
    """x and w, which are there anyhow, and a byte for each number of the result."""
    x = minidl.tensor(drawn(2, 3, 18, 18))
    w = minidl.tensor(drawn(8, 3, 3, 3)).requires_grad_()
    y = F.conv2d(x, w, activation="relu", pool=2)
    saved = [v for v in y.node.saved if isinstance(v, np.ndarray)]
    new = [v for v in saved if v is not x.data and v is not w.data]
    assert [(v.dtype, v.shape) for v in new] == [(np.dtype("u1"), y.shape)]


# ---- Sequential ----------------------------------------------------------------------------------


class MyReLU(nn.ReLU):
    """A subclass may do anything."""


IMAGE = (2, 3, 12, 11)
NAMES = ("conv", "relu", "tanh", "sigmoid", "max_pool", "conv_relu", "conv_pool", "linear")
JOINED: list[tuple[str, Any, list[str]]] = [
    ("all", lambda: [conv(), nn.ReLU(), nn.MaxPool2d(2)], ["conv_pool"]),
    ("inside", lambda: [nn.Conv2d(3, 8, 3, activation="relu"), nn.MaxPool2d(2)], ["conv_pool"]),
    ("function", lambda: [nn.Conv2d(3, 8, 3, activation=F.relu), nn.MaxPool2d(2)], ["conv_pool"]),
    ("no pool", lambda: [conv(), nn.ReLU()], ["conv_relu"]),
    ("no relu", lambda: [conv(), nn.MaxPool2d((2, 3))], ["conv_pool"]),
    ("overlap", lambda: [conv(), nn.ReLU(), nn.MaxPool2d(3, 2)], ["conv_relu", "max_pool"]),
    ("twice", lambda: [conv(), nn.ReLU(), nn.ReLU()], ["conv_relu", "relu"]),
    (
        "two layers",
        lambda: [conv(padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3), nn.ReLU()],
        ["conv_pool", "conv_relu"],
    ),
    ("reflect", lambda: [conv(padding=1, padding_mode="reflect"), nn.ReLU()], ["conv_relu"]),
    ("alone", lambda: [conv()], ["conv"]),
    ("tanh", lambda: [conv(), nn.Tanh(), nn.MaxPool2d(2)], ["conv", "tanh", "max_pool"]),
    (
        "tanh inside",
        lambda: [nn.Conv2d(3, 8, 3, activation="tanh"), nn.MaxPool2d(2)],
        ["conv", "tanh", "max_pool"],
    ),
    ("subclass", lambda: [conv(), MyReLU()], ["conv", "relu"]),
    ("padded", lambda: [conv(), nn.MaxPool2d(2, padding=1)], ["conv", "max_pool"]),
    ("dilated", lambda: [conv(), nn.MaxPool2d(2, dilation=2)], ["conv", "max_pool"]),
    ("ceil", lambda: [conv(), nn.MaxPool2d(2, ceil_mode=True)], ["conv", "max_pool"]),
    ("indices", lambda: [conv(), nn.MaxPool2d(2, return_indices=True)], ["conv", "max_pool"]),
    ("apart", lambda: [conv(), nn.Dropout(0.0), nn.ReLU()], ["conv", "relu"]),
]


def conv(**options: Any) -> Any:
    return nn.Conv2d(3, 8, 3, **options)


def of_a_model(model: Any, x: Any) -> list[Any]:
    """The outputs, and the gradients of x and of the parameters."""
    x = minidl.tensor(x).requires_grad_()
    outputs = flat(model(x))
    g = drawn(*outputs[0].shape, seed=1)
    return [*outputs, *minidl.grad(outputs[0], [x, *model.parameters()], g)]


@pytest.mark.parametrize(("modules", "names"), [p[1:] for p in JOINED], ids=[p[0] for p in JOINED])
def test_sequential_joins(modules: Any, names: list[str]) -> None:
    minidl.manual_seed(0)
    model, x = nn.Sequential(*modules()), drawn(*IMAGE)
    assert [n for n in seen(lambda: model(minidl.tensor(x))) if n in NAMES] == names
    fused = of_a_model(model, x)
    with minidl.fusion(False):
        plain = of_a_model(model, x)
    np.testing.assert_array_equal(fused[0].detach(), plain[0].detach())
    for a, b in zip(fused, plain, strict=True):
        scale = np.abs(b.detach().numpy()).max(initial=1)
        np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-5, atol=1e-5 * scale)
    one = minidl.tensor(x[0])  # an image without a batch
    np.testing.assert_array_equal(flat(model(one))[0].detach(), fused[0].detach()[0])


DENSE: list[tuple[str, Any, list[str]]] = [
    ("relu", lambda: [nn.Linear(9, 20), nn.ReLU(), nn.Linear(20, 3)], ["linear", "linear"]),
    ("tanh", lambda: [nn.Linear(9, 20, bias=False), nn.Tanh()], ["linear"]),
    ("sigmoid", lambda: [nn.Linear(9, 20), nn.Sigmoid(), nn.ReLU()], ["linear", "relu"]),
    ("inside", lambda: [nn.Linear(9, 20, activation="relu"), nn.Tanh()], ["linear", "tanh"]),
    ("another", lambda: [nn.Linear(9, 20), nn.ELU()], ["linear", "elu"]),
    ("subclass", lambda: [nn.Linear(9, 20), MyReLU()], ["linear", "relu"]),
    ("alone", lambda: [nn.Linear(9, 20)], ["linear"]),
]


@pytest.mark.parametrize(("modules", "names"), [p[1:] for p in DENSE], ids=[p[0] for p in DENSE])
def test_sequential_joins_dense_layers(modules: Any, names: list[str]) -> None:
    minidl.manual_seed(0)
    model, x = nn.Sequential(*modules()), drawn(12, 9)
    assert seen(lambda: model(minidl.tensor(x))) == names
    fused = of_a_model(model, x)
    with minidl.fusion(False):
        assert "linear" not in seen(lambda: model(minidl.tensor(x)))
        plain = of_a_model(model, x)
    for a, b in zip(fused, plain, strict=True):
        np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-5, atol=1e-5)
    for module in model:
        heard: list[Any] = []
        handle = module.register_forward_hook(lambda module, *rest: heard.append(module))  # noqa: B023
        model(minidl.tensor(x))
        handle.remove()
        assert heard == [module]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("kind", ["forward_pre", "forward", "full_backward"])
def test_who_listens_hears_the_module(kind: str, place: int) -> None:
    minidl.manual_seed(0)
    model = nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(2))
    x = drawn(*IMAGE)
    before, heard = of_a_model(model, x), []
    register = getattr(model[place], f"register_{kind}_hook")
    handle = register(lambda module, *rest: heard.append(module))
    after = of_a_model(model, x)
    assert heard == [model[place]]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-4, atol=1e-4)
    handle.remove()
    assert seen(lambda: model(minidl.tensor(x))) == ["conv_pool"]


def test_a_forward_of_its_own_is_called() -> None:
    model = nn.Sequential(conv(), nn.ReLU())
    model[1].forward = lambda x: x * 0
    assert not model(minidl.tensor(drawn(*IMAGE))).detach().numpy().any()


def test_what_is_said_of_the_model_stays() -> None:
    minidl.manual_seed(0)
    model = nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(160, 2))
    model(minidl.tensor(drawn(*IMAGE)))
    said = repr(model), list(model.state_dict()), str(nn.summary(model, input_size=IMAGE))
    with minidl.fusion(False):
        model(minidl.tensor(drawn(*IMAGE)))
        assert said == (repr(model), list(model.state_dict()), str(model.summary(input_size=IMAGE)))
    assert [row.kind for row in nn.summary(model, input_size=IMAGE).rows] == [
        "Conv2d", "ReLU", "MaxPool2d", "Flatten", "Linear",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pool", "text"),
    [
        (nn.MaxPool2d(20), r"max_pool2d: a kernel that extends over \(20, 20\) does not fit"),
        (nn.MaxPool2d(0), "max_pool2d: kernel_size is 0, expected at least 1"),
        (nn.MaxPool2d(2, 1.5), "max_pool2d: stride is 1.5, expected an int"),
        (nn.MaxPool2d((1, 2, 3)), "max_pool2d: kernel_size"),
    ],
    ids=["large", "zero", "half", "three"],
)
def test_errors_are_those_of_the_modules(pool: Any, text: str) -> None:
    model = nn.Sequential(conv(), nn.ReLU(), pool)
    for on in (True, False):
        with minidl.fusion(on), pytest.raises(ValueError, match=text):
            model(minidl.tensor(drawn(*IMAGE)))


def test_keras_layers_are_fused() -> None:
    from minidl import keras

    minidl.manual_seed(0)
    layer = keras.layers.Conv2D(8, 3, activation="relu", input_shape=(12, 11, 3))
    model = keras.Sequential([layer, keras.layers.Flatten(), keras.layers.Dense(3, "tanh")])
    x = minidl.tensor(drawn(2, 12, 11, 3))
    names = [n for n in seen(lambda: model(x)) if n in NAMES]
    assert names == ["conv_relu", "linear"]
    fused = model(x)
    with minidl.fusion(False):
        plain = model(x)
        assert [n for n in seen(lambda: model(x)) if n in NAMES] == ["conv", "relu", "tanh"]
    np.testing.assert_allclose(fused.detach(), plain.detach(), rtol=1e-5, atol=1e-6)
