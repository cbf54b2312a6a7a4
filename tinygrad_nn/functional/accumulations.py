"""Running results: sums, products, extremes, soft extremes of all elements so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.functional.arguments import (
    as_array,
    cast,
    one_axis,
    reduced_axes_of,
    refuse_out,
)
from tinygrad_nn.op import Array

__all__ = [
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "cumulative_prod",
    "cumulative_sum",
    "logcumsumexp",
    "nancumprod",
    "nancumsum",
]


def cumsum(
    a: Array, axis: int | None = None, dtype: Any = None, out: None = None
) -> Array:
    """Running sum along ``axis``; of the flattened array by default.

    >>> cumsum(np.array([1.0, 2.0, 3.0]))
    array([1., 3., 6.])
    """
    refuse_out("np.cumsum", out)
    return ops.cumsum(cast(as_array(a), dtype), axis)


def cumprod(
    a: Array, axis: int | None = None, dtype: Any = None, out: None = None
) -> Array:
    """Running product along ``axis``; of the flattened array by default.

    Nothing is divided by an element, so the gradients of every order are right with
    zeros among them.

    >>> cumprod(np.array([2.0, 3.0, 4.0]))
    array([ 2.,  6., 24.])
    """
    refuse_out("np.cumprod", out)
    return ops.cumprod(*one_axis("np.cumprod", cast(as_array(a), dtype), axis))


def nancumsum(
    a: Array, axis: int | None = None, dtype: Any = None, out: None = None
) -> Array:
    """Running sum along ``axis`` in which a nan counts as zero, and has no gradient.

    >>> nancumsum(np.array([1.0, np.nan, 3.0]))
    array([1., 1., 4.])
    """
    refuse_out("np.nancumsum", out)
    return cumsum(_without_nan("np.nancumsum", a, axis, 0), axis, dtype)


def nancumprod(
    a: Array, axis: int | None = None, dtype: Any = None, out: None = None
) -> Array:
    """Running product along ``axis`` in which a nan counts as one, without gradient.

    >>> nancumprod(np.array([2.0, np.nan, 3.0]))
    array([2., 2., 6.])
    """
    refuse_out("np.nancumprod", out)
    return cumprod(_without_nan("np.nancumprod", a, axis, 1), axis, dtype)


def _without_nan(title: str, a: Any, axis: int | None, neutral: int) -> Array:
    a = as_array(a)
    reduced_axes_of(title, a, axis)
    return ops.where(ops.isnan(a), neutral, a) if a.dtype.kind == "f" else a


def cumulative_sum(
    x: Array,
    /,
    *,
    axis: int | None = None,
    dtype: Any = None,
    out: None = None,
    include_initial: bool = False,
) -> Array:
    """Running sum along ``axis``, which only one dimension may leave out.

    Parameters
    ----------
    include_initial
        Begin with the sum of nothing, 0.

    Examples
    --------
    >>> cumulative_sum(np.array([1.0, 2.0]), include_initial=True)
    array([0., 1., 3.])
    """
    refuse_out("np.cumulative_sum", out)
    return _cumulative("np.cumulative_sum", ops.cumsum, x, axis, dtype, include_initial)


def cumulative_prod(
    x: Array,
    /,
    *,
    axis: int | None = None,
    dtype: Any = None,
    out: None = None,
    include_initial: bool = False,
) -> Array:
    """Running product along ``axis``, which only one dimension may leave out.

    Parameters
    ----------
    include_initial
        Begin with the product of nothing, 1.

    Examples
    --------
    >>> cumulative_prod(np.array([2.0, 3.0]), include_initial=True)
    array([1., 2., 6.])
    """
    refuse_out("np.cumulative_prod", out)
    return _cumulative(
        "np.cumulative_prod", ops.cumprod, x, axis, dtype, include_initial
    )


def _cumulative(
    title: str,
    call: Callable[..., Array],
    x: Any,
    axis: int | None,
    dtype: Any,
    include_initial: bool,
) -> Array:
    x = cast(as_array(x), dtype)
    if axis is None and len(x.shape) > 1:
        raise ShapeError(
            f"{title}: expected an axis where there are several; got x{x.shape}. "
            "Name one, or flatten: x.ravel()"
        )
    x, place = one_axis(title, x, axis)
    made = call(x, place)
    if not include_initial:
        return made
    size = (*made.shape[:place], 1, *made.shape[place + 1 :])
    first = np.full(size, call is ops.cumprod, made.dtype)
    return ops.concatenate(first, made, axis=place)


def cummax(a: Array, axis: int | None = None) -> Array:
    """Largest element so far along ``axis``; of the flattened array by default.

    Ties so far share the gradient equally, as in `max`, which is the last element. From
    a nan on all is nan, without gradient: NumPy's ``np.maximum.accumulate``.

    >>> cummax(np.array([1.0, 3.0, 2.0]))
    array([1., 3., 3.])
    """
    return ops.cummax(*one_axis("cummax", as_array(a), axis))


def cummin(a: Array, axis: int | None = None) -> Array:
    """Smallest element so far along ``axis``; of the flattened array by default.

    Ties so far share the gradient equally, as in `min`, which is the last element. From
    a nan on all is nan, without gradient: NumPy's ``np.minimum.accumulate``.

    >>> cummin(np.array([3.0, 1.0, 2.0]))
    array([3., 1., 1.])
    """
    return ops.cummin(*one_axis("cummin", as_array(a), axis))


def logcumsumexp(a: Array, axis: int | None = None) -> Array:
    """Logarithm of the running sum of exponentials, without overflow.

    Along ``axis``; of the flattened array by default. NumPy has it as
    ``np.logaddexp.accumulate``.

    >>> logcumsumexp(np.array([1000.0, 1000.0]))
    array([1000.        , 1000.69314718])
    """
    return ops.logcumsumexp(*one_axis("logcumsumexp", as_array(a), axis))
