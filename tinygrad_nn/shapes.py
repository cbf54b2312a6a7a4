"""Arithmetic on shape tuples; no arrays."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import SupportsIndex

from tinygrad_nn.errors import ShapeError

__all__ = [
    "Axes",
    "Shape",
    "broadcast",
    "describe",
    "normalize_axes",
    "normalize_axis",
    "reduced",
    "reduced_axes",
]

Shape = tuple[int, ...]
Axes = SupportsIndex | Sequence[SupportsIndex] | None


def describe(names: Sequence[str], shapes: Sequence[Shape]) -> str:
    """Operands as an error shows them.

    >>> describe(["x", "y"], [(4, 3), ()])
    'x(4, 3), y()'
    """
    return ", ".join(
        f"{name}{shape}" for name, shape in zip(names, shapes, strict=True)
    )


def broadcast(*shapes: Shape) -> Shape:
    """Shape of the elementwise combination of arrays, by NumPy's rule.

    >>> broadcast((3, 1), (5,))
    (3, 5)
    >>> broadcast((3,), (5,))
    Traceback (most recent call last):
    ...
    tinygrad_nn.errors.ShapeError: sizes 3 and 5 meet at axis -1; expected equal \
sizes or 1
    """
    rank = max((len(shape) for shape in shapes), default=0)
    result = []
    for axis in range(-rank, 0):
        size = 1
        for shape in shapes:
            other = shape[axis] if len(shape) >= -axis else 1
            if other != 1 and size not in (1, other):
                raise ShapeError(
                    f"sizes {size} and {other} meet at axis {axis}; "
                    "expected equal sizes or 1"
                )
            size = other if size == 1 else size
        result.append(size)
    return tuple(result)


def normalize_axes(rank: int, axis: Axes) -> tuple[int, ...]:
    """Axes as sorted non-negative numbers; ``None`` means all.

    >>> normalize_axes(3, (0, -1))
    (0, 2)
    >>> normalize_axes(2, None)
    (0, 1)
    """
    if axis is None:
        return tuple(range(rank))
    axes = (axis,) if isinstance(axis, SupportsIndex) else tuple(axis)
    numbers = []
    for item in axes:
        number = operator.index(item)
        if not -rank <= number < rank:
            raise ShapeError(f"axis {number} is out of range for {rank} dimensions")
        numbers.append(number % rank)
    if len(set(numbers)) != len(numbers):
        raise ShapeError(f"axis {axis!r} names one dimension twice")
    return tuple(sorted(numbers))


def normalize_axis(rank: int, axis: Axes) -> int:
    """One axis as a non-negative number.

    >>> normalize_axis(3, -1)
    2
    """
    if not isinstance(axis, SupportsIndex):
        raise ShapeError(f"expected one axis, an integer, not {axis!r}")
    return normalize_axes(rank, axis)[0]


def reduced_axes(rank: int, axis: Axes) -> tuple[int, ...]:
    """Axes that a reduction removes, as `normalize_axes`.

    As in NumPy, axis 0 or -1 of a 0-d array stands for no axis at all.

    >>> reduced_axes(0, -1)
    ()
    """
    if rank == 0 and axis in (0, -1):
        return ()
    return normalize_axes(rank, axis)


def reduced(shape: Shape, axis: Axes, *, keepdims: bool) -> Shape:
    """Shape that is left after a reduction over ``axis``.

    >>> reduced((2, 3, 4), (0, -1), keepdims=False)
    (3,)
    >>> reduced((2, 3), 1, keepdims=True)
    (2, 1)
    """
    gone = reduced_axes(len(shape), axis)
    if keepdims:
        return tuple(1 if i in gone else size for i, size in enumerate(shape))
    return tuple(size for i, size in enumerate(shape) if i not in gone)
