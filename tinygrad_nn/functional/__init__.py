"""Compositions of ops, with NumPy's names and signatures; no gradient rules here.

Every function takes Tensors, arrays and numbers alike, and gives a Tensor if any
operand is one.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import OpError, ShapeError, UnsupportedError
from tinygrad_nn.op import Array, Node, data_of
from tinygrad_nn.ops import getitem, matmul, mean, reshape, sum, transpose
from tinygrad_nn.shapes import Axes

__all__ = [
    "all",
    "any",
    "argmax",
    "argmin",
    "clip",
    "concatenate",
    "dot",
    "einsum",
    "expand_dims",
    "flip",
    "maximum",
    "minimum",
    "moveaxis",
    "norm",
    "ravel",
    "squeeze",
    "stack",
    "std",
    "swapaxes",
    "var",
]


def _requires_grad(x: Any) -> bool:
    return isinstance(x, Node) and x.requires_grad


def _tie(x: Any, y: Any) -> float:
    """Each operand's share at a tie: the subgradient of least norm.

    Over one operand that requires a gradient, it is 0; over two, a half each.
    """
    return 0.5 if _requires_grad(x) and _requires_grad(y) else 0.0


def maximum(x: Array, y: Array) -> Array:
    """Larger of two operands, element by element.

    At a tie the gradient is 0 for one operand that requires a gradient, and a half
    each for two: ``maximum(0, z)`` is `relu`.

    >>> maximum(0, np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return ops.maximum(x, y, _tie(x, y))


def minimum(x: Array, y: Array) -> Array:
    """Smaller of two operands, element by element; ties as in `maximum`.

    >>> minimum(0, np.array([-1.0, 2.0]))
    array([-1.,  0.])
    """
    return ops.minimum(x, y, _tie(x, y))


def clip(x: Array, min: Any = None, max: Any = None) -> Array:
    """Operand limited to ``[min, max]``; the gradient at a limit is 0.

    >>> clip(np.array([-1.0, 0.5, 3.0]), 0, 1)
    array([0. , 0.5, 1. ])
    """
    if min is not None:
        x = maximum(x, min)
    return x if max is None else minimum(x, max)


def dot(x: Array, y: Array) -> Array:
    """Product with NumPy's meaning of ``dot``: numbers scale, matrices multiply.

    >>> dot(-1, np.array([1.0, 2.0]))
    array([-1., -2.])
    """
    left = x._value.ndim if isinstance(x, Node) else np.ndim(x)
    right = y._value.ndim if isinstance(y, Node) else np.ndim(y)
    if left == 0 or right == 0:
        return ops.multiply(x, y)
    if right <= 2:
        return matmul(_array(x), _array(y))
    sizes = np.shape(data_of(x)), np.shape(data_of(y))
    if sizes[0][-1] != sizes[1][-2]:
        # einsum would repeat an axis of size 1
        raise ShapeError(
            "dot: expected the last axis of x to fit the last but one of y; "
            f"got {shapes.describe(['x', 'y'], sizes)}"
        )
    axes = "abcdefghijklmnopqrstuvw"
    first = axes[:left]
    second = axes[left : left + right - 2] + first[-1] + axes[left + right - 2]
    result = first[:-1] + second[:-2] + second[-1]
    return ops.einsum(_array(x), _array(y), subscripts=f"{first},{second}->{result}")


def _array(x: Any) -> Any:
    return x if isinstance(x, Node) else np.asarray(x)


def einsum(subscripts: str, *operands: Array) -> Array:
    """Sum of products by Einstein's convention, as ``np.einsum``.

    >>> einsum("ij,j->i", np.eye(2), np.array([1.0, 2.0]))
    array([1., 2.])
    """
    if not isinstance(subscripts, str):
        raise UnsupportedError(
            "einsum: subscripts are a string here; got "
            f"{type(subscripts).__name__}. Write einsum('ij,jk->ik', x, y)"
        )
    return ops.einsum(*map(_array, operands), subscripts=subscripts)


def concatenate(arrays: Sequence[Array], axis: int | None = 0) -> Array:
    """Arrays joined along an axis that they have.

    >>> concatenate([np.array([1.0]), np.array([2.0, 3.0])])
    array([1., 2., 3.])
    """
    return ops.concatenate(*map(_array, arrays), axis=axis)


def stack(arrays: Sequence[Array], axis: int = 0) -> Array:
    """Arrays of one shape joined along a new axis.

    >>> stack([np.array([1.0]), np.array([2.0])]).shape
    (2, 1)
    """
    return ops.stack(*map(_array, arrays), axis=axis)


def swapaxes(x: Array, axis1: int, axis2: int) -> Array:
    """Exchange two axes.

    >>> swapaxes(np.ones((2, 3, 4)), 0, -1).shape
    (4, 3, 2)
    """
    x = _array(x)
    rank = len(x.shape)
    order = list(range(rank))
    (first,) = shapes.normalize_axes(rank, axis1)
    (second,) = shapes.normalize_axes(rank, axis2)
    order[first], order[second] = second, first
    return transpose(x, tuple(order))


def moveaxis(x: Array, source: Any, destination: Any) -> Array:
    """Axes moved to other places; the rest keep their order.

    >>> moveaxis(np.ones((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = _array(x)
    rank = len(x.shape)
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
    return transpose(x, tuple(order))


def squeeze(x: Array, axis: Axes = None) -> Array:
    """Drop axes of size one: all of them, or those named.

    >>> squeeze(np.ones((1, 3, 1))).shape
    (3,)
    """
    x = _array(x)
    size = x.shape
    if axis is None:
        return reshape(x, tuple(n for n in size if n != 1))
    gone = shapes.reduced_axes(len(size), axis)
    if builtins.any(size[i] != 1 for i in gone):
        raise ShapeError(f"squeeze: expected size 1 at axis {axis}; got x{size}")
    return reshape(x, tuple(n for i, n in enumerate(size) if i not in gone))


def expand_dims(x: Array, axis: Any) -> Array:
    """Insert axes of size one, at places of the result.

    >>> expand_dims(np.ones(3), (0, -1)).shape
    (1, 3, 1)
    """
    x = _array(x)
    places = [axis] if np.ndim(axis) == 0 else list(axis)
    rank = len(x.shape) + len(places)
    new = shapes.normalize_axes(rank, [operator.index(i) for i in places])
    sizes = iter(x.shape)
    return reshape(x, tuple(1 if i in new else next(sizes) for i in range(rank)))


def flip(x: Array, axis: Axes = None) -> Array:
    """Reverse the order of the elements along the axes; along all by default.

    >>> flip(np.array([1.0, 2.0]))
    array([2., 1.])
    """
    x = _array(x)
    turned = shapes.normalize_axes(len(x.shape), axis)
    back = slice(None, None, -1)
    return getitem(
        x, tuple(back if i in turned else slice(None) for i in range(len(x.shape)))
    )


def ravel(x: Array) -> Array:
    """All elements in one axis.

    >>> ravel(np.ones((2, 3))).shape
    (6,)
    """
    return reshape(x, (-1,))


def var(x: Array, axis: Axes = None, ddof: float = 0, keepdims: bool = False) -> Array:
    """Variance along ``axis``: mean square distance from the mean.

    ``ddof`` is subtracted from the number of elements, as in NumPy.

    >>> var(np.array([1.0, 3.0]))
    np.float64(1.0)
    """
    size = np.shape(data_of(x))
    count = ops.reduction.count(size, axis)
    if count <= ddof:
        raise ShapeError(
            f"var: expected more than {ddof} elements along axis {axis}; got x{size}"
        )
    squares = ops.square(x - mean(x, axis, True))
    if ddof == 0:
        return mean(squares, axis, keepdims)
    return sum(squares, axis, keepdims) / (count - ddof)


def std(x: Array, axis: Axes = None, ddof: float = 0, keepdims: bool = False) -> Array:
    """Standard deviation along ``axis``; its gradient where it is 0 is 0.

    >>> std(np.array([1.0, 3.0]))
    np.float64(1.0)
    """
    return ops.sqrt(var(x, axis, ddof, keepdims))


def norm(x: Array, ord: Any = None, axis: Axes = None, keepdims: bool = False) -> Array:
    """Vector norm along ``axis``; of all elements by default.

    ``ord`` is 2 (default, also ``"fro"``), 1, ``inf``, ``-inf`` or another number.
    The gradient at 0 is 0, the subgradient of least norm.

    >>> norm(np.array([3.0, 4.0]))
    np.float64(5.0)
    """
    x = _array(x)
    axes = shapes.normalize_axes(len(x.shape), axis)
    if ord is None or ord == "fro" or (ord == 2 and len(axes) <= 1):
        return ops.sqrt(sum(ops.square(x), axis, keepdims))
    if len(axes) > 1:
        raise UnsupportedError(
            f"norm: ord={ord!r} is a norm of matrices, which is not offered; "
            "got more than one axis. Name one axis, or leave ord out"
        )
    if ord == 1:
        return sum(ops.abs(x), axis, keepdims)
    if ord == np.inf:
        return ops.max(ops.abs(x), axis, keepdims)
    if ord == -np.inf:
        return ops.min(ops.abs(x), axis, keepdims)
    if isinstance(ord, str) or ord == 0:
        raise OpError(f"norm: no such order; got ord={ord!r}")
    return sum(ops.abs(x) ** ord, axis, keepdims) ** (1 / ord)


# --- what has no gradient: for steps that are compiled, which compute it anew ---


def argmax(x: Array, axis: int | None = None) -> Array:
    """Place of the largest element along an axis, the first of them; nan is largest.

    >>> argmax(np.array([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]]), axis=1)
    array([1, 0])
    """
    return _place(x, axis, ops.max)


def argmin(x: Array, axis: int | None = None) -> Array:
    """Place of the smallest element along an axis, the first of them; nan is smallest.

    >>> argmin(np.array([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]]), axis=1)
    array([0, 1])
    """
    return _place(x, axis, ops.min)


def _place(x: Array, axis: int | None, extreme: Any) -> Array:
    """Return the first place where an extreme is met."""
    x = _array(x)
    if axis is None:
        x, axis = ravel(x), 0
    (axis,) = shapes.normalize_axes(len(x.shape), axis)
    if x.dtype == np.bool_:
        x = ops.astype(x, np.dtype(np.int64))
    found = ops.equal(x, extreme(x, axis, True))
    if x.dtype.kind == "f":  # nothing equals a nan
        found = ops.logical_or(found, ops.isnan(x))
    n = x.shape[axis]
    places = np.arange(n).reshape(-1, *[1] * (len(x.shape) - 1 - axis))
    return ops.min(ops.where(found, places, n), axis)


def any(x: Array, axis: Axes = None) -> Array:
    """Whether an element along ``axis`` is true.

    >>> any(np.array([[0.0, 2.0], [0.0, 0.0]]), axis=1)
    array([ True, False])
    """
    return sum(_counted(ops.not_equal(x, 0)), axis) > 0


def all(x: Array, axis: Axes = None) -> Array:
    """Whether all elements along ``axis`` are true.

    >>> all(np.array([[1.0, 2.0], [0.0, 3.0]]), axis=1)
    array([ True, False])
    """
    return ops.equal(sum(_counted(ops.equal(x, 0)), axis), 0)


def _counted(found: Array) -> Array:
    return ops.astype(found, np.dtype(np.int64))
