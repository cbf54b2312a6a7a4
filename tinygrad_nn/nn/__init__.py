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
from tinygrad_nn.nn.attention import (
    MultiHeadAttention,
)
from tinygrad_nn.nn.buffer import (
    Buffer,
)
from tinygrad_nn.nn.container import Flatten, Sequential
from tinygrad_nn.nn.convolution import (
    Conv1d,
    Conv2d,
)
from tinygrad_nn.nn.dense import Dense
from tinygrad_nn.nn.dropout import Dropout
from tinygrad_nn.nn.embedding import (
    Embedding,
)
from tinygrad_nn.nn.module import Module
from tinygrad_nn.nn.normalization import (
    BatchNorm,
    GroupNorm,
    LayerNorm,
    RMSNorm,
)
from tinygrad_nn.nn.pooling import (
    AvgPool1d,
    AvgPool2d,
    GlobalAvgPool,
    MaxPool1d,
    MaxPool2d,
)
from tinygrad_nn.nn.recurrent import (
    GRU,
    LSTM,
    RNN,
)
from tinygrad_nn.nn.summary import Summary
from tinygrad_nn.tensor import Parameter

del replaced  # imported for what it registers

__all__ = [
    "ACTIVATIONS",
    "GRU",
    "LSTM",
    "RNN",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm",
    "Buffer",
    "Conv1d",
    "Conv2d",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool",
    "GroupNorm",
    "Identity",
    "LayerNorm",
    "LogSoftmax",
    "MaxPool1d",
    "MaxPool2d",
    "Module",
    "MultiHeadAttention",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Summary",
    "Tanh",
    "init",
]
