"""Layers and models.

>>> import tinygrad_nn as tg
>>> net = Sequential(Dense(2, 4, activation="tanh", rng=0), Dense(4, 1, rng=1))
>>> net
Sequential
  layers.0: Dense(2 -> 4, activation=tanh)
  layers.1: Dense(4 -> 1)
>>> sum(parameter.size for parameter in net.parameters())
17
"""

from tinygrad_nn.nn import init, replaced
from tinygrad_nn.nn.activations import (
    ACTIVATIONS,
    Identity,
    LogSoftmax,
    ReLU,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from tinygrad_nn.nn.container import Flatten, Sequential
from tinygrad_nn.nn.dense import Dense
from tinygrad_nn.nn.dropout import Dropout
from tinygrad_nn.nn.module import Module
from tinygrad_nn.nn.summary import Summary
from tinygrad_nn.tensor import Parameter

del replaced  # imported for what it registers

__all__ = [
    "ACTIVATIONS",
    "Dense",
    "Dropout",
    "Flatten",
    "Identity",
    "LogSoftmax",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Summary",
    "Tanh",
    "init",
]
