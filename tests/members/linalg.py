"""Members of linear algebra.

NumPy's linear algebra knows floats alone, so most compositions stand beside what they
are in textbooks, of `tinygrad_nn.ops.definitions`, for numbers of fifty digits.
"""

from __future__ import annotations

import numpy as np

import tinygrad_nn as tg
from members.rows import composition, of_list
from tinygrad_nn.ops import definitions

linalg = tg.linalg


def _turned(x):
    return np.swapaxes(x, -1, -2)


def _part(function, **fixed):
    """Return one of several results, by its name or its number."""

    def call(*arrays, part, **settings):
        found = function(*arrays, **fixed, **settings)
        return found[part] if isinstance(part, int) else getattr(found, part)

    return call


# --- definitions ---


def _solve(a, b):
    if b.ndim == 1:
        return definitions.solve(a, b[:, None])[..., 0]
    return definitions.solve(a, b)


def _lstsq(a, b, part):
    columns = b if b.ndim == 2 else b[:, None]
    x = definitions.lstsq(a, columns)
    if part == 1:
        return np.sum((columns - np.dot(a, x)) ** 2, axis=0)
    return x if b.ndim == 2 else x[:, 0]


def _cholesky(a, upper=False):
    return (
        _turned(definitions.cholesky(_turned(a))) if upper else definitions.cholesky(a)
    )


def _qr(a, part, mode="reduced"):
    del mode
    found, m = definitions.qr(a), a.shape[-2]
    return found[..., :m, :] if part == "Q" else _turned(found[..., m:, :])


def _eigh(a, part, **settings):
    found = definitions.eigh(a, **settings)
    return found[..., 0, :] if part == "eigenvalues" else found[..., 1:, :]


def _svd(a, part):
    found, m = definitions.svd(a), a.shape[-2]
    parts = {"U": found[..., :m, :], "S": found[..., m, :]}
    return parts.get(part, _turned(found[..., m + 1 :, :]))


def _power(a, n):
    if n < 0:
        a, n = definitions.inv(a), -n
    result = np.broadcast_to(np.eye(a.shape[-1], dtype=int).astype(object), a.shape)
    for _ in range(n):
        result = np.matmul(result, a)
    return result


def _tensorinv(a, ind=2):
    shape = a.shape[:ind], a.shape[ind:]
    n = int(np.prod(shape[1]))
    return definitions.inv(a.reshape(n, n)).reshape(shape[1] + shape[0])


def _tensorsolve(a, b, axes=None):
    if axes is not None:
        rest = [i for i in range(a.ndim) if i not in axes]
        a = np.transpose(a, [*rest, *axes])
    shape = a.shape[b.ndim :]
    return definitions.solve(a.reshape(b.size, b.size), b.reshape(-1, 1)).reshape(shape)


def _norm(x, ord=None, axis=None, keepdims=False):
    axes = tuple(range(x.ndim)) if axis is None else axis
    rows, columns = (i % x.ndim for i in axes)
    x = np.moveaxis(x, (rows, columns), (-2, -1))
    size = abs(x)
    if ord in (2, -2, "nuc"):
        s = definitions.svdvals(x)
        found = {2: np.max, -2: np.min, "nuc": np.sum}[ord](s, axis=-1)
    elif ord in (None, "fro"):
        found = np.sqrt(np.sum(x * x, axis=(-2, -1)))
    else:
        sums = np.sum(size, axis=-2 if ord in (1, -1) else -1)
        found = (np.max if ord > 0 else np.min)(sums, axis=-1)
    if keepdims:
        found = np.expand_dims(found, tuple(sorted((rows, columns))))
    return found


def _cond(x, p=None):
    if p is None or p in (2, -2):
        s = definitions.svdvals(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return _norm(x, p, (-2, -1)) * _norm(definitions.inv(x), p, (-2, -1))


# --- members ---

_SQUARE = (((2, 2), {}), ((2, 2, 2), {}), ((0, 0), {}))
_BOTH = [((2, 2), {"part": 0}), ((3, 3), {"part": 1}), ((2, 2, 2), {"part": 1})]


def _of(name, rows, body, diagonal=3.0):
    return composition(name, getattr(linalg, name), rows, body=body, diagonal=diagonal)


def _parts_of(name, rows, body, diagonal=3.0):
    call = _part(getattr(linalg, name))
    return composition(name, call, rows, body=body, diagonal=diagonal)


COMPOSITIONS = [
    *_of("inv", _SQUARE, definitions.inv),
    *_of("det", _SQUARE, definitions.det),
    *_of("pinv", [((3, 2), {}), ((2, 3), {"rcond": 1e-9}), ((2, 2, 1), {"rtol": None})],
         lambda a, **_: definitions.pinv(a)),
    *_of("solve",
         [((2, 2), (2,), {}), ((2, 2, 2), (2,), {}), ((2, 2), (2, 3), {}),
          ((2, 2, 2), (2, 1), {}), ((0, 0), (0,), {}), ((2, 2), (3, 2, 1), {})],
         _solve),
    *_parts_of("lstsq",
               [((3, 2), (3,), {"part": 0}), ((3, 2), (3, 2), {"part": 0}),
                ((3, 2), (3,), {"part": 1}), ((3, 2), (3, 2), {"part": 1}),
                ((2, 3), (2,), {"part": 0})],
               _lstsq),
    *_parts_of("slogdet", [((2, 2), {"part": 0}), ((3, 3), {"part": 1}),
                           ((2, 2, 2), {"part": "logabsdet"})],
               lambda a, part: definitions.slogdet(a)[..., 1 if part else 0]),
    *_of("cholesky", [*_SQUARE, ((3, 3), {"upper": True})], _cholesky, diagonal=4.0),
    *_parts_of("qr",
               [((3, 2), {"part": "Q"}), ((3, 2), {"part": "R"}), ((2, 3), {"part": "R"}),
                ((2, 3), {"part": "Q", "mode": "complete"}), ((2, 2, 2), {"part": "Q"})],
               _qr, diagonal=2.0),
    *composition("qr", linalg.qr, [((3, 2), {"mode": "r"})],
                 body=lambda a, mode: _qr(a, "R"), diagonal=2.0),
    *_parts_of("eigh",
               [((3, 3), {"part": "eigenvalues"}), ((3, 3), {"part": "eigenvectors"}),
                ((2, 2, 2), {"part": "eigenvectors", "UPLO": "U"})],
               _eigh, diagonal=4.0),
    *_of("eigvalsh", [((3, 3), {}), ((2, 2), {"UPLO": "U"})], definitions.eigvalsh, 4.0),
    *composition("svd", _part(linalg.svd, full_matrices=False),
                 [((3, 2), {"part": "U"}), ((2, 3), {"part": "S"}),
                  ((2, 3), {"part": "Vh"}), ((2, 2, 2), {"part": "Vh"})],
                 body=_svd, diagonal=3.0),
    *_of("svdvals", [((3, 2), {})], definitions.svdvals),
    *_of("matrix_power",
         [((2, 2), {"n": n}) for n in (0, 2, 3, 5, 6, -1, -2)] + [((2, 2, 2), {"n": 2})],
         _power),
    *composition("multi_dot", of_list(linalg.multi_dot),
                 [((2, 3), (3, 1), {}), ((2, 3), (3, 1), (1, 2), {}),
                  ((3,), (3, 2), (2, 4), (4,), {}), ((1, 3), (3, 2), (2, 4), (4, 1), {}),
                  ((3,), (3,), {}), ((2, 0), (0, 3), (3, 1), {})]),
    *_of("tensorinv", [((2, 1, 2), {"ind": 1}), ((2, 2, 4), {"ind": 2})], _tensorinv, 0.0),
    *_of("tensorsolve", [((2, 1, 2), (2,), {}), ((2, 2, 1), (2,), {"axes": (1,)})],
         _tensorsolve, 0.0),
    *_of("cond", [((2, 2), {"p": p}) for p in (None, 2, -2, 1, -1, "fro", "nuc", np.inf, -np.inf)]
         + [((3, 2), {}), ((2, 2, 2), {"p": 1})], _cond),
    *_of("norm",
         [((3, 2), {"ord": o}) for o in (1, -1, 2, -2, "nuc", np.inf, -np.inf)]
         + [((2, 3, 2), {"ord": o, "axis": (2, 0), "keepdims": True}) for o in (1, -np.inf, 2, "nuc")],
         _norm),
    *_of("matrix_norm", [((2, 2, 3), {}), ((2, 3), {"ord": "nuc", "keepdims": True}), ((2, 3), {"ord": 1})],
         lambda x, ord="fro", keepdims=False: _norm(x, ord, (-2, -1), keepdims)),
    *composition("vector_norm", linalg.vector_norm,
                 [((2, 3), {}), ((2, 3, 2), {"axis": (0, -1), "ord": 4}), ((3,), {"ord": -2}),
                  ((2, 3), {"axis": 1, "keepdims": True, "ord": 1}), ((2, 3), {"ord": np.inf}),
                  ((2, 3), {"ord": -np.inf, "axis": (0, 1), "keepdims": True})]),
    *composition("matrix_transpose", tg.matrix_transpose, [((2, 3), {}), ((2, 1, 3), {}), ((0, 2), {})]),
]  # fmt: skip


def _numpys_qr(a, mode="reduced", part=None):
    found = np.linalg.qr(a, mode)
    return found if part is None else getattr(found, part)


BY_NUMPY = {
    name: getattr(np.linalg, name)
    for name in (
        *("cholesky", "cond", "det", "eigvalsh", "inv", "matrix_norm", "matrix_power"),
        *("matrix_transpose", "norm", "pinv", "solve", "svdvals", "tensorinv"),
        *("tensorsolve", "vector_norm"),
    )
} | {
    "eigh": _part(np.linalg.eigh),
    "lstsq": _part(np.linalg.lstsq),
    "multi_dot": of_list(np.linalg.multi_dot),
    "qr": _numpys_qr,
    "slogdet": _part(np.linalg.slogdet),
    "svd": _part(np.linalg.svd, full_matrices=False),
}

ELSEWHERE = (
    *("cross", "diagonal", "matmul", "outer", "tensordot", "trace", "vecdot"),
    *("eig", "eigvals", "matrix_rank"),
)
"""As NumPy's of the same name, refused, or constant: `test_vocabulary_linalg`."""
