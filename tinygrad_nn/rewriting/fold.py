"""Numbers known beforehand are computed once, and what changes nothing is left out.

Only numbers that no one else can see are folded: seeds and factors that gradient rules
made. Arrays of the user's are read at every call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_nn.op import Node, inputs_of, settings_of
from tinygrad_nn.rewriting.forms import number_leaf
from tinygrad_nn.rewriting.program import Program, operands, rebuilt
from tinygrad_nn.scalars import Scalar
from tinygrad_nn.tensor import Tensor

__all__ = ["fold", "number_of"]


def number_of(x: Any, program: Program) -> Any:
    """Return the number that an operand is in every run, or None."""
    if isinstance(x, Scalar):
        return None
    if isinstance(x, (int, float, np.generic)):
        return x
    if not isinstance(x, Node) or x in program.places:
        return None
    seed = x._op is None and x._code is None and np.ndim(x._value) == 0
    return x._value[()] if seed else None


def fold(program: Program) -> Program:
    """Fold numbers; drop copies, factors of one, and moves that move nothing."""

    def visit(node: Tensor, inputs: tuple[Any, ...]) -> Any:
        op = node._op
        assert op is not None  # noqa: S101 (a program's nodes are ops)
        value = node._value
        if np.ndim(value) == 0 and op.name != "uniform":
            numbers = [number_of(x, program) for x in inputs]
            if None not in numbers and len(operands(node)) == len(
                [x for x in inputs if isinstance(x, Node)]
            ):
                return number_leaf(value)
        unmoved = _UNMOVED.get(op.name)
        same = None if unmoved is None else unmoved(node, inputs, program)
        if same is None:
            return node
        if same._op is not None and getattr(same, "_name", None) is None:
            same._name = getattr(node, "_name", None)
        return same

    return rebuilt(program, visit)


def _same(x: Any, value: Any) -> bool:
    return (
        isinstance(x, Node)
        and x._value.shape == value.shape
        and x._value.dtype == value.dtype
    )


def _copy(node: Tensor, inputs: tuple[Any, ...], _program: Program) -> Any:
    """Return what is moved to where it is."""
    (x,) = inputs
    return x if _same(x, node._value) else None


def _sum(node: Tensor, inputs: tuple[Any, ...], program: Program) -> Any:
    """Return what is summed along no axis."""
    along = settings_of(node)["axis"]
    # NumPy adds to 0, where -0.0 becomes 0.0.
    loose = along == () and not program.exact
    return _copy(node, inputs, program) if loose else None


def _twice(node: Tensor, inputs: tuple[Any, ...], _program: Program) -> Any:
    """Return what is turned round, and back."""
    (x,) = inputs
    if not isinstance(x, Node) or x._op is not node._op:
        return None
    turns = (settings_of(node).get("axes"), settings_of(x).get("axes"))
    return inputs_of(x)[0] if turns == (None, None) else None


def _times_one(node: Tensor, inputs: tuple[Any, ...], program: Program) -> Any:
    for one, other in (inputs, inputs[::-1]):
        if number_of(one, program) == 1 and _same(other, node._value):
            return other
    return None


def _over_one(node: Tensor, inputs: tuple[Any, ...], program: Program) -> Any:
    x, y = inputs
    return x if number_of(y, program) == 1 and _same(x, node._value) else None


_UNMOVED: dict[str, Callable[..., Any]] = {
    "astype": _copy,
    "reshape": _copy,
    "broadcast_to": _copy,
    "spread": _copy,
    "sum": _sum,
    "transpose": _twice,
    "negative": _twice,
    "multiply": _times_one,
    "divide": _over_one,
}
