"""Choosing between two operands by a condition."""

from __future__ import annotations

import numpy as np

from tinygrad_nn.op import Array, elementwise
from tinygrad_nn.ops.comparison import logical_not, not_equal
from tinygrad_nn.ops.samples import reals

__all__ = ["where"]


def _no_gradient(
    _g: Array, _out: Array, _condition: Array, _x: Array, _y: Array
) -> None:
    """A condition is constant."""


@elementwise(
    formula=r"\begin{cases} $x & $condition \\ $y & \text{otherwise} \end{cases}",
    vjp=(
        _no_gradient,
        lambda g, _out, condition, _x, _y: where(condition, g, 0.0),
        lambda g, _out, condition, _x, _y: where(condition, 0.0, g),
    ),
    paths=(
        None,
        lambda condition, _x, _y: not_equal(condition, 0),
        lambda condition, _x, _y: logical_not(condition),
    ),
    samples=reals(3, None, (-2.0, 2.0), (-2.0, 2.0)),
)
def where(condition: Array, x: Array, y: Array) -> Array:
    """``x`` where the condition is true, ``y`` elsewhere.

    What is not chosen has no path to the result: its gradient is 0 even where its
    own derivative is infinite or nan.

    >>> where(np.array([True, False]), 1.0, np.array([3.0, 4.0]))
    array([1., 4.])
    """
    return np.where(condition, x, y)
