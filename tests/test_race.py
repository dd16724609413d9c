"""Races: all ways agree, a wrong one is caught and named, and what is written is what was found."""

import importlib
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.__main__ import main
from minidl.race import (
    Contender,
    Disagreement,
    Machine,
    Problem,
    Race,
    Time,
    contest,
    entrants,
    machine,
    race,
    report,
)
from minidl.race.operations import OPERATIONS
from minidl_kernels import KERNELS
from minidl_kernels.generic import products

MACHINE = Machine("a processor", 1, 100e9, 20e9)
SMALL = {
    "conv2d": ["--shape", "1,4,9,9", "--weight", "4,2,3,3", "--padding", "1", "--groups", "2"],
    "conv_pool": ["--shape", "1,8,9,9", "--weight", "16,8,3,3", "--padding", "1"],
    "matmul": ["--shape", "7,20,9"],
    "lstm": ["--shape", "3,2,4,5"],
    "max_pool": ["--shape", "1,2,7,7", "--size", "3", "--stride", "2", "--padding", "1"],
    "softmax_cross_entropy": ["--shape", "5,7"],
    "layer_norm": ["--shape", "5,11"],
    "adam": ["--shape", "50"],
    "index_add": ["--shape", "30,3,7"],
    "philox": ["--shape", "41"],
}  # fmt: skip


def sums(run: Any, **options: Any) -> Contender:
    return Contender("mine", "in some way", run, **options)


def problem(n: int = 3) -> Problem:
    x = np.arange(1.0, n + 1)
    return Problem("doubling", (x,), n, 16 * n, (2 * x,), (np.abs(x),))


# ---- the commands -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_races(name: str, tmp_path: Path, capsys: Any) -> None:
    before, file = minidl.get_num_threads(), tmp_path / "found.json"
    args = [*SMALL[name], "--pass", "all", "--rounds", "1", "--threads", "1", "--json", str(file)]
    assert main(["race", name, *args]) == 0
    said, found = capsys.readouterr().out, json.loads(file.read_text())
    assert minidl.get_num_threads() == before
    assert found["machine"]["threads"] == 1
    assert found["machine"]["peak"] > found["machine"]["bandwidth"] / 4 > 0
    assert len(found["races"]) == len(importlib.import_module(OPERATIONS[name].__module__).PASSES)
    for one in found["races"]:
        assert one["what"] in said
        names = [c["name"] for c in one["contenders"]]
        assert names[0] == "loops"
        assert len(names) == len(set(names)) > 1
        for c in one["contenders"]:
            assert c["name"] in said
            assert 0 <= c["share_of_bound"] <= 1
            assert c["error"] >= 0
            low, high = c["quartiles"]
            assert 0 < low <= c["seconds"] <= high
            assert c["flops_per_second"] == pytest.approx(one["flops"] / c["seconds"])
            assert c["flops_per_byte"] == pytest.approx(one["flops"] / c["bytes"])
            assert c["bytes"] >= one["bytes"]
            assert c["share_of_peak"] == pytest.approx(
                c["flops_per_second"] / found["machine"]["peak"]
            )


def test_every_algorithm_of_a_convolution_races() -> None:
    (found,) = OPERATIONS["conv2d"](shape=(1, 8, 8, 8), weight=(16, 8, 3, 3))
    names = {c.name for c in found.contenders}
    assert {"loops", "im2col", "direct", "winograd"} <= names
    (found,) = OPERATIONS["conv2d"](shape=(1, 4, 8, 8), weight=(4, 1, 3, 3), groups=4)
    names = {c.name for c in found.contenders}
    assert {"im2col", "depthwise"} <= names
    assert any("winograd: not for this shape" in text for text in found.remarks)


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (1, 1, 40, 41), "weight": (1, 1, 3, 3)},
        {"shape": (1, 2, 11, 9), "weight": (3, 2, 3, 3), "padding": 3},  # outputs of padding alone
        {"shape": (2, 9, 6, 10), "weight": (17, 9, 3, 3), "padding": (0, 2)},
        {"shape": (2, 4, 11, 12), "weight": (6, 2, 2, 4), "groups": 2, "stride": (1, 3)},
        {"shape": (1, 3, 9, 9), "weight": (5, 3, 2, 2), "dilation": (3, 1), "padding": 1},
    ],
)
def test_convolutions_of_all_kinds_agree(options: dict[str, Any]) -> None:
    for found in OPERATIONS["conv2d"](**options, passes=("forward", "input", "weight")):
        contest.agree(found)


def test_loops_take_a_small_part_and_say_so(capsys: Any) -> None:
    (found,) = OPERATIONS["conv2d"](shape=(2, 32, 30, 30), padding=1, stride=(1, 2))
    (loops,) = [c for c in found.contenders if c.name == "loops"]
    assert loops.problem is not None
    assert loops.problem.flops < found.problem.flops / 20
    found.contenders = [c for c in found.contenders if c.name in ("loops", "im2col")]
    times = race(found, rounds=1)
    assert times[0].part == loops.problem.flops / found.problem.flops
    assert times[0].seconds > 10 * times[1].seconds
    report.show("a title", times, MACHINE)
    said = capsys.readouterr().out
    assert f"~ loops: timed on {loops.problem.what}" in said
    assert "extrapolated" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: operation"),
        (["conv2f"], "did you mean conv2d?"),
        (["conv2d", "--shape", "8,x"], "not a list of whole numbers"),
        (["conv2d", "--shape", "8,4"], "race conv2d: shape is (8, 4), expected N,C,H,W"),
        (["conv2d", "--shape", "1,4,8,8", "--weight", "8,3,3,3"], "expected (O, 4, KH, KW)"),
        (["conv2d", "--shape", "1,4,8,8", "--groups", "3"], "do not divide into 3 groups"),
        (["conv2d", "--shape", "1,4,2,2"], "every size must be 1 at least"),
        (["conv2d", "--shape", "1,4,8,8", "--stride", "0"], "stride is 0"),
        (["conv2d", "--groups", "2,2"], "--groups is (2, 2), expected one number"),
        (["conv2d", "--pass", "back"], "--pass is 'back', expected forward, input, weight or all"),
        (["conv_pool", "--shape", "1,4,5,5", "--size", "4"], "do not fit in (3, 3)"),
        (["matmul", "--stride", "2"], "takes no --stride, only --shape"),
        (["matmul", "--shape", "2,0,2"], "each 1 at least"),
        (["matmul", "--rounds", "0"], "--rounds is 0"),
        (["matmul", "--threads", "0"], "set_num_threads: n is 0"),
        (["max_pool", "--shape", "1,1,2,2", "--size", "3"], "does not fit"),
        (["max_pool", "--size", "2", "--padding", "2"], "padding of half a window"),
        (["lstm", "--shape", "3"], "expected T,B,I,H"),
        (["softmax_cross_entropy", "--shape", "3"], "expected N,C"),
        (["layer_norm", "--shape", "3"], "expected N,D"),
        (["adam", "--shape", "0"], "expected P"),
        (["index_add", "--shape", "0,1,1"], "expected L,D,N"),
        (["philox", "--shape", "1,1"], "expected a number of words"),
    ],
)
def test_bad_questions(arguments: list[str], said: str, capsys: Any) -> None:
    assert main(["race", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_place_that_cannot_be_written_to(tmp_path: Path, capsys: Any) -> None:
    place = str(tmp_path / "no" / "found.json")
    assert main(["race", "philox", "--shape", "8", "--rounds", "1", "--json", place]) == 2
    assert "race --json: cannot write" in capsys.readouterr().err


def test_every_kernel_has_a_page_and_every_page_stands_in_the_index() -> None:
    folder = Path(__file__).parents[1] / "docs" / "kernels"
    pages = {page.name: page.read_text(encoding="utf-8") for page in folder.glob("*.md")}
    index = pages.pop("README.md")
    assert not [name for name in pages if f"({name})" not in index]
    told = "".join(pages.values())
    assert not [name for name in set(KERNELS.values()) if f"/{name}.py)" not in told]


# ---- who is wrong -------------------------------------------------------------------------------


def test_a_kernel_that_is_wrong_is_named_and_nothing_is_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    right = products.matmul

    def matmul(a: Any, b: Any) -> Any:
        c = right(a, b)
        c[3, 2] += 1e-3
        return c

    monkeypatch.setattr(products, "matmul", matmul)
    assert main(["race", "matmul", "--shape", "7,20,9", "--rounds", "1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "generic: result 0 at (3, 2) is" in err
    assert "times what its bound allows" in err
    assert "within their bounds: loops, cpu" in err


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (np.array([2.0, np.nan, 6.0]), "at (1) is nan, expected 4"),
        (np.array([2.0, 4.0, np.inf]), "at (2) is inf, expected 6"),
        (np.array([2.0, 4.0]), "its shape is (2,), expected (3,)"),
        (np.array([2.0, 4.0, 6.0 + 1e-12], "f8"), "at (2) is 6, expected 6; an error of 375"),
    ],
)
def test_a_planted_contender_is_caught(result: Any, said: str) -> None:
    fine = Contender("right", "", lambda: np.array([2.0, 4.0, 6.0]))
    with pytest.raises(Disagreement, match="mine") as caught:
        race(Race(problem(), [fine, sums(lambda: result)]), rounds=1)
    assert said in str(caught.value)
    assert "within their bounds: right" in str(caught.value)


def test_a_missing_result_is_caught() -> None:
    with pytest.raises(Disagreement, match="0 results, expected 1"):
        race(Race(problem(), [sums(lambda: 0, read=lambda result: ())]), rounds=1)


@given(st.lists(st.floats(-8, 8), min_size=1, max_size=5))
def test_errors_are_counted_in_units_of_the_scale(wrong: list[float]) -> None:
    n = len(wrong)
    scale = np.arange(1.0, n + 1)
    given_ = Problem("", (), 1, 1, (np.zeros(n),), (scale,))
    got = np.array(wrong) * scale * np.finfo(np.float64).eps
    found = contest.errors(given_, [got], 4)
    assert found.size == pytest.approx(max(abs(w) for w in wrong))
    assert found.share == pytest.approx(found.size / 4)
    found = contest.errors(given_, [got], 4, (2 * scale,))
    assert found.share == pytest.approx(found.size / 8)


def test_equal_infinities_and_a_scale_of_zero() -> None:
    exact = np.array([np.inf, 0.0, np.nan])
    given_ = Problem("", (), 1, 1, (exact,), (np.zeros(3),))
    assert contest.errors(given_, [exact.copy()]).share == 0
    assert contest.errors(given_, [np.array([np.inf, 1e-300, np.nan])]).share == np.inf
    assert contest.errors(given_, [exact.copy()], 0).share == 0


# ---- timing -------------------------------------------------------------------------------------


class Clock:
    """Time that passes only when a contender runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def takes(self, *seconds: float) -> Any:
        turns = iter(range(10**9))

        def run() -> Any:
            self.now += seconds[next(turns) % len(seconds)]
            return 2 * np.arange(1.0, 4)

        return run


def test_medians_quartiles_and_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "SETTLE", 0)
    clock = Clock()
    slow, quick = sums(clock.takes(0.06)), Contender("quick", "", clock.takes(0.003))
    times = {t.name: t for t in race(Race(problem(), [slow, quick]), rounds=5, clock=clock)}
    assert times["mine"].seconds == pytest.approx(0.06)
    assert times["quick"].seconds == pytest.approx(0.003)
    assert times["quick"].samples == times["mine"].samples == 5
    assert times["quick"].rate == pytest.approx(3 / 0.003)


def test_short_calls_are_repeated_and_long_ones_get_fewer_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contest, "SETTLE", 0)
    clock = Clock()
    calls = {"short": 0, "long": 0}

    def run(name: str, seconds: float) -> Any:
        calls[name] += 1
        clock.now += seconds
        return 2 * np.arange(1.0, 4)

    short = Contender("short", "", lambda: run("short", 1e-5))
    long = Contender("long", "", lambda: run("long", 5.0))
    times = race(Race(problem(), [short, long]), rounds=4, seconds=2.0, clock=clock)
    assert calls["long"] == 2  # compared once, timed once
    assert calls["short"] > 4 * contest.SAMPLE / 1e-5
    assert [t.samples for t in times] == [4, 1]
    assert [t.seconds for t in times] == pytest.approx([1e-5, 5.0])


def test_a_part_is_extrapolated() -> None:
    clock = Clock()
    part = problem()
    whole = problem(30)._replace(flops=12)
    ways = [sums(clock.takes(0.5), problem=part), Contender("all", "", lambda: whole.exact[0])]
    found, _ = race(Race(whole, ways), rounds=1, clock=clock)
    assert found.part == 0.25
    assert found.seconds == pytest.approx(2.0)


SIZES = {
    "conv2d": (1, 3, 12, 12), "conv_pool": (1, 3, 12, 12), "matmul": (7, 300, 9),
    "lstm": (3, 2, 4, 5), "max_pool": (1, 2, 6, 6),
    "softmax_cross_entropy": (5, 7), "layer_norm": (5, 11), "adam": (50,), "index_add": (30, 3, 7),
    "philox": (41,),
}  # fmt: skip


def test_a_device_takes_part_and_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for CuPy as the device: the race is the one that a GPU would run."""
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        device = importlib.import_module("standin")
    finally:
        sys.path.pop(0)
    waits = []
    stream = SimpleNamespace(synchronize=lambda: waits.append(1))
    cupy = SimpleNamespace(
        asarray=device.asarray,
        asnumpy=device.asnumpy,
        cuda=SimpleNamespace(get_current_stream=lambda: stream),
    )
    monkeypatch.setattr(entrants, "cupy", lambda: cupy)
    (found,) = OPERATIONS["matmul"](shape=(3, 4, 5))
    found.contenders = [c for c in found.contenders if c.name in ("generic", "cuda")]
    assert {t.name: t.here for t in race(found, rounds=2)} == {"generic": True, "cuda": False}
    assert len(waits) > 2
    for name, function in OPERATIONS.items():
        passes = importlib.import_module(function.__module__).PASSES
        for found in function(shape=SIZES[name], passes=passes):
            found.contenders = [c for c in found.contenders if c.name == "cuda"]
            assert len(found.contenders) == 1
            contest.agree(found)


# ---- what is shown ------------------------------------------------------------------------------

TIMES = [
    Time("loops", "", 100.0, 90.0, 110.0, 1, 0.5, "half", 0.1, 0.1, 1e9, 1e6, True),
    Time("quick", "", 0.02, 0.019, 0.021, 9, 1.0, "", 2.0, 0.5, 1e9, 1e6, True),
    Time("cuda", "", 0.001, 0.001, 0.001, 9, 1.0, "", 2.0, 0.5, 1e9, 1e6, False),
]


def test_the_table_plain_and_on_a_terminal() -> None:
    plain, terminal = io.StringIO(), io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    for file in (plain, terminal):
        report.show("a race", TIMES, MACHINE, ["a remark"], file)
        said = file.getvalue()
        for text in ("a race", "~ 100 s", "20 ms", "50", "50%", "allowed", "a remark", "half"):
            assert text in said
    assert "─" in terminal.getvalue()
    assert "─" not in plain.getvalue()
    lines = plain.getvalue().splitlines()
    (cuda,) = [line for line in lines if line.startswith("cuda")]
    assert cuda.count("%") == 2  # spread and error: no share of a peak that is another processor's


def test_one_is_told_what_lies_above_the_roof(capsys: Any) -> None:
    report.show("", [TIMES[1]._replace(seconds=0.001)], MACHINE)
    assert "over 100 % of the roof" in capsys.readouterr().out
    report.show("", TIMES, MACHINE)
    assert "over 100 % of the roof" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2e-7, "0.2 µs"), (0.0099, "9.9 ms"), (119.0, "119 s"), (121.0, "2.02 min"), (7200.0, "2 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert report.duration(seconds) == text


def test_one_is_told_that_others_use_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (2.9, 0, 0), raising=False)
    assert machine.crowd(2) == ""
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (3.1, 0, 0), raising=False)
    assert "a load of 3.1 on 4 CPUs" in machine.crowd(2)
    assert machine.crowd(1) == ""


def test_the_roof_is_the_lower_of_both_limits() -> None:
    assert MACHINE.roof(1) == 20e9
    assert MACHINE.roof(5) == MACHINE.roof(50) == 100e9


# ---- the picture --------------------------------------------------------------------------------


def test_the_picture_is_written(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "roofline.png"
    args = ["--shape", "7,20,9", "--rounds", "1", "--plot", str(file)]
    assert main(["race", "matmul", *args]) == 0
    assert file.read_bytes().startswith(b"\x89PNG")


def test_the_picture_shows_every_contender_at_its_place(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from minidl.race import picture

    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picture, "write_picture", lambda who, path, figure, dpi: drawn.append(figure))
        picture.draw("x.png", MACHINE, [("one", TIMES), ("two", TIMES[:2])])
    (figure,) = drawn
    first, second = figure.axes
    assert [first.get_title(), second.get_title()] == ["one", "two"]
    roof, *points = first.lines
    assert [tuple(map(float, p.get_xydata()[0])) for p in points] == [(1000, 0.01), (1000, 50)]
    assert roof.get_ydata()[-1] == 100
    said = " ".join(text.get_text() for text in first.texts)
    assert "loops: 0.01 GFLOP/s (extrapolated)" in said
    assert "quick: 50 GFLOP/s" in said


def test_without_matplotlib_one_is_told_before_the_race(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["race", "matmul", "--plot", "x.png"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "race --plot needs Matplotlib: pip install 'minidl[examples]'" in err


def test_without_pytorch_the_others_race(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for function in OPERATIONS.values():
        assert entrants.torch() is None
        assert not any("torch" in c.name for r in function() for c in r.contenders)
