"""From a cotangent of the result to gradients: `grad`, `value_and_grad`, `vjp`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_nn import recording
from tinygrad_nn.errors import GradientError
from tinygrad_nn.op import Node
from tinygrad_nn.tensor import Tensor
from tinygrad_nn.transforms.calling import call, each, select, signed
from tinygrad_nn.transforms.structure import AS_GIVEN, fitted

__all__ = ["grad", "value_and_grad", "vjp"]

Function = Callable[..., Any]


def one_number(title: str, value: Tensor) -> Tensor:
    """Refuse to take the gradient of more than one number."""
    if value.size != 1:
        raise GradientError(
            f"{title}: expected one number; got shape {value.shape}. Use tg.jacobian "
            "or reduce it, for example with .sum()"
        )
    return value


def value_and_grad(
    f: Function,
    argnums: int | Sequence[int] | None = None,
    *,
    argnames: str | Sequence[str] | None = None,
    has_aux: bool = False,
) -> Function:
    """Make the function that returns ``f``'s value and gradient.

    Parameters
    ----------
    f
        Returns one number.
    argnums
        Position of the argument to differentiate, 0 by default, or several: then the
        gradient is a tuple. An argument may be an array, a model, or a dict, list or
        tuple of such: its gradient has the same structure, with None for what is no
        floating number. Of a model it is a dict, from the names of the parameters
        that require a gradient.
    argnames
        Instead of positions, the name of an argument, or several names: then the
        gradient is a dict. It does not matter how the arguments are passed.
    has_aux
        ``f`` returns a pair, the number and something besides, and the result is
        ``((value, besides), gradient)``.

    Examples
    --------
    >>> import numpy as np
    >>> value_and_grad(lambda x: (x * x).sum())(np.array([1.0, 2.0]))
    (array(5.), array([2., 4.]))
    """

    @signed("grad", f)
    def transformed(*args: Any, **options: Any) -> Any:
        wanted = select("grad", f, args, options, argnums, argnames)
        with recording.recorded():
            called = call("grad", f, args, options, wanted, has_aux=has_aux)
            one_number("grad", called.value)
        slopes = called.pull([None])
        value, *slopes = called.give([called.value, *slopes])
        gradient = called.structured(slopes)
        return ((value, called.give_aux()) if has_aux else value), gradient

    return transformed


def grad(
    f: Function,
    argnums: int | Sequence[int] | None = None,
    *,
    argnames: str | Sequence[str] | None = None,
    has_aux: bool = False,
) -> Function:
    """Make the function that returns ``f``'s gradient.

    Parameters as in `value_and_grad`; with ``has_aux`` the result is
    ``(gradient, besides)``.

    >>> grad(grad(lambda x: x ** 3))(2.0)
    array(12.)
    >>> grad(lambda p: p["w"] * p["w"] + p["b"])({"w": 3.0, "b": 1.0})
    {'w': array(6.), 'b': array(1.)}
    """
    both = value_and_grad(f, argnums, argnames=argnames, has_aux=has_aux)

    @signed("grad", f)
    def transformed(*args: Any, **options: Any) -> Any:
        value, gradient = both(*args, **options)
        return (gradient, value[1]) if has_aux else gradient

    return transformed


def vjp(f: Function, *args: Any, has_aux: bool = False, **options: Any) -> Any:
    """Value of ``f`` and the function from a cotangent to the arguments' gradients.

    Parameters
    ----------
    f
        Returns a Tensor, or a dict, list or tuple of Tensors; the cotangent has the
        same structure.
    args
        Arrays, Tensors, models, or structures of such.
    has_aux
        ``f`` returns a pair, and ``(value, pull, besides)`` comes back.
    options
        Keyword arguments for ``f``.

    >>> import numpy as np
    >>> value, pull = vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> pull(np.array([1.0, 10.0]))
    (array([ 2., 40.]),)
    """
    with recording.recorded():
        wanted = each(len(args))
        called = call("vjp", f, args, options, wanted, has_aux=has_aux, structured=True)
    outputs = called.outputs.closed(called.outputs.leaves, AS_GIVEN)
    live = called.in_graph(called.outputs.leaves)

    def pull(cotangent: Any) -> tuple[Any, ...]:
        seeds = _seeds(outputs, cotangent)
        tensors = any(isinstance(g, Node) for g in seeds)
        found = called.pull(seeds, again=live)
        either = called._replace(gives_tensors=called.gives_tensors or tensors)
        return tuple(either.structured(either.give(found)))

    value = called.give_outputs(called.outputs.leaves)
    return (value, pull, called.give_aux()) if has_aux else (value, pull)


def _seeds(outputs: Any, cotangent: Any) -> list[Any]:
    if isinstance(outputs, Tensor):
        return [cotangent]  # the engine looks at its shape
    return fitted("vjp", "cotangent", outputs, cotangent)
