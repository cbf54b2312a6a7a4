"""Embedding: rows of a table, looked up by number."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import ops, recording
from tinygrad_nn.errors import OpError, ShapeError
from tinygrad_nn.functional.arguments import as_array, shape_of
from tinygrad_nn.op import Array, Node, constant, data_of

__all__ = ["embedding"]


def embedding(indices: Array, weight: Array) -> Array:
    """Rows of a table: ``weight[indices]``, with indices that are checked.

    A row that is looked up several times gets the sum of the gradients.

    Parameters
    ----------
    indices
        Integers from 0 to less than ``n``, of any shape.
    weight
        Of shape ``(n, d)``.

    Returns
    -------
    Array
        Of shape ``(*indices.shape, d)``.

    Raises
    ------
    OpError
        For indices that are no integers, or not from 0 to less than ``n``; a compiled
        step checks them in each call.
    ShapeError
        For a weight of other than two axes.

    Examples
    --------
    >>> embedding([2, 0], np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    array([[4., 5.],
           [0., 1.]])
    """
    weight = as_array(weight)
    if len(shape_of(weight)) != 2:
        raise ShapeError(f"embedding: expected weight(n, d); got {shape_of(weight)}")
    rows = shape_of(weight)[0]
    indices = as_array(indices)
    if indices.dtype.kind not in "iu":
        if not indices.size and not isinstance(indices, Node):  # np.asarray([])
            indices = indices.astype(np.int64)
        else:
            raise OpError(
                "embedding: indices are integers; "
                f"got dtype {data_of(indices).dtype}. Convert them: indices.astype(int)"
            )

    def check(found: Any) -> None:
        if found.size and not (found.min() >= 0 and found.max() < rows):
            raise OpError(
                f"embedding: indices are from 0 to {rows - 1}, the rows of "
                f"weight{shape_of(weight)}; got {found.min()} to {found.max()}"
            )

    trace = recording.current().trace
    if trace is None:
        check(np.asarray(data_of(indices)))
    else:
        if not isinstance(indices, Node):
            indices = trace.held(indices)
        trace.guard(indices, check)
    if not isinstance(weight, Node):
        if not isinstance(indices, Node):
            return ops.getitem(weight, indices)
        weight = constant(weight, recording.tick())
    return weight[indices]
