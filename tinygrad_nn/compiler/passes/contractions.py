"""A sum of a product is a dot product; a number goes to the smallest factor.

``sum(x * y)`` is one call that writes no array, ``sum(x * v, axis=1)`` is ``x @ v``,
and ``(w / s) * r`` with a number for each row in s and r is ``w * (r / s)``.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.op import Node, inputs_of, op_of, settings_of
from tinygrad_nn.rewriting.forms import FLOATS
from tinygrad_nn.rewriting.program import Program, operands, rebuilt, recorded
from tinygrad_nn.tensor import Tensor

__all__ = ["contracted"]

_SMALL = 4
"""How many times fewer elements make an array small beside another."""

_MOST = 1 << 20
"""Most elements that BLAS adds up in float32 without losing more than a digit."""

_VIEWS = frozenset({"transpose", "broadcast_to", "spread", "getitem"})


def contracted(program: Program) -> Program:
    """Write sums of products as products, and multiply small factors first."""
    uses = Counter(x for node in program.nodes for x in operands(node))
    uses.update(program.outputs())
    before = iter(program.nodes)

    def visit(node: Tensor, inputs: tuple[Any, ...]) -> Any:
        op = node._op
        assert op is not None  # noqa: S101 (a program's nodes are ops)
        alone = {
            i
            for i, x in enumerate(inputs_of(next(before)))
            if isinstance(x, Node) and x._op is not None and uses[x] == 1
        }
        if op.name == "sum" and alone:
            made = _dot(node, inputs[0])
        elif op.name == "multiply" and alone:
            made = _small_first(node, inputs, alone)
        else:
            return node
        if made is None:
            return node
        if getattr(made, "_name", None) is None:
            made._name = getattr(node, "_name", None)
        return made

    return rebuilt(program, visit)


# --- sums of products ---


def _dot(node: Tensor, product: Any) -> Any:
    if not _is(product, "multiply") or product._value.dtype not in FLOATS:
        return None
    x, y = inputs_of(product)
    shape = np.shape(product._value)
    same = all(
        isinstance(z, Node) and z._value.dtype == product._value.dtype for z in (x, y)
    )
    if not same or math.prod(shape) < 2:
        return None
    if product._value.dtype.itemsize < 8 and math.prod(shape) > _MOST:
        return None
    axes = shapes.reduced_axes(len(shape), settings_of(node)["axis"])
    if len(axes) == len(shape):
        made = _all(node, x, y, shape)
    elif len(shape) == 2 and axes:
        made = _rows(node, x, y, shape, axes[0])
    else:
        return None
    if made is None or np.shape(made._value) == np.shape(node._value):
        return made
    return _reshaped(made, np.shape(node._value), node)


def _all(node: Tensor, x: Any, y: Any, shape: tuple[int, ...]) -> Any:
    """Sum everything: elements in the order in which they lie in memory."""
    if not all(np.shape(z._value) == shape and _lies_in_order(z) for z in (x, y)):
        return None
    flat = (math.prod(shape),)
    pair = (_reshaped(x, flat, node), _reshaped(y, flat, node))
    return recorded(op_of(ops.matmul), pair, node)


def _rows(node: Tensor, x: Any, y: Any, shape: tuple[int, ...], axis: int) -> Any:
    """Sum rows (or columns) that are weighted alike: matrix times vector."""
    for matrix, weights in ((x, y), (y, x)):
        if np.shape(matrix._value) != shape:
            continue
        full = (1,) * (2 - weights._value.ndim) + np.shape(weights._value)
        if full[axis] != shape[axis] or full[1 - axis] != 1:
            continue
        vector = _reshaped(weights, (shape[axis],), node)
        pair = (matrix, vector) if axis == 1 else (vector, matrix)
        return recorded(op_of(ops.matmul), pair, node)
    return None


def _reshaped(x: Any, shape: tuple[int, ...], node: Tensor) -> Any:
    if np.shape(x._value) == shape:
        return x
    return recorded(op_of(ops.reshape), (x,), node, shape=shape)


def _lies_in_order(x: Any) -> bool:
    """Whether a flat view of an array costs nothing."""
    if x._op is None:
        return bool(np.asarray(x._value).flags.c_contiguous)
    return x._op.name not in _VIEWS


# --- small factors ---


def _small_first(node: Tensor, inputs: tuple[Any, ...], alone: set[int]) -> Any:
    """Let ``(w / s) * r`` be ``w * (r / s)`` where r and s are small."""
    size = np.size(node._value)
    for i in alone:
        product, other = inputs[i], inputs[1 - i]
        if not _is_small(other, size) or np.size(product._value) != size:
            continue
        if _is(product, "divide"):
            w, s = inputs_of(product)
            # A sum of exponentials less their largest is 1 at least: r / s is safe.
            if not (
                _is(s, "sum") and _is(inputs_of(s)[0], "exp") and w is inputs_of(s)[0]
            ):
                continue
            if _is_small(s, size):
                share = recorded(op_of(ops.divide), (other, s), node)
                return recorded(op_of(ops.multiply), (w, share), node)
        if _is(product, "multiply") and not isinstance(other, Node):
            for w, s in (inputs_of(product), inputs_of(product)[::-1]):
                if (
                    isinstance(s, Node)
                    and _is_small(s, size)
                    and np.size(w._value) == size
                ):
                    share = recorded(op_of(ops.multiply), (other, s), node)
                    return recorded(op_of(ops.multiply), (w, share), node)
    return None


def _is_small(x: Any, size: int) -> bool:
    value = x._value if isinstance(x, Node) else x
    return bool(np.size(value) * _SMALL <= size)


def _is(x: Any, name: str) -> bool:
    return isinstance(x, Node) and x._op is not None and x._op.name == name
