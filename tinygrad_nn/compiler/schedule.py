"""Which nodes run in blocks: long elementwise chains, a cache-sized piece at a time.

A chain over an array that no cache holds reads and writes memory at every op. In pieces
of some thousand elements what is passed from op to op never leaves the cache, and needs
memory for one piece only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_nn import shapes
from tinygrad_nn.op import Node, Op, inputs_of
from tinygrad_nn.rewriting.program import Program, operands
from tinygrad_nn.rewriting.ufuncs import ufunc_of

__all__ = ["Block", "scheduled"]

MANY = 1 << 20
"""Bytes from which a chain runs in blocks; below, calls cost more than they save."""
PIECE = 1 << 17
"""Bytes of a piece."""
SHORTEST = 3
"""Ops of the shortest chain that is worth a loop."""


@dataclass(eq=False)
class Block:
    """Nodes that run piece by piece along the first axis.

    Attributes
    ----------
    nodes
        Elementwise nodes of one shape, and sums over all of it, in order.
    shape
        The common shape.
    rows
        Rows of a piece.
    inner
        Nodes that nobody outside of the block needs: they have memory for a piece.
    """

    nodes: list[Any]
    shape: tuple[int, ...]
    rows: int
    inner: set[Node]


def scheduled(program: Program) -> list[list[Any]]:
    """Return nodes and blocks in running order, one list a phase."""
    first = program.first_update
    if first is None:
        phases = [program.nodes]
    else:
        phases = [
            [n for n in program.nodes if n._order < first],
            [n for n in program.nodes if n._order >= first],
        ]
    if not any(map(_may_run_in_blocks, program.nodes)):
        return [list(nodes) for nodes in phases]
    users: dict[Node, list[Any]] = {}
    for node in program.nodes:
        for x in operands(node):
            users.setdefault(x, []).append(node)
    outside = set(program.outputs())
    return [_phase(nodes, users, outside, program) for nodes in phases]


def _phase(
    nodes: list[Any],
    users: dict[Node, list[Any]],
    outside: set[Node],
    program: Program,
) -> list[Any]:
    items: list[Any] = []
    group: list[Any] = []
    late: list[Any] = []
    waiting: set[Node] = set()  # known only after the block: its sums, and what follows
    inside: set[Node] = set()

    def end() -> None:
        elementwise = [n for n in group if n._op.pointwise]
        if len(elementwise) >= SHORTEST:
            items.append(_block(group, users, outside, program))
        else:
            items.extend(group)
        items.extend(late)
        group.clear()
        late.clear()
        waiting.clear()
        inside.clear()

    for node in nodes:
        needs = operands(node)
        shape = node._value.shape
        blocked = _may_run_in_blocks(node)
        fits = not group or shape == group[0]._value.shape
        if blocked and not (fits and waiting.isdisjoint(needs)):
            end()
            fits = True
        if blocked and fits:
            group.append(node)
            inside.add(node)
        elif group and _is_total(node, group[0]._value.shape, inside, program):
            group.append(node)
            waiting.add(node)
        elif group and not (waiting.isdisjoint(needs) and inside.isdisjoint(needs)):
            late.append(node)
            waiting.add(node)
        else:
            items.append(node)
    end()
    return items


def _may_run_in_blocks(node: Any) -> bool:
    op: Op = node._op
    if node._value.nbytes < MANY or ufunc_of(op) is None:
        return False
    shape = node._value.shape
    return len(shape) > 0 and PIECE * shape[0] >= node._value.nbytes


def _is_total(node: Any, shape: Any, inside: set[Node], program: Program) -> bool:
    """Whether a node sums all of a block's array: that is done piece by piece."""
    if program.exact or node._op.name != "sum" or np.ndim(node._value):
        return False
    x = inputs_of(node)[0]
    axes = shapes.reduced_axes(len(shape), node._settings["axis"])
    return x in inside and len(axes) == len(shape) and x._value.dtype.itemsize == 8


def _block(
    group: list[Any],
    users: dict[Node, list[Any]],
    outside: set[Node],
    program: Program,
) -> Block:
    shape = group[0]._value.shape
    row = max(1, group[0]._value.nbytes // shape[0])
    members = set(group)
    inner = {
        node
        for node in group
        if node not in outside and all(user in members for user in users.get(node, ()))
    }
    del program
    return Block(list(group), shape, max(1, PIECE // row), inner)
