"""A live number under a root is taken out of it: Adam's correction, once a step.

``r m / (sqrt(v / c) + e)`` is ``r sqrt(c) * (m / (sqrt(v) + e sqrt(c)))``: the numbers
r, c and e are the same for every element, so a division of the whole array is saved.
"""

from __future__ import annotations

from typing import Any

from tinygrad_nn import ops
from tinygrad_nn.compiler.passes.expand import recorded
from tinygrad_nn.compiler.program import Program, rebuilt
from tinygrad_nn.op import Node, inputs_of, op_of
from tinygrad_nn.scalars import Scalar
from tinygrad_nn.tensor import Tensor

__all__ = ["roots"]


def roots(program: Program) -> Program:
    """Take live divisors out from under square roots in a divisor."""

    def visit(node: Tensor, inputs: tuple[Any, ...]) -> Any:
        op = node._op
        if op is not _DIVIDE:
            return node
        scaled, divisor = inputs
        rate, mean = _pair(_MULTIPLY, scaled, Scalar)
        eps, root = _pair(_ADD, divisor, (float, Scalar))
        if rate is None or eps is None or root._op is not _SQRT:
            return node
        (quotient,) = inputs_of(root)
        if not isinstance(quotient, Node) or quotient._op is not _DIVIDE:
            return node
        square, correction = inputs_of(quotient)
        if not isinstance(correction, Scalar) or not isinstance(square, Node):
            return node
        share = correction**0.5
        below = recorded(_ADD, (recorded(_SQRT, (square,), node), eps * share), node)
        ratio = recorded(_DIVIDE, (mean, below), node)
        return recorded(_MULTIPLY, (rate * share, ratio), node)

    return rebuilt(program, visit)


_ADD, _DIVIDE = op_of(ops.add), op_of(ops.divide)
_MULTIPLY, _SQRT = op_of(ops.multiply), op_of(ops.sqrt)


def _pair(op: Any, node: Any, kind: Any) -> tuple[Any, Any]:
    """Return number and array of an op of both; (None, None) where it is not that."""
    if not isinstance(node, Node) or node._op is not op:
        return None, None
    for number, array in (inputs_of(node), inputs_of(node)[::-1]):
        if isinstance(number, kind) and isinstance(array, Node):
            return number, array
    return None, None
