"""What flows back: gradients, what each op adds to them, and how long that takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import perf_counter

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.drawing.values import shortened
from tinygrad_nn.errors import MutationError, TinygradError
from tinygrad_nn.op import data_of
from tinygrad_nn.tensor import Tensor, gradients

__all__ = ["gradients_of", "share_of", "times_of"]


def gradients_of(
    outputs: Sequence[Tensor], shown: Sequence[Tensor]
) -> tuple[dict[Tensor, np.ndarray], str | None]:
    """Gradients to show: what ``backward`` left, else computed for the picture alone.

    Nothing is written to any ``.grad``. A node that no gradient reaches has none.
    """
    found = {
        node: node.grad
        for node in shown
        if node.requires_grad and node.grad is not None
    }
    missing = [x for x in shown if x.requires_grad and x not in found]
    if not missing:
        return found, None
    (output, *others) = outputs
    if others:
        return found, "gradients: draw one output to see them"
    if not output.requires_grad or output.dtype.kind != "f":
        return found, None
    if output.size != 1:
        return found, "gradients: the output is not one number"
    try:
        slopes = gradients(output, missing, unused="zero")
    except TinygradError as error:
        why = shortened(str(error), 120)
        if isinstance(error, MutationError):
            # Its text names files, whose places differ from one machine to the next.
            why = "a value changed after the graph had used it"
        return found, f"gradients: {why}"
    for node, slope in zip(missing, slopes, strict=True):
        reached = slope.op is not None or bool(slope.data.any())
        if reached:
            found[node] = slope.data
    return found, None


def share_of(node: Tensor, i: int, g: np.ndarray) -> np.ndarray | None:
    """Return what an op's rule adds to the gradient of operand ``i``, in its shape."""
    op, inputs, settings = graph.source(node)
    if op is None:
        return None
    values = [data_of(x) for x in inputs]
    out = data_of(node)
    if op.variadic:
        share = op.rules(g, out, *values, **settings)[i]
    else:
        share = op.rules[i](g, out, *values, **settings)
    if share is None:
        return None
    share, shape = np.asarray(data_of(share)), np.shape(values[i])
    if share.ndim < len(shape):  # a number that stands for an array
        share = np.broadcast_to(share, np.shape(out) if op.pointwise else shape)
    extra = share.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + axis
        for axis, size in enumerate(shape)
        if size == 1 and share.shape[extra + axis] != 1
    )
    unrepeated: np.ndarray = share.sum(axis=axes).reshape(shape)
    return unrepeated


def times_of(nodes: Iterable[Tensor]) -> dict[Tensor, tuple[float, float]]:
    """Measure the seconds of every op's body and rules: each is run three times more.

    The least is kept, for all that disturbs a measurement makes it longer.
    """
    found = {}
    for node in nodes:
        op, inputs, settings = graph.source(node)
        if op is None:
            continue
        values = [data_of(x) for x in inputs]
        wanted = [
            i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad
        ]
        g = np.ones_like(data_of(node))
        spent: list[tuple[float, float]] = []
        with np.errstate(all="ignore"):
            for _ in range(3):
                start = perf_counter()
                op.function(*values, **settings)
                between = perf_counter()
                for i in wanted if op.differentiable else ():
                    share_of(node, i, g)
                spent.append((between - start, perf_counter() - between))
        forward, backward = zip(*spent, strict=True)
        found[node] = (min(forward), min(backward))
    return found
