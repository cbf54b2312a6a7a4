"""Angles: tangent, the inverse functions, the angle and length of a vector, sinc.

Where a slope is infinite and the value is not, at the ends of arcsin and arccos, the
slope is 0 by the convention of `sqrt`. At the origin, where the angle of a vector has
no slope at all, it is 0 too.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_nn.op import Array, elementwise
from tinygrad_nn.ops.arithmetic import one_minus_square
from tinygrad_nn.ops.comparison import equal, isinf, logical_or
from tinygrad_nn.ops.elementwise import sqrt
from tinygrad_nn.ops.samples import cases, reals
from tinygrad_nn.ops.selection import where

__all__ = ["arccos", "arcsin", "arctan", "arctan2", "hypot", "sinc", "tan"]


@elementwise(
    formula=r"\tan $x",
    vjp=lambda g, out, _x: g * (1.0 + out * out),
    samples=reals(1, (-1.2, 1.2)),
)
def tan(x: Array) -> Array:
    """Tangent of an angle in radians.

    >>> tan(np.array([0.0, np.pi / 4]))
    array([0., 1.])
    """
    return np.tan(x)


def _root(x: Array) -> Array:
    """Return the square root of 1 - x², infinite in place of 0."""
    root = sqrt(one_minus_square(x))
    return where(equal(root, 0), np.inf, root)


@elementwise(
    formula=r"\arcsin $x",
    vjp=lambda g, _out, x: g / _root(x),
    samples=reals(1, (-0.9, 0.9)),
    edges=(-1.0, 1.0),
)
def arcsin(x: Array) -> Array:
    """Angle whose sine is given; its gradient at -1 and 1 is 0 by convention.

    >>> arcsin(np.array([0.0, 1.0]))
    array([0.        , 1.57079633])
    """
    return np.arcsin(x)


@elementwise(
    formula=r"\arccos $x",
    vjp=lambda g, _out, x: -g / _root(x),
    samples=reals(1, (-0.9, 0.9)),
    edges=(-1.0, 1.0),
)
def arccos(x: Array) -> Array:
    """Angle whose cosine is given; its gradient at -1 and 1 is 0 by convention.

    >>> arccos(np.array([1.0, 0.0]))
    array([0.        , 1.57079633])
    """
    return np.arccos(x)


@elementwise(
    formula=r"\arctan $x",
    vjp=lambda g, _out, x: g / (1.0 + x * x),
    samples=reals(1),
)
def arctan(x: Array) -> Array:
    """Angle whose tangent is given, between -π/2 and π/2.

    >>> arctan(np.array([0.0, 1.0, np.inf]))
    array([0.        , 0.78539816, 1.57079633])
    """
    return np.arctan(x)


@elementwise(
    formula=r"\sqrt{$x^2 + $y^2}",
    vjp=(
        lambda g, out, x, _y: g * (x / where(equal(out, 0), np.inf, out)),
        lambda g, out, _x, y: g * (y / where(equal(out, 0), np.inf, out)),
    ),
    samples=reals(2),
    exact=lambda x, y: np.sqrt(x * x + y * y),
)
def hypot(x: Array, y: Array) -> Array:
    """Length of the vector (x, y), without overflow; its gradient at the origin is 0.

    >>> hypot(np.array([3.0, 1e300]), np.array([4.0, 0.0]))
    array([5.e+000, 1.e+300])
    """
    return np.hypot(x, y)


def _turned(g: Array, across: Array, y: Array, x: Array) -> Array:
    """Give g times ``across`` over the squared length of the vector.

    0 at the origin, by convention, and 0 far out, where it is the limit. Dividing twice
    by the length does not overflow where its square would.
    """
    length = hypot(x, y)
    none = logical_or(equal(length, 0), isinf(length))
    length = where(none, 1.0, length)
    return g * (where(none, 0.0, across) / length / length)


@elementwise(
    formula=r"\mathrm{arctan2}($y, $x)",
    vjp=(
        lambda g, _out, y, x: _turned(g, x, y, x),
        lambda g, _out, y, x: -_turned(g, y, y, x),
    ),
    samples=reals(2),
)
def arctan2(y: Array, x: Array) -> Array:
    """Angle of the vector (x, y), between -π and π; its gradient at the origin is 0.

    >>> arctan2(np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, -1.0]))
    array([0.        , 1.57079633, 3.14159265])
    """
    return np.arctan2(y, x)


def _waves(u: Array, order: int) -> Array:
    """Return the derivative of the sine of this order."""
    wave = np.sin(u) if order % 2 == 0 else np.cos(u)
    return -wave if order % 4 > 1 else wave


def _far(u: Array, order: int) -> Array:
    """Differentiate sin(u) / u by its recurrence, from u f = sin(u)."""
    found = np.sin(u) / u
    for n in range(1, order + 1):
        found = (_waves(u, n) - n * found) / u
    return found


def _near(u: Array, order: int, terms: int) -> Array:
    """Differentiate sin(u) / u by its series: terms (-1)^k u^p / (p! (2k + 1))."""
    first = order % 2
    squares = u * u
    total = 0.0 * squares
    for p in range(first + 2 * terms, first - 1, -2):
        k = (p + order) // 2
        total = total * squares + (-1) ** k / (math.factorial(p) * (2 * k + 1))
    return total * u if first else total


def _scaled(found: Array, order: int) -> Array:
    """Multiply by a power of π, as the chain rule does: once an order."""
    for _ in range(order):
        found = np.pi * found
    return found


def _sinc_by_definition(x: Array, order: int = 0) -> Array:
    u = np.pi * x
    at_zero = (0.0 if order % 2 else (-1.0) ** (order // 2)) / (order + 1)
    zero = np.equal(u, 0)
    found = np.where(zero, at_zero, _far(np.where(zero, 1, u), order))
    return _scaled(found, order)


@elementwise(
    formula=r"\mathrm{sinc}($x)",
    vjp=lambda g, _out, x, order: g * sinc(x, order + 1),
    samples=reals(1) + cases(((3,), {"order": 1}), ((2,), {"order": 2})),
    exact=_sinc_by_definition,
)
def sinc(x: Array, order: int = 0) -> Array:
    """``sin(πx) / (πx)``, which is 1 at 0, or its derivative of some order.

    Near 0 the derivatives are summed as series, for their closed forms cancel there:
    all orders have all their digits.

    >>> sinc(np.array([0.0, 0.5])), sinc(np.array([0.25, 1.0]), order=1)
    (array([1.        , 0.63661977]), array([-0.77283814, -1.        ]))
    """
    u = np.pi * x
    if order == 0:  # as NumPy has it, to the last bit
        u = np.where(np.equal(u, 0), 1e-20, u)
        return np.sin(u) / u
    limit = float(max(2, order))
    near = np.abs(u) < limit
    series = _near(np.where(near, u, 0.0), order, 14 + 2 * order)
    found: Array = np.where(near, series, _far(np.where(near, limit, u), order))
    return _scaled(found, order)
