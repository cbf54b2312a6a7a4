"""Special functions, as SciPy computes them; their slopes are among them.

Families whose derivatives are members of the family (polygamma, exprel, and in
`bessel` the Bessel functions) are one op with an ``order``, so that every derivative
has all its digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import methodcaller

import numpy as np

from tinygrad_nn.op import Array, elementwise
from tinygrad_nn.ops.arithmetic import reciprocal, square
from tinygrad_nn.ops.comparison import equal, greater, less
from tinygrad_nn.ops.elementwise import abs, exp, log, log1p
from tinygrad_nn.ops.samples import cases, reals
from tinygrad_nn.ops.scipy_room import scipy
from tinygrad_nn.ops.selection import where

__all__ = [
    "betaln",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exprel",
    "gamma",
    "gammaln",
    "hazard",
    "kl_div",
    "log_ndtr",
    "logit",
    "ndtri",
    "polygamma",
    "rel_entr",
]

_BELL = 2 / math.sqrt(math.pi)
_INVERSE_BELL = math.sqrt(math.pi) / 2
_ROOT = math.sqrt(2 * math.pi)
_HALF_ROOT = math.sqrt(0.5)
_MILLS = math.sqrt(2 / math.pi)
_FAR = 15.0
_FAR_SUM = [(-0.5) ** n * math.prod(range(1, 2 * n, 2)) for n in range(9)]
"""The series of sqrt(pi) x erfcx(x) in 1 / x²; from `_FAR` on it has all digits.

NIST's Digital Library of Mathematical Functions, 7.12.1.
"""
_FAR_SLOPE = [(2 * n + 1) * a for n, a in enumerate(_FAR_SUM)]
"""That of -sqrt(pi) x² times the slope of erfcx."""


def of_elements(name: str, *settings: int) -> Callable[[Array], Array]:
    """Return a function of arrays of exact numbers: their method of this name."""
    return np.frompyfunc(methodcaller(name, *settings), 1, 1)


# --- the error function ---


@elementwise(
    formula=r"\mathrm{erf}($x)",
    vjp=lambda g, _out, x: g * (_BELL * exp(-(x * x))),
    samples=reals(1),
    exact=of_elements("erf"),
)
def erf(x: Array) -> Array:
    """Error function: the integral of ``2/√π exp(-t²)`` from 0.

    >>> erf(np.array([0.0, 1.0, np.inf]))
    array([0.        , 0.84270079, 1.        ])
    """
    return scipy.special.erf(x)


@elementwise(
    formula=r"\mathrm{erfc}($x)",
    vjp=lambda g, _out, x: -g * (_BELL * exp(-(x * x))),
    samples=reals(1),
    exact=of_elements("erfc"),
)
def erfc(x: Array) -> Array:
    """One minus the error function, with all its digits in the right tail.

    >>> erfc(np.array([0.0, 10.0]))
    array([1.00000000e+00, 2.08848758e-45])
    """
    return scipy.special.erfc(x)


def _in_powers(x: Array, coefficients: Sequence[float]) -> Array:
    """Return the sum of coefficients times powers of 1 / x²."""
    y = square(reciprocal(x))
    total = 0.0 * y
    for coefficient in coefficients[::-1]:
        total = total * y + coefficient
    return total


def _slope_of_erfcx(x: Array, out: Array) -> Array:
    """Give 2 x erfcx(x) - 2 / sqrt(pi), and its series far right: there it cancels."""
    far = greater(x, _FAR)
    near = 2 * where(far, 0.0, x) * where(far, 0.0, out) - _BELL
    z = where(far, x, _FAR)
    return where(
        far, -_BELL / 2 * square(reciprocal(z)) * _in_powers(z, _FAR_SLOPE), near
    )


@elementwise(
    formula=r"\mathrm{erfcx}($x)",
    vjp=lambda g, out, x: g * _slope_of_erfcx(x, out),
    samples=reals(1),
    exact=lambda x: np.exp(x * x) * of_elements("erfc")(x),
)
def erfcx(x: Array) -> Array:
    """``exp(x²) erfc(x)``, which does not underflow in the right tail.

    >>> erfcx(np.array([0.0, 1000.0]))
    array([1.00000000e+00, 5.64189301e-04])
    """
    return scipy.special.erfcx(x)


@elementwise(
    formula=r"\mathrm{erfinv}($x)",
    vjp=lambda g, out, _x: g * (_INVERSE_BELL * exp(out * out)),
    samples=reals(1, (-0.9, 0.9)),
    exact=of_elements("erfinv"),
    edges=(-1.0, 1.0),
)
def erfinv(x: Array) -> Array:
    """Number whose error function is given.

    >>> erfinv(np.array([0.0, 0.5, 1.0]))
    array([0.        , 0.47693628,        inf])
    """
    return scipy.special.erfinv(x)


@elementwise(
    formula=r"\mathrm{ndtri}($x)",
    vjp=lambda g, out, _x: g * (_ROOT * exp(out * out / 2)),
    samples=reals(1, (0.1, 0.9)),
    exact=lambda x: of_elements("erfinv")(2 * x - 1) / _HALF_ROOT,
    edges=(1.0,),
)
def ndtri(x: Array) -> Array:
    """Number below which a normal variable stays with the given probability.

    >>> ndtri(np.array([0.5, 0.975]))
    array([0.        , 1.95996398])
    """
    return scipy.special.ndtri(x)


def _slope_of_hazard(x: Array, out: Array) -> Array:
    """Give -out (x + out), and its series far left, where that cancels."""
    far = less(x, -_FAR / _HALF_ROOT)
    z = where(far, -_HALF_ROOT * x, _FAR)
    out = where(far, 0.0, out)
    near = -out * (where(equal(out, 0), 0.0, x) + out)
    slope = -_in_powers(z, _FAR_SLOPE) / square(_in_powers(z, _FAR_SUM))
    return where(far, slope, near)


@elementwise(
    formula=r"\mathrm{hazard}($x)",
    vjp=lambda g, out, x: g * _slope_of_hazard(x, out),
    samples=reals(1),
    exact=lambda x: _MILLS * np.exp(-x * x / 2) / of_elements("erfc")(-_HALF_ROOT * x),
)
def hazard(x: Array) -> Array:
    """Density of a normal variable over the probability that it stays below.

    Mills' ratio of the left tail, turned over, where both of them underflow.

    >>> hazard(np.array([-1000.0, 0.0]))
    array([1.00000100e+03, 7.97884561e-01])
    """
    return _MILLS / scipy.special.erfcx(-_HALF_ROOT * x)


@elementwise(
    formula=r"\mathrm{logndtr}($x)",
    vjp=lambda g, _out, x: g * hazard(x),
    samples=reals(1),
    exact=lambda x: np.log(of_elements("erfc")(-_HALF_ROOT * x) / 2),
)
def log_ndtr(x: Array) -> Array:
    """Logarithm of the probability that a normal variable stays below.

    >>> log_ndtr(np.array([-1000.0, 0.0]))
    array([-5.00007827e+05, -6.93147181e-01])
    """
    return scipy.special.log_ndtr(x)


@elementwise(
    formula=r"\log \frac{$x}{1 - $x}",
    vjp=lambda g, _out, x: g / (x * (1 - x)),
    samples=reals(1, (0.1, 0.9)),
    exact=lambda x: np.log(x / (1 - x)),
    edges=(1.0,),
)
def logit(x: Array) -> Array:
    """Logarithm of the odds of a probability: the inverse of `sigmoid`.

    >>> logit(np.array([0.0, 0.5, 0.75]))
    array([      -inf, 0.        , 1.09861229])
    """
    return scipy.special.logit(x)


# --- the gamma function ---


@elementwise(
    formula=r"\Gamma($x)",
    vjp=lambda g, out, x: g * (out * polygamma(x, 0)),
    samples=reals(1, (0.4, 3.0)),
    exact=of_elements("gamma"),
)
def gamma(x: Array) -> Array:
    """Gamma function: ``gamma(n + 1)`` is n factorial.

    >>> gamma(np.array([0.5, 5.0]))
    array([ 1.77245385, 24.        ])
    """
    return scipy.special.gamma(x)


@elementwise(
    formula=r"\log \Gamma($x)",
    vjp=lambda g, _out, x: g * polygamma(x, 0),
    samples=reals(1, (0.4, 3.0)),
    exact=of_elements("gammaln"),
)
def gammaln(x: Array) -> Array:
    """Logarithm of the absolute value of the gamma function.

    >>> gammaln(np.array([1.0, 171.0]))
    array([  0.        , 706.57306225])
    """
    return scipy.special.gammaln(x)


def _reflected(x: Array, order: int) -> Array:
    """Return the derivative of π cot(πx) of this order: a polynomial in cot(πx)."""
    rule = [0.0, 1.0]
    for _ in range(order):  # the slope of the cotangent c is -(1 + c²)
        slope = [k * a for k, a in enumerate(rule)][1:]
        rule = [-a - b for a, b in zip([*slope, 0, 0], [0, 0, *slope], strict=True)]
    cotangent = 1.0 / np.tan(np.pi * (x - np.rint(x)))
    total = 0.0 * cotangent
    for coefficient in rule[::-1]:
        total = total * cotangent + coefficient
    return np.pi ** (order + 1) * total


def _polygamma_by_definition(x: Array, order: int) -> Array:
    return of_elements("polygamma", order)(x)


@elementwise(
    formula=r"\psi_{$order}($x)",
    vjp=lambda g, _out, x, order: g * polygamma(x, order + 1),
    samples=reals(1, (0.4, 3.0)) + cases(((3,), {"order": 1}), limits=((-0.8, -0.2),)),
    exact=_polygamma_by_definition,
)
def polygamma(x: Array, order: int = 0) -> Array:
    """Derivative of digamma of some order; digamma is the slope of log Γ.

    Below 0 by reflection: SciPy's own stops there for orders above 0.

    >>> polygamma(np.array([1.0, 2.0]), 0), polygamma(np.array([1.0, -0.5]), 1)
    (array([-0.57721566,  0.42278434]), array([1.64493407, 8.9348022 ]))
    """
    if order == 0:
        return scipy.special.digamma(x)
    scale = (-1.0) ** (order + 1) * math.factorial(order)
    above = np.greater(x, 0)
    sums = scale * scipy.special.zeta(order + 1.0, np.where(above, x, 1.0 - x))
    mirrored = (-1) ** order * sums - _reflected(np.where(above, 0.25, x), order)
    return np.where(above, sums, mirrored)


@elementwise(
    formula=r"\log B($x, $y)",
    vjp=(
        lambda g, _out, x, y: g * (polygamma(x, 0) - polygamma(x + y, 0)),
        lambda g, _out, x, y: g * (polygamma(y, 0) - polygamma(x + y, 0)),
    ),
    samples=reals(2, (0.4, 3.0)),
    exact=lambda x, y: (
        of_elements("gammaln")(x)
        + of_elements("gammaln")(y)
        - of_elements("gammaln")(x + y)
    ),
)
def betaln(x: Array, y: Array) -> Array:
    """Logarithm of the beta function, ``Γ(x) Γ(y) / Γ(x + y)``.

    >>> betaln(np.array([1.0, 2.0]), 3.0)
    array([-1.09861229, -2.48490665])
    """
    return scipy.special.betaln(x, y)


# --- entropies ---


def _log_ratio(x: Array, y: Array) -> Array:
    """Return log(x / y), accurate where the two are close; at x = 0 it is 0."""
    x = where(equal(x, 0), y, x)
    excess = (x - y) / where(equal(y, 0), 1.0, y)
    close = less(abs(excess), 0.5)
    apart = log(where(close, 1.0, x / y))
    return where(close, log1p(where(close, excess, 0.0)), apart)


def _ratio(x: Array, y: Array) -> Array:
    """Return x / y; 0 at x = 0."""
    none = equal(x, 0)
    return where(none, 0.0, x / where(none, 1.0, y))


@elementwise(
    formula=r"$x \log \frac{$x}{$y}",
    vjp=(
        lambda g, _out, x, y: g * where(equal(x, 0), 0.0, _log_ratio(x, y) + 1.0),
        lambda g, _out, x, y: -g * _ratio(x, y),
    ),
    samples=reals(2, (0.3, 3.0)),
    exact=lambda x, y: x * np.log(x / y),
)
def rel_entr(x: Array, y: Array) -> Array:
    """``x log(x / y)``, which is 0 at ``x = 0``, and so is the gradient, by convention.

    >>> rel_entr(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    array([ 0.        , -0.69314718])
    """
    return scipy.special.rel_entr(x, y)


@elementwise(
    formula=r"$x \log \frac{$x}{$y} - $x + $y",
    vjp=(
        lambda g, _out, x, y: g * _log_ratio(x, y),
        lambda g, _out, x, y: g * ((y - x) / y),
    ),
    samples=reals(2, (0.3, 3.0)),
    exact=lambda x, y: x * np.log(x / y) - x + y,
)
def kl_div(x: Array, y: Array) -> Array:
    """``x log(x / y) - x + y``, convex in both; the gradient at ``x = 0`` is 0.

    >>> kl_div(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    array([1.        , 0.30685282])
    """
    return scipy.special.kl_div(x, y)


# --- exprel ---


def _exprel_by_recurrence(x: Array, order: int) -> Array:
    growth = np.exp(x)
    found = np.expm1(x) / x
    for n in range(1, order + 1):
        found = (growth - n * found) / x
    return found


def _exprel_by_definition(x: Array, order: int) -> Array:
    zero = np.equal(x, 0)
    return np.where(
        zero, 1 / (order + 1), _exprel_by_recurrence(np.where(zero, 1, x), order)
    )


@elementwise(
    formula=r"\frac{e^{$x} - 1}{$x}",
    vjp=lambda g, _out, x, order: g * exprel(x, order + 1),
    samples=reals(1) + cases(((3,), {"order": 1}), ((2,), {"order": 2})),
    quiet=True,
    exact=_exprel_by_definition,
)
def exprel(x: Array, order: int = 0) -> Array:
    """``(exp(x) - 1) / x``, which is 1 at 0, or its derivative of some order.

    Derivatives are summed as series near 0, where their closed forms cancel.

    >>> exprel(np.array([0.0, 1.0, 1000.0])), exprel(np.array([0.0, 1.0]), order=1)
    (array([1.        , 1.71828183,        inf]), array([0.5, 1. ]))
    """
    limit = float(max(2, order)) if order else 1e-20
    near = np.less(np.abs(x), limit)
    far = np.where(near, limit, x)
    ends = np.equal(np.exp(far), np.inf)
    far = np.where(ends, limit, far)
    close = np.where(near, x, 0.0)
    total = 0.0 * close
    for k in range(28 + 4 * order if order else 0, -1, -1):
        total = total * close + 1 / (math.factorial(k) * (order + k + 1))
    found = np.where(near, total, _exprel_by_recurrence(far, order))
    return np.where(ends, np.inf, found)
