"""All derivatives at once, `jacobian` and `hessian`, and their product: `hvp`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_nn import autodiff, ops, recording
from tinygrad_nn.errors import OpError
from tinygrad_nn.op import Node
from tinygrad_nn.tensor import Tensor
from tinygrad_nn.transforms.batching import batched
from tinygrad_nn.transforms.calling import (
    Called,
    Wanted,
    call,
    refuse_uncallable,
    select,
    signed,
)
from tinygrad_nn.transforms.reverse import grad, one_number
from tinygrad_nn.transforms.structure import fitted

__all__ = ["hessian", "hvp", "jacobian"]

Function = Callable[..., Any]
_MODES = ("auto", "forward", "reverse")
_FEWER = 16
"""By how much elements of the argument are fewer before ``"auto"`` goes forward.

To push is to pull twice, once for all; `tests/benchmarks/transforms.py` has the times.
"""


def jacobian(
    f: Function,
    argnums: int | Sequence[int] | None = None,
    *,
    argnames: str | Sequence[str] | None = None,
    has_aux: bool = False,
    mode: str = "auto",
) -> Function:
    """Make the function that returns all derivatives, ``f``'s shape + ``x``'s shape.

    Parameters
    ----------
    f
        Returns a Tensor, or a dict, list or tuple of Tensors: then the result has
        that structure, and in the place of each Tensor the structure of the argument.
    argnums, argnames, has_aux
        As in `value_and_grad`.
    mode
        ``"reverse"``: from each element of the result to all of the argument;
        ``"forward"``: from each element of the argument to all of the result; or
        ``"auto"``: forward where the argument has far fewer elements. Either way all
        elements are done together.

    Examples
    --------
    >>> import numpy as np
    >>> jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    if mode not in _MODES:
        raise OpError(f"jacobian: mode is one of {', '.join(_MODES)}; got {mode!r}")

    @signed("jacobian", f)
    def transformed(*args: Any, **options: Any) -> Any:
        wanted = select("jacobian", f, args, options, argnums, argnames)
        with recording.recorded():
            called = call(
                "jacobian", f, args, options, wanted, has_aux=has_aux, structured=True
            )
            results = [
                block
                for value in called.outputs.leaves
                for block in _blocks(called, value, mode)
            ]
        given = iter(called.give(results))
        blocks = [
            called.structured([next(given) for _ in called.variables])
            for _ in called.outputs.leaves
        ]
        whole = called.outputs.closed(blocks)
        return (whole, called.give_aux()) if has_aux else whole

    return transformed


def _blocks(called: Called, value: Tensor, mode: str) -> list[Any]:
    """Return the derivatives of one output by each variable."""
    variables = called.variables
    inputs = sum(x.size for x in variables)
    if not value.size or not inputs:
        return [Tensor(np.zeros(value.shape + x.shape, x.dtype)) for x in variables]
    if recording.current().trace is not None:
        return _rows(value, variables)
    cotangent = Tensor(np.zeros(value.shape, value.dtype), requires_grad=True)
    pulled = autodiff.gradients(value, variables, cotangent, "zero")
    recorded = called.in_graph([value])
    if mode == "forward" or (mode == "auto" and _FEWER * inputs < value.size):
        return [
            _columns(g, cotangent, x, recorded)
            for g, x in zip(pulled, variables, strict=True)
        ]
    found = _many(pulled, cotangent, recorded)
    return [
        ops.reshape(rows, value.shape + x.shape)
        for rows, x in zip(found, variables, strict=True)
    ]


def _many(outputs: Sequence[Tensor], x: Tensor, recorded: bool) -> list[Any]:
    """Return what outputs linear in ``x`` are at each of its unit vectors."""
    units = np.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
    with recording.recorded(), np.errstate(all="ignore"):
        found = batched(outputs, {x: units}, recorded=recorded)
    return [y if isinstance(y, Node) else Tensor(y) for y in found]


def _columns(g: Tensor, cotangent: Tensor, x: Tensor, recorded: bool) -> Any:
    """Return derivatives by ``x``, from its gradient ``g``, linear in a cotangent."""
    if not x.size:
        return Tensor(np.zeros(cotangent.shape + x.shape, x.dtype))
    way = Tensor(np.zeros(x.shape, x.dtype), requires_grad=True)
    pushed = autodiff.gradients(g, [cotangent], way, "zero")
    (columns,) = _many(pushed, way, recorded)
    rank = len(cotangent.shape)
    turned = ops.transpose(columns, (*range(1, rank + 1), 0))
    block = ops.reshape(turned, cotangent.shape + x.shape)
    return block if block.dtype == x.dtype else ops.astype(block, x.dtype)


def _rows(value: Tensor, variables: Sequence[Tensor]) -> list[Any]:
    """Return derivatives one row at a time, as a step that is traced records them."""
    rows = []
    for i in range(value.size):
        cotangent = np.zeros(value.size, value.dtype)
        cotangent[i] = 1
        seed = cotangent.reshape(value.shape)
        rows.append(autodiff.gradients(value, variables, seed, "zero"))
    return [
        ops.reshape(ops.stack(*column), value.shape + x.shape)
        for column, x in zip(zip(*rows, strict=True), variables, strict=True)
    ]


def hessian(
    f: Function,
    argnums: int | Sequence[int] | None = None,
    *,
    argnames: str | Sequence[str] | None = None,
    has_aux: bool = False,
) -> Function:
    """Make the function that returns all second derivatives of one number.

    Parameters as in `jacobian`. Of a structure, the result has its structure, and in
    the place of each leaf the structure again.

    >>> import numpy as np
    >>> hessian(lambda x: (x ** 3).sum())(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    refuse_uncallable("hessian", f)
    slopes = grad(f, argnums, argnames=argnames, has_aux=has_aux)
    return jacobian(slopes, argnums, argnames=argnames, has_aux=has_aux)


def hvp(f: Function, x: Any, vector: Any, *args: Any, **options: Any) -> Any:
    """Hessian of ``f`` at ``x``, times a vector, without forming the Hessian.

    Parameters
    ----------
    f
        Returns one number, of ``x`` and of ``args`` and ``options``.
    x
        An array, a model, or a structure of such.
    vector
        Of the structure and the shapes of ``x``; of a model a dict by name.

    >>> import numpy as np
    >>> hvp(lambda x: (x ** 3).sum(), np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    array([ 6., 12.])
    """
    ways = fitted("hvp", "vector", x, vector)
    with recording.recorded():
        wanted = Wanted([0], lambda values: values[0])
        called = call("hvp", f, (x, *args), options, wanted)
        one_number("hvp", called.value)
        slopes = called.pull([None], again=True)
    tensors = called.gives_tensors or any(isinstance(v, Node) for v in ways)
    called = called._replace(gives_tensors=tensors)
    with called.mode([called.value]):
        found = autodiff.gradients(slopes, called.variables, ways, "zero")
    return called.structured(called.give(found))
