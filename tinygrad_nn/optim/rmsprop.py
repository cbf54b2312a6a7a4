"""RMSProp: steps measured by the recent size of the gradient."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.op import Array
from tinygrad_nn.optim.optimizer import Optimizer, Schedule, State, checked

__all__ = ["RMSProp", "rmsprop"]


def rmsprop(
    parameter: Array,
    gradient: Array,
    state: State,
    *,
    lr: float,
    decay: float = 0.9,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> tuple[Array, State]:
    """Make a step of RMSProp; ``state`` is the mean square ``(square,)``.

    >>> rmsprop(np.array([1.0]), np.array([0.5]), (np.array([0.25]),), lr=0.1)[0]
    array([0.9])
    """
    if weight_decay:
        gradient = gradient + weight_decay * parameter
    (square,) = state
    square = decay * square + (1 - decay) * (gradient * gradient)
    return parameter - lr * gradient / (ops.sqrt(square) + eps), (square,)


@final
class RMSProp(Optimizer):
    """Divide each gradient by the root of its running mean square.

    ``s = decay * s + (1 - decay) * dW**2``, then ``W -= lr * dW / (sqrt(s) + eps)``;
    ``s`` starts at zero. Tieleman, Hinton (2012), "Lecture 6.5: rmsprop".

    Parameters
    ----------
    params
        A model, a list of Parameters, or a dict of them by name.
    lr
        Learning rate, or a schedule.
    decay
        Share of the mean square that stays, from 0 to less than 1.
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
    >>> RMSProp([w], lr=0.1, decay=0.0).minimize((w * w).sum())
    >>> w.data
    array([  0.9, 199.9])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Schedule = 0.001,
        *,
        decay: float = 0.9,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params,
            lr,
            rmsprop,
            ("square",),
            decay=checked("RMSProp", "decay", decay, 0.0, 1.0),
            eps=checked("RMSProp", "eps", eps, 0.0),
            weight_decay=checked("RMSProp", "weight_decay", weight_decay, 0.0),
        )

    def fresh(self, value: np.ndarray) -> State:
        """Return a mean square of zero."""
        return (np.zeros_like(value),)
