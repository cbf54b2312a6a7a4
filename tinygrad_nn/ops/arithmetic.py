"""Adding, multiplying, dividing, raising to powers; the two-operand choices.

The bodies use operators, not ``np.add``: on the NumPy scalars that 0-d results
are, ``x * y`` costs 40 ns and ``np.multiply(x, y)`` 600.
"""

from __future__ import annotations

import numpy as np

from tinygrad_nn.op import Array, elementwise
from tinygrad_nn.ops.comparison import (
    equal,
    greater,
    isnan,
    less,
    logical_or,
)
from tinygrad_nn.ops.elementwise import log
from tinygrad_nn.ops.samples import reals
from tinygrad_nn.ops.selection import where

__all__ = [
    "add",
    "divide",
    "fmax",
    "fmin",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "one_minus_square",
    "power",
    "reciprocal",
    "square",
    "subtract",
]


@elementwise(
    formula="$x + $y",
    vjp=(lambda g, _out, _x, _y: g, lambda g, _out, _x, _y: g),
    samples=reals(2),
)
def add(x: Array, y: Array) -> Array:
    """Sum of two operands.

    >>> add(np.array([1.0, 2.0]), 3.0)
    array([4., 5.])
    """
    return x + y


@elementwise(
    formula="$x - $y",
    vjp=(lambda g, _out, _x, _y: g, lambda g, _out, _x, _y: -g),
    samples=reals(2),
)
def subtract(x: Array, y: Array) -> Array:
    """Difference of two operands.

    >>> subtract(np.array([1.0, 2.0]), 3.0)
    array([-2., -1.])
    """
    return x - y


@elementwise(
    formula=r"$x \odot $y",
    vjp=(lambda g, _out, _x, y: g * y, lambda g, _out, x, _y: g * x),
    samples=reals(2),
)
def multiply(x: Array, y: Array) -> Array:
    """Product of two operands, element by element.

    >>> multiply(np.array([1.0, 2.0]), 3.0)
    array([3., 6.])
    """
    return x * y


@elementwise(
    formula=r"\frac{$x}{$y}",
    vjp=(lambda g, _out, _x, y: g / y, lambda g, out, _x, y: -g * out / y),
    samples=reals(2, (-2.0, 2.0), (0.5, 2.0)),
)
def divide(x: Array, y: Array) -> Array:
    """Quotient of two operands.

    >>> divide(np.array([1.0, 2.0]), 4.0)
    array([0.25, 0.5 ])
    """
    return x / y


@elementwise(
    formula="-$x",
    vjp=lambda g, _out, _x: -g,
    samples=reals(1),
)
def negative(x: Array) -> Array:
    """Minus the operand.

    >>> negative(np.array([1.0, -2.0]))
    array([-1.,  2.])
    """
    return -x


@elementwise(
    formula="$x^2",
    vjp=lambda g, _out, x: g * (2 * x),
    samples=reals(1),
)
def square(x: Array) -> Array:
    """Square of every element.

    >>> square(np.array([1.0, -3.0]))
    array([1., 9.])
    """
    return x * x


@elementwise(
    formula="1 - $x^2",
    vjp=lambda g, _out, x: g * (-2 * x),
    samples=reals(1),
)
def one_minus_square(x: Array) -> Array:
    """One minus the square, with all its digits near -1 and 1 too.

    >>> one_minus_square(np.array([0.5, 1.0]))
    array([0.75, 0.  ])
    """
    return (1 - x) * (1 + x)


@elementwise(
    formula=r"\frac{1}{$x}",
    vjp=lambda g, out, _x: -g * (out * out),
    samples=reals(1, (0.5, 2.0)),
)
def reciprocal(x: Array) -> Array:
    """One over every element.

    >>> reciprocal(np.array([2.0, -4.0]))
    array([ 0.5 , -0.25])
    """
    return 1 / x


def _power_base(g: Array, _out: Array, x: Array, y: Array) -> Array:
    """Give g y x^(y-1).

    Two conventions keep it finite: y = 0 gives 0 whatever x is, and so does x = 0
    with 0 < y < 1, where the slope is infinite (as for sqrt at 0).
    """
    if isinstance(y, (int, float)):
        if y == 0:
            return g * 0
        if y == 2:
            return g * (2 * x)
        if y >= 1:
            return g * (y * x ** (y - 1))
    flat = logical_or(equal(y, 0), _steep(x, y))
    base = where(flat, 1.0, x)
    return where(flat, 0.0, g * (y * power(base, y - 1)))


def _steep(x: Array, y: Array) -> Array:
    """Where x^y has an infinite slope in x and a finite value."""
    return (equal(x, 0)) * greater(y, 0) * less(y, 1)


def _power_exponent(g: Array, out: Array, x: Array, _y: Array) -> Array:
    """Give g x^y log x; 0 at x = 0, its limit for y > 0. nan for x < 0: it has none."""
    zero = equal(x, 0)
    return where(zero, 0.0, g * (out * log(where(zero, 1.0, x))))


@elementwise(
    formula="$x^{$y}",
    vjp=(_power_base, _power_exponent),
    samples=reals(2, (0.3, 2.0), (-2.0, 3.0)),
    edges=((0.0, 0.5), (0.0, 2.0), (0.0, -1.0), (-2.0, 2.0), (-2.0, 0.5)),
)
def power(x: Array, y: Array) -> Array:
    """First operand to the power of the second.

    >>> power(np.array([2.0, 3.0]), 2)
    array([4., 9.])
    """
    return x**y


def _share(g: Array, chosen: Array, x: Array, y: Array, tie: float) -> Array:
    """All of g where the operand is chosen, the share ``tie`` of it at a tie."""
    # tie * equal would be float64 whatever g is: a mask has no float dtype of its own.
    return g * chosen if tie == 0 else g * chosen + tie * g * equal(x, y)


def _reaches(chosen: Array, x: Array, y: Array, tie: float) -> Array:
    """Whether the operand has a path: at a tie, only if it has a share."""
    return chosen if tie == 0 else logical_or(chosen, equal(x, y))


@elementwise(
    formula=r"\max($x, $y)",
    vjp=(
        lambda g, _out, x, y, tie: _share(g, greater(x, y), x, y, tie),
        lambda g, _out, x, y, tie: _share(g, greater(y, x), x, y, tie),
    ),
    paths=(
        lambda x, y, tie: _reaches(greater(x, y), x, y, tie),
        lambda x, y, tie: _reaches(greater(y, x), x, y, tie),
    ),
    samples=reals(2, tie=0.5) + reals(2, tie=0.0),
)
def maximum(x: Array, y: Array, tie: float = 0.0) -> Array:  # noqa: ARG001 (for the rule)
    """Larger of two operands; ``tie`` is each operand's share of a gradient at a tie.

    >>> maximum(np.array([-1.0, 2.0]), 0.0)
    array([0., 2.])
    """
    return np.maximum(x, y)


@elementwise(
    formula=r"\min($x, $y)",
    vjp=(
        lambda g, _out, x, y, tie: _share(g, less(x, y), x, y, tie),
        lambda g, _out, x, y, tie: _share(g, less(y, x), x, y, tie),
    ),
    paths=(
        lambda x, y, tie: _reaches(less(x, y), x, y, tie),
        lambda x, y, tie: _reaches(less(y, x), x, y, tie),
    ),
    samples=reals(2, tie=0.5) + reals(2, tie=0.0),
)
def minimum(x: Array, y: Array, tie: float = 0.0) -> Array:  # noqa: ARG001 (for the rule)
    """Smaller of two operands; ``tie`` is each operand's share of a gradient at a tie.

    >>> minimum(np.array([-1.0, 2.0]), 0.0)
    array([-1.,  0.])
    """
    return np.minimum(x, y)


def _prefers(x: Array, y: Array, chosen: Array) -> Array:
    """Whether the first operand is chosen, or there is no other: nan is none."""
    return logical_or(chosen, greater(isnan(y), isnan(x)))


@elementwise(
    formula=r"\mathrm{fmax}($x, $y)",
    vjp=(
        lambda g, _out, x, y, tie: _share(g, _prefers(x, y, greater(x, y)), x, y, tie),
        lambda g, _out, x, y, tie: _share(g, _prefers(y, x, greater(y, x)), x, y, tie),
    ),
    paths=(
        lambda x, y, tie: _reaches(_prefers(x, y, greater(x, y)), x, y, tie),
        lambda x, y, tie: _reaches(_prefers(y, x, greater(y, x)), x, y, tie),
    ),
    samples=reals(2, tie=0.5) + reals(2, tie=0.0),
)
def fmax(x: Array, y: Array, tie: float = 0.0) -> Array:  # noqa: ARG001 (for the rule)
    """Larger of two operands, or the one that is a number; ties as in `maximum`.

    >>> fmax(np.array([-1.0, 2.0]), np.array([0.0, np.nan]))
    array([0., 2.])
    """
    return np.fmax(x, y)


@elementwise(
    formula=r"\mathrm{fmin}($x, $y)",
    vjp=(
        lambda g, _out, x, y, tie: _share(g, _prefers(x, y, less(x, y)), x, y, tie),
        lambda g, _out, x, y, tie: _share(g, _prefers(y, x, less(y, x)), x, y, tie),
    ),
    paths=(
        lambda x, y, tie: _reaches(_prefers(x, y, less(x, y)), x, y, tie),
        lambda x, y, tie: _reaches(_prefers(y, x, less(y, x)), x, y, tie),
    ),
    samples=reals(2, tie=0.5) + reals(2, tie=0.0),
)
def fmin(x: Array, y: Array, tie: float = 0.0) -> Array:  # noqa: ARG001 (for the rule)
    """Smaller of two operands, or the one that is a number; ties as in `minimum`.

    >>> fmin(np.array([-1.0, 2.0]), np.array([0.0, np.nan]))
    array([-1.,  2.])
    """
    return np.fmin(x, y)
