"""Powers of two, logarithms of other bases, the cube root, sums of exponentials."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_nn.op import Array, elementwise
from tinygrad_nn.ops.comparison import equal, isinf, logical_and
from tinygrad_nn.ops.elementwise import exp, log_sigmoid
from tinygrad_nn.ops.samples import reals
from tinygrad_nn.ops.selection import where

__all__ = ["cbrt", "exp2", "log2", "log10", "logaddexp", "logaddexp2"]

_LOG_2 = math.log(2)
_PER_LOG_2 = 1 / math.log(2)
_PER_LOG_10 = 1 / math.log(10)


@elementwise(
    formula="2^{$x}",
    vjp=lambda g, out, _x: g * (out * _LOG_2),
    samples=reals(1),
)
def exp2(x: Array) -> Array:
    """Two to the power of every element.

    >>> exp2(np.array([0.0, 3.0]))
    array([1., 8.])
    """
    return np.exp2(x)


@elementwise(
    formula=r"\mathrm{log2}($x)",
    vjp=lambda g, _out, x: g / x * _PER_LOG_2,
    samples=reals(1, (0.3, 3.0)),
)
def log2(x: Array) -> Array:
    """Logarithm to base 2.

    >>> log2(np.array([1.0, 8.0]))
    array([0., 3.])
    """
    return np.log2(x)


@elementwise(
    formula=r"\mathrm{log10}($x)",
    vjp=lambda g, _out, x: g / x * _PER_LOG_10,
    samples=reals(1, (0.3, 3.0)),
)
def log10(x: Array) -> Array:
    """Logarithm to base 10.

    >>> log10(np.array([1.0, 1000.0]))
    array([0., 3.])
    """
    return np.log10(x)


@elementwise(
    formula=r"\mathrm{cbrt}($x)",
    vjp=lambda g, out, _x: g / (3 * where(equal(out, 0), np.inf, out * out)),
    samples=reals(1),
)
def cbrt(x: Array) -> Array:
    """Cube root, of negative numbers too; its gradient at 0 is 0 by convention.

    >>> cbrt(np.array([0.0, -8.0]))
    array([ 0., -2.])
    """
    return np.cbrt(x)


def _share(x: Array, y: Array, scale: float = 1.0) -> Array:
    """Return the share of the first of two exponentials, ``sigmoid(x - y)``.

    As the exponential of a logarithm, which keeps its digits in both tails, and so do
    its derivatives. Two operands that are infinite alike have a half each.
    """
    alike = logical_and(isinf(x), equal(x, y))
    return exp(log_sigmoid(where(alike, 0.0, (x - y) * scale)))


@elementwise(
    formula=r"\log(e^{$x} + e^{$y})",
    vjp=(
        lambda g, _out, x, y: g * _share(x, y),
        lambda g, _out, x, y: g * _share(y, x),
    ),
    samples=reals(2),
    exact=lambda x, y: np.log(np.exp(x) + np.exp(y)),
)
def logaddexp(x: Array, y: Array) -> Array:
    """Logarithm of the sum of two exponentials, of which neither is computed.

    Of two operands that are both -inf, or both inf, each has half of the gradient.

    >>> logaddexp(np.array([1000.0, -np.inf]), np.array([1000.0, 0.0]))
    array([1000.69314718,    0.        ])
    """
    return np.logaddexp(x, y)


@elementwise(
    formula=r"\mathrm{log2}(2^{$x} + 2^{$y})",
    vjp=(
        lambda g, _out, x, y: g * _share(x, y, _LOG_2),
        lambda g, _out, x, y: g * _share(y, x, _LOG_2),
    ),
    samples=reals(2),
    exact=lambda x, y: np.log2(np.exp2(x) + np.exp2(y)),
)
def logaddexp2(x: Array, y: Array) -> Array:
    """Logarithm to base 2 of the sum of two powers of two; as `logaddexp`.

    >>> logaddexp2(np.array([1000.0, -np.inf]), np.array([1000.0, 0.0]))
    array([1001.,    0.])
    """
    return np.logaddexp2(x, y)
