"""Places of elements: as numbers of now, or computed anew in a compiled step."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import ops, recording
from tinygrad_nn.op import Array, Node, constant, data_of
from tinygrad_nn.shapes import Shape

__all__ = ["as_result", "at_places", "in_dtype", "picked", "plain"]


def as_result(x: Array) -> Array:
    """Return a result as NumPy does: of no axes, a number instead of an array."""
    return x if isinstance(x, Node) else x[()]


def in_dtype(x: Any, dtype: Any) -> Array:
    """Return the operand in a dtype; objects, which stand for exact numbers, stay."""
    have, wanted = data_of(x).dtype, np.dtype(dtype)
    if have == wanted or "O" in (have.kind, wanted.kind):
        return x
    return ops.astype(x, wanted)


def plain(x: Any, how: str) -> np.ndarray:
    """Return numbers that say which elements are meant; they have no gradient.

    Raises
    ------
    CompileError
        In a compiled step, where they would be other numbers in each call.
    """
    trace = recording.current().trace
    if isinstance(x, Node) and trace is not None:
        trace.refuse_reading(x, how)
    return np.asarray(data_of(x))


def picked(x: Array, index: Any) -> Array:
    """Return elements at an index, which may hold recorded places."""
    parts = index if isinstance(index, tuple) else (index,)
    if not isinstance(x, Node) and any(isinstance(part, Node) for part in parts):
        x = constant(np.asarray(x), recording.tick())
    x = x if isinstance(x, Node) else np.asarray(x)
    return x[index]


def at_places(places: Any, shape: Shape, axis: int) -> tuple[Any, ...]:
    """Return the index of elements at places along an axis, one for each row.

    >>> at_places(np.array([[1], [0]]), (2, 3), 1)
    (array([[0],
           [1]]), array([[1],
           [0]]))
    """
    rank = len(shape)
    rows = [
        np.arange(n).reshape(-1, *[1] * (rank - 1 - i)) for i, n in enumerate(shape)
    ]
    return (*rows[:axis], places, *rows[axis + 1 :])
