"""Cards and pages made from the registry: they say what the code says now, and can be asked for."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import ops
from minidl.__main__ import main
from minidl.cards import Card, kinks_page, pages
from minidl.cards.measured import measured
from minidl.tape import Kink, op, registry

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "ops"))

from card_record import against_pytorch, example_of, run  # noqa: E402 (it lies in tests/ops)
from cases import all_cases  # noqa: E402
from oracle import recorded  # noqa: E402

OURS = sorted(name for name in registry if "." not in name)
CASES = all_cases()


# ---- nothing drifts -----------------------------------------------------------------------------


def test_kinks_page() -> None:
    text = (ROOT / "docs" / "kinks.md").read_text(encoding="utf-8")
    assert text == kinks_page(), "run python -m minidl.cards"


def test_pages_of_cards() -> None:
    written = pages()
    folder = ROOT / "docs" / "cards"
    assert {page.name for page in folder.iterdir()} == written.keys()
    for name, text in written.items():
        assert (folder / name).read_text(encoding="utf-8") == text, "run python -m minidl.cards"


def test_a_changed_kink_or_derivative_changes_the_pages(monkeypatch: Any) -> None:
    before = pages()["activation.md"], kinks_page()
    kinks = (Kink("x = 0", "1", at={"x": 0}, gradient={"x": 1}),)
    monkeypatch.setattr(registry["relu"].facts, "kinks", kinks)
    assert pages()["activation.md"] != before[0]
    assert kinks_page() != before[1]


def test_everything_is_measured() -> None:
    assert sorted(measured()) == OURS, "run python tests/ops/card_record.py"


@pytest.mark.parametrize("name", OURS)
def test_memory_and_cost_are_as_measured(name: str) -> None:
    found = run(name, example_of(name, CASES[name]))
    then = {key: measured()[name][key] for key in found}
    assert found == then, f"run python tests/ops/card_record.py {name}"


@pytest.fixture(scope="module")
def known() -> Any:
    return recorded()


@pytest.mark.parametrize("name", OURS)
def test_the_worst_error_against_pytorch_still_holds(name: str, known: Any) -> None:
    errors = against_pytorch(name, CASES[name], known)
    bounds = measured()[name]["pytorch"]
    assert errors.keys() == bounds.keys()
    for order, error in errors.items():
        assert error <= 10 * float(bounds[order])  # another BLAS, another processor


# ---- what stands on a card ----------------------------------------------------------------------


def test_derivatives_as_they_stand_in_the_code() -> None:
    assert minidl.card("mul").derivatives == [("x", "g * y"), ("y", "g * x")]
    assert minidl.card("relu").derivatives == [("x", "where(out <= 0, 0, g)")]
    assert minidl.card("pow").derivatives == [
        ("x", "_pow_x(g, x, y)"),
        ("y", "_pow_y(g, x, y, out)"),
    ]
    assert minidl.card("floor_divide").derivatives == []
    assert minidl.card("add").functions == []
    (inside,) = minidl.card("clamp").functions
    assert inside.startswith("def _inside(x: Any, min: Any, max: Any) -> Any:\n    if min is None:")
    names = [f.partition("(")[0] for f in minidl.card("silu").functions]
    assert names == ["def _silu_slope"]


def test_joint_derivatives_and_definitions() -> None:
    card = minidl.card("lstm")
    assert card.derivatives[0][0] == "x, h0, c0, w_ih, w_hh, b_ih, b_hh"
    assert "Of higher order: those of its definition" in str(card)


def test_a_card_says_it_all() -> None:
    text = str(minidl.card("conv2d"))
    assert repr(minidl.card("conv2d")) == text
    assert text.startswith(
        "conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, "
        "activation=None, pool=None)"
    )
    assert "those of what it is made of, in the example: conv\n" in text
    # 32 images of 28 x 28, 16 to 32 channels, kernels of 3 x 3
    assert f"{2 * 32 * 32 * 28 * 28 * 16 * 9:,} operations" in text
    assert f"saves {4 * (32 * 16 * 28 * 28 + 32 * 16 * 9):,} bytes, all of it shared" in text
    assert "linear in    x, y" in str(minidl.card("mul"))
    assert "x = y: half to each (kink)" in str(minidl.card("maximum"))
    assert "PyTorch: NaN" in str(minidl.card("kl_div"))
    assert "domain       x > 0" in str(minidl.card("log"))


@pytest.mark.parametrize(
    "asked", ["relu", "F.relu", "minidl.relu", ops.relu, registry["relu"]], ids=str
)
def test_ways_to_ask(asked: Any) -> None:
    card = minidl.card(asked)
    assert isinstance(card, Card)
    assert card.name == "relu"


def test_composites_are_found_by_their_function() -> None:
    assert minidl.card(ops.mse_loss).made_of == ["sub", "mul", "mean"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("conv2", "card: there is no operation 'conv2'; did you mean conv2d or "),
        ("F.rellu", "card: there is no operation 'F.rellu'; did you mean relu"),
        ("xqzw", "card: there is no operation 'xqzw'"),
    ],
)
def test_unknown_names(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=".") as caught:
        minidl.card(name)
    assert str(caught.value).startswith(text)


def test_an_operation_of_ones_own_has_a_card() -> None:
    try:

        @op(x=lambda g, x: g * (3 * x * x), kink=Kink("never", "0", at={"x": 0}, gradient={"x": 0}))
        def cube(x: Any) -> Any:
            """x * x * x."""
            return x * x * x

        card = minidl.card(cube)
        assert card.derivatives == [("x", "g * (3 * x * x)")]
        assert "never: 0 (kink)" in str(card)
        assert card.measured == {}
        assert cube(np.float64(2)) == 8
    finally:
        for name in [n for n in registry if n.endswith("cube")]:
            del registry[name]


# ---- from a shell -------------------------------------------------------------------------------


def test_command(capsys: Any) -> None:
    assert main(["card", "exp", "sqrt"]) == 0
    out = capsys.readouterr().out
    assert out == f"{minidl.card('exp')}\n\n{minidl.card('sqrt')}\n"
    assert main(["card"]) == 2
    assert "usage: python -m minidl card NAME" in capsys.readouterr().err
    assert main(["card", "expp"]) == 2
    assert "did you mean exp" in capsys.readouterr().err


def test_dispatcher(capsys: Any) -> None:
    assert main(["--help"]) == 0
    assert "python -m minidl card" in capsys.readouterr().out
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err
    assert main(["cart"]) == 2
    assert "there is no command 'cart'; did you mean card?" in capsys.readouterr().err


def test_cards_are_read_when_they_are_asked_for() -> None:
    code = "import sys, minidl; print('minidl.cards' in sys.modules, callable(minidl.card))"
    path = f"{ROOT}:{ROOT / 'kernels'}"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.stdout == "False True\n", done.stderr
