"""Many elements to one, as NumPy has it: ``where=``, ``initial=`` and ``dtype=``."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import ShapeError, UnsupportedError
from tinygrad_nn.functional.arguments import (
    as_array,
    cast,
    floating_of,
    initial_of,
    mask_beside,
    mask_of,
    reduced_axes_of,
    refuse_out,
    shape_of,
)
from tinygrad_nn.functional.places import in_dtype
from tinygrad_nn.functional.ufuncs import BARE
from tinygrad_nn.op import Array, Node, data_of
from tinygrad_nn.ops.reduction import count
from tinygrad_nn.shapes import Axes

__all__ = [
    "amax",
    "amin",
    "max",
    "mean",
    "min",
    "prod",
    "std",
    "sum",
    "var",
]

_maximum, _minimum = BARE[np.maximum], BARE[np.minimum]


def _chosen(a: Array, where: Any, neutral: Any) -> Array:
    """Put what changes nothing where elements are left out."""
    return a if where is True else ops.where(where, a, neutral)


def sum(
    a: Array,
    axis: Axes = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Array:
    """Sum of the elements along ``axis``; of all of them by default.

    >>> sum(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    array([4., 6.])
    """
    if isinstance(a, Node) and dtype is out is initial is None and where is True:
        # The usual call, at the price of a test; defaults need no binding.
        return (
            ops.sum(a, axis, keepdims) if keepdims or axis is not None else ops.sum(a)
        )
    refuse_out("np.sum", out)
    where = mask_of("np.sum", where)
    total = ops.sum(_chosen(cast(as_array(a), dtype), where, 0), axis, keepdims)
    if initial is None:
        return total
    return total + initial_of("np.sum", initial, data_of(total).dtype)


def prod(
    a: Array,
    axis: Axes = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Array:
    """Product of the elements along ``axis``; its gradient is right with zeros.

    >>> prod(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    array([3., 8.])
    """
    refuse_out("np.prod", out)
    where = mask_of("np.prod", where)
    product = ops.prod(_chosen(cast(as_array(a), dtype), where, 1), axis, keepdims)
    if initial is None:
        return product
    return product * initial_of("np.prod", initial, data_of(product).dtype)


def _least(dtype: np.dtype[Any], largest: bool) -> Any:
    """Return the number that no maximum, or no minimum, is changed by."""
    if dtype.kind in "iu":
        return dtype.type(np.iinfo(dtype).min if largest else np.iinfo(dtype).max)
    if dtype.kind == "b":
        return np.bool_(not largest)
    return -np.inf if largest else np.inf


def _extreme(
    title: str, a: Any, axis: Axes, keepdims: bool, initial: Any, where: Any
) -> Array:
    largest = title == "np.max"
    a, where = as_array(a), mask_beside(title, where, initial)
    dtype = data_of(a).dtype
    if where is not True:
        a = ops.where(where, a, _least(dtype, largest))
    if initial is None:
        return (ops.max if largest else ops.min)(a, axis, keepdims)
    initial = initial_of(title, initial, dtype)
    # As one element more of every row, the initial value may be all there is.
    gone = reduced_axes_of(title, a, axis)
    shape = shapes.reduced(a.shape, axis, keepdims=True)
    if any(a.shape[i] == 0 for i in gone):
        found = ops.broadcast_to(in_dtype(as_array(initial), dtype), shape)
    else:
        found = (ops.max if largest else ops.min)(a, axis, True)
        found = (_maximum if largest else _minimum)(found, initial)
    return (
        found
        if keepdims
        else ops.reshape(found, shapes.reduced(a.shape, axis, keepdims=False))
    )


def max(
    a: Array,
    axis: Axes = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Array:
    """Largest element along ``axis``; ties share its gradient equally.

    >>> max(np.array([[1.0, 2.0], [3.0, 0.0]]), axis=1)
    array([2., 3.])
    """
    if isinstance(a, Node) and out is initial is None and where is True:
        return ops.max(a, axis, keepdims)
    refuse_out("np.max", out)
    return _extreme("np.max", a, axis, keepdims, initial, where)


def min(
    a: Array,
    axis: Axes = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Array:
    """Smallest element along ``axis``; ties share its gradient equally.

    >>> min(np.array([[1.0, 2.0], [3.0, 0.0]]), axis=1)
    array([1., 0.])
    """
    if isinstance(a, Node) and out is initial is None and where is True:
        return ops.min(a, axis, keepdims)
    refuse_out("np.min", out)
    return _extreme("np.min", a, axis, keepdims, initial, where)


amax, amin = max, min


def _how_many(a: Any, axis: Axes, keepdims: bool, where: Any) -> Any:
    """How many elements are not left out, for every element of the result."""
    if where is True:
        return count(a.shape, axis)
    ones = ops.where(where, np.ones(a.shape, data_of(a).dtype), 0)
    return ops.sum(ones, axis, keepdims)


def mean(
    a: Array,
    axis: Axes = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: Any = True,
) -> Array:
    """Mean of the elements along ``axis``; of all of them by default.

    >>> mean(np.array([[1.0, 2.0], [3.0, 4.0]]))
    np.float64(2.5)
    """
    if isinstance(a, Node) and dtype is out is None and where is True:
        # As in `sum`.
        bare = axis is None and not keepdims
        return ops.mean(a) if bare else ops.mean(a, axis, keepdims)
    refuse_out("np.mean", out)
    a = cast(as_array(a), floating_of("np.mean", dtype))
    where = mask_of("np.mean", where)
    if where is True:
        return ops.mean(a, axis, keepdims)
    total = ops.sum(_chosen(a, where, 0), axis, keepdims)
    return total / _how_many(a, axis, keepdims, where)


def var(
    a: Array,
    axis: Axes = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: float | None = None,
) -> Array:
    """Variance along ``axis``: mean square distance from the mean.

    Parameters
    ----------
    ddof, correction
        What is subtracted from the number of elements.
    mean
        The mean, with the reduced axes kept, where it is known; a constant unless it
        is a Tensor.

    Examples
    --------
    >>> var(np.array([1.0, 3.0]))
    np.float64(1.0)
    """
    refuse_out("np.var", out)
    less = _freedom("np.var", ddof, correction)
    return _variance("np.var", a, axis, dtype, less, keepdims, where, mean)


def _freedom(title: str, ddof: float, correction: float | None) -> float:
    """Return what is subtracted from the number of elements."""
    if correction is None:
        return ddof
    if ddof != 0:
        raise UnsupportedError(
            f"{title}: ddof and correction are two names of one number; got both"
        )
    return correction


def _variance(
    title: str,
    a: Any,
    axis: Axes,
    dtype: Any,
    ddof: float,
    keepdims: bool,
    where: Any,
    mean: Any,
) -> Array:
    a = cast(as_array(a), floating_of(title, dtype))
    reduced_axes_of(title, a, axis)
    where = mask_of(title, where)
    many = _how_many(a, axis, keepdims, where)
    if where is True and many <= ddof:
        raise ShapeError(
            f"{title}: expected more than {ddof} elements along axis {axis}; "
            f"got x{a.shape}"
        )
    if mean is None:
        full = _how_many(a, axis, True, where)
        mean = (
            ops.mean(a, axis, True)
            if where is True
            else ops.sum(_chosen(a, where, 0), axis, True) / full
        )
    elif np.broadcast_shapes(a.shape, shape_of(mean)) != a.shape:
        raise ShapeError(
            f"{title}: expected mean= that broadcasts to x; got x{a.shape}, "
            f"mean{shape_of(mean)}. Compute it with keepdims=True"
        )
    squares = _chosen(ops.square(a - mean), where, 0)
    if ddof == 0 and where is True:
        return ops.mean(squares, axis, keepdims)
    return ops.sum(squares, axis, keepdims) / (many - ddof)


def std(
    a: Array,
    axis: Axes = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: float | None = None,
) -> Array:
    """Standard deviation along ``axis``; its gradient where it is 0 is 0.

    >>> std(np.array([1.0, 3.0]))
    np.float64(1.0)
    """
    refuse_out("np.std", out)
    less = _freedom("np.std", ddof, correction)
    return ops.sqrt(_variance("np.std", a, axis, dtype, less, keepdims, where, mean))
