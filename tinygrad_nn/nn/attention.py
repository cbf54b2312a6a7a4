"""`MultiHeadAttention`: several attentions side by side, on parts of the features."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from tinygrad_nn import functional, ops
from tinygrad_nn.errors import ModelError, ShapeError
from tinygrad_nn.functional.arguments import shape_of
from tinygrad_nn.nn import init as initialisers
from tinygrad_nn.nn.dense import Dense
from tinygrad_nn.nn.module import Module
from tinygrad_nn.nn.parameters import whole

__all__ = ["MultiHeadAttention"]


@final
class MultiHeadAttention(Module):
    """Attention of ``heads`` heads: Vaswani and others (2017), section 3.2.2.

    Queries, keys and values are projected, cut into heads along the features, attended
    to, put side by side, and projected again.

    Parameters
    ----------
    n
        Number of features, in and out.
    heads
        How many heads; divides ``n``.
    bias
        Whether the projections have one.
    rng
        A `numpy.random.Generator`, or a seed.
    dtype
        Of the parameters: float64 by default.
    name
        Shown in errors.

    Attributes
    ----------
    query, key, value, output : Dense
        The projections, ``n -> n``, from Glorot's rule.

    Raises
    ------
    ModelError
        For arguments that make no layer.
    ShapeError
        When called with other than ``(batch, length, n)``; names the layer.

    Examples
    --------
    >>> layer = MultiHeadAttention(8, 2, rng=0)
    >>> layer(np.ones((3, 5, 8)), is_causal=True).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        n: int,
        heads: int,
        *,
        bias: bool = True,
        rng: Any = None,
        dtype: Any = np.float64,
        name: str | None = None,
    ) -> None:
        self.name = name
        self.n = whole("MultiHeadAttention", "n", n)
        self.heads = whole("MultiHeadAttention", "heads", heads)
        if self.n % self.heads:
            raise ModelError(
                f"MultiHeadAttention: heads divides the number of features; got "
                f"heads={heads} for {n}"
            )
        rng = initialisers.generator(rng)
        self.query = Dense(n, n, bias=bias, rng=rng, dtype=dtype)
        self.key = Dense(n, n, bias=bias, rng=rng, dtype=dtype)
        self.value = Dense(n, n, bias=bias, rng=rng, dtype=dtype)
        self.output = Dense(n, n, bias=bias, rng=rng, dtype=dtype)

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        mask: Any = None,
        is_causal: bool = False,
    ) -> Any:
        """Return the attended values: ``(batch, length, n)``.

        Parameters
        ----------
        query
            Of shape ``(batch, l, n)``.
        key
            Of shape ``(batch, s, n)``; the queries themselves where left out.
        value
            Of the keys' shape; the keys themselves where left out.
        mask
            Broadcasts to ``(batch, heads, l, s)``, as of
            `scaled_dot_product_attention`.
        is_causal
            Whether no query looks at a key after it.
        """
        key = query if key is None else key
        value = key if value is None else value
        sizes = [shape_of(x) for x in (query, key, value)]
        fits = all(len(size) == 3 and size[2] == self.n for size in sizes)
        if not fits or len({size[0] for size in sizes}) > 1 or sizes[1] != sizes[2]:
            raise ShapeError(
                f"{self._title()}: expected query(batch, l, {self.n}), key(batch, s, "
                f"{self.n}) and value(batch, s, {self.n}); got query{sizes[0]}, "
                f"key{sizes[1]}, value{sizes[2]}"
            )
        try:
            made = functional.scaled_dot_product_attention(
                self._heads(self.query(query)),
                self._heads(self.key(key)),
                self._heads(self.value(value)),
                mask,
                is_causal,
            )
        except ShapeError as error:
            raise ShapeError(f"{self._title()}: {error}") from None
        return self.output(ops.reshape(ops.transpose(made, (0, 2, 1, 3)), sizes[0]))

    def _heads(self, x: Any) -> Any:
        """``(batch, l, n) -> (batch, heads, l, n / heads)``."""
        batch, length, n = shape_of(x)
        split = ops.reshape(x, (batch, length, self.heads, n // self.heads))
        return ops.transpose(split, (0, 2, 1, 3))

    def describe(self) -> str:
        """Show features and heads."""
        return f"MultiHeadAttention({self.n}, heads={self.heads})"
