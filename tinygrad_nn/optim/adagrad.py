"""AdaGrad: steps measured by all gradients so far."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.op import Array
from tinygrad_nn.optim.optimizer import Optimizer, Schedule, State, checked

__all__ = ["AdaGrad", "adagrad"]


def adagrad(
    parameter: Array,
    gradient: Array,
    state: State,
    *,
    lr: float,
    eps: float = 1e-10,
    weight_decay: float = 0.0,
) -> tuple[Array, State]:
    """Make a step of AdaGrad; ``state`` is the sum of squares ``(total,)``.

    >>> adagrad(np.array([1.0]), np.array([0.5]), (np.array([0.0]),), lr=0.1)[0]
    array([0.9])
    """
    if weight_decay:
        gradient = gradient + weight_decay * parameter
    (total,) = state
    total = total + gradient * gradient
    return parameter - lr * gradient / (ops.sqrt(total) + eps), (total,)


@final
class AdaGrad(Optimizer):
    """Divide each gradient by the root of the sum of all its squares so far.

    Duchi, Hazan, Singer (2011), "Adaptive Subgradient Methods for Online Learning
    and Stochastic Optimization".

    Parameters
    ----------
    params
        A model, a list of Parameters, or a dict of them by name.
    lr
        Learning rate, or a schedule.
    eps
        Keeps the divisor from 0.
    weight_decay
        Adds ``weight_decay * W`` to the gradient, biases included.

    Raises
    ------
    ModelError
        For a setting out of range; as `Optimizer`.

    Examples
    --------
    >>> import tinygrad_nn as tg
    >>> w = tg.Parameter([1.0, 200.0])
    >>> AdaGrad([w], lr=0.1).minimize((w * w).sum())
    >>> w.data
    array([  0.9, 199.9])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Schedule = 0.01,
        *,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params,
            lr,
            adagrad,
            ("total",),
            eps=checked("AdaGrad", "eps", eps, 0.0),
            weight_decay=checked("AdaGrad", "weight_decay", weight_decay, 0.0),
        )

    def fresh(self, value: np.ndarray) -> State:
        """Return a sum of zero."""
        return (np.zeros_like(value),)
