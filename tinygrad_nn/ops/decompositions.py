"""Matrices taken apart: Cholesky, QR, eigenvalues and singular values.

An op has one result, so an op that finds several arrays lays them one above the other
in one matrix, which the public function takes apart: nothing is decomposed twice.

Where two eigenvalues or singular values are equal to rounding, their vectors are any of
a plane, and what a rule would divide by the difference is left out. So a gradient is
finite, and right for functions of the values alone, of the plane that such vectors span
(v vᵀ, summed over it) and of U Vᵀ. Of single vectors there is none. And what joins
values with vectors, as V f(w) Vᵀ does, is not seen between equal values: there, and in
second derivatives, elements of the gradient are missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn.op import Array, primitive
from tinygrad_nn.ops import definitions
from tinygrad_nn.ops.comparison import greater
from tinygrad_nn.ops.contraction import matmul
from tinygrad_nn.ops.elementwise import abs
from tinygrad_nn.ops.linalg import matrices, solve, square, turned
from tinygrad_nn.ops.movement import concatenate
from tinygrad_nn.ops.reduction import max
from tinygrad_nn.ops.samples import cases
from tinygrad_nn.ops.selection import where
from tinygrad_nn.shapes import Shape

__all__ = ["cholesky", "eigh", "eigvalsh", "qr", "svd", "svdvals"]

_SQUARE = (((1, 1),), ((3, 3),), ((2, 2, 2),), ((0, 0),), ((0, 2, 2),))
_NOT_SQUARE = cases(((2, 3),), ((3,),), ((),))
_ANY = (
    *(((3, 2),), ((2, 3),), ((2, 2),), ((1, 1),)),
    *(((2, 3, 2),), ((0, 2),), ((2, 0, 2),)),
)
_NO_MATRIX = cases(((3,),), ((),))


def _lower(n: int, diagonal: int = 0) -> Array:
    return np.tri(n, n, diagonal, dtype=bool)


def _as_read(share: Array, uplo: str = "L") -> Array:
    """Gradient of what reads one triangle, from that of the symmetric matrix.

    An element off the diagonal stands for two, and the other triangle for none.
    """
    strict = _lower(share.shape[-1], -1)
    if uplo == "U":
        strict = strict.T
    both = where(strict, share + turned(share), 0.0)
    return where(np.eye(share.shape[-1], dtype=bool), share, both)


# --- Cholesky ---


def _cholesky_back(g: Array, out: Array, _x: Array) -> Array:
    inner = matmul(turned(out), g)
    n = inner.shape[-1]
    inner = where(_lower(n, -1), inner, where(np.eye(n, dtype=bool), inner * 0.5, 0.0))
    half = turned(solve(turned(out), inner))
    return _as_read(solve(turned(out), half))


@primitive(
    kind="decomposition",
    formula=r"\mathrm{cholesky}($x)",
    shape=square,
    vjp=_cholesky_back,
    samples=cases(*_SQUARE, diagonal=4.0),
    refuses=_NOT_SQUARE,
    exact=definitions.cholesky,
)
def cholesky(x: Array) -> Array:
    """Lower triangular L with ``L Lᵀ = x`` for every positive definite matrix.

    NumPy reads the lower triangle of x and no more, and this is the gradient of what
    it computes: nothing arrives above the diagonal. PyTorch and JAX give half of each
    element below the diagonal to its mirror image. The rule is that of I. Murray,
    *Differentiation of the Cholesky decomposition* (2016).

    >>> cholesky(np.array([[4.0, 0.0], [2.0, 2.0]]))
    array([[2., 0.],
           [1., 1.]])
    """
    return np.linalg.cholesky(x)


# --- QR ---


def _qr_shape(size: Shape) -> Shape:
    batch, m, n = matrices(size)
    return (*batch, m + n, min(m, n))


def _deep_back(q: Array, r: Array, gq: Array, gr: Array) -> Array:
    """Gradient of the columns that Q and a square R are made of."""
    inner = matmul(r, turned(gr)) - matmul(turned(gq), q)
    strict = _lower(inner.shape[-1], -1)
    mirrored = where(strict, inner, 0.0)
    inner = where(strict, inner, turned(mirrored)) + where(
        np.eye(inner.shape[-1], dtype=bool), inner, 0.0
    )
    return turned(solve(r, turned(gq + matmul(q, inner))))


def _qr_back(g: Array, out: Array, _x: Array) -> Array:
    m, n = _x.shape[-2:]
    k = out.shape[-1]
    q, r = out[..., :m, :], turned(out[..., m:, :])
    gq, gr = g[..., :m, :], turned(g[..., m:, :])
    if n == k:
        return _deep_back(q, r, gq, gr)
    rest, g_rest = r[..., k:], gr[..., k:]
    gq = gq + matmul(matmul(q, rest), turned(g_rest))
    first = _deep_back(q, r[..., :k], gq, gr[..., :k])
    return concatenate(first, matmul(q, g_rest), axis=-1)


@primitive(
    kind="decomposition",
    formula=r"\mathrm{qr}($x)",
    shape=_qr_shape,
    vjp=_qr_back,
    samples=cases(*_ANY, diagonal=2.0),
    refuses=_NO_MATRIX,
    exact=definitions.qr,
)
def qr(x: Array) -> Array:
    """Q with orthonormal columns, above the transpose of the triangular R; ``Q R = x``.

    Signs are LAPACK's. For a gradient the first columns of x, as many as R has rows,
    must be independent. The rule is that of Walter and Lehmann, *Algorithmic
    differentiation of linear algebra functions with application in optimum experimental
    design* (2010), and for wide matrices that of Roberts and Roberts, *QR and LQ
    decomposition matrix backpropagation algorithms for square, wide, and deep matrices*
    (2020).

    >>> np.abs(qr(np.array([[3.0], [4.0]])))
    array([[0.6],
           [0.8],
           [5. ]])
    """
    q, r = np.linalg.qr(x)
    return np.concatenate([q, np.swapaxes(r, -1, -2)], axis=-2)


# --- eigenvalues ---


def _inverse(gaps: Array, sizes: Array, rows: int) -> Array:
    """1 / gaps, and 0 where a gap is none to the rounding of the largest size."""
    apart = greater(abs(gaps), sizes * (rows * float(np.finfo(sizes.dtype).eps)))
    return where(apart, 1.0 / where(apart, gaps, 1.0), 0.0)


def _largest(values: Array) -> Array:
    """Largest size in every row, with two axes of one for a matrix."""
    if not values.shape[-1]:
        return np.zeros((*values.shape[:-1], 1, 1), values.dtype)
    return max(abs(values), -1, True)[..., None]


def _eigh_shape(size: Shape, UPLO: Any = "L") -> Shape:
    del UPLO
    square(size)
    return (*size[:-2], size[-1] + 1, size[-1])


def _eigh_back(g: Array, out: Array, _x: Array, UPLO: Any) -> Array:
    values, vectors = out[..., 0, :], out[..., 1:, :]
    n = vectors.shape[-1]
    gaps = values[..., None, :] - values[..., :, None]
    inner = matmul(turned(vectors), g[..., 1:, :])
    inner = inner * _inverse(gaps, _largest(values), n)
    inner = where(np.eye(n, dtype=bool), g[..., :1, :], inner)
    return _as_read(matmul(matmul(vectors, inner), turned(vectors)), UPLO)


@primitive(
    kind="decomposition",
    formula=r"\mathrm{eigh}($x)",
    shape=_eigh_shape,
    vjp=_eigh_back,
    samples=cases(*_SQUARE, ((2, 2), {"UPLO": "U"}), diagonal=4.0),
    refuses=_NOT_SQUARE,
    exact=definitions.eigh,
)
def eigh(x: Array, UPLO: Any = "L") -> Array:
    """Eigenvalues of every symmetric matrix, above its eigenvectors in columns.

    Eigenvalues ascend; signs of vectors are LAPACK's. Only the triangle ``UPLO`` is
    read, and has a gradient, as in `cholesky`. The rule is that of Giles (2008).

    >>> eigh(np.array([[3.0, 0.0], [0.0, 2.0]]))
    array([[2., 3.],
           [0., 1.],
           [1., 0.]])
    """
    values, vectors = np.linalg.eigh(x, UPLO)
    return np.concatenate([values[..., None, :], vectors], axis=-2)


def _eigvalsh_shape(size: Shape, UPLO: Any = "L") -> Shape:
    del UPLO
    return square(size)[:-1]


def _eigvalsh_back(g: Array, _out: Array, x: Array, UPLO: Any) -> Array:
    vectors = eigh(x, UPLO)[..., 1:, :]
    return _as_read(matmul(vectors * g[..., None, :], turned(vectors)), UPLO)


@primitive(
    kind="decomposition",
    formula=r"\lambda($x)",
    shape=_eigvalsh_shape,
    vjp=_eigvalsh_back,
    samples=cases(*_SQUARE, ((2, 2), {"UPLO": "U"}), diagonal=4.0),
    refuses=_NOT_SQUARE,
    exact=definitions.eigvalsh,
)
def eigvalsh(x: Array, UPLO: Any = "L") -> Array:
    """Eigenvalues of every symmetric matrix, ascending; as `eigh`, without vectors.

    >>> eigvalsh(np.array([[3.0, 0.0], [0.0, 2.0]]))
    array([2., 3.])
    """
    return np.linalg.eigvalsh(x, UPLO)


# --- singular values ---


def _svd_shape(size: Shape) -> Shape:
    batch, m, n = matrices(size)
    return (*batch, m + 1 + n, min(m, n))


def _turning(vectors: Array, g: Array) -> Array:
    """How g would turn the vectors among themselves."""
    inner = matmul(turned(vectors), g)
    return inner - turned(inner)


def _svd_back(g: Array, out: Array, _x: Array) -> Array:
    m, n = _x.shape[-2:]
    u, s, v = out[..., :m, :], out[..., m, :], out[..., m + 1 :, :]
    gu, gs, gv = g[..., :m, :], g[..., m : m + 1, :], g[..., m + 1 :, :]
    row, column = s[..., None, :], s[..., :, None]
    largest = _largest(s)
    rows = m + n
    # Turned alike, U and V change with the gaps of values; against each other, with
    # their sums, and then nothing is undetermined where two values are equal.
    left, right = _turning(u, gu), _turning(v, gv)
    inner = 0.5 * (
        (left + right) * _inverse(row - column, largest, rows)
        + (left - right) * _inverse(row + column, largest, rows)
    )
    inner = inner + where(np.eye(s.shape[-1], dtype=bool), gs, 0.0)
    share = matmul(matmul(u, inner), turned(v))
    if m == n:
        return share
    inverse = _inverse(row, largest, rows)
    if m > n:
        rest = gu - matmul(u, matmul(turned(u), gu))
        return share + matmul(rest * inverse, turned(v))
    rest = gv - matmul(v, matmul(turned(v), gv))
    return share + matmul(u, turned(rest * inverse))


@primitive(
    kind="decomposition",
    formula=r"\mathrm{svd}($x)",
    shape=_svd_shape,
    vjp=_svd_back,
    samples=cases(*_ANY, diagonal=3.0),
    refuses=_NO_MATRIX,
    exact=definitions.svd,
)
def svd(x: Array) -> Array:
    """U, above the singular values, above V, each in columns; ``U diag(s) Vᵀ = x``.

    Singular values descend; signs of vectors are LAPACK's. The rule is that of
    J. Townsend, *Differentiating the singular value decomposition* (2016).

    >>> np.abs(svd(np.array([[3.0], [4.0]])))
    array([[0.6],
           [0.8],
           [5. ],
           [1. ]])
    """
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    return np.concatenate([u, s[..., None, :], np.swapaxes(vh, -1, -2)], axis=-2)


def _svdvals_shape(size: Shape) -> Shape:
    batch, m, n = matrices(size)
    return (*batch, min(m, n))


def _svdvals_back(g: Array, _out: Array, x: Array) -> Array:
    m = x.shape[-2]
    parts = svd(x)
    return matmul(parts[..., :m, :] * g[..., None, :], turned(parts[..., m + 1 :, :]))


@primitive(
    kind="decomposition",
    formula=r"\sigma($x)",
    shape=_svdvals_shape,
    vjp=_svdvals_back,
    samples=cases(*_ANY, diagonal=3.0),
    refuses=_NO_MATRIX,
    exact=definitions.svdvals,
)
def svdvals(x: Array) -> Array:
    """Singular values of every matrix, descending; as `svd`, without vectors.

    >>> svdvals(np.array([[3.0, 0.0], [0.0, 4.0]]))
    array([4., 3.])
    """
    return np.linalg.svd(x, compute_uv=False)
