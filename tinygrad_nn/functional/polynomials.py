"""Polynomials by their coefficients, and convolutions, which are their products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.exceptions import RankWarning

from tinygrad_nn import ops
from tinygrad_nn.errors import OpError, ShapeError, UnsupportedError
from tinygrad_nn.functional import linalg
from tinygrad_nn.functional.arguments import as_array, shape_of
from tinygrad_nn.functional.gaps import warn_where
from tinygrad_nn.functional.places import in_dtype, picked, plain
from tinygrad_nn.op import Array, data_of

__all__ = [
    "convolve",
    "correlate",
    "poly",
    "polyadd",
    "polyder",
    "polydiv",
    "polyfit",
    "polyint",
    "polymul",
    "polysub",
    "polyval",
    "vander",
]


def polyval(p: Any, x: Array) -> Array:
    """Value of a polynomial whose coefficients are given, the highest power first.

    >>> polyval([1.0, 2.0, 3.0], np.array([0.0, 2.0]))
    array([ 3., 11.])
    """
    if isinstance(x, np.poly1d) or isinstance(p, np.poly1d):
        raise UnsupportedError("np.polyval: expected arrays or Tensors; got np.poly1d")
    p, x = as_array(p), as_array(x)
    if not p.shape:
        raise ShapeError("np.polyval: expected a row of coefficients; got p()")
    value: Any = np.zeros(x.shape, data_of(x).dtype)[()]
    for i in range(p.shape[0]):
        value = ops.add(ops.multiply(value, x), picked(p, i))
    return value


def vander(x: Array, N: int | None = None, increasing: bool = False) -> Array:
    """Matrix of the powers of each element, the highest first.

    >>> vander(np.array([1.0, 2.0, 3.0]))
    array([[1., 1., 1.],
           [4., 2., 1.],
           [9., 3., 1.]])
    """
    x = as_array(x)
    if len(x.shape) != 1:
        raise ShapeError(f"np.vander: expected one axis; got x{x.shape}")
    n = x.shape[0] if N is None else N
    dtype = np.promote_types(data_of(x).dtype, int)
    column = ops.reshape(in_dtype(x, dtype), (-1, 1))
    rows = ops.cumprod(ops.broadcast_to(column, (x.shape[0], max(n - 1, 0))), 1)
    made = ops.concatenate(np.ones((x.shape[0], min(n, 1)), dtype), rows, axis=1)
    return made if increasing else picked(made, (slice(None), slice(None, None, -1)))


def convolve(a: Array, v: Array, mode: str = "full") -> Array:
    """Convolution of two rows of numbers: the coefficients of a product of polynomials.

    Parameters
    ----------
    mode
        ``"full"``: all; ``"same"``: as many as the longer has, from the middle;
        ``"valid"``: those to which all of the shorter contributes.

    Examples
    --------
    >>> convolve(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.5]))
    array([0. , 1. , 2.5, 4. , 1.5])
    """
    return _slid("np.convolve", a, v, mode, turned=True)


def correlate(a: Array, v: Array, mode: str = "valid") -> Array:
    """Cross-correlation of two rows of numbers; the modes are those of `convolve`.

    >>> correlate(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.5]))
    array([3.5])
    """
    return _slid("np.correlate", a, v, mode, turned=False)


def _slid(title: str, a: Any, v: Any, mode: str, *, turned: bool) -> Array:
    """Slide the shorter row along the longer, padded by what the mode says."""
    a, v = (_at_least_one_axis(x) for x in (a, v))
    if mode not in _MARGINS:
        raise OpError(f"{title}: mode is 'full', 'same' or 'valid'; got {mode!r}")
    if len(a.shape) != 1 or len(v.shape) != 1 or not a.shape[0] or not v.shape[0]:
        raise ShapeError(
            f"{title}: expected two rows of at least one number; "
            f"got a{a.shape}, v{v.shape}"
        )
    swapped = v.shape[0] > a.shape[0]
    if swapped:
        a, v = v, a
    back = (slice(None, None, -1),)
    if turned:
        v = picked(v, back)
    m = v.shape[0]
    zeros = [np.zeros(n, data_of(a).dtype) for n in _MARGINS[mode](m)]
    padded = ops.concatenate(zeros[0], a, zeros[1], axis=0)
    found = ops.matmul(v, ops.windows(padded, size=(m,)))
    # The other way round the correlation runs backwards; a convolution does not.
    return picked(found, back) if swapped and not turned else found


_MARGINS: dict[str, Callable[[int], tuple[int, int]]] = {
    "full": lambda m: (m - 1, m - 1),
    "same": lambda m: (m // 2, (m - 1) // 2),
    "valid": lambda _: (0, 0),
}


def _at_least_one_axis(x: Any) -> Any:
    x = as_array(x)
    return x if x.shape else ops.reshape(x, (1,))


# --- coefficients ------------------------------------------------------------------


def _coefficients(title: str, p: Any) -> Any:
    if isinstance(p, np.poly1d):
        raise UnsupportedError(f"{title}: expected arrays or Tensors; got np.poly1d")
    p = _at_least_one_axis(p)
    if len(p.shape) != 1:
        raise ShapeError(f"{title}: expected one axis of coefficients; got {p.shape}")
    return p


def _of_one_degree(title: str, a1: Any, a2: Any) -> tuple[Array, Array]:
    """Put zeros before the coefficients of the lower degree."""
    a1, a2 = (_coefficients(title, a) for a in (a1, a2))
    more = a2.shape[0] - a1.shape[0]
    return _behind_zeros(a1, more), _behind_zeros(a2, -more)


def _behind_zeros(a: Any, count: int) -> Array:
    zeros = np.zeros(max(count, 0), data_of(a).dtype)
    return ops.concatenate(zeros, a, axis=0) if count > 0 else a


def polyadd(a1: Array, a2: Array) -> Array:
    """Coefficients of the sum of two polynomials, the highest power first.

    >>> polyadd([1.0, 2.0], np.array([9.0, 5.0, 4.0]))
    array([9., 6., 6.])
    """
    return ops.add(*_of_one_degree("np.polyadd", a1, a2))


def polysub(a1: Array, a2: Array) -> Array:
    """Coefficients of the difference of two polynomials, the highest power first.

    >>> polysub([1.0, 2.0], np.array([9.0, 5.0, 4.0]))
    array([-9., -4., -2.])
    """
    return ops.subtract(*_of_one_degree("np.polysub", a1, a2))


def polymul(a1: Array, a2: Array) -> Array:
    """Coefficients of the product of two polynomials, the highest power first.

    Zeros that lead are left out, as NumPy does: which they are depends on numbers, so
    this is not for a compiled step; `convolve` is.

    >>> polymul([1.0, 2.0], np.array([9.0, 5.0, 1.0]))
    array([ 9., 23., 11.,  2.])
    """
    return convolve(*(_without_zeros("np.polymul", a) for a in (a1, a2)))


def _without_zeros(title: str, a: Any) -> Array:
    a = _coefficients(title, a)
    found = np.flatnonzero(plain(a, title))
    if not found.size:
        return picked(a, (slice(-1, None),)) if a.shape[0] else np.zeros(1)
    return picked(a, (slice(int(found[0]), None),))


def polyder(p: Array, m: int = 1) -> Array:
    """Coefficients of the derivative of a polynomial, of order ``m``.

    >>> polyder(np.array([1.0, 1.0, 1.0, 1.0]))
    array([3., 2., 1.])
    """
    p = _coefficients("np.polyder", p)
    _refuse_order("np.polyder", m)
    p = ops.getitem(p, ())
    for _ in range(int(m)):
        n = p.shape[0] - 1
        p = ops.multiply(picked(p, (slice(None, -1),)), np.arange(n, 0, -1))
    return p


def polyint(p: Array, m: int = 1, k: Any = None) -> Array:
    """Coefficients of the integral of a polynomial, of order ``m``.

    Parameters
    ----------
    k
        Constants of integration, the last integral's last; zeros by default.

    Examples
    --------
    >>> polyint(np.array([3.0, 2.0, 1.0]), k=7.0)
    array([1., 1., 1., 7.])
    """
    p = _coefficients("np.polyint", p)
    _refuse_order("np.polyint", m)
    p = ops.getitem(p, ())
    constants = _at_least_one_axis(np.zeros(m) if k is None else k)
    if constants.shape == (1,) and m > 1:
        constants = ops.broadcast_to(constants, (m,))
    if constants.shape[0] < m:
        raise ShapeError(
            f"np.polyint: expected one constant of integration, or {m}; "
            f"got k{constants.shape}"
        )
    for i in range(int(m)):
        raised = ops.divide(p, np.arange(p.shape[0], 0, -1))
        p = ops.concatenate(raised, picked(constants, (slice(i, i + 1),)), axis=0)
    return p


def _refuse_order(title: str, m: Any) -> None:
    if int(m) != m or m < 0:
        raise OpError(f"{title}: expected an order of at least 0; got m={m!r}")


def poly(seq_of_zeros: Array) -> Array:
    """Coefficients of the polynomial with given zeros, the highest power first.

    >>> poly(np.array([1.0, 2.0]))
    array([ 1., -3.,  2.])
    """
    zeros = _at_least_one_axis(seq_of_zeros)
    if len(zeros.shape) != 1:
        raise ShapeError(
            f"np.poly: expected one axis of zeros; got {zeros.shape}. The zeros of a "
            "matrix's polynomial are np.linalg.eigvals"
        )
    dtype = data_of(zeros).dtype
    if dtype.char not in "fdgO":  # as NumPy's mintypecode
        dtype = np.dtype(np.float64)
    zeros = in_dtype(zeros, dtype)
    one = np.ones(1, dtype)
    made: Any = one if zeros.shape[0] else 1.0
    for i in range(zeros.shape[0]):
        factor = ops.concatenate(one, -picked(zeros, (slice(i, i + 1),)), axis=0)
        made = convolve(made, factor)
    return made


def polydiv(u: Array, v: Array) -> tuple[Array, Array]:
    """Coefficients of quotient and remainder of two polynomials.

    Zeros that lead the remainder are left out, as NumPy does: which they are depends on
    numbers, so this is not for a compiled step.

    >>> polydiv([3.0, 5.0, 2.0], np.array([2.0, 1.0]))
    (array([1.5 , 1.75]), array([0.25]))
    """
    u, v = (_coefficients("np.polydiv", a) for a in (u, v))
    if not u.shape[0] or not v.shape[0]:
        raise ShapeError("np.polydiv: expected at least one coefficient; got none")
    rest, divisor = ops.add(u, 0.0), ops.add(v, 0.0)
    dtype = np.result_type(data_of(rest).dtype, data_of(divisor).dtype)
    rest, divisor = (in_dtype(a, dtype) for a in (rest, divisor))
    m, n = u.shape[0] - 1, v.shape[0] - 1
    scale = ops.divide(1.0, picked(divisor, 0))
    quotient: list[Any] = []
    for k in range(m - n + 1):
        factor = ops.multiply(scale, picked(rest, k))
        taken = ops.multiply(factor, divisor)
        place = (slice(k, k + n + 1),)
        rest = ops.subtract(rest, ops.scatter_add(taken, place, (m + 1,)))
        quotient.append(ops.reshape(factor, (1,)))
    first = np.isclose(plain(rest, "np.polydiv"), 0, rtol=1e-14)
    start = int(np.argmin(first)) if not first.all() else m
    found = ops.concatenate(*quotient, axis=0) if quotient else np.zeros(1, dtype)
    return found, picked(rest, (slice(start, None),))


def polyfit(
    x: Array,
    y: Array,
    deg: int,
    rcond: float | None = None,
    full: bool = False,
    w: Array | None = None,
    cov: Any = False,
) -> Any:
    """Coefficients of the polynomial of least squares, the highest power first.

    Parameters
    ----------
    x, y
        Points; several columns of ``y`` are fitted each. Both have gradients.
    deg
        The highest power.
    rcond, full
        Passed on to, and from, `linalg.lstsq`.
    w
        Weights of the distances, not squared; they have a gradient.
    cov
        Give the covariance of the coefficients, too; ``"unscaled"`` for unit variance.

    Examples
    --------
    >>> polyfit(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0]), 1).round(12)
    array([2., 1.])
    """
    x, y = ops.add(as_array(x), 0.0), ops.add(as_array(y), 0.0)
    size, other = shape_of(x), shape_of(y)
    if int(deg) != deg or deg < 0:
        raise OpError(f"np.polyfit: expected a degree of at least 0; got deg={deg!r}")
    if (
        len(size) != 1
        or not 1 <= len(other) <= 2
        or size[:1] != other[:1]
        or not size[0]
    ):
        raise ShapeError(
            "np.polyfit: expected one axis of positions, and a value or a row of them "
            f"for each; got x{size}, y{other}"
        )
    order = int(deg) + 1
    rcond = size[0] * np.finfo(data_of(x).dtype).eps if rcond is None else rcond
    left: Any = vander(x, order)
    right: Any = y
    if w is not None:
        weights = ops.add(as_array(w), 0.0)
        if shape_of(weights) != size:
            raise ShapeError(
                f"np.polyfit: expected a weight for each of x{size}; "
                f"got w{shape_of(weights)}"
            )
        column = ops.reshape(weights, (-1, 1))
        left = in_dtype(left * column, data_of(left).dtype)  # NumPy writes into it
        right = right * (column if len(other) == 2 else weights)
        right = in_dtype(right, data_of(y).dtype)
    scale = ops.sqrt(ops.sum(left * left, 0))
    left = left / scale
    found, residuals, rank, singular = linalg.lstsq(left, right, rcond)
    found = ops.transpose(ops.transpose(found) / scale)
    if full:
        return found, residuals, rank, singular, rcond
    warn_where(data_of(rank) != order, "Polyfit may be poorly conditioned", RankWarning)
    if not cov:
        return found
    spread = linalg.inv(ops.matmul(ops.transpose(left), left))
    spread = spread / (ops.reshape(scale, (-1, 1)) * ops.reshape(scale, (1, -1)))
    factor: Any = 1
    if cov != "unscaled":
        if size[0] <= order:
            raise ShapeError(
                f"np.polyfit: expected more than {order} points to scale the "
                f"covariance; got {size[0]}"
            )
        factor = residuals / (size[0] - order)
    if len(other) == 2:
        spread = ops.reshape(spread, (order, order, 1))
    return found, spread * factor
