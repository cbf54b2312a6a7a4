"""All derivatives at once, `jacobian` and `hessian`, and their product: `hvp`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_nn import autodiff, ops, recording
from tinygrad_nn.op import Node
from tinygrad_nn.tensor import Tensor
from tinygrad_nn.transforms.calling import Wanted, call, select
from tinygrad_nn.transforms.reverse import grad, one_number
from tinygrad_nn.transforms.structure import fitted

__all__ = ["hessian", "hvp", "jacobian"]

Function = Callable[..., Any]


def jacobian(
    f: Function,
    argnums: int | Sequence[int] | None = None,
    *,
    argnames: str | Sequence[str] | None = None,
    has_aux: bool = False,
) -> Function:
    """Make the function that returns all derivatives, ``f``'s shape + ``x``'s shape.

    >>> import numpy as np
    >>> jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """

    def transformed(*args: Any, **options: Any) -> Any:
        wanted = select("jacobian", f, args, options, argnums, argnames)
        with recording.recorded():
            called = call(
                "jacobian",
                f,
                args,
                options,
                wanted,
                has_aux=has_aux,
                structured=True,
            )
            outputs = called.outputs.leaves
            results: list[Any] = []
            for value in outputs:
                rows: list[list[Any]] = []
                for i in range(value.size):
                    cotangent = np.zeros(value.size, value.dtype)
                    cotangent[i] = 1
                    rows.append(
                        autodiff.gradients(
                            value,
                            called.variables,
                            cotangent.reshape(value.shape),
                            "zero",
                        )
                    )
                for k, x in enumerate(called.variables):
                    shape = value.shape + x.shape
                    if rows:
                        stacked = ops.stack(*[row[k] for row in rows])
                        results.append(ops.reshape(stacked, shape))
                    else:
                        results.append(Tensor(np.zeros(shape, x.dtype)))
        given = iter(called.give(results))
        blocks = [
            called.structured([next(given) for _ in called.variables]) for _ in outputs
        ]
        whole = called.outputs.closed(blocks)
        return (whole, called.give_aux()) if has_aux else whole

    return transformed


def hessian(
    f: Function,
    argnums: int | Sequence[int] | None = None,
    *,
    argnames: str | Sequence[str] | None = None,
    has_aux: bool = False,
) -> Function:
    """Make the function that returns all second derivatives of one number.

    >>> import numpy as np
    >>> hessian(lambda x: (x ** 3).sum())(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    slopes = grad(f, argnums, argnames=argnames, has_aux=has_aux)
    return jacobian(slopes, argnums, argnames=argnames, has_aux=has_aux)


def hvp(f: Function, x: Any, vector: Any, *args: Any, **options: Any) -> Any:
    """Hessian of ``f`` at ``x``, times a vector, without forming the Hessian.

    >>> import numpy as np
    >>> hvp(lambda x: (x ** 3).sum(), np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    array([ 6., 12.])
    """
    ways = fitted("hvp", "vector", x, vector)
    with recording.recorded():
        called = call(
            "hvp", f, (x, *args), options, Wanted([0], lambda values: values[0])
        )
        one_number("hvp", called.value)
        slopes = called.pull([None], again=True)
    tensors = called.gives_tensors or any(isinstance(v, Node) for v in ways)
    called = called._replace(gives_tensors=tensors)
    with called.mode([called.value]):
        found = autodiff.gradients(slopes, called.variables, ways, "zero")
    return called.structured(called.give(found))
