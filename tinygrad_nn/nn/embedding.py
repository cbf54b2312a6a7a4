"""`Embedding`: a row of numbers, learnt, for each of ``n`` things."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from tinygrad_nn import functional
from tinygrad_nn.errors import OpError
from tinygrad_nn.nn import init as initialisers
from tinygrad_nn.nn.module import Module
from tinygrad_nn.nn.parameters import drawn, floating, told_dtype, whole

__all__ = ["Embedding"]


@final
class Embedding(Module):
    """Rows of a table, looked up by number: words, characters, people; see `embedding`.

    Parameters
    ----------
    n
        How many things there are: indices go from 0 to ``n - 1``.
    n_out
        How many numbers each of them has.
    init
        What the table starts from, a function or a name of `nn.init`; by default
        normal numbers of standard deviation 1.
    rng
        A `numpy.random.Generator`, or a seed.
    dtype
        Of the table: float64 by default.
    name
        Shown in errors.

    Attributes
    ----------
    weight : Parameter
        The table, of shape ``(n, n_out)``.

    Raises
    ------
    OpError
        When called with what are no integers from 0 to ``n - 1``; names the layer.

    Examples
    --------
    >>> layer = Embedding(5, 3, rng=0)
    >>> layer(np.array([[0, 4, 4, 1]])).shape
    (1, 4, 3)
    """

    reads = np.int64

    def __init__(
        self,
        n: int,
        n_out: int,
        *,
        init: Any = None,
        rng: Any = None,
        dtype: Any = np.float64,
        name: str | None = None,
    ) -> None:
        self.name = name
        self.n = whole("Embedding", "n", n)
        self.n_out = whole("Embedding", "n_out", n_out)
        rule = initialisers.normal(1.0) if init is None else initialisers.named(init)
        kind = floating("Embedding", dtype)
        shape = (self.n, self.n_out)
        self.weight = drawn("Embedding", rule, shape, initialisers.generator(rng), kind)

    def forward(self, indices: Any) -> Any:
        """Return the rows: ``(…) -> (…, n_out)``."""
        try:
            return functional.embedding(indices, self.weight)
        except OpError as error:
            raise OpError(f"{self._title()}: {error}") from None

    def describe(self) -> str:
        """Show the sizes."""
        return f"Embedding({self.n} -> {self.n_out}{told_dtype(self.weight)})"
