"""Functions of arrays to functions of arrays: gradients, Jacobians, Hessians.

The function is called once on Tensors; what it returns is differentiated. Given
Tensors, a transform gives Tensors; given arrays, arrays of their own. Transforms nest:
inside of another one, what depends on its variables stays a Tensor, whatever came in.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import graph, ops, recording
from tinygrad_nn.errors import GradientError, OpError, ShapeError
from tinygrad_nn.op import Node, data_of
from tinygrad_nn.shapes import Shape
from tinygrad_nn.tensor import Tensor, gradients

__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]

Function = Callable[..., Any]

_live: ContextVar[tuple[Tensor, ...]] = ContextVar("tinygrad_nn_variables", default=())
"""Variables of the transforms that are calling their function at the moment."""


class _Trace(NamedTuple):
    """A function's value as a Tensor, and the variables that it was computed from."""

    value: Tensor
    variables: list[Tensor]
    gives_tensors: bool

    def give(self, *results: Tensor) -> tuple[Any, ...]:
        """Return results to the caller, as Tensors or as arrays of their own."""
        if recording.current().trace is not None:
            return results
        outer = set(_live.get())
        if self.gives_tensors or (
            outer and not outer.isdisjoint(graph.ancestors(results))
        ):
            quiet = not recording.current().records
            return tuple(r.detach() for r in results) if quiet else results
        return tuple(np.array(r.data) for r in results)


def _trace(
    title: str,
    f: Function,
    args: Sequence[Any],
    options: Mapping[str, Any],
    wanted: Sequence[int],
) -> _Trace:
    """Call the function with fresh Tensors at the wanted positions."""
    full = list(args)
    for i in wanted:
        full[i] = _variable(args[i])
    variables = [full[i] for i in wanted]
    token = _live.set((*_live.get(), *variables))
    try:
        value = f(*full, **options)
    finally:
        _live.reset(token)
    if not isinstance(value, Tensor):
        raise GradientError(
            f"{title}: expected the function to return a Tensor computed from its "
            f"arguments; got {type(value).__name__}"
        )
    tensors = any(isinstance(x, Node) for x in (*args, *options.values()))
    return _Trace(value, variables, tensors)


def _variable(x: Any) -> Tensor:
    if not isinstance(x, Node):
        return Tensor(x, requires_grad=True)
    whole = data_of(x).dtype.kind != "f"
    variable: Tensor = ops.astype(x, np.float64 if whole else None)
    variable.requires_grad = True
    return variable


def _positions(title: str, argnums: int | Sequence[int], count: int) -> list[int]:
    try:
        wanted = [operator.index(argnums)]  # type: ignore[arg-type]
    except TypeError:
        wanted = [operator.index(i) for i in argnums]  # type: ignore[union-attr]
    places = {i % count for i in wanted if -count <= i < count} if count else set()
    if not wanted or len(places) != len(wanted):
        raise OpError(
            f"{title}: expected different positions of the {count} positional "
            f"arguments to differentiate; got argnums={argnums}"
        )
    return wanted


def _one_number(title: str, value: Tensor) -> Tensor:
    if value.size != 1:
        raise GradientError(
            f"{title}: expected one number; got shape {value.shape}. Use tg.jacobian "
            "or reduce it, for example with .sum()"
        )
    return value


def _like(title: str, what: str, x: Any, size: Shape) -> Any:
    """Refuse a tangent that would broadcast: its shape is its variable's."""
    x = x if isinstance(x, Node) else np.asarray(x)
    if np.shape(data_of(x)) != size:
        raise ShapeError(
            f"{title}: expected a {what} of shape {size}; got {np.shape(data_of(x))}"
        )
    return x


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
        wanted = _positions("grad", argnums, len(args))
        with recording.recorded():
            trace = _trace("grad", f, args, options, wanted)
            found = gradients(
                _one_number("grad", trace.value), trace.variables, unused="zero"
            )
        value, *slopes = trace.give(trace.value, *found)
        return value, slopes[0] if np.ndim(argnums) == 0 else tuple(slopes)

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
    with recording.recorded():
        trace = _trace("vjp", f, args, {}, range(len(args)))

    def pull(cotangent: Any) -> tuple[Any, ...]:
        with recording.recorded():
            found = gradients(trace.value, trace.variables, cotangent, unused="zero")
        either = trace.gives_tensors or isinstance(cotangent, Node)
        return trace._replace(gives_tensors=either).give(*found)

    (value,) = trace.give(trace.value)
    return value, pull


def jvp(f: Function, args: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Value of ``f`` and its derivative along the tangents.

    Forward mode by two reverse passes: the vjp is linear in its cotangent, and the
    vjp of that linear function is the jvp.

    >>> jvp(lambda x: x * x, [np.array([1.0, 2.0])], [np.array([1.0, 10.0])])
    (array([1., 4.]), array([ 2., 40.]))
    """
    for given in (args, tangents):
        if not isinstance(given, (list, tuple)):
            raise OpError(
                "jvp: expected a list of arguments and a list of tangents; "
                f"got {type(given).__name__}. Write jvp(f, [x], [v])"
            )
    if len(args) != len(tangents):
        raise OpError(
            f"jvp: expected one tangent an argument; got {len(tangents)} for "
            f"{len(args)}"
        )
    with recording.recorded():
        trace = _trace("jvp", f, args, {}, range(len(args)))
        value = trace.value
        dummy = Tensor(np.zeros(value.shape, value.dtype), requires_grad=True)
        pulled = gradients(value, trace.variables, dummy, unused="zero")
        total: Any = Tensor(np.zeros((), value.dtype))
        for g, x, tangent in zip(pulled, trace.variables, tangents, strict=True):
            total = total + ops.sum(g * _like("jvp", "tangent", tangent, x.shape))
        (slope,) = gradients(total, [dummy], unused="zero")
    either = trace.gives_tensors or any(isinstance(t, Node) for t in tangents)
    value, slope = trace._replace(gives_tensors=either).give(value, slope)
    return value, slope


def jacobian(f: Function, argnum: int = 0) -> Function:
    """Make the function that returns all derivatives, ``f``'s shape + ``x``'s shape.

    >>> jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """

    def transformed(*args: Any, **options: Any) -> Any:
        wanted = _positions("jacobian", argnum, len(args))[:1]
        with recording.recorded():
            trace = _trace("jacobian", f, args, options, wanted)
            value, (x,) = trace.value, trace.variables
            rows = []
            for i in range(value.size):
                cotangent = np.zeros(value.size, value.dtype)
                cotangent[i] = 1
                rows += gradients(
                    value, [x], cotangent.reshape(value.shape), unused="zero"
                )
            shape = value.shape + x.shape
            if rows:
                result = ops.reshape(ops.stack(*rows), shape)
            else:
                result = Tensor(np.zeros(shape, x.dtype))
        return trace.give(result)[0]

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
    vector = _like("hvp", "vector", vector, np.shape(data_of(x)))

    def along(y: Any, v: Any) -> Any:
        return ops.sum(grad(f)(y) * v)

    return grad(along)(x, vector)
