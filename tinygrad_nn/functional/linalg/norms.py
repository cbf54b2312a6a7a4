"""Sizes of vectors and matrices, and what follows from singular values.

At 0 the gradient of a norm is 0, the subgradient of least norm; where several elements,
rows or singular values are the largest, they share it equally.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import LinAlgError, ShapeError, UnsupportedError
from tinygrad_nn.functional.arguments import (
    as_array,
    axes_of,
    named_axes_of,
    refuse,
)
from tinygrad_nn.functional.contraction import ordered, refused
from tinygrad_nn.op import Array, Node, data_of
from tinygrad_nn.ops import getitem
from tinygrad_nn.shapes import Axes

__all__ = ["cond", "matrix_norm", "matrix_rank", "norm", "vector_norm"]


def norm(x: Array, ord: Any = None, axis: Axes = None, keepdims: bool = False) -> Array:
    """Norm of vectors, or of matrices.

    Parameters
    ----------
    x
        An array; integers count as floats.
    ord
        By default the root of the sum of squares. Of vectors: any number, ``inf`` and
        ``-inf``, and 0 for how many elements are not 0. Of matrices: ``"fro"``,
        ``"nuc"``, and 1, -1, 2, -2, ``inf`` and ``-inf``.
    axis
        One axis for vectors, two for matrices; by default, those that x has.
    keepdims
        Whether these axes stay, with size 1.

    Examples
    --------
    >>> norm(np.array([3.0, 4.0]))
    np.float64(5.0)
    >>> norm(np.array([[1.0, -2.0], [3.0, 4.0]]), ord=1)
    np.float64(6.0)
    """
    x = as_array(x)
    if x.dtype.kind in "iub":
        x = ops.astype(x, np.dtype(float))
    axes = named_axes_of("norm", x, axis)
    if axis is None and ord is None:
        return ops.sqrt(ops.sum(ops.square(x), None, keepdims))
    if len(axes) == 1:
        return _of_vectors(x, ord, axes, keepdims)
    if len(axes) == 2:
        return _of_matrices(x, ord, axes, keepdims)
    law = f"one axis for ord={ord!r} of vectors, or two for matrices"
    raise refused("norm", law, "x", x)


def _largest(x: Array, axis: Any, keepdims: bool) -> Array:
    """Largest of what is not negative; of nothing, 0."""
    axes = shapes.normalize_axes(x.ndim, axis)
    empty = any(x.shape[i] == 0 for i in axes)
    return (ops.sum if empty else ops.max)(x, axis, keepdims)


def _of_vectors(x: Array, ord: Any, axis: tuple[int, ...], keepdims: bool) -> Array:
    if ord is None or ord == 2:
        return ops.sqrt(ops.sum(ops.square(x), axis, keepdims))
    if isinstance(ord, str):
        raise UnsupportedError(f"norm: no such order of vectors; got ord={ord!r}")
    if ord == 1:
        return ops.sum(ops.abs(x), axis, keepdims)
    if ord == np.inf:
        return _largest(ops.abs(x), axis, keepdims)
    if ord == -np.inf:
        return ops.min(ops.abs(x), axis, keepdims)
    if ord == 0:
        return ops.sum(ops.astype(ops.not_equal(x, 0), x.dtype), axis, keepdims)
    return _of_powers(ops.abs(x), ord, axis, keepdims)


def _of_powers(size: Array, ord: Any, axis: tuple[int, ...], keepdims: bool) -> Array:
    if ord > 0 or any(size.shape[i] == 0 for i in axis):
        return ops.sum(size**ord, axis, keepdims) ** (1 / ord)
    # A 0 makes all of it 0, by way of an infinity, which a gradient does not survive.
    least = ops.min(size, axis, True)
    size = ops.where(ops.equal(least, 0), 1, size)
    found = ops.sum(size**ord, axis, True) ** (1 / ord)
    found = ops.where(ops.equal(least, 0), 0, found)
    # A sum of one: what is left may be a number, which is no array.
    return found if keepdims else ops.sum(found, axis)


def _of_matrices(x: Array, ord: Any, axes: Any, keepdims: bool) -> Array:
    if ord in (None, "fro", "f"):
        return ops.sqrt(ops.sum(ops.square(x), axes, keepdims))
    row, column = axes
    if ord in (1, -1, np.inf, -np.inf):
        summed = row if abs(ord) == 1 else column
        sums = ops.sum(ops.abs(x), summed, True)
        return (_largest if ord > 0 else ops.min)(sums, axes, keepdims)
    if ord in (2, -2, "nuc"):
        rest = [i for i in range(x.ndim) if i not in axes]
        # Of a 0 the gradient is 0, as that of its size.
        s = ops.abs(ops.svdvals(ordered(x, [*rest, row, column])))
        if ord == "nuc":
            found = ops.sum(s, -1)
        else:
            found = (_largest if ord == 2 else ops.min)(s, -1, False)
        if not keepdims:
            return found
        return ops.reshape(found, shapes.reduced(x.shape, axes, keepdims=True))
    raise UnsupportedError(f"norm: no such order of matrices; got ord={ord!r}")


def matrix_norm(x: Array, /, *, keepdims: bool = False, ord: Any = "fro") -> Array:
    """Norm of the matrices along the last two axes; see `norm`.

    >>> matrix_norm(np.eye(2), ord="nuc")
    np.float64(2.0)
    """
    return norm(x, ord, (-2, -1), keepdims)


def vector_norm(
    x: Array, /, *, axis: Axes = None, keepdims: bool = False, ord: Any = 2
) -> Array:
    """Norm of all elements along ``axis``, which may be several; see `norm`.

    >>> vector_norm(np.array([[3.0, 0.0], [0.0, 4.0]]))
    np.float64(5.0)
    """
    x = as_array(x)
    axes = axes_of("vector_norm", x, axis)
    rest = [i for i in range(x.ndim) if i not in axes]
    kept = [x.shape[i] for i in rest]
    size = math.prod(x.shape[i] for i in axes)
    found = norm(ops.reshape(ordered(x, [*rest, *axes]), (*kept, size)), ord, -1)
    if not keepdims:
        return found
    return ops.reshape(found, shapes.reduced(x.shape, axes, keepdims=True))


def cond(x: Array, p: Any = None) -> Array:
    """Condition of matrices: their norm times that of their inverse.

    Parameters
    ----------
    x
        Matrices; square ones, unless ``p`` is None, 2 or -2.
    p
        Order of the norm; None and 2: the largest singular value by the smallest.

    Raises
    ------
    LinAlgError
        For empty matrices; of another order, for singular ones too.

    Examples
    --------
    >>> cond(np.array([[2.0, 0.0], [0.0, 4.0]]))
    np.float64(2.0)
    """
    x = as_array(x)
    if x.ndim < 2:
        raise refused("cond", "matrices, along the last two axes", "x", x)
    if 0 in x.shape[-2:]:
        raise LinAlgError(f"cond: of an empty matrix there is none; got x{x.shape}")
    if p is None or p in (2, -2):
        s = ops.svdvals(x)
        largest, least = getitem(s, (..., 0)), getitem(s, (..., -1))
        with np.errstate(all="ignore"):  # as NumPy: that of a singular matrix is inf
            found = least / largest if p == -2 else largest / least
        # Of zeros alone it is inf, as in NumPy; of what holds a nan, nan.
        gaps = ops.sum(ops.astype(ops.isnan(x), np.dtype(np.int64)), (-2, -1))
        hole = ops.logical_and(ops.isnan(found), ops.equal(gaps, 0))
        filled = ops.where(hole, np.inf, found)
        return filled if isinstance(filled, Node) else filled[()]  # a number, of one
    return norm(x, p, (-2, -1)) * norm(ops.inv(x), p, (-2, -1))


def matrix_rank(
    A: Array, tol: Any = None, hermitian: bool = False, *, rtol: Any = None
) -> Array:
    """How many singular values are not 0 to rounding: a constant, without gradient.

    Parameters
    ----------
    A
        Matrices; a vector has rank 1, if it is not 0.
    tol
        Singular values up to this are 0; or, with ``rtol``, up to this part of the
        largest, which is the precision times the larger size by default.

    Examples
    --------
    >>> int(matrix_rank(np.ones((3, 3))))
    1
    """
    refuse("np.linalg.matrix_rank", "Leave it out", hermitian=(hermitian, False))
    if rtol is not None and tol is not None:
        raise ShapeError("matrix_rank: expected one of tol= and rtol=; got both")
    a = as_array(A)
    if a.ndim < 2:
        found = ops.greater(ops.sum(ops.not_equal(a, 0)), 0)
        return ops.astype(found, np.dtype(int))
    s = ops.svdvals(a)
    if tol is None:
        if rtol is None:
            rtol = max(a.shape[-2:]) * float(np.finfo(s.dtype).eps)
        tol = ops.multiply(_largest(s, -1, True), _spread(rtol))
    else:
        tol = _spread(tol)
    return ops.sum(ops.greater(s, tol), -1)


def _spread(limit: Any) -> Any:
    """A limit for each matrix, beside its singular values."""
    if isinstance(limit, Node) or np.ndim(limit):
        return as_array(limit)[..., None]
    return data_of(limit)
