"""Where the elements of an array lie: an offset and strides, counted in elements.

What NumPy calls a view is here another offset and other strides of the same memory,
so a transpose or a slice costs nothing: the loops that read it go another way.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import shapes
from tinygrad_nn.op import inputs_of, settings_of
from tinygrad_nn.ops.indexing import is_basic

__all__ = [
    "Access",
    "Length",
    "Strides",
    "broadcast",
    "in_order",
    "indexed",
    "seen",
]

Strides = tuple[int, ...]


class Access(NamedTuple):
    """Elements of a pointer's memory: ``pointer[offset + sum(stride * index)]``."""

    pointer: str
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: Strides

    def reordered(self, order: tuple[int, ...]) -> Access:
        """Return the same elements with their axes in another order."""
        return self._replace(
            shape=tuple(self.shape[i] for i in order),
            strides=tuple(self.strides[i] for i in order),
        )


class Length(int):
    """A length that the code knows by a name: of a block, which may be the last."""

    def __str__(self) -> str:
        """Return the name."""
        return "m"

    __repr__ = __str__


def in_order(shape: tuple[int, ...], order: tuple[int, ...]) -> Strides:
    """Return strides of memory without gaps, its axes from slow to quick.

    >>> in_order((2, 3), (0, 1)), in_order((2, 3), (1, 0))
    ((3, 1), (1, 2))
    """
    strides = [0] * len(shape)
    step = 1
    for axis in reversed(order):
        strides[axis] = step
        step *= max(shape[axis], 1)
    return tuple(strides)


def broadcast(access: Access, shape: tuple[int, ...]) -> Access:
    """Return the access that repeats along axes of length one, and missing ones."""
    missing = len(shape) - len(access.shape)
    strides = (0,) * missing + tuple(
        0 if size == 1 else stride
        for size, stride in zip(access.shape, access.strides, strict=True)
    )
    return access._replace(shape=shape, strides=strides)


def seen(node: Any, x: Access) -> Access | None:
    """Return how a movement shows the memory of its operand; None if it must copy."""
    settings = settings_of(node)
    shape = tuple(node._value.shape)
    name = node._op.name
    if name == "transpose":
        axes = settings["axes"]
        rank = len(x.shape)
        order = tuple(range(rank))[::-1] if axes is None else tuple(axes)
        return x.reordered(tuple(axis % max(rank, 1) for axis in order))
    if name == "broadcast_to":
        return broadcast(x, shape)
    if name == "spread":
        kept = shapes.reduced(shape, settings["axis"], keepdims=True)
        reshaped = _reshaped(x, kept)
        return None if reshaped is None else broadcast(reshaped, shape)
    if name == "reshape":
        return _reshaped(x, shape)
    if name == "getitem":
        return indexed(x, settings["index"])
    raise AssertionError(name)


def is_view(node: Any) -> bool:
    """Return whether an op only shows its operand in another way."""
    op = node._op
    if op is None:
        return False
    if op.name == "getitem":
        return is_basic(settings_of(node)["index"]) and hasattr(
            inputs_of(node)[0], "_op"
        )
    names = ("transpose", "broadcast_to", "spread", "reshape")
    return op.name in names and hasattr(inputs_of(node)[0], "_op")


def _reshaped(x: Access, shape: tuple[int, ...]) -> Access | None:
    """Return new strides if each new axis steps evenly through the old ones."""
    if math.prod(shape) == 0:
        return x._replace(shape=shape, strides=(0,) * len(shape))
    old = [
        (size, stride)
        for size, stride in zip(x.shape, x.strides, strict=True)
        if size != 1
    ]
    strides = [0] * len(shape)
    i = 0
    axis = 0
    while axis < len(shape):
        if shape[axis] == 1:
            axis += 1
            continue
        size, j = old[i][0], i + 1
        new, end = shape[axis], axis + 1
        while size != new:
            if size < new:
                size *= old[j][0]
                j += 1
            else:
                new *= shape[end]
                end += 1
        for k in range(i, j - 1):
            if old[k][1] != old[k + 1][1] * old[k + 1][0]:
                return None
        step = old[j - 1][1]
        for k in reversed(range(axis, end)):
            strides[k] = step
            step *= shape[k]
        i, axis = j, end
    return x._replace(shape=shape, strides=tuple(strides))


def indexed(x: Access, index: Any) -> Access:
    """Return the elements that a basic index picks."""
    parts = index if isinstance(index, tuple) else (index,)
    used = sum(p is not None and p is not Ellipsis for p in parts)
    if not any(p is Ellipsis for p in parts):
        parts = (*parts, Ellipsis)
    offset, axis = x.offset, 0
    sizes: list[int] = []
    strides: list[int] = []
    for part in parts:
        if part is None:
            sizes.append(1)
            strides.append(0)
        elif part is Ellipsis:
            for _ in range(len(x.shape) - used):
                sizes.append(x.shape[axis])
                strides.append(x.strides[axis])
                axis += 1
        elif isinstance(part, slice):
            start, stop, step = part.indices(x.shape[axis])
            sizes.append(len(range(start, stop, step)))
            strides.append(x.strides[axis] * step)
            offset += start * x.strides[axis] if sizes[-1] else 0
            axis += 1
        else:
            offset += (int(part) % max(x.shape[axis], 1)) * x.strides[axis]
            axis += 1
    return x._replace(offset=offset, shape=tuple(sizes), strides=tuple(strides))
