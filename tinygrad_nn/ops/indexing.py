"""Picking elements by position, and the way back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_nn.errors import PlaceError, ShapeError
from tinygrad_nn.op import Array, primitive
from tinygrad_nn.ops.samples import cases
from tinygrad_nn.shapes import Shape

__all__ = ["getitem", "is_basic", "last_at", "scatter_add"]


def _picked(size: Shape, *, index: Any = ()) -> Shape:
    try:
        picked: np.ndarray = np.broadcast_to(np.empty(()), size)[index]
    except IndexError as error:
        raise PlaceError(str(error)) from None
    except ValueError as error:
        raise ShapeError(str(error)) from None
    return picked.shape


@primitive(
    kind="indexing",
    formula="$x[$index]",
    shape=_picked,
    vjp=lambda g, _out, x, index: scatter_add(g, index, np.shape(x)),
    samples=cases(
        ((4, 3), {"index": 1}),
        ((4, 3), {"index": (slice(None, None, -2), None, 0)}),
        ((4, 3), {"index": (..., slice(1, 3))}),
        ((4, 3), {"index": np.array([0, 2, 2, -1])}),
        ((4, 3), {"index": (np.array([[0], [3]]), np.array([1, 1]))}),
        ((4,), {"index": np.array([True, False, True, False])}),
        ((4, 3), {"index": (np.array([True, False, False, True]), slice(1, None))}),
        ((2, 3, 4), {"index": (0, slice(None), np.array([1, 1]))}),
        ((3,), {"index": slice(0, 0)}),
        ((), {"index": ()}),
        ((3,), {"index": (np.array([], dtype=int),)}),
    ),
    refuses=cases(
        ((3,), {"index": 3}), ((3,), {"index": (0, 0)}), ((2, 3), {"index": [0, 5]})
    ),
)
def getitem(x: Array, index: Any = ()) -> Array:
    """Elements at an index: basic, integer, boolean or mixed, as NumPy has it.

    >>> getitem(np.array([1.0, 2.0, 3.0]), slice(1, None))
    array([2., 3.])
    """
    return x[index]


def is_basic(index: Any) -> bool:
    """Whether an index picks each element once, and without arrays."""
    parts = index if isinstance(index, tuple) else (index,)
    simple = (int, np.integer, slice, type(None), type(...))
    return all(isinstance(p, simple) and not isinstance(p, bool) for p in parts)


def _scattered(size: Shape, *, index: Any = (), shape: Any = ()) -> Shape:
    if size != _picked(tuple(shape), index=index):
        raise ShapeError(f"expected what the index picks from {tuple(shape)}")
    return tuple(shape)


@primitive(
    kind="indexing",
    formula=r"\mathrm{scatter}_{$index}($x)",
    shape=_scattered,
    vjp=lambda g, _out, _x, index, **_: getitem(g, index),
    samples=cases(
        ((2,), {"index": slice(1, 3), "shape": (4,)}),
        ((3,), {"index": np.array([0, 2, 2]), "shape": (4,)}),
        ((), {"index": (1, 1), "shape": (2, 2)}),
        ((2, 3), {"index": np.array([True, False, True]), "shape": (3, 3)}),
    ),
    refuses=cases(((3,), {"index": slice(0, 2), "shape": (4,)})),
)
def scatter_add(x: Array, index: Any = (), shape: Any = ()) -> Array:
    """Zeros of a shape, with ``x`` added at an index; duplicates accumulate.

    >>> scatter_add(np.array([1.0, 2.0, 3.0]), np.array([0, 2, 2]), (3,))
    array([1., 0., 5.])
    """
    out = np.zeros(shape, np.asarray(x).dtype)
    if is_basic(index):
        out[index] = x
    else:
        _add_at(out, index, x)
    return out


def _same_as_picked(size: Shape, *, index: Any = (), shape: Any = ()) -> Shape:
    _scattered(size, index=index, shape=shape)
    return size


@primitive(
    kind="indexing",
    formula=r"\mathrm{last}_{$index}($x)",
    shape=_same_as_picked,
    vjp=None,
    samples=cases(
        ((3,), {"index": np.array([0, 2, 2]), "shape": (4,)}),
        ((2,), {"index": slice(1, 3), "shape": (4,)}),
        ((2, 3), {"index": np.array([1, 1]), "shape": (3, 3)}),
        ((0,), {"index": slice(0, 0), "shape": (2,)}),
    ),
    refuses=cases(((3,), {"index": slice(0, 2), "shape": (4,)})),
)
def last_at(x: Array, index: Any = (), shape: Any = ()) -> Array:
    """Whether each element is what an assignment at an index leaves: the last one.

    >>> last_at(np.ones(3), np.array([0, 2, 2]), (3,))
    array([ True, False,  True])
    """
    order = np.arange(np.size(x)).reshape(np.shape(x))
    found = np.zeros(shape, np.intp)
    found[index] = order
    last: np.ndarray = found[index] == order
    return last


def _add_at(out: np.ndarray, index: Any, x: Array) -> None:
    """Add at an index, in the order of the index, as ``np.add.at`` does.

    Along one axis ``np.add.at`` is quick, and along several six times slower than
    along the one axis of the flattened array. A mask picks nothing twice.
    """
    parts = index if isinstance(index, tuple) else (index,)
    arrays = [part for part in parts if isinstance(part, np.ndarray) and part.ndim]
    if len(arrays) == 1 and arrays[0].dtype == np.bool_:
        out[index] = np.add(x, 0)  # of -0.0 too the sum with 0 is 0
    elif out.ndim < 2 or len(arrays) == out.ndim or np.size(x) < 1000:
        np.add.at(out, index, x)
    else:
        places = _flat_places(out.shape, parts, np.size(x))
        np.add.at(out.reshape(-1), places.reshape(-1), np.reshape(x, -1))


def _flat_places(shape: Shape, parts: tuple[Any, ...], count: int) -> np.ndarray:
    """Return where the elements at an index lie in the flattened array."""
    leading = len(parts)
    if all(isinstance(p, (int, np.integer, np.ndarray)) for p in parts) and not any(
        np.asarray(p).dtype == np.bool_ for p in parts
    ):
        rows, inner = shape[:leading], math.prod(shape[leading:])
        starts = np.arange(math.prod(rows)).reshape(rows)[parts] * inner
        spread: np.ndarray = np.add.outer(starts, np.arange(inner))
        return spread
    if math.prod(shape) <= 4 * count:
        every: np.ndarray = np.arange(math.prod(shape)).reshape(shape)[parts]
        return every
    places: Any = 0
    step = 1
    for axis in reversed(range(len(shape))):
        line = np.arange(shape[axis]) * step
        line = line.reshape(-1, *(1,) * (len(shape) - 1 - axis))
        places = places + np.broadcast_to(line, shape)[parts]
        step *= shape[axis]
    return places  # type: ignore[no-any-return]
