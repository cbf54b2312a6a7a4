"""A model with other parameters: the same layers, on numbers of one's own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tinygrad_nn.nn.module import Module, walk
from tinygrad_nn.op import Node
from tinygrad_nn.tensor import Parameter, Tensor
from tinygrad_nn.transforms.structure import models_are

__all__ = ["replaced"]


def replaced(model: Module, values: Mapping[str, Any]) -> Module:
    """Return a model like ``model`` in which ``values`` stand for parameters.

    Modules, and what holds them, are copied; everything else is shared, generators of
    random numbers too. An array becomes a `Parameter`; a Tensor becomes one with its
    graph, so that the copy's parameters lead back to what they were computed from.

    Parameters
    ----------
    model
        Left as it is.
    values
        Of parameters, by the names that ``named_parameters`` gives.
    """
    new = {
        id(parameter): _parameter(values[name], parameter)
        for name, parameter in model.named_parameters()
        if name in values
    }
    made: dict[int, Any] = {}
    for found in walk(model):
        if isinstance(found.value, Module):
            made.setdefault(id(found.value), copy.copy(found.value))
    for module in [m for _, m in model.named_modules()]:
        twin = made[id(module)]
        for name, value in vars(module).items():
            vars(twin)[name] = _exchanged(value, made, new)
    whole: Module = made[id(model)]
    return whole


def _parameter(value: Any, old: Tensor) -> Tensor:
    if not isinstance(value, Node):
        return Parameter(value, old.name)
    # Computed, and yet a parameter: whoever goes through the model's finds it.
    value.__class__ = Parameter
    node: Any = value
    node.name = old.name
    return node  # type: ignore[no-any-return]


def _exchanged(value: Any, made: Mapping[int, Any], new: Mapping[int, Any]) -> Any:
    """Return what an attribute is in the copy: lists, tuples and dicts are rebuilt."""
    if id(value) in new:
        return new[id(value)]
    if id(value) in made:
        return made[id(value)]
    if isinstance(value, dict):
        parts = {key: _exchanged(item, made, new) for key, item in value.items()}
        twin = copy.copy(value)
        twin.update(parts)
        return twin
    if isinstance(value, (list, tuple)):
        items = [_exchanged(item, made, new) for item in value]
        kind = type(value)
        return kind(*items) if hasattr(value, "_fields") else kind(items)
    return value


models_are(Module, replaced)
