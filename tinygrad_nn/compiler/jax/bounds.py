"""Indices are looked at on the host: XLA has no error for one out of bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from tinygrad_nn.compiler.blame import explained
from tinygrad_nn.op import Node, inputs_of, settings_of
from tinygrad_nn.rewriting.program import Argument, Program, operands

__all__ = ["Bounds", "bounded", "read_on_host"]

FEW = 8
"""Ops that an index is computed with on the host, at most."""


@final
class Bounds:
    """Refuses an index that points out of an axis, in NumPy's words.

    Raises
    ------
    ShapeError
        Names op and line.
    """

    def __init__(self, node: Any, axis: int, size: int) -> None:
        self.node = node
        self.axis = axis
        self.size = size

    def __call__(self, index: Any) -> None:
        """Look at an array of integers."""
        if not index.size:
            return
        low, high = np.minimum.reduce(index, None), np.maximum.reduce(index, None)
        if -self.size <= low and high < self.size:
            return
        bad = high if high >= self.size else low
        raise explained(
            IndexError(
                f"index {bad} is out of bounds for axis {self.axis} with size "
                f"{self.size}"
            ),
            self.node,
        )


def bounded(node: Any) -> list[tuple[Any, Bounds]]:
    """Return the arrays of integers that a node indexes with, and their bounds."""
    settings = settings_of(node)
    shape = settings.get("shape")
    if shape is None:
        (x,) = inputs_of(node)
        shape = np.shape(x._value if isinstance(x, Node) else x)
    index = settings["index"]
    parts = index if isinstance(index, tuple) else (index,)
    ranks = [_rank(part) for part in parts]
    rest = len(shape) - sum(ranks)
    found, axis = [], 0
    for part, rank in zip(parts, ranks, strict=True):
        if part is Ellipsis:
            axis += rest
            continue
        dtype = getattr(part._value if isinstance(part, Node) else part, "dtype", None)
        if rank == 1 and dtype is not None and dtype.kind in "iu":
            found.append((part, Bounds(node, axis, shape[axis])))
        axis += rank
    return found


def _rank(part: Any) -> int:
    """Return how many axes a part of an index stands for."""
    if part is None or part is Ellipsis:
        return 0
    array = part._value if isinstance(part, Node) else part
    if isinstance(array, (bool, np.bool_)) or getattr(array, "dtype", None) == np.bool_:
        return int(np.ndim(array))
    return 1


def read_on_host(x: Any, program: Program) -> Callable[[Sequence[Any]], Any] | None:
    """Return what computes an index from the call's arrays, if they are all it needs.

    A few integers, that is; what depends on parameters or takes longer is looked at
    where the step computes it.
    """
    if not isinstance(x, Node):
        return lambda _arrays: x
    order = _integers(x, program)
    if order is None:
        return None

    def read(arrays: Sequence[Any]) -> Any:
        known: dict[Any, Any] = {}

        def value(z: Any) -> Any:
            if not isinstance(z, Node):
                return z
            place = program.places.get(z)
            if isinstance(place, Argument):
                return np.asarray(arrays[place.index])
            return known.get(z, z._value)

        for node in order:
            inputs = map(value, inputs_of(node))
            known[node] = np.asarray(node._op.body(*inputs, **settings_of(node)))
        return value(x)

    return read


def _integers(x: Any, program: Program) -> list[Any] | None:
    """Return the ops that an index is computed with, if they are few, and simple."""
    order: list[Any] = []
    stack = [x]
    while stack:
        node = stack.pop()
        place = program.places.get(node)
        if place is not None and not isinstance(place, Argument):
            return None
        if node._op is None or place is not None:
            continue
        plain = not any(isinstance(v, Node) for v in settings_of(node).values())
        same = node._op.kind != "random" and node._value.dtype.kind in "iu"
        if len(order) == FEW or not (plain and same):
            return None
        order.append(node)
        stack += operands(node)
    return order[::-1]
