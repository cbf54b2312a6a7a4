"""Products of matrices, and what lies on their diagonals."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import ShapeError, UnsupportedError
from tinygrad_nn.functional import contraction, diagonals, movement
from tinygrad_nn.functional.arguments import as_array, refuse_out
from tinygrad_nn.functional.contraction import refused, shaped
from tinygrad_nn.functional.linalg.solving import inv
from tinygrad_nn.functional.ufuncs import vecdot as _vecdot
from tinygrad_nn.op import Array
from tinygrad_nn.shapes import Shape

__all__ = [
    "cross",
    "diagonal",
    "matmul",
    "matrix_power",
    "matrix_transpose",
    "multi_dot",
    "outer",
    "tensordot",
    "trace",
    "vecdot",
]


def matmul(x1: Array, x2: Array, /) -> Array:
    """Matrix product, as ``@``.

    >>> matmul(np.eye(2), np.array([1.0, 2.0]))
    array([1., 2.])
    """
    return ops.matmul(as_array(x1), as_array(x2))


def tensordot(x1: Array, x2: Array, /, *, axes: Any = 2) -> Array:
    """Sum of products over pairs of axes, as ``np.tensordot``.

    >>> tensordot(np.ones((2, 3)), np.ones((3, 2)), axes=1)
    array([[3., 3.],
           [3., 3.]])
    """
    return contraction.tensordot(x1, x2, axes)


def vecdot(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Sum of products along one axis, as ``np.vecdot``.

    >>> vecdot(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    np.float64(11.0)
    """
    return _vecdot(x1, x2, axis=axis)


def outer(x1: Array, x2: Array, /) -> Array:
    """Products of each element of one vector with each of another, as a matrix.

    >>> outer(np.array([1.0, 2.0]), np.array([3.0]))
    array([[3.],
           [6.]])
    """
    x1, x2 = as_array(x1), as_array(x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise refused("linalg.outer", "two vectors", ["x1", "x2"], x1, x2)
    return contraction.outer(x1, x2)


def cross(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Cross product of vectors of three dimensions, as ``np.cross``.

    >>> cross(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))
    array([0., 0., 1.])
    """
    return contraction.cross(x1, x2, axis=axis)


def matrix_transpose(x: Array, /) -> Array:
    """Transpose of every matrix.

    >>> matrix_transpose(np.array([[1.0, 2.0]]))
    array([[1.],
           [2.]])
    """
    return movement.matrix_transpose(x)


def diagonal(x: Array, /, *, offset: int = 0) -> Array:
    """Diagonals of the matrices along the last two axes.

    >>> diagonal(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([1., 4.])
    """
    return diagonals.diagonal(x, offset, -2, -1)


def trace(x: Array, /, *, offset: int = 0, dtype: Any = None) -> Array:
    """Sums of the diagonals of the matrices along the last two axes.

    >>> trace(np.array([[1.0, 2.0], [3.0, 4.0]]))
    np.float64(5.0)
    """
    return diagonals.trace(x, offset, -2, -1, dtype)


def matrix_power(a: Array, n: int) -> Array:
    """Square matrices to a whole power; to a negative one, of the inverse.

    >>> matrix_power(np.array([[1.0, 1.0], [0.0, 1.0]]), -2)
    array([[ 1., -2.],
           [ 0.,  1.]])
    """
    a = as_array(a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise refused("matrix_power", "square matrices", "a", a)
    try:
        n = operator.index(n)
    except TypeError:
        raise UnsupportedError(
            f"matrix_power: expected a whole number; got n={n!r}"
        ) from None
    if n == 0:  # chosen from nowhere: the gradient is 0, whatever a is
        one = np.eye(a.shape[-1], dtype=a.dtype)
        return ops.where(np.zeros(a.shape, bool), a, one)
    if n < 0:
        a, n = inv(a), -n
    if n == 3:  # in NumPy's order
        return ops.matmul(ops.matmul(a, a), a)
    square, result = a, None
    while True:
        n, odd = divmod(n, 2)
        if odd:
            result = square if result is None else ops.matmul(result, square)
        if not n:
            return result
        square = ops.matmul(square, square)


def multi_dot(arrays: Sequence[Array], *, out: None = None) -> Array:
    """Product of many matrices, in the order that needs the fewest multiplications.

    Parameters
    ----------
    arrays
        Two matrices or more; the first and the last may be vectors.

    Examples
    --------
    >>> multi_dot([np.ones((2, 9)), np.ones((9, 9)), np.ones(9)])
    array([81., 81.])
    """
    refuse_out("np.linalg.multi_dot", out)
    chain = [as_array(x) for x in arrays]
    if len(chain) < 2:
        raise ShapeError(f"multi_dot: expected two matrices or more; got {len(chain)}")
    ranks = [x.ndim for x in chain]
    if any(n != 2 for n in ranks[1:-1]) or not {ranks[0], ranks[-1]} <= {1, 2}:
        names = [f"arrays[{i}]" for i in range(len(chain))]
        raise refused("multi_dot", "matrices; at the ends, vectors", names, *chain)
    if len(chain) == 2:
        return ops.matmul(*chain)
    if ranks[0] == 1:
        chain[0] = shaped(chain[0], (1, *chain[0].shape))
    if ranks[-1] == 1:
        chain[-1] = shaped(chain[-1], (*chain[-1].shape, 1))
    product = _multiplied(chain, _splits([x.shape for x in chain]), 0, len(chain) - 1)
    rows = product.shape[:1] if ranks[0] == 2 else ()
    columns = product.shape[1:] if ranks[-1] == 2 else ()
    return shaped(product, rows + columns)


def _splits(sizes: Sequence[Shape]) -> dict[tuple[int, int], int]:
    """Where to split each part of a chain.

    The costs are those of Cormen et al., *Introduction to Algorithms*, chapter 15.2.
    """
    count = len(sizes)
    edges = [size[0] for size in sizes] + [sizes[-1][1]]
    cost = {(i, i): 0 for i in range(count)}
    split = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            costs = {
                k: cost[i, k] + cost[k + 1, j] + edges[i] * edges[k + 1] * edges[j + 1]
                for k in range(i, j)
            }
            split[i, j] = min(costs, key=costs.__getitem__)
            cost[i, j] = costs[split[i, j]]
    return split


def _multiplied(
    chain: Sequence[Array], split: dict[tuple[int, int], int], first: int, last: int
) -> Array:
    if first == last:
        return chain[first]
    k = split[first, last]
    return ops.matmul(
        _multiplied(chain, split, first, k), _multiplied(chain, split, k + 1, last)
    )
