"""Nothing is repeated for an op that would have repeated it itself.

The gradient of a sum is one number spread over an array; multiplied by an array, the
number will do.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.op import Node, inputs_of, op_of, settings_of
from tinygrad_nn.rewriting.program import Program, like, rebuilt, recorded
from tinygrad_nn.tensor import Tensor

__all__ = ["unbroadcast"]


def unbroadcast(program: Program) -> Program:
    """Give elementwise ops their operands before they were repeated.

    Where all of them were, the result is repeated instead, unless every bit counts: a
    sum adds up what lies in memory in another order than what is repeated.
    """

    def visit(node: Tensor, inputs: tuple[Any, ...]) -> Any:
        op = node._op
        assert op is not None  # noqa: S101 (a program's nodes are ops)
        if not op.pointwise or op.name == "uniform" or len(inputs) < 2:
            return node
        if not program.exact:
            repeated = _repeated(node, inputs)
            if repeated is not None:
                return repeated
        moved = list(inputs)
        for i, x in enumerate(inputs):
            y, shape = _source(x)
            if y is None:
                continue
            others = [_shape(z) for j, z in enumerate(moved) if j != i]
            if shapes.broadcast(shape, *others) == node._value.shape:
                moved[i] = _shaped(y, shape, node)
        if all(a is b for a, b in zip(moved, inputs, strict=True)):
            return node
        return like(node, tuple(moved))

    return rebuilt(program, visit)


def _repeated(node: Tensor, inputs: tuple[Any, ...]) -> Any:
    """Compute a node of what its operands were repeated from, and repeat that."""
    sources = [(x, *_source(x)) for x in inputs]
    small = shapes.broadcast(
        *[_shape(x) if y is None else shape for x, y, shape in sources]
    )
    if math.prod(small) == node._value.size:
        return None
    moved = tuple(x if y is None else _shaped(y, at, node) for x, y, at in sources)
    assert node._op is not None  # noqa: S101 (a program's nodes are ops)
    made = recorded(node._op, moved, node, **settings_of(node))
    if made._value.dtype != node._value.dtype:
        return None
    return recorded(op_of(ops.broadcast_to), (made,), node, shape=node._value.shape)


def _source(x: Any) -> tuple[Any, Any]:
    """Return what a repeated operand was repeated from, and the shape to give it."""
    if not isinstance(x, Node) or x._op is None:
        return None, None
    if x._op.name not in ("broadcast_to", "spread"):
        return None, None
    (y,) = inputs_of(x)
    if not isinstance(y, Node):  # a learning rate, repeated: a number has no dtype
        return None, None
    if x._op.name == "broadcast_to" or np.ndim(y._value) == 0:
        return y, np.shape(y._value)
    options = x._settings
    return y, shapes.reduced(tuple(options["shape"]), options["axis"], keepdims=True)


def _shape(x: Any) -> tuple[int, ...]:
    return np.shape(x._value if isinstance(x, Node) else x)


def _shaped(y: Any, shape: tuple[int, ...], node: Tensor) -> Any:
    """Return an array with axes of one element where it was repeated."""
    if np.shape(y._value) == tuple(shape):
        return y
    return recorded(op_of(ops.reshape), (y,), node, shape=tuple(shape))
