"""A loss and its gradient share their exponentials and logarithms.

`softmax` and `log_softmax` of one operand have one maximum, one exponential, one sum.
`sigmoid` and the logarithms of one operand have one ``log1p(exp(-|z|))``: with the
logarithm at hand the sigmoid is ``exp(min(z, 0) - log1p(exp(-|z|)))``, which in NumPy
is cheaper than choosing between the two tails, and as exact in both. Where a float32
operand is widened for one of them, the others take the wide one too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.op import Node, inputs_of, op_of, settings_of
from tinygrad_nn.rewriting.program import Program, rebuilt, recorded
from tinygrad_nn.tensor import Tensor

__all__ = ["exponentials"]

_LOGARITHMS = frozenset({"logistic_loss", "log_sigmoid", "log1m_sigmoid", "softplus"})
_SOFT = frozenset({"softmax", "log_softmax", "logsumexp"})
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def exponentials(program: Program, *, logistic: bool = True) -> Program:
    """Write softmax, sigmoid and their logarithms out, with what they share made once.

    What stands alone keeps the body of its op, and so does the family of the sigmoid
    without ``logistic``. Not so softmax: a row of minus infinities, of which all
    elements are nan either way, gets no care.
    """
    users: dict[str, set[Any]] = {"sigmoid": set(), "logsumexp": set(), "log": set()}
    narrow = {node: x for node in program.nodes for x in _widened(node)}
    wide = set(narrow.values())
    for node in program.nodes:
        name = node._op.name  # type: ignore[union-attr]
        name = "log" if name in _LOGARITHMS else name
        x = _first(node)
        if name in users and _is_float(x):
            users[name].add(narrow.get(x, x))
    shared = users["log"] & users["sigmoid"] if logistic else set()
    writer = _Writer()
    before = iter(program.nodes)

    def visit(node: Tensor, inputs: tuple[Any, ...]) -> Any:
        op = node._op
        assert op is not None  # noqa: S101 (a program's nodes are ops)
        original = next(before)
        asked = _first(original)
        if not _is_float(asked):
            return node
        x = inputs[0]
        if original in narrow:
            return writer.wide(x, node)
        group = narrow.get(asked, asked)
        curved = op.name == "sigmoid" or op.name in _LOGARITHMS
        if curved and group not in shared:
            return node
        if asked in wide:
            x = writer.wide(x, node)
        if curved:
            made = writer.logistic(node, (x, *inputs[1:]), op.name)
        elif op.name in _SOFT:
            made = writer.soft(node, x, op.name, bounded=group in users["logsumexp"])
        else:
            return node
        return writer.finished(made, node)

    return rebuilt(program, visit)


def _widened(node: Tensor) -> list[Any]:
    """Return the float32 operand of which a node is the float64 copy."""
    op, x = node._op, _first(node)
    if op is None or op.name != "astype" or node._value.dtype != np.float64:
        return []
    return [x] if isinstance(x, Node) and x._value.dtype == np.float32 else []


def _first(node: Tensor) -> Any:
    """Return the first operand; random numbers have none."""
    return next(iter(inputs_of(node)), None)


def _is_float(x: Any) -> bool:
    return isinstance(x, Node) and x._value.dtype in _FLOATS


class _Writer:
    """Makes the parts, each once."""

    def __init__(self) -> None:
        self.parts: dict[Any, Any] = {}

    def part(self, key: Any, op: Any, inputs: Any, node: Node, **settings: Any) -> Any:
        """Return a part that is there, or make it."""
        known = self.parts.get(key)
        if known is None:
            made = recorded(op_of(op), inputs, node, **settings)
            known = self.parts[key] = made
        return known

    def wide(self, x: Any, node: Node) -> Any:
        """Make the float64 copy of a float32 operand."""
        return self.part(("wide", x), ops.astype, (x,), node, dtype=np.dtype(float))

    def finished(self, made: Any, node: Node) -> Any:
        """Return what stands for a node: of its dtype, under its name."""
        if made._value.dtype != node._value.dtype:
            settings = {"dtype": node._value.dtype}
            made = self.part(("narrow", made), ops.astype, (made,), node, **settings)
        if getattr(made, "_name", None) is None:
            made._name = getattr(node, "_name", None)
        return made

    # --- sigmoid ---

    def low(self, x: Any, node: Node) -> Any:
        """Make ``min(x, 0)``."""
        return self.part(("low", x), ops.minimum, (x, 0.0), node)

    def high(self, x: Any, node: Node) -> Any:
        """Make ``max(x, 0)``."""
        return self.part(("high", x), ops.maximum, (x, 0.0), node)

    def rest(self, x: Any, node: Node) -> Any:
        """Make ``log(1 + exp(-|x|))``: what is left of a softplus."""
        low, high = self.low(x, node), self.high(x, node)
        less = self.part(("-|x|", x), ops.subtract, (low, high), node)
        odds = self.part(("odds", x), ops.exp, (less,), node)
        return self.part(("rest", x), ops.log1p, (odds,), node)

    def logistic(self, node: Tensor, inputs: tuple[Any, ...], name: str) -> Any:
        """Write one of the family out."""
        x = inputs[0]
        rest = self.rest(x, node)
        if name == "logistic_loss":
            y = inputs[1]
            line = recorded(op_of(ops.multiply), (x, y), node)
            kink = recorded(op_of(ops.subtract), (self.high(x, node), line), node)
            return recorded(op_of(ops.add), (kink, rest), node)
        if name == "softplus":
            return self.part(("soft", x), ops.add, (self.high(x, node), rest), node)
        if name == "log1m_sigmoid":
            soft = self.part(("soft", x), ops.add, (self.high(x, node), rest), node)
            return recorded(op_of(ops.negative), (soft,), node)
        low = self.low(x, node)
        log = self.part(("log", x), ops.subtract, (low, rest), node)
        if name == "log_sigmoid":
            return log
        return self.part(("curve", x), ops.exp, (log,), node)

    # --- softmax ---

    def soft(self, node: Tensor, x: Any, name: str, *, bounded: bool) -> Any:
        """Write a softmax, its logarithm, or the logarithm of its sum out."""
        axis = settings_of(node)["axis"]
        axes = shapes.reduced_axes(np.ndim(x._value), axis)
        given = axes[0] if len(axes) == 1 else axes
        row = {"axis": given, "keepdims": True}
        key = (x, axes)
        top = self.part(("top", *key), ops.max, (x,), node, **row)
        if bounded:
            # Of a row of infinities the logarithm is one; the difference would be nan.
            most = float(np.finfo(x._value.dtype).max)
            up = self.part(("up", *key), ops.maximum, (top, -most), node)
            top = self.part(("down", *key), ops.minimum, (up, most), node)
        distance = self.part(("distance", *key), ops.subtract, (x, top), node)
        weights = self.part(("weights", *key), ops.exp, (distance,), node)
        total = self.part(("total", *key), ops.sum, (weights,), node, **row)
        if name == "softmax":
            return self.part(("shares", *key), ops.divide, (weights, total), node)
        log = self.part(("log", *key), ops.log, (total,), node)
        if name == "log_softmax":
            return self.part(("logs", *key), ops.subtract, (distance, log), node)
        result = recorded(op_of(ops.add), (log, top), node)
        if np.shape(result._value) != np.shape(node._value):
            shape = np.shape(node._value)
            result = recorded(op_of(ops.reshape), (result,), node, shape=shape)
        return result
