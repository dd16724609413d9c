"""Optimisers, schedules of the learning rate, and a running average of weights."""

from minidl.optim import lr_scheduler
from minidl.optim.ema import ExponentialMovingAverage
from minidl.optim.optimizer import Optimizer
from minidl.optim.optimizers import SGD, Adadelta, Adagrad, Adam, AdamW, NAdam, RMSprop

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "ExponentialMovingAverage",
    "NAdam",
    "Optimizer",
    "RMSprop",
    "lr_scheduler",
]
