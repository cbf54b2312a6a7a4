"""Special functions, under the names and with the arguments that SciPy gives them.

They need SciPy, which is imported when the first of them is used (the extra
``special``). ``scipy.special.erf(t)`` of a Tensor finds these by name; a function of
SciPy that is not here is refused by name.

>>> import tinygrad_nn as tg
>>> x = tg.Tensor([0.0, 1.0], requires_grad=True)
>>> tg.special.erf(x).sum().backward()
>>> x.grad
array([1.12837917, 0.4151075 ])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import OpError, UnsupportedError
from tinygrad_nn.functional.arguments import as_array, refuse
from tinygrad_nn.functional.elementwise import sinc
from tinygrad_nn.functional.ufuncs import (
    OF_SCIPY,
    cbrt,
    exp2,
    expm1,
    log1p,
    signature_of,
    with_options,
)
from tinygrad_nn.op import Array, Node, data_of, op_of
from tinygrad_nn.ops.scipy_room import scipy
from tinygrad_nn.shapes import Axes

__all__ = [
    "betaln",
    "cbrt",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exp2",
    "expit",
    "expm1",
    "exprel",
    "gamma",
    "gammaln",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "j0",
    "j1",
    "kl_div",
    "log1p",
    "log_expit",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "rel_entr",
    "sinc",
    "softmax",
    "xlog1py",
    "xlogy",
]

Call = Callable[..., Any]


def _spelled(call: Call, name: str, operands: int = 1) -> Call:
    """Return the function with the name and the signature of SciPy's ufunc."""
    OF_SCIPY[name] = call

    def spelled(*given: Any, **options: Any) -> Any:
        if len(given) < operands:
            raise OpError(
                f"scipy.special.{name}: takes {operands} operands; got {len(given)}"
            )
        given = tuple(as_array(x) for x in given)
        if options or len(given) > operands:
            return with_options(call, getattr(scipy.special, name), given, options)
        return call(*given)

    spelled.__name__ = spelled.__qualname__ = name
    spelled.__doc__ = call.__doc__
    spelled.__module__ = __name__
    numpys = np.exp if operands == 1 else np.add
    spelled.__signature__ = signature_of(numpys)  # type: ignore[attr-defined]
    return spelled


# --- compositions ---


def _ndtr(x: Array) -> Array:
    """Probability that a normal variable stays below.

    >>> ndtr(np.array([0.0, 1.96]))
    array([0.5      , 0.9750021])
    """
    return ops.multiply(ops.erfc(ops.multiply(x, -math.sqrt(0.5))), 0.5)


def _xlogy(x: Array, y: Array) -> Array:
    """``x log(y)``, which is 0 at ``x = 0`` for every y.

    The gradient where both are 0 is 0, by convention. Of a sigmoid or a softmax the
    logarithm is recorded in its stable form, as that of `log`.

    >>> xlogy(np.array([0.0, 2.0]), np.array([0.0, 1.0]))
    array([0., 0.])
    """
    within = ops.logical_and(ops.greater(y, 0), ops.less(y, np.inf))
    return ops.multiply(x, _finite(ops.log, y, _beside(x, y, within), 1.0))


def _xlog1py(x: Array, y: Array) -> Array:
    """``x log(1 + y)``, which is 0 at ``x = 0`` for every y.

    The gradient where that meets ``y = -1`` is 0, by convention.

    >>> xlog1py(np.array([0.0, 2.0]), np.array([-1.0, 0.0]))
    array([0., 0.])
    """
    within = ops.logical_and(ops.greater(y, -1), ops.less(y, np.inf))
    return ops.multiply(x, _finite(ops.log1p, y, _beside(x, y, within), 0.0))


def _finite(log: Call, y: Array, beside: Array, instead: float) -> Array:
    """Return the logarithm, and 0 beside its domain; its stable form, if it has one."""
    rule = op_of(log).rule
    stable = rule(y) if rule is not None and isinstance(y, Node) else None
    if stable is not None:
        return ops.where(beside, 0.0, stable)
    return log(ops.where(beside, instead, y))


def _beside(x: Array, y: Array, within: Array) -> Array:
    """Whether x is 0 and the logarithm is not finite; nan stays nan."""
    known = ops.logical_or(within, ops.isnan(y))
    return ops.logical_and(ops.equal(x, 0), ops.logical_not(known))


def _entr(x: Array) -> Array:
    """``-x log(x)``: 0 at 0, and -inf below. The gradient at 0 is 0, by convention.

    >>> entr(np.array([0.0, 1.0, np.e]))
    array([-0.        , -0.        , -2.71828183])
    """
    below = ops.less(x, 0)
    within = ops.where(below, 1.0, x)
    return ops.where(below, -np.inf, ops.negative(_xlogy(within, within)))


def _of_order(op: Call, order: int, name: str, what: str, example: str) -> Call:
    def call(x: Array) -> Array:
        return op(x, order)

    call.__doc__ = f"""{what} of order {order}.

    >>> {name}(np.array([0.0, 1.0]))
    array({example})
    """
    return call


_BESSEL = "Bessel function of the first kind,"
_MODIFIED = "Modified Bessel function of the first kind,"
_SCALED = "``exp(-|x|)`` times the modified Bessel function of the first kind,"


def _digamma(x: Array) -> Array:
    """Slope of the logarithm of the gamma function.

    >>> digamma(np.array([1.0, 2.0]))
    array([-0.57721566,  0.42278434])
    """
    return ops.polygamma(x, 0)


def _expit(x: Array) -> Array:
    """Sigmoid: ``1 / (1 + exp(-x))``.

    >>> expit(np.array([-1000.0, 0.0]))
    array([0. , 0.5])
    """
    return ops.sigmoid(x)


def _log_expit(x: Array) -> Array:
    """Logarithm of the sigmoid, accurate in both tails.

    >>> log_expit(np.array([-1000.0, 0.0]))
    array([-1.00000000e+03, -6.93147181e-01])
    """
    return ops.log_sigmoid(x)


def _exprel(x: Array) -> Array:
    """``(exp(x) - 1) / x``, which is 1 at 0; slopes of every order have all digits.

    >>> exprel(np.array([0.0, 1.0]))
    array([1.        , 1.71828183])
    """
    return ops.exprel(x)


def polygamma(n: int, x: Array) -> Array:
    """Derivative of digamma of the whole order ``n``, also below 0.

    Raises
    ------
    UnsupportedError
        For an order that is no whole number, and for an array of them.

    Examples
    --------
    >>> polygamma(1, np.array([1.0, 2.0]))
    array([1.64493407, 0.64493407])
    """
    order = data_of(n)
    if np.ndim(order) or int(order) != order or order < 0:
        raise UnsupportedError(
            f"scipy.special.polygamma: expected one whole order; got n={order!r:.40}. "
            "Stack the orders with tg.stack"
        )
    return ops.polygamma(as_array(x), int(order))


def logsumexp(
    a: Array,
    axis: Axes = None,
    b: None = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Array:
    """Logarithm of the sum of exponentials, of which none overflows.

    Raises
    ------
    UnsupportedError
        For weights ``b`` and ``return_sign``.

    Examples
    --------
    >>> logsumexp(np.array([1000.0, 1000.0]))
    np.float64(1000.6931471805599)
    """
    refuse(
        "scipy.special.logsumexp",
        "Add the logarithms of positive weights to a",
        b=(b, None),
        return_sign=(return_sign, False),
    )
    return ops.logsumexp(as_array(a), axis=axis, keepdims=keepdims)


def softmax(x: Array, axis: Axes = None) -> Array:
    """Exponentials over their sum along ``axis``; over all elements by default.

    >>> softmax(np.array([0.0, 0.0]))
    array([0.5, 0.5])
    """
    return _along(ops.softmax, as_array(x), axis)


def log_softmax(x: Array, axis: Axes = None) -> Array:
    """Logarithm of `softmax`.

    >>> log_softmax(np.array([0.0, 0.0]))
    array([-0.69314718, -0.69314718])
    """
    return _along(ops.log_softmax, as_array(x), axis)


def _along(op: Call, x: Array, axis: Axes) -> Array:
    """Apply along an axis; along all of them where it is None."""
    shape = data_of(x).shape
    if axis is not None or len(shape) < 2:
        return op(x, axis=-1 if axis is None and shape else axis)
    return ops.reshape(op(ops.reshape(x, (-1,)), axis=-1), shape)


# --- the word list ---

betaln = _spelled(ops.betaln, "betaln", 2)
digamma = _spelled(_digamma, "digamma")
entr = _spelled(_entr, "entr")
erf = _spelled(ops.erf, "erf")
erfc = _spelled(ops.erfc, "erfc")
erfcx = _spelled(ops.erfcx, "erfcx")
erfinv = _spelled(ops.erfinv, "erfinv")
expit = _spelled(_expit, "expit")
exprel = _spelled(_exprel, "exprel")
gamma = _spelled(ops.gamma, "gamma")
gammaln = _spelled(ops.gammaln, "gammaln")
i0 = _spelled(_of_order(ops.iv, 0, "i0", _MODIFIED, "[1.        , 1.26606588]"), "i0")
i0e = _spelled(_of_order(ops.ive, 0, "i0e", _SCALED, "[1.        , 0.46575961]"), "i0e")
i1 = _spelled(_of_order(ops.iv, 1, "i1", _MODIFIED, "[0.       , 0.5651591]"), "i1")
i1e = _spelled(_of_order(ops.ive, 1, "i1e", _SCALED, "[0.        , 0.20791042]"), "i1e")
j0 = _spelled(_of_order(ops.jv, 0, "j0", _BESSEL, "[1.        , 0.76519769]"), "j0")
j1 = _spelled(_of_order(ops.jv, 1, "j1", _BESSEL, "[0.        , 0.44005059]"), "j1")
kl_div = _spelled(ops.kl_div, "kl_div", 2)
log_expit = _spelled(_log_expit, "log_expit")
log_ndtr = _spelled(ops.log_ndtr, "log_ndtr")
logit = _spelled(ops.logit, "logit")
ndtr = _spelled(_ndtr, "ndtr")
ndtri = _spelled(ops.ndtri, "ndtri")
psi = _spelled(_digamma, "psi")
rel_entr = _spelled(ops.rel_entr, "rel_entr", 2)
xlog1py = _spelled(_xlog1py, "xlog1py", 2)
xlogy = _spelled(_xlogy, "xlogy", 2)
OF_SCIPY |= {name: getattr(ops, name) for name in ("cbrt", "exp2", "expm1", "log1p")}
