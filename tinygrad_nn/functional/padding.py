"""Edges added around an array, in all of NumPy's modes but two.

NumPy fills the edges of one axis after the other, and the next axis takes what the
last has filled for its own. So here: each axis is a join of what comes before, the
array so far, and what comes after.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import OpError, ShapeError, UnsupportedError
from tinygrad_nn.functional.arguments import as_array
from tinygrad_nn.functional.building import linspace
from tinygrad_nn.functional.movement import squeeze
from tinygrad_nn.functional.quantiles import median as _median
from tinygrad_nn.functional.reductions import max as _max
from tinygrad_nn.functional.reductions import mean as _mean
from tinygrad_nn.functional.reductions import min as _min
from tinygrad_nn.op import Array, Node, data_of
from tinygrad_nn.ops import getitem

__all__ = ["pad"]

_OPTIONS: Mapping[str, tuple[str, Any] | None] = {
    "constant": ("constant_values", 0),
    "edge": None,
    "linear_ramp": ("end_values", 0),
    "maximum": ("stat_length", None),
    "mean": ("stat_length", None),
    "median": ("stat_length", None),
    "minimum": ("stat_length", None),
    "reflect": ("reflect_type", "even"),
    "symmetric": ("reflect_type", "even"),
    "wrap": None,
}
"""The option that each mode has, and its default."""

Widths = tuple[int, int]
Edges = tuple[Any, Any]


def pad(array: Array, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Array:
    """Array with edges added around it.

    Parameters
    ----------
    array
        Of any shape.
    pad_width
        How many elements come before and after, along each axis: ``(before, after)``
        for each, one pair or one number for all, or a dict of axes.
    mode
        ``"constant"`` (``constant_values=0``), ``"edge"``, ``"linear_ramp"``
        (``end_values=0``), ``"maximum"``, ``"mean"``, ``"median"``, ``"minimum"``
        (``stat_length=None``), ``"reflect"``, ``"symmetric"``
        (``reflect_type="even"`` or ``"odd"``), ``"wrap"``.
    kwargs
        The option of the mode. Values may be Tensors, and have a gradient then.

    Raises
    ------
    UnsupportedError
        For the mode ``"empty"``, and for functions, which write in place.
    ShapeError
        For widths that do not fit, and where an empty axis has nothing to repeat.

    Examples
    --------
    >>> pad(np.array([1.0, 2.0, 3.0]), (2, 1), mode="reflect")
    array([3., 2., 1., 2., 3., 2.])
    >>> pad(np.array([1.0, 2.0]), 1, constant_values=9.0)
    array([9., 1., 2., 9.])
    """
    array = as_array(array)
    option = _option(mode, kwargs)
    rank = len(array.shape)
    widths = _widths(pad_width, rank)
    if mode == "constant" and _is_zero(option):
        return _zeros_around(array, widths)
    if mode in ("constant", "linear_ramp"):
        pairs = _pairs(option, rank)
    elif "stat_length" in (_OPTIONS[mode] or ()):
        pairs = _lengths(option, rank)
    else:
        pairs = [(option, option)] * rank
    if mode != "constant":
        _refuse_empty(array.shape, widths, mode)
        if math.prod(array.shape) == 0:
            return _zeros_around(array, widths)
    edges = _EDGES[mode]
    for axis, (width, pair) in enumerate(zip(widths, pairs, strict=True)):
        if any(width):
            before, after = edges(array, axis, width, pair)
            array = ops.concatenate(before, array, after, axis=axis)
    return array if any(map(any, widths)) else ops.astype(array)


# --- arguments -------------------------------------------------------------------


def _option(mode: Any, given: Mapping[str, Any]) -> Any:
    if callable(mode) or mode == "empty":
        what = "a function, which writes in place" if callable(mode) else "'empty'"
        raise UnsupportedError(
            f"pad: a mode is one of {list(_OPTIONS)}; got {what}. Make the edges with "
            "ops, and join them with tg.concatenate"
        )
    if not isinstance(mode, str) or mode not in _OPTIONS:
        raise OpError(f"pad: a mode is one of {list(_OPTIONS)}; got {mode!r}")
    name, default = _OPTIONS[mode] or ("", None)
    for key in given:
        if key != name:
            raise OpError(
                f"pad: the mode {mode!r} has {f'the option {name}=' if name else ''}"
                f"{'' if name else 'no option'}; got {key}="
            )
    value = given.get(name, default)
    if name == "reflect_type" and value not in ("even", "odd"):
        raise OpError(f"pad: reflect_type is 'even' or 'odd'; got {value!r}")
    return value


def _widths(given: Any, rank: int) -> list[Widths]:
    """Return how many elements come before and after, for each axis."""
    if isinstance(given, dict):
        widths: list[Any] = [(0, 0)] * rank
        for axis, width in given.items():
            if not -rank <= axis < rank:
                raise ShapeError(f"pad: axis {axis} is out of range for {rank} axes")
            widths[axis] = (width, width) if np.ndim(width) == 0 else tuple(width)
        given = widths
    numbers = np.asarray(given)
    if numbers.dtype.kind not in "iu" and numbers.size:
        raise OpError(f"pad: pad_width is made of integers; got {given!r}")
    try:
        pairs = np.broadcast_to(numbers, (rank, 2)) if rank else np.zeros((0, 2), int)
    except ValueError:
        raise ShapeError(
            f"pad: expected pad_width (before, after) for each of {rank} axes, or for "
            f"all; got {given!r}"
        ) from None
    if pairs.size and pairs.min() < 0:
        raise ShapeError(f"pad: expected widths of at least 0; got {given!r}")
    return [(int(before), int(after)) for before, after in pairs]


def _pairs(given: Any, rank: int) -> list[Edges]:
    """Return the values at both sides of each axis; Tensors may be among them."""
    values = as_array(given)
    size = values.shape
    if len(size) > 2 or any(
        n not in (1, wanted)
        for n, wanted in zip(size[::-1], (2, rank))  # noqa: B905
    ):
        raise ShapeError(
            f"pad: expected values (before, after) for each of {rank} axes, or for "
            f"all; got shape {size}"
        )
    # Of one or two NumPy makes arrays, which keep their dtype; of more, bare numbers.
    exact = values.size <= 2 and size != (2, 1)
    values = ops.broadcast_to(values, (rank, 2))
    if not (exact or isinstance(values, Node)):
        return [tuple(pair) for pair in values.tolist()]
    return [
        (getitem(values, (axis, 0)), getitem(values, (axis, 1))) for axis in range(rank)
    ]


def _is_zero(given: Any) -> bool:
    """Whether edges are filled with the number 0, the usual case."""
    return isinstance(given, (int, float)) and given == 0 and not np.signbit(given)


def _lengths(given: Any, rank: int) -> list[Edges]:
    """Return of how many elements a statistic is taken; None: of all."""
    pairs = np.broadcast_to(np.asarray(given, object), (rank, 2))
    for length in pairs.flat:
        if length is not None and length < 0:
            raise ShapeError(
                f"pad: expected a stat_length of at least 0; got {given!r}"
            )
    return [tuple(None if n is None else round(n) for n in pair) for pair in pairs]  # type: ignore[misc]


def _refuse_empty(size: tuple[int, ...], widths: list[Widths], mode: str) -> None:
    for axis, (n, width) in enumerate(zip(size, widths, strict=True)):
        if n == 0 and any(width):
            raise ShapeError(
                f"pad: expected elements along axis {axis} to fill its edges with; got "
                f"array{size}. Use mode='constant' instead of {mode!r}"
            )


# --- what comes before and after along an axis ------------------------------------


def _at(x: Any, axis: int, where: Any) -> Any:
    return getitem(x, (*(slice(None),) * axis, where))


def _zeros_around(array: Any, widths: list[Widths]) -> Any:
    """Return the array put into zeros: one copy, and a slice back."""
    inner = tuple(
        slice(before, before + n)
        for (before, _), n in zip(widths, array.shape, strict=True)
    )
    outer = tuple(
        before + n + after
        for (before, after), n in zip(widths, array.shape, strict=True)
    )
    return ops.scatter_add(array, inner, outer)


def _filled(x: Any, axis: int, width: int, value: Any) -> Any:
    """Return one value, or one slice of ``x``, repeated along an axis."""
    size = (*x.shape[:axis], width, *x.shape[axis + 1 :])
    if not isinstance(value, Node):
        value = np.asarray(value, x.dtype)
    elif data_of(value).dtype != x.dtype:
        value = ops.astype(value, x.dtype)
    return ops.broadcast_to(value, size)


def _constants(x: Any, axis: int, width: Widths, pair: Edges) -> Edges:
    before, after = (_filled(x, axis, n, v) for n, v in zip(width, pair, strict=True))
    return before, after


def _ends(x: Any, axis: int, width: Widths, _pair: Edges) -> Edges:
    n = x.shape[axis]
    first, last = _at(x, axis, slice(0, 1)), _at(x, axis, slice(n - 1, n))
    return _constants(x, axis, width, (first, last))


def _ramps(x: Any, axis: int, width: Widths, pair: Edges) -> Edges:
    n = x.shape[axis]
    places = slice(0, 1), slice(n - 1, n)
    before, after = (
        linspace(
            end,
            squeeze(_at(x, axis, place), axis),
            count,
            endpoint=False,
            dtype=x.dtype,
            axis=axis,
        )
        for end, place, count in zip(pair, places, width, strict=True)
    )
    return before, _at(after, axis, slice(None, None, -1))


def _statistics(compute: Callable[..., Any]) -> Callable[..., Edges]:
    def edges(x: Any, axis: int, width: Widths, pair: Edges) -> Edges:
        n = x.shape[axis]
        left, right = (n if k is None else min(k, n) for k in pair)
        if 0 in (left, right) and compute in (_max, _min):
            raise ShapeError("pad: expected a stat_length of at least 1; got 0")
        first = compute(_at(x, axis, slice(0, left)), axis=axis, keepdims=True)
        last = first
        if not left == right == n:
            chunk = _at(x, axis, slice(n - right, n))
            last = compute(chunk, axis=axis, keepdims=True)
        return _constants(x, axis, width, (_whole(first, x), _whole(last, x)))

    return edges


def _whole(value: Any, x: Any) -> Any:
    """Round the mean of integers, as NumPy does before it stores one."""
    if x.dtype.kind in "iu" and value.dtype.kind == "f":
        return ops.rint(value)
    return value


def _wrapped(x: Any, axis: int, width: Widths, _pair: Edges) -> Edges:
    n = x.shape[axis]
    places = np.arange(-width[0], n + width[1]) % n
    return _gathered(x, axis, width, places)


def _gathered(x: Any, axis: int, width: Widths, places: Any) -> Edges:
    """Return elements at places along an axis; where they run on, as slices."""
    before, after = places[: width[0]], places[len(places) - width[1] :]
    return _run(x, axis, before), _run(x, axis, after)


def _run(x: Any, axis: int, places: Any) -> Any:
    steps = np.diff(places)
    if places.size == 0:
        return _at(x, axis, slice(0, 0))
    if np.all(steps == 1):
        return _at(x, axis, slice(int(places[0]), int(places[-1]) + 1))
    if np.all(steps == -1):
        stop = int(places[-1]) - 1
        return _at(x, axis, slice(int(places[0]), None if stop < 0 else stop, -1))
    return _at(x, axis, places)


def _mirrored(*, edge: bool) -> Callable[..., Edges]:
    """Return how to mirror at the first and last element, or at the edge itself."""

    def edges(x: Any, axis: int, width: Widths, pair: Edges) -> Edges:
        n = x.shape[axis]
        if n == 1:  # NumPy repeats what it cannot mirror
            return _ends(x, axis, width, pair)
        if pair[0] == "odd":
            return _turned(x, axis, width, edge)
        mirrored = np.pad(np.arange(n), width, "symmetric" if edge else "reflect")
        return _gathered(x, axis, width, mirrored)

    return edges


def _turned(x: Any, axis: int, width: Widths, edge: bool) -> Edges:
    """Mirror and turn over: ``2 * end - x``, again and again until it suffices.

    Each turn takes no more than whole periods of what is there, as NumPy does.
    """
    n = x.shape[axis]
    period, skip = (n, 0) if edge else (n - 1, 1)
    whole, missing = x, list(width)
    left = right = 0
    while any(missing):
        have = whole.shape[axis]
        chunk = (have - skip) // period * period
        if missing[0]:
            take = min(chunk, missing[0])
            piece = _at(whole, axis, slice(skip, skip + take))
            first = _over(piece, _at(whole, axis, slice(0, 1)), axis)
            missing[0] -= take
            left += take
            whole = ops.concatenate(first, whole, axis=axis)
        if missing[1]:
            take = min(chunk, missing[1])
            size = whole.shape[axis]
            piece = _at(whole, axis, slice(size - skip - take, size - skip))
            last = _over(piece, _at(whole, axis, slice(size - 1, size)), axis)
            missing[1] -= take
            right += take
            whole = ops.concatenate(whole, last, axis=axis)
    end = whole.shape[axis]
    return _at(whole, axis, slice(0, left)), _at(whole, axis, slice(end - right, end))


def _over(piece: Any, end: Any, axis: int) -> Any:
    turned = 2 * end - _at(piece, axis, slice(None, None, -1))
    return turned if turned.dtype == end.dtype else ops.astype(turned, end.dtype)


_EDGES: Mapping[str, Callable[..., Edges]] = {
    "constant": _constants,
    "edge": _ends,
    "linear_ramp": _ramps,
    "maximum": _statistics(_max),
    "mean": _statistics(_mean),
    "median": _statistics(_median),
    "minimum": _statistics(_min),
    "reflect": _mirrored(edge=False),
    "symmetric": _mirrored(edge=True),
    "wrap": _wrapped,
}
