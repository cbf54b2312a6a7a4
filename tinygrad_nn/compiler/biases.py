"""The bias of a small layer goes through its product: ``[W | b] @ [A; 1]``.

One product then adds the bias, and one gives both gradients:
``dZ @ [A; 1].T = [dW | db]``. A bias of its own costs a copy, an addition and a sum
over the examples in every step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.compiler.products import way_of
from tinygrad_nn.op import Node, inputs_of, op_of
from tinygrad_nn.rewriting.fold import number_of
from tinygrad_nn.rewriting.program import (
    Program,
    Value,
    constant_leaf,
    like,
    operands,
    rebuilt,
    recorded,
)
from tinygrad_nn.rewriting.ufuncs import ufunc_of
from tinygrad_nn.tensor import Tensor

__all__ = ["FIRST", "LAST", "with_ones"]

SMALL = 4_096
"""Elements of the largest ``[W | b]``."""
COPIED = 1 << 16
"""Elements of the largest input that is copied to stand above a row of ones."""
FEW = 4_096
"""Examples up to which a product sums single precision accurately."""

FIRST = (slice(None), slice(None, -1))
LAST = (slice(None), slice(-1, None))
"""Where ``W`` and ``b`` lie in ``[W | b]``."""


class _Layer(NamedTuple):
    """Nodes of ``Z = W @ A + b`` and of its gradients."""

    Z: Any
    product: Any
    b: Any
    turned: Any  # dZ @ A.T
    sums: Any  # of dZ over the examples


def with_ones(program: Program) -> Program:
    """Let small layers multiply by ``[W | b]``.

    Nothing changes where one of the three parts, the sum, the gradient of ``W`` or that
    of ``b``, is not there, or the product itself is needed.
    """
    layers = _layers(program)
    return _Rewriting(program, layers).run() if layers else program


def _layers(program: Program) -> list[_Layer]:
    users: dict[Node, list[Any]] = {}
    for node in program.nodes:
        for x in operands(node):
            users.setdefault(x, []).append(node)
    outside = set(program.outputs())
    found = []
    for Z in program.nodes:
        if ufunc_of(Z._op) is not np.add:
            continue
        for product, b in (inputs_of(Z), inputs_of(Z)[::-1]):
            if not _is_dense(Z, product, b, program) or product in outside:
                continue
            gradients = _gradients(product, users)
            if len(users[product]) == 1 and gradients is not None:
                found.append(_Layer(Z, product, b, *gradients))
    return found


def _is_dense(Z: Any, product: Any, b: Any, program: Program) -> bool:
    """Whether a sum is that of a small layer, example by column."""
    if not isinstance(product, Node) or product._op is None or not isinstance(b, Node):
        return False
    if product._op.name != "matmul" or not isinstance(program.places.get(b), Value):
        return False
    W, A = inputs_of(product)
    if not (isinstance(W, Node) and isinstance(A, Node)):
        return False
    if not isinstance(program.places.get(W), Value) or np.ndim(A._value) != 2:
        return False
    rows, columns = np.shape(W._value) if np.ndim(W._value) == 2 else (0, 0)
    dtype = Z._value.dtype
    kinds = {x._value.dtype for x in (W, A, b, Z)}
    examples = A._value.shape[1]
    ours = A._op is not None and A not in program.places and ufunc_of(A._op)
    return (
        kinds == {dtype}
        and dtype in (np.float32, np.float64)
        and b._value.shape == (rows, 1)
        and 0 < rows * (columns + 1) <= SMALL
        and bool(ours or A._value.size <= COPIED)
        and (not ours or A._value.flags.c_contiguous)
        and (dtype == np.float64 or examples <= FEW)
        and way_of(rows, examples, columns + 1, dtype) is None
        and way_of(rows, columns + 1, examples, dtype) is None
    )


def _gradients(product: Any, users: dict[Node, list[Any]]) -> tuple[Any, Any] | None:
    """Return ``dZ @ A.T`` and the sum of ``dZ`` over its columns, if both exist."""
    _, A = inputs_of(product)
    turned = [x for x in users[A] if _is_turned(x)]
    for dW in (node for x in turned for node in users.get(x, ())):
        if dW._op.name != "matmul" or inputs_of(dW)[1] not in set(turned):
            continue
        dZ = inputs_of(dW)[0]
        if not isinstance(dZ, Node) or dZ._value.shape != product._value.shape:
            continue
        for node in users[dZ]:
            if node._op.name == "sum" and dZ._value.dtype == product._value.dtype:
                axis = node._settings["axis"]
                if shapes.reduced_axes(2, axis) == (1,):
                    return dW, node
    return None


def _is_turned(x: Any) -> bool:
    axes = x._settings.get("axes") if x._op.name == "transpose" else ()
    return x._op.name == "transpose" and (axes is None or tuple(axes) == (1, 0))


def _name(x: Any) -> str:
    return getattr(x, "_name", None) or (x._op.name if x._op is not None else "x")


class _Rewriting:
    """One run over a program; what several nodes share is made once."""

    def __init__(self, program: Program, layers: list[_Layer]) -> None:
        self.program = program
        self.layer_of = {layer.Z: layer for layer in layers}
        self.gradient_of = {layer.turned: layer for layer in layers}
        self.sums_of = {layer.sums: layer for layer in layers}
        self.above: dict[Node, Tensor] = {}  # A to [A; 1]
        self.turned: dict[Node, Tensor] = {}
        self.made: dict[Any, Tensor] = {}  # Z to what it is now
        self.both: dict[Any, Tensor] = {}  # Z to [dW | db]
        self.parts: dict[Node, tuple[Tensor, Any]] = {}
        self.multiples: dict[Any, Tensor] = {}
        self.inside: dict[Any, tuple[Tensor, Any]] = {}  # W and b to where they lie

    def run(self) -> Program:
        """Return the program with its small layers rewritten."""
        before = iter(self.program.nodes)  # `rebuilt` shows each of them once

        def visit(node: Tensor, inputs: tuple[Any, ...]) -> Any:
            original = next(before)
            if original in self.layer_of:
                return self._forward(original, node, inputs)
            if original in self.gradient_of:
                Z = self.gradient_of[original].Z
                return self._part(self._both(Z, inputs[0], node), FIRST, node)
            if original in self.sums_of:
                Z = self.sums_of[original].Z
                index = LAST if node._value.ndim == 2 else (slice(None), -1)
                return self._part(self._both(Z, inputs[0], node), index, node)
            return self._follow(*self._read_inside(node, inputs))

        return rebuilt(self.program, visit)

    def _forward(self, original: Any, node: Any, inputs: tuple[Any, ...]) -> Tensor:
        layer = self.layer_of[original]
        at = next(i for i, x in enumerate(inputs_of(original)) if x is layer.product)
        W, A = inputs_of(inputs[at])
        join = op_of(ops.concatenate)
        if A not in self.above:
            ones = np.ones((1, A._value.shape[1]), A._value.dtype)
            ones.flags.writeable = False
            leaf = constant_leaf(ones)
            self.above[A] = recorded(join, (A, leaf), node, axis=0)
            self.above[A]._name = f"{_name(A)}_1"
        both = recorded(join, (W, layer.b), node, axis=1)
        both._name = f"{_name(W)}_{_name(layer.b)}"
        made = recorded(op_of(ops.matmul), (both, self.above[A]), node)
        made._name = node._name
        self.made[original] = made
        self.inside.setdefault(W, (both, FIRST))
        self.inside.setdefault(layer.b, (both, LAST))
        return made

    def _read_inside(self, node: Any, inputs: tuple[Any, ...]) -> Any:
        """Let what reads ``W`` or ``b`` later on read it in ``[W | b]``.

        Nothing but that array then needs them: while it holds what they hold, a step
        need not ask for them.
        """
        first = self.program.first_update
        if first is not None and node._order >= first:
            return node, inputs
        found = [
            self._part(*self.inside[x], node)
            if isinstance(x, Node) and x in self.inside
            else x
            for x in inputs
        ]
        if all(a is b for a, b in zip(found, inputs, strict=True)):
            return node, inputs
        return like(node, tuple(found)), tuple(found)

    def _both(self, Z: Any, dZ: Any, node: Any) -> Tensor:
        """Return ``[dW | db]``, made once."""
        if Z not in self.both:
            both, above = inputs_of(self.made[Z])
            if above not in self.turned:
                turned = recorded(op_of(ops.transpose), (above,), node)
                self.turned[above] = turned
            product = op_of(ops.matmul)
            made = recorded(product, (dZ, self.turned[above]), node)
            made._name = f"d{_name(both)}"
            self.both[Z] = made
        return self.both[Z]

    def _part(self, whole: Tensor, index: Any, node: Any) -> Tensor:
        made = recorded(op_of(ops.getitem), (whole,), node, index=index)
        made._name = node._name
        self.parts[made] = (whole, index)
        return made

    def _follow(self, node: Any, inputs: tuple[Any, ...]) -> Any:
        """Let a number multiply ``[dW | db]`` once, and a column be cut as one."""
        name = node._op.name
        if name == "reshape" and inputs[0] in self.parts:
            whole, _ = self.parts[inputs[0]]
            if node._value.shape == (whole._value.shape[0], 1):
                return self._part(whole, LAST, node)
        first = self.program.first_update
        if name != "multiply" or (first is not None and node._order >= first):
            return node
        for number, x in (inputs, inputs[::-1]):
            value = number_of(number, self.program)
            if isinstance(x, Node) and x in self.parts and value is not None:
                whole, index = self.parts[x]
                key = (whole, float(value), node._value.dtype)
                if key not in self.multiples:
                    self.multiples[key] = recorded(node._op, (number, whole), node)
                return self._part(self.multiples[key], index, node)
        return node
