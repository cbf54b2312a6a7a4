"""Elements put elsewhere, with NumPy's names and signatures."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import ShapeError, UnsupportedError
from tinygrad_nn.functional.arguments import as_array, cast, refuse, refuse_out
from tinygrad_nn.op import Array
from tinygrad_nn.ops import getitem
from tinygrad_nn.shapes import Axes

__all__ = [
    "astype",
    "broadcast_to",
    "concatenate",
    "copy",
    "expand_dims",
    "flip",
    "moveaxis",
    "ravel",
    "reshape",
    "squeeze",
    "stack",
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
    return reshape(a, (-1,), order="C" if order in ("A", "K") else order)


def transpose(a: Array, axes: Any = None) -> Array:
    """Axes in another order; reversed by default.

    >>> transpose(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 3.],
           [2., 4.]])
    """
    return ops.transpose(as_array(a), axes)


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


def _same_kind(title: str, casting: str, dtype: Any) -> None:
    refuse(title, "Cast first, with .astype()", casting=(casting, "same_kind"))
    if dtype is not None and np.dtype(dtype).kind not in "fiub":
        raise UnsupportedError(f"{title}: expected a real dtype; got {dtype!r}")


def concatenate(
    arrays: Sequence[Array],
    /,
    axis: int | None = 0,
    out: None = None,
    *,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Array:
    """Arrays joined along an axis that they have.

    >>> concatenate([np.array([1.0]), np.array([2.0, 3.0])])
    array([1., 2., 3.])
    """
    refuse_out("np.concatenate", out)
    _same_kind("np.concatenate", casting, dtype)
    return ops.concatenate(*[cast(as_array(x), dtype) for x in arrays], axis=axis)


def stack(
    arrays: Sequence[Array],
    axis: int = 0,
    out: None = None,
    *,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Array:
    """Arrays of one shape joined along a new axis.

    >>> stack([np.array([1.0]), np.array([2.0])]).shape
    (2, 1)
    """
    refuse_out("np.stack", out)
    _same_kind("np.stack", casting, dtype)
    return ops.stack(*[cast(as_array(x), dtype) for x in arrays], axis=axis)


def swapaxes(a: Array, axis1: int, axis2: int) -> Array:
    """Exchange two axes.

    >>> swapaxes(np.ones((2, 3, 4)), 0, -1).shape
    (4, 3, 2)
    """
    a = as_array(a)
    rank = len(a.shape)
    order = list(range(rank))
    (first,) = shapes.normalize_axes(rank, axis1)
    (second,) = shapes.normalize_axes(rank, axis2)
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
        [shapes.normalize_axes(rank, axis)[0] for axis in np.atleast_1d(axes)]
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
    gone = shapes.reduced_axes(len(size), axis)
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
    new = shapes.normalize_axes(rank, [operator.index(i) for i in places])
    sizes = iter(a.shape)
    return ops.reshape(a, tuple(1 if i in new else next(sizes) for i in range(rank)))


def flip(m: Array, axis: Axes = None) -> Array:
    """Reverse the order of the elements along the axes; along all by default.

    >>> flip(np.array([1.0, 2.0]))
    array([2., 1.])
    """
    m = as_array(m)
    turned = shapes.normalize_axes(len(m.shape), axis)
    back = slice(None, None, -1)
    return getitem(
        m, tuple(back if i in turned else slice(None) for i in range(len(m.shape)))
    )
