"""Reductions that leave out what is not a number, and give it no gradient.

Where a row holds no number at all, the result is NumPy's, with NumPy's warning, and no
element of the row has a gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import ops, recording
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.functional import choosing, reductions
from tinygrad_nn.functional.arguments import (
    as_array,
    initial_of,
    mask_beside,
    mask_of,
    reduced_axes_of,
    refuse_out,
)
from tinygrad_nn.functional.places import as_result, in_dtype
from tinygrad_nn.op import Array, data_of
from tinygrad_nn.shapes import Axes

__all__ = [
    "nan_where",
    "nanargmax",
    "nanargmin",
    "nanmax",
    "nanmean",
    "nanmin",
    "nanprod",
    "nanstd",
    "nansum",
    "nanvar",
    "warn_where",
]


def warn_where(found: Any, text: str, kind: type[Warning] = RuntimeWarning) -> None:
    """Warn as NumPy does where something is true; a compiled step does not look."""
    if recording.current().trace is None and np.any(data_of(found)):
        recording.warn(text, kind)


def nan_where(gap: Array, found: Array) -> Array:
    """Put nan where there is a gap; a result without one holds no nan on its way."""
    hole = in_dtype(ops.where(gap, np.nan, 0.0), data_of(found).dtype)
    return as_result(ops.where(gap, hole, found))


def _numbers(title: str, a: Any, axis: Axes, where: Any) -> tuple[Array, Any]:
    """Return the operand, and where it is a number that is asked for."""
    a, where = as_array(a), mask_of(title, where)
    reduced_axes_of(title, a, axis)
    if a.dtype.kind != "f":
        return a, where
    found = ops.logical_not(ops.isnan(a))
    return a, found if where is True else ops.logical_and(found, where)


def nansum(
    a: Array,
    axis: Axes = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Array:
    """Sum along ``axis`` in which a nan counts as zero, and has no gradient.

    >>> nansum(np.array([1.0, np.nan, 3.0]))
    np.float64(4.0)
    """
    refuse_out("np.nansum", out)
    a, where = _numbers("np.nansum", a, axis, where)
    return reductions.sum(a, axis, dtype, None, keepdims, initial, where)


def nanprod(
    a: Array,
    axis: Axes = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Array:
    """Product along ``axis`` in which a nan counts as one, and has no gradient.

    >>> nanprod(np.array([2.0, np.nan, 3.0]))
    np.float64(6.0)
    """
    refuse_out("np.nanprod", out)
    a, where = _numbers("np.nanprod", a, axis, where)
    return reductions.prod(a, axis, dtype, None, keepdims, initial, where)


def nanmean(
    a: Array,
    axis: Axes = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: Any = True,
) -> Array:
    """Mean along ``axis`` of what is a number; where nothing is: nan, with a warning.

    >>> nanmean(np.array([1.0, np.nan, 3.0]))
    np.float64(2.0)
    """
    refuse_out("np.nanmean", out)
    a, where = _numbers("np.nanmean", a, axis, where)
    if where is True:
        return reductions.mean(a, axis, dtype, None, keepdims)
    empty = ops.equal(_count(a, axis, keepdims, where), 0)
    warn_where(empty, "Mean of empty slice")
    with np.errstate(invalid="ignore"):
        return reductions.mean(a, axis, dtype, None, keepdims, where=where)


def _count(a: Any, axis: Axes, keepdims: bool, where: Any) -> Array:
    ones = ops.where(where, np.ones(a.shape, np.int64), 0)
    return ops.sum(ones, axis, keepdims)


def nanvar(
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
    """Variance along ``axis`` of what is a number; with too few: nan, and a warning.

    >>> nanvar(np.array([1.0, np.nan, 3.0]))
    np.float64(1.0)
    """
    refuse_out("np.nanvar", out)
    a, where = _numbers("np.nanvar", a, axis, where)
    options = {"where": where, "mean": mean, "correction": correction}
    if where is True:
        return reductions.var(a, axis, dtype, None, ddof, keepdims, **options)
    less = ddof if correction is None else correction
    few = ops.less_equal(_count(a, axis, keepdims, where), less)
    warn_where(few, "Degrees of freedom <= 0 for slice.")
    with np.errstate(invalid="ignore", divide="ignore"):
        found = reductions.var(a, axis, dtype, None, ddof, keepdims, **options)
    return nan_where(few, found)


def nanstd(
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
    """Standard deviation along ``axis`` of what is a number; where it is 0: gradient 0.

    >>> nanstd(np.array([1.0, np.nan, 3.0]))
    np.float64(1.0)
    """
    refuse_out("np.nanstd", out)
    reduced_axes_of("np.nanstd", as_array(a), axis)
    options = {"where": where, "mean": mean, "correction": correction}
    return ops.sqrt(nanvar(a, axis, dtype, None, ddof, keepdims, **options))


def _extreme(
    title: str, a: Any, axis: Axes, keepdims: bool, initial: Any, where: Any
) -> Array:
    largest = title == "np.nanmax"
    a, where = as_array(a), mask_beside(title, where, initial)
    if a.dtype.kind != "f":
        call = reductions.max if largest else reductions.min
        return call(a, axis, None, keepdims, initial, where)
    if where is not True:
        a = ops.where(where, a, np.nan)
    empty = any(a.shape[i] == 0 for i in reduced_axes_of(title, a, axis))
    if empty and initial is not None:
        return (reductions.max if largest else reductions.min)(
            a, axis, None, keepdims, initial
        )
    found = (ops.nanmax if largest else ops.nanmin)(a, axis, keepdims)
    if initial is not None:
        initial = initial_of(title, initial, a.dtype)
        found = (ops.fmax if largest else ops.fmin)(found, initial)
    warn_where(ops.isnan(found), "All-NaN slice encountered")
    return found


def nanmax(
    a: Array,
    axis: Axes = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Array:
    """Largest element along ``axis`` that is a number; ties share its gradient.

    >>> nanmax(np.array([1.0, np.nan, 3.0]))
    np.float64(3.0)
    """
    refuse_out("np.nanmax", out)
    return _extreme("np.nanmax", a, axis, keepdims, initial, where)


def nanmin(
    a: Array,
    axis: Axes = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Array:
    """Smallest element along ``axis`` that is a number; ties share its gradient.

    >>> nanmin(np.array([1.0, np.nan, 3.0]))
    np.float64(1.0)
    """
    refuse_out("np.nanmin", out)
    return _extreme("np.nanmin", a, axis, keepdims, initial, where)


def _place(
    title: str, a: Any, axis: int | None, keepdims: bool, find: Any, worst: float
) -> Array:
    a = as_array(a)
    if a.dtype.kind != "f":
        return find(a, axis, keepdims=keepdims)
    reduced_axes_of(title, a, axis)
    gap = ops.isnan(a)
    if recording.current().trace is None and np.all(data_of(gap), axis=axis).any():
        raise ShapeError(
            f"{title}: expected a number in every row; got one of nan alone. Fill it "
            "first, for example with np.nan_to_num"
        )
    return find(ops.where(gap, worst, a), axis, keepdims=keepdims)


def nanargmax(
    a: Array, axis: int | None = None, out: None = None, *, keepdims: bool = False
) -> Array:
    """Place of the largest number along an axis, the first of them.

    >>> nanargmax(np.array([1.0, np.nan, 3.0]))
    np.int64(2)
    """
    refuse_out("np.nanargmax", out)
    return _place("np.nanargmax", a, axis, keepdims, choosing.argmax, -np.inf)


def nanargmin(
    a: Array, axis: int | None = None, out: None = None, *, keepdims: bool = False
) -> Array:
    """Place of the smallest number along an axis, the first of them.

    >>> nanargmin(np.array([1.0, np.nan, 3.0]))
    np.int64(0)
    """
    refuse_out("np.nanargmin", out)
    return _place("np.nanargmin", a, axis, keepdims, choosing.argmin, np.inf)
