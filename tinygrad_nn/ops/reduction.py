"""Many elements to one: sums, products, extremes, and the soft maximum."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_nn import shapes
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.op import Array, primitive
from tinygrad_nn.ops.comparison import equal
from tinygrad_nn.ops.elementwise import astype, expm1, signed
from tinygrad_nn.ops.indexing import getitem
from tinygrad_nn.ops.samples import cases
from tinygrad_nn.ops.selection import where
from tinygrad_nn.shapes import Axes, Shape

__all__ = [
    "cumsum",
    "log_softmax",
    "logsumexp",
    "max",
    "mean",
    "min",
    "others",
    "prod",
    "softmax",
    "spread",
    "sum",
]

_AXES: tuple[tuple[Any, ...], ...] = (
    ((2, 3), {}),
    ((2, 3), {"axis": 0}),
    ((2, 3), {"axis": -1, "keepdims": True}),
    ((2, 3, 4), {"axis": (0, -1)}),
    ((2, 3, 4), {"axis": (2, 0), "keepdims": True}),
    ((2, 3), {"keepdims": True}),
    ((), {}),
    ((), {"axis": -1}),
    ((1, 3), {"axis": 0}),
    ((3,), {"axis": ()}),
    ((2, 3), {"axis": (-1,)}),
    ((0, 3), {"axis": 1}),
    ((2, 0), {"axis": 0, "keepdims": True}),
)
_EMPTY: tuple[tuple[Any, ...], ...] = (((0,), {}), ((2, 0), {"axis": 1}))
_WRONG = cases(((2, 3), {"axis": 2}), ((2, 3), {"axis": (0, 0)}), ((), {"axis": 1}))


def _reduced(size: Shape, *, axis: Axes = None, keepdims: bool = False) -> Shape:
    return shapes.reduced(size, axis, keepdims=keepdims)


def reduced_not_empty(
    size: Shape, *, axis: Axes = None, keepdims: bool = False
) -> Shape:
    """Shape that a reduction leaves of rows that hold at least one element."""
    if any(size[i] == 0 for i in shapes.reduced_axes(len(size), axis)):
        raise ShapeError("expected at least one element along the reduced axes")
    return shapes.reduced(size, axis, keepdims=keepdims)


def _kept(size: Shape, *, axis: Axes = None) -> Shape:
    shapes.reduced_axes(len(size), axis)
    return size


def _kept_not_empty(size: Shape, *, axis: Axes = None) -> Shape:
    reduced_not_empty(size, axis=axis)
    return size


def _spread_shape(
    size: Shape, *, shape: Any = (), axis: Axes = None, keepdims: bool = False
) -> Shape:
    if size != shapes.reduced(tuple(shape), axis, keepdims=keepdims):
        raise ShapeError(f"expected what a reduction of {tuple(shape)} leaves")
    return tuple(shape)


@primitive(
    kind="movement",
    formula=r"\mathrm{spread}($x)",
    shape=_spread_shape,
    # x is named, so saved: the result is a view of it and changes with it.
    vjp=lambda g, _out, x, axis, keepdims, **_: sum(g, axis, keepdims),  # noqa: ARG005
    samples=cases(
        ((3,), {"shape": (2, 3), "axis": 0}),
        ((2, 1), {"shape": (2, 3), "axis": 1, "keepdims": True}),
        ((), {"shape": (2, 3)}),
    ),
    refuses=cases(((3,), {"shape": (2, 4), "axis": 0})),
)
def spread(
    x: Array,
    shape: Any = (),
    axis: Axes = None,
    keepdims: bool = False,  # noqa: ARG001 (for the shape rule and the gradient)
) -> Array:
    """Undo a reduction: repeat what it left along the axes that it removed.

    >>> spread(np.array([1.0, 2.0]), (2, 3), axis=1)
    array([[1., 1., 1.],
           [2., 2., 2.]])
    """
    kept = shapes.reduced(shape, axis, keepdims=True)
    return np.broadcast_to(np.reshape(x, kept), shape)


def share(g: Array, shape: Shape, axis: Axes, keepdims: bool) -> Array:
    """Cotangent of a sum: every element gets its sum's g.

    A plain number stands for an array filled with it (see `autodiff`), so where
    everything was summed nothing is repeated.
    """
    if axis is None and not keepdims and isinstance(g, np.generic):
        return g
    return spread(g, shape, axis, keepdims)


@primitive(
    kind="reduction",
    formula=r"\sum_{$axis} $x",
    shape=_reduced,
    vjp=lambda g, _out, _x, axis, keepdims: share(g, _x.shape, axis, keepdims),
    samples=cases(*_AXES, *_EMPTY),
    refuses=_WRONG,
)
def sum(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Sum of the elements along ``axis``; of all of them by default.

    >>> sum(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    array([4., 6.])
    """
    return np.add.reduce(x, axis, None, None, keepdims)


def count(shape: Shape, axis: Axes) -> int:
    """How many elements one element of a reduction comes from."""
    if axis is None:
        return math.prod(shape)
    return math.prod(shape[i] for i in shapes.reduced_axes(len(shape), axis))


@primitive(
    kind="reduction",
    formula=r"\mathrm{mean}_{$axis}\, $x",
    shape=reduced_not_empty,
    vjp=lambda g, _out, _x, axis, keepdims: share(
        g / count(_x.shape, axis), _x.shape, axis, keepdims
    ),
    samples=cases(*_AXES),
    refuses=(*_WRONG, *cases(*_EMPTY)),
)
def mean(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Mean of the elements along ``axis``; of all of them by default.

    >>> mean(np.array([[1.0, 2.0], [3.0, 4.0]]))
    np.float64(2.5)
    """
    size = np.size(x) if axis is None else count(np.shape(x), axis)
    if size == 0:
        raise ValueError("expected at least one element along the reduced axes")
    if getattr(x, "dtype", None) is _HALF:
        return np.mean(x, axis, keepdims=keepdims)  # adds up in single precision
    return np.add.reduce(x, axis, None, None, keepdims) / size


_HALF = np.dtype(np.float16)


def _hits(x: Array, out: Array, axis: Axes, keepdims: bool) -> Array:
    """Which elements the extreme of their row was taken from."""
    return equal(x, spread(out, np.shape(x), axis, keepdims))


def _to_extremes(g: Array, out: Array, x: Array, axis: Axes, keepdims: bool) -> Array:
    """Ties share equally: the subgradient of least norm."""
    size = np.shape(x)
    hit = _hits(x, out, axis, keepdims)
    ties = astype(sum(hit, axis, keepdims), g.dtype)
    return where(hit, spread(g / ties, size, axis, keepdims), 0.0)


@primitive(
    kind="reduction",
    formula=r"\max_{$axis} $x",
    shape=reduced_not_empty,
    vjp=_to_extremes,
    paths=(lambda x, **row: _hits(x, max(x, **row), **row),),
    samples=cases(*_AXES),
    refuses=(*_WRONG, *cases(*_EMPTY)),
)
def max(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Largest element along ``axis``; ties share its gradient equally.

    >>> max(np.array([[1.0, 2.0], [3.0, 0.0]]), axis=1)
    array([2., 3.])
    """
    return np.maximum.reduce(x, axis, None, None, keepdims)


@primitive(
    kind="reduction",
    formula=r"\min_{$axis} $x",
    shape=reduced_not_empty,
    vjp=_to_extremes,
    paths=(lambda x, **row: _hits(x, min(x, **row), **row),),
    samples=cases(*_AXES),
    refuses=(*_WRONG, *cases(*_EMPTY)),
)
def min(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Smallest element along ``axis``; ties share its gradient equally.

    >>> min(np.array([[1.0, 2.0], [3.0, 0.0]]), axis=1)
    array([1., 0.])
    """
    return np.minimum.reduce(x, axis, None, None, keepdims)


@primitive(
    kind="reduction",
    formula=r"\prod_{$axis} $x",
    shape=_reduced,
    vjp=lambda g, _out, x, axis, keepdims: (
        spread(g, np.shape(x), axis, keepdims) * others(x, axis)
    ),
    samples=cases(*_AXES, *_EMPTY),
    refuses=_WRONG,
)
def prod(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Product of the elements along ``axis``; right with zeros among them.

    >>> prod(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    array([3., 8.])
    """
    return np.multiply.reduce(x, axis, None, None, keepdims)


def _rows(x: Array, axis: Axes) -> tuple[Array, tuple[int, ...], Shape]:
    """Reduced axes moved to the end and made one; how to move back."""
    rank = np.ndim(x)
    gone = shapes.reduced_axes(rank, axis)
    order = tuple(i for i in range(rank) if i not in gone) + gone
    moved = x.transpose(order)
    rows = moved.reshape((*moved.shape[: rank - len(gone)], count(x.shape, axis)))
    return rows, order, moved.shape


def _back(rows: Array, order: tuple[int, ...], shape: Shape) -> Array:
    inverse = tuple(order.index(i) for i in range(len(order)))
    return rows.reshape(shape).transpose(inverse)


def _others_back(g: Array, _out: Array, x: Array, axis: Axes) -> Array:
    """Each product of the others, differentiated: the products that miss two."""
    rows, order, shape = _rows(x, axis)
    upstream, _, _ = _rows(g, axis)
    size = rows.shape[-1]
    same = np.eye(size, dtype=bool)
    replaced = where(same, 1.0, getitem(rows, (..., None, slice(None))))
    pairs = where(same, 0.0, others(replaced, -1))
    return _back(sum(getitem(upstream, (..., None)) * pairs, -2), order, shape)


@primitive(
    kind="reduction",
    formula=r"\prod_{j \neq i} ${x}_j",
    shape=_kept,
    vjp=_others_back,
    samples=cases(((3,),), ((2, 3), {"axis": 0}), ((2, 3, 2), {"axis": (0, 2)})),
    refuses=_WRONG,
)
def others(x: Array, axis: Axes = None) -> Array:
    """Product of all the other elements along ``axis``, without dividing.

    >>> others(np.array([0.0, 2.0, 3.0]))
    array([6., 0., 0.])
    """
    rows, order, shape = _rows(np.asarray(x), axis)
    if not rows.shape[-1]:
        return _back(rows, order, shape)
    ones = np.ones_like(rows[..., :1])
    before = np.concatenate([ones, rows[..., :-1]], axis=-1)
    after = np.concatenate([ones, rows[..., :0:-1]], axis=-1)
    left = np.multiply.accumulate(before, axis=-1)
    right = np.multiply.accumulate(after, axis=-1)[..., ::-1]
    # A product that overflows, times a zero, is zero; infinity times zero is nan.
    vanishing = _elsewhere(rows == 0) & ~_elsewhere(rows * 0 != 0)
    return _back(np.where(vanishing, 0, left * right), order, shape)


def _elsewhere(found: Array) -> Array:
    """Whether something is found at another place of the row."""
    return np.sum(found, axis=-1, keepdims=True) > found


def _cumulated(size: Shape, *, axis: int | None = None) -> Shape:
    if axis is None or not shapes.reduced_axes(len(size), axis):
        return (math.prod(size),)
    return size


def _cumsum_back(g: Array, _out: Array, _x: Array, axis: int | None) -> Array:
    rank = np.ndim(_x)
    along = axis % rank if axis and rank else 0
    flip = (slice(None),) * along + (slice(None, None, -1),)
    return getitem(cumsum(getitem(g, flip), along), flip).reshape(np.shape(_x))


@primitive(
    kind="accumulation",
    formula=r"\mathrm{cumsum}($x)",
    shape=_cumulated,
    vjp=_cumsum_back,
    samples=cases(
        ((3,),),
        ((2, 3),),
        ((2, 3), {"axis": 0}),
        ((2, 3, 2), {"axis": -2}),
        ((),),
        ((), {"axis": -1}),
        ((0,),),
        ((2, 0), {"axis": 1}),
    ),
    refuses=cases(((2, 3), {"axis": 2}), ((), {"axis": 1})),
)
def cumsum(x: Array, axis: int | None = None) -> Array:
    """Running sum along ``axis``; of the flattened array by default.

    >>> cumsum(np.array([1.0, 2.0, 3.0]))
    array([1., 3., 6.])
    """
    return np.cumsum(x, axis)


@primitive(
    kind="reduction",
    formula=r"\log \sum_{$axis} e^{$x}",
    shape=reduced_not_empty,
    vjp=lambda g, _out, x, axis, keepdims: (
        spread(g, np.shape(x), axis, keepdims) * softmax(x, axis)
    ),
    samples=cases(*_AXES),
    refuses=(*_WRONG, *cases(*_EMPTY)),
    exact=lambda x, axis, keepdims: np.log(
        np.add.reduce(np.exp(x), axis, None, None, keepdims)
    ),
)
def logsumexp(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Logarithm of the sum of exponentials along ``axis``, without overflow.

    A row of ``-inf`` gives ``-inf``.

    >>> logsumexp(np.array([1000.0, 1000.0]))
    np.float64(1000.6931471805599)
    """
    infinite = np.equal(np.maximum.reduce(x, axis, None, None, True), np.inf)
    top, _, rest = _tail(np.where(infinite, 0.0, x) if infinite.any() else x, axis)
    total = np.where(infinite, np.inf, np.log1p(rest) + top)
    total = total.astype(np.asarray(rest).dtype)  # integers have no logarithm
    return (
        total if keepdims else np.reshape(total, _reduced(np.shape(x), axis=axis))[()]
    )


def _tail(x: Array, axis: Axes) -> tuple[Array, Array, Array]:
    """Largest elements, distances from them, and what a sum of exponentials adds to 1.

    sum(exp(x - top)) = 1 + rest, for one of the largest gives exactly 1. Kept apart,
    a rest far below rounding still has all its digits: log1p(rest), not log(1 + rest).
    """
    x = signed(x)
    top = _finite(np.maximum.reduce(x, axis, None, None, True))
    distance = x - top
    weights = np.exp(distance)
    largest = np.equal(distance, 0)
    rest = np.add.reduce(weights - largest, axis, None, None, True)
    ties = np.add.reduce(weights * largest, axis, None, None, True)
    return top, distance, rest + (ties - 1)


def _finite(top: Array) -> Array:
    """Return a shift that is a number: x - (-inf) would be nan."""
    return np.where(top == -np.inf, np.zeros_like(top), top)


_SOFT = cases(
    ((3,),),
    ((2, 3),),
    ((2, 3), {"axis": 0}),
    ((2, 3), {"axis": 1}),
    ((2, 3, 2), {"axis": (0, -1)}),
    ((2, 3), {"axis": None}),
    ((2, 1), {"axis": -1}),
    ((0, 3),),
    ((),),
)
_SOFT_WRONG = (*_WRONG, *cases(((0,), {}), ((2, 0), {"axis": 1})))


@primitive(
    kind="reduction",
    formula=r"\mathrm{softmax}_{$axis}($x)",
    shape=_kept_not_empty,
    vjp=lambda g, out, _x, axis: out * (g - sum(g * out, axis, True)),
    samples=_SOFT,
    refuses=_SOFT_WRONG,
    exact=lambda x, axis: np.exp(x) / np.add.reduce(np.exp(x), axis, None, None, True),
)
def softmax(x: Array, axis: Axes = -1) -> Array:
    """Exponentials along ``axis``, scaled to sum to one; the last axis by default.

    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    x = signed(x)
    weights = np.exp(x - _finite(np.maximum.reduce(x, axis, None, None, True)))
    return weights / np.add.reduce(weights, axis, None, None, True)


@primitive(
    kind="reduction",
    formula=r"\log \mathrm{softmax}_{$axis}($x)",
    shape=_kept_not_empty,
    # (1 - p) g - p (the others' g): for one label no digit is lost where p is near 1.
    vjp=lambda g, out, x, axis: (
        -g * expm1(out) - softmax(x, axis) * (sum(g, axis, True) - g)
    ),
    samples=_SOFT,
    refuses=_SOFT_WRONG,
    exact=lambda x, axis: x - np.log(np.add.reduce(np.exp(x), axis, None, None, True)),
)
def log_softmax(x: Array, axis: Axes = -1) -> Array:
    """Logarithm of the softmax along ``axis``, accurate near 0 and far from it.

    >>> log_softmax(np.array([0.0, -1000.0, -40.0]))
    array([-4.24835426e-18, -1.00000000e+03, -4.00000000e+01])
    """
    _, distance, rest = _tail(x, axis)
    return distance - np.log1p(rest)
