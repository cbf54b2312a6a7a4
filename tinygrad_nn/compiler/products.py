"""Products with a short side, which run up to twice as fast in pieces.

A product of at most a million multiplications takes OpenBLAS's path for small matrices,
which packs no operand. A long skinny one is cut along its long side to fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn.op import Node, inputs_of

__all__ = ["chunk_of", "way", "way_of"]

SMALL = 1_000_000
"""Multiplications up to which OpenBLAS packs no operand."""
SHORT = 16
"""The longest short side."""


def _sizes(node: Any) -> tuple[int, int, int] | None:
    """Return rows, columns of the result, and what is summed over."""
    if node._op.name != "matmul":
        return None
    x, y = (z._value if isinstance(z, Node) else z for z in inputs_of(node))
    if np.ndim(x) != 2 or np.ndim(y) != 2:
        return None
    if x.dtype != np.float64 or y.dtype != np.float64:
        return None  # in single precision there is nothing to gain
    return x.shape[0], y.shape[1], x.shape[1]


def way(node: Any) -> str | None:
    """Return how a product is cut: ``"rows"``, a ``"sum"``, or ``"turned"``; or None.

    ``"turned"``: by rows of the transposed result, which lie in one piece.
    """
    sizes = _sizes(node)
    return None if sizes is None else way_of(*sizes, np.float64)


def way_of(m: int, n: int, k: int, dtype: Any) -> str | None:
    """Return how a product of ``(m, k)`` and ``(k, n)`` is cut."""
    sizes = (m, n, k)
    if dtype != np.float64 or min(sizes) > SHORT or m * n * k <= SMALL:
        return None
    longest = max(sizes)
    return "rows" if longest == m else "turned" if longest == n else "sum"


def chunk_of(node: Any) -> tuple[int, int]:
    """Return the length of the long side, and of a piece: a power of two."""
    sizes = _sizes(node)
    assert sizes is not None  # noqa: S101 (asked for products that have a way)
    m, n, k = sizes
    longest = max(sizes)
    return longest, 1 << max(0, (SMALL * longest // (m * n * k)).bit_length() - 1)
