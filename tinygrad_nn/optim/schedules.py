"""Schedules: the learning rate of a step, counted from 0.

A schedule is a function ``step -> float`` that is given as ``lr``. Those that speak of
epochs take ``every``, the number of steps in one. All are built of module-level
functions, so they pickle, and their ``repr`` shows the settings.
"""

from __future__ import annotations

import math
from functools import partial

from tinygrad_nn.errors import ModelError
from tinygrad_nn.optim.optimizer import Schedule, checked

__all__ = [
    "constant",
    "cosine",
    "exponential",
    "inverse_time",
    "linear",
    "one_cycle",
    "step",
    "warm_up",
]


def constant(lr: float) -> Schedule:
    """Return the same rate always.

    >>> constant(0.1)(1000)
    0.1
    """
    return partial(_constant, lr=checked("constant", "lr", lr, 0.0))


def _constant(_step: int, *, lr: float) -> float:
    return lr


def step(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """Multiply the rate by ``factor`` after every ``every`` steps.

    >>> schedule = step(1.0, every=10, factor=0.5)
    >>> schedule(9), schedule(10), schedule(25)
    (1.0, 0.5, 0.25)
    """
    return partial(
        _step,
        lr=checked("step", "lr", lr, 0.0),
        every=_count("step", "every", every),
        factor=checked("step", "factor", factor, 0.0),
    )


def _step(step: int, *, lr: float, every: int, factor: float) -> float:
    return lr * factor ** (step // every)


def exponential(lr: float, factor: float, every: int = 1) -> Schedule:
    """Multiply the rate by ``factor`` over each ``every`` steps, smoothly.

    >>> schedule = exponential(1.0, factor=0.25, every=2)
    >>> schedule(0), schedule(1), schedule(2)
    (1.0, 0.5, 0.25)
    """
    return partial(
        _exponential,
        lr=checked("exponential", "lr", lr, 0.0),
        factor=checked("exponential", "factor", factor, 0.0),
        every=_count("exponential", "every", every),
    )


def _exponential(step: int, *, lr: float, factor: float, every: int) -> float:
    return float(lr * factor ** (step / every))


def inverse_time(lr: float, decay: float, every: int = 1) -> Schedule:
    """Return ``lr / (1 + decay * epoch)``, an epoch being ``every`` steps.

    >>> schedule = inverse_time(1.0, decay=1.0, every=10)
    >>> schedule(9), schedule(10), schedule(30)
    (1.0, 0.5, 0.25)
    """
    return partial(
        _inverse_time,
        lr=checked("inverse_time", "lr", lr, 0.0),
        decay=checked("inverse_time", "decay", decay, 0.0),
        every=_count("inverse_time", "every", every),
    )


def _inverse_time(step: int, *, lr: float, decay: float, every: int) -> float:
    return lr / (1 + decay * (step // every))


def linear(lr: float, steps: int, final: float = 0.0) -> Schedule:
    """Go from ``lr`` to ``final`` in a straight line over ``steps``, then stay.

    >>> schedule = linear(1.0, steps=4)
    >>> schedule(0), schedule(1), schedule(4), schedule(9)
    (1.0, 0.75, 0.0, 0.0)
    """
    return partial(
        _linear,
        lr=checked("linear", "lr", lr, 0.0),
        steps=_count("linear", "steps", steps),
        final=checked("linear", "final", final, 0.0),
    )


def _linear(step: int, *, lr: float, steps: int, final: float) -> float:
    share = min(step / steps, 1.0)
    return lr * (1 - share) + final * share


def cosine(lr: float, steps: int, final: float = 0.0) -> Schedule:
    """Go from ``lr`` to ``final`` along half a cosine over ``steps``, then stay.

    Loshchilov, Hutter (2017), "SGDR", equation 5, without restarts.

    >>> schedule = cosine(1.0, steps=4)
    >>> schedule(0), round(schedule(2), 12), schedule(4), schedule(9)
    (1.0, 0.5, 0.0, 0.0)
    """
    return partial(
        _cosine,
        lr=checked("cosine", "lr", lr, 0.0),
        steps=_count("cosine", "steps", steps),
        final=checked("cosine", "final", final, 0.0),
    )


def _cosine(step: int, *, lr: float, steps: int, final: float) -> float:
    share = min(step / steps, 1.0)
    return final + (lr - final) * (1 + math.cos(math.pi * share)) / 2


def warm_up(lr: float | Schedule, steps: int) -> Schedule:
    """Rise in a straight line to a rate over ``steps``, then follow a schedule.

    The first step already has ``1 / steps`` of the rate. The schedule that follows
    counts from the end of the rise.

    >>> schedule = warm_up(linear(1.0, steps=4), steps=2)
    >>> [schedule(i) for i in range(5)]
    [0.5, 1.0, 1.0, 0.75, 0.5]
    """
    after = lr if callable(lr) else constant(lr)
    return partial(_warm_up, after=after, steps=_count("warm_up", "steps", steps))


def _warm_up(step: int, *, after: Schedule, steps: int) -> float:
    if step < steps:
        return after(0) * (step + 1) / steps
    return after(step - steps)


def one_cycle(
    lr: float, steps: int, rise: float = 0.3, start: float = 0.04
) -> Schedule:
    """Rise to ``lr`` over a share of ``steps``, then fall to 0, along cosines.

    Smith, Topin (2018), "Super-Convergence": the rate starts at ``start * lr``.

    >>> schedule = one_cycle(1.0, steps=10, rise=0.5, start=0.5)
    >>> [round(schedule(i), 3) for i in (0, 5, 10, 99)]
    [0.5, 1.0, 0.0, 0.0]
    """
    return partial(
        _one_cycle,
        lr=checked("one_cycle", "lr", lr, 0.0),
        steps=_count("one_cycle", "steps", steps),
        rise=checked("one_cycle", "rise", rise, 0.0, 1.0),
        start=checked("one_cycle", "start", start, 0.0),
    )


def _one_cycle(step: int, *, lr: float, steps: int, rise: float, start: float) -> float:
    top = rise * steps
    if step < top:
        share = (1 - math.cos(math.pi * step / top)) / 2
        return lr * (start + (1 - start) * share)
    share = min((step - top) / (steps - top), 1.0)
    return lr * (1 + math.cos(math.pi * share)) / 2


def _count(where: str, name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ModelError(
            f"{where}: {name} is a number of steps, at least 1; got {value!r}"
        )
    return value
