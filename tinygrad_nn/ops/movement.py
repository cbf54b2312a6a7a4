"""Elements put in another place: nothing is computed, gradients move back."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_nn import shapes
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.op import Array, primitive
from tinygrad_nn.ops.indexing import getitem
from tinygrad_nn.ops.reduction import sum
from tinygrad_nn.ops.samples import cases
from tinygrad_nn.shapes import Shape

__all__ = [
    "broadcast_to",
    "concatenate",
    "reshape",
    "stack",
    "transpose",
]


def _as_shape(shape: Any) -> Shape:
    return (int(shape),) if np.ndim(shape) == 0 else tuple(int(n) for n in shape)


def _reshaped(size: Shape, *, shape: Any = ()) -> Shape:
    wanted = list(_as_shape(shape))
    count = math.prod(size)
    if wanted.count(-1) > 1:
        raise ShapeError(f"expected one unknown size at most; wanted {tuple(wanted)}")
    if -1 in wanted:
        known = math.prod(n for n in wanted if n != -1)
        if known == 0 or count % known:
            raise ShapeError(
                f"expected a shape of {count} elements; wanted {tuple(wanted)}"
            )
        wanted[wanted.index(-1)] = count // known
    if math.prod(wanted) != count or min(wanted, default=0) < 0:
        raise ShapeError(
            f"expected a shape of {count} elements; wanted {tuple(wanted)}"
        )
    return tuple(wanted)


@primitive(
    kind="movement",
    formula=r"\mathrm{reshape}($x)",
    shape=_reshaped,
    vjp=lambda g, _out, x, **_: reshape(g, np.shape(x)),
    samples=cases(
        ((2, 3), {"shape": (3, 2)}),
        ((2, 3), {"shape": (-1,)}),
        ((), {"shape": (1, 1)}),
        ((0, 3), {"shape": (3, 0)}),
        ((4,), {"shape": -1}),
    ),
    refuses=cases(((2, 3), {"shape": (4,)}), ((2, 3), {"shape": (-1, -1)})),
)
def reshape(x: Array, shape: Any = ()) -> Array:
    """Same elements in the same order, in another shape.

    >>> reshape(np.array([1.0, 2.0, 3.0, 4.0]), (2, 2))
    array([[1., 2.],
           [3., 4.]])
    """
    return np.reshape(x, shape)


def _transposed(size: Shape, *, axes: Any = None) -> Shape:
    if axes is None:
        return size[::-1]
    axes = tuple(axes)
    if len(axes) != len(size):
        raise ShapeError(f"expected {len(size)} axes; wanted {axes}")
    order = [shapes.normalize_axis(len(size), axis) for axis in axes]
    shapes.normalize_axes(len(size), axes)
    return tuple(size[axis] for axis in order)


def _transpose_back(g: Array, _out: Array, x: Array, axes: Any) -> Array:
    if axes is None:
        return g.T
    rank = np.ndim(x)
    order = [axis % rank for axis in axes]
    return transpose(g, tuple(order.index(axis) for axis in range(rank)))


@primitive(
    kind="movement",
    formula="$x^{\\top}",
    shape=_transposed,
    vjp=_transpose_back,
    samples=cases(
        ((2, 3),),
        ((2, 3, 4), {"axes": (1, 2, 0)}),
        ((2, 3, 4), {"axes": (-1, 0, -2)}),
        ((3,),),
        ((),),
        ((2, 0),),
    ),
    refuses=cases(((2, 3), {"axes": (0, 0)}), ((2, 3), {"axes": (0,)})),
)
def transpose(x: Array, axes: Sequence[int] | None = None) -> Array:
    """Axes in another order; reversed by default.

    >>> transpose(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 3.],
           [2., 4.]])
    """
    return np.transpose(x, axes)


def _broadcasted(size: Shape, *, shape: Any = ()) -> Shape:
    wanted = _as_shape(shape)
    if min(wanted, default=0) < 0 or shapes.broadcast(size, wanted) != wanted:
        raise ShapeError(f"expected a shape that broadcasts to {wanted}")
    return wanted


def _gather_back(g: Array, _out: Array, x: Array, shape: Any) -> Array:
    size = np.shape(x)
    wanted = _as_shape(shape)
    extra = len(wanted) - len(size)
    axes = tuple(range(extra)) + tuple(
        extra + i for i, n in enumerate(size) if n == 1 and wanted[extra + i] != 1
    )
    return reshape(sum(g, axes), size)


@primitive(
    kind="movement",
    formula=r"\mathrm{broadcast}($x)",
    shape=_broadcasted,
    vjp=_gather_back,
    samples=cases(
        ((3,), {"shape": (2, 3)}),
        ((2, 1), {"shape": (4, 2, 3)}),
        ((), {"shape": (2,)}),
        ((1,), {"shape": (0,)}),
        ((1,), {"shape": 3}),
    ),
    refuses=cases(
        ((3,), {"shape": (2,)}), ((2, 3), {"shape": (3,)}), ((), {"shape": (-1,)})
    ),
)
def broadcast_to(x: Array, shape: Any = ()) -> Array:
    """Repeat along new axes and along axes of size 1, without copying.

    >>> broadcast_to(np.array([1.0, 2.0]), (2, 2))
    array([[1., 2.],
           [1., 2.]])
    """
    return np.broadcast_to(x, shape)


def _joined(*sizes: Shape, axis: int | None = 0) -> Shape:
    if not sizes:
        raise ShapeError("expected at least one array")
    if axis is None:
        return (builtins.sum(math.prod(size) for size in sizes),)
    if not sizes[0]:
        raise ShapeError("expected arrays with at least one axis; use stack")
    first = sizes[0]
    place = shapes.normalize_axis(len(first), axis)
    for size in sizes[1:]:
        others = (*size[:place], *size[place + 1 :])
        if len(size) != len(first) or others != (*first[:place], *first[place + 1 :]):
            raise ShapeError(f"expected equal sizes except along axis {axis}")
    total = builtins.sum(size[place] for size in sizes)
    return (*first[:place], total, *first[place + 1 :])


def _split(
    g: Array, _out: Array, *_parts: Array, axis: int | None
) -> tuple[Array, ...]:
    shares = []
    start = 0
    for part in _parts:
        count = np.size(part) if axis is None else np.shape(part)[axis]
        where = slice(start, start + count)
        if axis is None:
            shares.append(reshape(getitem(g, (where,)), np.shape(part)))
        else:
            place = axis % np.ndim(part)
            shares.append(getitem(g, (slice(None),) * place + (where,)))
        start += count
    return tuple(shares)


@primitive(
    kind="movement",
    formula=r"\mathrm{concatenate}($arrays)",
    shape=_joined,
    vjp=_split,
    samples=cases(
        ((2,), (3,)),
        ((2, 3), (2, 1), (2, 0), {"axis": 1}),
        ((2, 3), (1, 3), {"axis": -2}),
        ((2, 3), (2,), {"axis": None}),
    ),
    refuses=cases(((2, 3), (3, 2)), ((2,), (2, 3)), ((), ())),
)
def concatenate(*arrays: Array, axis: int | None = 0) -> Array:
    """Arrays joined along an axis that they have.

    >>> concatenate(np.array([1.0]), np.array([2.0, 3.0]))
    array([1., 2., 3.])
    """
    return np.concatenate(arrays, axis=axis)


def _stacked(*sizes: Shape, axis: int = 0) -> Shape:
    if not sizes:
        raise ShapeError("expected at least one array")
    if len(set(sizes)) != 1:
        raise ShapeError("expected arrays of one shape")
    place = shapes.normalize_axis(len(sizes[0]) + 1, axis)
    return (*sizes[0][:place], len(sizes), *sizes[0][place:])


def _unstack(g: Array, _out: Array, *_parts: Array, axis: int) -> tuple[Array, ...]:
    place = axis % (np.ndim(_parts[0]) + 1)
    before = (slice(None),) * place
    return tuple(getitem(g, (*before, i)) for i in range(len(_parts)))


@primitive(
    kind="movement",
    formula=r"\mathrm{stack}($arrays)",
    shape=_stacked,
    vjp=_unstack,
    samples=cases(
        ((3,), (3,)),
        ((2, 3), (2, 3), (2, 3), {"axis": -1}),
        ((), ()),
        ((0,), (0,), {"axis": 1}),
    ),
    refuses=cases(((2,), (3,)), ((2,), (2,), {"axis": 2})),
)
def stack(*arrays: Array, axis: int = 0) -> Array:
    """Arrays of one shape joined along a new axis.

    >>> stack(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([[1., 2.],
           [3., 4.]])
    """
    return np.stack(arrays, axis=axis)
