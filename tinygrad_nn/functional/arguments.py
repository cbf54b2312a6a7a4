"""What NumPy's signatures share: arguments that work, or are refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import ShapeError, UnsupportedError
from tinygrad_nn.op import Array, Node
from tinygrad_nn.shapes import Axes

__all__ = ["as_array", "axes_of", "cast", "is_default", "refuse", "refuse_out"]


def as_array(x: Any) -> Any:
    """Return an operand with the attributes of an array: Tensors as they are.

    A list of Tensors and numbers is stacked, as NumPy makes an array of a list.
    """
    if isinstance(x, Node):
        return x
    if isinstance(x, (list, tuple)) and _holds_tensors(x):
        return ops.stack(*[as_array(part) for part in x])
    return np.asarray(x)


def _holds_tensors(x: Any) -> bool:
    return any(
        isinstance(part, Node)
        or (isinstance(part, (list, tuple)) and _holds_tensors(part))
        for part in x
    )


def axes_of(title: str, x: Any, axis: Axes) -> tuple[int, ...]:
    """Return axes of an operand as sorted numbers from 0; all of them for None.

    Raises
    ------
    ShapeError
        For an axis that the operand has not; names the function and the shape.
    """
    try:
        return shapes.normalize_axes(len(x.shape), axis)
    except ShapeError as error:
        raise ShapeError(f"{title}: {error}; got shape {x.shape}") from None


def refuse_out(title: str, out: Any) -> None:
    """Refuse ``out=``: an ndarray cannot hold a gradient."""
    if out is not None:
        raise UnsupportedError(
            f"{title}: out= is an ndarray, which cannot hold a Tensor's gradient; got "
            f"out={type(out).__name__}. Use the result: y = {title}(x)"
        )


def refuse(title: str, advice: str, **given: tuple[Any, Any]) -> None:
    """Refuse what is not as it is by default: ``name=(value, default)``."""
    for name, (value, default) in given.items():
        if not is_default(value, default):
            raise UnsupportedError(
                f"{title}: {name}= is not offered on Tensors; got {name}={value!r}. "
                f"{advice}"
            )


def is_default(value: Any, default: Any) -> bool:
    """Whether an argument is as it is by default; an array never is."""
    return value is default or (
        value.__class__ is default.__class__ and bool(value == default)
    )


def cast(x: Array, dtype: Any) -> Array:
    """Return the operand in another real dtype; itself, where none is asked for."""
    return x if dtype is None else ops.astype(as_array(x), np.dtype(dtype))
