"""Attention: rows that are weighted means of other rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import OpError, ShapeError
from tinygrad_nn.functional.arguments import as_array, shape_of
from tinygrad_nn.op import Array, data_of

__all__ = ["scaled_dot_product_attention"]


def scaled_dot_product_attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Array:
    """``softmax(q kᵀ * scale) v``: for each query the mean of the values it asks for.

    Vaswani and others (2017), equation 1.

    Parameters
    ----------
    q
        Queries, of shape ``(…, l, d)``.
    k
        Keys, of shape ``(…, s, d)``.
    v
        Values, of shape ``(…, s, e)``.
    mask
        Broadcasts to ``(…, l, s)``. Of booleans: true where a query may look. Of
        numbers: added to the scores; -inf stands for false.
    is_causal
        Whether query ``i`` looks at the keys 0 to ``i`` only; with a mask, both count.
    scale
        Of the scores; ``1 / sqrt(d)`` by default.

    Returns
    -------
    Array
        Of shape ``(…, l, e)``. A query that may look nowhere gives 0, and so do its
        gradients.

    Raises
    ------
    ShapeError
        For shapes that do not fit.

    Examples
    --------
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> scaled_dot_product_attention(x, x, x, is_causal=True).round(2)
    array([[1.  , 0.  ],
           [0.33, 0.67]])
    """
    q, k, v = as_array(q), as_array(k), as_array(v)
    size = _scores_shape(q, k, v, mask)
    factor = 1 / math.sqrt(shape_of(q)[-1]) if scale is None else scale
    rank = len(shape_of(k))
    turned = ops.transpose(k, (*range(rank - 2), rank - 1, rank - 2))
    scores = ops.matmul(q * factor, turned)
    allowed: Any = None
    if mask is not None:
        mask = as_array(mask)
        allowed = mask
        if mask.dtype.kind == "f":
            allowed = ops.greater(mask, -np.inf)
            added = ops.where(allowed, mask, mask.dtype.type(0))
            scores = scores + ops.astype(added, scores.dtype)
        elif mask.dtype != np.bool_:
            raise OpError(
                "scaled_dot_product_attention: a mask is of booleans, true where a "
                f"query may look, or of floats that are added; got dtype {mask.dtype}"
            )
    if is_causal:
        before = np.tri(size[-2], size[-1]) > 0
        allowed = before if allowed is None else ops.logical_and(allowed, before)
    if allowed is None:
        return ops.matmul(ops.softmax(scores, -1), v)
    kind = data_of(scores).dtype.type
    hidden: Any = kind(-np.inf)
    if mask is not None:
        # Of a row that is hidden as a whole the softmax would be nan.
        count = ops.sum(ops.astype(allowed, np.dtype(np.int64)), -1, True)
        hidden = ops.where(ops.greater(count, 0), hidden, kind(0))
    weights = ops.softmax(ops.where(allowed, scores, hidden), -1)
    if mask is not None:
        weights = ops.where(allowed, weights, kind(0))
    return ops.matmul(weights, v)


def _scores_shape(q: Any, k: Any, v: Any, mask: Any) -> shapes.Shape:
    """Shape of the scores, or a refusal."""
    names, sizes = ["q", "k", "v"], [shape_of(x) for x in (q, k, v)]
    law = "q(…, l, d), k(…, s, d) and v(…, s, e)"
    fits = min(map(len, sizes)) > 1 and sizes[0][-1] == sizes[1][-1] > 0
    fits = fits and sizes[1][-2] == sizes[2][-2] > 0
    if mask is not None:
        names, sizes = [*names, "mask"], [*sizes, shape_of(mask)]
        law += ", mask(…, l, s)"
    try:
        if fits:
            lead = shapes.broadcast(*[size[:-2] for size in sizes[:3]])
            size = (*lead, sizes[0][-2], sizes[1][-2])
            if mask is None or shapes.broadcast(sizes[3], size) == size:
                return size
    except ShapeError:
        pass
    raise ShapeError(
        f"scaled_dot_product_attention: expected {law}; "
        f"got {shapes.describe(names, sizes)}"
    )
