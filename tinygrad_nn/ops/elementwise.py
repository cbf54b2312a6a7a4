"""Functions of one operand, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn.errors import DtypeError
from tinygrad_nn.op import Array, elementwise, inside_rules
from tinygrad_nn.ops.comparison import equal, greater, sign
from tinygrad_nn.ops.samples import reals
from tinygrad_nn.ops.selection import where

__all__ = [
    "abs",
    "astype",
    "cos",
    "exp",
    "expm1",
    "log",
    "log1m_sigmoid",
    "log1p",
    "log_sigmoid",
    "logistic_loss",
    "logistic_residual",
    "relu",
    "sigmoid",
    "sin",
    "softplus",
    "sqrt",
    "tanh",
]


def signed(x: Array) -> Array:
    """Return the operand such that it can be negated: unsigned integers wrap."""
    is_array = x.__class__ is np.ndarray or isinstance(x, np.generic)
    return x * 1.0 if is_array and x.dtype.kind in "ub" else x


@elementwise(
    formula="|$x|",
    vjp=lambda g, _out, x: g * sign(x),
    samples=reals(1),
)
def abs(x: Array) -> Array:
    """Absolute value; its gradient at 0 is 0, the subgradient of least norm.

    >>> abs(np.array([-1.0, 2.0]))
    array([1., 2.])
    """
    return np.abs(x)


@elementwise(
    formula="$x",
    vjp=lambda g, _out, _x, **_: astype(g, _x.dtype),
    samples=reals(1),
)
def astype(x: Array, dtype: Any = None) -> Array:
    """Copy of the array in another real dtype; in its own where none is given.

    >>> astype(np.array([1.5, 2.0]), np.float32)
    array([1.5, 2. ], dtype=float32)
    """
    if dtype is not None and np.dtype(dtype).kind not in "fiub":
        raise DtypeError(f"expected a real dtype, not {np.dtype(dtype)}")
    return np.array(x, dtype)


@elementwise(
    formula="e^{$x}",
    vjp=lambda g, out, _x: g * out,
    samples=reals(1),
)
def exp(x: Array) -> Array:
    """Exponential of every element.

    >>> exp(np.array([0.0, 1.0]))
    array([1.        , 2.71828183])
    """
    return np.exp(x)


@elementwise(
    formula="e^{$x} - 1",
    vjp=lambda g, _out, x: g * exp(x),  # out + 1 loses digits where x is below 0
    samples=reals(1),
)
def expm1(x: Array) -> Array:
    """Exponential minus one, accurate near 0.

    >>> expm1(np.array([0.0, 1e-20]))
    array([0.e+00, 1.e-20])
    """
    return np.expm1(x)


@elementwise(
    formula=r"\log $x",
    vjp=lambda g, _out, x: g / x,
    samples=reals(1, (0.3, 3.0)),
)
def log(x: Array) -> Array:
    """Natural logarithm of every element.

    Of a sigmoid, of one minus a sigmoid, of a softmax, of ``1 + exp(z)`` and of
    ``sum(exp(z))`` the stable form is recorded (see `tinygrad_nn.algebra`).

    >>> log(np.array([1.0, 8.0]))
    array([0.        , 2.07944154])
    """
    return np.log(x)


@elementwise(
    formula=r"\log(1 + $x)",
    vjp=lambda g, _out, x: g / (1 + x),
    samples=reals(1, (-0.6, 2.0)),
    edges=(-1.0,),
)
def log1p(x: Array) -> Array:
    """Logarithm of one plus every element, accurate near 0.

    >>> log1p(np.array([0.0, 1e-20]))
    array([0.e+00, 1.e-20])
    """
    return np.log1p(x)


@elementwise(
    formula=r"\sqrt{$x}",
    # The slope at 0 is infinite; the convention, shared by norm, std and power, is 0:
    # dividing by infinity gives it without a second pass over g.
    vjp=lambda g, out, _x: g / (2 * where(equal(out, 0), np.inf, out)),
    samples=reals(1, (0.3, 3.0)),
)
def sqrt(x: Array) -> Array:
    """Square root; its gradient at 0 is 0 by convention.

    >>> sqrt(np.array([0.0, 9.0]))
    array([0., 3.])
    """
    return np.sqrt(x)


@elementwise(
    formula=r"\sin $x",
    vjp=lambda g, _out, x: g * cos(x),
    samples=reals(1, (-3.0, 3.0)),
)
def sin(x: Array) -> Array:
    """Sine of an angle in radians.

    >>> sin(np.array([0.0, np.pi / 2]))
    array([0., 1.])
    """
    return np.sin(x)


@elementwise(
    formula=r"\cos $x",
    vjp=lambda g, _out, x: g * -sin(x),
    samples=reals(1, (-3.0, 3.0)),
)
def cos(x: Array) -> Array:
    """Cosine of an angle in radians.

    >>> cos(np.array([0.0, np.pi]))
    array([ 1., -1.])
    """
    return np.cos(x)


@elementwise(
    formula=r"\tanh $x",
    vjp=lambda g, out, _x: g * (1.0 - out * out),
    samples=reals(1),
)
def tanh(x: Array) -> Array:
    """Hyperbolic tangent of every element.

    >>> tanh(np.array([0.0, np.inf]))
    array([0., 1.])
    """
    return np.tanh(x)


@elementwise(
    formula=r"\sigma($x)",
    vjp=lambda g, out, _x: g * (out * (1.0 - out)),
    samples=reals(1, (-4.0, 4.0)),
    quiet=True,
)
def sigmoid(x: Array) -> Array:
    """Logistic function 1 / (1 + exp(-x)); an overflow on the way is a right 0.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return 1.0 / (1.0 + np.exp(-signed(x)))


_sigmoid = inside_rules(sigmoid)


@elementwise(
    formula=r"\log \sigma($x)",
    # 1 - sigmoid(x) = 1 - e^out, without losing digits where e^out is close to 1.
    vjp=lambda g, out, _x: g * -expm1(out),
    samples=reals(1, (-4.0, 4.0)),
    exact=lambda x: -np.log1p(np.exp(-x)),
)
def log_sigmoid(x: Array) -> Array:
    """Logarithm of the sigmoid, accurate in both tails.

    >>> log_sigmoid(np.array([-1000.0, 0.0]))
    array([-1.00000000e+03, -6.93147181e-01])
    """
    x = signed(x)
    return np.minimum(x, 0.0) - np.log1p(np.exp(-np.abs(x)))


@elementwise(
    formula=r"\log(1 - \sigma($x))",
    # -sigmoid(x) = e^out - 1
    vjp=lambda g, out, _x: g * expm1(out),
    samples=reals(1, (-4.0, 4.0)),
    exact=lambda x: -np.log1p(np.exp(x)),
)
def log1m_sigmoid(x: Array) -> Array:
    """Logarithm of one minus the sigmoid, accurate in both tails.

    >>> log1m_sigmoid(np.array([1000.0, 0.0]))
    array([-1.00000000e+03, -6.93147181e-01])
    """
    x = signed(x)
    return np.minimum(-x, 0.0) - np.log1p(np.exp(-np.abs(x)))


@elementwise(
    formula=r"\log(1 + e^{$x})",
    # sigmoid(x) = 1 - e^-out
    vjp=lambda g, out, _x: g * -expm1(-out),
    samples=reals(1, (-4.0, 4.0)),
    exact=lambda x: np.log1p(np.exp(x)),
)
def softplus(x: Array) -> Array:
    """Logarithm of ``1 + exp(x)``, accurate in both tails.

    >>> softplus(np.array([0.0, 1000.0]))
    array([6.93147181e-01, 1.00000000e+03])
    """
    x = signed(x)
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


@elementwise(
    formula=r"\mathrm{relu}($x)",
    vjp=lambda g, _out, x: g * greater(x, 0.0),
    paths=(lambda x: greater(x, 0),),
    samples=reals(1),
)
def relu(x: Array) -> Array:
    """Positive part of every element; its gradient at 0 is 0.

    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return np.maximum(x, 0)


@elementwise(
    formula=r"\sigma($x) - $y",
    vjp=(
        lambda g, _out, x, _y: g * (_sigmoid(x) * _sigmoid(-x)),
        lambda g, _out, _x, _y: -g,
    ),
    samples=reals(2, (-4.0, 4.0), (0.0, 1.0)),
    exact=lambda x, y: 1.0 / (1.0 + np.exp(-x)) - y,
)
def logistic_residual(x: Array, y: Array) -> Array:
    """``sigmoid(x) - y`` without losing digits where the sigmoid is close to ``y``.

    Equal to ``(1 - y) sigmoid(x) - y sigmoid(-x)``: for labels 0 and 1 one of the
    terms is exactly 0, and the other is accurate in both tails. With the odds
    e = exp(-x) against the label it is one fraction, (1 - y - y e) / (1 + e).

    >>> logistic_residual(np.array([40.0, 0.0]), np.array([1.0, 0.0]))
    array([-4.24835426e-18,  5.00000000e-01])
    """
    x = signed(x)
    odds = np.exp(np.minimum(-x, _largest_exponent(x)))
    return ((1.0 - y) - y * odds) / (1.0 + odds)


def _largest_exponent(x: Array) -> float:
    """Return the largest whole number whose exponential is finite in this dtype."""
    return _LARGEST.get(x.dtype.char, np.inf)


_LARGEST: dict[str, float] = {
    char: np.floor(np.log(np.finfo(char).max)).item() for char in "efd"
}


@elementwise(
    formula=r"\log(1 + e^{$x}) - $y $x",
    vjp=(
        lambda g, _out, x, y: g * logistic_residual(x, y),
        lambda g, _out, x, _y: -g * x,
    ),
    samples=reals(2, (-4.0, 4.0), (0.0, 1.0)),
    exact=lambda x, y: np.log1p(np.exp(x)) - x * y,
)
def logistic_loss(x: Array, y: Array) -> Array:
    """Cross-entropy of the label ``y`` and the logit ``x``, accurate in both tails.

    ``-(y log(sigmoid(x)) + (1 - y) log(1 - sigmoid(x)))``

    >>> logistic_loss(np.array([-1000.0, 0.0]), np.array([1.0, 0.0]))
    array([1.00000000e+03, 6.93147181e-01])
    """
    x = signed(x)
    return np.maximum(x, 0.0) - x * y + np.log1p(np.exp(-np.abs(x)))
