"""A value as a number times a base, and arithmetic on the numbers."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn.op import data_of
from tinygrad_nn.scalars import Scalar
from tinygrad_nn.tensor import Tensor

__all__ = [
    "FLOATS",
    "Form",
    "array_leaf",
    "data",
    "filled",
    "is_live",
    "is_nothing",
    "is_one",
    "is_unit",
    "is_zero",
    "number_key",
    "number_leaf",
    "over",
    "times",
    "usable",
]

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
"""Dtypes in which numbers are moved about; half precision has too few exponents."""


class Form(NamedTuple):
    """A value as ``scale * base``.

    Attributes
    ----------
    scale
        A number, or a live one (`Scalar`).
    base
        A node; a number as it was given; or None for ones.
    shape, dtype
        Of the value; the dtype of a Python number is None.
    origin
        The node, or the number, that the value was.
    """

    scale: Any
    base: Any
    shape: tuple[int, ...]
    dtype: Any
    origin: Any = None


def filled(scale: Any, value: Any) -> Form:
    """Return the form of an array of one number, like another array."""
    return Form(scale, None, np.shape(value), value.dtype)


def data(x: Any) -> Any:
    """Return the value of an operand at trace time."""
    return data_of(x)


def number_leaf(value: Any) -> Tensor:
    """Return a leaf that holds an array, or a number of a dtype."""
    leaf = object.__new__(Tensor)
    leaf._value = value
    leaf._op = leaf._form = leaf._code = None
    leaf._lasti = -1
    leaf._order = 0
    leaf.requires_grad = False
    leaf._name = None
    return leaf


def number_key(scale: Any) -> Hashable:
    """Return what tells a number from others; live ones by how they are made."""
    return scale.text if isinstance(scale, Scalar) else float(scale)


def array_leaf(value: np.ndarray) -> Tensor:
    """Return a leaf that holds an array of the user's, which may be written to."""
    leaf = number_leaf(value)
    # A single number among them is none that a rule made: somebody's code did.
    leaf._code = array_leaf.__code__
    return leaf


# --- numbers ---


def is_live(scale: Any) -> bool:
    """Whether a number is another one in the next step."""
    return isinstance(scale, Scalar)


def is_one(scale: Any) -> bool:
    """Whether there is nothing to multiply by."""
    return not is_live(scale) and bool(scale == 1)


def is_unit(scale: Any) -> bool:
    """Whether a number is a mere sign."""
    return not is_live(scale) and scale in (1, -1)


def usable(scale: Any) -> bool:
    """Whether a number may be moved about without a loss."""
    return is_live(scale) or (math.isfinite(scale) and 1e-30 < abs(scale) < 1e30)


def times(x: Any, y: Any) -> Any:
    """Multiply two numbers; a live one is not written out as ``(lr * 1.0)``."""
    if is_one(x):
        return y
    return x if is_one(y) else x * y


def over(x: Any, y: Any) -> Any:
    """Divide two numbers."""
    return x if is_one(y) else x / y


# --- zeros ---


def is_zero(form: Form) -> bool:
    """Whether an identity says that this is zero; a zero of the user's is a number."""
    return form.base is None and not is_live(form.scale) and form.scale == 0


def is_nothing(form: Form) -> bool:
    """Whether this is zero, or the number 0."""
    given = isinstance(form.base, (int, float)) and form.base == 0
    return given or is_zero(form)
