"""Numbers known beforehand are computed once, and what changes nothing is left out.

Only numbers that no one else can see are folded: seeds and factors that gradient rules
made. Arrays of the user's are read at every call.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn.compiler.program import Program, operands, rebuilt
from tinygrad_nn.op import Node, data_of, inputs_of, settings_of
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
                return _number(value)
        return _unmoved(node, inputs, program)

    return rebuilt(program, visit)


def _number(value: Any) -> Tensor:
    leaf = object.__new__(Tensor)
    leaf._value = value
    leaf._op = leaf._form = leaf._code = None
    leaf._lasti = -1
    leaf._order = 0
    leaf.requires_grad = False
    leaf._name = None
    return leaf


def _same(x: Any, value: Any) -> bool:
    return (
        isinstance(x, Node)
        and x._value.shape == value.shape
        and x._value.dtype == value.dtype
    )


def _unmoved(node: Tensor, inputs: tuple[Any, ...], program: Program) -> Any:
    op = node._op
    assert op is not None  # noqa: S101 (a program's nodes are ops)
    value = node._value
    x = inputs[0] if inputs else None
    if op.name in ("astype", "reshape", "broadcast_to", "spread") and _same(x, value):
        return x
    if op.name == "sum" and node._settings["axis"] == () and _same(x, value):
        return x
    if op.name == "transpose" and isinstance(x, Node) and x._op is op:
        if node._settings["axes"] is None and settings_of(x)["axes"] is None:
            return inputs_of(x)[0]
    if op.name == "negative" and isinstance(x, Node) and x._op is op:
        return inputs_of(x)[0]
    if op.name == "multiply":
        x, y = inputs
        for one, other in ((x, y), (y, x)):
            number = number_of(one, program)
            if number is not None and data_of(number) == 1 and _same(other, value):
                return other
    if op.name == "divide":
        x, y = inputs
        number = number_of(y, program)
        if number is not None and number == 1 and _same(x, value):
            return x
    return node
