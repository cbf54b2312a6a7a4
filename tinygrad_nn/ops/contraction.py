"""Products that sum over shared axes: matmul in every combination, and einsum."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence

import numpy as np

from tinygrad_nn import shapes
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.op import Array, primitive
from tinygrad_nn.ops.samples import cases
from tinygrad_nn.shapes import Shape

__all__ = ["contracted", "einsum", "explicit", "matmul"]


def _product_shape(x: Shape, y: Shape) -> Shape:
    if not x or not y:
        raise ShapeError("expected at least one axis each; use * for numbers")
    if len(x) == 1 and len(y) == 1:
        law, fits = "x(k) and y(k)", x == y
    elif len(y) == 1:
        law, fits = "x(n, k) and y(k)", x[-1] == y[0]
    elif len(x) == 1:
        law, fits = "x(k) and y(k, m)", x[0] == y[-2]
    else:
        law, fits = "x(n, k) and y(k, m)", x[-1] == y[-2]
    if not fits:
        raise ShapeError(f"expected {law}")
    batch = shapes.broadcast(x[:-2], y[:-2])
    return (*batch, *x[-2:-1], *(y[-1:] if len(y) > 1 else ()))


def _left(g: Array, _out: Array, x: Array, y: Array) -> Array:
    if y.ndim == 2 and x.ndim == 2:
        return matmul(g, y.T)
    if y.ndim == 1:
        return g * y if x.ndim == 1 else g[..., None] * y
    if x.ndim == 1:
        return matmul(y, g[..., None])[..., 0]
    return matmul(g, _swapped(y))


def _right(g: Array, _out: Array, x: Array, y: Array) -> Array:
    if y.ndim == 2 and x.ndim == 2:
        return matmul(x.T, g)
    if x.ndim == 1:
        return g * x if y.ndim == 1 else x[:, None] * g[..., None, :]
    if y.ndim == 1:
        return matmul(_swapped(x), g[..., None])[..., 0]
    return matmul(_swapped(x), g)


def _swapped(x: Array) -> Array:
    rank = x.ndim
    return x.transpose((*range(rank - 2), rank - 1, rank - 2))


@primitive(
    kind="contraction",
    formula="$x\\, $y",
    shape=_product_shape,
    vjp=(_left, _right),
    samples=cases(
        ((2, 3), (3, 4)),
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((4, 2, 3), (4, 3, 2)),
        ((4, 2, 3), (3, 2)),
        ((2, 3), (4, 3, 2)),
        ((1, 2, 3), (4, 3, 2)),
        ((3,), (4, 3, 2)),
        ((4, 2, 3), (3,)),
        ((2, 1, 2, 3), (4, 3, 2)),
        ((2, 0), (0, 3)),
        ((0, 2), (2, 3)),
        ((1, 1), (1, 1)),
        ((0,), (0,)),
        ((0, 2, 3), (3,)),
    ),
    refuses=cases(
        ((4, 3), (2, 5)),
        ((3,), (4,)),
        ((4, 3), (4,)),
        ((), (3,)),
        ((2, 2, 3), (3, 3, 1)),
    ),
)
def matmul(x: Array, y: Array) -> Array:
    """Matrix product: vectors, matrices, and stacks of matrices that broadcast.

    >>> matmul(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 1.0]))
    array([3., 7.])
    """
    # np.dot has the smaller overhead, and means the same up to two axes.
    try:
        if x.ndim == 2 and y.ndim == 2:
            return np.dot(x, y)
    except AttributeError:  # a number, which np.matmul refuses
        pass
    return np.matmul(x, y)


# --- einsum ----------------------------------------------------------------------


def explicit(subscripts: str, ranks: tuple[int, ...]) -> tuple[list[str], str]:
    """Subscripts with every ellipsis spelled out and the output given."""
    text = subscripts.replace(" ", "")
    left, arrow, output = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ShapeError(
            f"subscripts {subscripts!r} name {len(terms)} operands; "
            f"expected {len(ranks)}"
        )
    spare = [c for c in string.ascii_letters if c not in text]
    widths = []
    for term, rank in zip(terms, ranks, strict=True):
        letters = term.replace("...", "")
        width = rank - len(letters)
        if width < 0 or (width and "..." not in term):
            raise ShapeError(
                f"term {term!r} of {subscripts!r} names {len(letters)} axes; "
                f"expected {rank}"
            )
        widths.append(width)
    dots = "".join(spare[: max(widths, default=0)])
    full = [
        term.replace("...", dots[len(dots) - width :])
        for term, width in zip(terms, widths, strict=True)
    ]
    if not arrow:
        letters = "".join(terms).replace("...", "")
        once = sorted(c for c in set(letters) if letters.count(c) == 1)
        output = dots + "".join(once)
    else:
        output = output.replace("...", dots)
    return full, output


def _sizes(terms: list[str], sizes: tuple[Shape, ...]) -> dict[str, int]:
    known: dict[str, int] = {}
    for term, size in zip(terms, sizes, strict=True):
        for letter, n in zip(term, size, strict=True):
            if size[term.index(letter)] != n:
                raise ShapeError(
                    f"axis {letter!r} has sizes {size[term.index(letter)]} and {n} in "
                    "one operand; expected equal sizes"
                )
            if known.get(letter, 1) not in (1, n) and n != 1:
                raise ShapeError(
                    f"axis {letter!r} has sizes {known[letter]} and {n}; "
                    "expected equal sizes"
                )
            known[letter] = n if known.get(letter, 1) == 1 else known[letter]
    return known


def _einsum_shape(*sizes: Shape, subscripts: str = "") -> Shape:
    terms, output = explicit(subscripts, tuple(len(size) for size in sizes))
    known = _sizes(terms, sizes)
    if not set(output) <= set(known) or len(set(output)) != len(output):
        raise ShapeError(f"output {output!r} must name axes of the operands once each")
    return tuple(known[letter] for letter in output)


def _einsum_back(
    g: Array, _out: Array, *operands: Array, subscripts: str
) -> tuple[Array, ...]:
    terms, output = explicit(subscripts, tuple(x.ndim for x in operands))
    known = _sizes(terms, tuple(x.shape for x in operands))
    shares = []
    for i, term in enumerate(terms):
        parts: list[tuple[str, Array]] = [(output, g)]
        parts += [(terms[j], operands[j]) for j in range(len(terms)) if j != i]
        wanted = ""
        present = _sizes(
            [letters for letters, _ in parts],
            tuple(np.shape(array) for _, array in parts),
        )
        spare = iter(
            c for c in string.ascii_letters if c not in "".join(terms) + output
        )
        for letter in term:
            if letter in wanted:
                # A diagonal: the second axis of the pair is tied to the first.
                twin = next(spare)
                parts.append((letter + twin, np.eye(known[letter], dtype=g.dtype)))
                wanted += twin
                continue
            if present.get(letter) != known[letter]:
                # Summed alone, or against a repeated axis of size 1: every element
                # along this axis gets the same share.
                parts.append((letter, np.ones(known[letter], dtype=g.dtype)))
            wanted += letter
        shares.append(contracted(parts, wanted))
    return tuple(shares)


def contracted(parts: Sequence[tuple[str, Array]], output: str) -> Array:
    """Sum of products of arrays whose axes have letters.

    Of two it is a product of matrices, which is much quicker, where each letter is an
    axis of one size, and some are summed over that both have.
    """
    if len(parts) == 2:
        (first, a), (second, b) = parts
        sizes = dict(zip(first, np.shape(a), strict=True))
        others = dict(zip(second, np.shape(b), strict=True))
        plain = (
            len(sizes) == len(first)
            and len(others) == len(second)
            and sizes.keys() ^ others.keys() <= {*output} < sizes.keys() | others.keys()
            and all(sizes.get(letter, n) == n for letter, n in others.items())
        )
        if plain and sizes.keys() != others.keys():
            return _by_matmul(first, a, second, b, output, sizes | others)
    spelled = ",".join(letters for letters, _ in parts) + "->" + output
    return einsum(*[array for _, array in parts], subscripts=spelled)


def _by_matmul(
    first: str, a: Array, second: str, b: Array, output: str, sizes: dict[str, int]
) -> Array:
    batch = [c for c in output if c in first and c in second]
    own = [c for c in output if c not in batch]
    if own and own[0] in second:  # the result has its axes in order, or nearly
        first, a, second, b = second, b, first, a
    shared = [c for c in first if c in second and c not in output]
    rows = [c for c in first if c not in second]
    columns = [c for c in second if c not in first]

    def many(axes: list[str]) -> int:
        return math.prod(sizes[c] for c in axes)

    lead = tuple(sizes[c] for c in batch)
    x = _ordered(a, first, [*batch, *rows, *shared])
    y = _ordered(b, second, [*batch, *shared, *columns])
    product = matmul(
        _shaped(x, (*lead, many(rows), many(shared))),
        _shaped(y, (*lead, many(shared), many(columns))),
    )
    axes = [*batch, *rows, *columns]
    product = _shaped(product, tuple(sizes[c] for c in axes))
    return _ordered(product, "".join(axes), list(output))


def _shaped(x: Array, shape: Shape) -> Array:
    return x if x.shape == shape else x.reshape(shape)


def _ordered(x: Array, have: str, wanted: list[str]) -> Array:
    """Return the axes in another order."""
    return x if [*have] == wanted else x.transpose([have.index(c) for c in wanted])


@primitive(
    kind="contraction",
    formula=r"\mathrm{einsum}_{$subscripts}($operands)",
    shape=_einsum_shape,
    vjp=_einsum_back,
    samples=cases(
        ((2, 3), (3, 4), {"subscripts": "ij,jk->ik"}),
        ((2, 3), (3, 4), {"subscripts": "ij,jk"}),
        ((3, 3), {"subscripts": "ii->i"}),
        ((3, 3), {"subscripts": "ii"}),
        ((2, 3), {"subscripts": "ij->j"}),
        ((2, 3), (2, 3), {"subscripts": "ij,ij->"}),
        ((2, 3, 4), (4, 5), {"subscripts": "...j,jk->...k"}),
        ((2, 3), (4, 1, 3), {"subscripts": "...i,...i->..."}),
        ((2,), (3,), (4,), {"subscripts": "i,j,k->kij"}),
        ((2, 3), {"subscripts": "ij->ji"}),
        ((3, 3, 3), {"subscripts": "iii->i"}),
        ((3, 3, 2), (2, 3), {"subscripts": "iij,ji->j"}),
        ((1, 3), {"subscripts": "ij->j"}),
        ((1, 3), (2, 3), {"subscripts": "ij,ij->j"}),
        ((2, 1), (1, 3), {"subscripts": "ij,ij->ij"}),
        ((2, 3), (3, 2), (2,), {"subscripts": "ij,jk,k"}),
        ((0, 3), (3, 2), {"subscripts": "ij,jk->ik"}),
        ((), (2, 3), {"subscripts": ",ij->i"}),
    ),
    refuses=cases(
        ((2, 3), (4, 5), {"subscripts": "ij,jk->ik"}),
        ((2, 3), {"subscripts": "i->i"}),
        ((2, 3), {"subscripts": "ij,jk->ik"}),
        ((1, 2), {"subscripts": "ii"}),
    ),
)
def einsum(*operands: Array, subscripts: str = "") -> Array:
    """Sum of products by Einstein's convention, with ellipsis and repeated letters.

    >>> einsum(np.eye(2), np.array([1.0, 2.0]), subscripts="ij,j->i")
    array([1., 2.])
    """
    found = np.einsum(subscripts, *operands)
    # Of one operand NumPy may give a view, which would change with a parameter.
    return found if getattr(found, "base", None) is None else np.array(found)
