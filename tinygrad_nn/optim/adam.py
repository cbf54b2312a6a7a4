"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.op import Array
from tinygrad_nn.optim.optimizer import Optimizer, Schedule, State, checked

__all__ = ["Adam", "AdamW", "adam", "adamw"]


def adam(
    parameter: Array,
    gradient: Array,
    state: State,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> tuple[Array, State]:
    """Make a step of Adam; ``state`` is ``(mean, square, count)``.

    >>> zero = np.array([0.0])
    >>> adam(np.array([1.0]), np.array([0.5]), (zero, zero, 0), lr=0.1)[0].round(6)
    array([0.9])
    """
    if weight_decay:
        gradient = gradient + weight_decay * parameter
    mean, square, count = state
    count = count + 1
    mean = beta1 * mean + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * (gradient * gradient)
    # Both averages started at zero. The corrections are numbers, so they go into the
    # rate and eps rather than through the arrays: Kingma, Ba, end of section 2.
    scale = (1 - beta2**count) ** 0.5
    rate = lr * scale / (1 - beta1**count)
    step = rate * mean / (ops.sqrt(square) + eps * scale)
    return parameter - step, (mean, square, count)


def adamw(
    parameter: Array,
    gradient: Array,
    state: State,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.01,
) -> tuple[Array, State]:
    """Make a step of AdamW: the parameter shrinks apart from the gradient.

    >>> zero = np.array([0.0])
    >>> adamw(np.array([1.0]), zero, (zero, zero, 0), lr=0.1, weight_decay=0.5)[0]
    array([0.95])
    """
    shrunk = parameter - (lr * weight_decay) * parameter
    return adam(shrunk, gradient, state, lr=lr, beta1=beta1, beta2=beta2, eps=eps)


def _settings(
    where: str, beta1: float, beta2: float, eps: float, weight_decay: float
) -> dict[str, float]:
    return {
        "beta1": checked(where, "beta1", beta1, 0.0, 1.0),
        "beta2": checked(where, "beta2", beta2, 0.0, 1.0),
        "eps": checked(where, "eps", eps, 0.0),
        "weight_decay": checked(where, "weight_decay", weight_decay, 0.0),
    }


@final
class Adam(Optimizer):
    """Momentum, with steps measured by the recent size of the gradient.

    Kingma, Ba (2015), "Adam: A Method for Stochastic Optimization", algorithm 1. Each
    parameter counts its own steps, for the correction of its averages.

    Parameters
    ----------
    params
        A model, a list of Parameters, or a dict of them by name.
    lr
        Learning rate, or a schedule.
    beta1, beta2
        Shares of the running mean and mean square that stay, from 0 to less than 1.
    eps
        Keeps the divisor from 0.
    weight_decay
        Adds ``weight_decay * W`` to the gradient, biases included; see `AdamW`.

    Raises
    ------
    ModelError
        For a setting out of range; as `Optimizer`.

    Examples
    --------
    >>> import tinygrad_nn as tg
    >>> w = tg.Parameter([1.0, 200.0])
    >>> Adam([w], lr=0.1).minimize((w * w).sum())
    >>> w.data
    array([  0.9, 199.9])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Schedule = 0.001,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        settings = _settings("Adam", beta1, beta2, eps, weight_decay)
        super().__init__(params, lr, adam, ("mean", "square", "count"), **settings)

    def fresh(self, value: np.ndarray) -> State:
        """Return averages of zero, over no steps."""
        return np.zeros_like(value), np.zeros_like(value), 0


@final
class AdamW(Optimizer):
    """Adam, with weights that shrink by ``lr * weight_decay`` of themselves a step.

    Loshchilov, Hutter (2019), "Decoupled Weight Decay Regularization", algorithm 2;
    the rate, scheduled or not, multiplies both parts.

    Parameters
    ----------
    params
        A model, a list of Parameters, or a dict of them by name.
    lr
        Learning rate, or a schedule.
    beta1, beta2
        Shares of the running mean and mean square that stay, from 0 to less than 1.
    eps
        Keeps the divisor from 0.
    weight_decay
        How fast parameters shrink, biases included.

    Raises
    ------
    ModelError
        For a setting out of range; as `Optimizer`.

    Examples
    --------
    >>> import tinygrad_nn as tg
    >>> w = tg.Parameter([1.0, 200.0])
    >>> AdamW([w], lr=0.1, weight_decay=0.5).minimize((w * w).sum())
    >>> w.data
    array([  0.85, 189.9 ])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Schedule = 0.001,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        settings = _settings("AdamW", beta1, beta2, eps, weight_decay)
        super().__init__(params, lr, adamw, ("mean", "square", "count"), **settings)

    def fresh(self, value: np.ndarray) -> State:
        """Return averages of zero, over no steps."""
        return np.zeros_like(value), np.zeros_like(value), 0
