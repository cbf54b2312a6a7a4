"""Elements picked by places and conditions, and put at places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_nn import ops, recording, shapes
from tinygrad_nn.errors import OpError, PlaceError, ShapeError
from tinygrad_nn.functional.arguments import (
    as_array,
    one_axis,
    refuse_out,
)
from tinygrad_nn.functional.places import at_places, in_dtype, picked, plain
from tinygrad_nn.op import Array, Node, data_of

__all__ = [
    "choose",
    "compress",
    "extract",
    "piecewise",
    "put_along_axis",
    "select",
    "take",
    "take_along_axis",
]


def _whole(title: str, indices: Any) -> Any:
    """Return places as integers; those that are recorded stay recorded."""
    kind = data_of(indices).dtype if isinstance(indices, Node) else None
    if kind is None:
        indices = np.asarray(indices)
        if indices.size == 0 and indices.dtype.kind == "f":
            indices = indices.astype(np.intp)  # an empty list is one of floats
        kind = indices.dtype
    if kind.kind == "b":
        return ops.astype(indices, np.dtype(np.intp))
    if kind.kind not in "iu":
        raise OpError(f"{title}: expected places that are integers; got dtype {kind}")
    return indices


def _within(title: str, indices: Any, count: int, mode: str) -> Any:
    """Bring places outside of ``count`` elements back, as NumPy's mode says."""
    if mode == "raise":
        return indices
    if mode not in ("wrap", "clip"):
        raise OpError(f"{title}: mode is 'raise', 'wrap' or 'clip'; got {mode!r}")
    indices = plain(indices, f"{title}, mode={mode!r}")
    if not count and indices.size:
        raise PlaceError(f"{title}: expected elements to choose from; got none")
    return indices % count if mode == "wrap" else np.clip(indices, 0, count - 1)


def take(
    a: Array,
    indices: Any,
    axis: int | None = None,
    out: None = None,
    mode: str = "raise",
) -> Array:
    """Elements at places along ``axis``; of the flattened array by default.

    Parameters
    ----------
    indices
        Integers; a place named twice has the sum of both gradients.
    mode
        What a place outside means: ``"raise"``, ``"wrap"`` or ``"clip"``.

    Examples
    --------
    >>> take(np.array([1.0, 2.0, 3.0]), [2, 0])
    array([3., 1.])
    """
    refuse_out("np.take", out)
    a = as_array(a)
    rows, place = one_axis("np.take", a, axis)
    places = _within("np.take", _whole("np.take", indices), rows.shape[place], mode)
    return picked(rows, (slice(None),) * place + (places,))


def _fitted(title: str, arr: Any, indices: Any, axis: int | None) -> Any:
    """Return array, places and axis of what is along an axis."""
    arr = as_array(arr)
    indices = _whole(title, indices)
    rows, place = one_axis(title, arr, axis)
    if indices.ndim != len(rows.shape):
        raise ShapeError(
            f"{title}: expected as many axes of indices as of arr; "
            f"got arr{rows.shape}, indices{indices.shape}"
        )
    return rows, indices, place


def take_along_axis(arr: Array, indices: Any, axis: int | None = -1) -> Array:
    """Elements at places along an axis, others in each row, such as `argsort` gives.

    >>> x = np.array([[3.0, 1.0], [2.0, 5.0]])
    >>> take_along_axis(x, np.argsort(x, axis=1), axis=1)
    array([[1., 3.],
           [2., 5.]])
    """
    rows, places, axis = _fitted("np.take_along_axis", arr, indices, axis)
    return picked(rows, at_places(places, rows.shape, axis))


def put_along_axis(arr: Array, indices: Any, values: Any, axis: int | None) -> Array:
    """Array with values in the place of some elements of each row: a new array.

    NumPy's function of this name writes into an array, which a Tensor refuses; this one
    gives the result. Elements that are replaced have the gradient 0; where a place is
    named twice, the last value stays, as in NumPy.

    >>> put_along_axis(np.zeros((2, 2)), np.array([[1], [0]]), 5.0, axis=1)
    array([[0., 5.],
           [5., 0.]])
    """
    title = "put_along_axis"
    rows, places, place = _fitted(title, arr, indices, axis)
    places = plain(places, title)
    index = at_places(places, rows.shape, place)
    size = np.broadcast_shapes(*[np.shape(part) for part in index])
    source = np.full(rows.shape, -1)
    source[index] = np.arange(int(np.prod(size))).reshape(size)
    values = in_dtype(as_array(values), data_of(rows).dtype)
    values = ops.reshape(ops.broadcast_to(values, size), (-1,))
    there = source >= 0
    if there.any():
        rows = ops.where(there, picked(values, np.maximum(source, 0)), rows)
    return rows if axis is not None else ops.reshape(rows, as_array(arr).shape)


def compress(
    condition: Any, a: Array, axis: int | None = None, out: None = None
) -> Array:
    """Slices along ``axis`` where a condition is true; of the flattened by default.

    >>> compress([True, False, True], np.array([1.0, 2.0, 3.0]))
    array([1., 3.])
    """
    refuse_out("np.compress", out)
    true = plain(condition, "np.compress")
    if true.ndim != 1:
        raise ShapeError(
            f"np.compress: expected one axis of conditions; got condition{true.shape}"
        )
    return take(a, np.flatnonzero(true), axis)


def extract(condition: Any, arr: Array) -> Array:
    """Elements where a condition is true, in one axis.

    >>> extract(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([1., 4.])
    """
    return take(arr, np.flatnonzero(plain(condition, "np.extract")))


def select(
    condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0
) -> Array:
    """Of several choices that of the first condition that is true, or the default.

    What is not chosen has no path to the result, as in `where`.

    >>> x = np.array([-1.0, 2.0, 9.0])
    >>> select([x < 0, x < 5], [-x, x], default=5.0)
    array([1., 2., 5.])
    """
    if len(condlist) != len(choicelist) or not len(condlist):
        raise OpError(
            "np.select: expected as many choices as conditions, one at least; got "
            f"{len(condlist)} conditions, {len(choicelist)} choices"
        )
    found = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        dtype = data_of(as_array(condition)).dtype
        if dtype != np.bool_:
            raise OpError(
                f"np.select: expected conditions that are booleans; got dtype {dtype}"
            )
        found = ops.where(condition, choice, found)
    return found


def choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Array:
    """Elements of several arrays, at each place of that whose number is given.

    >>> choose([1, 0], [np.array([1.0, 2.0]), np.array([3.0, 4.0])])
    array([3., 2.])
    """
    refuse_out("np.choose", out)
    numbers = _whole("np.choose", a)
    arrays = [as_array(choices[i]) for i in range(len(choices))]
    numbers = _within("np.choose", numbers, len(arrays), mode)
    size = shapes.broadcast(numbers.shape, *[x.shape for x in arrays])
    if recording.current().trace is None:
        lowest = np.min(data_of(numbers), initial=0)
        if lowest < 0:
            raise OpError(f"np.choose: expected numbers from 0; got {lowest}")
    stacked = ops.stack(*[ops.broadcast_to(x, size) for x in arrays])
    numbers = ops.broadcast_to(numbers, size)
    places = at_places(numbers, (len(arrays), *size), 0)
    return picked(stacked, places)


def piecewise(
    x: Array, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any
) -> Array:
    """Values of several functions, each where its condition is true.

    Parameters
    ----------
    condlist
        Conditions; of several that are true the last counts.
    funclist
        A function of the elements for which its condition is true, or a number, for
        each condition; one more, for the rest. Where the condition is not true nothing
        is computed, so nothing there can spoil a gradient. In a compiled step each
        function is called with all elements instead.

    Examples
    --------
    >>> piecewise(np.array([-4.0, 9.0]), [np.array([False, True])], [np.sqrt, 0.0])
    array([0., 3.])
    """
    x = as_array(x)
    conditions = _conditions(x, condlist)
    count = len(conditions)
    functions: list[Callable[..., Any] | Any] = list(funclist)
    if len(functions) == count + 1:
        rest = conditions[0]
        for condition in conditions[1:]:
            rest = ops.logical_or(rest, condition)
        conditions.append(ops.logical_not(rest))
    elif len(functions) != count:
        raise OpError(
            f"np.piecewise: expected {count} or {count + 1} functions for {count} "
            f"conditions; got {len(functions)}"
        )
    dtype = data_of(x).dtype
    # Zeros that hang on x: what is constant everywhere has the gradient 0.
    found = ops.where(np.zeros(x.shape, bool), x, np.zeros((), dtype))
    for condition, function in zip(conditions, functions, strict=True):
        values = function
        if callable(function):
            values = _where_true(x, condition, function, args, kw)
            if values is None:
                continue
        found = ops.where(condition, in_dtype(as_array(values), dtype), found)
    return found


def _conditions(x: Any, condlist: Any) -> list[Any]:
    """Return the conditions; one alone needs no list around it."""
    several = np.ndim(data_of(condlist)) if not isinstance(condlist, list) else 1
    first = data_of(condlist[0]) if several else None
    if first is None or (
        np.ndim(first) == 0 and x.shape and not isinstance(first, list)
    ):
        condlist = [condlist]
    return [ops.not_equal(as_array(c), 0) for c in condlist]


def _where_true(
    x: Any, condition: Any, function: Callable[..., Any], args: Any, kw: Any
) -> Array | None:
    """Call a function with the elements that a condition chooses; spread its values."""
    if recording.current().trace is not None:
        return function(x, *args, **kw)
    chosen = np.broadcast_to(data_of(condition), x.shape)
    if not chosen.any():
        return None
    values = as_array(function(picked(x, chosen), *args, **kw))
    if not np.ndim(data_of(values)):
        return values
    return ops.scatter_add(values, chosen, x.shape)
