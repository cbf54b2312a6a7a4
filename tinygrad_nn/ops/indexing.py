"""Picking elements by position, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn.errors import ShapeError
from tinygrad_nn.op import Array, primitive
from tinygrad_nn.ops.samples import cases
from tinygrad_nn.shapes import Shape

__all__ = ["getitem", "scatter_add"]


def _picked(size: Shape, *, index: Any = ()) -> Shape:
    try:
        picked: np.ndarray = np.broadcast_to(np.empty(()), size)[index]
    except (IndexError, ValueError) as error:
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


def _is_basic(index: Any) -> bool:
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
    if _is_basic(index):
        out[index] = x
    else:
        np.add.at(out, index, x)
    return out
