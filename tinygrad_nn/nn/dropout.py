"""`Dropout`: noise that keeps units from leaning on each other."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from tinygrad_nn import functional
from tinygrad_nn.errors import ModelError
from tinygrad_nn.nn.init import generator
from tinygrad_nn.nn.module import Module

__all__ = ["Dropout"]


@final
class Dropout(Module):
    """Set a random part of the elements to 0 in training, and scale up the rest.

    "Inverted" dropout: the elements that stay are divided by ``1 - rate``, so the
    expected value does not change and nothing is to be done afterwards. After
    ``eval()`` it returns its input. Every call draws a new mask, constant in the
    graph. Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov (2014).

    Parameters
    ----------
    rate
        Share of elements that is dropped, from 0 to less than 1.
    rng
        A `numpy.random.Generator`, or a seed.

    Raises
    ------
    ModelError
        For a rate outside of [0, 1).

    Examples
    --------
    >>> drop = Dropout(0.5, rng=0)
    >>> drop(np.ones(6))
    array([2., 0., 0., 0., 2., 2.])
    >>> drop.eval()(np.ones(3))
    array([1., 1., 1.])
    """

    def __init__(self, rate: float, rng: Any = None) -> None:
        if isinstance(rate, (bool, str)) or not 0 <= rate < 1:
            raise ModelError(
                "Dropout: rate is the share that is dropped, 0 <= rate < 1; "
                f"got {rate!r}"
            )
        self.rate = float(rate)
        self.rng = generator(rng)
        if not isinstance(self.rng, np.random.Generator):
            raise ModelError(
                "Dropout: expected a numpy.random.Generator or a seed; got "
                f"{type(self.rng).__name__}. Write rng=np.random.default_rng(0)"
            )

    def forward(self, x: Any) -> Any:
        """Return ``x`` times a mask in training, else ``x``."""
        return functional.dropout(x, self.rate, self.rng, self.in_training())

    def describe(self) -> str:
        """Show the rate."""
        return f"Dropout({self.rate:g})"
