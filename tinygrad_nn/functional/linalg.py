"""Linear algebra, with the names and signatures of ``numpy.linalg``."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import OpError, UnsupportedError
from tinygrad_nn.functional.arguments import as_array
from tinygrad_nn.op import Array
from tinygrad_nn.shapes import Axes

__all__ = ["norm"]


def norm(x: Array, ord: Any = None, axis: Axes = None, keepdims: bool = False) -> Array:
    """Vector norm along ``axis``; of all elements by default.

    ``ord`` is 2 (default, also ``"fro"``), 1, ``inf``, ``-inf`` or another number.
    The gradient at 0 is 0, the subgradient of least norm.

    >>> norm(np.array([3.0, 4.0]))
    np.float64(5.0)
    """
    x = as_array(x)
    axes = shapes.normalize_axes(len(x.shape), axis)
    if ord is None or ord == "fro" or (ord == 2 and len(axes) <= 1):
        return ops.sqrt(ops.sum(ops.square(x), axis, keepdims))
    if len(axes) > 1:
        raise UnsupportedError(
            f"norm: ord={ord!r} is a norm of matrices, which is not offered; "
            "got more than one axis. Name one axis, or leave ord out"
        )
    if ord == 1:
        return ops.sum(ops.abs(x), axis, keepdims)
    if ord == np.inf:
        return ops.max(ops.abs(x), axis, keepdims)
    if ord == -np.inf:
        return ops.min(ops.abs(x), axis, keepdims)
    if isinstance(ord, str) or ord == 0:
        raise OpError(f"norm: no such order; got ord={ord!r}")
    return ops.sum(ops.abs(x) ** ord, axis, keepdims) ** (1 / ord)
