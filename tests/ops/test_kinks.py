"""The kink table: what the registry declares is what we do and what PyTorch does, and is complete.

A kink that nobody declared is found by the hunt of `kink_hunt.py`, as far as a program can.
"""

import importlib.util
from typing import Any

import numpy as np
import pytest
from cases import Case, G, all_cases
from kink_hunt import hunted, kinds_of, names_of
from kinks import KINKS, arguments, first, function, ours, recorded, theirs

import minidl
from minidl import ops
from minidl.tape import Composite, Jump, Kink, Steep, composite, op, registry

CASES = all_cases()
LIVE = importlib.util.find_spec("torch") is not None
DECLARED = [pytest.param(name, kink, id=key) for key, (name, kink) in KINKS.items()]

# Smooth, but with slopes up to 1 / eps near 0, which the hunt's steps cannot tell from jumps.
STEEP = {("cosine_similarity", "x1"), ("cosine_similarity", "x2"), ("normalize", "x")} | {
    ("rms_norm", "x")
}
# A target that is 1 or -1: a label, though a float and though there is a derivative by it.
LABELS = {("cosine_embedding_loss", "target"), ("hinge_embedding_loss", "target")}


def same(got: Any, want: Any) -> None:
    """None stands for zeros. To 1e-8, for PyTorch has the 1e12 of cross-entropy in float32."""
    got, want = [0.0 if v is None else v for v in (got, want)]
    np.testing.assert_allclose(got, np.broadcast_to(want, np.shape(got)), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(("name", "kink"), DECLARED)
def test_the_gradient_is_the_declared_one(name: str, kink: Kink) -> None:
    got = ours(name, kink)
    for argument, want in kink.gradient.items():
        same(got[argument], np.array(want, "float64"))


@pytest.mark.parametrize(("name", "kink"), [p for p in DECLARED if not p.values[1].pytorch])
def test_the_gradient_is_pytorchs(name: str, kink: Kink) -> None:
    want = theirs(name, kink) if LIVE else recorded()[f"{name}: {kink.where}"]
    got = ours(name, kink)
    for argument in kink.gradient:
        same(got[argument], want[argument])


def test_where_it_is_not_pytorchs() -> None:
    assert {key for key, (_, kink) in KINKS.items() if kink.pytorch} == {
        "kl_div: target = 0",
        "median: along dim, ties",
        "topk: ties at the border",
    }


def test_every_kink_is_recorded() -> None:
    assert recorded().keys() == KINKS.keys(), "run tests/ops/kinks.py"


@pytest.mark.skipif(not LIVE, reason="PyTorch is not installed")
def test_the_record_is_pytorchs() -> None:
    for key, values in recorded().items():
        if KINKS[key][1].pytorch:
            continue  # which of the ties PyTorch takes may be another on another processor
        for argument, value in theirs(*KINKS[key]).items():
            same(value, values[argument])


# ---- a kink is one, and what is chosen there is no arbitrary number -----------------------------


def along_a_direction(name: str, kink: Kink, seed: int) -> tuple[Any, dict[str, Any]]:
    """<g, output> as a function of the way along a direction, and the direction."""
    rng = np.random.default_rng(seed)
    direction = {
        n: rng.uniform(0.5, 1, np.shape(kink.at[n])) * rng.choice([-1.0, 1.0], np.shape(kink.at[n]))
        for n in kink.gradient
    }
    if seed % 2:  # one argument by itself
        alone = list(direction)[seed // 2 % len(direction)]
        direction = {n: d if n == alone else 0 * d for n, d in direction.items()}

    def values(h: float) -> Any:
        call, tracked = arguments(kink, lambda a, _: minidl.tensor(a))
        moved = {n: t + h * direction[n] for n, t in tracked.items()}
        try:
            out = first(function(name)(**{**call, **moved})).data
        except ValueError:  # outside its domain
            return None
        return np.atleast_1d(np.sum(out * (1.0 if kink.g is None else np.array(kink.g))))

    return values, direction


# Where min = max the bounds lose the gradient, in PyTorch too, though the output moves with them.
OF_NEITHER_SIDE = {"clamp: min = max > x"}
# t log t grows by a logarithm, more slowly than the hunt can tell; log x, held at -100, is within a
# part of 1e-43 of a jump.
SEEN_AS = {"kl_div": "kink", "bernoulli_nll": "jump", "binary_cross_entropy": "jump"}


@pytest.mark.parametrize(("name", "kink"), DECLARED)
def test_it_is_a_kink_of_its_kind(name: str, kink: Kink) -> None:
    found = set()
    for seed in range(8):
        values, _ = along_a_direction(name, kink, seed)
        found |= kinds_of(values, [4.0])
    assert SEEN_AS.get(name, kink.kind) in found


@pytest.mark.parametrize(
    ("name", "kink"),
    [
        p
        for p in DECLARED
        if not isinstance(p.values[1], (Jump, Steep)) and p.id not in OF_NEITHER_SIDE
    ],
)
def test_it_lies_between_the_slopes_of_the_two_sides(name: str, kink: Kink) -> None:
    h = 2.0**-26
    for seed in range(8):
        values, direction = along_a_direction(name, kink, seed)
        along = sum(float(np.sum(np.array(kink.gradient[n]) * d)) for n, d in direction.items())
        slopes = [(values(s * h) - values(0.0)).item() / (s * h) for s in (1, -1)]
        assert min(slopes) - 1e-6 <= along <= max(slopes) + 1e-6


# ---- no op has a kink that it does not declare --------------------------------------------------


def undeclared(name: str, call: Any, thing: Any, cases: list[Case]) -> dict[str, set[str]]:
    """By argument the kinds of kinks that the hunt finds and the registry does not declare."""
    body = thing.function.__wrapped__ if isinstance(thing, Composite) else thing.forward
    code = body.__code__
    positional = list(code.co_varnames[: code.co_argcount])
    if code.co_flags & 0x04:
        positional.append(code.co_varnames[code.co_argcount + code.co_kwonlyargcount])
    found: dict[str, set[str]] = {}
    for case in cases:
        for argument, kinds in hunted(call, names_of(positional, case), case).items():
            argument = "other" if argument == "dim" else argument  # max(x, other)
            declared = {k.kind for k in thing.facts.kinks if argument in k.gradient}
            missing = kinds - declared - ({"kink"} if declared else set())
            if missing and (name, argument) not in STEEP | LABELS:
                found.setdefault(argument, set()).update(missing)
    return found


@pytest.mark.parametrize("name", sorted(CASES.keys() & registry.keys()))
def test_every_kink_is_declared(name: str) -> None:
    assert undeclared(name, function(name), registry[name], CASES[name]) == {}


@pytest.fixture
def visitor() -> Any:
    """Operations that a test adds to the registry, which are taken out again."""
    before = set(registry)
    yield
    for name in set(registry) - before:
        del registry[name]


@pytest.mark.parametrize(
    ("body", "want"),
    [
        (lambda x, xp: xp.maximum(x, 1.0), {"x": {"kink"}}),
        (lambda x, xp: xp.floor(x), {"x": {"jump"}}),
        (lambda x, xp: xp.sqrt(x), {"x": {"infinite slope"}}),
        (lambda x, xp: 1 / x, {"x": {"infinite slope"}}),
        (lambda x, xp: xp.exp(x) * x, {}),
        (lambda x, xp: x**3 - 100 * x, {}),
    ],
    ids=["kink", "jump", "steep", "pole", "smooth", "cubic"],
)
@pytest.mark.usefixtures("visitor")
def test_the_hunt_finds_what_is_not_declared(body: Any, want: Any) -> None:
    @op(x=lambda g: g, quiet=True)
    def suspect(x: Any) -> Any:
        return body(x, np)

    case = Case(G(np.array([0.25, 0.75, 2.25])))
    assert undeclared("suspect", suspect, suspect, [case]) == want


@pytest.mark.usefixtures("visitor")
def test_a_kink_is_declared_with_an_example() -> None:
    with pytest.raises(TypeError, match="expected a Kink"):
        op(kink="0 at 0")(lambda x: x)
    with pytest.raises(TypeError, match="expected a Kink"):
        composite(kink=["0 at 0"])(lambda x: x)
    with pytest.raises(ValueError, match=r"gradient names \['y'\]"):
        Kink("x = 0", "0", at={"x": 0}, gradient={"y": 0})


def test_registry_holds_kinks() -> None:
    assert [k.where for k in ops.registry["relu"].facts.kinks] == ["x = 0"]
    assert registry["exp"].facts.kinks == ()
