"""What a reader of a picture should notice: nan, units that do nothing, no slope."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from tinygrad_nn.drawing.values import Numbers
from tinygrad_nn.op import inputs_of
from tinygrad_nn.tensor import Parameter, Tensor

__all__ = ["marks_inside", "marks_of"]

_SIGNS = {
    " nan": "nan",
    " inf": "inf",
    "dead": "dead units",
    "gradient 0": "no gradient for a part",
}


def marks_of(
    node: Tensor, value: Numbers, grad: np.ndarray | None, slope: Numbers | None
) -> tuple[str, ...]:
    """Return what is unusual about a node, in a few words each.

    Parameters
    ----------
    node
        What was recorded.
    value, slope
        What is told of its value and of its gradient.
    grad
        The gradient itself.
    """
    marks = []
    for numbers, where in ((value, ""), (slope, " in grad")):
        if numbers is not None:
            marks += [
                f"{count:,} {word}{where}"
                for count, word in ((numbers.nans, "nan"), (numbers.infs, "inf"))
                if count
            ]
    if node.op is not None and node.op.name == "relu" and value.size > 1:
        dead, units = _dead(node)
        if value.zeros == value.size:
            marks.append("0 everywhere: dead")
        elif dead:
            marks.append(f"{dead:,} of {units:,} units dead")
    if isinstance(node, Parameter) and grad is not None and grad.size > 1:
        marks += _unmoved(grad)
    return tuple(marks)


def marks_inside(marks: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return what is unusual inside a folded group: how many of its nodes are so.

    >>> marks_inside([("2 nan",), (), ("1 of 3 units dead", "5 nan in grad")])
    ('nan in 2 nodes', 'dead units in 1 node')
    """
    counts = Counter(
        told
        for each in marks
        for told in {
            told for mark in each for sign, told in _SIGNS.items() if sign in mark
        }
    )
    return tuple(
        f"{told} in {counts[told]:,} node{'s' * (counts[told] > 1)}"
        for told in _SIGNS.values()
        if counts[told]
    )


def _dead(node: Tensor) -> tuple[int, int]:
    """Count the units that are 0 for every example, and all of them.

    Examples are rows, or columns where a weight stood on the left: ``W @ X``.
    """
    value = np.asarray(node.data)
    if value.ndim != 2 or min(value.shape[0], value.shape[1]) == 0:
        return 0, 0
    examples = 1 if _weighed_from_the_left(node) else 0
    if value.shape[examples] < 2:
        return 0, 0  # a unit that rests for the only example is not dead
    idle = ~value.any(axis=examples)
    return int(np.count_nonzero(idle)), idle.size


def _weighed_from_the_left(node: Tensor) -> bool:
    for _ in range(4):  # relu of a sum of a product: no deeper
        inputs = [x for x in inputs_of(node) if isinstance(x, Tensor)]
        if not inputs:
            return False
        if node.op is not None and node.op.name == "matmul":
            left, right = inputs_of(node)
            return _is_weight(left) and not _is_weight(right)
        node = next((x for x in inputs if x.op is not None), inputs[0])
    return False


def _is_weight(x: object) -> bool:
    if isinstance(x, Tensor) and x.op is not None and x.op.kind == "movement":
        (x,) = inputs_of(x)
    return isinstance(x, Tensor) and x.op is None and x.requires_grad


def _unmoved(grad: np.ndarray) -> list[str]:
    """Say which part of a parameter no gradient moves."""
    if not grad.any():
        return ["gradient 0 everywhere"]
    if grad.ndim != 2 or min(grad.shape) < 2:
        return []
    still = [
        (int(np.count_nonzero(~grad.any(axis=axis))), grad.shape[1 - axis], word)
        for axis, word in ((1, "rows"), (0, "columns"))
    ]
    return [
        f"gradient 0 in {count:,} of {size:,} {word}"
        for count, size, word in still
        if count
    ]
