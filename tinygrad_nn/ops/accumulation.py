"""Running results along an axis: each element comes of all before it.

None of the rules divides by an operand, so zeros do no harm, to any order. What they
share is the linear recurrence, whose transpose is the same recurrence backwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import shapes
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.op import Array, primitive
from tinygrad_nn.ops.comparison import equal
from tinygrad_nn.ops.elementwise import abs, astype, exp, signed
from tinygrad_nn.ops.indexing import getitem
from tinygrad_nn.ops.movement import concatenate
from tinygrad_nn.ops.samples import cases
from tinygrad_nn.ops.selection import where
from tinygrad_nn.shapes import Shape

__all__ = ["cummax", "cummin", "cumprod", "logcumsumexp", "recurrence"]

_ALONG: tuple[tuple[Any, ...], ...] = (
    ((4,), {}),
    ((2, 3), {}),
    ((3, 2), {"axis": 0}),
    ((2, 3, 2), {"axis": -2}),
    ((1,), {}),
    ((0,), {}),
    ((2, 0), {"axis": 1}),
    ((0, 2), {"axis": 1}),
)
_WRONG = cases(((2, 3), {"axis": 2}), ((2,), {"axis": -2}))


def _along(size: Shape, *, axis: int = -1) -> Shape:
    shapes.normalize_axes(len(size), axis)
    return size


def _along_both(
    x: Shape,
    y: Shape,
    *,
    axis: int = -1,
    reverse: bool = False,  # noqa: ARG001 (a setting of the op)
) -> Shape:
    if x != y:
        raise ShapeError("expected operands of one shape")
    return _along(x, axis=axis)


def _delayed(x: Array, axis: int, first: float) -> Array:
    """Return what was one place before, and ``first`` before the first."""
    size = np.shape(x)
    place = axis % len(size)
    if not size[place]:
        return x
    edge = np.full((*size[:place], 1, *size[place + 1 :]), first, x.dtype)
    rest = getitem(x, (slice(None),) * place + (slice(None, -1),))
    return concatenate(edge, rest, axis=place)


def _first_back(
    g: Array, out: Array, x: Array, _y: Array, axis: int, reverse: bool
) -> Array:
    pulled = recurrence(x, g, axis, not reverse)
    if reverse:
        return _delayed(pulled, axis, 0.0) * out
    return pulled * _delayed(out, axis, 0.0)


@primitive(
    kind="reduction",
    formula=r"\mathrm{recurrence}($x, $y)",
    shape=_along_both,
    vjp=(
        _first_back,
        lambda g, _out, x, _y, axis, reverse: recurrence(x, g, axis, not reverse),
    ),
    samples=cases(
        *[
            (size, size, {**settings, "reverse": reverse})
            for size, settings in _ALONG[2:6]
            for reverse in (False, True)
        ],
        ((4,), (4,), {}),
    ),
    refuses=cases(((2,), (3,), {}), ((2,), (2,), {"axis": 1})),
)
def recurrence(x: Array, y: Array, axis: int = -1, reverse: bool = False) -> Array:
    """Linear recurrence along an axis: ``out[i] = x[i] out[i-1] + y[i]``.

    Backwards, which is its transpose: ``out[i] = x[i+1] out[i+1] + y[i]``.

    >>> recurrence(np.array([9.0, 2.0, 3.0]), np.array([1.0, 1.0, 1.0]))
    array([ 1.,  3., 10.])
    >>> recurrence(np.array([9.0, 2.0, 3.0]), np.array([1.0, 1.0, 1.0]), reverse=True)
    array([9., 4., 1.])
    """
    factors, terms = np.moveaxis(x, axis, 0), np.moveaxis(y, axis, 0)
    if reverse:
        factors = np.roll(factors[::-1], 1, axis=0)
        terms = terms[::-1]
    out = np.array(terms, np.result_type(factors, terms))
    for i in range(1, len(out)):
        out[i] += factors[i] * out[i - 1]
    return np.moveaxis(out[::-1] if reverse else out, 0, axis)


@primitive(
    kind="reduction",
    formula=r"\mathrm{cumprod}($x)",
    shape=_along,
    # The product before an element, times what all later ones make of it.
    vjp=lambda g, out, x, axis: _delayed(out, axis, 1.0) * recurrence(x, g, axis, True),
    samples=cases(*_ALONG),
    refuses=_WRONG,
)
def cumprod(x: Array, axis: int = -1) -> Array:
    """Running product along ``axis``; its gradient is right with zeros.

    >>> cumprod(np.array([2.0, 3.0, 4.0]))
    array([ 2.,  6., 24.])
    """
    return np.cumprod(x, axis)


def _to_records(g: Array, out: Array, x: Array, axis: int) -> Array:
    """Ties share equally: the subgradient of least norm, as that of `max`.

    In a run of equal results those elements share that are equal to it.
    """
    same = astype(equal(out, _delayed(out, axis, np.nan)), g.dtype)
    hit = equal(x, out)
    count = recurrence(same, astype(hit, g.dtype), axis)
    count = where(equal(count, 0), 1.0, count)  # none, where it is nan
    return where(hit, recurrence(same, g / count, axis, True), 0.0)


@primitive(
    # Each share is a sum of g's elements with weights above 0: that tells the paths.
    kind="indexing",
    formula=r"\mathrm{cummax}($x)",
    shape=_along,
    vjp=_to_records,
    samples=cases(*_ALONG),
    refuses=_WRONG,
)
def cummax(x: Array, axis: int = -1) -> Array:
    """Largest element so far along ``axis``; ties so far share its gradient equally.

    >>> cummax(np.array([1.0, 3.0, 2.0]))
    array([1., 3., 3.])
    """
    return np.maximum.accumulate(x, axis)


@primitive(
    kind="indexing",
    formula=r"\mathrm{cummin}($x)",
    shape=_along,
    vjp=_to_records,
    samples=cases(*_ALONG),
    refuses=_WRONG,
)
def cummin(x: Array, axis: int = -1) -> Array:
    """Smallest element so far along ``axis``; ties so far share its gradient equally.

    >>> cummin(np.array([3.0, 1.0, 2.0]))
    array([3., 1., 1.])
    """
    return np.minimum.accumulate(x, axis)


def _softly_back(g: Array, _out: Array, x: Array, axis: int) -> Array:
    """Shares e^(x_i - out_k) of all g_k with k >= i, of sums with weights up to one.

    Of infinities, where the shares would be nan, all that are equal have the same.
    """
    top = cummax(x, axis)
    before = _delayed(top, axis, -np.inf)
    infinite = equal(abs(top), np.inf)
    level = where(infinite, 0.0, top)
    weight = exp(where(infinite, 0.0, x) - level)
    weight = where(infinite, equal(x, top), weight)
    fading = exp(where(infinite, 0.0, before) - level)
    fading = where(infinite, equal(top, before), fading)
    return weight * recurrence(fading, g / recurrence(fading, weight, axis), axis, True)


@primitive(
    kind="reduction",
    formula=r"\mathrm{logcumsumexp}($x)",
    shape=_along,
    vjp=_softly_back,
    samples=cases(*_ALONG),
    refuses=_WRONG,
    exact=lambda x, axis: np.log(np.add.accumulate(np.exp(x), axis)),
)
def logcumsumexp(x: Array, axis: int = -1) -> Array:
    """Logarithm of the running sum of exponentials along ``axis``, without overflow.

    >>> logcumsumexp(np.array([1000.0, 1000.0]))
    array([1000.        , 1000.69314718])
    """
    x = np.moveaxis(signed(x), axis, 0)
    top = np.maximum.accumulate(x, axis=0)
    now, before = top[1:], top[:-1]
    # All weights are of the largest element so far: their sum is 1 + rest. Infinities
    # weigh nothing; what they leave as the logarithm is the largest itself.
    infinite = np.abs(now) == np.inf
    level = np.where(infinite, 0.0, now)
    fading = np.exp(np.where(infinite, 0.0, before) - level)
    added = np.exp(np.where(infinite, 0.0, np.minimum(x[1:], before)) - level)
    rest = recurrence(fading, added, 0)
    return np.moveaxis(np.concatenate([x[:1], now + np.log1p(rest)]), 0, axis)
