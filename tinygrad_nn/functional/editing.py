"""Elements repeated, put in and left out, with NumPy's names and signatures.

What is rare is a gather: NumPy's own function, applied to an array of places, says
where each element comes from.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_nn import ops, recording
from tinygrad_nn.errors import OpError, ShapeError, UnsupportedError
from tinygrad_nn.functional.arguments import (
    as_array,
    axes_of,
    axis_of,
    reduced_axes_of,
)
from tinygrad_nn.functional.movement import moveaxis
from tinygrad_nn.functional.places import plain
from tinygrad_nn.op import Array, Node
from tinygrad_nn.ops import getitem
from tinygrad_nn.shapes import Axes

__all__ = ["delete", "insert", "repeat", "resize", "tile", "trim_zeros"]


def _known(title: str, what: str, given: Any) -> Any:
    """Return numbers that a shape depends on; in a compiled step they are fixed."""
    if isinstance(given, Node):
        if recording.current().trace is not None:
            raise UnsupportedError(
                f"{title}: the shape of the result depends on {what}, which a compiled "
                "step cannot compute anew in each call; got a Tensor. Pass numbers"
            )
        given = given._value
    numbers = np.asarray(given)
    if numbers.dtype.kind in "iub":
        return numbers
    if numbers.size:
        raise OpError(f"{title}: {what} is made of integers; got dtype {numbers.dtype}")
    return numbers.astype(np.intp)  # an empty list says nothing of its kind


def _flat(a: Any) -> Any:
    return ops.reshape(a, (-1,)) if len(a.shape) != 1 else a


def repeat(a: Array, repeats: Any, axis: int | None = None) -> Array:
    """Every element several times in a row; without an axis of the flattened array.

    Parameters
    ----------
    a
        Of any shape.
    repeats
        One count, or one for each element along the axis.
    axis
        Along which elements repeat.

    Examples
    --------
    >>> repeat(np.array([1.0, 2.0]), 2)
    array([1., 1., 2., 2.])
    >>> repeat(np.array([1.0, 2.0]), [1, 3])
    array([1., 2., 2., 2.])
    """
    a = as_array(a)
    if axis is None or not a.shape:
        reduced_axes_of("repeat", a, axis)
        a, axis = _flat(a), 0
    axis = axis_of("repeat", a, axis)
    counts = _known("repeat", "repeats", repeats)
    size = a.shape
    n = size[axis]
    if counts.ndim > 1 or (counts.ndim and counts.size not in (1, n)):
        raise ShapeError(
            f"repeat: expected one count, or one for each of {n} elements along axis "
            f"{axis}; got repeats{counts.shape}"
        )
    if counts.size and counts.min() < 0:
        raise ShapeError(f"repeat: expected counts of at least 0; got {counts.min()}")
    lead = (slice(None),) * axis
    if counts.size != 1:
        return getitem(a, (*lead, np.repeat(np.arange(n), counts)))
    count = int(counts.reshape(()))
    before, after = size[:axis], size[axis + 1 :]
    each = ops.reshape(a, (*before, n, 1, *after))
    each = ops.broadcast_to(each, (*before, n, count, *after))
    return ops.reshape(each, (*before, n * count, *after))


def tile(A: Array, reps: Any) -> Array:
    """Array laid side by side, so many times along each axis.

    >>> tile(np.array([1.0, 2.0]), 2)
    array([1., 2., 1., 2.])
    """
    A = as_array(A)
    known = _known("tile", "reps", reps)
    times = tuple(int(n) for n in known.reshape(-1))
    if min(times, default=0) < 0:
        raise ShapeError(f"tile: expected counts of at least 0; got {times}")
    rank = max(len(times), len(A.shape))
    times = (*(1,) * (rank - len(times)), *times)
    size = (*(1,) * (rank - len(A.shape)), *A.shape)
    if all(n == 1 for n in times):
        return ops.astype(ops.reshape(A, size))  # a copy, as NumPy's
    apart = tuple(n for pair in zip((1,) * rank, size, strict=True) for n in pair)
    spread = tuple(n for pair in zip(times, size, strict=True) for n in pair)
    whole = ops.broadcast_to(ops.reshape(A, apart), spread)
    return ops.reshape(whole, tuple(r * n for r, n in zip(times, size, strict=True)))


def resize(a: Array, new_shape: Any) -> Array:
    """Elements in a new shape, from the first again where they do not suffice.

    >>> resize(np.array([1.0, 2.0, 3.0]), (2, 2))
    array([[1., 2.],
           [3., 1.]])
    """
    a = as_array(a)
    size = (int(new_shape),) if np.ndim(new_shape) == 0 else tuple(new_shape)
    wanted = math.prod(size)
    if min(size, default=0) < 0:
        raise ShapeError(f"resize: expected sizes of at least 0; got {size}")
    flat = _flat(a)
    have = flat.shape[0]
    if have == 0:
        nothing = ops.scatter_add(flat, slice(0, 0), (wanted,))
        return ops.reshape(nothing, size)  # zeros, as NumPy's
    if wanted > have:
        flat = tile(flat, -(-wanted // have))
    if wanted != flat.shape[0]:
        flat = getitem(flat, slice(wanted))
    return ops.reshape(flat, size)


def delete(arr: Array, obj: Any, axis: int | None = None) -> Array:
    """Array without the elements at an index along an axis; flattened without one.

    Parameters
    ----------
    arr
        Of any shape.
    obj
        A number, a slice, integers, or a mask of booleans.
    axis
        Along which elements are left out.

    Examples
    --------
    >>> delete(np.array([1.0, 2.0, 3.0]), 1)
    array([1., 3.])
    """
    arr = as_array(arr)
    if axis is None:
        arr, axis = _flat(arr), 0
    axis = axis_of("delete", arr, axis)
    index = obj if isinstance(obj, slice) else _known("delete", "obj", obj)
    n = arr.shape[axis]
    try:
        kept = np.delete(np.arange(n), index)
    except (IndexError, ValueError) as error:
        raise ShapeError(
            f"delete: {error}; got obj={obj!r} for axis {axis} of arr{arr.shape}"
        ) from None
    lead = (slice(None),) * axis
    gaps = np.flatnonzero(np.diff(kept) != 1) + 1
    if len(gaps) > 1:
        return getitem(arr, (*lead, kept))
    runs = [  # slices are quicker than indices, and more so backward
        getitem(arr, (*lead, slice(int(run[0]), int(run[-1]) + 1)))
        for run in np.split(kept, gaps)
        if run.size
    ]
    return ops.concatenate(*(runs or [getitem(arr, (*lead, slice(0, 0)))]), axis=axis)


def insert(arr: Array, obj: Any, values: Any, axis: int | None = None) -> Array:
    """Array with values put in before an index along an axis; flattened without one.

    Parameters
    ----------
    arr
        Of any shape.
    obj
        A number, a slice, integers, or a mask of booleans: where, in ``arr``.
    values
        What is put in; broadcasts as in NumPy, and takes the dtype of ``arr``.
    axis
        Along which the array grows.

    Examples
    --------
    >>> insert(np.array([1.0, 2.0]), 1, 9.0)
    array([1., 9., 2.])
    """
    arr = as_array(arr)
    if axis is None:
        arr, axis = _flat(arr), 0
    axis = axis_of("insert", arr, axis)
    values = as_array(values)
    index = obj if isinstance(obj, slice) else _known("insert", "obj", obj)
    if not isinstance(index, slice) and index.size == 1 and index.dtype != np.bool_:
        return _inserted(arr, index, values, axis)
    count = math.prod(arr.shape)
    places = np.arange(count).reshape(arr.shape)
    new = count + np.arange(math.prod(values.shape)).reshape(values.shape)
    try:
        where = np.insert(places, index, new, axis)
    except (IndexError, ValueError) as error:
        raise ShapeError(
            f"insert: {error}; got arr{arr.shape}, values{values.shape}, obj={obj!r}, "
            f"axis={axis}"
        ) from None
    if values.dtype != arr.dtype:
        values = ops.astype(values, arr.dtype)
    return getitem(ops.concatenate(_flat(arr), _flat(values)), where)


def trim_zeros(filt: Array, trim: str = "fb", axis: Axes = None) -> Array:
    """Array without the zeros at its ends; how many there are, the values say.

    Parameters
    ----------
    filt
        Of any shape.
    trim
        Where: ``"f"`` in front, ``"b"`` at the back, ``"fb"`` at both.
    axis
        Along which; all axes by default.

    Raises
    ------
    CompileError
        In a compiled step, where the shape would be another in each call.

    Examples
    --------
    >>> trim_zeros(np.array([0.0, 1.0, 0.0, 2.0, 0.0]))
    array([1., 0., 2.])
    """
    filt = as_array(filt)
    ends = trim.lower()
    if ends not in ("fb", "bf", "f", "b"):
        raise OpError(f"trim_zeros: trim is made of 'f' and 'b'; got {trim!r}")
    found = np.argwhere(plain(filt, "np.trim_zeros"))
    index = [slice(None)] * len(filt.shape)
    for place in axes_of("trim_zeros", filt, axis):
        if found.size == 0:
            index[place] = slice(0, 0)
            continue
        start, stop = int(found[:, place].min()), int(found[:, place].max()) + 1
        index[place] = slice(
            start if "f" in ends else None, stop if "b" in ends else None
        )
    return getitem(filt, tuple(index))


def _inserted(arr: Any, index: np.ndarray, values: Any, axis: int) -> Any:
    """Put values in before one place: slices, joined."""
    n, rank = arr.shape[axis], len(arr.shape)
    place = int(index.reshape(()))
    if not -n <= place <= n:
        raise ShapeError(
            f"insert: expected a place from {-n} to {n} along axis {axis} of "
            f"arr{arr.shape}; got {place}"
        )
    place += n if place < 0 else 0
    if values.dtype != arr.dtype:
        values = ops.astype(values, arr.dtype)
    given = values.shape
    values = ops.reshape(values, (*(1,) * (rank - len(given)), *given))
    if index.ndim == 0:
        values = moveaxis(values, 0, axis)
    size = (*arr.shape[:axis], values.shape[axis], *arr.shape[axis + 1 :])
    try:
        values = ops.broadcast_to(values, size)
    except ValueError:
        raise ShapeError(
            f"insert: expected values that broadcast to {size}; got arr{arr.shape}, "
            f"values{given}, axis={axis}"
        ) from None
    lead = (slice(None),) * axis
    before = getitem(arr, (*lead, slice(0, place)))
    after = getitem(arr, (*lead, slice(place, n)))
    return ops.concatenate(before, values, after, axis=axis)
