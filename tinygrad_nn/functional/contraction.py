"""Products that sum over shared axes, with NumPy's names and signatures.

All of them are `matmul` of what was put in order first, as they are in NumPy, so their
values are NumPy's own. `matvec`, `vecmat` and `vecdot` get their options in `ufuncs`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import ShapeError, UnsupportedError
from tinygrad_nn.functional.arguments import as_array, axis_of, refuse_out, shape_of
from tinygrad_nn.op import Array, data_of
from tinygrad_nn.ops import getitem
from tinygrad_nn.shapes import Shape

__all__ = ["cross", "dot", "inner", "kron", "outer", "tensordot", "vdot"]


def _sizes(*operands: Any) -> tuple[Shape, ...]:
    return tuple(shape_of(x) for x in operands)


def refused(title: str, law: str, names: Sequence[str], *operands: Any) -> ShapeError:
    """Make the error of operands that do not fit."""
    got = shapes.describe(names, _sizes(*operands))
    return ShapeError(f"{title}: expected {law}; got {got}")


def ordered(x: Array, order: Sequence[int]) -> Array:
    """Return the axes in an order; where they are in it, what was given."""
    return x if list(order) == list(range(x.ndim)) else ops.transpose(x, tuple(order))


def shaped(x: Array, shape: Shape) -> Array:
    """Return the elements in a shape; where they are in it, what was given."""
    return x if x.shape == shape else ops.reshape(x, shape)


# --- products of two ---


_NUMBERS = (int, float)
"""What takes the dtype of the other operand: ``np.dot(-1, Z)`` of float32 is one."""


def dot(a: Array, b: Array, out: None = None) -> Array:
    """Product with NumPy's meaning of ``dot``: numbers scale, matrices multiply.

    >>> dot(-1, np.array([1.0, 2.0]))
    array([-1., -2.])
    """
    if out is not None:
        refuse_out("np.dot", out)
    a = a if a.__class__ in _NUMBERS else as_array(a)
    b = b if b.__class__ in _NUMBERS else as_array(b)
    left, right = (0 if x.__class__ in _NUMBERS else x.ndim for x in (a, b))
    if left == 0 or right == 0:
        return ops.multiply(a, b)
    if right <= 2:
        return ops.matmul(a, b)
    if a.shape[-1] != b.shape[-2]:
        law = "the last axis of x to fit the last but one of y"
        raise refused("dot", law, ["x", "y"], a, b)
    return tensordot(a, b, (-1, -2))


def inner(a: Array, b: Array, /) -> Array:
    """Sum of products over the last axes of both; a product, if one is a number.

    >>> inner(np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([3.0, 4.0]))
    array([11.,  4.])
    """
    a = a if a.__class__ in _NUMBERS else as_array(a)
    b = b if b.__class__ in _NUMBERS else as_array(b)
    left, right = _sizes(a, b)
    if not left or not right:
        return ops.multiply(a, b)
    if left[-1] != right[-1]:
        raise refused("inner", "last axes of one size", "ab", a, b)
    return tensordot(a, b, (-1, -1))


def outer(a: Array, b: Array, out: None = None) -> Array:
    """Products of each element of a with each of b, as a matrix.

    >>> outer(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([[3., 4.],
           [6., 8.]])
    """
    refuse_out("np.outer", out)
    a, b = as_array(a), as_array(b)
    return ops.multiply(shaped(a, (a.size, 1)), shaped(b, (1, b.size)))


def vdot(a: Array, b: Array, /) -> Array:
    """Sum of the products of all elements, whatever the shapes.

    >>> vdot(np.array([[1.0, 2.0]]), np.array([3.0, 4.0]))
    np.float64(11.0)
    """
    a, b = as_array(a), as_array(b)
    if a.size != b.size:
        raise refused("vdot", "as many elements in a as in b", "ab", a, b)
    return ops.matmul(shaped(a, (a.size,)), shaped(b, (b.size,)))


def _paired(axes: Any, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the axes that two arrays share, as `tensordot` is told them."""
    if not isinstance(axes, (list, tuple)) and np.ndim(axes) == 0:
        count = operator.index(axes)
        return tuple(range(rank - count, rank)), tuple(range(count))
    first, second = axes
    one = [[x] if np.ndim(x) == 0 else x for x in (first, second)]
    return tuple(map(operator.index, one[0])), tuple(map(operator.index, one[1]))


def tensordot(a: Array, b: Array, axes: Any = 2) -> Array:
    """Sum of products over pairs of axes.

    Parameters
    ----------
    a, b
        Arrays of any shape.
    axes
        How many of the last axes of a to sum with the first of b; or two sequences,
        of axes of a and of axes of b.

    Examples
    --------
    >>> tensordot(np.ones((2, 3, 4)), np.ones((4, 3, 5)), ([1, 2], [1, 0])).shape
    (2, 5)
    """
    a, b = as_array(a), as_array(b)
    first, second = _paired(axes, a.ndim)
    fits = len(first) == len(second) and all(
        -x.ndim <= i < x.ndim for x, over in ((a, first), (b, second)) for i in over
    )
    if fits:
        first = tuple(i % a.ndim for i in first)
        second = tuple(i % b.ndim for i in second)
        sizes = [a.shape[i] for i in first]
        fits = sizes == [b.shape[i] for i in second]
        fits = fits and len({*first}) == len(first) and len({*second}) == len(second)
    if not fits:
        law = f"pairs of axes of one size, for axes={axes!r}"
        raise refused("tensordot", law, "ab", a, b)
    left = [i for i in range(a.ndim) if i not in first]
    right = [i for i in range(b.ndim) if i not in second]
    many = math.prod(sizes)
    rows = tuple(a.shape[i] for i in left)
    columns = tuple(b.shape[i] for i in right)
    product = ops.matmul(
        shaped(ordered(a, [*left, *first]), (math.prod(rows), many)),
        shaped(ordered(b, [*second, *right]), (many, math.prod(columns))),
    )
    return shaped(product, rows + columns)


def kron(a: Array, b: Array) -> Array:
    """Kronecker product: each element of a times the whole of b, as blocks.

    >>> kron(np.array([1.0, 10.0]), np.array([1.0, 2.0]))
    array([ 1.,  2., 10., 20.])
    """
    a, b = as_array(a), as_array(b)
    rank = max(a.ndim, b.ndim)
    left = (1,) * (rank - a.ndim) + a.shape
    right = (1,) * (rank - b.ndim) + b.shape
    blocks = ops.multiply(
        shaped(a, tuple(n for size in left for n in (size, 1))),
        shaped(b, tuple(n for size in right for n in (1, size))),
    )
    return shaped(blocks, tuple(m * n for m, n in zip(left, right, strict=True)))


def _last(title: str, name: str, x: Array, axis: Any) -> Array:
    """Put an axis last."""
    if not x.ndim:
        raise refused(title, "at least one axis", name, x)
    place = axis_of(title, x, axis)
    return ordered(x, [i for i in range(x.ndim) if i != place] + [place])


def cross(
    a: Array,
    b: Array,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
) -> Array:
    """Cross product of vectors of three dimensions.

    Parameters
    ----------
    a, b
        Vectors, or stacks of them that broadcast.
    axisa, axisb, axisc
        Which axis of a, of b and of the result holds the vectors.
    axis
        One axis for all three.

    Examples
    --------
    >>> cross(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))
    array([0., 0., 1.])
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a = _last("cross", "a", as_array(a), axisa)
    b = _last("cross", "b", as_array(b), axisb)
    sizes = {a.shape[-1], b.shape[-1]}
    if sizes <= {2, 3} and 2 in sizes:
        raise UnsupportedError(
            "cross: vectors of two dimensions are not offered on Tensors, for NumPy "
            f"gives them up; got {shapes.describe('ab', _sizes(a, b))}. Write "
            "x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]"
        )
    if sizes != {3}:
        raise refused("cross", "vectors of three dimensions", "ab", a, b)
    x, y = ([getitem(v, (..., i)) for i in range(3)] for v in (a, b))
    parts = [
        ops.subtract(ops.multiply(x[i], y[j]), ops.multiply(x[j], y[i]))
        for i, j in ((1, 2), (2, 0), (0, 1))
    ]
    return ops.stack(*parts, axis=axisc)


# --- products of rows: what NumPy has as ufuncs ---


def _fits(title: str, law: str, x1: Array, x2: Array, fits: bool) -> None:
    if not fits:
        raise refused(title, law, ["x1", "x2"], x1, x2)


def vecdot(x1: Array, x2: Array) -> Array:
    """Sum of products along the last axis of both; the other axes broadcast.

    >>> vecdot(np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([3.0, 4.0]))
    array([11.,  4.])
    """
    x1, x2 = as_array(x1), as_array(x2)
    fits = x1.ndim and x2.ndim and x1.shape[-1] == x2.shape[-1]
    _fits("vecdot", "x1(n) and x2(n)", x1, x2, fits)
    if x1.ndim == x2.ndim == 1:
        return ops.matmul(x1, x2)
    return ops.matmul(x1[..., None, :], x2[..., :, None])[..., 0, 0]


def matvec(x1: Array, x2: Array) -> Array:
    """Product of matrices with vectors; the other axes broadcast.

    >>> matvec(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 2.],
           [3., 4.]])
    """
    x1, x2 = as_array(x1), as_array(x2)
    fits = x1.ndim > 1 and x2.ndim and x1.shape[-1] == x2.shape[-1]
    _fits("matvec", "x1(m, n) and x2(n)", x1, x2, fits)
    if x2.ndim == 1:
        return ops.matmul(x1, x2)
    return ops.matmul(x1, x2[..., None])[..., 0]


def vecmat(x1: Array, x2: Array) -> Array:
    """Product of vectors with matrices; the other axes broadcast.

    >>> vecmat(np.array([[1.0, 2.0], [3.0, 4.0]]), np.eye(2))
    array([[1., 2.],
           [3., 4.]])
    """
    x1, x2 = as_array(x1), as_array(x2)
    fits = x1.ndim and x2.ndim > 1 and x1.shape[-1] == x2.shape[-2]
    _fits("vecmat", "x1(n) and x2(n, m)", x1, x2, fits)
    if x1.ndim == 1:
        return ops.matmul(x1, x2)
    return ops.matmul(x1[..., None, :], x2)[..., 0, :]


def on_axes(
    ufunc: np.ufunc,
    call: Callable[..., Any],
    *operands: Any,
    axes: Any = None,
    axis: Any = None,
    keepdims: bool = False,
) -> Array:
    """Call what works on the last axes on others, as ``axes=`` and ``axis=`` say.

    Parameters
    ----------
    ufunc
        NumPy's; its signature, such as ``(m,n),(n)->(m)``, says how many axes.
    call, operands
        What to call on Tensors, and with what.
    axes
        For each operand, and for the result, the axes to work on.
    axis, keepdims
        One axis for all, and whether the result keeps it; for `vecdot` alone.
    """
    title = f"np.{ufunc.__name__}"
    given = [as_array(x) for x in operands]
    left, _, right = str(ufunc.signature).partition("->")
    cores = [part.strip("()").split(",") for part in left.split("),(")]
    result = [name for name in right.strip("()").split(",") if name]
    # A vector has no axis for what may be left out: for the n of matmul's (n?, k).
    missing = {
        name
        for x, core in zip(given, cores, strict=True)
        for name in core
        if x.ndim < len(core) and name.endswith("?")
    }
    cores = [[name for name in core if name not in missing] for core in cores]
    result = [name for name in result if name not in missing]
    if result and (axis is not None or keepdims):
        what = "axis" if axis is not None else "keepdims"
        raise UnsupportedError(
            f"{title}: {what}= is for functions that leave no axis; got "
            f"{ufunc.signature}. Use axes="
        )
    if axes is None:
        axes = [-1 if axis is None else axis] * len(given)
    places = [(x,) if np.ndim(x) == 0 else tuple(x) for x in axes]
    places += [()] * (1 + len(given) - len(places))
    wanted = [len(core) for core in (*cores, result)]
    if [len(place) for place in places] != wanted:
        raise ShapeError(
            f"{title}: expected {wanted} axes for operands and result; got axes={axes}"
        )
    moved = []
    for x, place in zip(given, places, strict=False):
        last = [axis_of(title, x, i) for i in place]
        moved.append(ordered(x, [i for i in range(x.ndim) if i not in last] + last))
    found = call(*moved)
    rank = np.ndim(data_of(found))
    if keepdims:
        kept = shapes.normalize_axis(rank + 1, places[0][0])
        size = shape_of(found)
        return ops.reshape(found, (*size[:kept], 1, *size[kept:]))
    if not result:
        return found
    ends = [shapes.normalize_axis(rank, i) for i in places[-1]]
    order = [i for i in range(rank) if i not in ends] + ends
    return ordered(found, [order.index(i) for i in range(rank)])
