"""Differences, integrals and interpolation of samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import OpError, ShapeError, UnsupportedError
from tinygrad_nn.functional.arguments import as_array, axis_of, named_axes_of, shape_of
from tinygrad_nn.functional.places import as_result, in_dtype, picked
from tinygrad_nn.op import Array, Node, data_of

__all__ = [
    "diff",
    "ediff1d",
    "gradient",
    "interp",
    "trapezoid",
    "unwrap",
]


def _part(x: Array, axis: int, start: int | None, stop: int | None) -> Array:
    """Return a slice along an axis."""
    return picked(x, (slice(None),) * axis + (slice(start, stop),))


# --- differences and integrals -----------------------------------------------------


def diff(
    a: Array, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None
) -> Array:
    """Differences of neighbours along ``axis``, taken ``n`` times.

    Parameters
    ----------
    prepend, append
        What to put before and after, a number or an array.

    Examples
    --------
    >>> diff(np.array([1.0, 4.0, 9.0]))
    array([3., 5.])
    """
    if n == 0:
        return ops.getitem(as_array(a), ())
    if n < 0:
        raise OpError(f"np.diff: expected an order of at least 0; got n={n}")
    a = as_array(a)
    if not a.shape:
        raise ShapeError("np.diff: expected at least one axis; got a()")
    place = axis_of("np.diff", a, axis)
    parts = [
        a if part is a else _edge(part, a.shape, place)
        for part in (prepend, a, append)
        if part is not None
    ]
    if len(parts) > 1:
        a = ops.concatenate(*parts, axis=place)
    change = ops.not_equal if data_of(a).dtype == np.bool_ else ops.subtract
    for _ in range(n):
        a = change(_part(a, place, 1, None), _part(a, place, None, -1))
    return a


def _edge(part: Any, size: tuple[int, ...], axis: int) -> Array:
    part = as_array(part)
    if part.shape:
        return part
    return ops.broadcast_to(part, (*size[:axis], 1, *size[axis + 1 :]))


def ediff1d(ary: Array, to_end: Any = None, to_begin: Any = None) -> Array:
    """Differences of neighbours of the flattened array, with ends of one's own.

    >>> ediff1d(np.array([1.0, 4.0, 9.0]), to_end=[0.0, 7.0])
    array([3., 5., 0., 7.])
    """
    flat = ops.reshape(as_array(ary), (-1,))
    dtype = data_of(flat).dtype
    parts = [ops.subtract(_part(flat, 0, 1, None), _part(flat, 0, None, -1))]
    for name, end in (("to_begin", to_begin), ("to_end", to_end)):
        if end is None:
            continue
        end = ops.reshape(as_array(end), (-1,))  # noqa: PLW2901 (the same, in one axis)
        if not np.can_cast(data_of(end).dtype, dtype, "same_kind"):
            raise OpError(
                f"np.ediff1d: expected {name} of a dtype that casts to {dtype}; "
                f"got {data_of(end).dtype}"
            )
        end = in_dtype(end, dtype)  # noqa: PLW2901
        parts = [end, *parts] if name == "to_begin" else [*parts, end]
    return parts[0] if len(parts) == 1 else ops.concatenate(*parts, axis=0)


def gradient(f: Array, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Slopes of sampled values: central differences, one-sided ones at the edges.

    Parameters
    ----------
    f
        Values at the points of a grid.
    varargs
        Distances between the points: none for 1, a number for all axes, or for each
        axis a number or the positions. They may be Tensors.
    axis
        One, several, or None for all: the slopes along each.
    edge_order
        1 or 2: points in a one-sided difference, less one.

    Returns
    -------
    The slopes along the axis; a tuple, where there are several.

    Examples
    --------
    >>> gradient(np.array([1.0, 2.0, 4.0, 7.0]))
    array([1. , 1.5, 2.5, 3. ])
    """
    f = as_array(f)
    axes = named_axes_of("np.gradient", f, axis)
    steps = _distances(f.shape, axes, varargs)
    if edge_order not in (1, 2):
        raise OpError(f"np.gradient: edge_order is 1 or 2; got {edge_order!r}")
    if data_of(f).dtype.kind in "iub":
        f = ops.astype(f, np.dtype(np.float64))
    found = []
    for place, step in zip(axes, steps, strict=True):
        if f.shape[place] < edge_order + 1:
            raise ShapeError(
                f"np.gradient: expected at least {edge_order + 1} elements along axis "
                f"{place}; got f{f.shape}, edge_order={edge_order}"
            )
        found.append(_slopes(f, step, place, edge_order))
    return found[0] if len(found) == 1 else tuple(found)


def _distances(
    size: tuple[int, ...], axes: tuple[int, ...], given: tuple[Any, ...]
) -> list[Any]:
    """Return for each axis its step, or the distances between neighbours."""
    if not given:
        return [1.0] * len(axes)
    if len(given) == 1 and np.ndim(data_of(given[0])) == 0:
        return list(given) * len(axes)
    if len(given) != len(axes):
        raise OpError(
            "np.gradient: expected one distance, or one for each axis; "
            f"got {len(given)} for {len(axes)} axes"
        )
    return [
        step
        if np.ndim(data_of(step)) == 0
        else _between_positions(as_array(step), size[place])
        for step, place in zip(given, axes, strict=True)
    ]


def _between_positions(positions: Any, count: int) -> Any:
    if positions.shape != (count,):
        raise ShapeError(
            f"np.gradient: expected {count} positions, one for each point along the "
            f"axis; got {positions.shape}"
        )
    if data_of(positions).dtype.kind in "iub":
        positions = ops.astype(positions, np.dtype(np.float64))
    steps = diff(positions)
    if not isinstance(steps, Node) and np.all(steps == steps[:1]):
        return steps[0]
    return steps


def _slopes(f: Any, step: Any, axis: int, edge_order: int) -> Array:
    even = np.ndim(data_of(step)) == 0
    low, mid, high = (
        _part(f, axis, None, -2), _part(f, axis, 1, -1), _part(f, axis, 2, None),
    )  # fmt: skip
    if even:
        inner = (high - low) / (2.0 * step)
    else:
        size = (*[1] * axis, -1, *[1] * (len(f.shape) - 1 - axis))
        d1, d2 = (
            ops.reshape(d, size)
            for d in (_part(step, 0, None, -1), _part(step, 0, 1, None))
        )
        a = -d2 / (d1 * (d1 + d2))
        b = (d2 - d1) / (d1 * d2)
        c = d1 / (d2 * (d1 + d2))
        inner = a * low + b * mid + c * high
    first = _edge_slope(f, step, axis, edge_order, (0, 1, 2))
    last = _edge_slope(f, step, axis, edge_order, (-1, -2, -3))
    # Where the distances are Tensors of a larger dtype NumPy keeps that of the values.
    parts = [in_dtype(part, data_of(f).dtype) for part in (first, inner, last)]
    return ops.concatenate(*parts, axis=axis)


def _edge_slope(
    f: Any, step: Any, axis: int, edge_order: int, places: tuple[int, int, int]
) -> Array:
    """Return the one-sided slope at an edge, from there inwards."""
    here, near = (_part(f, axis, i, i + 1 or None) for i in places[:2])
    forwards = places[0] == 0
    even = np.ndim(data_of(step)) == 0
    d1 = step if even else picked(step, 0 if forwards else -1)
    if edge_order == 1:
        return (near - here) / d1 if forwards else (here - near) / d1
    far = _part(f, axis, places[2], places[2] + 1 or None)
    d2 = step if even else picked(step, 1 if forwards else -2)
    sign = 1.0 if forwards else -1.0
    a = -sign * (2.0 * d1 + d2) / (d1 * (d1 + d2))
    b = sign * (d1 + d2) / (d1 * d2)
    c = -sign * d1 / (d2 * (d1 + d2))
    return a * here + b * near + c * far


def trapezoid(y: Array, x: Array | None = None, dx: Any = 1.0, axis: int = -1) -> Array:
    """Integral of sampled values along ``axis``, by the trapezoidal rule.

    Parameters
    ----------
    x
        Positions of the samples: in one axis, or in the shape of ``y``.
    dx
        Distance of the samples where no positions are given.

    Examples
    --------
    >>> trapezoid(np.array([1.0, 2.0, 3.0]))
    np.float64(4.0)
    """
    y = as_array(y)
    if not y.shape:
        raise ShapeError("np.trapezoid: expected at least one axis; got y()")
    place = axis_of("np.trapezoid", y, axis)
    steps = dx
    if x is not None:
        x = as_array(x)
        if len(shape_of(x)) == 1:
            size = (*[1] * place, -1, *[1] * (len(y.shape) - 1 - place))
            steps = ops.reshape(diff(x), size)
        else:
            steps = diff(x, axis=axis)
    pairs = _part(y, place, 1, None) + _part(y, place, None, -1)
    return ops.sum(steps * pairs / 2.0, axis)


# --- interpolation -----------------------------------------------------------------


def interp(
    x: Array,
    xp: Array,
    fp: Array,
    left: Any = None,
    right: Any = None,
    period: Any = None,
) -> Array:
    """Values between the points ``(xp, fp)`` at the positions ``x``, in float64.

    Parameters
    ----------
    xp, fp
        Positions, in ascending order, and values; both have gradients.
    left, right
        Values before the first position and after the last; by default those there.
    period
        Of a periodic function, whose positions need no order then.

    Notes
    -----
    At a position, where two pieces meet, the slope in ``x`` is the one of least norm,
    as at every kink; outside of the positions the value is constant. So
    ``interp(x, [0, 6], [0, 6])`` is ``clip(x, 0, 6)``, in its gradient too.

    Examples
    --------
    >>> interp(np.array([0.5, 3.0]), np.array([0.0, 1.0]), np.array([2.0, 4.0]))
    array([3., 4.])
    """
    x, xp, fp = (in_dtype(as_array(v), np.float64) for v in (x, xp, fp))
    size, other = shape_of(xp), shape_of(fp)
    if len(size) != 1 or size != other or not size[0]:
        raise ShapeError(
            "np.interp: expected one axis of positions and as many values; "
            f"got xp{size}, fp{other}"
        )
    if period is not None:
        x, xp, fp = _once_around(x, xp, fp, period)
        left = right = None
    n = shape_of(xp)[0]
    first, last = picked(fp, 0), picked(fp, n - 1)
    found = ops.where(ops.isnan(x), x, first) if n == 1 else _on_pieces(x, xp, fp)
    start, end = picked(xp, 0), picked(xp, n - 1)
    found = ops.where(ops.greater_equal(x, end), last, found)
    found = ops.where(ops.less(x, start), first if left is None else left, found)
    found = ops.where(ops.greater(x, end), last if right is None else right, found)
    return as_result(found)


def _on_pieces(x: Array, xp: Array, fp: Array) -> Array:
    """Return the value on the piece that begins at or before each position."""
    n = shape_of(xp)[0]
    place = ops.searchsorted(xp, x, "right") - 1
    place = ops.minimum(ops.maximum(place, 0), n - 2)
    low, high = picked(xp, place), picked(xp, place + 1)
    before, after = picked(fp, place), picked(fp, place + 1)
    behind = ops.maximum(place - 1, 0)
    inside = ops.greater(place, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (after - before) / (high - low)
        width = ops.where(inside, low - picked(xp, behind), 1.0)
        other = ops.where(inside, (before - picked(fp, behind)) / width, 0.0)
        met = ops.equal(x, low)
        slope = ops.where(met, _least(other, slope), slope)
        found = slope * (x - low) + before
        # Between infinities: from the other end, as NumPy does.
        other = slope * (x - high) + after
    still = ops.logical_or(met, ops.equal(before, after))
    other = ops.where(still, before, other)
    unclear = ops.logical_and(ops.isnan(found), ops.equal(x, x))
    return ops.where(unclear, other, found)


def _least(x: Array, y: Array) -> Array:
    """Return the number nearest to zero between two numbers."""
    nearer = ops.where(ops.less(ops.abs(x), ops.abs(y)), x, y)
    return ops.where(ops.less_equal(ops.sign(x) * ops.sign(y), 0), 0.0, nearer)


def _once_around(x: Array, xp: Array, fp: Array, period: Any) -> tuple[Any, Any, Any]:
    """Bring positions into one period, in order, with one more point at either end."""
    if isinstance(period, Node):
        raise UnsupportedError(
            "np.interp: period is constant; got a Tensor, whose gradient would be "
            "dropped. Use period.item()"
        )
    period = abs(period)
    if period == 0:
        raise OpError("np.interp: period is not zero; got 0")
    x, xp = ops.remainder(x, period), ops.remainder(xp, period)
    order = ops.argsort(xp)
    xp, fp = picked(xp, order), picked(fp, order)
    xp = ops.concatenate(
        _part(xp, 0, -1, None) - period, xp, _part(xp, 0, 0, 1) + period, axis=0
    )
    fp = ops.concatenate(_part(fp, 0, -1, None), fp, _part(fp, 0, 0, 1), axis=0)
    return x, xp, fp


def unwrap(
    p: Array, discont: Any = None, axis: int = -1, *, period: float = 2 * np.pi
) -> Array:
    """Angles without their jumps: multiples of the period are added, a constant.

    >>> unwrap(np.array([3.0, -3.0])).round(3)
    array([3.   , 3.283])
    """
    p = as_array(p)
    if not p.shape:
        raise ShapeError("np.unwrap: expected at least one axis; got p()")
    return ops.unwrap(p, discont, axis, period)
