"""What is computed twice from the same operands is computed once."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from tinygrad_nn.op import Node, Op, settings_of
from tinygrad_nn.rewriting.program import Program, rebuilt
from tinygrad_nn.scalars import Scalar
from tinygrad_nn.tensor import Tensor

__all__ = ["common", "expression_key"]


def common(program: Program) -> Program:
    """Let equal expressions share one node; random numbers are never equal."""
    known: dict[Hashable, Tensor] = {}

    def visit(node: Tensor, inputs: tuple[Any, ...]) -> Any:
        op = node._op
        assert op is not None  # noqa: S101 (a program's nodes are ops)
        if op.name == "uniform":
            return node
        key = expression_key(op, inputs, settings_of(node), program)
        try:
            return known.setdefault(key, node)
        except TypeError:  # a setting without a hash
            return node

    return rebuilt(program, visit)


def expression_key(
    op: Op, inputs: tuple[Any, ...], settings: Any, program: Program
) -> Hashable:
    """Return what is equal for expressions of one value.

    The two orders of a product have the same elements, yet not always in the same order
    in memory, which can change the last bit of a sum of them.
    """
    operands = [_operand_key(x, program) for x in inputs]
    if op.name in ("add", "multiply") and not program.exact:
        operands.sort(key=repr)
    return (op.name, *operands, _settings_key(settings))


def _operand_key(x: Any, program: Program) -> Hashable:
    """Return what is equal for operands that are the same in every run."""
    if isinstance(x, Node):
        made = x._op is None and x._code is None and x not in program.places
        if made and np.ndim(x._value) == 0:
            return ("number", str(x._value.dtype), x._value.tobytes())
        return id(x)
    if isinstance(x, Scalar):
        return ("scalar", x.text)
    if isinstance(x, np.ndarray):
        return id(x)
    return (type(x).__name__, str(getattr(x, "dtype", "")), repr(x))


def _settings_key(settings: Any) -> Hashable:
    """Return what is equal for equal settings; one axis is a tuple of one."""
    return tuple(
        sorted(
            (
                name,
                _setting((value,) if name == "axis" and type(value) is int else value),
            )
            for name, value in settings.items()
        )
    )


def _setting(value: Any) -> str:
    if isinstance(value, (Node, np.ndarray)):
        return f"id {id(value)}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_setting, value))})"
    return f"{type(value).__name__} {value!r}"
