"""Assignment that makes a new array: ``x.at[index].set(values)``.

A recorded value does not change, so ``x[index] = values`` is refused. What stands here
is written as in JAX, and gives the array as it would be after the assignment.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import ops, recording
from tinygrad_nn.errors import DtypeError, OpError, ShapeError
from tinygrad_nn.functional.arguments import as_array
from tinygrad_nn.op import Array, Node, constant, op_of
from tinygrad_nn.ops.indexing import is_basic
from tinygrad_nn.shapes import Shape

__all__ = ["At", "Place", "plain_index", "with_added", "with_set"]


class At:
    """What stands between an array and an index: ``x.at[index]``.

    >>> At(np.array([1.0, 2.0]))[0].set(5.0)
    array([5., 2.])
    """

    __slots__ = ("_x",)

    def __init__(self, x: Array) -> None:
        self._x = x

    def __getitem__(self, index: Any) -> Place:
        """Return the elements at an index, to be set or added to."""
        return Place(self._x, plain_index(index))


class Place:
    """Elements of an array, of which a new array may have others.

    Indices are NumPy's. Where an index names an element twice, the last value is set,
    and only it gets a gradient; ``add`` adds both.

    Parameters
    ----------
    x
        The array.
    index
        Where; basic, integers, booleans, or mixed.

    Examples
    --------
    >>> from tinygrad_nn import Tensor
    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> x.at[1:].set(0.0)
    Tensor([1., 0., 0.], op=where)
    >>> x.at[[0, 0]].add([10.0, 5.0])
    Tensor([16.,  2.,  3.], op=add)
    """

    __slots__ = ("_index", "_x")

    def __init__(self, x: Array, index: Any) -> None:
        self._x = x
        self._index = index

    def get(self) -> Any:
        """Return the elements there."""
        return ops.getitem(self._x, self._index)

    def set(self, values: Any) -> Any:
        """Return the array with these values there."""
        return with_set(self._x, self._index, values)

    def add(self, values: Any) -> Any:
        """Return the array with these values added there."""
        return with_added(self._x, self._index, values)


def with_set(x: Array, index: Any, values: Array) -> Array:
    """Array with values at an index, as after ``x[index] = values``.

    >>> with_set(np.array([1.0, 2.0, 3.0]), slice(1, None), 0.0)
    array([1., 0., 0.])
    """
    x = as_array(x)
    size = _picked_shape("set", x, index)
    values = _fitting("set", x, size, values)
    live = recording.current().trace is not None
    if live:  # an index that is data of a compiled step is another next time
        ones: Any = constant(np.ones(size), recording.tick())
        there = ops.not_equal(ops.scatter_add(ones, index, x.shape), 0)
    else:
        ones = np.ones(size)
        there = np.zeros(x.shape, np.bool_)
        there[index] = True
    if values.shape == ():
        return ops.where(there, values, x)
    values = values if values.shape == size else ops.broadcast_to(values, size)
    if not (is_basic(index) or _is_mask(index)):
        last = ops.last_at(ones, index, x.shape)
        if live or not np.all(last):
            values = ops.where(last, values, np.zeros((), x.dtype))
    return ops.where(there, ops.scatter_add(values, index, x.shape), x)


def with_added(x: Array, index: Any, values: Array) -> Array:
    """Array with values added at an index; what is named twice is added twice.

    >>> with_added(np.array([1.0, 2.0]), [0, 0], np.array([10.0, 5.0]))
    array([16.,  2.])
    """
    x = as_array(x)
    size = _picked_shape("add", x, index)
    values = _fitting("add", x, size, values)
    if values.shape != size:
        values = ops.broadcast_to(values, size)
    return ops.add(x, ops.scatter_add(values, index, x.shape))


def plain_index(index: Any) -> Any:
    """Return an index without Tensors, as the ops take it.

    >>> plain_index(([0, 1], ...))
    (array([0, 1]), Ellipsis)
    """
    if isinstance(index, tuple):
        return tuple(plain_index(part) for part in index)
    if isinstance(index, Node):
        node = index
        if index._value.dtype.kind not in "iub":
            raise OpError(
                "t[i]: expected integers or booleans to index with; "
                f"got dtype {index._value.dtype}"
            )
        index = np.array(index._value)
        trace = recording.current().trace
        if trace is not None:
            trace.stands_for(index, node)
        return index
    if isinstance(index, np.ndarray) and recording.current().trace is not None:
        return index  # a compiled step reads it anew each time
    # A copy: the backward picks the same elements, whatever becomes of the index.
    if isinstance(index, list):
        return np.array(index) if index else np.array(index, np.intp)
    return np.array(index) if isinstance(index, np.ndarray) else index


def _is_mask(index: Any) -> bool:
    return isinstance(index, np.ndarray) and index.dtype == np.bool_


def _picked_shape(title: str, x: Any, index: Any) -> Shape:
    """Return the shape of what an index picks."""
    try:
        return op_of(ops.getitem).shape(x.shape, index=index)
    except ShapeError as error:
        raise type(error)(f"x.at[i].{title}: {error}; got x{x.shape}") from None


def _fitting(title: str, x: Any, size: Shape, values: Any) -> Any:
    """Return values of the dtype of ``x`` that broadcast to a size."""
    values = as_array(values)
    trace = recording.current().trace
    if trace is not None and not isinstance(values, Node):
        values = trace.held(values)  # recorded, for the index may be another next time
    if not np.can_cast(values.dtype, x.dtype, "same_kind"):
        raise DtypeError(
            f"x.at[i].{title}: expected values that {x.dtype} can hold; got "
            f"{values.dtype}. Cast one of them, with .astype()"
        )
    have = values.shape
    while len(have) > len(size) and have[0] == 1:  # as NumPy's assignment does
        have = have[1:]
    if len(have) > len(size) or any(
        n not in (1, m)
        for n, m in zip(have[::-1], size[::-1])  # noqa: B905 (may be shorter)
    ):
        raise ShapeError(
            f"x.at[i].{title}: expected values that broadcast to {size}, what the "
            f"index picks from x{x.shape}; got values{values.shape}"
        )
    if values.dtype != x.dtype:
        values = ops.astype(values, x.dtype)
    return values if have == values.shape else ops.reshape(values, have)
