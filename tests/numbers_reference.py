"""Numbers of fifty digits that NumPy's functions accept: the independent witness.

An op's body is plain NumPy, so on an object array of these numbers the same text
computes the value to fifty digits: ``np.exp`` of an object array calls each element's
``exp``, and operators are Python's. Central differences of such values lose nothing
that a float could show, so a gradient rule is held to the op's own body.
"""

from __future__ import annotations

import operator

import mpmath
import numpy as np

context = mpmath.mp.clone()
context.dps = 50

_NUMBERS = (int, float, np.integer, np.floating, np.bool_)


def _exact(value):
    if isinstance(value, Number):
        return value.value
    if isinstance(value, _NUMBERS):
        return context.mpf(value.item() if isinstance(value, np.generic) else value)
    return None


def _binary(function):
    def forward(self, other):
        other = _exact(other)
        if other is None:
            return NotImplemented
        return Number(function(self.value, other))

    def backward(self, other):
        other = _exact(other)
        if other is None:
            return NotImplemented
        return Number(function(other, self.value))

    return forward, backward


def _comparison(function):
    def compare(self, other):
        other = _exact(other)
        return NotImplemented if other is None else bool(function(self.value, other))

    return compare


def _function(name):
    def apply(self):
        return Number(getattr(context, name)(self.value))

    return apply


class Number:
    """A real number of fifty digits."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = context.mpf(value)

    __add__, __radd__ = _binary(operator.add)
    __sub__, __rsub__ = _binary(operator.sub)
    __mul__, __rmul__ = _binary(operator.mul)
    __truediv__, __rtruediv__ = _binary(operator.truediv)
    __pow__, __rpow__ = _binary(operator.pow)

    __lt__ = _comparison(operator.lt)
    __le__ = _comparison(operator.le)
    __gt__ = _comparison(operator.gt)
    __ge__ = _comparison(operator.ge)
    __eq__ = _comparison(operator.eq)
    __ne__ = _comparison(operator.ne)
    __hash__ = None

    arccos = _function("acos")
    arccosh = _function("acosh")
    arcsin = _function("asin")
    arcsinh = _function("asinh")
    arctan = _function("atan")
    arctanh = _function("atanh")
    ceil = _function("ceil")
    cos = _function("cos")
    cosh = _function("cosh")
    digamma = _function("digamma")
    erf = _function("erf")
    erfc = _function("erfc")
    erfinv = _function("erfinv")
    exp = _function("exp")
    expm1 = _function("expm1")
    floor = _function("floor")
    gamma = _function("gamma")
    log = _function("log")
    log10 = _function("log10")
    log1p = _function("log1p")
    rint = _function("nint")
    sin = _function("sin")
    sinh = _function("sinh")
    sqrt = _function("sqrt")
    tan = _function("tan")
    tanh = _function("tanh")

    def cbrt(self):
        return Number(context.cbrt(abs(self.value)) * context.sign(self.value))

    def exp2(self):
        return Number(2**self.value)

    def log2(self):
        return Number(context.log(self.value, 2))

    def trunc(self):
        return Number(context.floor(abs(self.value)) * context.sign(self.value))

    __trunc__ = trunc
    __floor__ = floor
    __ceil__ = ceil

    def gammaln(self):
        return Number(context.log(abs(context.gamma(self.value))))

    def polygamma(self, order):
        return Number(context.psi(order, self.value))

    def besseli(self, order):
        return Number(context.besseli(order, self.value))

    def besselj(self, order):
        return Number(context.besselj(order, self.value))

    def arctan2(self, other):
        return Number(context.atan2(self.value, _exact(other)))

    def hypot(self, other):
        return Number(context.hypot(self.value, _exact(other)))

    def fmod(self, other):
        quotient = self.value / _exact(other)
        whole = context.floor(abs(quotient)) * context.sign(quotient)
        return Number(self.value - whole * _exact(other))

    def __mod__(self, other):
        return self - Number(context.floor(self.value / _exact(other))) * other

    def __floordiv__(self, other):
        return Number(context.floor(self.value / _exact(other)))

    def conjugate(self):
        return self

    def __pos__(self):
        return self

    def __neg__(self):
        return Number(-self.value)

    def __abs__(self):
        return Number(abs(self.value))

    def __float__(self):
        return float(self.value)

    def __bool__(self):
        return self.value != 0

    def __repr__(self):
        return f"Number({context.nstr(self.value, 20)})"


def precise(array):
    """Return an array of `Number`s with exactly these values; booleans stay."""
    array = np.asarray(array)
    if array.dtype.kind == "b":
        return array
    result = np.empty(array.shape, object)
    for place in np.ndindex(array.shape):
        result[place] = Number(array[place].item())
    return result


def rounded(array):
    """Return the float64 array nearest to an array of `Number`s."""
    array = np.asarray(array)
    result = np.empty(array.shape, np.float64)
    for place in np.ndindex(array.shape):
        result[place] = float(array[place])
    return result


def _moved(operands, i, place, step):
    """Operands with one element of the ``i``-th moved by ``step``."""
    moved = list(operands)
    moved[i] = operands[i].copy()
    moved[i][place] = operands[i][place] + step
    return moved


def _along(operands, directions, step):
    """Operands moved by ``step`` times a direction each; None for those that stay."""
    return [
        x if w is None else np.asarray(x + w * step, object)  # 0-d stays an array
        for x, w in zip(operands, directions, strict=True)
    ]


def _paired(g, value):
    """Return <g, value> as a number."""
    total = Number(0)
    for place in np.ndindex(g.shape):
        total = total + g[place] * np.asarray(value, object)[place]
    return total


def gradients(body, operands, g):
    """Gradients of <g, body(*operands)>, by central differences at fifty digits.

    With steps of 1e-16 the truncation and rounding errors are both near 1e-32.
    Booleans have none: None stands in their place.
    """
    step = Number("1e-16")
    exact = [precise(x) for x in operands]
    upstream = precise(g)
    found = []
    for i, x in enumerate(operands):
        if x.dtype.kind == "b":
            found.append(None)
            continue
        slopes = np.empty(x.shape)
        for place in np.ndindex(x.shape):
            above = _paired(upstream, body(*_moved(exact, i, place, step)))
            below = _paired(upstream, body(*_moved(exact, i, place, -step)))
            slopes[place] = float((above - below) / (step + step))
        found.append(slopes)
    return found


def second_gradients(body, operands, g, directions):
    """Gradients of sum_i <w_i, d<g, body>/dx_i>, with respect to operands and to g.

    Differences of differences of the body alone, so no gradient rule takes part:
    steps of 1e-12 leave an error near 1e-24.
    """
    step = Number("1e-12")
    exact = [precise(x) for x in operands]
    upstream = precise(g)
    ways = [None if w is None else precise(w) for w in directions]
    found = []
    for i, x in enumerate(operands):
        if x.dtype.kind == "b":
            found.append(None)
            continue
        slopes = np.empty(x.shape)
        for place in np.ndindex(x.shape):
            total = Number(0)
            for first in (1, -1):
                for second in (1, -1):
                    at = _moved(
                        _along(exact, ways, step * first), i, place, step * second
                    )
                    total = total + first * second * _paired(upstream, body(*at))
            slopes[place] = float(total / (4 * step * step))
        found.append(slopes)
    above = np.asarray(body(*_along(exact, ways, step)), object)
    below = np.asarray(body(*_along(exact, ways, -step)), object)
    tangent = (above - below) / (step + step)
    return found, rounded(tangent)
