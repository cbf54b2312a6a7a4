"""Products that sum over shared axes, with NumPy's names and signatures."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import ShapeError, UnsupportedError
from tinygrad_nn.functional.arguments import as_array, refuse_out
from tinygrad_nn.op import Array, Node, data_of

__all__ = ["dot", "einsum"]


def dot(a: Array, b: Array, out: None = None) -> Array:
    """Product with NumPy's meaning of ``dot``: numbers scale, matrices multiply.

    >>> dot(-1, np.array([1.0, 2.0]))
    array([-1., -2.])
    """
    refuse_out("np.dot", out)
    left = a._value.ndim if isinstance(a, Node) else np.ndim(a)
    right = b._value.ndim if isinstance(b, Node) else np.ndim(b)
    if left == 0 or right == 0:
        return ops.multiply(a, b)
    if right <= 2:
        return ops.matmul(as_array(a), as_array(b))
    sizes = np.shape(data_of(a)), np.shape(data_of(b))
    if sizes[0][-1] != sizes[1][-2]:
        # einsum would repeat an axis of size 1
        raise ShapeError(
            "dot: expected the last axis of x to fit the last but one of y; "
            f"got {shapes.describe(['x', 'y'], sizes)}"
        )
    axes = "abcdefghijklmnopqrstuvw"
    first = axes[:left]
    second = axes[left : left + right - 2] + first[-1] + axes[left + right - 2]
    result = first[:-1] + second[:-2] + second[-1]
    return ops.einsum(
        as_array(a), as_array(b), subscripts=f"{first},{second}->{result}"
    )


def einsum(
    *operands: Any, out: None = None, optimize: Any = False, **kwargs: Any
) -> Array:
    """Sum of products by Einstein's convention, as ``np.einsum``.

    >>> einsum("ij,j->i", np.eye(2), np.array([1.0, 2.0]))
    array([1., 2.])
    """
    refuse_out("np.einsum", out)
    if kwargs:
        raise UnsupportedError(
            f"np.einsum: {', '.join(kwargs)}= is not offered on Tensors. Cast the "
            "operands, with .astype()"
        )
    del optimize  # it decides how the sum is computed, not what it is
    if not operands or not isinstance(operands[0], str):
        raise UnsupportedError(
            "einsum: subscripts are a string here; got "
            f"{type(operands[0]).__name__ if operands else 'nothing'}. "
            "Write einsum('ij,jk->ik', x, y)"
        )
    return ops.einsum(*map(as_array, operands[1:]), subscripts=operands[0])
