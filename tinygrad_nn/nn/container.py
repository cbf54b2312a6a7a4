"""Layers put together: `Sequential`, and `Flatten` to go between."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, final

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import ModelError, ShapeError
from tinygrad_nn.nn.module import Module, note_shape
from tinygrad_nn.nn.sizes import check_sizes
from tinygrad_nn.op import data_of

__all__ = ["Flatten", "Sequential"]


@final
class Sequential(Module):
    """Layers applied one after another.

    Parameters
    ----------
    *layers
        Modules, and functions of one array such as ``tg.relu``.
    name
        Shown in errors.

    Attributes
    ----------
    layers : list
        May be changed; parameters are named ``layers.0.weight`` and so on.

    Raises
    ------
    ModelError
        For what cannot be called, a class instead of an object, and a layer that does
        not take as many features or channels as the one before it gives.

    Examples
    --------
    >>> import tinygrad_nn as tg
    >>> from tinygrad_nn.nn import Dense
    >>> net = Sequential(Dense(2, 4, rng=0), tg.tanh, Dense(4, 1, rng=1))
    >>> net(np.ones((3, 2))).shape
    (3, 1)
    >>> len(net), net[0], net[-1].n_out
    (3, Dense(2 -> 4), 1)
    """

    def __init__(self, *layers: Callable[[Any], Any], name: str | None = None) -> None:
        self.name = name
        for i, layer in enumerate(layers):
            _check_layer(i, layer)
        self.layers = list(layers)
        check_sizes(_in_order(self))

    def forward(self, x: Any) -> Any:
        """Return the output of the last layer."""
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if not isinstance(layer, Module):
                path = f"layers.{i}"
                note_shape(f"{self._path}.{path}" if self._path else path, x)
        return x

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self.layers)

    def __iter__(self) -> Iterator[Callable[[Any], Any]]:
        """Walk through the layers."""
        return iter(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        """Return a layer, or a `Sequential` of a slice that shares them."""
        if isinstance(index, slice):
            return Sequential(*self.layers[index])
        return self.layers[index]


def _check_layer(i: int, layer: Any) -> None:
    if isinstance(layer, type):
        raise ModelError(
            f"Sequential: layer {i} is a module or a function; got the class "
            f"{layer.__name__}. Make one of it: {layer.__name__}(…)"
        )
    if not callable(layer):
        advice = (
            "Write Sequential(*layers)"
            if isinstance(layer, (list, tuple))
            else "Pass layers such as Dense(2, 4) and functions such as tg.relu"
        )
        raise ModelError(
            f"Sequential: layer {i} is a module or a function; got "
            f"{type(layer).__name__}. {advice}"
        )


def _in_order(net: Sequential) -> Iterator[tuple[str, Any]]:
    """Path and layer, inside of containers too, as they are applied."""
    stack: list[tuple[str, Any]] = [("", net)]
    while stack:
        path, layer = stack.pop()
        if isinstance(layer, Sequential):
            before = f"{path}." if path else ""
            inner = [(f"{before}{i}", inside) for i, inside in enumerate(layer)]
            stack.extend(reversed(inner))
        else:
            yield path, layer


@final
class Flatten(Module):
    """Make every example one row: ``(n, …) -> (n, numbers of one example)``.

    >>> Flatten()(np.ones((5, 8, 8))).shape
    (5, 64)
    """

    def forward(self, x: Any) -> Any:
        """Return ``x`` with all axes but the first made one."""
        shape = np.shape(data_of(x))
        if not shape:
            raise ShapeError("Flatten: expected x(n, …); got x(). Examples are rows")
        return ops.reshape(x, (shape[0], math.prod(shape[1:])))
