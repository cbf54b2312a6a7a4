"""Windows that slide over the last axes, and the sum that puts them back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_nn.errors import ShapeError
from tinygrad_nn.op import Array, primitive
from tinygrad_nn.ops.samples import cases
from tinygrad_nn.shapes import Shape

__all__ = ["overlap_add", "windows"]


def _counts(
    size: Shape, window: Shape, stride: Sequence[int], dilation: Sequence[int]
) -> Shape:
    """How many windows fit along each of the last axes."""
    if len(size) < len(window):
        raise ShapeError(
            f"expected at least {len(window)} axes for a window of size {window}"
        )
    for what, numbers in (("size", window), ("stride", stride), ("dilation", dilation)):
        if len(numbers) != len(window) or min(numbers, default=1) < 1:
            raise ShapeError(
                f"expected a {what} of {len(window)} numbers, each at least 1; "
                f"wanted {tuple(numbers)}"
            )
    counts = []
    lengths = size[len(size) - len(window) :]
    for length, width, step, gap in zip(lengths, window, stride, dilation, strict=True):
        reach = (width - 1) * gap + 1
        if reach > length:
            raise ShapeError(
                f"expected at least {reach} elements along an axis for a window of "
                f"size {width} and dilation {gap}; there are {length}"
            )
        counts.append((length - reach) // step + 1)
    return tuple(counts)


def _places(
    counts: Shape, size: Shape, stride: Sequence[int], dilation: Sequence[int]
) -> list[tuple[Any, ...]]:
    """Where the elements at each position of all windows lie: one slice an axis."""
    ranges = [range(0, n * gap, gap) for n, gap in zip(size, dilation, strict=True)]
    steps = list(zip(counts, stride, strict=True))
    return [
        (
            ...,
            *(
                slice(first, first + (count - 1) * step + 1, step)
                for first, (count, step) in zip(starts, steps, strict=True)
            ),
        )
        for starts in itertools.product(*ranges)
    ]


def _ones(size: Any, given: Any) -> Shape:
    return tuple(given) if given else (1,) * len(size)


def _windowed(
    shape: Shape, *, size: Any = (), stride: Any = (), dilation: Any = ()
) -> Shape:
    counts = _counts(shape, tuple(size), _ones(size, stride), _ones(size, dilation))
    return (*size, *shape[: len(shape) - len(counts)], *counts)


def _added(
    given: Shape,
    *,
    size: Any = (),
    stride: Any = (),
    dilation: Any = (),
    shape: Any = (),
) -> Shape:
    wanted = _windowed(tuple(shape), size=size, stride=stride, dilation=dilation)
    if given != wanted:
        raise ShapeError(f"expected the windows of {tuple(shape)}, of shape {wanted}")
    return tuple(shape)


@primitive(
    kind="indexing",
    formula=r"\mathrm{windows}_{$size}($x)",
    shape=_windowed,
    vjp=lambda g, _out, _x, size, stride, dilation: overlap_add(
        g, size=size, stride=stride, dilation=dilation, shape=np.shape(_x)
    ),
    samples=cases(
        ((4,), {"size": (2,)}),
        ((2, 5), {"size": (2,), "stride": (2,)}),
        ((4, 5), {"size": (2, 3), "stride": (2, 1)}),
        ((5, 4), {"size": (2, 2), "dilation": (3, 1)}),
        ((2, 3), {"size": ()}),
        ((0, 3), {"size": (2,)}),
    ),
    refuses=cases(
        ((3,), {"size": (4,)}),
        ((3,), {"size": (2, 2)}),
        ((3,), {"size": (0,)}),
        ((3,), {"size": (2,), "stride": (1, 1)}),
    ),
)
def windows(x: Array, size: Any = (), stride: Any = (), dilation: Any = ()) -> Array:
    """Every window of a size over the last axes: ``(*size, …, *counts)``.

    ``result[i, j, …, r, s]`` is ``x[…, r * stride + i * dilation, …]``: the position
    inside the window comes first, so that all elements at one position lie together.
    A copy; what a last stride does not reach is left out.

    >>> windows(np.array([1.0, 2.0, 3.0, 4.0]), size=(2,))
    array([[1., 2., 3.],
           [2., 3., 4.]])
    """
    stride, dilation = _ones(size, stride), _ones(size, dilation)
    shape = np.shape(x)
    counts = _counts(shape, tuple(size), stride, dilation)
    parts = [x[index] for index in _places(counts, tuple(size), stride, dilation)]
    lead = shape[: len(shape) - len(counts)]
    return np.reshape(np.stack(parts), (*size, *lead, *counts))


@primitive(
    kind="indexing",
    formula=r"\mathrm{overlap}_{$size}($x)",
    shape=_added,
    vjp=lambda g, _out, _x, size, stride, dilation, **_: windows(
        g, size=size, stride=stride, dilation=dilation
    ),
    samples=cases(
        ((2, 3), {"size": (2,), "shape": (4,)}),
        ((2, 3, 2), {"size": (2,), "stride": (2,), "shape": (3, 5)}),
        ((2, 2, 1, 2), {"size": (2, 2), "dilation": (2, 1), "shape": (3, 3)}),
        ((2, 0, 2), {"size": (2,), "shape": (0, 3)}),
    ),
    refuses=cases(((2, 3), {"size": (2,), "shape": (5,)})),
)
def overlap_add(
    x: Array,
    size: Any = (),
    stride: Any = (),
    dilation: Any = (),
    shape: Any = (),
) -> Array:
    """Windows added up where they came from: the transpose of `windows`.

    >>> overlap_add(np.ones((2, 3)), size=(2,), shape=(4,))
    array([1., 2., 2., 1.])
    """
    stride, dilation = _ones(size, stride), _ones(size, dilation)
    counts = _counts(tuple(shape), tuple(size), stride, dilation)
    places = _places(counts, tuple(size), stride, dilation)
    parts = np.reshape(x, (math.prod(size), *np.shape(x)[len(size) :]))
    out = np.zeros(shape, parts.dtype)
    for index, part in zip(places, parts, strict=True):
        if hasattr(out, "at"):  # JAX's arrays are not written to
            out = out.at[index].add(part)
        else:
            out[index] += part
    return out
