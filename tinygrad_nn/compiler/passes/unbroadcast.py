"""Nothing is repeated for an op that would have repeated it itself.

The gradient of a sum is one number spread over an array; multiplied by an array, the
number will do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.compiler.passes.expand import recorded
from tinygrad_nn.compiler.program import Program, like, rebuilt
from tinygrad_nn.op import Node, inputs_of, op_of
from tinygrad_nn.tensor import Tensor

__all__ = ["unbroadcast"]


def _source(x: Any) -> tuple[Any, Any]:
    """Return what a repeated operand was repeated from, and the shape to give it."""
    if not isinstance(x, Node) or x._op is None:
        return None, None
    if x._op.name not in ("broadcast_to", "spread"):
        return None, None
    (y,) = inputs_of(x)
    if not isinstance(y, Node):  # a learning rate, repeated: a number has no dtype
        return None, None
    if x._op.name == "broadcast_to":
        return y, np.shape(y._value)
    if x._op.name == "spread":
        options = x._settings
        kept = shapes.reduced(tuple(options["shape"]), options["axis"], keepdims=True)
        return y, () if np.ndim(y._value) == 0 else kept
    return None, None


def unbroadcast(program: Program) -> Program:
    """Give elementwise ops their operands before they were repeated."""

    def visit(node: Tensor, inputs: tuple[Any, ...]) -> Any:
        op = node._op
        assert op is not None  # noqa: S101 (a program's nodes are ops)
        if not op.pointwise or op.name == "uniform" or len(inputs) < 2:
            return node
        moved = list(inputs)
        for i, x in enumerate(inputs):
            y, shape = _source(x)
            if y is None:
                continue
            others = [
                np.shape(z._value if isinstance(z, Node) else z)
                for j, z in enumerate(moved)
                if j != i
            ]
            if shapes.broadcast(shape, *others) != node._value.shape:
                continue
            if np.shape(y._value) != tuple(shape):
                y = recorded(op_of(ops.reshape), (y,), node, shape=tuple(shape))
            moved[i] = y
        if all(a is b for a, b in zip(moved, inputs, strict=True)):
            return node
        return like(node, tuple(moved))

    return rebuilt(program, visit)
