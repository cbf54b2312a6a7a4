"""Walking a recorded graph: never by recursion, always in the order of recording."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from types import CodeType, FrameType
from typing import Any

import numpy as np

from tinygrad_nn.op import Node, Op, inputs_of, settings_of
from tinygrad_nn.recording import Line, line_of

__all__ = [
    "ancestors",
    "assigned",
    "bypassed",
    "known_in",
    "line",
    "name",
    "nodes",
    "owner",
    "place",
    "scope",
    "source",
    "written",
]

_by_order = attrgetter("_order")
_HOLDERS = (dict, list, tuple)
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

    A leaf's place in time moves when its value changes; it still comes first. A
    checkpoint is opened: what it had not kept is computed again, and kept.
    """
    found = ancestors(outputs)
    while closed := [n for n in found if n._op and n._op.kind == "checkpoint"]:
        for node in closed:
            segment = node._settings["segment"]
            segment.open(node, segment.again(inputs_of(node)))
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


def known_in(frame: FrameType) -> dict[int, tuple[Any, str]]:
    """Nodes and arrays among a frame's locals, by identity, with their names.

    Dictionaries, lists and tuples are looked into, one level deep: ``params["W1"]``
    is called W1, ``layers[0]`` is called layers[0].
    """
    found: dict[int, tuple[Any, str]] = {}
    variables = {k: v for k, v in frame.f_locals.items() if not k.startswith("_")}
    for key, value in variables.items():
        if isinstance(value, (Node, np.ndarray)):
            found.setdefault(id(value), (value, key))
    for key, value in variables.items():
        if type(value) in _HOLDERS:
            for inner, item in _items(key, value):
                if isinstance(item, (Node, np.ndarray)):
                    found.setdefault(id(item), (item, inner))
    return found


def _items(title: str, holder: Any) -> Iterator[tuple[str, Any]]:
    if len(holder) > 1000:
        return
    if isinstance(holder, dict):
        yield from ((key, x) for key, x in holder.items() if isinstance(key, str))
    else:
        yield from ((f"{title}[{i}]", x) for i, x in enumerate(holder))


def assigned(found: Iterable[Node]) -> dict[Node, str]:
    """Names that the statements gave that recorded the nodes: ``Z1 = W1 @ X + b1``.

    The last node of a statement has its name. Where a loop recorded a statement many
    times, the nodes of all turns have it.
    """
    names: dict[Node, str] = {}
    statements: dict[str, dict[int, tuple[int, str]]] = {}
    newest: Node | None = None
    before = None
    for node in [*(n for n in found if n._op is not None), None]:
        here = None
        where = None if node is None else line(node)
        if where is not None:
            if where.file not in statements:
                statements[where.file] = _assignments(where.file)
            here = statements[where.file].get(where.number)
        if here != before and before is not None and newest is not None:
            names[newest] = before[1]
        newest, before = node, here
    return names


def _assignments(file: str) -> dict[int, tuple[int, str]]:
    """For each line of a file: the assignment it is a part of, as (line, name)."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return {}
    found: dict[int, tuple[int, str]] = {}
    for statement in ast.walk(tree):
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target: ast.expr = statement.targets[0]
        elif isinstance(statement, (ast.AugAssign, ast.AnnAssign)):
            target = statement.target
        else:
            continue
        if isinstance(target, ast.Name):
            for number in range(statement.lineno, (statement.end_lineno or 0) + 1):
                found[number] = (statement.lineno, target.id)
    return found


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


def place(node: Node) -> tuple[CodeType | None, int]:
    """Return code and instruction that recorded a node: equal in turns of a loop."""
    return node._code, node._lasti


def line(node: Node) -> Line | None:
    """Return the user's line that recorded a node, or last changed a leaf."""
    return line_of(node._code, node._lasti)
