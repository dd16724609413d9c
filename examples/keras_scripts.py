"""Three Keras scripts run on minidl, unchanged but for their imports, on real data.

    python examples/keras_scripts.py             on what comes with the package
    python examples/keras_scripts.py --full      on all of Fashion-MNIST, and on spoken digits
    python examples/keras_scripts.py --only rnn --data fsdd

They are the scripts of the document that minidl began with: a convolutional network, a recurrent
one of three LSTMs over ten steps of 64 numbers, and an autoencoder. What they call X_train and
y_train is given to them. The recurrent network reads an image from top to bottom, the middle 640 of
its 784 pixels as ten strips of 64; with `--data fsdd` it hears spoken digits, ten frames of 64
log-mel bands. The autoencoder's "accuracy" is what Keras makes of the word for 784 outputs, the
share of images whose brightest pixel comes out brightest: it says little, the loss is its figure.

Writes DIR/keras_scripts.png, the loss as it falls, and what `_common.py` says. A Keras script keeps
no checkpoint of its own: `--resume` goes on with the first script that has not ended.
"""

import argparse
import contextlib
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

import minidl
from minidl.data import SPOKEN_DIGITS_RATE, fashion_mnist, log_mel, pooled_frames, spoken_digits

SCRIPTS = {
    "cnn": """\
import tensorflow as tf
from tensorflow.keras.models import Sequential
from tensorflow.keras.layers import Conv2D, MaxPooling2D, Flatten, Dense

# 创建卷积神经网络模型
model = Sequential()
model.add(Conv2D(32, (3, 3), activation='relu', input_shape=(28, 28, 1)))
model.add(MaxPooling2D((2, 2)))
model.add(Conv2D(64, (3, 3), activation='relu'))
model.add(MaxPooling2D((2, 2)))
model.add(Flatten())
model.add(Dense(128, activation='relu'))
model.add(Dense(10, activation='softmax'))

# 编译模型
model.compile(optimizer='adam', loss='sparse_categorical_crossentropy', metrics=['accuracy'])

# 训练模型
model.fit(X_train, y_train, epochs=10, batch_size=32)
""",
    "rnn": """\
import tensorflow as tf
from tensorflow.keras.models import Sequential
from tensorflow.keras.layers import LSTM, Dense

# 创建递归神经网络模型
model = Sequential()
model.add(LSTM(128, input_shape=(10, 64), return_sequences=True))
model.add(LSTM(128, return_sequences=True))
model.add(LSTM(128))
model.add(Dense(64, activation='relu'))
model.add(Dense(10, activation='softmax'))

# 编译模型
model.compile(optimizer='adam', loss='sparse_categorical_crossentropy', metrics=['accuracy'])

# 训练模型
model.fit(X_train, y_train, epochs=10, batch_size=32)
""",
    "autoencoder": """\
import tensorflow as tf
from tensorflow.keras.models import Sequential
from tensorflow.keras.layers import Dense

# 创建自编码器模型
model = Sequential()
model.add(Dense(64, input_shape=(784,), activation='relu'))
model.add(Dense(64, activation='relu'))
model.add(Dense(784, activation='sigmoid'))

# 编译模型
model.compile(optimizer='adam', loss='binary_crossentropy', metrics=['accuracy'])

# 训练模型
model.fit(X_train, X_train, epochs=10, batch_size=32)
""",
}
WRITTEN = "epochs=10, batch_size=32"  # what all three say

Data = tuple[np.ndarray, np.ndarray]


def images(split: str, full: bool) -> Data:
    """Images (N, 28, 28) float32 from 0 to 1, and labels (N,)."""
    x, y = fashion_mnist(split, full=full)
    return x.astype("float32") / 255, y


def spoken(split: str) -> Data:
    """Spoken digits as (N, 10, 64) float32, scaled by the training frames, and labels (N,)."""

    def frames(part: str) -> Data:
        signals, y = spoken_digits(part)
        return np.stack([pooled_frames(log_mel(s, SPOKEN_DIGITS_RATE)) for s in signals]), y

    x, y = known = frames("train")
    mean, std = x.mean((0, 1)), x.std((0, 1))
    if split == "test":
        x, y = frames("test")
    return (x - mean) / std, known[1] if split == "train" else y


def load(name: str, split: str, options: argparse.Namespace) -> Data:
    """What a script of this name learns from or is tested on, in the shape that it wants."""
    if name == "rnn" and options.data == "fsdd":
        return spoken(split)
    x, y = images(split, options.full)
    if name == "cnn":
        return x[..., None], y
    flat = x.reshape(-1, 784)
    if name == "rnn":
        return flat[:, 72:712].reshape(-1, 10, 64), y
    return flat, flat


def run_script(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run a script, judge its model by the test set, and return its figures and epochs."""
    script = SCRIPTS[name].replace("tensorflow", "minidl")
    asked = f"epochs={options.epochs}, batch_size={options.batch_size}"
    x, y = load(name, "train", options)
    names: dict[str, Any] = {"X_train": x, "y_train": y}
    minidl.manual_seed(options.seed)
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        stack.enter_context(minidl.device(options.device))
        if options.quiet:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        exec(compile(script.replace(WRITTEN, asked), f"<the {name} script>", "exec"), names)
    seconds = time.monotonic() - begun
    model, (x, y) = names["model"], load(name, "test", options)
    judged = model.evaluate(x, y, verbose=0, return_dict=True)
    figures = {"parameters": model.count_params(), "test_loss": judged["loss"]}
    if name != "autoencoder":
        figures["test_accuracy"] = judged["accuracy"]
    figures["seconds"] = round(seconds, 1)
    table = model.history.history
    epochs = [
        {"script": name, "epoch": i + 1} | {key: values[i] for key, values in table.items()}
        for i in range(options.epochs)
    ]
    return {"figures": figures, "epochs": epochs}


def reached(name: str, figures: dict[str, Any]) -> str:
    """A script's figures in words."""
    accuracy = figures.get("test_accuracy")
    shown = f"test loss {figures['test_loss']:.4f}"
    return f"{name}: " + (shown if accuracy is None else f"test accuracy {accuracy:.2%}, {shown}")


def picture(done: dict[str, Any], path: Path) -> None:
    """Draw each script's loss, epoch by epoch, and that of the test set at the end."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(4.6 * len(done), 3.6), layout="constrained")
    axes = figure.subplots(1, len(done), squeeze=False)[0]
    for axis, (name, found) in zip(axes, done.items(), strict=True):
        epochs = [logs["epoch"] for logs in found["epochs"]]
        losses = [logs["loss"] for logs in found["epochs"]]
        axis.plot(epochs, losses, marker=".", color="tab:blue", label="training loss")
        test = found["figures"]["test_loss"]
        axis.plot(epochs[-1:], [test], "o", color="tab:orange", label="test loss, at the end")
        axis.set_title(reached(name, found["figures"]), size=10)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=120)


def kept(path: Path, run: dict[str, Any], resume: bool) -> dict[str, Any] | None:
    """What a script of this run has left, if it has ended; --resume asks for it."""
    if not resume or not path.exists():
        return None
    saved = json.loads(path.read_text(encoding="utf-8"))
    return saved["found"] if saved["run"] == run else None


def main(argv: Sequence[str] | None = None) -> None:
    """Read the options, run the scripts, and leave picture and figures in the folder."""
    parser = common.make_parser("keras_scripts", __doc__, ["strips", "fsdd"])
    parser.add_argument("--only", choices=SCRIPTS, help="one of the three scripts")
    options = common.begin(parser, argv)
    options.data = options.data or ("fsdd" if options.full else "strips")
    options.epochs, options.batch_size = options.epochs or 10, options.batch_size or 32
    options.checkpoint.mkdir(parents=True, exist_ok=True)
    same = ("data", "full", "epochs", "batch_size", "seed", "device")
    run = {name: getattr(options, name) for name in same}

    common.forget(options.out)
    done: dict[str, Any] = {}
    for name in [options.only] if options.only else SCRIPTS:
        path = options.checkpoint / f"{name}.json"
        found = kept(path, run, options.resume)
        if found is None:
            common.say(options, f"{name}:")
            found = run_script(name, options)
            common.write(path, json.dumps({"run": run, "found": found}))
        done[name] = found
        shown = found["figures"]
        common.say(options, f"{reached(name, shown)}; {shown['parameters']:,} parameters")
    lines = [json.dumps(logs) + "\n" for found in done.values() for logs in found["epochs"]]
    common.write(options.out / "log.jsonl", "".join(lines))
    picture(done, options.out / "keras_scripts.png")
    scripts = {name: found["figures"] for name, found in done.items()}
    seconds = sum(figures["seconds"] for figures in scripts.values())
    common.leave(options, {"scripts": scripts}, seconds)
    print(
        "; ".join(reached(name, figures) for name, figures in scripts.items())
        + f"; {seconds:.0f} s; picture: {options.out / 'keras_scripts.png'}"
    )


if __name__ == "__main__":
    common.run(main)
