"""Bessel functions of whole orders, as SciPy computes them.

A slope is half the sum, or difference, of the functions of the orders beside, so one op
with an ``order`` is all of them, and every derivative has all its digits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from tinygrad_nn.op import Array, elementwise
from tinygrad_nn.ops.comparison import sign
from tinygrad_nn.ops.samples import cases, reals
from tinygrad_nn.ops.scipy_room import scipy
from tinygrad_nn.ops.special import of_elements

__all__ = ["iv", "ive", "jv"]

_ORDERS = reals(1) + cases(((3,), {"order": 1}), ((2,), {"order": 2}))


def _beside(op: Callable[..., Array], x: Array, order: int, side: float) -> Array:
    """Return half the sum (or difference) of the functions of the orders beside."""
    if order == 0:
        return side * op(x, 1)
    return (op(x, order - 1) + side * op(x, order + 1)) / 2


@elementwise(
    formula=r"I_{$order}($x)",
    vjp=lambda g, _out, x, order: g * _beside(iv, x, order, 1.0),
    samples=_ORDERS,
    exact=lambda x, order: of_elements("besseli", order)(x),
)
def iv(x: Array, order: int = 0) -> Array:
    """Modified Bessel function of the first kind, of a whole order.

    >>> iv(np.array([0.0, 1.0]), 0), iv(np.array([0.0, 1.0]), 1)
    (array([1.        , 1.26606588]), array([0.       , 0.5651591]))
    """
    return _of_order(x, order, "i0", "i1", "iv")


@elementwise(
    formula=r"\mathrm{ive}_{$order}($x)",
    vjp=lambda g, out, x, order: g * (_beside(ive, x, order, 1.0) - sign(x) * out),
    samples=reals(1, (0.2, 3.0)) + cases(((3,), {"order": 1}), limits=((-3.0, -0.2),)),
    exact=lambda x, order: np.exp(-np.abs(x)) * of_elements("besseli", order)(x),
)
def ive(x: Array, order: int = 0) -> Array:
    """``exp(-|x|)`` times the modified Bessel function, which alone would overflow.

    At 0, where that has a kink, the gradient is the mean of both sides.

    >>> ive(np.array([0.0, 1000.0]), 0)
    array([1.        , 0.01261724])
    """
    return _of_order(x, order, "i0e", "i1e", "ive")


@elementwise(
    formula=r"J_{$order}($x)",
    vjp=lambda g, _out, x, order: g * _beside(jv, x, order, -1.0),
    samples=_ORDERS,
    exact=lambda x, order: of_elements("besselj", order)(x),
)
def jv(x: Array, order: int = 0) -> Array:
    """Bessel function of the first kind, of a whole order.

    >>> jv(np.array([0.0, 1.0]), 0), jv(np.array([0.0, 1.0]), 1)
    (array([1.        , 0.76519769]), array([0.        , 0.44005059]))
    """
    return _of_order(x, order, "j0", "j1", "jv")


def _of_order(x: Array, order: int, zero: str, one: str, other: str) -> Array:
    """Compute by the quick functions of the first orders, or by that of any."""
    if order in (0, 1):
        return getattr(scipy.special, one if order else zero)(x)
    return partial(getattr(scipy.special, other), float(order))(x)
