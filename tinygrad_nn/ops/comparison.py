"""Comparisons and logic: recorded, so that masks can be recomputed; never a gradient.

``vjp=None`` declares them constant: they are flat wherever they are smooth.
"""

from __future__ import annotations

import numpy as np

from tinygrad_nn.op import Array, elementwise
from tinygrad_nn.ops.samples import reals

__all__ = [
    "equal",
    "greater",
    "greater_equal",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "sign",
    "signbit",
    "unit_sign",
    "unit_step",
]


@elementwise(formula="[$x = $y]", vjp=None, samples=reals(2))
def equal(x: Array, y: Array) -> Array:
    """Whether the operands are equal.

    >>> equal(np.array([1.0, 2.0]), 2.0)
    array([False,  True])
    """
    return np.equal(x, y)


@elementwise(formula=r"[$x \neq $y]", vjp=None, samples=reals(2))
def not_equal(x: Array, y: Array) -> Array:
    """Whether the operands differ.

    >>> not_equal(np.array([1.0, 2.0]), 2.0)
    array([ True, False])
    """
    return np.not_equal(x, y)


@elementwise(formula="[$x > $y]", vjp=None, samples=reals(2))
def greater(x: Array, y: Array) -> Array:
    """Whether the first operand is larger.

    >>> greater(np.array([1.0, 3.0]), 2.0)
    array([False,  True])
    """
    return np.greater(x, y)


@elementwise(formula=r"[$x \geq $y]", vjp=None, samples=reals(2))
def greater_equal(x: Array, y: Array) -> Array:
    """Whether the first operand is larger or equal.

    >>> greater_equal(np.array([1.0, 2.0]), 2.0)
    array([False,  True])
    """
    return np.greater_equal(x, y)


@elementwise(formula="[$x < $y]", vjp=None, samples=reals(2))
def less(x: Array, y: Array) -> Array:
    """Whether the first operand is smaller.

    >>> less(np.array([1.0, 2.0]), 2.0)
    array([ True, False])
    """
    return np.less(x, y)


@elementwise(formula=r"[$x \leq $y]", vjp=None, samples=reals(2))
def less_equal(x: Array, y: Array) -> Array:
    """Whether the first operand is smaller or equal.

    >>> less_equal(np.array([1.0, 3.0]), 2.0)
    array([ True, False])
    """
    return np.less_equal(x, y)


@elementwise(formula=r"$x \wedge $y", vjp=None, samples=reals(2, None))
def logical_and(x: Array, y: Array) -> Array:
    """Whether both operands are true.

    >>> logical_and(np.array([True, False]), True)
    array([ True, False])
    """
    return np.logical_and(x, y)


@elementwise(formula=r"$x \vee $y", vjp=None, samples=reals(2, None))
def logical_or(x: Array, y: Array) -> Array:
    """Whether any operand is true.

    >>> logical_or(np.array([True, False]), False)
    array([ True, False])
    """
    return np.logical_or(x, y)


@elementwise(formula=r"$x \neq $y", vjp=None, samples=reals(2, None))
def logical_xor(x: Array, y: Array) -> Array:
    """Whether one operand is true and the other is not.

    >>> logical_xor(np.array([True, False]), True)
    array([False,  True])
    """
    return np.logical_xor(x, y)


@elementwise(formula=r"\neg $x", vjp=None, samples=reals(1, None))
def logical_not(x: Array) -> Array:
    """Whether the operand is false.

    >>> logical_not(np.array([True, False]))
    array([False,  True])
    """
    return np.logical_not(x)


@elementwise(formula=r"\mathrm{isnan}($x)", vjp=None, samples=reals(1))
def isnan(x: Array) -> Array:
    """Whether an element is not a number.

    >>> isnan(np.array([1.0, np.nan]))
    array([False,  True])
    """
    return np.not_equal(x, x)


@elementwise(
    formula=r"\mathrm{isinf}($x)",
    vjp=None,
    samples=reals(1),
    exact=lambda x: np.equal(np.abs(x), np.inf),
)
def isinf(x: Array) -> Array:
    """Whether an element is infinite.

    >>> isinf(np.array([1.0, -np.inf, np.nan]))
    array([False,  True, False])
    """
    return np.isinf(x)


@elementwise(
    formula=r"\mathrm{isfinite}($x)",
    vjp=None,
    samples=reals(1),
    exact=lambda x: np.less(np.abs(x), np.inf),
)
def isfinite(x: Array) -> Array:
    """Whether an element is a number and not infinite.

    >>> isfinite(np.array([1.0, -np.inf, np.nan]))
    array([ True, False, False])
    """
    return np.isfinite(x)


@elementwise(
    formula=r"|$x - $y| \leq $atol + $rtol |$y|",
    vjp=None,
    samples=reals(2),
    exact=lambda x, y, rtol, atol, **_: np.abs(x - y) <= atol + rtol * np.abs(y),
)
def isclose(
    x: Array,
    y: Array,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    equal_nan: bool = False,
) -> Array:
    """Whether the operands differ by no more than a tolerance.

    >>> isclose(np.array([1.0, 2.0]), np.array([1.0 + 1e-9, 2.1]))
    array([ True, False])
    """
    return np.isclose(x, y, rtol, atol, equal_nan)


@elementwise(formula="[$x < 0]", vjp=None, samples=reals(1), exact=lambda x: x < 0)
def signbit(x: Array) -> Array:
    """Whether the sign is minus, that of -0.0 too.

    >>> signbit(np.array([1.0, -0.0]))
    array([False,  True])
    """
    return np.signbit(x)


@elementwise(formula=r"\mathrm{sign}($x)", vjp=None, samples=reals(1))
def sign(x: Array) -> Array:
    """Sign of every element: -1, 0 or 1. Flat away from 0, and 0 at 0 by convention.

    >>> sign(np.array([-2.0, 0.0, 3.0]))
    array([-1.,  0.,  1.])
    """
    return np.sign(x)


@elementwise(formula=r"\mathrm{sign}($x)", vjp=None, samples=reals(1), exact=np.sign)
def unit_sign(x: Array) -> Array:
    """Sign of every element as -1 or 1, which 0.0 and -0.0 have as well; constant.

    >>> unit_sign(np.array([-2.0, -0.0, 0.0]))
    array([-1., -1.,  1.])
    """
    return np.copysign(1.0, x)


@elementwise(
    formula="[$x > 0]", vjp=None, samples=reals(1), exact=lambda x: np.greater(x, 0)
)
def unit_step(x: Array) -> Array:
    """1 above 0, and 0 elsewhere, in a floating dtype; constant.

    >>> unit_step(np.array([-2.0, 0.0, 3.0, np.nan]))
    array([ 0.,  0.,  1., nan])
    """
    return np.heaviside(x, 0.0)
