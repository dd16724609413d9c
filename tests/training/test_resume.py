"""A run that was stopped anywhere ends with the same bits as one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import training_run as run
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import nn, optim
from minidl.errors import FormatError
from minidl.training import Callback, Checkpoint, LambdaCallback, Trainer

STEPS = run.EPOCHS * run.BATCHES
HERE = Path(__file__).parent


class Stopped(BaseException):
    """Nothing in minidl expects this: the program ends here."""


def stop_at(step: int) -> Callback:
    def stop(trainer: Trainer, now: int, logs: dict[str, Any]) -> None:
        if now == step:
            raise Stopped

    return LambdaCallback(on_batch_end=stop)


def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    trainer = run.trainer(folder, 1)
    trainer.fit(run.loader(), run.EPOCHS, validation=run.arrays(), verbose=0)
    return run.result(trainer, folder)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return undisturbed(tmp_path_factory)


def test_two_runs_are_the_same(
    expected: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert undisturbed(tmp_path_factory) == expected


@given(
    stops=st.lists(st.integers(1, STEPS), max_size=2),
    every_steps=st.none() | st.integers(2, 5),
    prefetch=st.integers(0, 2),
    other=st.integers(2, 2**32),
)
def test_stopped_at_any_step_and_resumed_the_bits_are_the_same(
    expected: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
    stops: list[int],
    every_steps: int | None,
    prefetch: int,
    other: int,
) -> None:
    folder = tmp_path_factory.mktemp("stopped")
    seed = 1  # only the very first beginning has the seed; the others must not need it
    for step in (*stops, STEPS + 1):
        trainer = run.trainer(folder, seed, stop_at(step), every_steps=every_steps)
        loader = run.loader(prefetch=prefetch)
        try:
            trainer.fit(loader, run.EPOCHS, validation=run.arrays(), resume=True, verbose=0)
        except Stopped:
            if trainer.checkpoint is not None and trainer.checkpoint.latest() is not None:
                seed = other
    assert run.result(trainer, folder) == expected


# ---- kill -9, Ctrl-C ----------------------------------------------------------------------------


def start(folder: Path, seconds: float) -> subprocess.Popen[str]:
    root = HERE.parents[1]
    command = [sys.executable, str(HERE / "training_run.py"), str(folder), str(seconds)]
    paths = [str(root), str(root / "kernels")]
    return subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_the_bits_are_the_same(
    expected: dict[str, Any], tmp_path: Path
) -> None:
    kills = 20 if settings().max_examples >= 1000 else 5
    moments = random.Random(4)
    for _ in range(kills):
        with start(tmp_path, 0.03) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n", process.stderr and process.stderr.read()
            time.sleep(moments.uniform(0.0, 2.0 / kills))
            process.kill()
    with start(tmp_path, 0.0) as process:
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert json.loads((tmp_path / "result.json").read_text()) == json.loads(json.dumps(expected))


def interrupt_at(step: int) -> Callback:
    def interrupt(trainer: Trainer, now: int, logs: dict[str, Any]) -> None:
        if now == step:
            signal.raise_signal(signal.SIGINT)

    return LambdaCallback(on_batch_end=interrupt)


def test_ctrl_c_ends_after_the_batch_with_a_checkpoint_and_a_clear_line(
    expected: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = threading.active_count()
    trainer = run.trainer(tmp_path, 1, interrupt_at(10))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(run.loader(prefetch=2), run.EPOCHS, validation=run.arrays(), verbose=2)
    assert trainer.steps == 10
    assert threading.active_count() == threads  # the loader's has ended
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == (
        f"interrupted after batch 3 of epoch 2; the checkpoint is {tmp_path}/checkpoint-000002; "
        "go on with resume=True"
    )
    trainer = run.trainer(tmp_path, 5, interrupt_at(0))
    trainer.fit(run.loader(), run.EPOCHS, validation=run.arrays(), resume=True, verbose=0)
    assert run.result(trainer, tmp_path) == expected


def test_ctrl_c_while_validating_goes_on_before_the_validation(
    expected: dict[str, Any], tmp_path: Path
) -> None:
    class Interrupting(nn.CrossEntropyLoss):
        def forward(self, *inputs: Any, **named: Any) -> Any:
            if not trainer.model.training and trainer.epoch == 1:
                signal.raise_signal(signal.SIGINT)
            return super().forward(*inputs, **named)

    trainer = run.trainer(tmp_path, 1, interrupt_at(0))
    trainer.loss = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(run.loader(), run.EPOCHS, validation=run.arrays(), verbose=0)
    assert (trainer.epoch, trainer.batch) == (1, run.BATCHES)
    trainer = run.trainer(tmp_path, 5, interrupt_at(0))
    trainer.fit(run.loader(), run.EPOCHS, validation=run.arrays(), resume=True, verbose=0)
    assert run.result(trainer, tmp_path) == expected


def test_an_impatient_second_ctrl_c_within_a_batch_saves_no_half_of_it(
    expected: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def twice(trainer: Trainer, step: int, logs: dict[str, Any]) -> None:
        if step == 10:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    trainer = run.trainer(tmp_path, 1, LambdaCallback(on_batch_end=twice))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(run.loader(), run.EPOCHS, validation=run.arrays(), verbose=2)
    assert [path.name for path in Checkpoint(tmp_path).all()] == ["checkpoint-000001"]
    assert "the checkpoint is" in capsys.readouterr().out
    trainer = run.trainer(tmp_path, 5, interrupt_at(0))
    trainer.fit(run.loader(), run.EPOCHS, validation=run.arrays(), resume=True, verbose=0)
    assert run.result(trainer, tmp_path) == expected


def test_ctrl_c_without_a_checkpoint_says_that_nothing_was_saved(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = nn.Linear(4, 2)
    trainer = Trainer(
        model, optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss(),
        callbacks=[interrupt_at(2)],
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(run.arrays(), 1)
    assert capsys.readouterr().out == (
        "interrupted after batch 2 of epoch 1; nothing was saved, for no checkpoint was asked for\n"
    )


# ---- what is refused, what is warned of ---------------------------------------------------------


def small(folder: Path, width: int = 3, optimizer: Any = optim.SGD, **options: Any) -> Trainer:
    model = nn.Sequential(nn.Linear(4, width), nn.Linear(width, 2))
    return Trainer(
        model, optimizer(model.parameters(), lr=0.1), nn.CrossEntropyLoss(),
        checkpoint=folder, **options,
    )  # fmt: skip


def test_resume_without_a_checkpoint_starts_afresh(tmp_path: Path) -> None:
    history = small(tmp_path / "new").fit(run.arrays(), 2, resume=True, verbose=0)
    assert [logs["epoch"] for logs in history.epochs] == [1, 2]


def test_resume_of_a_finished_run_does_nothing_and_more_epochs_go_on(tmp_path: Path) -> None:
    small(tmp_path).fit(run.arrays(), 2, verbose=0)
    log = (tmp_path / "log.jsonl").read_text()
    (tmp_path / "log.jsonl").write_text("of another run\n" * 9)
    again = small(tmp_path)
    assert len(again.fit(run.arrays(), 2, resume=True, verbose=0).epochs) == 2
    assert again.steps == 4
    assert (tmp_path / "log.jsonl").read_text() == log
    assert len(small(tmp_path).fit(run.arrays(), 3, resume=True, verbose=0).epochs) == 3


def test_a_run_that_was_stopped_early_stays_stopped(tmp_path: Path) -> None:
    def stop() -> Callback:
        return LambdaCallback(on_epoch_end=lambda trainer, epoch, logs: trainer.stop("enough"))

    small(tmp_path, callbacks=[stop()]).fit(run.arrays(), 5, verbose=0)
    again = small(tmp_path, callbacks=[stop()])
    assert len(again.fit(run.arrays(), 5, resume=True, verbose=0).epochs) == 1
    assert again.stopped == "enough"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"width": 4}, "model: 0.weight is float32 (3, 4) in the checkpoint, float32 (4, 4) here"),
        ({"optimizer": optim.Adam}, "optimizer: SGD in the checkpoint, Adam here"),
        ({"metrics": ["accuracy"]}, "metrics: [] in the checkpoint, ['accuracy'] here"),
        ({"callbacks": [Callback()]}, "callbacks: ['JSONLog'] in the checkpoint"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_whole(
    tmp_path: Path, options: dict[str, Any], text: str
) -> None:
    small(tmp_path).fit(run.arrays(), 1, verbose=0)
    other = small(tmp_path, **options)
    before = {name: t.numpy().copy() for name, t in other.model.state_dict().items()}
    streams = minidl.random.get_state()
    with pytest.raises(FormatError) as error:
        other.fit(whole_data(), 1, resume=True, verbose=0)
    assert text in str(error.value)
    assert minidl.random.get_state() == streams
    for name, tensor in other.model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name])


def whole_data() -> Any:
    return run.DataLoader(run.TensorDataset(*run.arrays()), 32, seed=0)


def test_a_checkpoint_of_other_data_is_refused(tmp_path: Path) -> None:
    small(tmp_path).fit(run.arrays(), 1, verbose=0)
    x, y = run.arrays()
    with pytest.raises(FormatError, match="samples of data: 50 in the checkpoint, 40 here"):
        small(tmp_path).fit((x[:40], y[:40]), 1, resume=True, verbose=0)


def test_other_threads_or_versions_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(tmp_path).fit(run.arrays(), 1, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small(tmp_path).fit(run.arrays(), 1, resume=True, verbose=0)
    monkeypatch.setenv("MKL_NUM_THREADS", "13")
    with pytest.warns(UserWarning, match=r"MKL_NUM_THREADS \(.*, now 13\)"):
        small(tmp_path).fit(run.arrays(), 2, resume=True, verbose=0)


def test_resume_needs_a_folder() -> None:
    model = nn.Linear(1, 1)
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.1), nn.MSELoss())
    with pytest.raises(ValueError, match=r"resume=True needs Trainer\(checkpoint="):
        trainer.fit(run.arrays(), 1, resume=True)


def test_a_loader_that_ran_before_goes_on_with_its_epochs(tmp_path: Path) -> None:
    def seen(resume: bool, epochs: int, folder: Path) -> tuple[list[Any], int]:
        orders: list[Any] = []
        model = nn.Linear(4, 2)

        def step(model: Any, batch: Any) -> Any:
            orders.append(batch[0].numpy().tobytes())
            return nn.CrossEntropyLoss()(model(batch[0]), batch[1]), None, None

        trainer = Trainer(
            model, optim.SGD(model.parameters(), lr=0.1), step=step, checkpoint=Checkpoint(folder)
        )
        loader = run.loader(seed=3)
        loader.set_epoch(5)
        trainer.fit(loader, epochs, resume=resume, verbose=0)
        return orders, loader.epoch

    straight, last = seen(False, 2, tmp_path / "a")
    first, _ = seen(False, 1, tmp_path / "b")
    second, end = seen(True, 2, tmp_path / "b")
    assert (first + second, end) == (straight, last)
    assert last == 7
    assert len(set(straight)) == 2 * run.BATCHES
