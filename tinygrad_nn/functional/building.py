"""Arrays made from a few numbers, which may be Tensors and then have a gradient."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from tinygrad_nn import ops, recording
from tinygrad_nn.errors import OpError, ShapeError, UnsupportedError
from tinygrad_nn.functional.arguments import as_array, refuse
from tinygrad_nn.functional.movement import broadcast_arrays, expand_dims, moveaxis
from tinygrad_nn.functional.ufuncs import BARE
from tinygrad_nn.op import Array, Node, constant, data_of
from tinygrad_nn.ops import getitem

__all__ = [
    "full",
    "full_like",
    "geomspace",
    "ix_",
    "linspace",
    "logspace",
    "meshgrid",
]

_power = BARE[np.power]


def full(
    shape: Any,
    fill_value: Array,
    dtype: Any = None,
    order: str = "C",
    *,
    device: str | None = None,
    like: None = None,
) -> Array:
    """Array of a shape, filled with a value; a Tensor gets the sum of the gradients.

    >>> full((2, 2), np.float64(3.0))
    array([[3., 3.],
           [3., 3.]])
    """
    refuse("np.full", "Leave it out", device=(device, None), like=(like, None))
    del order  # a recorded value has no layout
    return _filled(shape, fill_value, dtype)


def full_like(
    a: Array,
    fill_value: Array,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: str | None = None,
) -> Array:
    """Array of the shape and dtype of another, filled with a value.

    A number gives a plain array, for there is nothing to differentiate.

    >>> full_like(np.zeros(2), 3)
    array([3., 3.])
    """
    refuse("np.full_like", "Leave it out", device=(device, None))
    del order, subok
    a = as_array(a)
    return _filled(
        a.shape if shape is None else shape,
        fill_value,
        a.dtype if dtype is None else dtype,
    )


def _filled(shape: Any, value: Any, dtype: Any) -> Any:
    if not isinstance(value, Node):
        return np.full(shape, value, dtype)
    return ops.broadcast_to(value if dtype is None else _as(value, dtype), shape)


# --- evenly spaced ---------------------------------------------------------------


def linspace(
    start: Array,
    stop: Array,
    num: Any = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: str | None = None,
) -> Any:
    """Numbers that are evenly spaced between two ends, which may be arrays.

    Parameters
    ----------
    start, stop
        The ends; they broadcast.
    num
        How many numbers.
    endpoint
        Whether the last number is ``stop``.
    retstep
        Whether to return ``(numbers, step)``.
    dtype
        Of the result; integers are rounded down, and have no gradient.
    axis
        Where the numbers lie, if the ends are arrays.

    Examples
    --------
    >>> linspace(0.0, 1.0, 3)
    array([0. , 0.5, 1. ])
    """
    refuse("np.linspace", "Leave it out", device=(device, None))
    count = _count("linspace", num)
    start, stop = _listed(start), _listed(stop)
    if not (isinstance(start, Node) or isinstance(stop, Node)):
        plain: Any = np.linspace
        return plain(start, stop, count, endpoint, retstep, dtype, axis)
    exact = np.result_type(data_of(start), data_of(stop), 1.0)
    start, stop = _as(start, exact), _as(stop, exact)
    delta = stop - start
    intervals = count - 1 if endpoint else count
    places = np.arange(0, count, dtype=exact).reshape(-1, *(1,) * len(delta.shape))
    step: Any = math.nan
    if intervals > 0:
        step = delta / intervals
        if recording.current().trace is None and np.any(data_of(step) == 0):
            spaced = (places / intervals) * delta  # NumPy's way with the tiniest
        else:
            spaced = places * step
    else:
        spaced = places * delta
    spaced = spaced + start
    if endpoint and count > 1:
        last = ops.broadcast_to(stop, spaced.shape[1:])
        last = ops.reshape(last, (1, *last.shape))
        spaced = ops.concatenate(getitem(spaced, slice(0, -1)), last)
    if axis != 0:
        spaced = moveaxis(spaced, 0, axis)
    if dtype is not None and np.dtype(dtype) != spaced.dtype:
        spaced = _rounded_down(spaced, np.dtype(dtype))
    return (spaced, step) if retstep else spaced


def _count(title: str, num: Any) -> int:
    count = operator.index(num)
    if count < 0:
        raise ShapeError(f"{title}: expected num of at least 0; got {count}")
    return count


def _listed(x: Any) -> Any:
    """Return a list as an array; a number stays one, of whatever dtype comes."""
    return as_array(x) if isinstance(x, (list, tuple)) else x


def _as(x: Any, dtype: Any) -> Any:
    x, dtype = as_array(x), np.dtype(dtype)
    return x if x.dtype == dtype else ops.astype(x, dtype)


def _rounded_down(x: Any, dtype: np.dtype[Any]) -> Any:
    if dtype.kind in "iu":
        cut = ops.astype(x, np.dtype(np.int64))  # towards zero
        x = cut - ops.astype(ops.less(x, cut), np.dtype(np.int64))
    return _as(x, dtype)


def logspace(
    start: Array,
    stop: Array,
    num: Any = 50,
    endpoint: bool = True,
    base: Array = 10.0,
    dtype: Any = None,
    axis: int = 0,
) -> Array:
    """Powers of ``base`` whose exponents are evenly spaced between two ends.

    >>> logspace(0.0, 2.0, 3)
    array([  1.,  10., 100.])
    """
    count = _count("logspace", num)
    start, stop, base = _listed(start), _listed(stop), _listed(base)
    if not any(isinstance(x, Node) for x in (start, stop, base)):
        return np.logspace(start, stop, count, endpoint, base, dtype, axis)
    if np.ndim(data_of(base)):
        rank = max(np.ndim(data_of(x)) for x in (start, stop, base))
        start, stop, base = (
            ops.reshape(x, (*(1,) * (rank - len(x.shape)), *x.shape))
            for x in map(as_array, (start, stop, base))
        )
        base = expand_dims(base, axis)
    exponents = linspace(start, stop, count, endpoint, axis=axis)
    if isinstance(base, (int, float)):
        # As a Tensor, so that its logarithm is recorded, and exact where numbers are.
        kind = data_of(exponents).dtype
        base = constant(np.asarray(base, kind), recording.tick())
    powers = _power(base, exponents)
    return powers if dtype is None else ops.astype(powers, np.dtype(dtype))


def geomspace(
    start: Array,
    stop: Array,
    num: Any = 50,
    endpoint: bool = True,
    dtype: Any = None,
    axis: int = 0,
) -> Array:
    """Numbers between two ends, each the same multiple of the one before.

    Raises
    ------
    OpError
        For an end that is zero, or ends of different signs, between which there are
        no such real numbers.

    Examples
    --------
    >>> geomspace(1.0, 4.0, 3)
    array([1., 2., 4.])
    """
    count = _count("geomspace", num)
    start, stop = _listed(start), _listed(stop)
    if not (isinstance(start, Node) or isinstance(stop, Node)):
        return np.geomspace(start, stop, count, endpoint, dtype, axis)
    wanted = np.zeros((), dtype)
    exact = np.result_type(data_of(start), data_of(stop), float(count), wanted)
    start, stop = _as(start, exact), _as(stop, exact)
    _refuse_signs(start, stop)
    sign = ops.sign(start)
    first, last = (ops.log10(x / sign) for x in (start, stop))
    found = logspace(first, last, count, endpoint)
    ends = [ops.broadcast_to(x / sign, found.shape[1:]) for x in (start, stop)]
    ends = [ops.reshape(x, (1, *x.shape)) for x in ends]
    if count:
        closed = endpoint and count > 1
        inner = getitem(found, slice(1, count - 1 if closed else count))
        found = ops.concatenate(ends[0], inner, *([ends[1]] if closed else []))
    found = found * sign
    if axis != 0:
        found = moveaxis(found, 0, axis)
    return found if dtype is None else ops.astype(found, np.dtype(dtype))


def _refuse_signs(start: Any, stop: Any) -> None:
    if recording.current().trace is not None:
        return
    if not np.all(data_of(start) * data_of(stop) > 0):
        raise OpError(
            "geomspace: expected ends of one sign, and none that is zero; got "
            f"start={data_of(start)}, stop={data_of(stop)}"
        )


# --- grids -----------------------------------------------------------------------


def meshgrid(
    *xi: Array, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> tuple[Array, ...]:
    """Coordinates of all points of a grid, from the coordinates along its axes.

    Parameters
    ----------
    xi
        Vectors, or numbers.
    copy
        Shows nowhere: a recorded value is never written to.
    sparse
        Whether each result keeps size 1 along the axes of the others.
    indexing
        ``"xy"``: the first vector runs along the columns; ``"ij"``: along the rows.

    Examples
    --------
    >>> meshgrid(np.array([1.0, 2.0]), np.array([3.0, 4.0]))[0]
    array([[1., 2.],
           [1., 2.]])
    """
    if indexing not in ("xy", "ij"):
        raise OpError(f"meshgrid: indexing is 'xy' or 'ij'; got {indexing!r}")
    rank = len(xi)
    places = list(range(rank))
    if indexing == "xy" and rank > 1:
        places[:2] = 1, 0
    grids = []
    for x, place in zip(map(as_array, xi), places, strict=True):
        size = [1] * rank
        size[place] = math.prod(x.shape)
        grids.append(ops.reshape(x, tuple(size)))
    if sparse:
        return tuple(grids)
    whole = broadcast_arrays(*grids)
    # What needs no repetition is copied all the same, as NumPy copies it.
    return tuple(ops.astype(x) if copy else x for x in whole)


def ix_(*args: Array) -> tuple[Array, ...]:
    """Indices that pick a grid: ``x[np.ix_(rows, columns)]``.

    >>> [i.shape for i in ix_([0, 2], [1, 2, 3])]
    [(2, 1), (1, 3)]
    """
    found = []
    for i, given in enumerate(args):
        x = as_array(given)
        if not isinstance(given, Node) and x.size == 0:
            x = x.astype(np.intp)  # an empty list says nothing of its kind
        if len(x.shape) != 1:
            raise ShapeError(f"ix_: expected vectors; got shape {x.shape}")
        if x.dtype == np.bool_:
            x = _places("ix_", x)
        size = [1] * len(args)
        size[i] = x.shape[0]
        found.append(ops.reshape(x, tuple(size)))
    return tuple(found)


def _places(title: str, mask: Any) -> np.ndarray:
    if isinstance(mask, Node) and recording.current().trace is not None:
        raise UnsupportedError(
            f"{title}: a mask picks as many places as it has truths, another number in "
            "each call of a compiled step; got a Tensor of booleans. Pass integers"
        )
    return np.flatnonzero(data_of(mask))
