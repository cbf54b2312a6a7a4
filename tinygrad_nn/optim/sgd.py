"""Gradient descent, with momentum."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from tinygrad_nn.errors import ModelError
from tinygrad_nn.op import Array
from tinygrad_nn.optim.optimizer import Optimizer, Schedule, State, checked

__all__ = ["SGD", "sgd"]


def sgd(
    parameter: Array,
    gradient: Array,
    state: State,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> tuple[Array, State]:
    """Make a step of gradient descent; ``state`` is ``(velocity,)``, or empty.

    >>> sgd(np.array([1.0]), np.array([0.5]), (), lr=0.1)
    (array([0.95]), ())
    """
    if weight_decay:
        gradient = gradient + weight_decay * parameter
    if not state:
        return parameter - lr * gradient, state
    (velocity,) = state
    force = dampening * gradient if dampening else gradient
    velocity = momentum * velocity + force
    step = gradient + momentum * velocity if nesterov else velocity
    return parameter - lr * step, (velocity,)


@final
class SGD(Optimizer):
    """Gradient descent: ``W -= lr * dW``, or with momentum ``W -= lr * v``.

    The velocity ``v = momentum * v + dW`` starts at zero. Sutskever, Martens, Dahl,
    Hinton (2013), "On the importance of initialization and momentum".

    Parameters
    ----------
    params
        A model, a list of Parameters, or a dict of them by name.
    lr
        Learning rate, or a schedule.
    momentum
        Share of the velocity that stays, from 0 to less than 1.
    dampening
        Weight of the gradient in the velocity, ``v = momentum * v + dampening * dW``:
        ``momentum=β, dampening=1-β`` is the exponentially weighted average of the
        tutorials. Left out, or 0: not dampened, a weight of 1. (PyTorch's setting of
        this name is one minus this one.)
    nesterov
        Look ahead: ``W -= lr * (dW + momentum * v)``; without dampening only.
    weight_decay
        Adds ``weight_decay * W`` to the gradient, biases included; for the weights
        alone add `losses.l2` of the model to the loss.

    Raises
    ------
    ModelError
        For a setting out of range; as `Optimizer`.

    Examples
    --------
    >>> import tinygrad_nn as tg
    >>> w = tg.Parameter([1.0, 2.0])
    >>> optimizer = SGD([w], lr=0.1)
    >>> optimizer.minimize((w * w).sum())
    >>> w.data
    array([0.8, 1.6])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Schedule,
        *,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        momentum = checked("SGD", "momentum", momentum, 0.0, 1.0)
        dampening = checked("SGD", "dampening", dampening, 0.0)
        if dampening > 1:
            raise ModelError(f"SGD: expected 0 <= dampening <= 1; got {dampening:g}")
        if nesterov and (momentum == 0 or dampening):
            raise ModelError(
                "SGD: nesterov looks ahead along an undamped velocity; got "
                f"momentum={momentum:g}, dampening={dampening:g}. Set momentum > 0 and "
                "leave dampening out"
            )
        decay = checked("SGD", "weight_decay", weight_decay, 0.0)
        # The quick way below, where the rule is W - lr * dW and nothing else.
        self._plain = momentum == 0 and decay == 0
        super().__init__(
            params,
            lr,
            sgd,
            ("velocity",) if momentum else (),
            momentum=momentum,
            dampening=dampening,
            nesterov=bool(nesterov),
            weight_decay=decay,
        )

    def fresh(self, value: np.ndarray) -> State:
        """Return a velocity of zero, if there is momentum."""
        return (np.zeros_like(value),) if self.slots else ()

    def _update(self, i: int, value: Any, gradient: Any, lr: float) -> None:
        """Do what the rule does, bit for bit; the plain one with one array less."""
        if self._plain:
            value -= lr * gradient
        else:
            super()._update(i, value, gradient, lr)
