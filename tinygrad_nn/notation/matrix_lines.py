"""What a person would write for ops of linear algebra that find several arrays at once.

An op lays what it finds in one matrix, and so does its line, piece by piece.
"""

from __future__ import annotations

from itertools import permutations

__all__ = ["LINES", "cofactors"]

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
