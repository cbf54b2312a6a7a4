"""What NumPy's signatures share: arguments that work, or are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import (
    DtypeError,
    ShapeError,
    TinygradError,
    UnsupportedError,
)
from tinygrad_nn.functional.places import in_dtype
from tinygrad_nn.op import Array, Node, data_of
from tinygrad_nn.shapes import Axes, Shape

__all__ = [
    "as_array",
    "axes_of",
    "axis_of",
    "cast",
    "floating_of",
    "initial_of",
    "is_default",
    "mask_beside",
    "mask_of",
    "named_axes_of",
    "one_axis",
    "reduced_axes_of",
    "refuse",
    "refuse_out",
    "shape_of",
]


def as_array(x: Any) -> Any:
    """Return an operand with the attributes of an array: Tensors as they are.

    A list of Tensors and numbers is stacked, as NumPy makes an array of a list.
    """
    if isinstance(x, Node):
        return x
    if isinstance(x, (list, tuple)) and _holds_tensors(x):
        return ops.stack(*[as_array(part) for part in x])
    return np.asarray(x)


def shape_of(x: Any) -> Shape:
    """Return the shape of a Tensor or an array.

    >>> shape_of([[1.0, 2.0]])
    (1, 2)
    """
    return np.shape(data_of(x))


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
    UnsupportedError
        For what is no integer.
    """
    axes: tuple[int, ...] = _found(shapes.normalize_axes, title, x, axis)
    return axes


def axis_of(title: str, x: Any, axis: Any) -> int:
    """Return one axis of an operand as a number from 0; errors as in `axes_of`."""
    place: int = _found(shapes.normalize_axis, title, x, axis)
    return place


def named_axes_of(title: str, x: Any, axis: Axes) -> tuple[int, ...]:
    """Return axes as `axes_of`, in the order in which they were named.

    >>> named_axes_of("np.linalg.norm", np.ones((2, 3)), (-1, 0))
    (1, 0)
    """
    axes = axes_of(title, x, axis)
    if not isinstance(axis, (tuple, list)):
        return axes
    return tuple(int(i) % len(shape_of(x)) for i in axis)


def reduced_axes_of(title: str, x: Any, axis: Axes) -> tuple[int, ...]:
    """Return the axes that a reduction removes, as `axes_of`; of a number, none."""
    axes: tuple[int, ...] = _found(shapes.reduced_axes, title, x, axis)
    return axes


def one_axis(title: str, x: Any, axis: Any) -> tuple[Array, int]:
    """Return the operand and its axis; all elements in one where none is given.

    >>> one_axis("np.sort", np.ones((2, 3)), -1)[1]
    1
    """
    if axis is None or np.ndim(data_of(x)) == 0:
        reduced_axes_of(title, x, axis)
        return ops.reshape(x, (-1,)), 0
    return x, axis_of(title, x, axis)


def _found(find: Callable[..., Any], title: str, x: Any, axis: Any) -> Any:
    shape = shape_of(x)
    try:
        return find(len(shape), axis)
    except ShapeError as error:
        raise ShapeError(f"{title}: {error}; got shape {shape}") from None
    except TinygradError:
        raise
    except TypeError:  # as in axis="rows"
        raise UnsupportedError(
            f"{title}: expected axes that are integers; got axis={axis!r:.40}, "
            f"shape {shape}"
        ) from None


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


def mask_of(title: str, where: Any) -> Any:
    """Return what ``where=`` says; True where nothing is left out.

    Raises
    ------
    DtypeError
        For what is not boolean, as in NumPy.
    """
    if where is True:
        return where
    where = as_array(where)
    if data_of(where).dtype != np.bool_:
        raise DtypeError(
            f"{title}: expected where= of booleans; got dtype {data_of(where).dtype}. "
            "Compare first: where=w != 0"
        )
    return where


def mask_beside(title: str, where: Any, initial: Any) -> Any:
    """Return what ``where=`` says to an extreme, which needs ``initial=`` beside it.

    Raises
    ------
    ShapeError
        Where elements may be left out, and nothing is given for rows of none.
    """
    where = mask_of(title, where)
    if where is not True and initial is None:
        raise ShapeError(
            f"{title}: expected an initial value where elements are left out; got "
            "where= alone. Give initial= too"
        )
    return where


def initial_of(title: str, initial: Any, dtype: np.dtype[Any]) -> Array:
    """Return what ``initial=`` says in the dtype of the result, as NumPy has it.

    Raises
    ------
    ShapeError
        For more than one number.
    DtypeError
        For a number that the dtype cannot hold.
    """
    shape = shape_of(initial)
    if shape:
        raise ShapeError(f"{title}: expected initial= of one number; got shape {shape}")
    if isinstance(initial, Node) or dtype.kind == "O":
        return in_dtype(initial, dtype)
    if dtype.kind == "f" and type(initial) in (int, float):
        return initial
    try:
        return np.array(np.asarray(initial).item(), dtype)
    except (OverflowError, TypeError, ValueError) as error:
        raise DtypeError(
            f"{title}: expected initial= that {dtype} can hold; got {initial!r:.40} "
            f"({error})"
        ) from None


def floating_of(title: str, dtype: Any) -> Any:
    """Refuse a ``dtype=`` that cannot hold a mean.

    Raises
    ------
    UnsupportedError
        For integers and booleans.
    """
    if dtype is not None and np.dtype(dtype).kind not in "fO":
        raise UnsupportedError(
            f"{title}: dtype={np.dtype(dtype)} is not offered on Tensors; expected a "
            "floating one. Use .astype()"
        )
    return dtype
