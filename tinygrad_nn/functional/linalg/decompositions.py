"""Matrices taken apart.

An op lays all that it finds in one matrix (see `tinygrad_nn.ops.decompositions`), which
is cut up here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import UnsupportedError
from tinygrad_nn.functional.arguments import as_array, refuse
from tinygrad_nn.op import Array, Node
from tinygrad_nn.ops import getitem
from tinygrad_nn.ops.linalg import turned

__all__ = [
    "EighResult",
    "QRResult",
    "SVDResult",
    "cholesky",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "qr",
    "svd",
    "svdvals",
]


class EighResult(NamedTuple):
    """What `eigh` finds."""

    eigenvalues: Any
    eigenvectors: Any


class QRResult(NamedTuple):
    """What `qr` finds."""

    Q: Any
    R: Any


class SVDResult(NamedTuple):
    """What `svd` finds."""

    U: Any
    S: Any
    Vh: Any


def _rows(x: Array, start: int | None, stop: int | None) -> Array:
    return getitem(x, (..., slice(start, stop), slice(None)))


def cholesky(a: Array, /, *, upper: bool = False) -> Array:
    """Triangular root of positive definite matrices: L with ``L Lᵀ = a``.

    Parameters
    ----------
    a
        Symmetric matrices. Only the lower triangle is read and has a gradient; with
        ``upper``, only the upper one.
    upper
        Whether to return U with ``Uᵀ U = a`` instead.

    Raises
    ------
    LinAlgError
        For a matrix that is not positive definite.

    Examples
    --------
    >>> cholesky(np.array([[4.0, 2.0], [2.0, 2.0]]))
    array([[2., 0.],
           [1., 1.]])
    """
    a = as_array(a)
    if not upper or a.ndim < 2:
        return ops.cholesky(a)
    return turned(ops.cholesky(turned(a)))


def qr(a: Array, mode: str = "reduced") -> Any:
    """Orthonormal columns Q and a triangular R with ``Q R = a``.

    Parameters
    ----------
    a
        Matrices (..., m, n). For a gradient, the first min(m, n) columns must be
        independent. Signs are LAPACK's.
    mode
        ``"reduced"``; ``"r"`` for R alone; ``"complete"`` where m is not more than n,
        for other columns of Q are any that complete it.

    Examples
    --------
    >>> qr(np.eye(2)).R.shape
    (2, 2)
    """
    a = as_array(a)
    size = a.shape
    if mode == "complete" and len(size) >= 2 and size[-2] > size[-1]:
        if not isinstance(a, Node):
            return QRResult(*np.linalg.qr(a, "complete"))
        raise UnsupportedError(
            "np.linalg.qr: mode='complete' of a tall matrix adds columns that it does "
            f"not determine; got a{size}. Use mode='reduced'"
        )
    if mode not in ("reduced", "complete", "r"):
        raise UnsupportedError(
            f"np.linalg.qr: expected mode 'reduced', 'complete' or 'r'; got {mode!r}"
        )
    found = ops.qr(a)
    m = size[-2]
    upper = turned(_rows(found, m, None))
    return upper if mode == "r" else QRResult(_rows(found, None, m), upper)


def eigh(a: Array, UPLO: str = "L") -> EighResult:
    """Eigenvalues of symmetric matrices, ascending, and eigenvectors in columns.

    The sign of a vector is LAPACK's. Vectors of equal eigenvalues are any of their
    plane: a gradient is right for functions of eigenvalues alone, and of the projection
    on that plane. Of single vectors there is none, and what joins both, as
    ``v * f(w) @ v.T`` does, lacks the elements between vectors of equal eigenvalues.

    Parameters
    ----------
    a
        Symmetric matrices, of which one triangle is read and has a gradient.
    UPLO
        Which: ``"L"`` or ``"U"``.

    Examples
    --------
    >>> eigh(np.array([[3.0, 0.0], [0.0, 2.0]])).eigenvalues
    array([2., 3.])
    """
    found = ops.eigh(as_array(a), _triangle("eigh", UPLO))
    return EighResult(getitem(found, (..., 0, slice(None))), _rows(found, 1, None))


def eigvalsh(a: Array, UPLO: str = "L") -> Array:
    """Eigenvalues of symmetric matrices, ascending; see `eigh`.

    >>> eigvalsh(np.array([[3.0, 0.0], [0.0, 2.0]]))
    array([2., 3.])
    """
    return ops.eigvalsh(as_array(a), _triangle("eigvalsh", UPLO))


def _triangle(title: str, uplo: str) -> str:
    if str(uplo).upper() not in ("L", "U"):
        raise UnsupportedError(f"np.linalg.{title}: UPLO is 'L' or 'U'; got {uplo!r}")
    return str(uplo).upper()


def _refuse_complex(title: str, a: Any) -> None:
    if isinstance(a, Node):
        raise UnsupportedError(
            f"np.linalg.{title}: eigenvalues of a general matrix are complex numbers, "
            f"which a Tensor does not hold; got a{a._value.shape}. For a symmetric "
            "matrix use eigh"
        )


def eig(a: Array) -> Any:
    """Eigenvalues and vectors of general matrices: of arrays alone.

    Raises
    ------
    UnsupportedError
        For a Tensor: what is found is complex.

    Examples
    --------
    >>> eig(np.diag([2.0, 3.0])).eigenvalues
    array([2., 3.])
    """
    _refuse_complex("eig", a)
    return np.linalg.eig(a)


def eigvals(a: Array) -> Any:
    """Eigenvalues of general matrices: of arrays alone, as `eig`.

    >>> eigvals(np.diag([2.0, 3.0]))
    array([2., 3.])
    """
    _refuse_complex("eigvals", a)
    return np.linalg.eigvals(a)


def svd(
    a: Array,
    full_matrices: bool = True,
    compute_uv: bool = True,
    hermitian: bool = False,
) -> Any:
    """Singular values, descending, and vectors: ``U diag(S) Vh = a``.

    Signs of vectors are LAPACK's; for equal singular values, see `eigh`.

    Parameters
    ----------
    a
        Matrices (..., m, n).
    full_matrices
        For Tensors that are not square, False: what completes U or Vh is not
        determined.
    compute_uv
        Whether to return the vectors, or only the singular values.

    Examples
    --------
    >>> svd(np.array([[3.0, 0.0], [0.0, 4.0]])).S
    array([4., 3.])
    """
    a = as_array(a)
    refuse("np.linalg.svd", "Use eigh, or leave it out", hermitian=(hermitian, False))
    if not compute_uv:
        return ops.svdvals(a)
    size = a.shape
    if full_matrices and len(size) >= 2 and size[-1] != size[-2]:
        if not isinstance(a, Node):
            return SVDResult(*np.linalg.svd(a))
        raise UnsupportedError(
            "np.linalg.svd: full_matrices=True adds vectors that a matrix which is not "
            f"square does not determine; got a{size}. Use full_matrices=False"
        )
    found = ops.svd(a)
    m = size[-2]
    return SVDResult(
        _rows(found, None, m),
        getitem(found, (..., m, slice(None))),
        turned(_rows(found, m + 1, None)),
    )


def svdvals(x: Array, /) -> Array:
    """Singular values, descending.

    >>> svdvals(np.array([[3.0, 0.0], [0.0, 4.0]]))
    array([4., 3.])
    """
    return ops.svdvals(as_array(x))
