"""What follows from the order of elements: sorted ones, their places, their counts.

Where elements tie, they share the gradient of their places equally: the subgradient of
least norm, and that of `max` for the last place. A nan is sorted last. Places, counts
and truths are constant; compiled steps compute them anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import OpError, ShapeError
from tinygrad_nn.functional.arguments import as_array, one_axis, reduced_axes_of, refuse
from tinygrad_nn.functional.places import picked, plain
from tinygrad_nn.op import Array
from tinygrad_nn.shapes import Axes

__all__ = [
    "argpartition",
    "argsort",
    "argwhere",
    "count_nonzero",
    "digitize",
    "flatnonzero",
    "nonzero",
    "partition",
    "searchsorted",
    "sort",
    "topk",
]

_FIELDS = "Elements here are numbers, which have no fields"


def _kind(title: str, kind: str | None, order: Any, stable: bool | None) -> str | None:
    refuse(title, _FIELDS, order=(order, None))
    if stable is None:
        return kind
    if kind is not None:
        raise OpError(f"{title}: kind and stable are two names of one choice; got both")
    return "stable" if stable else None


def sort(
    a: Array,
    axis: int | None = -1,
    kind: str | None = None,
    order: None = None,
    *,
    stable: bool | None = None,
) -> Array:
    """Elements in ascending order along ``axis``; ties share their gradient equally.

    >>> sort(np.array([[3.0, 1.0], [2.0, 5.0]]), axis=None)
    array([1., 2., 3., 5.])
    """
    kind = _kind("np.sort", kind, order, stable)
    return ops.sort(*_rows("np.sort", a, axis), kind)


def _rows(title: str, a: Any, axis: int | None) -> tuple[Array, int]:
    a = as_array(a)
    if axis is not None and not a.shape:
        raise ShapeError(f"{title}: expected at least one axis; got a()")
    return one_axis(title, a, axis)


def argsort(
    a: Array,
    axis: int | None = -1,
    kind: str | None = None,
    order: None = None,
    *,
    stable: bool | None = None,
) -> Array:
    """Places of the elements in ascending order along ``axis``: a constant.

    >>> argsort(np.array([3.0, 1.0, 2.0]))
    array([1, 2, 0])
    """
    kind = _kind("np.argsort", kind, order, stable)
    return ops.argsort(*one_axis("np.argsort", as_array(a), axis), kind)


def partition(
    a: Array,
    kth: Any,
    axis: int | None = -1,
    kind: str = "introselect",
    order: None = None,
) -> Array:
    """Elements with the ``kth`` smallest in its place, less before it, more after it.

    Ties share their gradient equally, as in `sort`.

    >>> partition(np.array([3.0, 1.0, 2.0]), 1)
    array([1., 2., 3.])
    """
    refuse("np.partition", _FIELDS, kind=(kind, "introselect"), order=(order, None))
    rows, place = _rows("np.partition", a, axis)
    return ops.partition(rows, _kth(kth), place)


def argpartition(
    a: Array,
    kth: Any,
    axis: int | None = -1,
    kind: str = "introselect",
    order: None = None,
) -> Array:
    """Places of the elements, those below the ``kth`` smallest first: a constant.

    >>> argpartition(np.array([3.0, 1.0, 2.0]), 1)
    array([1, 2, 0])
    """
    refuse("np.argpartition", _FIELDS, kind=(kind, "introselect"), order=(order, None))
    rows, place = one_axis("np.argpartition", as_array(a), axis)
    return ops.argpartition(rows, _kth(kth), place)


def _kth(kth: Any) -> Any:
    places = plain(kth, "np.partition")
    return tuple(places.tolist()) if places.ndim else int(places)


def topk(
    a: Array, k: int, axis: int | None = -1, *, largest: bool = True
) -> tuple[Array, Array]:
    """Give the ``k`` largest elements along ``axis``, largest first, and their places.

    Parameters
    ----------
    largest
        False: the smallest, smallest first.

    Returns
    -------
    The elements, whose gradient ties share equally as in `sort`; and where they are, of
    ties the first, which is constant.

    Examples
    --------
    >>> topk(np.array([3.0, 1.0, 2.0]), 2)
    (array([3., 2.]), array([0, 2]))
    """
    rows, place = _rows("topk", a, axis)
    n = rows.shape[place]
    if not 0 <= k <= n:
        raise ShapeError(f"topk: expected at most {n} elements; got k={k}")
    before = (slice(None),) * place
    first = (*before, slice(None, k))
    if not largest:
        places = ops.argsort(rows, place, "stable")
        return picked(ops.sort(rows, place), first), picked(places, first)
    turn = (*before, slice(None, None, -1))
    ascending = picked(ops.sort(rows, place), turn)
    # Turned round twice, what is stable keeps the first of ties first.
    places = picked(ops.argsort(picked(rows, turn), place, "stable"), turn)
    return picked(ascending, first), n - 1 - picked(places, first)


def searchsorted(a: Array, v: Any, side: str = "left", sorter: Any = None) -> Array:
    """Places in a sorted array before which values keep it sorted: constant.

    >>> searchsorted(np.array([1.0, 2.0, 3.0]), [2.0, 2.5])
    array([1, 2])
    """
    a = as_array(a)
    return ops.searchsorted(
        a if sorter is None else picked(a, sorter), as_array(v), side
    )


def digitize(x: Array, bins: Any, right: bool = False) -> Array:
    """Numbers of the bins that values lie in: constant.

    >>> digitize(np.array([0.5, 2.5]), [1.0, 2.0])
    array([0, 2])
    """
    bins = as_array(bins)
    edges = plain(bins, "np.digitize")  # whether they rise is asked for here
    if edges.ndim != 1:
        raise ShapeError(
            f"np.digitize: expected one axis of edges; got bins{edges.shape}"
        )
    steps = np.diff(edges)
    side = "left" if right else "right"
    if np.all(steps >= 0):
        return ops.searchsorted(bins, as_array(x), side)
    if not np.all(steps <= 0):
        raise OpError("np.digitize: expected edges that rise, or that fall")
    turned = picked(bins, slice(None, None, -1))
    return len(edges) - ops.searchsorted(turned, as_array(x), side)


def count_nonzero(a: Array, axis: Axes = None, *, keepdims: bool = False) -> Array:
    """How many elements along ``axis`` are not zero: constant.

    >>> count_nonzero(np.array([[0.0, 2.0], [3.0, 4.0]]), axis=0)
    array([1, 2])
    """
    a = as_array(a)
    reduced_axes_of("np.count_nonzero", a, axis)
    found = ops.astype(ops.not_equal(a, 0), np.dtype(np.int64))
    return ops.sum(found, axis, keepdims)


# --- as many as the numbers say ----------------------------------------------------


def nonzero(a: Array) -> tuple[np.ndarray, ...]:
    """Places of the elements that are not zero, an array for each axis; plain.

    >>> nonzero(np.array([0.0, 2.0, 3.0]))
    (array([1, 2]),)
    """
    places = plain(a, "np.nonzero")
    if not places.ndim:
        raise ShapeError("np.nonzero: expected at least one axis; got a()")
    return np.nonzero(places)


def flatnonzero(a: Array) -> np.ndarray:
    """Places of the elements that are not zero, counted in rows; plain.

    >>> flatnonzero(np.array([[0.0, 2.0], [3.0, 0.0]]))
    array([1, 2])
    """
    return np.flatnonzero(plain(a, "np.flatnonzero"))


def argwhere(a: Array) -> np.ndarray:
    """Places of the elements that are not zero, a row for each; plain.

    >>> argwhere(np.array([[0.0, 2.0], [3.0, 0.0]]))
    array([[0, 1],
           [1, 0]])
    """
    return np.argwhere(plain(a, "np.argwhere"))
