"""Inverses, equations and determinants."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import ops, recording
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.functional.arguments import as_array, refuse
from tinygrad_nn.functional.contraction import refused, shaped
from tinygrad_nn.functional.linalg.decompositions import svd
from tinygrad_nn.functional.movement import matrix_transpose
from tinygrad_nn.op import Array, Node, data_of
from tinygrad_nn.ops import getitem

__all__ = [
    "SlogdetResult",
    "det",
    "inv",
    "lstsq",
    "pinv",
    "slogdet",
    "solve",
    "tensorinv",
    "tensorsolve",
]


class SlogdetResult(NamedTuple):
    """What `slogdet` finds."""

    sign: Any
    logabsdet: Any


def inv(a: Array) -> Array:
    """Inverse of square matrices.

    Raises
    ------
    LinAlgError
        For a singular matrix.

    Examples
    --------
    >>> inv(np.array([[2.0, 0.0], [0.0, 4.0]]))
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    return ops.inv(as_array(a))


def pinv(
    a: Array, rcond: Any = None, hermitian: bool = False, *, rtol: Any = False
) -> Array:
    """Pseudoinverse (Moore-Penrose) of matrices of any shape.

    Its gradient holds where as many singular values stay above the cut-off.

    Parameters
    ----------
    a
        Of shape (..., m, n).
    rcond, rtol
        Singular values below this part of the largest are 0; 1e-15 by default.
        With ``rtol=None`` it is the precision times the larger of m and n.

    Examples
    --------
    >>> pinv(np.array([[2.0], [0.0]]))
    array([[0.5, 0. ]])
    """
    refuse("np.linalg.pinv", "Leave it out", hermitian=(hermitian, False))
    a = as_array(a)
    if rtol is not False:
        if rcond is not None:
            raise ShapeError("pinv: expected one of rcond= and rtol=; got both")
        eps = np.finfo(a.dtype if a.dtype.kind == "f" else float).eps
        rcond = max(a.shape[-2:], default=0) * eps if rtol is None else rtol
    if np.ndim(rcond) > max(a.ndim - 2, 0):
        raise ShapeError(
            "pinv: expected a cut-off for all matrices, or for each; "
            f"got a{a.shape}, rcond{np.shape(rcond)}"
        )
    return _without_the_least(a, rcond) if _cuts(a, rcond) else ops.pinv(a, rcond)


def _cuts(a: Any, rcond: Any) -> bool:
    """Whether a cut-off takes away singular values that are not 0 to rounding.

    The rules of `ops.pinv` and `ops.lstsq` take them for zeros. A step that is compiled
    does not look: there it is a cut-off that is more than rounding.
    """
    recorded: bool = isinstance(a, Node)
    if rcond is None or a.ndim < 2 or 0 in a.shape or not recorded:
        return False
    eps = np.finfo(a.dtype if a.dtype.kind == "f" else float).eps
    least, largest = max(a.shape[-2:]) * eps, np.max(rcond)
    if largest <= least:
        return False
    if recording.current().trace is not None:
        return bool(largest > np.sqrt(eps))
    value = data_of(a)
    if not np.isfinite(value).all():
        return False
    s = np.linalg.svd(value, compute_uv=False)
    top = s[..., :1]
    cut = s <= np.asarray(rcond)[..., None] * top
    return bool((cut & (s > least * top)).any())


def _without_the_least(a: Any, rcond: Any) -> Array:
    """Return the pseudoinverse by singular values, of which a part is left out."""
    u, s, v = svd(a, full_matrices=False)
    cutoff = np.asarray(rcond)[..., None] * getitem(s, (..., slice(0, 1)))
    kept = ops.greater(s, cutoff)
    inverse = ops.where(kept, ops.reciprocal(ops.where(kept, s, 1.0)), 0.0)
    scaled = ops.multiply(getitem(inverse, (..., None)), matrix_transpose(u))
    return ops.matmul(matrix_transpose(v), scaled)


def solve(a: Array, b: Array) -> Array:
    """Solution x of ``a x = b``.

    Parameters
    ----------
    a
        Square matrices, of shape (..., n, n).
    b
        A vector (n,), or matrices (..., n, k) whose columns are right-hand sides.

    Raises
    ------
    LinAlgError
        For a singular matrix.

    Examples
    --------
    >>> solve(np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([2.0, 2.0]))
    array([1. , 0.5])
    """
    a, b = as_array(a), as_array(b)
    columns = shaped(b, (*b.shape, 1)) if b.ndim == 1 else b
    fits = a.ndim > 1 and columns.ndim > 1 and a.shape[-1] == a.shape[-2]
    if not fits or a.shape[-1] != columns.shape[-2]:
        raise refused("solve", "a(n, n) and b(n) or b(n, k)", "ab", a, b)
    if b.ndim == 1:
        return getitem(ops.solve(a, columns), (..., 0))
    return ops.solve(a, b)


def lstsq(a: Array, b: Array, rcond: Any = None) -> tuple[Array, Array, Array, Array]:
    """Solution x of least ``|a x - b|``; of several, the shortest.

    The gradients of x hold where as many singular values stay above the cut-off.

    Parameters
    ----------
    a
        A matrix (m, n).
    b
        A vector (m,), or a matrix (m, k) whose columns are right-hand sides.
    rcond
        Singular values below this part of the largest are 0; by default, the
        precision times the larger of m and n.

    Returns
    -------
    solution, residuals, rank, singular values
        The squared lengths of ``a x - b`` are empty where the rank is less than n, or m
        not more than n, as in NumPy; a step that is compiled takes a for one of full
        rank. The rank is constant.

    Examples
    --------
    >>> lstsq(np.array([[1.0], [1.0]]), np.array([1.0, 3.0]))[0]
    array([2.])
    """
    a, b = as_array(a), as_array(b)
    if a.ndim != 2 or b.ndim not in (1, 2) or a.shape[0] != b.shape[0]:
        raise refused("lstsq", "a(m, n) and b(m) or b(m, k)", "ab", a, b)
    m, n = a.shape
    columns = b if b.ndim == 2 else shaped(b, (m, 1))
    if _cuts(a, rcond):
        x = ops.matmul(_without_the_least(a, rcond), columns)
    else:
        x = ops.lstsq(a, columns, rcond=rcond)
    s = ops.svdvals(a)
    rank = _rank(s, rcond, max(m, n))
    squares = ops.sum(ops.square(ops.subtract(columns, ops.matmul(a, x))), 0)
    traced = recording.current().trace is not None
    if m <= n or not (traced or int(data_of(rank)) == n):
        squares = getitem(squares, slice(0, 0))
    return x if b.ndim == 2 else getitem(x, (..., 0)), squares, rank, s


def _rank(s: Array, rcond: Any, size: int) -> Array:
    """How many singular values are not 0 to rounding: a constant."""
    if not s.shape[0]:
        return np.int32(0)
    least = rcond if rcond is not None else size * float(np.finfo(s.dtype).eps)
    return ops.sum(ops.greater(s, ops.multiply(getitem(s, 0), least)))


def det(a: Array) -> Array:
    """Determinant of square matrices; its gradient is right for singular ones too.

    >>> det(np.array([[2.0, 1.0], [0.0, 4.0]])).round(12)
    np.float64(8.0)
    """
    return ops.det(as_array(a))


def slogdet(a: Array) -> SlogdetResult:
    """Sign of the determinant, and logarithm of its size.

    For a singular matrix they are 0 and -inf, and a gradient raises a `LinAlgError`.

    >>> float(slogdet(np.array([[0.0, 1.0], [1.0, 0.0]])).sign)
    -1.0
    """
    found = ops.slogdet(as_array(a))
    return SlogdetResult(getitem(found, (..., 0)), getitem(found, (..., 1)))


def tensorinv(a: Array, ind: int = 2) -> Array:
    """Inverse of the linear map that ``tensordot(a, b, ind)`` is.

    Parameters
    ----------
    a
        Its first ``ind`` axes hold as many elements as the others.
    ind
        How many of the axes of a come out.

    Examples
    --------
    >>> tensorinv(np.eye(6).reshape(2, 3, 6), 2).shape
    (6, 2, 3)
    """
    if ind <= 0:
        raise ShapeError(f"tensorinv: expected ind of 1 or more; got ind={ind}")
    a = as_array(a)
    rows, columns = a.shape[:ind], a.shape[ind:]
    if math.prod(rows) != math.prod(columns):
        law = f"as many elements in the first {ind} axes as in the others"
        raise refused("tensorinv", law, "a", a)
    return shaped(
        ops.inv(shaped(a, (math.prod(rows), math.prod(columns)))), columns + rows
    )


def tensorsolve(a: Array, b: Array, axes: Any = None) -> Array:
    """Solution x of ``tensordot(a, x, x.ndim) = b``.

    Parameters
    ----------
    a
        Of the shape of b, followed by that of x.
    b
        An array of any shape.
    axes
        Axes of a to put last, before anything else.

    Examples
    --------
    >>> tensorsolve(2 * np.eye(6).reshape(2, 3, 6), np.ones((2, 3)))
    array([0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    """
    a, b = as_array(a), as_array(b)
    if axes is not None:
        order = list(range(a.ndim))
        for axis in axes:
            order.remove(axis)
            order.insert(a.ndim, axis)
        a = ops.transpose(a, tuple(order))
    shape = a.shape[b.ndim :]
    size = math.prod(shape)
    if a.size != size**2 or b.size != size:
        raise refused(
            "tensorsolve", "a of b's shape and x's, alike in size", "ab", a, b
        )
    found = ops.solve(shaped(a, (size, size)), shaped(b, (size, 1)))
    return shaped(found, shape)
