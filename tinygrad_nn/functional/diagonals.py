"""Diagonals and triangles, with NumPy's names and signatures.

A diagonal of a matrix in one row of memory is every ``m + 1``-th element: a slice,
forward and backward, and no indices.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.functional.arguments import as_array, axis_of, refuse_out
from tinygrad_nn.functional.reductions import sum as _sum
from tinygrad_nn.op import Array
from tinygrad_nn.ops import getitem

__all__ = ["diag", "diagflat", "diagonal", "trace", "tril", "triu"]


def _along(rows: int, columns: int, offset: int) -> tuple[slice, int]:
    """Return where a diagonal lies in a matrix of one row, and its length."""
    length = min(rows + min(offset, 0), columns - max(offset, 0))
    if length <= 0:
        return slice(0, 0), 0
    start = offset if offset >= 0 else -offset * columns
    step = columns + 1
    return slice(start, start + (length - 1) * step + 1, step), length


def diagonal(a: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """Diagonals of the matrices that two axes span, along a new last axis.

    Parameters
    ----------
    a
        Of two axes at least.
    offset
        How many places above the main diagonal; below it, where negative.
    axis1, axis2
        Rows and columns of the matrices.

    Examples
    --------
    >>> diagonal(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), 1)
    array([2., 6.])
    """
    a = as_array(a)
    rank = len(a.shape)
    if rank < 2:
        raise ShapeError(f"diagonal: expected at least two axes; got a{a.shape}")
    first = axis_of("diagonal", a, axis1)
    second = axis_of("diagonal", a, axis2)
    if first == second:
        raise ShapeError(
            f"diagonal: expected two different axes; got axis1={axis1}, axis2={axis2} "
            f"for a{a.shape}"
        )
    others = [axis for axis in range(rank) if axis not in (first, second)]
    order = (*others, first, second)
    if order != tuple(range(rank)):
        a = ops.transpose(a, order)
    *lead, rows, columns = a.shape
    place, _ = _along(rows, columns, operator.index(offset))
    return getitem(ops.reshape(a, (*lead, rows * columns)), (..., place))


def diag(v: Array, k: int = 0) -> Array:
    """Diagonal of a matrix; of a vector, the matrix with it on the diagonal.

    >>> diag(np.array([1.0, 2.0]), 1)
    array([[0., 1., 0.],
           [0., 0., 2.],
           [0., 0., 0.]])
    """
    v = as_array(v)
    if len(v.shape) == 2:
        return diagonal(v, k)
    if len(v.shape) != 1:
        raise ShapeError(f"diag: expected a vector or a matrix; got v{v.shape}")
    n = v.shape[0] + abs(k)
    place, _ = _along(n, n, operator.index(k))
    return ops.reshape(ops.scatter_add(v, place, (n * n,)), (n, n))


def diagflat(v: Array, k: int = 0) -> Array:
    """Matrix with all elements of an array on a diagonal.

    >>> diagflat([[1.0, 2.0]])
    array([[1., 0.],
           [0., 2.]])
    """
    return diag(ops.reshape(as_array(v), (-1,)), k)


def trace(
    a: Array,
    offset: int = 0,
    axis1: int = 0,
    axis2: int = 1,
    dtype: Any = None,
    out: None = None,
) -> Array:
    """Sum of a diagonal of the matrices that two axes span.

    >>> float(trace(np.array([[1.0, 2.0], [3.0, 4.0]])))
    5.0
    """
    refuse_out("np.trace", out)
    return _sum(diagonal(a, offset, axis1, axis2), -1, dtype)


def tril(m: Array, k: int = 0) -> Array:
    """Lower triangle: zeros above the diagonal ``k``.

    >>> tril(np.ones((2, 2)))
    array([[1., 0.],
           [1., 1.]])
    """
    return _triangle("tril", m, k)


def triu(m: Array, k: int = 0) -> Array:
    """Upper triangle: zeros below the diagonal ``k``.

    >>> triu(np.ones((2, 2)))
    array([[1., 1.],
           [0., 1.]])
    """
    return _triangle("triu", m, k)


def _triangle(title: str, m: Any, k: int) -> Any:
    m = as_array(m)
    if not m.shape:
        raise ShapeError(f"{title}: expected at least one axis; got m()")
    rows, columns = m.shape[-2:] if len(m.shape) > 1 else m.shape * 2  # as in NumPy
    lower = np.tri(rows, columns, k if title == "tril" else k - 1, bool)
    keep = lower if title == "tril" else ~lower
    return ops.where(keep, m, np.zeros((), m.dtype))
