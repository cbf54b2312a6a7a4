"""Which way a product of matrices goes: along which axis, and from where it is read."""

from __future__ import annotations

import math

from tinygrad_nn.compiler.c.layout import Access

__all__ = ["FEW", "SMALL", "UNROLLED", "WIDE", "is_large", "vector_axis"]

SMALL = 16
"""A product goes to the BLAS if all of its three sizes are as large as this."""
LARGE = 1 << 18
"""Bytes from which a matrix is streamed: a quarter of a second-level cache."""
FEW = 64
"""Rows of a stream that are too few for it."""
UNROLLED = 16
"""Terms of a product's sum that are written out."""
WIDE = 4096
"""Numbers in float32 of which more are added in float64."""


def is_large(x: Access) -> bool:
    """Whether a matrix is read from memory rather than from a cache."""
    return math.prod(x.shape) * x.dtype.itemsize > LARGE


def vector_axis(x: Access, y: Access, *, sums: bool = True) -> int:
    """Return the axis that is the vector, the one that costs least.

    Axis 0 is the rows of the result, 1 its columns, 2 the axis summed over. What does
    not lie along it must be packed first.
    """
    (m, k), n = x.shape, y.shape[1]

    def cost(axis: int) -> float:
        length = (m, n, k)[axis]
        packed = 0
        if length > 1 and axis != 1 and x.strides[0 if axis == 0 else 1] != 1:
            packed += m * k
        if length > 1 and axis != 0 and y.strides[1 if axis == 1 else 0] != 1:
            packed += k * n
        turned = 2 * m * n if axis == 0 else 0  # whoever reads it finds it turned
        return m * n * k / min(max(length, 1), 16) + 4 * packed + turned

    return min((1, 0, 2) if sums else (1, 0), key=cost)
