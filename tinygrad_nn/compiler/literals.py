"""Values as text: what an exported module writes out instead of keeping in a file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["literal", "nested", "plain", "quoted", "unique"]

FEW = 8
"""Elements up to which an array is written out in the text."""


def unique(wanted: str, taken: set[str]) -> str:
    """Return a name that nothing else has, and take it.

    >>> taken = {"x"}
    >>> unique("x", taken), unique("x", taken), unique("y", taken)
    ('x_1', 'x_2', 'y')
    """
    name, count = wanted, 1
    while name in taken:
        name = f"{wanted}_{count}"
        count += 1
    taken.add(name)
    return name


def literal(value: Any) -> str | None:
    """Return an expression that gives a plain value again, bit for bit; None if none.

    >>> print(literal((1, -2.5, None)), literal(float("inf")), literal(np.float32(0.5)))
    (1, -2.5, None) np.inf np.float32(0.5)
    >>> print(literal(np.arange(3)), literal(np.dtype("int8")), literal(object()))
    np.array([0, 1, 2]) np.dtype('int8') None
    """
    kind = type(value)
    if value is Ellipsis:
        return "..."
    if value is None or kind in (bool, int, str, bytes):
        return repr(value)
    if kind is float:
        return _float(value)
    if kind in (tuple, list, set, frozenset, dict, slice):
        return _collection(value)
    if isinstance(value, np.dtype):
        return f"np.dtype({value.name!r})" if value.kind in "fiub" else None
    if isinstance(value, type):
        return _type(value)
    if isinstance(value, np.generic) and value.dtype.kind in "fiub":
        if value.dtype.char in "gG":
            return None
        return f"np.{_scalar_name(value.dtype)}({literal(value.item())})"
    if kind is np.ndarray and value.dtype.kind in "fiub" and value.size <= FEW:
        return _array(value)
    return None


def _float(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "np.nan" if math.isnan(value) else "np.inf" if value > 0 else "-np.inf"


def _scalar_name(dtype: Any) -> str:
    return "bool" if dtype.kind == "b" else str(dtype.name)


def _type(value: type) -> str | None:
    if issubclass(value, np.generic):
        return f"np.{_scalar_name(np.dtype(value))}"
    return value.__name__ if value.__module__ == "builtins" else None


def _array(value: np.ndarray) -> str | None:
    plain = value.dtype in (np.float64, np.int64, np.bool_)
    text = literal(value.tolist())
    if value.dtype.char == "g" or text is None or 0 in value.shape:
        return None
    kind = "" if plain else f", np.{_scalar_name(value.dtype)}"
    return f"np.array({text}{kind})"


def _collection(value: Any) -> str | None:
    if isinstance(value, slice):
        parts = [literal(x) for x in (value.start, value.stop, value.step)]
        return None if None in parts else f"slice({', '.join(map(str, parts))})"
    if isinstance(value, dict):
        pairs = [(literal(k), literal(v)) for k, v in value.items()]
        if any(None in pair for pair in pairs):
            return None
        return f"{{{', '.join(f'{k}: {v}' for k, v in pairs)}}}"
    found = [literal(x) for x in value]
    if None in found:
        return None
    inner = ", ".join(map(str, found))
    if isinstance(value, tuple):
        return f"({inner},)" if len(found) == 1 else f"({inner})"
    if isinstance(value, list):
        return f"[{inner}]"
    if isinstance(value, frozenset):
        return f"frozenset([{inner}])"
    return f"{{{inner}}}" if found else "set()"


def plain(text: str) -> str:
    """Return text that may stand in a docstring, on one line."""
    return " ".join(text.replace("\\", "/").replace('"', "'").split())


def quoted(text: str) -> str:
    """Return text as Python says it, in double quotes.

    >>> print(quoted("W1"), quoted("it's"))
    "W1" "it's"
    """
    return json.dumps(text, ensure_ascii=not text.isprintable())


def nested(structure: Any, texts: Sequence[str]) -> str:
    """Return an expression of nested dicts, lists and tuples with these leaves.

    >>> nested({"a": 1, "b": (2,)}, ["x", "y"])
    '{"a": x, "b": (y,)}'
    """
    found = iter(texts)

    def said(value: Any) -> str:
        kind = type(value)
        if kind is dict:
            return f"{{{', '.join(f'{_key(k)}: {said(x)}' for k, x in value.items())}}}"
        if kind is list:
            return f"[{', '.join(map(said, value))}]"
        if isinstance(value, tuple):
            parts = [said(x) for x in value]
            return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
        return next(found)

    return said(structure)


def _key(key: Any) -> str:
    return quoted(key) if isinstance(key, str) else repr(key)
