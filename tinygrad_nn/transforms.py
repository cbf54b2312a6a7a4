"""Functions of arrays to functions of arrays: gradients, Jacobians, Hessians.

The function is called once on Tensors; what it returns is differentiated. Given
Tensors, a transform gives Tensors, so transforms nest; given arrays, arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import GradientError, OpError
from tinygrad_nn.op import Node
from tinygrad_nn.tensor import Tensor, gradients

__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]

Function = Callable[..., Any]


def _variables(
    args: Sequence[Any], argnums: Sequence[int]
) -> tuple[list[Any], list[Tensor], bool]:
    """Arguments with fresh Tensors at ``argnums``; whether to give Tensors back."""
    traced = any(isinstance(args[i], Node) for i in argnums)
    full = list(args)
    variables = []
    for i in argnums:
        x = args[i]
        variable = ops.astype(x) if isinstance(x, Node) else Tensor(x, requires_grad=True)
        if isinstance(x, Node) and not variable.requires_grad:
            variable.requires_grad = True
        full[i] = variable
        variables.append(variable)
    return full, variables, traced


def _numbers(argnums: int | Sequence[int], count: int) -> list[int]:
    wanted = [argnums] if isinstance(argnums, int) else list(argnums)
    for i in wanted:
        if not -count <= i < count:
            raise OpError(
                f"argnums: expected positions of the {count} positional arguments; "
                f"got {argnums}"
            )
    return wanted


def _scalar(value: Any, title: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise GradientError(
            f"{title}: expected the function to return a Tensor computed from its "
            f"arguments; got {type(value).__name__}"
        )
    if value.size != 1:
        raise GradientError(
            f"{title}: expected one number; got shape {value.shape}. Use tg.jacobian "
            "or reduce it, for example with .sum()"
        )
    return value


def _out(value: Any, traced: bool) -> Any:
    return value if traced else value.numpy()


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """Make the function that returns ``f``'s value and gradient.

    Parameters
    ----------
    f
        Returns one number.
    argnums
        Position of the argument to differentiate, or several: then the gradient is
        a tuple. Keyword arguments are passed on.

    Examples
    --------
    >>> value_and_grad(lambda x: (x * x).sum())(np.array([1.0, 2.0]))
    (array(5.), array([2., 4.]))
    """

    def transformed(*args: Any, **options: Any) -> Any:
        wanted = _numbers(argnums, len(args))
        full, variables, traced = _variables(args, wanted)
        value = _scalar(f(*full, **options), "grad")
        found = gradients(value, variables, unused="zero")
        slopes = tuple(_out(g, traced) for g in found)
        single = isinstance(argnums, int)
        return _out(value, traced), slopes[0] if single else slopes

    return transformed


def grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """Make the function that returns ``f``'s gradient.

    >>> grad(grad(lambda x: x ** 3))(2.0)
    array(12.)
    """
    both = value_and_grad(f, argnums)

    def transformed(*args: Any, **options: Any) -> Any:
        return both(*args, **options)[1]

    return transformed


def vjp(f: Function, *args: Any) -> tuple[Any, Function]:
    """Value of ``f`` and the function from a cotangent to the arguments' gradients.

    >>> value, pull = vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> pull(np.array([1.0, 10.0]))
    (array([ 2., 40.]),)
    """
    full, variables, traced = _variables(args, range(len(args)))
    value = f(*full)

    def pull(cotangent: Any) -> tuple[Any, ...]:
        found = gradients(value, variables, cotangent, unused="zero")
        return tuple(_out(g, traced or isinstance(cotangent, Node)) for g in found)

    return _out(value, traced), pull


def jvp(f: Function, args: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Value of ``f`` and its derivative along the tangents.

    Forward mode by two reverse passes: the vjp is linear in its cotangent, and the
    vjp of that linear function is the jvp.

    >>> jvp(lambda x: x * x, [np.array([1.0, 2.0])], [np.array([1.0, 10.0])])
    (array([1., 4.]), array([ 2., 40.]))
    """
    if len(args) != len(tangents):
        raise OpError(
            f"jvp: expected one tangent an argument; got {len(tangents)} for {len(args)}"
        )
    full, variables, traced = _variables(args, range(len(args)))
    traced = traced or any(isinstance(t, Node) for t in tangents)
    value = f(*full)
    dummy = Tensor(np.zeros(value.shape, value.dtype), requires_grad=True)
    pulled = gradients(value, variables, dummy, unused="zero")
    total: Any = None
    for g, tangent in zip(pulled, tangents, strict=True):
        term = ops.sum(ops.multiply(g, tangent))
        total = term if total is None else total + term
    (slope,) = gradients(total, [dummy], unused="zero")
    return _out(value, traced), _out(slope, traced)


def jacobian(f: Function, argnum: int = 0) -> Function:
    """Make the function that returns all derivatives, ``f``'s shape + ``x``'s shape.

    >>> jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """

    def transformed(*args: Any, **options: Any) -> Any:
        full, (x,), traced = _variables(args, _numbers(argnum, len(args)))
        value = f(*full, **options)
        shape = value.shape + x.shape
        rows = []
        for i in range(value.size):
            cotangent = np.zeros(value.size, value.dtype)
            cotangent[i] = 1
            (row,) = gradients(value, [x], cotangent.reshape(value.shape), unused="zero")
            rows.append(row)
        if not rows:
            return np.zeros(shape)
        return _out(ops.reshape(ops.stack(*rows), shape), traced)

    return transformed


def hessian(f: Function, argnum: int = 0) -> Function:
    """Make the function that returns all second derivatives of one number.

    >>> hessian(lambda x: (x ** 3).sum())(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    return jacobian(grad(f, argnum), argnum)


def hvp(f: Function, x: Any, vector: Any) -> Any:
    """Hessian of ``f`` at ``x``, times a vector, without forming the Hessian.

    >>> hvp(lambda x: (x ** 3).sum(), np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    array([ 6., 12.])
    """
    return grad(lambda y: ops.sum(ops.multiply(grad(f)(y), vector)))(x)
