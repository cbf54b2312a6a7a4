"""A sigmoid that stands beside its logarithm is a quotient of what is there already.

NumPy has it as ``exp(min(z, 0) - log1p(exp(-|z|)))``, one exponential more but no
choice between tails (see `tinygrad_nn.compiler.passes.exponentials`). In a loop of C a
choice costs nothing and an exponential costs most, so it is ``exp(-|z|)`` or 1, by
``1 + exp(-|z|)``: as exact in both tails, and a nan stays one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.op import Node, inputs_of, op_of
from tinygrad_nn.rewriting.fold import number_of
from tinygrad_nn.rewriting.program import Program, rebuilt, recorded
from tinygrad_nn.tensor import Tensor

__all__ = ["quotients", "tails"]


class _Curve(NamedTuple):
    """A sigmoid's operand, and ``exp(-|z|)``."""

    z: Any
    odds: Any


def quotients(program: Program) -> Program:
    """Return a program that takes no exponential where it can divide."""
    if program.exact:
        return program

    def visit(node: Tensor, inputs: tuple[Any, ...]) -> Any:
        curve = _curve(node, program)
        if curve is None:
            return node
        del inputs
        below = recorded(op_of(ops.less), (curve.z, 0.0), node)
        tail = recorded(op_of(ops.where), (below, curve.odds, 1.0), node)
        whole = recorded(op_of(ops.add), (1.0, curve.odds), node)
        made = recorded(op_of(ops.divide), (tail, whole), node)
        if made._value.dtype != node._value.dtype:
            return node
        made._name = getattr(node, "_name", None)
        return made

    found = rebuilt(program, visit)
    old = set(program.nodes)
    for node in found.nodes:
        if node not in old:  # shape and dtype are all that is asked of it
            nothing = np.zeros((), node._value.dtype)
            node._value = np.broadcast_to(nothing, node._value.shape)
    return found


def tails(program: Program) -> set[Node]:
    """Return the nodes ``log1p(exp(-|z|))``, whose operands lie between 0 and 1."""
    found: set[Node] = set()
    for node in program.nodes:
        if _odds(_parts(node, "log1p")[0], program) is not None:
            found.add(node)
    return found


def _curve(node: Any, program: Program) -> _Curve | None:
    """Return of what a node is the sigmoid, if it is written as the pass writes it."""
    low, rest = _parts(_parts(node, "exp")[0], "subtract")
    odds = _odds(_parts(rest, "log1p")[0], program)
    return odds[1] if odds is not None and odds[0] is low else None


def _odds(node: Any, program: Program) -> tuple[Any, _Curve] | None:
    """Return ``min(z, 0)`` and the curve of a node ``exp(min(z, 0) - max(z, 0))``."""
    low, high = _parts(_parts(node, "exp")[0], "subtract")
    z, zero = _parts(low, "minimum")
    same, nought = _parts(high, "maximum")
    if not isinstance(z, Node) or z is not same:
        return None
    whole = number_of(zero, program) == 0 and number_of(nought, program) == 0
    return (low, _Curve(z, node)) if whole else None


def _parts(node: Any, name: str) -> tuple[Any, Any]:
    """Return the operands of an op of that name, else None twice."""
    if not isinstance(node, Node) or node._op is None or node._op.name != name:
        return None, None
    inputs = inputs_of(node)
    return inputs[0], inputs[-1]
