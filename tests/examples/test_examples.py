"""Each example runs whole on little data, leaves what it says, and goes on where it was stopped."""

import json
import math
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minidl import FormatError, load, load_model

ROOT = Path(__file__).parents[2]
KEPT = {"seconds", "epochs", "seed", "device", "versions", "command"}
COMMON = {"curves.png", "results.json", "log.jsonl"}


def results(folder="out"):
    return json.loads(Path(folder, "results.json").read_text(encoding="utf-8"))


def log(folder="out"):
    lines = Path(folder, "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def assert_files(names, folder="out"):
    """All are there and none is empty; a picture is not one colour alone."""
    from matplotlib.image import imread

    found = {path.name for path in Path(folder).iterdir()}
    assert names <= found
    for name in names:
        path = Path(folder, name)
        if path.suffix == ".png":
            assert np.ptp(imread(path)[..., :3]) > 0.5
        elif path.is_file():
            assert path.stat().st_size


def last_line(capsys):
    return capsys.readouterr().out.strip().splitlines()[-1]


def test_cnn(example, capsys):
    example("cnn").main(["--epochs", "2", "--out", "out", "--seed", "3"])
    assert_files(COMMON | {"cnn.png", "model", "checkpoint"})
    found, (first, last) = results(), log()
    assert found.keys() >= KEPT
    assert found["seed"] == 3
    assert found["device"] == "cpu"
    assert found["command"] == "python examples/cnn.py --epochs 2 --out out --seed 3"
    assert found["test_accuracy"] == last["val_accuracy"]
    assert found["test_loss"] == last["val_loss"]
    assert found["best_test_accuracy"] == max(first["val_accuracy"], last["val_accuracy"])
    assert last["loss"] < first["loss"]
    assert f"test accuracy {found['test_accuracy']:.2%} after epoch 2" in last_line(capsys)
    scores = load_model("out/model")(load_first_images())
    assert scores.shape == (2, 10)


def load_first_images():
    from minidl import tensor
    from minidl.data import fashion_mnist

    return tensor(fashion_mnist("test")[0][:2, None].astype("float32") / 255)


def test_tuned_recipe_of_cnn(cnn):
    cnn.main(["--recipe", "tuned", "--epochs", "1", "--out", "out", "--quiet"])
    (epoch,) = log()
    assert epoch["steps"] == math.ceil(200 / 64)
    assert epoch["lr"] != pytest.approx(4e-3 / 25)  # where the cycle begins


def test_rnn_on_sequences_of_differing_lengths(example, capsys):
    example("rnn").main(["--epochs", "3", "--out", "out"])
    assert_files(COMMON | {"confusion.png", "checkpoint"})
    found = results()
    assert found.keys() >= KEPT
    assert found["test_utterances"] == 370
    assert found["test_accuracy"] == log()[-1]["val_accuracy"] > 2 / 9
    assert "of 370 utterances after epoch 3" in last_line(capsys)


def spoken_digits(split, *, speaker=None):
    """Tones in place of recordings: the digit is the pitch."""
    count = 40 if split == "train" else 20
    times = [np.arange(2000 + 100 * (i % 5)) / 8000 for i in range(count)]
    signals = [np.sin(2 * np.pi * 300 * (1 + i % 10) * t) for i, t in enumerate(times)]
    return [s.astype("float32") for s in signals], np.arange(count) % 10


def test_rnn_on_spoken_digits(example, monkeypatch):
    rnn = example("rnn")
    monkeypatch.setattr(rnn, "spoken_digits", spoken_digits)
    rnn.main(["--data", "fsdd", "--epochs", "12", "--batch-size", "8", "--out", "out", "--quiet"])
    assert_files(COMMON | {"confusion.png"})
    assert results()["test_accuracy"] > 0.5  # by chance: 0.1


@pytest.mark.parametrize("noise", [[], ["--denoise"]])
def test_autoencoder(example, capsys, noise):
    example("autoencoder").main(["--epochs", "3", "--out", "out", *noise])
    assert_files(COMMON | {"reconstructions.png", "code.png", "model", "checkpoint"})
    found = results()
    assert found.keys() >= KEPT
    assert 0 < found["least_loss"] < found["test_loss"] == log()[-1]["val_loss"]
    assert log()[-1]["loss"] < log()[0]["loss"]
    assert 0.1 < found["neighbour_accuracy_of_pixels"] <= 1
    assert f"test loss {found['test_loss']:.4f}" in last_line(capsys)


def test_autoencoder_judges_copies(example):
    autoencoder = example("autoencoder")
    half = np.full((2, 784), 0.5, "float32")
    assert autoencoder.entropy(half) == pytest.approx(math.log(2))
    assert autoencoder.entropy(np.round(half)) == pytest.approx(0, abs=1e-9)
    known = np.repeat(np.eye(2, 4, dtype="float32"), 6, 0)
    asked = np.array([[0.1, 0.9, 0, 0], [0.8, 0.1, 0, 0]], "float32")
    said = autoencoder.neighbours_say(known, np.repeat([7, 4], 6), asked)
    assert said.tolist() == [4, 7]


def test_keras_scripts(example, capsys):
    scripts = example("keras_scripts")
    scripts.main(["--epochs", "1", "--out", "out"])
    assert_files({"keras_scripts.png", "results.json", "log.jsonl", "checkpoint"})
    found = results()
    assert found.keys() >= KEPT
    parameters = {name: figures["parameters"] for name, figures in found["scripts"].items()}
    assert parameters == {"cnn": 225_034, "rnn": 370_890, "autoencoder": 105_360}
    assert [(line["script"], line["epoch"]) for line in log()] == [(name, 1) for name in parameters]
    assert "test_accuracy" not in found["scripts"]["autoencoder"]
    assert "cnn: test accuracy" in last_line(capsys)

    # An ended script is not run again, and one of other options is not taken for it.
    ran = []
    scripts.run_script = lambda name, options: ran.append(name) or pytest.fail("run again")
    scripts.main(["--epochs", "1", "--out", "out", "--resume"])
    assert results()["scripts"] == found["scripts"]
    with pytest.raises(pytest.fail.Exception):
        scripts.main(["--epochs", "1", "--seed", "1", "--out", "out", "--resume"])
    assert ran == ["cnn"]


def test_keras_scripts_are_word_for_word(example):
    seed = runpy.run_path(str(ROOT / "tests" / "keras" / "seed_scripts.py"))
    scripts = example("keras_scripts").SCRIPTS
    assert scripts == seed["SCRIPTS"]
    assert all(example("keras_scripts").WRITTEN in script for script in scripts.values())


# ---- the options that all share -----------------------------------------------------------------


@pytest.fixture
def cnn(example, monkeypatch):
    """The example without its pictures, which take longer than its training here."""
    module = example("cnn")
    monkeypatch.setattr(module, "picture", lambda *_: None)
    monkeypatch.setattr(example("_common"), "curves", lambda *_: None)
    return module


def figures(folder):
    found = results(folder)
    return {name: value for name, value in found.items() if name not in ("seconds", "command")}


def test_a_resumed_run_ends_as_an_undisturbed_one(cnn):
    cnn.main(["--epochs", "2", "--out", "whole", "--resume", "--quiet"])  # nothing there: afresh
    cnn.main(["--epochs", "1", "--out", "parts", "--quiet"])
    cnn.main(["--epochs", "2", "--out", "parts", "--resume", "--quiet"])
    assert figures("parts") == figures("whole")
    assert log("parts") == log("whole")
    (first,), (second,) = (list(Path(f, "model").glob("*.safetensors")) for f in ("parts", "whole"))
    for x, y in zip(load(first).values(), load(second).values(), strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())


def test_a_checkpoint_of_other_options_is_refused_and_nothing_is_lost(cnn):
    cnn.main(["--epochs", "1", "--out", "out", "--quiet"])
    before = results(), log()
    with pytest.raises(FormatError, match="a run with seed 0"):
        cnn.main(["--epochs", "2", "--out", "out", "--seed", "1", "--resume", "--quiet"])
    assert (results(), log()) == before


def test_a_run_that_began_leaves_no_figures_of_the_one_before(cnn, monkeypatch):
    cnn.main(["--epochs", "1", "--out", "out", "--quiet"])

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cnn, "picture", stopped)
    with pytest.raises(KeyboardInterrupt):
        cnn.main(["--epochs", "1", "--out", "out", "--seed", "1", "--quiet"])
    assert not Path("out", "results.json").exists()


def test_a_folder_that_cannot_be_made_is_named(cnn):
    Path("file").write_text("")
    with pytest.raises(OSError, match="--out: cannot write file: File exists; .*choose another"):
        cnn.main(["--out", "file"])
    assert Path("file").is_file()


def test_checkpoint_folder_of_ones_own(cnn):
    cnn.main(["--epochs", "1", "--out", "out", "--checkpoint", "kept", "--quiet"])
    assert list(Path("kept").glob("checkpoint-*"))
    assert not Path("out", "checkpoint").exists()


def test_quiet_prints_the_last_line_alone(cnn, example, capsys):
    cnn.main(["--epochs", "1", "--out", "out", "--quiet"])
    example("keras_scripts").main(["--epochs", "1", "--out", "out", "--only", "rnn", "--quiet"])
    out, error = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert not error


@pytest.mark.parametrize("name", ["cnn", "rnn", "autoencoder", "keras_scripts"])
def test_options(example, capsys, name):
    with pytest.raises(SystemExit) as end:
        example(name).main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for option in ("device", "data", "epochs", "batch-size", "seed", "out", "checkpoint", "resume"):
        assert f"--{option}" in text
    assert "--quiet" in text
    assert "--full" in text
    assert f"out/{name}" in text


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("cnn", ["--epochs", "0"], "must be at least 1"),
        ("rnn", ["--data", "vowels", "--speaker", "theo"], "add --data fsdd"),
        ("autoencoder", ["--denoise", "-1"], "must be 0 or more"),
    ],
)
def test_bad_options(example, capsys, name, words, said):
    with pytest.raises(SystemExit) as end:
        example(name).main(words)
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_an_error_that_the_user_can_mend_is_one_line(example):
    common = example("_common")

    def missing():
        raise FileNotFoundError("the data are nowhere; put them there")

    with pytest.raises(SystemExit, match="^error: the data are nowhere; put them there$"):
        common.run(missing)


def test_a_script_runs_by_itself(tmp_path):
    """As a user types it; --help needs neither data nor time."""
    command = [sys.executable, str(ROOT / "examples" / "rnn.py"), "--help"]
    path = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels")])}
    done = subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "who is speaking" in done.stdout
