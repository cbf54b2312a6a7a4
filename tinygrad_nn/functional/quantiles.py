"""Medians, quantiles and percentiles, by every method that NumPy has.

A quantile is an element of the sorted row, or lies between two neighbours, and its
gradient goes to these with the weights of the interpolation. Elements that tie share,
as everywhere: the quantile 1 has the gradient of `max`. Where NumPy's value is nan,
because the row holds one, no element has a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import OpError, ShapeError, UnsupportedError
from tinygrad_nn.functional.arguments import (
    as_array,
    reduced_axes_of,
    refuse,
    refuse_out,
    shape_of,
)
from tinygrad_nn.functional.gaps import nan_where, warn_where
from tinygrad_nn.functional.places import as_result, at_places, picked, plain
from tinygrad_nn.op import Array, Node
from tinygrad_nn.shapes import Axes

__all__ = [
    "median",
    "nanmedian",
    "nanpercentile",
    "nanquantile",
    "percentile",
    "quantile",
]


def median(
    a: Array,
    axis: Axes = None,
    out: None = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Array:
    """Median along ``axis``: the middle element, or the mean of the middle two.

    >>> median(np.array([3.0, 1.0, 2.0, 10.0]))
    np.float64(2.5)
    """
    del overwrite_input  # a permission
    refuse_out("np.median", out)
    a = as_array(a)
    rows, kept = _rows("np.median", a, axis, keepdims)
    n = rows.shape[-1]
    placed = ops.sort(rows)
    middle = picked(placed, (..., slice((n - 1) // 2, n // 2 + 1)))
    found = ops.mean(middle, -1)
    if a.dtype.kind == "f":
        found = nan_where(ops.isnan(picked(placed, (..., -1))), found)
    return as_result(ops.reshape(found, kept))


def nanmedian(
    a: Array,
    axis: Axes = None,
    out: None = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Array:
    """Median along ``axis`` of what is a number.

    >>> nanmedian(np.array([3.0, np.nan, 1.0, 2.0, 10.0]))
    np.float64(2.5)
    """
    refuse_out("np.nanmedian", out)
    a = as_array(a)
    if a.dtype.kind != "f":
        return median(a, axis, None, overwrite_input, keepdims)
    rows, kept = _rows("np.nanmedian", a, axis, keepdims)
    placed = ops.sort(rows)
    count = _counted("np.nanmedian", rows)
    last = np.maximum(count - 1, 0)
    pair = np.stack([last // 2, (last + 1) // 2], axis=-1)
    size = (*rows.shape[:-1], 2)
    middle = picked(placed, at_places(pair, size, len(size) - 1))
    return as_result(ops.reshape(_or_nan(ops.mean(middle, -1), count), kept))


def quantile(
    a: Array,
    q: Any,
    axis: Axes = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: None = None,
) -> Array:
    """Quantile along ``axis``: where the share ``q`` of the elements is not larger.

    Parameters
    ----------
    q
        Shares between 0 and 1, constant. Their axes come first in the result.
    method
        How to choose, or to interpolate, between neighbours: any of NumPy's.
    weights
        Refused.

    Examples
    --------
    >>> quantile(np.array([1.0, 2.0, 4.0]), [0.25, 1.0])
    array([1.5, 4. ])
    """
    del overwrite_input  # a permission
    title = "np.quantile"
    _refuse(title, out, weights)
    return _quantile(title, a, _shares(title, q, 1), axis, method, keepdims)


def percentile(
    a: Array,
    q: Any,
    axis: Axes = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: None = None,
) -> Array:
    """Quantile whose share is given in hundredths; see `quantile`.

    >>> percentile(np.array([1.0, 2.0, 4.0]), 25)
    np.float64(1.5)
    """
    del overwrite_input
    title = "np.percentile"
    _refuse(title, out, weights)
    return _quantile(title, a, _shares(title, q, 100), axis, method, keepdims)


def nanquantile(
    a: Array,
    q: Any,
    axis: Axes = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: None = None,
) -> Array:
    """Quantile along ``axis`` of what is a number; see `quantile`.

    >>> nanquantile(np.array([1.0, np.nan, 2.0, 4.0]), 0.25)
    np.float64(1.5)
    """
    del overwrite_input
    title = "np.nanquantile"
    _refuse(title, out, weights)
    return _nanquantile(title, a, _shares(title, q, 1), axis, method, keepdims)


def nanpercentile(
    a: Array,
    q: Any,
    axis: Axes = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: None = None,
) -> Array:
    """Quantile in hundredths of what is a number; see `quantile`.

    >>> nanpercentile(np.array([1.0, np.nan, 2.0, 4.0]), 25)
    np.float64(1.5)
    """
    del overwrite_input
    title = "np.nanpercentile"
    _refuse(title, out, weights)
    return _nanquantile(title, a, _shares(title, q, 100), axis, method, keepdims)


# --- arguments -------------------------------------------------------------------


def _refuse(title: str, out: Any, weights: Any) -> None:
    refuse_out(title, out)
    refuse(title, "Repeat elements instead: np.repeat", weights=(weights, None))


class _Shares(NamedTuple):
    """Shares to look for, and whether they are one number of Python's."""

    q: np.ndarray
    weak: bool


def _shares(title: str, q: Any, whole: int) -> _Shares:
    if isinstance(q, Node):
        raise UnsupportedError(
            f"{title}: q is constant; got a Tensor, whose gradient would be dropped. "
            "Use q.numpy()"
        )
    shares = np.asarray(q) if whole == 1 else np.asarray(np.true_divide(q, whole))
    if not np.all((shares >= 0) & (shares <= 1)) or shares.ndim > 2:
        raise OpError(
            f"{title}: expected q of two axes at most, between 0 and {whole}; "
            f"got {q!r:.60}"
        )
    return _Shares(shares, type(q) in (int, float))


def _rows(
    title: str, a: Any, axis: Axes, keepdims: bool
) -> tuple[Array, tuple[int, ...]]:
    """Return the reduced axes as one, the last; and the shape that is left."""
    size = a.shape
    gone = reduced_axes_of(title, a, axis)
    kept = shapes.reduced(size, axis, keepdims=keepdims)
    if any(size[i] == 0 for i in gone):
        raise ShapeError(
            f"{title}: expected at least one element along the reduced axes; "
            f"got a{size}, axis={axis!r}"
        )
    order = tuple(i for i in range(len(size)) if i not in gone) + gone
    if order != tuple(range(len(size))):
        a = ops.transpose(a, order)
    lead = shapes.reduced(size, axis, keepdims=False)
    n = int(np.prod([size[i] for i in gone]))
    return ops.reshape(a, (*lead, n)), kept


def _counted(title: str, rows: Array) -> np.ndarray:
    """How many of a row are numbers: it says which elements are meant."""
    count: np.ndarray = np.sum(~np.isnan(plain(rows, title)), axis=-1)
    return count


def _or_nan(found: Array, count: np.ndarray) -> Array:
    empty = count == 0
    warn_where(empty, "All-NaN slice encountered")
    return nan_where(empty, found) if empty.any() else found


# --- methods ---------------------------------------------------------------------


def _hyndman_fan(alpha: float, beta: float) -> Callable[[Any, Any], Any]:
    """Continuous methods, by R. J. Hyndman and Y. Fan: Sample quantiles (1996)."""
    return lambda n, q: n * q + (alpha + q * (1 - alpha - beta)) - 1


def _boundary(index: Any, stays: Any) -> Any:
    """Return the place before, or the one after unless ``stays``."""
    before = np.floor(index)
    places = np.where(stays(index - before, index), before, before + 1)
    return np.maximum(places, 0).astype(np.intp)


_CONTINUOUS: dict[str, Callable[[Any, Any], Any]] = {
    "averaged_inverted_cdf": lambda n, q: n * q - 1,
    "hazen": _hyndman_fan(0.5, 0.5),
    "interpolated_inverted_cdf": _hyndman_fan(0, 1),
    "linear": lambda n, q: (n - 1) * q,
    "median_unbiased": _hyndman_fan(1 / 3.0, 1 / 3.0),
    "midpoint": lambda n, q: 0.5 * (np.floor((n - 1) * q) + np.ceil((n - 1) * q)),
    "normal_unbiased": _hyndman_fan(3 / 8.0, 3 / 8.0),
    "weibull": _hyndman_fan(0, 0),
}
_DISCRETE: dict[str, Callable[[Any, Any], Any]] = {
    "closest_observation": lambda n, q: _boundary(
        n * q - 1 - 0.5, lambda rest, i: (rest == 0) & (np.floor(i) % 2 == 1)
    ),
    "higher": lambda n, q: np.ceil((n - 1) * q).astype(np.intp),
    "inverted_cdf": lambda n, q: _boundary(n * q - 1, lambda rest, _: rest == 0),
    "lower": lambda n, q: np.floor((n - 1) * q).astype(np.intp),
    "nearest": lambda n, q: np.around((n - 1) * q).astype(np.intp),
}


class _Places(NamedTuple):
    """Two neighbours in a sorted row, and the weight of the second; None: no second."""

    low: Any
    high: Any
    weight: Any


def _places(title: str, method: str, n: Any, q: Any) -> _Places:
    """Say where in sorted rows of ``n`` elements the shares lie."""
    if method in _DISCRETE:
        low = np.asarray(_DISCRETE[method](n, q))
        return _Places(low, low, None)
    if method not in _CONTINUOUS:
        raise OpError(
            f"{title}: method is one of {sorted({*_CONTINUOUS, *_DISCRETE})}; "
            f"got {method!r}"
        )
    index = np.asarray(_CONTINUOUS[method](n, q))
    if method == "linear" and index.dtype.kind in "iu":
        return _Places(index, index, None)
    low = np.floor(index)
    high = low + 1
    above, below = index >= n - 1, index < 0
    low = np.where(above, -1, np.where(below, 0, low))
    high = np.where(above, -1, np.where(below, 0, high))
    weight = index - low
    if method == "averaged_inverted_cdf":
        weight = np.where(weight == 0, 0.5, 1.0)
    if method == "midpoint":
        weight = np.where(index % 1 == 0, 0.0, 0.5)
    last = np.broadcast_to(n - 1, index.shape)
    low, high = (np.where(i < 0, last, i).astype(np.intp) for i in (low, high))
    return _Places(low, high, np.asarray(weight, index.dtype))


def _between(low: Array, high: Array, weight: Any) -> Array:
    """Interpolate from the nearer end, as NumPy does: monotonic, and exact at both."""
    step = high - low
    return ops.where(weight >= 0.5, high - step * (1 - weight), low + step * weight)


def _quantile(
    title: str, a: Any, shares: _Shares, axis: Axes, method: str, keepdims: bool
) -> Array:
    a = as_array(a)
    rows, kept = _rows(title, a, axis, keepdims)
    q = shares.q
    found = _places(title, method, rows.shape[-1], q)
    placed = ops.sort(rows)
    low = picked(placed, (..., found.low))
    if found.weight is None:
        result = low
    else:
        weight: Any = found.weight
        weight = float(weight) if shares.weak else weight
        result = _between(low, picked(placed, (..., found.high)), weight)
    if a.dtype.kind == "f":
        gap = ops.isnan(picked(placed, (..., -1)))
        gap = ops.reshape(gap, (*rows.shape[:-1], *[1] * q.ndim))
        result = nan_where(gap, result)
    return _with_shares_first(result, q.ndim, kept)


def _with_shares_first(result: Array, rank: int, kept: tuple[int, ...]) -> Array:
    size = shape_of(result)
    lead = len(size) - rank
    if rank and lead:
        order = (*range(lead, len(size)), *range(lead))
        result = ops.transpose(result, order)
    return as_result(ops.reshape(result, (*size[lead:], *kept)))


def _nanquantile(
    title: str, a: Any, shares: _Shares, axis: Axes, method: str, keepdims: bool
) -> Array:
    a = as_array(a)
    if a.dtype.kind != "f":
        return _quantile(title, a, shares, axis, method, keepdims)
    rows, kept = _rows(title, a, axis, keepdims)
    q = shares.q
    count = _counted(title, rows)
    n = np.maximum(count, 1)[..., None]
    n = n.astype(q.dtype) if q.dtype.kind == "f" else n  # one number is weak as well
    found = _places(title, method, n, q.reshape(-1))
    placed = ops.sort(rows)
    size = np.shape(found.low)
    result = picked(placed, at_places(found.low, size, len(size) - 1))
    if found.weight is not None:
        weight = found.weight
        if shares.weak:
            weight = weight.astype(a.dtype)
        high = picked(placed, at_places(found.high, size, len(size) - 1))
        result = _between(result, high, weight)
    result = _or_nan(result, count[..., None])
    result = ops.reshape(result, (*rows.shape[:-1], *q.shape))
    return _with_shares_first(result, q.ndim, kept)
