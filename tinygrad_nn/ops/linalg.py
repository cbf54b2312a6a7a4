"""Inverses, solutions and determinants of matrices, and of stacks of matrices.

The rules are those of M. Giles, *Collected matrix derivative results for forward and
reverse mode algorithmic differentiation* (2008), but where another source is named.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np

from tinygrad_nn import shapes
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.op import Array, primitive
from tinygrad_nn.ops import definitions
from tinygrad_nn.ops.contraction import matmul
from tinygrad_nn.ops.samples import cases
from tinygrad_nn.shapes import Shape

__all__ = [
    "cofactors",
    "det",
    "inv",
    "lstsq",
    "pinv",
    "slogdet",
    "solve",
]

_SQUARE = (((1, 1),), ((3, 3),), ((2, 2, 2),), ((0, 0),), ((0, 2, 2),))
_NOT_SQUARE = cases(((2, 3),), ((3,),), ((2, 3, 2),), ((),))


def square(*sizes: Shape, **_settings: Any) -> Shape:
    """Shape of a stack of square matrices, from that of the first operand."""
    size = sizes[0]
    if len(size) < 2 or size[-1] != size[-2]:
        raise ShapeError("expected square matrices, along the last two axes")
    return size


def matrices(size: Shape) -> tuple[Shape, int, int]:
    """Shape of a stack, and rows and columns of its matrices."""
    if len(size) < 2:
        raise ShapeError("expected matrices, along the last two axes")
    return size[:-2], size[-2], size[-1]


def turned(x: Array) -> Array:
    """Transpose of every matrix."""
    return x.swapaxes(-1, -2)


# --- inverses ---


def _inv_back(g: Array, out: Array, _x: Array) -> Array:
    return -matmul(matmul(turned(out), g), turned(out))


@primitive(
    kind="contraction",
    formula="$x^{-1}",
    shape=square,
    vjp=_inv_back,
    samples=cases(*_SQUARE, diagonal=3.0),
    refuses=_NOT_SQUARE,
    exact=definitions.inv,
)
def inv(x: Array) -> Array:
    """Inverse of every matrix.

    >>> inv(np.array([[2.0, 0.0], [0.0, 4.0]]))
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    return np.linalg.inv(x)


def _pinv_shape(size: Shape, rcond: Any = None) -> Shape:
    del rcond
    batch, m, n = matrices(size)
    return (*batch, n, m)


def _pinv_back(g: Array, out: Array, x: Array, **_: Any) -> Array:
    p, q, gt = out, turned(out), turned(g)
    left = matmul(gt, matmul(p, q))
    right = matmul(matmul(q, p), gt)
    return (
        -matmul(matmul(q, g), q)
        + (left - matmul(x, matmul(p, left)))
        + (right - matmul(matmul(right, p), x))
    )


@primitive(
    kind="decomposition",
    formula="$x^{+}",
    shape=_pinv_shape,
    vjp=_pinv_back,
    samples=cases(
        ((3, 2),), ((2, 3),), ((2, 2),), ((2, 3, 1),), ((0, 2),), diagonal=3.0
    ),
    refuses=cases(((3,),)),
    exact=definitions.pinv,
)
def pinv(x: Array, rcond: Any = None) -> Array:
    """Pseudoinverse (Moore-Penrose) of every matrix.

    The rule holds where the rank stays what it is (Golub and Pereyra 1973, *The
    differentiation of pseudo-inverses and nonlinear least squares problems*).

    >>> pinv(np.array([[2.0], [0.0]]))
    array([[0.5, 0. ]])
    """
    return np.linalg.pinv(x, rcond)


# --- equations ---


def _solve_shape(a: Shape, b: Shape) -> Shape:
    square(a)
    _, rows, columns = matrices(b)
    if rows != a[-1]:
        raise ShapeError("expected a(n, n) and b(n, k)")
    return (*shapes.broadcast(a[:-2], b[:-2]), rows, columns)


def _solve_back(g: Array, out: Array, *system: Array) -> tuple[Array, Array]:
    back = solve(turned(system[0]), g)
    return -matmul(back, turned(out)), back


@primitive(
    kind="contraction",
    formula=r"\mathrm{solve}($system)",
    shape=_solve_shape,
    vjp=_solve_back,
    samples=cases(
        ((3, 3), (3, 2)),
        ((1, 1), (1, 1)),
        ((2, 2, 2), (2, 1)),
        ((2, 2), (2, 2, 1)),
        ((2, 2), (2, 0)),
        ((0, 0), (0, 2)),
        diagonal=3.0,
    ),
    refuses=cases(((2, 2), (3, 1)), ((2, 3), (2, 1)), ((2, 2, 2), (3, 2, 1))),
    exact=definitions.solve,
)
def solve(*system: Array) -> Array:
    """Solution x of ``a x = b``: two operands, of one rule that solves once for both.

    >>> solve(np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([[2.0], [2.0]]))
    array([[1. ],
           [0.5]])
    """
    return np.linalg.solve(*system)


def _lstsq_shape(a: Shape, b: Shape, *, rcond: Any = None) -> Shape:
    del rcond
    if len(a) != 2 or len(b) != 2 or a[0] != b[0]:
        raise ShapeError("expected a(m, n) and b(m, k)")
    return (a[1], b[1])


def _lstsq_back(
    g: Array, out: Array, *system: Array, rcond: Any
) -> tuple[Array, Array]:
    a, b = system
    p = pinv(a, rcond)
    back = matmul(p.T, g)
    residual = b - matmul(a, out)
    rest = g - matmul(a.T, back)
    share = (
        matmul(residual, matmul(p, back).T)
        + matmul(matmul(p.T, out), rest.T)
        - matmul(back, out.T)
    )
    return share, back


@primitive(
    kind="decomposition",
    formula=r"\mathrm{lstsq}($system)",
    shape=_lstsq_shape,
    vjp=_lstsq_back,
    samples=cases(
        ((3, 2), (3, 2)),
        ((2, 3), (2, 1)),
        ((2, 2), (2, 1)),
        ((3, 2), (3, 0)),
        diagonal=3.0,
    ),
    refuses=cases(((3, 2), (2, 1)), ((3,), (3, 1))),
    exact=definitions.lstsq,
)
def lstsq(*system: Array, rcond: Any = None) -> Array:
    """Solution x of least ``|a x - b|``; of several, the shortest.

    Two operands, of one rule: that of `pinv` times b.

    >>> lstsq(np.array([[1.0], [1.0]]), np.array([[1.0], [3.0]]))
    array([[2.]])
    """
    return np.linalg.lstsq(system[0], system[1], rcond)[0]


# --- determinants ---


def _scalars(*sizes: Shape) -> Shape:
    return square(*sizes)[:-2]


@primitive(
    kind="contraction",
    formula=r"\det $x",
    shape=_scalars,
    vjp=lambda g, _out, x: g[..., None, None] * cofactors(x),
    samples=cases(*_SQUARE),
    refuses=_NOT_SQUARE,
    exact=definitions.det,
)
def det(x: Array) -> Array:
    """Determinant of every matrix; its gradient is right for singular ones too.

    >>> det(np.array([[2.0, 1.0], [0.0, 4.0]])).round(12)
    np.float64(8.0)
    """
    return np.linalg.det(x)


def _cofactors_shape(*sizes: Shape) -> Shape:
    for size in sizes:
        if square(size)[-1] != sizes[0][-1]:
            raise ShapeError("expected square matrices of one size")
    return (*shapes.broadcast(*[size[:-2] for size in sizes]), *sizes[0][-2:])


def _cofactors_back(g: Array, _out: Array, *operands: Array) -> tuple[Array, ...]:
    x, *ways = operands
    # Multilinear and symmetric: g takes the place of a direction, or is one more.
    places = range(len(ways))
    shares = [cofactors(x, *ways[:i], g, *ways[i + 1 :]) for i in places]
    return (cofactors(x, *ways, g), *shares)


def _sign(places: tuple[int, ...]) -> int:
    swaps = [(a, b) for i, a in enumerate(places) for b in places[i + 1 :] if a > b]
    return -1 if len(swaps) % 2 else 1


def _by_inverse(x: Array) -> Array | None:
    """Return cofactors as textbooks do, if no matrix is near a singular one.

    The error of an inverse grows with the condition: here, to eps ** (2 / 3) at most.
    """
    with np.errstate(all="ignore"):
        volume = np.linalg.det(x)
        limits = np.finfo(volume.dtype)
        if not (np.isfinite(volume) & (np.abs(volume) > limits.tiny)).all():
            return None
        try:
            inverse = np.linalg.inv(x)
        except np.linalg.LinAlgError:
            return None
        sizes = [np.abs(m).sum(-1).max(-1, initial=0.0) for m in (x, inverse)]
        if not (sizes[0] * sizes[1] < limits.eps ** (-1 / 3)).all():
            return None
        made: Array = volume[..., None, None] * np.swapaxes(inverse, -1, -2)
        return made


@primitive(
    kind="decomposition",
    formula=r"\mathrm{cofactors}($operands)",
    shape=_cofactors_shape,
    vjp=_cofactors_back,
    samples=cases(
        ((3, 3),),
        ((1, 1),),
        ((2, 2, 2),),
        ((0, 0),),
        ((3, 3), (3, 3)),
        ((2, 3, 3), (3, 3)),
        ((3, 3), (3, 3), (3, 3)),
    ),
    refuses=cases(((2, 3),), ((2, 2), (3, 3))),
    exact=definitions.cofactors,
)
def cofactors(*operands: Array) -> Array:
    r"""Gradient of the determinant; of further operands, its derivatives along them.

    ``cofactors(x)`` holds the cofactors, ``cofactors(x, g)`` the gradient of
    :math:`\langle g, \mathrm{cofactors}(x) \rangle`, and so on: derivatives of a
    determinant are multilinear and symmetric, so this op is its own rule. They are
    polynomials, and right for matrices of any rank: with x = U S Vᵀ, all is turned to
    the diagonal matrix S, where a derivative of order k is the sum, over k rows of S,
    of the product of all other singular values times a k by k determinant.

    >>> cofactors(np.array([[2.0, 1.0], [3.0, 4.0]])).round(12)
    array([[ 4., -3.],
           [-1.,  2.]])
    """
    x, *ways = operands
    n = x.shape[-1]
    if len(ways) >= n:  # a polynomial of degree n has no more derivatives
        return np.zeros(np.broadcast_shapes(*map(np.shape, operands)), x.dtype)
    quick = None if ways else _by_inverse(x)
    if quick is not None:
        return quick
    known = np.isfinite(x).all((-2, -1), keepdims=True)
    u, s, vh = np.linalg.svd(np.where(known, x, 0))  # which takes no nan
    v, ut = np.swapaxes(vh, -1, -2), np.swapaxes(u, -1, -2)
    sign = np.rint(np.linalg.det(u) * np.linalg.det(vh))
    k = len(ways) + 1
    # The products of the singular values of all rows but those named by k letters.
    rows = np.indices((n,) * k)[..., None] == np.arange(n)
    sizes = s.reshape(*s.shape[:-1], *[1] * k, n)
    rest = np.prod(np.where(rows.any(axis=0), 1, sizes), -1)
    letters = "abcdefghijklmnopqrstuvw"[:k]
    near = [np.matmul(np.matmul(ut, way), v) for way in ways]
    total = 0
    for order in permutations(range(k)):
        terms = [f"...{letters[i]}{letters[order[i]]}" for i in range(k - 1)]
        spelled = ",".join([f"...{letters}", *terms, f"{letters[order[-1]]}z"])
        total = total + _sign(order) * np.einsum(
            f"{spelled}->...{letters[-1]}z", rest, *near, np.eye(n, dtype=x.dtype)
        )
    found = np.matmul(np.matmul(u, sign[..., None, None] * total), vh)
    return np.where(known, found, np.nan)


def _slogdet_shape(*sizes: Shape) -> Shape:
    return (*square(*sizes)[:-2], 2)


@primitive(
    kind="decomposition",
    formula=r"\mathrm{slogdet}($x)",
    shape=_slogdet_shape,
    vjp=lambda g, _out, x: g[..., 1, None, None] * turned(inv(x)),
    samples=cases(*_SQUARE, diagonal=3.0),
    refuses=_NOT_SQUARE,
    exact=definitions.slogdet,
)
def slogdet(x: Array) -> Array:
    """Sign of every determinant, and beside it the logarithm of its size.

    >>> slogdet(np.array([[0.0, 1.0], [1.0, 0.0]]))
    array([-1.,  0.])
    """
    return np.stack(np.linalg.slogdet(x), axis=-1)
