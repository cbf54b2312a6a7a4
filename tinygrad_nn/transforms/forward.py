"""From tangents of the arguments to one of the result: `jvp`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import autodiff, recording
from tinygrad_nn.errors import OpError
from tinygrad_nn.op import Node
from tinygrad_nn.tensor import Tensor
from tinygrad_nn.transforms.calling import Called, call, each
from tinygrad_nn.transforms.structure import fitted

__all__ = ["jvp"]


class Linear(NamedTuple):
    """The map from cotangents to gradients, recorded: ``gradients`` of ``cotangents``.

    It is linear, so its own transpose takes tangents to the tangent of the result.
    """

    cotangents: list[Tensor]
    gradients: list[Tensor]


def linear(called: Called) -> Linear:
    """Record the pull of a function, at cotangents that are variables."""
    cotangents = [
        Tensor(np.zeros(x.shape, x.dtype), requires_grad=True)
        for x in called.outputs.leaves
    ]
    return Linear(cotangents, called.pull(cotangents))


def jvp(
    f: Callable[..., Any],
    args: Sequence[Any],
    tangents: Sequence[Any],
    *,
    has_aux: bool = False,
    **options: Any,
) -> Any:
    """Value of ``f`` and its derivative along the tangents.

    Forward mode by two reverse passes: the vjp is linear in its cotangent, and the
    vjp of that linear function is the jvp. So every op has one that has a gradient.

    Parameters
    ----------
    f
        Returns a Tensor, or a dict, list or tuple of Tensors.
    args, tangents
        A tangent for each argument, of its structure and shapes; of a model a dict.
    has_aux
        ``f`` returns a pair, and ``(value, slope, besides)`` comes back.
    options
        Keyword arguments for ``f``.

    >>> import numpy as np
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
        wanted = each(len(args))
        called = call("jvp", f, args, options, wanted, has_aux=has_aux, structured=True)
        ways = [
            way
            for x, v in zip(args, tangents, strict=True)
            for way in fitted("jvp", "tangent", x, v)
        ]
        cotangents, pulled = linear(called)
    tensors = called.gives_tensors or any(isinstance(v, Node) for v in ways)
    called = called._replace(gives_tensors=tensors)
    outputs = called.outputs
    with called.mode(outputs.leaves):
        slopes = autodiff.gradients(pulled, cotangents, ways, "zero")
    value, slope = called.give_outputs(outputs.leaves), called.give_outputs(slopes)
    return (value, slope, called.give_aux()) if has_aux else (value, slope)
