"""Optimisers, learning-rate schedules, gradient clipping.

>>> import tinygrad_nn as tg
>>> w = tg.Parameter([4.0])
>>> optimizer = SGD([w], lr=0.25, momentum=0.5)
>>> for _ in range(20):
...     optimizer.minimize((w * w).sum())
>>> bool(abs(w.data) < 0.01)
True
"""

from tinygrad_nn.optim import schedules
from tinygrad_nn.optim.adagrad import AdaGrad, adagrad
from tinygrad_nn.optim.adam import Adam, AdamW, adam, adamw
from tinygrad_nn.optim.clipping import clip_by_norm, clip_by_value
from tinygrad_nn.optim.optimizer import Optimizer
from tinygrad_nn.optim.rmsprop import RMSProp, rmsprop
from tinygrad_nn.optim.sgd import SGD, sgd

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSProp",
    "adagrad",
    "adam",
    "adamw",
    "clip_by_norm",
    "clip_by_value",
    "rmsprop",
    "schedules",
    "sgd",
]
