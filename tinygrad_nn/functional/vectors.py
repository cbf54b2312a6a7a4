"""Vectors along an axis: their directions and distances; class numbers as vectors."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tinygrad_nn import ops, recording
from tinygrad_nn.errors import DtypeError, OpError
from tinygrad_nn.functional.arguments import as_array, axes_of, axis_of
from tinygrad_nn.functional.linalg import norm
from tinygrad_nn.op import Array, Node, data_of
from tinygrad_nn.shapes import Axes

__all__ = ["cosine_similarity", "normalize", "one_hot", "pairwise_distance"]


def normalize(x: Array, ord: Any = 2, axis: Any = -1) -> Array:
    """Vectors along ``axis`` divided by their norm; a vector of zeros stays one.

    ``ord`` is that of `norm`. Lengths from the smallest to the largest numbers are
    right: before it is divided by its norm a vector is divided by its largest element.
    The gradient at a vector of zeros, which has no direction, is 0.

    >>> normalize(np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 1e-200]]))
    array([[0.6, 0.8],
           [0. , 0. ],
           [0. , 1. ]])
    """
    x = as_array(x)
    axes_of("normalize", x, axis)
    scaled = x / _scale(x, axis)
    length = norm(scaled, ord, axis, True)
    nothing = ops.equal(length, 0)
    return ops.where(nothing, 0.0, scaled / ops.where(nothing, 1.0, length))


def _scale(x: Array, axis: Axes) -> Array:
    """Return the largest size along an axis; where that is no divisor, 1.

    A constant: a direction does not depend on it.
    """
    if 0 in x.shape:
        return 1.0
    with recording.no_grad():
        size = ops.max(ops.abs(x), axis, True)
        divides = ops.logical_and(ops.greater(size, 0), ops.less(size, np.inf))
        return ops.where(divides, size, 1.0)


def cosine_similarity(x: Array, y: Array, axis: int = -1) -> Array:
    """Cosine of the angle between vectors along ``axis``: 1, 0, -1 for 0°, 90°, 180°.

    Vectors of any length will do; to a vector of zeros it is 0, with a gradient of 0.

    >>> cosine_similarity(np.array([[1.0, 0.0], [2.0, 2.0]]), np.array([3.0, 0.0]))
    array([1.        , 0.70710678])
    """
    x, y = as_array(x), as_array(y)
    for vectors in (x, y):
        axis_of("cosine_similarity", vectors, axis)
    return ops.sum(ops.multiply(normalize(x, 2, axis), normalize(y, 2, axis)), axis)


def pairwise_distance(
    x: Array, y: Array, ord: Any = 2, axis: int = -1, keepdims: bool = False
) -> Array:
    """Distance of each vector of ``x`` to the one of ``y`` in its place: a `norm`.

    The gradient at distance 0 is 0, the subgradient of least norm.

    >>> pairwise_distance(np.array([[3.0, 4.0], [1.0, 1.0]]), np.array([0.0, 0.0]))
    array([5.        , 1.41421356])
    """
    away = as_array(ops.subtract(as_array(x), as_array(y)))
    axis_of("pairwise_distance", away, axis)
    return norm(away, ord, axis, keepdims)


def one_hot(labels: Array, n_classes: int, dtype: Any = np.float64) -> Array:
    """Class numbers as vectors with a single 1, along a new last axis; a constant.

    Parameters
    ----------
    labels
        Integers from 0 to less than ``n_classes``, of any shape.
    n_classes
        Length of the vectors.
    dtype
        Of the result.

    Raises
    ------
    OpError
        For a label out of range; a compiled step checks them in each call.
    DtypeError
        For labels that are no integers.

    Examples
    --------
    >>> one_hot(np.array([0, 2]), 3)
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    labels, n = as_array(labels), operator.index(n_classes)
    kind = data_of(labels).dtype
    if kind.kind not in "iub":
        raise DtypeError(f"one_hot: labels are integers; got dtype {kind}")

    def check(found: Any) -> None:
        if found.size and not (found.min() >= 0 and found.max() < n):
            raise OpError(
                f"one_hot: labels go from 0 to {n - 1}; "
                f"got {found.min()} to {found.max()}"
            )

    trace = recording.current().trace
    if trace is None:
        check(np.asarray(data_of(labels)))
    else:
        labels = labels if isinstance(labels, Node) else trace.held(labels)
        trace.guard(labels, check)
    labels = ops.reshape(labels, (*labels.shape, 1))
    return ops.astype(ops.equal(labels, np.arange(n)), np.dtype(dtype))
