"""The arguments of a comparison: shapes at which it is made, and points in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygrad_nn.check.exact import ExactArray
from tinygrad_nn.check.fields import Field
from tinygrad_nn.errors import DtypeError
from tinygrad_nn.op import data_of
from tinygrad_nn.shapes import Shape

__all__ = ["DRAWS", "Argument", "arguments", "count", "small"]

DRAWS: Sequence[Callable[[np.random.Generator, Shape], np.ndarray]] = (
    lambda rng, shape: np.asarray(rng.standard_normal(shape)),
    lambda rng, shape: np.asarray(rng.uniform(0.1, 0.9, shape)),
    lambda rng, shape: np.asarray(rng.uniform(1.1, 2.0, shape)),
)
"""Where a function may be defined: anywhere, between 0 and 1, or above 1."""


@dataclass(frozen=True)
class Argument:
    """One argument of both functions.

    Attributes
    ----------
    kind
        ``"free"``: any numbers of that shape. ``"one-hot"``: a single 1 along `axis`.
        ``"index"``: integers below `bound`. ``"mask"``: booleans. ``"held"``: the
        value itself.
    """

    name: str
    kind: str
    shape: Shape
    value: Any = None
    axis: int = 0
    bound: int = 0

    def drawn(self, rng: np.random.Generator, draw: int) -> Any:
        """Draw an array of floats, integers or booleans for it."""
        if self.kind == "free":
            return DRAWS[draw](rng, self.shape)
        if self.kind == "one-hot":
            scores = rng.random(self.shape)
            top = scores.max(axis=self.axis, keepdims=True)
            return (scores == top).astype(np.float64)
        if self.kind == "index":
            return rng.integers(0, self.bound, self.shape).astype(self.value.dtype)
        if self.kind == "mask":
            return rng.random(self.shape) < 0.5
        return self.value.copy() if isinstance(self.value, np.ndarray) else self.value

    def exact(self, field: Field, drawn: Any) -> Any:
        """Return an array of free variables, or the exact form of what was drawn."""
        if self.kind == "free":
            array = np.empty(self.shape, object)
            for place in np.ndindex(self.shape):
                array[place] = field.variable()
        elif isinstance(drawn, np.ndarray) and drawn.dtype.kind == "f":
            array = np.empty(drawn.shape, object)
            for place in np.ndindex(drawn.shape):
                array[place] = field.number(drawn[place].item())
        else:
            return drawn
        return array.view(ExactArray)


def arguments(given: Sequence[Any], names: Sequence[str]) -> list[Argument]:
    """Say of each given argument what may stand in its place.

    Arrays, Tensors and floats stand for all numbers of their shape, and a tuple of
    integers is such a shape. What is no number, a string say, is held.

    >>> [(x.kind, x.shape) for x in arguments([(2, 3), np.eye(3), 0.5], "abc")]
    [('free', (2, 3)), ('one-hot', (3, 3)), ('free', ())]
    """
    return [_argument(x, name) for x, name in zip(given, names, strict=True)]


def _argument(x: Any, name: str) -> Argument:
    x = data_of(x)
    if isinstance(x, tuple) and all(isinstance(n, int) for n in x):
        return Argument(name, "free", x)
    if not isinstance(x, (float, np.ndarray, np.generic, list)):
        return Argument(name, "held", (), x)
    return _of_array(np.asarray(x), name)


def _of_array(array: np.ndarray, name: str) -> Argument:
    if array.dtype.kind not in "fiub":
        raise DtypeError(
            f"equivalent: expected arrays of real numbers; got {array.dtype} for {name}"
        )
    if array.dtype.kind == "b":
        return Argument(name, "mask", array.shape, array)
    if array.dtype.kind in "iu":
        bound = int(array.max(initial=0)) + 1
        kind = "index" if array.size and array.min() >= 0 else "held"
        return Argument(name, kind, array.shape, array, bound=bound)
    axis = _one_hot(array)
    if axis is not None:
        return Argument(name, "one-hot", array.shape, array, axis)
    return Argument(name, "free", array.shape, array)


def _one_hot(x: np.ndarray) -> int | None:
    """Return the axis along which each row has a single 1 and zeros, or None."""
    if x.ndim < 2 or not np.isin(x, (0.0, 1.0)).all():
        return None
    for axis in range(x.ndim - 1, -1, -1):
        rows = x.size // max(x.shape[axis], 1)
        if x.shape[axis] > 1 and rows > 1 and (x.sum(axis=axis) == 1).all():
            return axis
    return None


def small(given: Sequence[Argument]) -> list[Argument]:
    """Return the arguments at small sizes: different ones stay different.

    Sizes 0 and 1 stay; the others become 2, 3, 4 … in their order.

    >>> [x.shape for x in small(arguments([(4, 2), (4, 1), (2, 400)], "WbX"))]
    [(3, 2), (3, 1), (2, 4)]
    """
    sizes = sorted({n for x in given for n in x.shape if n > 1 and x.kind != "held"})
    less = {n: i for i, n in enumerate(sizes, 2)}
    return [_shrunk(x, less) for x in given]


def _shrunk(x: Argument, less: Mapping[int, int]) -> Argument:
    if x.kind == "held":
        return x
    # Indices go as far as an axis that they may index, whichever it is.
    bound = min((n for old, n in less.items() if old >= x.bound), default=x.bound)
    return replace(x, shape=tuple(less.get(n, n) for n in x.shape), bound=bound)


def count(given: Sequence[Argument]) -> int:
    """Return how many numbers the arguments have."""
    return sum(math.prod(x.shape) for x in given if x.kind != "held")
