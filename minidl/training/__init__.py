"""Training: the Trainer, its history, callbacks, logs and checkpoints."""

from minidl.training.callbacks import (
    EMA,
    BestModel,
    Callback,
    EarlyStopping,
    LambdaCallback,
    Schedule,
    TerminateOnNaN,
    TerminateOnTarget,
)
from minidl.training.checkpoint import Checkpoint
from minidl.training.history import History
from minidl.training.logs import CSVLog, JSONLog, TensorBoardLog
from minidl.training.trainer import Trainer

__all__ = [
    "EMA",
    "BestModel",
    "CSVLog",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "JSONLog",
    "LambdaCallback",
    "Schedule",
    "TensorBoardLog",
    "TerminateOnNaN",
    "TerminateOnTarget",
    "Trainer",
]
