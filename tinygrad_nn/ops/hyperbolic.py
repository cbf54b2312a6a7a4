"""Hyperbolic functions and their inverses; tanh is among the activations.

The slope of arccosh at 1 is infinite and its value is not: it is 0 by the convention
of `sqrt`. At the ends of arctanh the value is infinite, and so is the slope.
"""

from __future__ import annotations

import numpy as np

from tinygrad_nn.op import Array, elementwise
from tinygrad_nn.ops.arithmetic import one_minus_square
from tinygrad_nn.ops.comparison import equal
from tinygrad_nn.ops.elementwise import sqrt
from tinygrad_nn.ops.samples import reals
from tinygrad_nn.ops.selection import where
from tinygrad_nn.ops.trigonometric import hypot

__all__ = ["arccosh", "arcsinh", "arctanh", "cosh", "sinh"]


@elementwise(
    formula=r"\sinh $x",
    vjp=lambda g, _out, x: g * cosh(x),
    samples=reals(1),
)
def sinh(x: Array) -> Array:
    """Hyperbolic sine of every element.

    >>> sinh(np.array([0.0, 1.0]))
    array([0.        , 1.17520119])
    """
    return np.sinh(x)


@elementwise(
    formula=r"\cosh $x",
    vjp=lambda g, _out, x: g * sinh(x),
    samples=reals(1),
)
def cosh(x: Array) -> Array:
    """Hyperbolic cosine of every element.

    >>> cosh(np.array([0.0, 1.0]))
    array([1.        , 1.54308063])
    """
    return np.cosh(x)


@elementwise(
    formula=r"\mathrm{arcsinh}($x)",
    vjp=lambda g, _out, x: g / hypot(1.0, x),
    samples=reals(1),
)
def arcsinh(x: Array) -> Array:
    """Number whose hyperbolic sine is given.

    >>> arcsinh(np.array([0.0, 1.0]))
    array([0.        , 0.88137359])
    """
    return np.arcsinh(x)


def _arccosh_rule(g: Array, _out: Array, x: Array) -> Array:
    """Give g over the square root of x² - 1, which would cancel near 1."""
    root = sqrt(x - 1.0) * sqrt(x + 1.0)
    return g / where(equal(root, 0), np.inf, root)


@elementwise(
    formula=r"\mathrm{arccosh}($x)",
    vjp=_arccosh_rule,
    samples=reals(1, (1.2, 3.0)),
    edges=(1.0,),
)
def arccosh(x: Array) -> Array:
    """Number whose hyperbolic cosine is given; its gradient at 1 is 0 by convention.

    >>> arccosh(np.array([1.0, 2.0]))
    array([0.       , 1.3169579])
    """
    return np.arccosh(x)


@elementwise(
    formula=r"\mathrm{arctanh}($x)",
    vjp=lambda g, _out, x: g / one_minus_square(x),
    samples=reals(1, (-0.9, 0.9)),
    edges=(-1.0, 1.0),
)
def arctanh(x: Array) -> Array:
    """Number whose hyperbolic tangent is given.

    >>> arctanh(np.array([0.0, 0.5]))
    array([0.        , 0.54930614])
    """
    return np.arctanh(x)
