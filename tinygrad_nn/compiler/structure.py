"""Arguments and results that are nested: dicts, lists and tuples of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["flattened", "mapped"]


def flattened(value: Any) -> list[Any]:
    """Return the leaves of nested dicts, lists and tuples, in order.

    >>> flattened({"b": [1, (2, 3)], "a": 4})
    [1, 2, 3, 4]
    """
    found: list[Any] = []
    mapped(found.append, value)
    return found


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply a function to every leaf, and build the same structure of the results.

    >>> mapped(lambda x: x + 1, {"b": [1, (2, 3)], "a": 4})
    {'b': [2, (3, 4)], 'a': 5}
    """
    kind = type(value)
    if kind is dict:
        return {key: mapped(function, item) for key, item in value.items()}
    if kind is list:
        return [mapped(function, item) for item in value]
    if isinstance(value, tuple):
        items = [mapped(function, item) for item in value]
        return kind(*items) if hasattr(value, "_fields") else tuple(items)
    return function(value)
