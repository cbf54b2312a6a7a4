"""Elements by their order: sorted, picked by rank, searched.

Where elements tie, they share the gradient of all their places equally, which is the
subgradient of least norm: ``sort(x)[-1]`` has the gradient of ``max(x)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import shapes
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.op import Array, primitive
from tinygrad_nn.ops.comparison import equal
from tinygrad_nn.ops.elementwise import astype
from tinygrad_nn.ops.reduction import reduced_not_empty, spread, sum
from tinygrad_nn.ops.samples import cases
from tinygrad_nn.ops.selection import where
from tinygrad_nn.shapes import Axes, Shape

__all__ = [
    "argpartition",
    "argsort",
    "nanmax",
    "nanmin",
    "partition",
    "ranks",
    "searchsorted",
    "sort",
    "sorted_like",
    "unsorted_like",
    "unwrap",
]

_SIZES: tuple[tuple[Any, ...], ...] = (
    ((4,), {}),
    ((2, 3), {}),
    ((3, 2), {"axis": 0}),
    ((2, 3, 2), {"axis": -2}),
    ((1,), {}),
    ((0,), {}),
    ((2, 0), {"axis": 1}),
)
_WRONG = cases(((2, 3), {"axis": 2}), ((2,), {"axis": -2}))


def _same(size: Shape, *, axis: int = -1, kind: Any = None) -> Shape:  # noqa: ARG001 (a setting of the op)
    shapes.normalize_axes(len(size), axis)
    return size


@primitive(
    kind="indexing",
    formula=r"\mathrm{argsort}($x)",
    shape=_same,
    vjp=None,
    samples=cases(*_SIZES),
    refuses=_WRONG,
)
def argsort(x: Array, axis: int = -1, kind: Any = None) -> Array:
    """Places of the elements in ascending order, along ``axis``.

    >>> argsort(np.array([3.0, 1.0, 2.0]))
    array([1, 2, 0])
    """
    return np.argsort(x, axis, kind=kind)


def _parted(size: Shape, *, kth: Any = 0, axis: int = -1) -> Shape:
    place = shapes.normalize_axis(len(size), axis)
    n = size[place]
    for k in kth if isinstance(kth, tuple) else (kth,):
        if not -n <= k < n:
            raise ShapeError(f"expected kth among {n} elements; it is {k}")
    return size


_PARTS = cases(
    ((4,), {"kth": (1, 2)}),  # what they leave open is in no order that one may rely on
    ((2, 3), {"kth": (0, -1)}),
    ((2, 2), {"kth": 1, "axis": 0}),
    ((1,), {}),
)
_WRONG_PARTS = cases(((3,), {"kth": 3}), ((2, 3), {"kth": 0, "axis": 2}))


@primitive(
    kind="indexing",
    formula=r"\mathrm{argpartition}($x)",
    shape=_parted,
    vjp=None,
    samples=_PARTS,
    refuses=_WRONG_PARTS,
)
def argpartition(x: Array, kth: Any = 0, axis: int = -1) -> Array:
    """Places of the elements, those below the ``kth`` smallest first.

    >>> argpartition(np.array([3.0, 1.0, 2.0]), 1)
    array([1, 2, 0])
    """
    return np.argpartition(x, kth, axis)


def _paired(x: Shape, key: Shape, *, axis: int = -1) -> Shape:
    if x != key:
        raise ShapeError("expected operands of one shape")
    return _same(x, axis=axis)


def _shared(x: Array, key: Array, axis: int) -> Array:
    """Mean over every run of equal keys, which are sorted."""
    x, key = np.moveaxis(x, axis, -1), np.moveaxis(key, axis, -1)
    tied = key[..., 1:] == key[..., :-1]
    if tied.any():
        first = np.ones(key.shape, bool)
        first[..., 1:] = ~tied
        starts = np.flatnonzero(first)
        counts = np.diff(starts, append=key.size)
        means = np.add.reduceat(x.ravel(), starts) / counts.astype(x.dtype)
        x = np.repeat(means, counts).reshape(x.shape)
    return np.moveaxis(x, -1, axis)


def _no_gradient(_g: Array, _out: Array, _x: Array, _key: Array, **_: Any) -> None:
    """An order is constant."""


_PAIRS = cases(*[(row[0], *row) for row in _SIZES], limits=((-2.0, 2.0), None))
_WRONG_PAIRS = cases(((2,), (3,), {}), ((2,), (2,), {"axis": 1}))


@primitive(
    kind="indexing",
    formula=r"\mathrm{ranks}($x)",
    shape=_same,
    vjp=None,
    samples=cases(*_SIZES),
    refuses=_WRONG,
)
def ranks(x: Array, axis: int = -1) -> Array:
    """How many different elements along ``axis`` are smaller: equal for equal elements.

    >>> ranks(np.array([3.0, 1.0, 3.0, 2.0]))
    array([2, 0, 2, 1])
    """
    order = np.argsort(x, axis)
    key = np.moveaxis(np.take_along_axis(x, order, axis), axis, -1)
    places = np.zeros(key.shape, np.int64)
    places[..., 1:] = np.cumsum(key[..., 1:] != key[..., :-1], axis=-1)
    found = np.empty_like(places)
    np.put_along_axis(found, np.moveaxis(order, axis, -1), places, -1)
    return np.moveaxis(found, -1, axis)


@primitive(
    kind="indexing",
    formula=r"\mathrm{sorted}_{$key}($x)",
    shape=_paired,
    vjp=(
        lambda g, _out, _x, key, axis: unsorted_like(g, key, axis),
        _no_gradient,
    ),
    samples=_PAIRS,
    refuses=_WRONG_PAIRS,
)
def sorted_like(x: Array, key: Array, axis: int = -1) -> Array:
    """Elements in the order that sorts the keys; those of equal keys give their mean.

    >>> sorted_like(np.array([1.0, 2.0, 3.0]), np.array([7.0, 5.0, 7.0]))
    array([2., 2., 2.])
    """
    order = np.argsort(key, axis)
    x, key = (np.take_along_axis(part, order, axis) for part in (x, key))
    return _shared(x, key, axis)


@primitive(
    kind="indexing",
    formula=r"\mathrm{unsorted}_{$key}($x)",
    shape=_paired,
    vjp=(
        lambda g, _out, _x, key, axis: sorted_like(g, key, axis),
        _no_gradient,
    ),
    samples=_PAIRS,
    refuses=_WRONG_PAIRS,
)
def unsorted_like(x: Array, key: Array, axis: int = -1) -> Array:
    """Elements of sorted keys back where the keys are: the transpose of `sorted_like`.

    >>> unsorted_like(np.array([1.0, 2.0, 3.0]), np.array([7.0, 5.0, 6.0]))
    array([3., 1., 2.])
    """
    order = np.argsort(key, axis)
    shared = _shared(x, np.take_along_axis(key, order, axis), axis)
    out = np.empty_like(shared)
    np.put_along_axis(out, order, shared, axis)
    return out


@primitive(
    kind="indexing",
    formula=r"\mathrm{sort}($x)",
    shape=_same,
    vjp=lambda g, _out, x, axis, **_: unsorted_like(g, ranks(x, axis), axis),
    samples=cases(*_SIZES),
    refuses=_WRONG,
)
def sort(x: Array, axis: int = -1, kind: Any = None) -> Array:
    """Elements in ascending order along ``axis``, nan last; ties share their gradient.

    >>> sort(np.array([3.0, 1.0, 2.0]))
    array([1., 2., 3.])
    """
    return np.sort(x, axis, kind=kind)


@primitive(
    kind="indexing",
    formula=r"\mathrm{partition}($x)",
    shape=_parted,
    vjp=lambda g, out, x, axis, **_: unsorted_like(sorted_like(g, out, axis), x, axis),
    samples=_PARTS,
    refuses=_WRONG_PARTS,
)
def partition(x: Array, kth: Any = 0, axis: int = -1) -> Array:
    """Elements along ``axis`` with the ``kth`` smallest in its place, less before it.

    >>> partition(np.array([3.0, 1.0, 2.0]), 1)
    array([1., 2., 3.])
    """
    return np.partition(x, kth, axis)


def _searched(a: Shape, v: Shape, *, side: str = "left") -> Shape:
    if len(a) != 1:
        raise ShapeError("expected one axis of sorted values to search")
    if side not in ("left", "right"):
        raise TypeError(f"side is 'left' or 'right', not {side!r}")
    return v


@primitive(
    kind="indexing",
    formula=r"\mathrm{searchsorted}($a, $v)",
    shape=_searched,
    vjp=None,
    samples=cases(((3,), (2, 2), {}), ((3,), (), {"side": "right"}), ((0,), (2,), {})),
    refuses=cases(((2, 3), (2,), {}), ((), (), {})),
)
def searchsorted(a: Array, v: Array, side: Any = "left") -> Array:
    """Place in a sorted array before which a value keeps it sorted.

    >>> searchsorted(np.array([1.0, 2.0, 3.0]), 2.5)
    np.int64(2)
    """
    return np.searchsorted(a, v, side)


_AXES = cases(
    ((2, 3), {}),
    ((2, 3), {"axis": 0}),
    ((2, 3), {"axis": -1, "keepdims": True}),
    ((2, 3, 2), {"axis": (0, -1)}),
    ((), {}),
    ((0, 3), {"axis": 1}),
)
_EMPTY = cases(((0,), {}), ((2, 0), {"axis": 1}), ((2, 3), {"axis": 2}))


def _to_extremes(g: Array, out: Array, x: Array, axis: Axes, keepdims: bool) -> Array:
    """Ties share equally; nothing goes to a nan, for it equals nothing."""
    size = np.shape(x)
    hit = equal(x, spread(out, size, axis, keepdims))
    ties = astype(sum(hit, axis, keepdims), g.dtype)
    return where(
        hit, spread(g / where(equal(ties, 0), 1.0, ties), size, axis, keepdims), 0.0
    )


@primitive(
    kind="indexing",  # elements that are nan are left out
    formula=r"\mathrm{nanmax}_{$axis}\, $x",
    shape=reduced_not_empty,
    vjp=_to_extremes,
    samples=_AXES,
    refuses=_EMPTY,
)
def nanmax(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Largest element along ``axis`` that is a number; ties share its gradient.

    >>> nanmax(np.array([1.0, np.nan, 3.0]))
    np.float64(3.0)
    """
    return np.fmax.reduce(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]


@primitive(
    kind="indexing",
    formula=r"\mathrm{nanmin}_{$axis}\, $x",
    shape=reduced_not_empty,
    vjp=_to_extremes,
    samples=_AXES,
    refuses=_EMPTY,
)
def nanmin(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Smallest element along ``axis`` that is a number; ties share its gradient.

    >>> nanmin(np.array([1.0, np.nan, 3.0]))
    np.float64(1.0)
    """
    return np.fmin.reduce(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]


def _same_with_period(
    size: Shape, *, discont: Any = None, axis: int = -1, period: float = 1.0
) -> Shape:
    del discont, period
    return _same(size, axis=axis)


@primitive(
    kind="indexing",
    formula=r"\mathrm{unwrap}($x)",
    shape=_same_with_period,
    vjp=lambda g, _out, _x, **_: g,
    samples=cases(((3,), {"period": 1.5}), ((2, 3), {"axis": 0}), ((0,), {})),
    refuses=_WRONG,
)
def unwrap(
    x: Array, discont: Any = None, axis: int = -1, period: float = 2 * np.pi
) -> Array:
    """Angles along ``axis`` with multiples of the period added, so that none jumps.

    >>> unwrap(np.array([0.0, 5.0, 6.0]), period=4.0)
    array([0., 1., 2.])
    """
    return np.unwrap(x, discont, axis, period=period)
