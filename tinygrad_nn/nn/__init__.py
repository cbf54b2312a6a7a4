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

from typing import Any

from tinygrad_nn.nn import init, replaced
from tinygrad_nn.nn.activations import (
    ACTIVATIONS,
    SELU,
    Hardsigmoid,
    Hardswish,
    Identity,
    LogSigmoid,
    Mish,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softplus,
    Softsign,
    Tanh,
    Tanhshrink,
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
from tinygrad_nn.nn.parametric import (
    CELU,
    ELU,
    GELU,
    GLU,
    Hardshrink,
    Hardtanh,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    Softmax,
    Softmin,
    Softshrink,
    Threshold,
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
from tinygrad_nn.nn.transposed import (
    ConvTranspose1d,
    ConvTranspose2d,
)
from tinygrad_nn.tensor import Parameter

del replaced  # imported for what it registers

_ELSEWHERE = {
    "AdaptiveAvgPool1d": "tg.adaptive_avg_pool1d, or tg.nn.GlobalAvgPool",
    "AdaptiveAvgPool2d": "tg.adaptive_avg_pool2d, or tg.nn.GlobalAvgPool",
    "BCELoss": "tg.losses.binary_cross_entropy",
    "BCEWithLogitsLoss": "tg.losses.binary_cross_entropy_with_logits",
    "BatchNorm1d": "tg.nn.BatchNorm",
    "BatchNorm2d": "tg.nn.BatchNorm",
    "CrossEntropyLoss": "tg.losses.cross_entropy",
    "GRUCell": "tg.nn.GRU, or tg.gru_cell",
    "HuberLoss": "tg.losses.huber",
    "InstanceNorm1d": "tg.instance_norm",
    "InstanceNorm2d": "tg.instance_norm",
    "KLDivLoss": "tg.losses.kl_divergence",
    "L1Loss": "tg.losses.mae",
    "LSTMCell": "tg.nn.LSTM, or tg.lstm_cell",
    "Linear": "tg.nn.Dense",
    "MSELoss": "tg.losses.mse",
    "ModuleDict": "a dict: a tg.nn.Module finds what is in it",
    "ModuleList": "a list: a tg.nn.Module finds what is in it",
    "MultiheadAttention": "tg.nn.MultiHeadAttention",
    "NLLLoss": "tg.losses.nll",
    "ParameterList": "a list: a tg.nn.Module finds what is in it",
    "RNNCell": "tg.nn.RNN, or tg.rnn_cell",
    "SmoothL1Loss": "tg.losses.smooth_l1",
    "functional": "tg.relu, tg.conv2d, …: functions are tg's own, losses tg.losses",
    "utils": "tg.optim.clip_by_norm, or tg.optim.clip_by_value, to clip gradients",
}
"""What is written here, by the names of another library."""


def __getattr__(name: str) -> Any:
    """Tell what a layer of another library is called here."""
    hint = f". Write {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
    raise AttributeError(f"module 'tinygrad_nn.nn' has no attribute {name!r}{hint}")


__all__ = [
    "ACTIVATIONS",
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "GRU",
    "LSTM",
    "RNN",
    "SELU",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm",
    "Buffer",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool",
    "GroupNorm",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "MaxPool1d",
    "MaxPool2d",
    "Mish",
    "Module",
    "MultiHeadAttention",
    "PReLU",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "ReLU6",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Summary",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "init",
]
