"""Linear algebra by its definitions, in operators: what ops of LAPACK's are held to.

NumPy has no linear algebra of objects, so where numbers have many digits, or are exact,
an op is computed by the textbook's way that is written here: elimination, reflections,
rotations. Signs that the mathematics leaves open are LAPACK's.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np

from tinygrad_nn.op import Array

__all__ = [
    "cholesky",
    "cofactors",
    "det",
    "eigh",
    "eigvalsh",
    "inv",
    "lstsq",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
]

_SWEEPS = 12
"""Rotations converge quadratically: so many sweeps give more than fifty digits."""


def _each(one: Callable[..., Any], *stacks: Array, **settings: Any) -> Array:
    """Apply what is defined for matrices to stacks of them, which broadcast."""
    arrays = [np.asarray(x) for x in stacks]
    batch = np.broadcast_shapes(*[x.shape[:-2] for x in arrays])
    full = [np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in arrays]
    if not batch:
        return np.asarray(one(*full, **settings))
    made = [one(*[x[place] for x in full], **settings) for place in np.ndindex(batch)]
    if not made:
        inner = np.asarray(one(*[np.eye(*x.shape[-2:]) for x in full], **settings))
        return np.zeros((*batch, *inner.shape))
    stacked = np.stack([np.asarray(x, object) for x in made])
    return stacked.reshape((*batch, *stacked.shape[1:]))


def _zeros(*shape: int) -> Array:
    return np.full(shape, 0, object)


def _one_by(n: int) -> Array:
    return np.eye(n, dtype=int).astype(object)


# --- elimination ---


def _eliminated(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the determinant, and what is left of b: the solution, if there is one."""
    a, b = a.astype(object), b.astype(object)
    n = len(a)
    volume: Any = 1
    for i in range(n):
        pivots = [k for k in range(i, n) if a[k, i] != 0]
        if not pivots:
            return 0, b
        k = pivots[0]
        if k != i:
            a[[i, k]], b[[i, k]], volume = a[[k, i]], b[[k, i]], -volume
        volume = volume * a[i, i]
        b[i], a[i] = b[i] / a[i, i], a[i] / a[i, i]
        for j in range(n):
            if j != i:
                b[j], a[j] = b[j] - a[j, i] * b[i], a[j] - a[j, i] * a[i]
    return volume, b


def _solved(a: Array, b: Array) -> Array:
    volume, x = _eliminated(a, b)
    if volume == 0:
        raise np.linalg.LinAlgError("Singular matrix")
    return x


def solve(a: Array, b: Array) -> Array:
    """Solution of linear equations, by elimination."""
    return _each(_solved, a, b)


def inv(x: Array) -> Array:
    """Inverse, by elimination."""
    return _each(lambda a: _solved(a, _one_by(len(a))), x)


def _volume(a: Array) -> Any:
    return _eliminated(a, _zeros(len(a), 0))[0]


def det(x: Array) -> Array:
    """Determinant, by elimination."""
    return _each(_volume, x)


def _signed_log(a: Array) -> Array:
    volume = _volume(a)
    sign = 1 if volume > 0 else -1
    return np.array([sign, np.log(volume * sign)], object)


def slogdet(x: Array) -> Array:
    """Sign of the determinant, and the logarithm of its size."""
    return _each(_signed_log, x)


def _cofactors(a: Array, *rows: Array) -> Array:
    """Cofactors with rows of other matrices in place of some of the first's.

    A determinant is linear in each row, so these are its derivatives along the others.
    """
    n = len(a)
    made = _zeros(n, n)
    for places in permutations(range(n), len(rows)):
        mixed = a.astype(object)
        for place, other in zip(places, rows, strict=True):
            mixed[place] = other[place]
        for i, j in np.ndindex(n, n):
            if i not in places:
                minor = np.delete(np.delete(mixed, i, 0), j, 1)
                made[i, j] = made[i, j] + _volume(minor) * (-1) ** (i + j)
    return made


def cofactors(*operands: Array) -> Array:
    """Cofactors and their derivatives, by minors."""
    return _each(_cofactors, *operands)


# --- least squares ---


def _pseudoinverse(a: Array) -> Array:
    a = a.astype(object)
    if a.shape[0] >= a.shape[1]:
        return _solved(np.dot(a.T, a), a.T)
    return np.asarray(_solved(np.dot(a, a.T), a).T)


def pinv(x: Array, rcond: Any = None) -> Array:  # noqa: ARG001 (of rounding alone)
    """Pseudoinverse of a matrix of full rank, by the normal equations."""
    return _each(_pseudoinverse, x)


def lstsq(a: Array, b: Array, rcond: Any = None) -> Array:
    """Solution of least squares, and of least length."""
    return np.asarray(np.dot(pinv(a, rcond), b))


# --- decompositions ---


def _root(a: Array) -> Array:
    n = len(a)
    made = _zeros(n, n)
    for i in range(n):
        for j in range(i + 1):
            rest = a[i, j] - sum(made[i, k] * made[j, k] for k in range(j))
            made[i, j] = np.sqrt(rest) if i == j else rest / made[j, j]
    return made


def cholesky(x: Array) -> Array:
    """Lower triangular root of a positive definite matrix, row by row."""
    return _each(_root, x)


def _reflected(a: Array) -> Array:
    """Return Q above the transpose of R, by Householder's reflections."""
    m, n = a.shape
    k = min(m, n)
    r, q = a.astype(object), _one_by(m)
    for j in range(k):
        below = sum(x * x for x in r[j + 1 :, j])
        if below == 0:  # as in LAPACK: nothing to reflect
            continue
        length = np.sqrt(r[j, j] * r[j, j] + below)
        v = r[j:, j].copy()
        v[0] = v[0] + (length if v[0] >= 0 else -length)
        scale = 2 / np.dot(v, v)
        r[j:] = r[j:] - np.outer(v, np.dot(v, r[j:])) * scale
        q[:, j:] = q[:, j:] - np.outer(np.dot(q[:, j:], v), v) * scale
    upper = np.where(np.tri(k, n, -1, dtype=bool), 0, r[:k])
    return np.concatenate([q[:, :k], upper.T])


def qr(x: Array) -> Array:
    """Orthonormal columns, above the transpose of the triangular factor."""
    return _each(_reflected, x)


def _turn(p: Any, q: Any, both: Any) -> tuple[Any, Any]:
    """Cosine and sine of the rotation that takes away what two axes share."""
    if both == 0:
        return 1, 0
    slope = (q - p) / (2 * both)
    root = abs(slope) + np.sqrt(slope * slope + 1)
    t = 1 / root if slope >= 0 else -1 / root
    c = 1 / np.sqrt(t * t + 1)
    return c, c * t


def _pairs(n: int) -> list[tuple[int, int]]:
    return [(i, j) for _ in range(_SWEEPS) for i in range(n) for j in range(i + 1, n)]


def _turned(columns: Array, i: int, j: int, c: Any, s: Any) -> None:
    x, y = columns[:, i].copy(), columns[:, j].copy()
    columns[:, i], columns[:, j] = c * x - s * y, s * x + c * y


def _principal(a: Array, uplo: Any) -> Array:
    """Return eigenvalues above eigenvectors, by Jacobi's rotations."""
    n = len(a)
    lower = np.tri(n, dtype=bool) if uplo == "L" else np.tri(n, dtype=bool).T
    a = np.where(lower, a, a.T).astype(object)
    v = _one_by(n)
    for i, j in _pairs(n):
        c, s = _turn(a[i, i], a[j, j], a[i, j])
        _turned(a, i, j, c, s)
        _turned(a.T, i, j, c, s)
        _turned(v, i, j, c, s)
    values = a[range(n), range(n)]
    order = sorted(range(n), key=lambda i: values[i])
    return np.concatenate([values[order][None], v[:, order]])


def _floats(x: Array) -> Array:
    """Round numbers, also those that refuse ``float`` and hold digits in `value`."""
    made = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        made[place] = float(getattr(x[place], "value", x[place]))
    return made


def _alike(columns: Array, known: Array) -> Array:
    """Return +-1 for each column: whether it points as the known one does."""
    return np.where(np.sum(_floats(columns) * known, axis=0) < 0, -1, 1)


def _signed_principal(a: Array, uplo: Any) -> Array:
    made = _principal(a, uplo)
    known = np.linalg.eigh(_floats(a), uplo)[1]
    made[1:] = made[1:] * _alike(made[1:], known)
    return made


def eigh(x: Array, UPLO: Any = "L") -> Array:
    """Eigenvalues above eigenvectors of a symmetric matrix."""
    return _each(_signed_principal, x, uplo=UPLO)


def eigvalsh(x: Array, UPLO: Any = "L") -> Array:
    """Eigenvalues of a symmetric matrix."""
    return _each(lambda a: _principal(a, UPLO)[0], x)


def _singular(a: Array) -> tuple[Array, Array, Array]:
    """Return U, the singular values and V, by rotations of columns (Hestenes 1958)."""
    if a.shape[0] < a.shape[1]:
        u, s, v = _singular(a.T)
        return v, s, u
    u, v = a.astype(object), _one_by(a.shape[1])
    for i, j in _pairs(a.shape[1]):
        x, y = u[:, i], u[:, j]
        c, s = _turn(np.dot(x, x), np.dot(y, y), np.dot(x, y))
        _turned(u, i, j, c, s)
        _turned(v, i, j, c, s)
    sizes = [np.sqrt(np.dot(x, x)) for x in u.T]
    order = sorted(range(len(sizes)), key=lambda i: sizes[i], reverse=True)
    values = np.array([*sizes, None], object)[:-1][order]
    return u[:, order] / values, values, v[:, order]


def _parts(a: Array) -> Array:
    u, s, v = _singular(a)
    signs = _alike(u, np.linalg.svd(_floats(a), full_matrices=False)[0])
    return np.concatenate([u * signs, s[None], v * signs])


def svd(x: Array) -> Array:
    """Left vectors, singular values and right vectors, one above the other."""
    return _each(_parts, x)


def svdvals(x: Array) -> Array:
    """Singular values, the largest first."""
    return _each(lambda a: _singular(a)[1], x)
