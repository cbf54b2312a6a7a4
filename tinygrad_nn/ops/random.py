"""Random numbers as an op, so that a recorded program says where they come from."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import recording
from tinygrad_nn.op import Array, primitive
from tinygrad_nn.shapes import Shape

__all__ = ["uniform"]


def _same(size: Shape, *, rng: Any = None) -> Shape:  # noqa: ARG001 (a setting)
    return size


# No samples: the laws call an op twice and expect one value.
@primitive(
    kind="random",
    formula=r"\mathrm{uniform}($x)",
    shape=_same,
    vjp=None,
    samples=(),
    refuses=(),
)
def uniform(x: Array, rng: Any = None) -> Array:
    """Draw numbers in [0, 1) in the shape of ``x``, float64; constant, no gradient.

    ``rng`` is a `numpy.random.Generator`. Each call draws anew.

    >>> uniform(np.zeros((2, 3)), np.random.default_rng(0)).round(2)
    array([[0.64, 0.27, 0.04],
           [0.02, 0.81, 0.91]])
    """
    recording.draws_from(rng)
    return np.asarray(rng.random(np.shape(x)))
