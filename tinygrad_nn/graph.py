"""Walking a recorded graph: never by recursion, always in the order of recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

import numpy as np

from tinygrad_nn.op import Node, Op, inputs_of, settings_of
from tinygrad_nn.recording import Line, line_of

__all__ = [
    "ancestors",
    "bypassed",
    "line",
    "name",
    "nodes",
    "owner",
    "scope",
    "source",
    "written",
]

_by_order = attrgetter("_order")
Source = Callable[[Node], tuple[Op | None, tuple[Any, ...], Any]]


def source(node: Node) -> tuple[Op | None, tuple[Any, ...], Any]:
    """Op, operands and settings as recorded."""
    return node._op, inputs_of(node), settings_of(node)


def written(node: Node) -> tuple[Op | None, tuple[Any, ...], Any]:
    """Op, operands and settings as the user wrote them, before stabilisation."""
    form = node._form
    if form is not None and form.written is not None:
        return form.written
    return source(node)


def ancestors(outputs: Iterable[Node], how: Source = source) -> list[Node]:
    """Return outputs and all they were computed from, leaves too, oldest first."""
    stack = list(outputs)
    seen = set(stack)
    found = []
    while stack:
        node = stack.pop()
        found.append(node)
        for x in how(node)[1]:
            if isinstance(x, Node) and x not in seen:
                seen.add(x)
                stack.append(x)
    found.sort(key=_by_order)
    return found


def nodes(*outputs: Node) -> list[Node]:
    """Return the recorded program: every node, leaves first, then in tape order.

    A leaf's place in time moves when its value changes; it still comes first.
    """
    found = ancestors(outputs)
    return [n for n in found if n._op is None] + [n for n in found if n._op is not None]


def bypassed(found: Iterable[Node]) -> set[Node]:
    """Nodes that the user wrote and that a stabler form now skips.

    Their own gradient is the plain rule's, and flows to no older node.
    """
    hidden: set[Node] = set()
    for node in found:
        form = node._form
        if form is None or form.written is None:
            continue
        stack = list(form.written.inputs)
        while stack:
            x = stack.pop()
            if not isinstance(x, Node) or x is form.operand or x in hidden:
                continue
            if x._op is not None:
                hidden.add(x)
                stack.extend(written(x)[1])
    return hidden


def name(node: Node) -> str | None:
    """Return the name that the user gave a node, or None."""
    return getattr(node, "_name", None)


def scope(node: Node) -> str | None:
    """Return the path of the layer in which a node was recorded, or None."""
    return getattr(node, "_scope", None)


def owner(x: Node) -> Node:
    """Return the node whose memory a node shows: itself, or what it is a view of."""
    while (
        x._op is not None
        and x._op.kind in ("movement", "indexing")
        and isinstance(x._x, Node)
        and np.may_share_memory(x._value, x._x._value)
    ):
        x = x._x
    return x


def line(node: Node) -> Line | None:
    """Return the user's line that recorded a node, or last changed a leaf."""
    return line_of(node._code, node._lasti)
