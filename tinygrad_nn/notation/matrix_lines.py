"""What a person would write for ops of linear algebra that find several arrays at once.

An op lays what it finds in one matrix, and so does its line, piece by piece.
"""

from __future__ import annotations

import ast
from itertools import permutations
from typing import Any

__all__ = ["LINES", "cofactors", "piece"]

LINES = {
    "eigh": (
        "np.concatenate([np.linalg.eigvalsh(x, UPLO)[..., None, :], "
        "np.linalg.eigh(x, UPLO)[1]], axis=-2)"
    ),
    "qr": (
        "np.concatenate([np.linalg.qr(x)[0], "
        "np.swapaxes(np.linalg.qr(x, 'r'), -1, -2)], axis=-2)"
    ),
    "svd": (
        "np.concatenate([np.linalg.svd(x, full_matrices=False)[0], "
        "np.linalg.svd(x, compute_uv=False)[..., None, :], "
        "np.swapaxes(np.linalg.svd(x, full_matrices=False)[2], -1, -2)], axis=-2)"
    ),
}
"""The line of an op, in its operand and settings."""

_WHOLE = slice(None)


def piece(name: str, index: Any, rows: int, line: ast.expr) -> ast.expr | None:
    """Return the piece of an op's line that an index takes; None if it takes another.

    Parameters
    ----------
    name
        The op, which has a line here, or is `slogdet`.
    index
        What is taken of the matrix that it lays all in.
    rows
        Of the op's operand.
    line
        What is written for the op.
    """
    if not isinstance(line, ast.Call):
        return None
    if name == "slogdet" and index in ((..., 0), (..., 1)):
        return ast.Subscript(line.args[0], ast.Constant(index[1]), ast.Load())
    known: dict[str, list[Any]] = {
        "eigh": [0, slice(1, None)],
        "qr": [slice(None, rows), slice(rows, None)],
        "svd": [slice(None, rows), rows, slice(rows + 1, None)],
    }
    pieces = line.args[0]
    if not isinstance(pieces, ast.List):
        return None
    for taken, part in zip(known.get(name, []), pieces.elts, strict=False):
        if index == (..., taken, _WHOLE):
            # A row of numbers was given an axis, to be laid beside the others.
            if isinstance(taken, int) and isinstance(part, ast.Subscript):
                return part.value
            return part
    return None


def cofactors(count: int) -> str:
    """Return the line of `cofactors` of so many operands, ``x0``, ``x1`` and so on.

    It is that of textbooks, which divides by the determinant: d det = det tr(inv dx),
    and so on for products of it, a trace for each cycle of a permutation.

    >>> cofactors(1)
    'np.linalg.det(x0)[..., None, None] * np.swapaxes(np.linalg.inv(x0), -1, -2)'
    """
    terms = [_term(order) for order in permutations(range(1, count + 1))]
    total = " + ".join(terms)
    if count > 1:
        total = f"({total})"
    return f"np.linalg.det(x0)[..., None, None] * {total}"


def _term(order: tuple[int, ...]) -> str:
    """Write the term of a permutation; the last number stands for no operand."""
    last, left, factors, swaps = len(order), set(order), [], 0
    while left:
        place = max(left)
        cycle = []
        while place in left:
            left.remove(place)
            cycle.append(place)
            place = order[place - 1]
        swaps += len(cycle) - 1
        turned = " @ ".join(f"np.linalg.inv(x0) @ x{i}" for i in cycle if i != last)
        if last in cycle:
            product = f"{turned} @ np.linalg.inv(x0)" if turned else "np.linalg.inv(x0)"
            factors.append(f"np.swapaxes({product}, -1, -2)")
        else:
            trace = f"np.trace({turned}, axis1=-2, axis2=-1)"
            factors.append(f"{trace}[..., None, None]")
    return ("-" if swaps % 2 else "") + " * ".join(factors)
