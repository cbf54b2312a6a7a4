"""Pooling: one number for each window, its largest element or its mean.

Layout as of convolutions: examples, channels, then what is slid along.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import OpError, ShapeError
from tinygrad_nn.functional.arguments import as_array, shape_of
from tinygrad_nn.functional.sliding import AXES, Margins, fits, margins, numbers, padded
from tinygrad_nn.op import Array
from tinygrad_nn.shapes import Shape

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "global_avg_pool",
    "max_pool1d",
    "max_pool2d",
]


def max_pool1d(
    x: Array, size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1
) -> Array:
    """Largest element of each window along one axis; see `max_pool2d`.

    >>> max_pool1d(np.array([[[1.0, 3.0, 2.0, 5.0]]]), 2)
    array([[[3., 5.]]])
    """
    return _max_pooled("max_pool1d", 1, x, size, stride, padding, dilation)


def max_pool2d(
    x: Array, size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1
) -> Array:
    """Largest element of each window of images.

    Elements that tie for the largest share the gradient equally, as those of `max`.

    Parameters
    ----------
    x
        Of shape ``(n, c, h, w)``.
    size
        Of a window: a number, or one for each axis.
    stride
        How far apart windows begin; by default ``size``, so that they do not overlap.
    padding
        As of `conv2d`; what is added is never the largest, and has no gradient.
    dilation
        Distance of the elements in a window.

    Returns
    -------
    Array
        Of shape ``(n, c, rows, columns)``, with ``(h + padding - dilation * (size - 1)
        - 1) // stride + 1`` rows: what a last window does not reach is left out.

    Raises
    ------
    ShapeError
        For other shapes, for windows larger than the input, and for padding that
        makes windows of nothing but padding.
    OpError
        For settings that are no such numbers.

    Examples
    --------
    >>> max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    return _max_pooled("max_pool2d", 2, x, size, stride, padding, dilation)


def avg_pool1d(
    x: Array,
    size: Any,
    stride: Any = None,
    padding: Any = 0,
    count_include_pad: bool = True,
) -> Array:
    """Mean of each window along one axis; see `avg_pool2d`.

    >>> avg_pool1d(np.array([[[1.0, 3.0, 2.0, 6.0]]]), 2)
    array([[[2., 4.]]])
    """
    return _mean_pooled("avg_pool1d", 1, x, size, stride, padding, count_include_pad)


def avg_pool2d(
    x: Array,
    size: Any,
    stride: Any = None,
    padding: Any = 0,
    count_include_pad: bool = True,
) -> Array:
    """Mean of each window of images.

    Parameters
    ----------
    x
        Of shape ``(n, c, h, w)``.
    size, stride, padding
        As of `max_pool2d`; what is added are zeros.
    count_include_pad
        Whether these zeros count as elements of the mean.

    Returns
    -------
    Array
        Of shape ``(n, c, rows, columns)``.

    Raises
    ------
    ShapeError, OpError
        As of `max_pool2d`.

    Examples
    --------
    >>> avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    return _mean_pooled("avg_pool2d", 2, x, size, stride, padding, count_include_pad)


def adaptive_avg_pool1d(x: Array, output_size: Any) -> Array:
    """Means of so many parts of the last axis; see `adaptive_avg_pool2d`.

    >>> adaptive_avg_pool1d(np.array([[[1.0, 3.0, 2.0, 6.0]]]), 2)
    array([[[2., 4.]]])
    """
    return _adapted("adaptive_avg_pool1d", 1, x, output_size)


def adaptive_avg_pool2d(x: Array, output_size: Any) -> Array:
    """Means of images cut into so many rows and columns of parts.

    Part ``i`` of ``m`` of an axis of length ``n`` goes from ``floor(i n / m)`` to
    ``ceil((i + 1) n / m)``, so parts may overlap by one element.

    Parameters
    ----------
    x
        Of shape ``(n, c, h, w)``.
    output_size
        Rows and columns of the result: a number, or one for each axis.

    Returns
    -------
    Array
        Of shape ``(n, c, *output_size)``.

    Examples
    --------
    >>> adaptive_avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), (1, 2))[0, 0]
    array([[6.5, 8.5]])
    """
    return _adapted("adaptive_avg_pool2d", 2, x, output_size)


def global_avg_pool(x: Array, keepdims: bool = False) -> Array:
    """Mean of each channel over all that follows: ``(n, c, …) -> (n, c)``.

    Lin, Chen, Yan (2014), "Network in Network". With ``keepdims`` the axes stay, of
    length 1.

    >>> global_avg_pool(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[1.5, 5.5]])
    """
    x = as_array(x)
    size = shape_of(x)
    if len(size) < 3 or 0 in size[2:]:
        raise ShapeError(
            "global_avg_pool: expected x(n, c, …) with elements to average; "
            f"got x{size}"
        )
    return ops.mean(x, tuple(range(2, len(size))), keepdims)


def _checked(
    title: str, rank: int, x: Any, size: Any, stride: Any, padding: Any, dilation: Any
) -> tuple[Any, Shape, Shape, Shape, Margins]:
    x = as_array(x)
    shape = shape_of(x)
    if len(shape) != rank + 2:
        advice = ""
        if len(shape) == rank + 1:
            what = "sequence" if rank == 1 else "image"
            advice = f". For one {what} pass x[None]; for one channel x[:, None]"
        raise ShapeError(
            f"{title}: expected x(n, c, {AXES[rank]}); got x{shape}{advice}"
        )
    window = numbers(title, "size", size, rank)
    steps = window if stride is None else numbers(title, "stride", stride, rank)
    gaps = numbers(title, "dilation", dilation, rank)
    edges = margins(title, padding, shape[2:], window, steps, gaps)
    fits(title, shape[2:], window, gaps, edges)
    for pair, width, gap in zip(edges, window, gaps, strict=True):
        if max(pair) > (width - 1) * gap:
            raise ShapeError(
                f"{title}: expected windows with an element of x in each; got windows "
                f"of {window} and padding {edges}. Use less padding"
            )
    return x, window, steps, gaps, edges


def _max_pooled(
    title: str, rank: int, x: Any, size: Any, stride: Any, padding: Any, dilation: Any
) -> Array:
    x, window, steps, gaps, edges = _checked(
        title, rank, x, size, stride, padding, dilation
    )
    seen = ops.windows(padded(x, edges), size=window, stride=steps, dilation=gaps)
    within = tuple(range(rank))
    if not any(map(any, edges)):
        return ops.max(seen, within)
    there = padded(np.ones(shape_of(x)[2:]), edges)
    inside = ops.windows(there, size=window, stride=steps, dilation=gaps) > 0
    counts = inside.shape[rank:]
    inside = inside.reshape((*window, 1, 1, *counts))
    if not inside.any(axis=within).all():
        raise ShapeError(
            f"{title}: expected windows with an element of x in each; got windows of "
            f"{window} and padding {edges}. Use less padding"
        )
    if seen.dtype.kind != "f":
        raise OpError(f"{title}: padding needs a floating dtype; got {seen.dtype}")
    return ops.max(ops.where(inside, seen, seen.dtype.type(-np.inf)), within)


def _mean_pooled(
    title: str, rank: int, x: Any, size: Any, stride: Any, padding: Any, with_pad: bool
) -> Array:
    x, window, steps, gaps, edges = _checked(title, rank, x, size, stride, padding, 1)
    seen = ops.windows(padded(x, edges), size=window, stride=steps, dilation=gaps)
    within = tuple(range(rank))
    if with_pad or not any(map(any, edges)):
        return ops.mean(seen, within)
    there = padded(np.ones(shape_of(x)[2:]), edges)
    count = ops.windows(there, size=window, stride=steps, dilation=gaps).sum(within)
    dtype = seen.dtype if seen.dtype.kind == "f" else np.dtype(float)
    return ops.sum(seen, within) / count.astype(dtype)


def _adapted(title: str, rank: int, x: Any, output_size: Any) -> Array:
    x = as_array(x)
    shape = shape_of(x)
    wanted = numbers(title, "output_size", output_size, rank)
    if len(shape) != rank + 2 or 0 in shape[2:]:
        raise ShapeError(f"{title}: expected x(n, c, {AXES[rank]}); got x{shape}")
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(float)
    x = ops.matmul(x, _parts(shape[-1], wanted[-1], dtype).T)
    if rank == 2:
        x = ops.matmul(_parts(shape[-2], wanted[-2], dtype), x)
    return x


def _parts(n: int, m: int, dtype: Any) -> np.ndarray:
    """Return the matrix, (m, n), whose rows take the mean of a part."""
    matrix = np.zeros((m, n), dtype)
    for i in range(m):
        first, end = i * n // m, math.ceil((i + 1) * n / m)
        matrix[i, first:end] = 1 / (end - first)
    return matrix
