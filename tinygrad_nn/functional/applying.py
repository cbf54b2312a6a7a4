"""A user's function applied along axes, and numbers replaced by others."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import ShapeError, UnsupportedError
from tinygrad_nn.functional.arguments import as_array, axis_of, refuse
from tinygrad_nn.functional.movement import expand_dims, moveaxis
from tinygrad_nn.op import Array, Node
from tinygrad_nn.ops import getitem
from tinygrad_nn.shapes import Axes

__all__ = [
    "apply_along_axis",
    "apply_over_axes",
    "nan_to_num",
    "real_if_close",
    "sliding_window_view",
]


def apply_along_axis(
    func1d: Callable[..., Array], axis: int, arr: Array, *args: Any, **kwargs: Any
) -> Array:
    """Results of a function of vectors, for every vector along an axis.

    The function is called with Tensors, once a vector, and what it records stays: an
    expression of whole arrays does the same in fewer nodes.

    Parameters
    ----------
    func1d
        Takes a vector, and ``args`` and ``kwargs``; gives an array of one shape.
    axis
        Along which the vectors lie; the axes of what they give stand in its place.
    arr
        Of one axis at least, and no axis of size 0 among the others.
    args, kwargs
        Further arguments of ``func1d``.

    Examples
    --------
    >>> apply_along_axis(lambda x: x[::-1] * 2, 1, np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[4., 2.],
           [8., 6.]])
    """
    arr = as_array(arr)
    axis = axis_of("apply_along_axis", arr, axis)
    moved = moveaxis(arr, axis, -1)
    *others, n = moved.shape
    count = math.prod(others)
    if count == 0:
        raise ShapeError(
            f"apply_along_axis: expected vectors along axis {axis}; got none, in "
            f"arr{arr.shape}"
        )
    rows = ops.reshape(moved, (count, n))
    found = [as_array(func1d(getitem(rows, i), *args, **kwargs)) for i in range(count)]
    made = found[0].shape
    whole = ops.reshape(ops.stack(*found), (*others, *made))
    place = len(others)
    return moveaxis(
        whole,
        tuple(range(place, place + len(made))),
        tuple(range(axis, axis + len(made))),
    )


def apply_over_axes(func: Callable[..., Array], a: Array, axes: Axes) -> Array:
    """Result of a function of an array and an axis, for one axis after the other.

    >>> apply_over_axes(np.sum, np.ones((2, 3, 4)), (0, 2)).shape
    (1, 3, 1)
    """
    found = as_array(a)
    for axis in np.atleast_1d(np.asarray(axes)):
        place = axis_of("apply_over_axes", found, operator.index(axis))
        reduced = as_array(func(found, place))
        if len(reduced.shape) != len(found.shape):
            reduced = expand_dims(reduced, place)
        if len(reduced.shape) != len(found.shape):
            raise ShapeError(
                "apply_over_axes: expected a function that keeps the axes, or drops "
                f"the one; got {reduced.shape} from {found.shape}"
            )
        found = reduced
    return found


def nan_to_num(
    x: Array,
    copy: bool = True,
    nan: Any = 0.0,
    posinf: Any = None,
    neginf: Any = None,
) -> Array:
    """Array with numbers instead of nan and infinities.

    What was replaced has no path to the result: its gradient is 0.

    Parameters
    ----------
    x
        Of any shape.
    copy
        True: a recorded value does not change.
    nan, posinf, neginf
        What stands instead; by default 0, and the largest and smallest number of the
        dtype.

    Examples
    --------
    >>> nan_to_num(np.array([np.nan, 1.0, -np.inf]), neginf=-9.0)
    array([ 0.,  1., -9.])
    """
    if not copy:
        raise UnsupportedError(
            "np.nan_to_num: copy=False writes into its operand; got copy=False. Use "
            "the result: x = np.nan_to_num(x)"
        )
    x = as_array(x)
    if x.dtype.kind != "f":
        return ops.astype(x)
    limits = np.finfo(x.dtype)
    infinity = x.dtype.type(np.inf)
    found = _replaced(x, ops.isnan(x), nan)
    high = limits.max if posinf is None else posinf
    low = limits.min if neginf is None else neginf
    found = _replaced(found, ops.equal(x, infinity), high)
    return _replaced(found, ops.equal(x, -infinity), low)


def _replaced(x: Any, where: Any, value: Any) -> Any:
    if not isinstance(value, Node):
        value = np.asarray(value, x.dtype)
    elif value._value.dtype != x.dtype:
        value = ops.astype(value, x.dtype)
    return ops.where(where, value, x)


def real_if_close(a: Array, tol: float = 100) -> Array:
    """Return the array itself, which is real.

    >>> real_if_close(np.array([1.0, 2.0]))
    array([1., 2.])
    """
    del tol
    return as_array(a)


def sliding_window_view(
    x: Array,
    window_shape: Any,
    axis: Any = None,
    *,
    subok: bool = False,
    writeable: bool = False,
) -> Array:
    """Every window of a size, along new last axes; a copy, where NumPy gives a view.

    Parameters
    ----------
    x
        Of any shape.
    window_shape
        Size of the window along each of the axes.
    axis
        Along which it slides; an axis may stand twice. All axes by default.
    subok, writeable
        Refused: a recorded value is no array, and does not change.

    Examples
    --------
    >>> sliding_window_view(np.array([1.0, 2.0, 3.0]), 2)
    array([[1., 2.],
           [2., 3.]])
    """
    refuse(
        "sliding_window_view",
        "Leave it out",
        subok=(subok, False),
        writeable=(writeable, False),
    )
    x = as_array(x)
    rank = len(x.shape)
    sizes = np.atleast_1d(np.asarray(window_shape)).tolist()
    axes = range(rank) if axis is None else np.atleast_1d(np.asarray(axis)).tolist()
    places = [axis_of("sliding_window_view", x, place) for place in axes]
    if len(sizes) != len(places):
        raise ShapeError(
            f"sliding_window_view: expected a window size for each of {len(places)} "
            f"axes; got window_shape={window_shape} for x{x.shape}"
        )
    if len(set(places)) == len(places) and 0 not in sizes:
        return _windows(x, tuple(sizes), places)
    # An axis that stands twice is slid along twice: rare, so picked by indices.
    for size, place in zip(sizes, places, strict=True):
        if size > x.shape[place]:
            raise ShapeError(
                f"sliding_window_view: expected windows that fit into x{x.shape}; got "
                f"a size of {size} along axis {place}"
            )
        starts = np.arange(x.shape[place] - size + 1)
        reached = np.add.outer(starts, np.arange(size))
        x = moveaxis(getitem(x, (*(slice(None),) * place, reached)), place + 1, -1)
    return x


def _windows(x: Any, sizes: tuple[int, ...], places: list[int]) -> Any:
    """Slide along axes that are all different: the op does, along the last ones."""
    rank, count = len(x.shape), len(sizes)
    rest = [axis for axis in range(rank) if axis not in places]
    found = ops.windows(ops.transpose(x, (*rest, *places)), sizes)
    order = [
        count + (len(rest) + places.index(axis) if axis in places else rest.index(axis))
        for axis in range(rank)
    ]
    return ops.transpose(found, (*order, *range(count)))
