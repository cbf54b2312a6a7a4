"""Where a relu is above zero is read off its result.

``Z > 0`` and ``max(Z, 0) > 0`` are the same mask, and the result is there anyway: Z
need not be kept for the backward, so the relu runs in place.
"""

from __future__ import annotations

from typing import Any

from tinygrad_nn.op import Node
from tinygrad_nn.rewriting.fold import number_of
from tinygrad_nn.rewriting.program import Program, like, rebuilt
from tinygrad_nn.tensor import Tensor

__all__ = ["masks"]


def masks(program: Program) -> Program:
    """Compare the result of a relu with zero, not what it was made of."""
    relus: dict[Node, Tensor] = {}

    def visit(node: Tensor, inputs: tuple[Any, ...]) -> Any:
        op = node._op
        assert op is not None  # noqa: S101 (a program's nodes are ops)
        if op.name not in ("maximum", "greater"):
            return node
        x, y = inputs
        if op.name == "maximum":
            for z, other in ((x, y), (y, x)):
                same = isinstance(z, Node) and z._value.shape == node._value.shape
                if same and number_of(other, program) == 0:
                    relus.setdefault(z, node)
        elif isinstance(x, Node) and number_of(y, program) == 0 and x in relus:
            return like(node, (relus[x], y))
        return node

    return rebuilt(program, visit)
