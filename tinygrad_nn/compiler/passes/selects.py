"""What a select leaves out need not be zeroed before.

Gradients that keep track of missing paths select again where an op has selected
already: ``where(c, where(c, x * c, 0), 0)`` is ``where(c, x, 0)``, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn.op import Node, inputs_of
from tinygrad_nn.rewriting.program import Program, like, rebuilt
from tinygrad_nn.tensor import Tensor

__all__ = ["selects"]


def selects(program: Program) -> Program:
    """Let a select take what was selected, or masked, by the same condition."""

    def visit(node: Tensor, inputs: tuple[Any, ...]) -> Any:
        op = node._op
        assert op is not None  # noqa: S101 (a program's nodes are ops)
        if op.name != "where" or not isinstance(inputs[0], Node):
            return node
        condition, x, other = inputs
        if not _is_zero(other):
            return node
        plain = x
        while True:
            inner = _unmasked(plain, condition)
            if inner is None:
                break
            plain = inner
        if plain is x:
            return node
        return like(node, (condition, plain, other))

    return rebuilt(program, visit)


def _is_zero(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, np.generic) and x == 0


def _unmasked(x: Any, condition: Node) -> Any:
    """Return what ``x`` is where the condition holds, if that is simpler."""
    if not isinstance(x, Node) or x._op is None:
        return None
    inputs = inputs_of(x)
    found = None
    if x._op.name == "where" and inputs[0] is condition:
        found = inputs[1]
    elif x._op.name == "multiply" and condition._value.dtype == np.bool_:
        for mask, kept in (inputs, inputs[::-1]):
            if mask is condition:
                found = kept
    same = isinstance(found, Node) and (
        found._value.shape == x._value.shape and found._value.dtype == x._value.dtype
    )
    return found if same else None
