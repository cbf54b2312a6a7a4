"""What layers make of their arguments: sizes that are checked, parameters drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn.errors import DtypeError, ModelError
from tinygrad_nn.shapes import Shape
from tinygrad_nn.tensor import Parameter

__all__ = ["drawn", "floating", "settings_of_windows", "told_dtype", "whole"]


def whole(title: str, what: str, number: Any, least: int = 1) -> int:
    """Return an integer of at least ``least``.

    Raises
    ------
    ModelError
        For anything else.

    Examples
    --------
    >>> whole("Conv2d", "n_in", 3)
    3
    """
    right = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if not right or number < least:
        raise ModelError(
            f"{title}: {what} is an integer of at least {least}; got {number!r}"
        )
    return int(number)


def floating(title: str, dtype: Any) -> np.dtype[Any]:
    """Return a floating dtype.

    >>> floating("Conv2d", "float32")
    dtype('float32')
    """
    kind: np.dtype[Any] = np.dtype(dtype)
    if kind.kind != "f":
        raise DtypeError(f"{title}: parameters have a floating dtype; got dtype={kind}")
    return kind


def drawn(title: str, rule: Any, shape: Shape, rng: Any, dtype: Any) -> Parameter:
    """Return a parameter that starts from what an initialiser draws.

    Raises
    ------
    ModelError
        For an initialiser that gives another shape.

    Examples
    --------
    >>> from tinygrad_nn.nn.init import ones
    >>> drawn("Embedding", ones, (1, 2), None, "float64")
    Parameter([[1., 1.]])
    """
    values = np.asarray(rule(shape, rng))
    if values.shape != shape:
        raise ModelError(
            f"{title}: init returns the shape that it is given, {shape}; "
            f"got {values.shape}"
        )
    # A copy, so that an initialiser that returns its own array keeps it unchanged.
    return Parameter(np.array(values, dtype))


def told_dtype(parameter: Parameter | None) -> str:
    """Return the dtype of a layer as its description tells it: not the usual one.

    >>> told_dtype(Parameter([1.0], dtype="float32"))
    ', dtype=float32'
    """
    if parameter is None or parameter.dtype == np.float64:
        return ""
    return f", dtype={parameter.dtype}"


def settings_of_windows(**given: tuple[Any, Any]) -> str:
    """Return settings that are not what they are by default: ``name=(value, default)``.

    >>> settings_of_windows(stride=((2, 2), (1, 1)), groups=(1, 1))
    ', stride=2'
    """
    text = ""
    for name, pair in given.items():
        value, default = (
            x[0] if isinstance(x, tuple) and len(set(x)) == 1 else x for x in pair
        )
        if value != default:
            text += f", {name}={value}"
    return text
