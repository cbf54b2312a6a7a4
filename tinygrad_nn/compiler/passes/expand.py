"""Ops whose body is several NumPy calls become those calls: sigmoid, softmax, mean.

The body itself is run, on stand-ins for its operands that record. A body that looks at
values, or calls what no op of ours is, stays one call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from tinygrad_nn import ops
from tinygrad_nn.op import Node, Op, op_of
from tinygrad_nn.rewriting.program import Program, rebuilt, recorded
from tinygrad_nn.rewriting.ufuncs import op_for, ufunc_of
from tinygrad_nn.tensor import Tensor

__all__ = ["expand", "is_primitive"]

_KEPT = frozenset({"where", "astype", "uniform", "sum", "max", "min", "prod"})
_STRUCTURE = ("movement", "indexing", "contraction", "accumulation")
_REDUCTIONS: dict[Any, Op] = {
    np.add: op_of(ops.sum),
    np.maximum: op_of(ops.max),
    np.minimum: op_of(ops.min),
    np.multiply: op_of(ops.prod),
}


class _OpaqueError(Exception):
    """A body does something that cannot be recorded."""


class _Spy(NDArrayOperatorsMixin):
    """Stands for an array in a body; every call on it becomes a node."""

    __slots__ = ("node", "owner")

    def __init__(self, node: Any, owner: Node) -> None:
        self.node = node
        self.owner = owner

    @property
    def dtype(self) -> Any:
        return self.node._value.dtype

    @property
    def shape(self) -> Any:
        return self.node._value.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(self.node._value.size)

    @property
    def T(self) -> _Spy:
        return self._made(op_of(ops.transpose), (self,))

    def astype(self, dtype: Any) -> _Spy:
        return self._made(op_of(ops.astype), (self,), dtype=np.dtype(dtype))

    def reshape(self, *shape: Any) -> _Spy:
        wanted = shape[0] if len(shape) == 1 else shape
        return self._made(op_of(ops.reshape), (self,), shape=wanted)

    def transpose(self, axes: Any = None) -> _Spy:
        return self._made(op_of(ops.transpose), (self,), axes=axes)

    def __getitem__(self, index: Any) -> _Spy:
        if index == () or index is Ellipsis:
            return self
        return self._made(op_of(ops.getitem), (self,), index=index)

    def __bool__(self) -> bool:
        raise _OpaqueError

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise _OpaqueError

    def _made(self, op: Op, inputs: tuple[Any, ...], **settings: Any) -> _Spy:
        plain = tuple(x.node if isinstance(x, _Spy) else x for x in inputs)
        return _Spy(recorded(op, plain, self.owner, **settings), self.owner)

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, **options: Any
    ) -> Any:
        options = {k: v for k, v in options.items() if v is not None}
        if method == "__call__" and not options:
            op = op_for(ufunc)
            if op is not None:
                return self._made(op, inputs)
        if method == "reduce" and ufunc in _REDUCTIONS:
            axis = options.pop("axis", None)
            keepdims = options.pop("keepdims", False)
            if not options and len(inputs) == 1:
                return self._made(
                    _REDUCTIONS[ufunc], inputs, axis=axis, keepdims=keepdims
                )
        raise _OpaqueError

    def __array_function__(
        self, function: Any, _types: Any, args: Any, options: Any
    ) -> Any:
        handler = _FUNCTIONS.get(function)
        if handler is None:
            raise _OpaqueError
        return handler(self, *args, **options)


_FUNCTIONS: dict[Any, Any] = {
    np.where: lambda spy, c, x, y: spy._made(op_of(ops.where), (c, x, y)),
    np.reshape: lambda _, x, shape: x.reshape(shape),
    np.transpose: lambda _, x, axes=None: x.transpose(axes),
    np.broadcast_to: lambda spy, x, shape: spy._made(
        op_of(ops.broadcast_to), (x,), shape=shape
    ),
    np.shape: lambda _, x: x.shape,
    np.ndim: lambda _, x: x.ndim,
    np.size: lambda _, x: x.size,
    # In the operand's order of axes, which the sums that follow go through.
    np.zeros_like: lambda _, x: np.zeros_like(x.node._value, subok=False),
    np.ones_like: lambda _, x: np.ones_like(x.node._value, subok=False),
}


def is_primitive(op: Op) -> bool:
    """Whether a backend writes the op as it is."""
    if op.kind in _STRUCTURE or op.name in _KEPT:
        return True
    return op.pointwise and ufunc_of(op) is not None


def _simpler_power(node: Tensor, inputs: tuple[Any, ...]) -> Any:
    """NumPy's own short cuts of ``x ** number`` for arrays, made visible."""
    x, y = inputs
    if not isinstance(x, Node) or np.ndim(x._value) == 0 or x._value.dtype.kind != "f":
        return node
    if y.__class__ not in (int, float):
        return node
    if y == 2:
        return recorded(op_of(ops.multiply), (x, x), node)
    if y == 0.5:
        return recorded(op_of(ops.sqrt), (x,), node)
    if y == -1:
        return recorded(op_of(ops.divide), (1, x), node)
    return node


def _expanded(node: Tensor, inputs: tuple[Any, ...]) -> Any:
    op: Op = node._op  # type: ignore[assignment]
    if op.name == "power":
        return _simpler_power(node, inputs)
    if is_primitive(op):
        return node
    if any(isinstance(x, Node) and x._value.dtype.kind != "f" for x in inputs):
        return node
    spies = [_Spy(x, node) if isinstance(x, Node) else x for x in inputs]
    try:
        result = op.function(*spies, **({} if not op.defaults else node._settings))
    except Exception:  # noqa: BLE001 (a body may do anything: then it stays one call)
        return node
    if not isinstance(result, _Spy):
        return node
    made = result.node
    same = made._value.shape == node._value.shape
    if not same or made._value.dtype != node._value.dtype:
        return node
    if not any(made is x for x in inputs):
        made._name = getattr(node, "_name", None)
    return made


def expand(program: Program) -> Program:
    """Replace every op whose body is several calls by those calls."""
    return rebuilt(program, _expanded)
