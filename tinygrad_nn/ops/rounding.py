"""Whole numbers and what is left of them; the parts of a floating number.

Steps are constant: they are flat wherever they are smooth. Their remainders have
slopes, and a remainder's slope in the divisor is the whole quotient, negated. It is
found from the remainder itself, for the rounded quotient may be off by one.
"""

from __future__ import annotations

import numpy as np

from tinygrad_nn.op import Array, elementwise
from tinygrad_nn.ops.samples import cases, reals

__all__ = [
    "ceil",
    "exponent",
    "floor",
    "floor_divide",
    "fmod",
    "fraction",
    "ldexp",
    "remainder",
    "rint",
    "round",
    "spacing",
    "trunc",
]

_NUMBERS = reals(1, (-0.9, 3.0))


@elementwise(formula=r"\mathrm{floor}($x)", vjp=None, samples=_NUMBERS)
def floor(x: Array) -> Array:
    """Largest whole number that is not above; constant.

    >>> floor(np.array([-1.5, 1.5]))
    array([-2.,  1.])
    """
    return np.floor(x)


@elementwise(formula=r"\mathrm{ceil}($x)", vjp=None, samples=_NUMBERS)
def ceil(x: Array) -> Array:
    """Smallest whole number that is not below; constant.

    >>> ceil(np.array([-1.5, 1.5]))
    array([-1.,  2.])
    """
    return np.ceil(x)


@elementwise(formula=r"\mathrm{trunc}($x)", vjp=None, samples=_NUMBERS)
def trunc(x: Array) -> Array:
    """Whole number toward zero; constant.

    >>> trunc(np.array([-1.5, 1.5]))
    array([-1.,  1.])
    """
    return np.trunc(x)


@elementwise(formula=r"\mathrm{rint}($x)", vjp=None, samples=_NUMBERS)
def rint(x: Array) -> Array:
    """Nearest whole number, the even one of two; constant.

    >>> rint(np.array([0.5, 1.5, -1.2]))
    array([ 0.,  2., -1.])
    """
    return np.rint(x)


@elementwise(
    formula=r"\mathrm{round}($x)",
    vjp=None,
    samples=_NUMBERS + cases(((3,), {"decimals": 1}), ((2,), {"decimals": -1})),
    exact=lambda x, decimals: np.rint(x * 10**decimals) / 10**decimals,
)
def round(x: Array, decimals: int = 0) -> Array:
    """Nearest number of so many decimals; constant.

    >>> round(np.array([0.5, 1.26, -1.2]), decimals=1)
    array([ 0.5,  1.3, -1.2])
    """
    return np.round(x, decimals)


@elementwise(
    formula=r"\mathrm{floor}(\frac{$x}{$y})",
    vjp=None,
    samples=reals(2, (-0.9, 3.0), (1.0, 2.0)),
)
def floor_divide(x: Array, y: Array) -> Array:
    """Largest whole number that is not above the quotient; constant.

    >>> floor_divide(np.array([5.0, -5.0]), 2.0)
    array([ 2., -3.])
    """
    return np.floor_divide(x, y)


@elementwise(
    formula=r"\mathrm{mod}($x, $y)",
    vjp=(
        lambda g, _out, _x, _y: g,
        lambda g, out, x, y: -g * rint((x - out) / y),
    ),
    samples=reals(2, (-2.0, 2.0), (0.3, 0.9)),
)
def remainder(x: Array, y: Array) -> Array:
    """Rest of a division that rounds down: it has the sign of the divisor.

    >>> remainder(np.array([5.0, -5.0]), 3.0)
    array([2., 1.])
    """
    return np.remainder(x, y)


@elementwise(
    formula=r"\mathrm{fmod}($x, $y)",
    vjp=(
        lambda g, _out, _x, _y: g,
        lambda g, out, x, y: -g * rint((x - out) / y),
    ),
    samples=reals(2, (-2.0, 2.0), (0.3, 0.9)),
)
def fmod(x: Array, y: Array) -> Array:
    """Rest of a division that rounds toward zero: it has the sign of the dividend.

    >>> fmod(np.array([5.0, -5.0]), 3.0)
    array([ 2., -2.])
    """
    return np.fmod(x, y)


@elementwise(
    formula=r"\mathrm{fraction}($x)",
    vjp=lambda g, _out, _x: g,
    samples=reals(1),
    exact=lambda x: x - np.trunc(x),
)
def fraction(x: Array) -> Array:
    """Part behind the point, with the sign of the number: the first of NumPy's `modf`.

    >>> fraction(np.array([1.25, -1.25]))
    array([ 0.25, -0.25])
    """
    return np.modf(x)[0]


@elementwise(
    formula=r"\mathrm{exponent}($x)",
    vjp=None,
    samples=reals(1),
    exact=lambda x: np.floor(np.log2(np.abs(x))) + 1,
)
def exponent(x: Array) -> Array:
    """Whole power of two above the number: the second of NumPy's `frexp`; constant.

    >>> exponent(np.array([1.0, 3.0, 4.0]))
    array([1, 2, 3], dtype=int32)
    """
    return np.frexp(x)[1]


def _no_gradient(_g: Array, _out: Array, _x: Array, _y: Array) -> None:
    """An exponent is a whole number."""


@elementwise(
    formula="$x 2^{$y}",
    vjp=(lambda g, _out, _x, y: ldexp(g, y), _no_gradient),
    samples=reals(2, (-2.0, 2.0), None),
    exact=lambda x, y: x * 2.0**y,
)
def ldexp(x: Array, y: Array) -> Array:
    """First operand times two to the power of the second, a whole number.

    >>> ldexp(np.array([1.0, 3.0]), np.array([3, -1]))
    array([8. , 1.5])
    """
    return np.ldexp(x, y)


@elementwise(
    formula=r"\mathrm{spacing}($x)",
    vjp=None,
    samples=reals(1),
    exact=lambda x: np.exp2(np.floor(np.log2(np.abs(x))) - 52),
)
def spacing(x: Array) -> Array:
    """Distance to the next floating number away from zero; constant.

    >>> spacing(np.array([1.0, 2.0])) == np.finfo(float).eps * np.array([1.0, 2.0])
    array([ True,  True])
    """
    return np.spacing(x)
