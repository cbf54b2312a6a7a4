"""Places, truths and choices; compiled steps compute them anew."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import OpError, UnsupportedError
from tinygrad_nn.functional.arguments import (
    as_array,
    mask_of,
    one_axis,
    reduced_axes_of,
    refuse_out,
)
from tinygrad_nn.functional.sorting import nonzero
from tinygrad_nn.functional.ufuncs import BARE
from tinygrad_nn.op import Array
from tinygrad_nn.shapes import Axes

__all__ = ["all", "any", "argmax", "argmin", "clip", "where"]

_maximum, _minimum = BARE[np.maximum], BARE[np.minimum]


def where(condition: Array, x: Array | None = None, y: Array | None = None, /) -> Any:
    """``x`` where the condition is true, ``y`` elsewhere; of one alone, its places.

    What is not chosen has no path to the result: its gradient is 0 even where its
    own derivative is infinite or nan.

    >>> where(np.array([True, False]), 1.0, np.array([3.0, 4.0]))
    array([1., 4.])
    """
    if (x is None) != (y is None):
        raise OpError("np.where: expected both x and y, or neither; got one of them")
    if x is None:
        return nonzero(condition)
    return ops.where(condition, x, y)


def clip(
    a: Array,
    a_min: Any = None,
    a_max: Any = None,
    out: None = None,
    *,
    min: Any = None,
    max: Any = None,
    **kwargs: Any,
) -> Array:
    """Operand limited to ``[min, max]``; the gradient at a limit is 0.

    >>> clip(np.array([-1.0, 0.5, 3.0]), 0, 1)
    array([0. , 0.5, 1. ])
    """
    refuse_out("np.clip", out)
    if kwargs:
        raise UnsupportedError(
            f"np.clip: options of ufuncs are not offered on Tensors; got {list(kwargs)}"
        )
    for name, known, other in (("min", a_min, min), ("max", a_max, max)):
        if known is not None and other is not None:
            raise OpError(
                f"np.clip: a_{name} and {name} are two names of one limit; got both"
            )
    low = a_min if min is None else min
    high = a_max if max is None else max
    a = as_array(a)
    if low is not None:
        a = _maximum(a, low)
    return a if high is None else _minimum(a, high)


def argmax(
    a: Array, axis: int | None = None, out: None = None, *, keepdims: bool = False
) -> Array:
    """Place of the largest element along an axis, the first of them; nan is largest.

    >>> argmax(np.array([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]]), axis=1)
    array([1, 0])
    """
    refuse_out("np.argmax", out)
    return _place("np.argmax", a, axis, ops.max, keepdims)


def argmin(
    a: Array, axis: int | None = None, out: None = None, *, keepdims: bool = False
) -> Array:
    """Place of the smallest element along an axis, the first of them; nan is smallest.

    >>> argmin(np.array([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]]), axis=1)
    array([0, 1])
    """
    refuse_out("np.argmin", out)
    return _place("np.argmin", a, axis, ops.min, keepdims)


def _place(
    title: str, x: Array, axis: int | None, extreme: Any, keepdims: bool
) -> Array:
    """Return the first place where an extreme is met."""
    x = as_array(x)
    shape = x.shape
    x, place = one_axis(title, x, axis)
    kept = shapes.reduced(shape, axis, keepdims=keepdims)
    if x.dtype == np.bool_:
        x = ops.astype(x, np.dtype(np.int64))
    found = ops.equal(x, extreme(x, place, True))
    if x.dtype.kind == "f":  # nothing equals a nan
        found = ops.logical_or(found, ops.isnan(x))
    n = x.shape[place]
    places = np.arange(n).reshape(-1, *[1] * (len(x.shape) - 1 - place))
    first = ops.min(ops.where(found, places, n), place)
    return ops.reshape(first, kept) if keepdims else first


def any(
    a: Array,
    axis: Axes = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: Any = True,
) -> Array:
    """Whether an element along ``axis`` is true.

    >>> any(np.array([[0.0, 2.0], [0.0, 0.0]]), axis=1)
    array([ True, False])
    """
    refuse_out("np.any", out)
    where = mask_of("np.any", where)
    a = as_array(a)
    reduced_axes_of("np.any", a, axis)
    return ops.sum(_counted(ops.not_equal(a, 0), where), axis, keepdims) > 0


def all(
    a: Array,
    axis: Axes = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: Any = True,
) -> Array:
    """Whether all elements along ``axis`` are true.

    >>> all(np.array([[1.0, 2.0], [0.0, 3.0]]), axis=1)
    array([ True, False])
    """
    refuse_out("np.all", out)
    where = mask_of("np.all", where)
    a = as_array(a)
    reduced_axes_of("np.all", a, axis)
    return ops.equal(ops.sum(_counted(ops.equal(a, 0), where), axis, keepdims), 0)


def _counted(found: Array, where: Any) -> Array:
    chosen = found if where is True else ops.logical_and(found, where)
    return ops.astype(chosen, np.dtype(np.int64))
