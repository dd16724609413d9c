"""Keras's face on minidl: its names, defaults and layouts, so that its scripts run unchanged.

    import minidl as tf
    from minidl.keras.models import Sequential
    from minidl.keras.layers import Conv2D, Dense

What differs from `minidl.nn` and is kept true to Keras: images are (N, H, W, C), weights have the
outputs last, Adam's ε is 1e-7 and stands elsewhere, dense weights begin uniform after Glorot,
recurrent layers have one bias for each gate, BatchNormalization's momentum is the share of the old.
What is not offered raises NotImplementedError with the option's name.
"""

from minidl.keras import (
    activations,
    callbacks,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    utils,
)
from minidl.keras.layers import Input, Layer
from minidl.keras.models import Model, Sequential

__all__ = [
    "Input",
    "Layer",
    "Model",
    "Sequential",
    "activations",
    "callbacks",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "utils",
]
