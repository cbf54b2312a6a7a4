"""Many values of a graph at once: one more axis, in front, through every node.

Every op can be done for many values: one by one, and stacked, for a body is a function
of its operands. What networks are made of, elementwise ops, sums over axes, products of
matrices, moved axes, has a quick way, which is one call of the op.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_nn import graph, ops
from tinygrad_nn.op import Node, data_of, inputs_of, settings_of
from tinygrad_nn.shapes import Shape

__all__ = ["batched"]

Call = tuple[Sequence[Any], Mapping[str, Any]]
"""Operands and settings of one call of an op that does for all values at once."""

Indices = Mapping[int, tuple[Any, Node]]

_AT_ONCE = 1 << 22
"""How many numbers a node may hold: more values at once than fit are done in turns."""


def batched(
    outputs: Sequence[Node],
    given: Mapping[Any, Any],
    *,
    recorded: bool,
    indices: Indices | None = None,
) -> list[Any]:
    """Return values of ``outputs`` where some nodes have many values.

    Parameters
    ----------
    outputs
        Nodes of a recorded graph, drawn from no generator.
    given
        Nodes to the values that they have, n of each along a new first axis.
    recorded
        Whether the results are Tensors, computed from those of the graph; otherwise
        they are arrays.
    indices
        Arrays that stand in an index for the value of a node, by their identity.

    Returns
    -------
    list
        An array or Tensor for each output, of n values along the first axis.
    """
    indices = indices or {}
    chosen = [node for _, node in indices.values()]
    order = graph.ancestors(dict.fromkeys([*outputs, *chosen]))
    moving: set[Node] = set(given)
    for node in order:
        reads = [*inputs_of(node), *_index_of(node, indices)]
        if any(isinstance(x, Node) and x in moving for x in reads):
            moving.add(node)
    steps = [x for x in order if x in moving and x not in given]
    n = len(next(iter(given.values())))
    largest = max([data_of(x).size for x in steps], default=1)
    size = max(1, min(n, _AT_ONCE // max(1, largest)))
    turns = [
        _turn(
            outputs,
            steps,
            {x: v[i : i + size] for x, v in given.items()},
            indices,
            recorded=recorded,
        )
        for i in range(0, n, size)
    ]
    return [
        parts[0] if len(parts) == 1 else ops.concatenate(*parts)
        for parts in zip(*turns, strict=True)
    ]


def _turn(
    outputs: Sequence[Node],
    steps: Sequence[Node],
    given: Mapping[Any, Any],
    indices: Indices,
    *,
    recorded: bool,
) -> list[Any]:
    n = len(next(iter(given.values())))
    values: dict[Any, Any] = dict(given)
    kept = {*outputs, *(node for _, node in indices.values())}

    def still(x: Any) -> Any:
        return x if recorded else data_of(x)

    last = {x: node for node in steps for x in inputs_of(node) if isinstance(x, Node)}
    for node in steps:
        inputs = inputs_of(node)
        moving = [isinstance(x, Node) and x in values for x in inputs]
        operands = [
            values[x] if m else still(x) for x, m in zip(inputs, moving, strict=True)
        ]
        if any(x in values for x in _index_of(node, indices)):
            values[node] = _chosen(node, operands, moving, n, indices, values)
        else:
            values[node] = _done(node, operands, moving, n)
        for x in dict.fromkeys(x for x, m in zip(inputs, moving, strict=True) if m):
            if last[x] is node and x not in kept:
                del values[x]  # a large one need not wait for the end
    return [
        values[x] if x in values else ops.broadcast_to(still(x), (n, *data_of(x).shape))
        for x in outputs
    ]


def _done(node: Any, operands: Sequence[Any], moving: Sequence[bool], n: int) -> Any:
    """Do an op for n values of those operands that move."""
    op, inputs, settings = graph.source(node)
    assert op is not None  # noqa: S101 (it was computed)
    sizes = [np.shape(data_of(x)) for x in inputs]
    wanted: Shape = (n, *data_of(node).shape)
    if op.pointwise:
        rank = len(wanted) - 1
        aligned = [
            _spread(x, size, rank) if m else x
            for x, m, size in zip(operands, moving, sizes, strict=True)
        ]
        return op.call(*aligned, **settings)
    if op.name == "matmul":
        product = _product(operands, moving, sizes, wanted)
        if product is not None:
            return product
    rule = _RULES.get(op.name)
    call = None if rule is None else rule(operands, moving, sizes, settings, wanted)
    if call is not None:
        return op.call(*call[0], **call[1])
    results = [
        op.call(
            *[x[i] if m else x for x, m in zip(operands, moving, strict=True)],
            **settings,
        )
        for i in range(n)
    ]
    return ops.stack(*[x if isinstance(x, Node) else np.asarray(x) for x in results])


def _parts(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    index = settings.get("index")
    return index if isinstance(index, tuple) else (index,)


def _index_of(node: Node, indices: Indices) -> list[Node]:
    """Return the nodes whose values an index is made of."""
    if not indices:
        return []
    found = [indices.get(id(x)) for x in _parts(settings_of(node))]
    return [pair[1] for pair in found if pair is not None]


def _chosen(
    node: Node,
    operands: Sequence[Any],
    moving: Sequence[bool],
    n: int,
    indices: Indices,
    values: Mapping[Any, Any],
) -> Any:
    """Do an op that picks by an index, where each of the n values has its own."""
    op, _, settings = graph.source(node)
    assert op is not None  # noqa: S101 (it was computed)
    parts = []
    for x in _parts(settings):
        chosen = indices[id(x)][1] if id(x) in indices else None
        at_each = chosen is not None and chosen in values
        parts.append((data_of(values[chosen]), True) if at_each else (x, False))
    if not all(m or isinstance(x, (np.ndarray, int, np.integer)) for x, m in parts):
        results = [
            op.call(
                *[x[i] if m else x for x, m in zip(operands, moving, strict=True)],
                **{**settings, "index": tuple(x[i] if m else x for x, m in parts)},
            )
            for i in range(n)
        ]
        return ops.stack(
            *[x if isinstance(x, Node) else np.asarray(x) for x in results]
        )
    rank = max(np.ndim(x) - m for x, m in parts)
    which = np.arange(n).reshape(n, *[1] * rank)
    index = [_spread(x, x.shape[1:], rank) if m else x for x, m in parts]
    whole = {**settings, "index": (which, *index)}
    if "shape" in settings:
        whole["shape"] = (n, *settings["shape"])
    full = [
        x if m else ops.broadcast_to(x, (n, *np.shape(data_of(x))))
        for x, m in zip(operands, moving, strict=True)
    ]
    return op.call(*full, **whole)


def _spread(x: Any, size: Shape, rank: int) -> Any:
    """Return n values of a shape as n values of more axes, for broadcasting."""
    if len(size) == rank:
        return x
    return ops.reshape(x, (len(x), *[1] * (rank - len(size)), *size))


def _product(
    operands: Sequence[Any],
    moving: Sequence[bool],
    sizes: Sequence[Shape],
    wanted: Shape,
) -> Any:
    """Return many products of vectors and matrices; one product where one will do."""
    (x, y), (left, right) = operands, sizes
    if len(left) > 2 or len(right) > 2:
        return None
    n = wanted[0]
    if not moving[1]:  # rows below rows
        return ops.reshape(ops.matmul(ops.reshape(x, (-1, left[-1])), y), wanted)
    if len(left) == 1:
        x = ops.reshape(x, (n, 1, *left) if moving[0] else (1, *left))
    if len(right) == 1:
        y = ops.reshape(y, (n, *right, 1))
    if left[-1] == 1 and moving[0]:  # outer products
        return ops.reshape(ops.multiply(x, y), wanted)
    return ops.reshape(ops.matmul(x, y), wanted)


# --- one call for all ------------------------------------------------------------


def _later(axis: Any, rank: int) -> Any:
    """Return axes behind one more axis in front."""
    if axis is None:
        return tuple(range(1, rank + 1))
    if np.ndim(axis) == 0:
        return axis % rank + 1
    return tuple(i % rank + 1 for i in axis)


def _along(
    operands: Sequence[Any],
    _moving: Sequence[bool],
    sizes: Sequence[Shape],
    settings: Mapping[str, Any],
    _wanted: Shape,
) -> Call | None:
    rank = len(sizes[0])
    if rank == 0 or len(operands) > 1:
        return None
    return operands, {**settings, "axis": _later(settings["axis"], rank)}


def _spread_out(
    operands: Sequence[Any],
    _moving: Sequence[bool],
    _sizes: Sequence[Shape],
    settings: Mapping[str, Any],
    wanted: Shape,
) -> Call | None:
    if len(wanted) == 1:
        return None
    axis = _later(settings["axis"], len(wanted) - 1)
    return operands, {**settings, "axis": axis, "shape": wanted}


def _shaped(
    operands: Sequence[Any],
    _moving: Sequence[bool],
    _sizes: Sequence[Shape],
    _settings: Mapping[str, Any],
    wanted: Shape,
) -> Call:
    return operands, {"shape": wanted}


def _repeated(
    operands: Sequence[Any],
    _moving: Sequence[bool],
    sizes: Sequence[Shape],
    _settings: Mapping[str, Any],
    wanted: Shape,
) -> Call:
    return [_spread(operands[0], sizes[0], len(wanted) - 1)], {"shape": wanted}


def _turned(
    operands: Sequence[Any],
    _moving: Sequence[bool],
    sizes: Sequence[Shape],
    settings: Mapping[str, Any],
    _wanted: Shape,
) -> Call:
    axes = settings["axes"]
    rank = len(sizes[0])
    order = range(rank)[::-1] if axes is None else [axis % rank for axis in axes]
    return operands, {"axes": (0, *[axis + 1 for axis in order])}


def _indexed(
    operands: Sequence[Any],
    _moving: Sequence[bool],
    _sizes: Sequence[Shape],
    settings: Mapping[str, Any],
    _wanted: Shape,
) -> Call | None:
    index = settings["index"]
    parts = index if isinstance(index, tuple) else (index,)
    if not all(
        x is None or x is ... or isinstance(x, (slice, int, np.integer)) for x in parts
    ):
        return None  # an array would move axes about
    return operands, {"index": (slice(None), *parts)}


def _joined(
    operands: Sequence[Any],
    moving: Sequence[bool],
    sizes: Sequence[Shape],
    settings: Mapping[str, Any],
    wanted: Shape,
) -> Call | None:
    axis = settings["axis"]
    if axis is None:
        return None
    n = wanted[0]
    parts = [
        x if m else ops.broadcast_to(x, (n, *size))
        for x, m, size in zip(operands, moving, sizes, strict=True)
    ]
    return parts, {"axis": axis % (len(wanted) - 1) + 1}


def _summed_products(
    operands: Sequence[Any],
    moving: Sequence[bool],
    _sizes: Sequence[Shape],
    settings: Mapping[str, Any],
    _wanted: Shape,
) -> Call | None:
    left, arrow, right = settings["subscripts"].replace(" ", "").partition("->")
    spare = [c for c in string.ascii_letters if c not in left]
    if not arrow or "." in left or not spare:
        return None
    terms = [
        spare[0] + term if m else term
        for term, m in zip(left.split(","), moving, strict=True)
    ]
    return operands, {"subscripts": f"{','.join(terms)}->{spare[0]}{right}"}


_RULES: dict[str, Callable[..., Call | None]] = {
    **dict.fromkeys(
        ("sum", "mean", "max", "min", "prod", "logsumexp", "softmax", "log_softmax"),
        _along,
    ),
    "spread": _spread_out,
    "reshape": _shaped,
    "broadcast_to": _repeated,
    "transpose": _turned,
    "getitem": _indexed,
    "concatenate": _joined,
    "stack": _joined,
    "einsum": _summed_products,
}
