"""Module: what it owns, its state, its hooks; containers."""

import copy
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.errors import DtypeError, FormatError
from minidl.nn import functional as F


class Half(nn.Module):
    """One parameter, two buffers, one child."""

    def __init__(self) -> None:
        super().__init__()
        self.child = nn.Linear(2, 2)
        self.factor = nn.Parameter(minidl.tensor([0.5, 1.0]))
        self.register_buffer("seen", minidl.tensor([0.0]))
        self.register_buffer("passing", minidl.tensor([0.0]), persistent=False)
        self.plain = minidl.tensor([1.0])

    def forward(self, x: Any, *, twice: bool = False) -> Any:
        return self.child(x) * self.factor * (2 if twice else 1)


def test_registration_by_assignment() -> None:
    model = Half()
    names = [name for name, _ in model.named_parameters()]
    assert names == ["factor", "child.weight", "child.bias"]
    assert [name for name, _ in model.named_buffers()] == ["seen", "passing"]
    assert [name for name, _ in model.named_modules()] == ["", "child"]
    assert list(model.children()) == [model.child]
    assert [n for n, _ in model.named_parameters(recurse=False)] == ["factor"]
    assert next(n for n, _ in model.named_parameters(prefix="a")) == "a.factor"
    assert list(model.state_dict()) == ["factor", "seen", "child.weight", "child.bias"]
    assert list(model.state_dict(prefix="m.")) == ["m." + name for name in model.state_dict()]
    model.child = None
    assert list(model.state_dict()) == ["factor", "seen"]
    del model.seen
    assert list(model.state_dict()) == ["factor"]
    model.extra = nn.Parameter([1.0])
    assert list(model.state_dict()) == ["factor", "extra"]


def test_a_parameter_is_a_leaf_that_shares_memory() -> None:
    data = minidl.tensor([1.0, 2.0])
    p = nn.Parameter(data)
    assert p.requires_grad
    assert p.is_leaf
    assert p.data is data.data
    assert isinstance(p, minidl.Tensor)
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    assert type(p * 2) is minidl.Tensor
    assert repr(p) == "Parameter containing:\ntensor([1., 2.], requires_grad=True)"
    assert nn.Parameter(p * 2).is_leaf
    with pytest.raises(DtypeError, match="only floats"):
        nn.Parameter(minidl.tensor([1]))


def test_shared_ones_come_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    assert [n for n, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    everything = [n for n, _ in model.named_parameters(remove_duplicate=False)]
    assert everything == list(model.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    layer = nn.Linear(2, 2)
    both = nn.Sequential(layer, layer)
    assert len(list(both.modules())) == 2
    assert len(list(both.children())) == 1
    assert len(list(both.named_modules(remove_duplicate=False))) == 3
    both.double()
    assert layer.weight.dtype == "float64"


def test_what_cannot_be_assigned() -> None:
    class Early(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(2, 2)

    with pytest.raises(AttributeError, match=r"Early: call super\(\).__init__\(\) before"):
        Early()

    class Never(nn.Module):
        def __init__(self) -> None:
            pass

    for use in (lambda m: m.state_dict(), lambda m: m.double(), lambda m: nn.Sequential(m).half()):
        with pytest.raises(AttributeError, match=r"Never: its __init__ does not call super\(\)"):
            use(Never())
    model = Half()
    with pytest.raises(TypeError, match="'factor' is a parameter, got Tensor; assign an nn.Param"):
        model.factor = minidl.tensor([1.0])
    with pytest.raises(TypeError, match="'child' is a module, got int"):
        model.child = 3
    with pytest.raises(TypeError, match="'seen' is a buffer, got list"):
        model.seen = [1.0]
    model.seen = minidl.tensor([4.0])
    assert model.state_dict()["seen"].tolist() == [4.0]
    with pytest.raises(KeyError, match="already an attribute 'factor'"):
        model.register_buffer("factor", minidl.tensor([1.0]))
    for bad in ("", "a.b", "forward", "plain", "seen", "child"):
        with pytest.raises(KeyError):
            model.register_parameter(bad, nn.Parameter([1.0]))
    with pytest.raises(TypeError, match="must be an nn.Parameter"):
        model.register_parameter("q", minidl.tensor([1.0]))
    with pytest.raises(TypeError, match="must be a tensor"):
        model.register_buffer("q", 3)
    with pytest.raises(TypeError, match="must be a module"):
        model.add_module("q", 3)
    with pytest.raises(TypeError, match="the name of a module must be a string"):
        model.add_module(3, nn.ReLU())
    with pytest.raises(NotImplementedError, match="Module: it does not say what it computes"):
        nn.Module()(1)


def test_lookup_by_dotted_name() -> None:
    model = nn.Sequential(Half())
    assert model.get_submodule("") is model
    assert model.get_submodule("0.child") is model[0].child
    assert model.get_parameter("0.child.weight") is model[0].child.weight
    assert model.get_buffer("0.seen") is model[0].seen
    for get, name in (
        (model.get_submodule, "0.nothing"),
        (model.get_submodule, "0.factor"),
        (model.get_parameter, "0.seen"),
        (model.get_buffer, "0.factor"),
    ):
        with pytest.raises(AttributeError, match="has no"):
            get(name)


# ---- state --------------------------------------------------------------------------------------


def test_the_state_shares_memory_and_is_loaded_in_place() -> None:
    model = Half()
    before = list(model.parameters())
    memory = model.factor.data
    state = model.state_dict()
    assert state["factor"].data is memory
    assert not state["factor"].requires_grad
    new = {name: np.full(t.shape, 3.0, "float64") for name, t in state.items()}
    assert repr(model.load_state_dict(new)) == "<All keys matched successfully>"
    assert all(a is b for a, b in zip(before, model.parameters(), strict=True))
    assert model.factor.data is memory
    assert memory.tolist() == [3.0, 3.0]
    assert memory.dtype == "float32"
    result = model.load_state_dict({"factor": minidl.tensor([1.0, 2.0]), "odd": [1]}, strict=False)
    assert result == (["seen", "child.weight", "child.bias"], ["odd"])
    assert result.missing_keys == ["seen", "child.weight", "child.bias"]
    assert memory.tolist() == [1.0, 2.0]
    model.load_state_dict(model.state_dict())
    assert memory.tolist() == [1.0, 2.0]


def test_a_change_by_loading_is_noticed_by_the_tape() -> None:
    model = nn.Linear(2, 2)
    x = minidl.tensor([[1.0, 2.0]], requires_grad=True)
    loss = (model(x) * model(x)).sum()
    model.load_state_dict(model.state_dict())
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: s.pop("factor"), r"missing: factor \(2,\)"),
        (lambda s: s.update(extra=[1.0]), "unexpected: extra"),
        (lambda s: s.update(facto=s.pop("factor")), "unexpected: facto .* did you mean 'factor'"),
        (lambda s: s.update(factor=np.ones(3)), r"factor has shape \(3,\), the module's is \(2,\)"),
        (lambda s: s.update(factor=np.ones(2, int)), "factor is int64, the module's is float32"),
        (lambda s: s.update(factor="text"), "misfit: factor .*cannot make a tensor of str"),
        (
            lambda s: [s.update({f"module.{k}": s.pop(k)}) for k in list(s)],
            "names begin with 'module.'; take it off",
        ),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change: Any, text: str) -> None:
    model = Half()
    state = {name: np.full(t.shape, 9.0, "float32") for name, t in model.state_dict().items()}
    change(state)
    with pytest.raises(FormatError, match=text) as caught:
        model.load_state_dict(state)
    assert str(caught.value).startswith("load_state_dict: the state does not fit Half:")
    assert not any((t.data == 9).any() for t in model.state_dict().values())


def test_misfits_count_without_strict_and_all_are_listed() -> None:
    model = nn.Linear(2, 3)
    with pytest.raises(FormatError, match="misfit") as caught:
        model.load_state_dict({"weight": np.ones(2), "bias": np.ones(2)}, strict=False)
    assert str(caught.value).count("misfit") == 2
    with pytest.raises(TypeError, match="expected a dict, got list"):
        model.load_state_dict([1])
    model.weight = nn.Parameter(minidl.from_numpy(np.broadcast_to(np.ones(2, "f4"), (3, 2))))
    with pytest.raises(FormatError, match="read-only"):
        model.load_state_dict(model.state_dict())
    norm = nn.BatchNorm1d(2)
    norm.load_state_dict(norm.state_dict() | {"num_batches_tracked": np.int32(5)})
    assert norm.num_batches_tracked.item() == 5
    assert norm.num_batches_tracked.dtype == "int64"


def test_a_number_too_large_is_infinite_and_stops_nothing() -> None:
    model = nn.Linear(1, 2)
    model.load_state_dict({"weight": np.full((2, 1), 1e300), "bias": np.ones(2)})
    assert model.weight.tolist() == [[np.inf], [np.inf]]
    assert model.bias.tolist() == [1, 1]


def test_pytorchs_own_tensors() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = nn.Linear(2, 3), torch.nn.Linear(2, 3)
    ours.load_state_dict(dict(theirs.named_parameters()))  # leaves that require a gradient
    assert ours.weight.data.tolist() == theirs.weight.tolist()
    with pytest.raises(FormatError, match="misfit: weight"):
        ours.load_state_dict({k: v.bfloat16() for k, v in theirs.state_dict().items()})


# ---- modes, dtypes, copies ----------------------------------------------------------------------


def test_train_and_eval_reach_all_and_respect_an_override() -> None:
    class Frozen(nn.BatchNorm1d):
        def train(self, mode: bool = True) -> nn.Module:
            return super().train(False)

    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()), Frozen(2))
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    model.train()
    assert [m.training for m in model.modules()] == [True, True, True, True, False]
    with pytest.raises(TypeError, match="must be a bool"):
        model.train("yes")


def test_to_converts_floats_and_keeps_the_parameters() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model(minidl.ones(2, 2)).sum().backward()
    before = list(model.parameters())
    assert model.to("float64") is model
    assert all(a is b for a, b in zip(before, model.parameters(), strict=True))
    assert {t.dtype.name for t in (*model.parameters(), model[1].running_mean)} == {"float64"}
    assert model[0].weight.grad.dtype == "float64"
    assert model[1].num_batches_tracked.dtype == "int64"
    model(minidl.ones(2, 2, dtype="float64")).sum().backward()
    assert model.half()[0].weight.dtype == "float16"
    assert model.float()[0].weight.dtype == "float32"
    assert model.to(minidl.ones(1, dtype="float64"))[0].weight.dtype == "float64"
    assert model.to("cpu", "float32")[0].weight.dtype == "float32"
    assert model.cpu()[0].weight.device == "cpu"
    with pytest.raises(DtypeError, match="float dtype only"):
        model.to("int64")
    assert nn.Linear(2, 2, dtype="float64").weight.dtype == "float64"


def test_grads_and_requires_grad() -> None:
    model = nn.Linear(2, 1)
    model(minidl.ones(1, 2)).sum().backward()
    model.zero_grad(set_to_none=False)
    assert model.weight.grad.tolist() == [[0, 0]]
    model.weight.grad.data[...] = np.inf
    model.zero_grad(set_to_none=False)
    assert model.weight.grad.tolist() == [[0, 0]]
    model.zero_grad()
    assert model.weight.grad is None
    model.requires_grad_(False)
    assert not model(minidl.ones(1, 2)).requires_grad


def test_apply_goes_from_below() -> None:
    seen: list[str] = []
    nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh())).apply(
        lambda m: seen.append(type(m).__name__)
    )
    assert seen == ["ReLU", "Tanh", "Sequential", "Sequential"]


def test_copies_and_no_pickle() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model.append(model[0])
    made = copy.deepcopy(model)
    assert made[0] is made[2]
    assert made[0].weight is not model[0].weight
    assert isinstance(made[0].weight, nn.Parameter)
    assert made[0].weight.requires_grad
    made[0].weight.data[...] = 7
    assert not (model[0].weight.data == 7).any()
    x = minidl.ones(3, 2)
    made(x).sum().backward()
    assert model[0].weight.grad is None
    assert list(made.state_dict()) == list(model.state_dict())
    shallow = copy.copy(model[1])
    assert shallow.weight is model[1].weight
    shallow.weight = None
    shallow.register_buffer("more", minidl.ones(1))
    assert list(model[1].state_dict())[:2] == ["weight", "bias"]
    assert "more" not in model[1].state_dict()
    with pytest.raises(TypeError, match=r"save model.state_dict\(\) with minidl.save"):
        pickle.dumps(model)


# ---- hooks --------------------------------------------------------------------------------------


def test_forward_hooks() -> None:
    model, seen = Half(), []
    handles = [
        model.register_forward_pre_hook(lambda m, args: (args[0] * 2,)),
        model.register_forward_hook(lambda m, args, out: seen.append((args, out))),
        model.register_forward_hook(lambda m, args, out: out + 1),
    ]
    x = minidl.ones(1, 2)
    out = model(x, twice=True)
    assert seen[0][0][0].tolist() == [[2, 2]]
    assert (out.data == seen[0][1].data + 1).all()
    for handle in handles:
        handle.remove()
    assert (model(x, twice=True).data == model.forward(x, twice=True).data).all()
    with pytest.raises(NotImplementedError, match="register_forward_hook: with_kwargs is not"):
        model.register_forward_hook(print, with_kwargs=True)
    with pytest.raises(NotImplementedError, match="load_state_dict: assign is not offered"):
        model.load_state_dict({}, assign=True)
    model.register_forward_pre_hook(lambda m, args: x * 0)
    assert (model(x).data == model.forward(x * 0).data).all()


@pytest.mark.filterwarnings("ignore:Full backward hook")  # PyTorch's, where no input is tracked
def test_backward_hooks_see_and_change_gradients() -> None:
    torch = pytest.importorskip("torch")

    def run(lib: Any, wrap: Any) -> list[Any]:
        seen: list[Any] = []
        layer = wrap(lib.nn)

        def hook(module: Any, grad_input: Any, grad_output: Any) -> Any:
            seen.append([None if g is None else g.tolist() for g in (*grad_input, *grad_output)])
            return tuple([None if g is None else g * 10 for g in grad_input])

        layer.register_full_backward_hook(hook)
        x = lib.tensor([[1.0, 2.0]], requires_grad=True)
        y = lib.tensor([[3.0, 4.0]], requires_grad=True)
        (layer(x * 2, y) * 3).sum().backward()
        seen += [x.grad.tolist(), y.grad.tolist()]
        layer(x.detach(), y.detach()).sum().backward()  # no input needs a gradient, the weight does
        return seen

    def make(nn: Any) -> Any:
        layer = nn.Bilinear(2, 2, 1, bias=False)
        for p in layer.parameters():
            p.requires_grad_(False)
            p[0, 0, 0] = 1.0
            p[0, 1, 0] = -0.5
            p[0, 0, 1] = 0.25
            p[0, 1, 1] = 2.0
            p.requires_grad_(True)
        return layer

    assert run(minidl, make) == run(torch, make)


def test_backward_hook_of_several_outputs_and_of_the_second_order() -> None:
    class Two(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * x, x * 3

    layer, seen = Two(), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    x = minidl.tensor([2.0], requires_grad=True)
    a, b = layer(x)
    (g,) = minidl.grad(a * b, [x], create_graph=True)
    assert g.item() == 36
    assert [t.item() for t in (*seen[0][0], *seen[0][1])] == [36, 6, 4]
    g.backward()
    assert x.grad.item() == 36


# ---- containers ---------------------------------------------------------------------------------


def test_sequential() -> None:
    model = nn.Sequential(OrderedDict(a=nn.Linear(2, 3), b=nn.ReLU(), c=nn.Linear(3, 1)))
    assert model[0] is model.a
    assert model[-1] is model.c
    assert list(model[1:].state_dict()) == ["c.weight", "c.bias"]
    assert len(model) == 3
    assert model.b in model
    assert [type(m).__name__ for m in model] == ["Linear", "ReLU", "Linear"]
    model[1] = nn.Tanh()
    assert isinstance(model.b, nn.Tanh)
    model.append(nn.ReLU())
    assert list(dict(model.named_children())) == ["a", "b", "c", "3"]
    plain = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Tanh())
    del plain[0]
    assert list(dict(plain.named_children())) == ["0", "1"]
    assert plain.insert(0, nn.Linear(2, 2)) is plain
    assert isinstance(plain.pop(), nn.Tanh)
    assert isinstance(plain.extend([nn.SiLU()])[-1], nn.SiLU)
    with pytest.raises(IndexError, match="index 3, it holds 3"):
        plain[3]
    with pytest.raises(TypeError, match="an entry is function, expected Module"):
        nn.Sequential(F.relu.forward)
    with pytest.raises(TypeError, match="expected Module, got int"):
        nn.Sequential({"a": 1})
    x = minidl.ones(1, 2)
    assert nn.Sequential()(x) is x


def test_lists_and_dicts() -> None:
    layers = nn.ModuleList([nn.Linear(2, 2)])
    layers += [nn.ReLU()]
    layers.append(nn.Linear(2, 1)).insert(0, nn.Tanh())
    assert [n for n, _ in layers.named_parameters()] == [
        "1.weight", "1.bias", "3.weight", "3.bias",
    ]  # fmt: skip
    assert isinstance(layers[1:3], nn.ModuleList)
    both = layers + nn.ModuleList(modules=[nn.ELU()])
    assert (len(both), both[0], len(layers)) == (5, layers[0], 4)
    assert len(nn.Sequential(nn.ELU()) + nn.Sequential(nn.ReLU(), nn.ReLU())) == 3
    named = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(1, 1)})
    named["c"] = nn.Tanh()
    assert named.keys() == ["a", "b", "c"]
    assert "a" in named
    assert "z" not in named
    assert len(named) == 3
    assert isinstance(named.pop("a"), nn.ReLU)
    assert [name for name, _ in named.items()] == list(named) == ["b", "c"]
    assert len(named.values()) == 2
    with pytest.raises(KeyError, match="already an attribute"):
        named["keys"] = nn.ReLU()
    with pytest.raises(KeyError):
        named["nothing"]
    with pytest.raises(TypeError, match="'d' must be a Module, got int"):
        named["d"] = 3
    named.clear()
    assert len(named) == 0
    weights = nn.ParameterList([minidl.ones(2), nn.Parameter([1.0])])
    weights.append(minidl.zeros(1))
    assert list(weights.state_dict()) == ["0", "1", "2"]
    assert repr(weights) == (
        "ParameterList(\n  (0): Parameter (2,) float32\n  (1): Parameter (1,) float32\n"
        "  (2): Parameter (1,) float32\n)"
    )
    by_name = nn.ParameterDict({"w": minidl.ones(2)})
    by_name.update({"v": nn.Parameter([1.0])})
    assert list(by_name.state_dict()) == ["w", "v"]
    assert "(w): Parameter (2,) float32" in repr(by_name)
