"""Elements put elsewhere, with NumPy's names and signatures."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import ShapeError, UnsupportedError
from tinygrad_nn.functional.arguments import as_array, axes_of, axis_of, refuse
from tinygrad_nn.op import Array
from tinygrad_nn.ops import getitem
from tinygrad_nn.shapes import Axes

__all__ = [
    "astype",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_arrays",
    "broadcast_to",
    "copy",
    "expand_dims",
    "flip",
    "fliplr",
    "flipud",
    "matrix_transpose",
    "moveaxis",
    "permute_dims",
    "ravel",
    "reshape",
    "roll",
    "rollaxis",
    "rot90",
    "squeeze",
    "swapaxes",
    "transpose",
]


def _in_order(title: str, order: Any) -> bool:
    """Whether elements are read with the first axis fastest: Fortran's order."""
    if order not in ("C", "F"):
        raise UnsupportedError(
            f"{title}: expected order 'C' or 'F', for a Tensor has no memory layout of "
            f"its own; got {order!r}"
        )
    return bool(order == "F")


def reshape(
    a: Array, /, shape: Any, order: str = "C", *, copy: bool | None = None
) -> Array:
    """Same elements in the same order, in another shape.

    >>> reshape(np.array([1.0, 2.0, 3.0, 4.0]), (2, 2), order="F")
    array([[1., 3.],
           [2., 4.]])
    """
    if copy is False:
        raise UnsupportedError(
            "np.reshape: copy=False is not offered on Tensors, which no one writes to. "
            "Leave it out"
        )
    a = as_array(a)
    if not _in_order("np.reshape", order):
        return ops.reshape(a, shape)
    wanted = (shape,) if np.ndim(shape) == 0 else tuple(shape)
    return ops.transpose(ops.reshape(ops.transpose(a), wanted[::-1]))


def ravel(a: Array, order: str = "C") -> Array:
    """All elements in one axis.

    >>> ravel(np.ones((2, 3))).shape
    (6,)
    """
    a = as_array(a)
    in_order = len(a.shape) > 1 and _in_order("np.ravel", order)
    return reshape(a, (-1,), order="F" if in_order else "C")


def _listed(axes: Any) -> Any:
    """Return axes as a sequence; one of them alone, too."""
    return axes if axes is None or np.ndim(axes) else (axes,)


def transpose(a: Array, axes: Any = None) -> Array:
    """Axes in another order; reversed by default.

    >>> transpose(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 3.],
           [2., 4.]])
    """
    return ops.transpose(as_array(a), _listed(axes))


def broadcast_to(array: Array, shape: Any, subok: bool = False) -> Array:
    """Repeat along new axes and along axes of size 1, without copying.

    >>> broadcast_to(np.array([1.0, 2.0]), (2, 2))
    array([[1., 2.],
           [1., 2.]])
    """
    refuse("np.broadcast_to", "Leave it out", subok=(subok, False))
    return ops.broadcast_to(as_array(array), shape)


def copy(a: Array, order: str = "K", subok: bool = False) -> Array:
    """Return a copy of the values, recorded.

    >>> copy(np.array([1.0, 2.0]))
    array([1., 2.])
    """
    refuse("np.copy", "Leave it out", subok=(subok, False))
    if order not in ("C", "F", "A", "K"):
        raise UnsupportedError(
            f"np.copy: expected order 'C', 'F', 'A' or 'K'; got {order!r}"
        )
    return ops.astype(as_array(a))


def astype(
    x: Array, dtype: Any, /, *, copy: bool = True, device: str | None = None
) -> Array:
    """Return the values in another real dtype.

    >>> astype(np.array([1.5, 2.0]), np.float32)
    array([1.5, 2. ], dtype=float32)
    """
    refuse("np.astype", "Leave it out", device=(device, None))
    del copy  # a recorded value is never written to: whether it is one shows nowhere
    return ops.astype(as_array(x), np.dtype(dtype))


def swapaxes(a: Array, axis1: int, axis2: int) -> Array:
    """Exchange two axes.

    >>> swapaxes(np.ones((2, 3, 4)), 0, -1).shape
    (4, 3, 2)
    """
    a = as_array(a)
    rank = len(a.shape)
    order = list(range(rank))
    first = axis_of("swapaxes", a, axis1)
    second = axis_of("swapaxes", a, axis2)
    order[first], order[second] = second, first
    return ops.transpose(a, tuple(order))


def moveaxis(a: Array, source: Any, destination: Any) -> Array:
    """Axes moved to other places; the rest keep their order.

    >>> moveaxis(np.ones((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    a = as_array(a)
    rank = len(a.shape)
    pairs = [
        [axis_of("moveaxis", a, axis) for axis in np.atleast_1d(axes)]
        for axes in (source, destination)
    ]
    froms, tos = pairs
    if not len(set(froms)) == len(froms) == len(tos) == len(set(tos)):
        raise ShapeError(
            "moveaxis: expected as many sources as destinations, each once; "
            f"got {source} and {destination}"
        )
    order = [axis for axis in range(rank) if axis not in froms]
    for place, axis in sorted(zip(tos, froms, strict=True)):
        order.insert(place, axis)
    return ops.transpose(a, tuple(order))


def squeeze(a: Array, axis: Axes = None) -> Array:
    """Drop axes of size one: all of them, or those named.

    >>> squeeze(np.ones((1, 3, 1))).shape
    (3,)
    """
    a = as_array(a)
    size = a.shape
    if axis is None:
        return ops.reshape(a, tuple(n for n in size if n != 1))
    gone = axes_of("squeeze", a, axis) if size or axis not in (0, -1) else ()
    if any(size[i] != 1 for i in gone):
        raise ShapeError(f"squeeze: expected size 1 at axis {axis}; got x{size}")
    return ops.reshape(a, tuple(n for i, n in enumerate(size) if i not in gone))


def expand_dims(a: Array, axis: Any) -> Array:
    """Insert axes of size one, at places of the result.

    >>> expand_dims(np.ones(3), (0, -1)).shape
    (1, 3, 1)
    """
    a = as_array(a)
    places = [axis] if np.ndim(axis) == 0 else list(axis)
    rank = len(a.shape) + len(places)
    try:
        new = shapes.normalize_axes(rank, [operator.index(i) for i in places])
    except ShapeError as error:
        raise ShapeError(f"expand_dims: {error}; got shape {a.shape}") from None
    sizes = iter(a.shape)
    return ops.reshape(a, tuple(1 if i in new else next(sizes) for i in range(rank)))


def flip(m: Array, axis: Axes = None) -> Array:
    """Reverse the order of the elements along the axes; along all by default.

    >>> flip(np.array([1.0, 2.0]))
    array([2., 1.])
    """
    m = as_array(m)
    turned = axes_of("flip", m, axis)
    back = slice(None, None, -1)
    return getitem(
        m, tuple(back if i in turned else slice(None) for i in range(len(m.shape)))
    )


def fliplr(m: Array) -> Array:
    """Reverse the columns.

    >>> fliplr(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[2., 1.],
           [4., 3.]])
    """
    m = as_array(m)
    if len(m.shape) < 2:
        raise ShapeError(f"fliplr: expected at least two axes; got m{m.shape}")
    return flip(m, 1)


def flipud(m: Array) -> Array:
    """Reverse the rows.

    >>> flipud(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[3., 4.],
           [1., 2.]])
    """
    m = as_array(m)
    if not m.shape:
        raise ShapeError("flipud: expected at least one axis; got m()")
    return flip(m, 0)


def roll(a: Array, shift: Any, axis: Axes = None) -> Array:
    """Elements moved along an axis; what leaves at the end comes in at the front.

    Without an axis the elements move through the flattened array.

    >>> roll(np.array([1.0, 2.0, 3.0]), 1)
    array([3., 1., 2.])
    """
    a = as_array(a)
    if axis is None:
        return ops.reshape(roll(ops.reshape(a, (-1,)), shift, 0), a.shape)
    rank = len(a.shape)
    moved = dict.fromkeys(range(rank), 0)
    for by, place in np.broadcast(shift, np.asarray(axis)):
        moved[axes_of("roll", a, int(place))[0]] += int(by)
    for place, by in moved.items():
        step = by % (a.shape[place] or 1)
        if step:
            lead = (slice(None),) * place
            ends = getitem(a, (*lead, slice(-step, None)))
            a = ops.concatenate(ends, getitem(a, (*lead, slice(-step))), axis=place)
    return a


def rot90(m: Array, k: int = 1, axes: Any = (0, 1)) -> Array:
    """Turn by ``k`` right angles, from the first of two axes to the second.

    >>> rot90(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[2., 4.],
           [1., 3.]])
    """
    m = as_array(m)
    places = [axis_of("rot90", m, axis) for axis in axes]
    if len(places) != 2 or places[0] == places[1]:
        raise ShapeError(f"rot90: expected two different axes; got {tuple(axes)}")
    first, second = places
    turns = k % 4
    if turns == 0:
        return getitem(m, ...)
    if turns == 2:
        return flip(m, (first, second))
    if turns == 1:
        return swapaxes(flip(m, second), first, second)
    return flip(swapaxes(m, first, second), second)


def rollaxis(a: Array, axis: int, start: int = 0) -> Array:
    """Axis moved to before the place ``start``; newer code says `moveaxis`.

    >>> rollaxis(np.ones((2, 3, 4)), 2).shape
    (4, 2, 3)
    """
    a = as_array(a)
    rank = len(a.shape)
    axis = axis_of("rollaxis", a, axis)
    if not -rank <= start <= rank:
        raise ShapeError(
            f"rollaxis: expected a start from {-rank} to {rank}; got {start}"
        )
    start += rank if start < 0 else 0
    return moveaxis(a, axis, start - 1 if axis < start else start)


def permute_dims(a: Array, axes: Any = None) -> Array:
    """Axes in another order; reversed by default.

    >>> permute_dims(np.ones((2, 3, 4)), (1, 2, 0)).shape
    (3, 4, 2)
    """
    return transpose(a, axes)


def matrix_transpose(x: Array, /) -> Array:
    """Exchange the last two axes.

    >>> matrix_transpose(np.ones((2, 3, 4))).shape
    (2, 4, 3)
    """
    x = as_array(x)
    if len(x.shape) < 2:
        raise ShapeError(
            f"matrix_transpose: expected at least two axes; got x{x.shape}"
        )
    return swapaxes(x, -1, -2)


def broadcast_arrays(*args: Array, subok: bool = False) -> tuple[Array, ...]:
    """Arrays of one shape, each repeated along the axes that it lacks.

    >>> [x.shape for x in broadcast_arrays(np.ones((2, 1)), np.ones(3))]
    [(2, 3), (2, 3)]
    """
    refuse("np.broadcast_arrays", "Leave it out", subok=(subok, False))
    arrays = [as_array(x) for x in args]
    try:
        size = shapes.broadcast(*[x.shape for x in arrays])
    except ShapeError as error:
        got = ", ".join(str(x.shape) for x in arrays)
        raise ShapeError(f"broadcast_arrays: {error}; got {got}") from None
    return tuple(x if x.shape == size else ops.broadcast_to(x, size) for x in arrays)


def _each(make: Any, arrays: Sequence[Array]) -> Any:
    found = tuple(make(as_array(x)) for x in arrays)
    return found[0] if len(found) == 1 else found


def atleast_1d(*arys: Array) -> Any:
    """Arrays of one axis at least; of several arrays a tuple.

    >>> atleast_1d(np.float64(3.0))
    array([3.])
    """
    return _each(lambda x: x if x.shape else ops.reshape(x, (1,)), arys)


def atleast_2d(*arys: Array) -> Any:
    """Arrays of two axes at least: new ones come first.

    >>> atleast_2d(np.array([1.0, 2.0]))
    array([[1., 2.]])
    """
    return _each(
        lambda x: x if len(x.shape) > 1 else ops.reshape(x, ((1, 1, *x.shape)[-2:])),
        arys,
    )


def atleast_3d(*arys: Array) -> Any:
    """Arrays of three axes at least: a vector becomes ``(1, n, 1)``.

    >>> atleast_3d(np.ones(2)).shape, atleast_3d(np.ones((2, 3))).shape
    ((1, 2, 1), (2, 3, 1))
    """

    def deeper(x: Any) -> Any:
        size = x.shape
        if len(size) > 2:
            return x
        return ops.reshape(x, (*((1, *size) if len(size) < 2 else size), 1, 1)[:3])

    return _each(deeper, arys)
