"""Activations that would lose digits, time or a clear slope, if they were composed.

They are ``x`` times a gate that closes in one tail, differences that cancel near 0,
and what bends at 0. Factors of slopes are held `within` bounds beyond which a gate is 0
or 1 to the last digit, so at infinity values and slopes have their limits, unwarned.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_nn.op import Array, elementwise, inside_rules
from tinygrad_nn.ops.arithmetic import maximum, minimum, reciprocal, square
from tinygrad_nn.ops.comparison import greater, greater_equal, less
from tinygrad_nn.ops.elementwise import abs, exp, sigmoid, signed, softplus, tanh
from tinygrad_nn.ops.samples import reals
from tinygrad_nn.ops.selection import where

__all__ = [
    "elu",
    "gelu_tanh",
    "log_cosh",
    "mish",
    "prelu",
    "silu",
    "softsign",
    "tanhshrink",
    "within",
]

_SHUT = 1000.0
"""A distance from 0 at which sigmoid and tanh are what they are at infinity."""

_LINEAR = 2 * math.sqrt(2 / math.pi)
_CUBIC = 0.044715 * _LINEAR
_sigmoid = inside_rules(sigmoid)


@elementwise(
    formula="$x",
    vjp=lambda g, _out, x: g * less(abs(x), _SHUT),
    paths=(lambda x: less(abs(x), _SHUT),),
    samples=reals(1),
    exact=lambda x: x,
    edges=(-_SHUT, _SHUT),
)
def within(x: Array) -> Array:
    """``x``, held within 1000 of 0: a factor beside a gate that is shut or open there.

    It is read as ``x``, since the product is the same, but for 0 times infinity.

    >>> within(np.array([-np.inf, 2.0]))
    array([-1000.,     2.])
    """
    return np.minimum(np.maximum(x, -1000.0), 1000.0)


def _bent(g: Array, x: Array, below: Array, slope: Any) -> Array:
    """Return ``g`` above 0, ``below`` below; at 0 the least between their slopes.

    ``slope`` is the one from below, as a number or an array; the one from above is 1.
    """
    if not isinstance(slope, (int, float)):
        least = g * minimum(maximum(slope, 0.0), 1.0)
        return where(greater(x, 0), g, where(less(x, 0), below, least))
    if slope < 0:
        return where(greater(x, 0), g, where(less(x, 0), below, 0.0))
    return where(greater(x, 0) if slope <= 1 else greater_equal(x, 0), g, below)


@elementwise(
    formula=r"\mathrm{prelu}_{$slope}($x)",
    vjp=(
        lambda g, _out, x, slope: _bent(g, x, g * slope, slope),
        lambda g, _out, x, _slope: g * minimum(x, 0.0),
    ),
    paths=(None, lambda x, _slope: less(x, 0)),
    samples=reals(2, (-2.0, 2.0), (0.1, 0.9)),
)
def prelu(x: Array, slope: Array) -> Array:
    """Relu that goes on below 0 with a slope of its own, which may be learned.

    He, Zhang, Ren, Sun (2015), "Delving Deep into Rectifiers", equation 1. At 0 the
    slope is the least between ``slope`` and 1: for a slope from 0 to 1 itself.

    >>> prelu(np.array([-4.0, 2.0]), 0.25)
    array([-1.,  2.])
    """
    return np.where(x > 0, x, slope * np.minimum(x, 0.0))


@elementwise(
    formula=r"\mathrm{elu}_{$alpha}($x)",
    vjp=lambda g, _out, x, alpha: _bent(g, x, g * (alpha * exp(-abs(x))), alpha),
    samples=reals(1) + reals(1, alpha=0.5)[:3] + reals(1, alpha=-2)[2:3],
)
def elu(x: Array, alpha: float = 1.0) -> Array:
    """Exponential linear unit: ``x`` above 0, ``alpha (exp(x) - 1)`` below.

    At 0 the slope is the least between alpha and 1.

    >>> elu(np.array([-1000.0, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """
    # Minus the size is x below 0, and above it no exponential of a large number.
    return np.where(x > 0, x, alpha * np.expm1(0.0 - np.abs(x)))


def _silu_slope(x: Array) -> Array:
    gate = _sigmoid(x)
    return gate * (1.0 + within(x) * (1.0 - gate))


@elementwise(
    formula=r"$x \, \sigma($x)",
    vjp=lambda g, _out, x: g * _silu_slope(x),
    samples=reals(1, (-4.0, 4.0)),
    quiet=True,
    exact=lambda x: x / (1.0 + np.exp(-x)),
)
def silu(x: Array) -> Array:
    """``x`` times its sigmoid, also called swish.

    Elfwing, Uchibe, Doya (2018), "Sigmoid-Weighted Linear Units"; Ramachandran, Zoph,
    Le (2017), "Searching for Activation Functions".

    >>> silu(np.array([-np.inf, 0.0, 1.0, np.inf]))
    array([-0.        ,  0.        ,  0.73105858,         inf])
    """
    return np.maximum(x, -_SHUT) / (1.0 + np.exp(-signed(x)))


def _mish_slope(x: Array) -> Array:
    gate = tanh(softplus(x))
    return gate + within(x) * _sigmoid(x) * (1.0 - gate * gate)


@elementwise(
    formula=r"$x \tanh(\log(1 + e^{$x}))",
    vjp=lambda g, _out, x: g * _mish_slope(x),
    samples=reals(1, (-4.0, 4.0)),
    quiet=True,
    exact=lambda x: x * np.tanh(np.log1p(np.exp(x))),
)
def mish(x: Array) -> Array:
    """``x`` times the hyperbolic tangent of its softplus.

    With e = exp(x) the gate is e (e + 2) / (e (e + 2) + 2), for x > 0 written in 1 / e.
    Misra (2019), "Mish: A Self Regularized Non-Monotonic Activation Function".

    >>> mish(np.array([-np.inf, 0.0, 1.0, np.inf]))
    array([-0.        ,  0.        ,  0.86509839,         inf])
    """
    tail = np.exp(-np.abs(signed(x)))
    above = x > 0
    odds, unit = np.where(above, 1.0, tail), np.where(above, tail, 1.0)
    share = odds * (odds + 2.0 * unit)
    return np.maximum(x, -_SHUT) * (share / (share + 2.0 * unit * unit))


def _gelu_slope(x: Array) -> Array:
    x = within(x)
    squares = square(x)
    gate = _sigmoid(x * (_LINEAR + _CUBIC * squares))
    return gate + gate * (1.0 - gate) * (x * (_LINEAR + 3 * (_CUBIC * squares)))


@elementwise(
    formula=r"\mathrm{gelu}($x)",
    vjp=lambda g, _out, x: g * _gelu_slope(x),
    samples=reals(1, (-4.0, 4.0)),
    quiet=True,
    exact=lambda x: x / (1.0 + np.exp(-x * (_LINEAR + _CUBIC * (x * x)))),
)
def gelu_tanh(x: Array) -> Array:
    """Gaussian error linear unit, by the formula with a hyperbolic tangent.

    ``x/2 (1 + tanh(u))`` for ``u = sqrt(2/pi) (x + 0.044715 x**3)``, which is
    ``x sigmoid(2 u)``: no digit is lost in the left tail. Hendrycks, Gimpel (2016),
    "Gaussian Error Linear Units".

    >>> gelu_tanh(np.array([-np.inf, 0.0, 1.0, np.inf]))
    array([-0.        ,  0.        ,  0.84119199,         inf])
    """
    x = signed(x)
    return np.maximum(x, -_SHUT) / (1.0 + np.exp(-x * (_LINEAR + _CUBIC * (x * x))))


@elementwise(
    formula=r"\frac{$x}{1 + |$x|}",
    vjp=lambda g, _out, x: g * square(reciprocal(1.0 + abs(x))),
    samples=reals(1),
)
def softsign(x: Array) -> Array:
    """``x / (1 + |x|)``: a sigmoid from -1 to 1 with slow tails.

    Turian, Bergstra, Bengio (2009), "Quadratic Features and Deep Architectures for
    Chunking".

    >>> softsign(np.array([-1.0, 0.0, 3.0, np.inf]))
    array([-0.5 ,  0.  ,  0.75,  1.  ])
    """
    x = signed(x)
    size = np.abs(x)
    ends = size == np.inf
    return np.where(ends, np.sign(x), x) / np.where(ends, 1.0, 1.0 + size)


@elementwise(
    formula=r"$x - \tanh $x",
    vjp=lambda g, _out, x: g * square(tanh(x)),
    samples=reals(1),
    quiet=True,
    exact=lambda x: x - np.tanh(x),
)
def tanhshrink(x: Array) -> Array:
    """``x - tanh(x)``, with all its digits near 0 too, where it is ``x**3 / 3``.

    There it is taken from Lambert's continued fraction before anything cancels:
    tanh x = x / (1 + x² / (3 + x² / (5 + …))).

    >>> tanhshrink(np.array([1e-3, 1.0]))
    array([3.33333200e-10, 2.38405844e-01])
    """
    x = signed(x)
    s = np.minimum(x * x, 0.25)
    rest = 29.0
    for odd in range(27, 1, -2):  # more than floats need: enough for thirty digits
        rest = odd + s / rest
    return np.where(np.abs(x) < 0.5, x * (s / (rest + s)), x - np.tanh(x))


@elementwise(
    formula=r"\log \cosh $x",
    vjp=lambda g, _out, x: g * tanh(x),
    samples=reals(1),
    quiet=True,
    exact=lambda x: np.log((np.exp(x) + np.exp(-x)) / 2),
)
def log_cosh(x: Array) -> Array:
    """Logarithm of the hyperbolic cosine, accurate near 0 and in both tails.

    Near 0 by cosh x - 1 = -(e^x - 1)(e^-x - 1) / 2.

    >>> log_cosh(np.array([-1000.0, 0.0, 1e-5]))
    array([9.99306853e+02, 0.00000000e+00, 5.00000000e-11])
    """
    size = np.abs(signed(x))
    near = np.log1p(-0.5 * np.expm1(size) * np.expm1(-size))
    return np.where(size < 1, near, size + np.log1p(np.exp(-2.0 * size)) - math.log(2))
