"""Small parameters are updated together: their arrays side by side, one call for all.

Updates are elementwise, so the rule of an optimiser on many arrays is that rule on one
array that holds them all. Each call on a small array costs mostly the call.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.compiler.biases import FIRST, LAST
from tinygrad_nn.op import Node, data_of, inputs_of, op_of
from tinygrad_nn.rewriting.fold import number_of
from tinygrad_nn.rewriting.program import Program, operands, recorded, redirected
from tinygrad_nn.rewriting.ufuncs import ufunc_of
from tinygrad_nn.scalars import Scalar
from tinygrad_nn.tensor import Tensor

__all__ = ["together"]

SMALL = 4_096
"""Elements of the largest parameter that is updated with others."""


class _Update(NamedTuple):
    """What is computed of one parameter's arrays, and from which."""

    nodes: list[Any]
    arrays: list[Any]
    numbers: list[Scalar]  # a rate, what follows from a count
    rule: Hashable  # equal where two updates do the same


class _Cell(NamedTuple):
    """One update, or those of a layer's weight and bias, which lie in one array."""

    updates: tuple[_Update, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its arrays."""
        shape = tuple(self.updates[0].nodes[0]._value.shape)
        return shape if len(self.updates) == 1 else (shape[0], shape[1] + 1)

    @property
    def size(self) -> int:
        """The number of its elements."""
        return int(np.prod(self.shape))


def together(program: Program) -> Program:
    """Update small parameters whose rule is the same in one go."""
    if program.first_update is None:
        return program
    groups: dict[Hashable, list[_Update]] = {}
    for update in _updates(program):
        groups.setdefault(update.rule, []).append(update)
    instead: dict[Any, Any] = {}
    joined = _joined(program)
    for updates in groups.values():
        if len(updates) > 1:
            instead |= _merged(_cells(updates), joined)
    return redirected(program, instead)


# --- finding updates ---


def _updates(program: Program) -> list[_Update]:
    """Find the elementwise nodes between a parameter's arrays and their new values."""
    users: dict[Node, list[Any]] = {}
    for node in program.nodes:
        for x in operands(node):
            users.setdefault(x, []).append(node)
    written = set(_written(program))
    of: dict[Node, set[Any]] = {}  # node to the update that it is a part of
    for node in written:
        members = _before(node, program)
        for x in list(members):
            members |= of.get(x, set())
        for x in members:
            of[x] = members
    position = {node: i for i, node in enumerate(program.nodes)}
    found = []
    for members in {id(x): x for x in of.values()}.values():
        nodes = sorted(members, key=position.__getitem__)
        alone = all(user in members for x in nodes for user in users.get(x, ()))
        update = _described(nodes, written, program) if alone else None
        if update is not None:
            found.append(update)
    return sorted(found, key=lambda update: position[update.nodes[0]])


def _written(program: Program) -> list[Any]:
    """Return new values of small arrays that are computed element by element."""
    places = {place: leaf for leaf, place in program.places.items()}
    found = []
    for place, node in program.writes:
        leaf = places.get(place)
        if leaf is None or not _is_step(node, node, program):
            continue
        if (leaf._value.shape, leaf._value.dtype) == (
            node._value.shape,
            node._value.dtype,
        ):
            found.append(node)
    return found


def _before(node: Any, program: Program) -> set[Any]:
    """Return what of the update a new value is computed from, itself included."""
    members = {node}
    waiting = [node]
    while waiting:
        for x in inputs_of(waiting.pop()):
            if _is_step(x, node, program) and x not in members:
                members.add(x)
                waiting.append(x)
    return members


def _is_step(x: Any, like: Any, program: Program) -> bool:
    """Whether an operand is computed in the update, element by element."""
    first = program.first_update
    return (
        isinstance(x, Node)
        and x._op is not None
        and x not in program.places
        and first is not None
        and x._order >= first
        and ufunc_of(x._op) is not None
        and 0 < x._value.size <= SMALL
        and x._value.ndim > 0
        and x._value.shape == like._value.shape
        and x._value.dtype == like._value.dtype
        and x._value.dtype.kind == "f"
    )


def _described(nodes: list[Any], written: set[Any], program: Program) -> _Update | None:
    """Say what an update does in words that do not depend on the parameter."""
    number = {x: i for i, x in enumerate(nodes)}
    arrays: dict[Any, int] = {}
    numbers: dict[str, Scalar] = {}
    words: list[Hashable] = [nodes[0]._value.dtype]
    for node in nodes:
        said: list[Hashable] = [node._op, node in written]
        for x in inputs_of(node):
            known = number_of(x, program)
            if isinstance(x, Scalar):
                numbers.setdefault(x.text, x)
                said.append(("live", list(numbers).index(x.text)))
            elif known is not None:
                said.append(("number", float(known), str(getattr(x, "dtype", ""))))
            elif not isinstance(x, Node):
                return None
            elif x in number:
                said.append(number[x])
            elif x._op is not None and x._order >= (program.first_update or 0):
                return None
            elif np.ndim(x._value) == 0:
                said.append(("node", x))
            elif x._value.shape == node._value.shape and (
                x._value.dtype == node._value.dtype
            ):
                said.append(("array", arrays.setdefault(x, len(arrays))))
            else:
                return None
        words.append(tuple(said))
    return _Update(nodes, list(arrays), list(numbers.values()), tuple(words))


# --- joining them ---


def _joined(program: Program) -> dict[Any, Any]:
    """Return what is side by side already: pairs of nodes, and the node of both."""
    found: dict[Any, Any] = {}
    parts: dict[Any, dict[int, Any]] = {}
    for node in program.nodes:
        op, inputs = node._op, inputs_of(node)
        assert op is not None  # noqa: S101 (a program's nodes are ops)
        pair = len(inputs) == 2 and all(isinstance(x, Node) for x in inputs)
        if pair and op.name == "concatenate" and node._settings["axis"] == 1:
            found[inputs] = node
        side = _side(node)
        if side is not None:
            parts.setdefault(inputs[0], {})[side] = node
    for whole, sides in parts.items():
        if len(sides) == 2:
            found[sides[0], sides[1]] = whole
    return found


def _side(x: Any) -> int | None:
    """Return which part of ``[W | b]`` a node is, 0 or 1, or None."""
    if x._op is None or x._op.name != "getitem":
        return None
    index = x._settings["index"]
    if not isinstance(index, tuple) or not all(type(i) is slice for i in index):
        return None
    return next((i for i, side in enumerate((FIRST, LAST)) if index == side), None)


def _cells(updates: list[_Update]) -> list[_Cell]:
    """Put the updates of a layer's weight and bias into one cell."""
    columns = {}
    for update in updates:
        for x in update.arrays:
            if _side(x) is not None:
                columns[inputs_of(x)[0], _side(x)] = update
    cells = []
    done: set[int] = set()
    for update in updates:
        if id(update) in done:
            continue
        for x in update.arrays:
            if _side(x) is None:
                continue
            whole = inputs_of(x)[0]
            first = columns.get((whole, 0))
            last = columns.get((whole, 1))
            if first is not None and last is not None and whole._value.size <= SMALL:
                cells.append(_Cell((first, last)))
                done |= {id(first), id(last)}
                break
        else:
            cells.append(_Cell((update,)))
    return cells


def _merged(cells: list[_Cell], joined: dict[Any, Any]) -> dict[Any, Any]:
    """Compute all cells at once; return what each old node now is a part of."""
    first = cells[0].updates[0]
    last = max((c.updates[0].nodes[-1] for c in cells), key=lambda node: node._order)
    side_by_side: dict[Any, Any] = {}
    for j, x in enumerate(first.arrays):
        parts = [_array(cell, j, joined, last) for cell in cells]
        side_by_side[x] = _row(parts, last)
    live = {x.text: _number(cells, j, last) for j, x in enumerate(first.numbers)}
    instead: dict[Any, Any] = {}
    for i, node in enumerate(first.nodes):
        inputs = [
            live[x.text]
            if isinstance(x, Scalar)
            else side_by_side.get(x, x)
            if isinstance(x, Node)
            else x
            for x in inputs_of(node)
        ]
        made = recorded(node._op, tuple(inputs), last, **node._settings)
        made._name = f"all_{node._name or node._op.name}"
        side_by_side[node] = made
        start = 0
        for cell in cells:
            part = _cut(made, cell, start, last)
            start += cell.size
            for update, index in zip(cell.updates, (FIRST, LAST), strict=False):
                old = update.nodes[i]
                if len(cell.updates) == 1:
                    instead[old] = part
                else:
                    get = op_of(ops.getitem)
                    instead[old] = recorded(get, (part,), last, index=index)
                instead[old]._name = old._name
    return instead


def _array(cell: _Cell, j: int, joined: dict[Any, Any], last: Any) -> Any:
    """Return the ``j``-th array of a cell."""
    arrays = tuple(update.arrays[j] for update in cell.updates)
    if len(arrays) == 1:
        return arrays[0]
    if arrays not in joined:
        joined[arrays] = recorded(op_of(ops.concatenate), arrays, last, axis=1)
    return joined[arrays]


def _number(cells: list[_Cell], j: int, last: Any) -> Any:
    """Return the ``j``-th live number, or where parameters differ in it, a row."""
    numbers = [update.numbers[j] for cell in cells for update in cell.updates]
    if len({x.text for x in numbers}) == 1:
        return numbers[0]
    rows = []
    for cell in cells:
        parts = []
        for update in cell.updates:
            value = update.nodes[0]._value
            shape = value.shape if len(cell.updates) > 1 else (value.size,)
            parts.append(_filled(update.numbers[j], shape, value.dtype, last))
        join = op_of(ops.concatenate)
        many = len(parts) > 1
        rows.append(recorded(join, tuple(parts), last, axis=1) if many else parts[0])
    return _row(rows, last)


def _filled(number: Scalar, shape: tuple[int, ...], dtype: Any, last: Any) -> Tensor:
    """Return an array of one live number."""
    spread = op_of(ops.spread)
    made = recorded(spread, (number,), last, shape=shape, axis=None, keepdims=False)
    made._value = np.full(shape, data_of(number), dtype)
    return made


def _row(parts: list[Any], last: Any) -> Tensor:
    """Put arrays side by side in one row."""
    if len(parts) == 1:
        return parts[0]  # type: ignore[no-any-return]
    flat = [
        x
        if x._value.ndim == 1
        else recorded(op_of(ops.reshape), (x,), last, shape=(x._value.size,))
        for x in parts
    ]
    row = recorded(op_of(ops.concatenate), tuple(flat), last, axis=0)
    row._name = "all_" + (getattr(parts[0], "_name", None) or "arrays")
    return row


def _cut(row: Any, cell: _Cell, start: int, last: Any) -> Any:
    """Return the part of a row that belongs to a cell, in its shape."""
    if row._value.shape == cell.shape and row._value.ndim > 1:
        return row
    index = (slice(start, start + cell.size),)
    part = recorded(op_of(ops.getitem), (row,), last, index=index)
    if part._value.shape == cell.shape:
        return part
    return recorded(op_of(ops.reshape), (part,), last, shape=cell.shape)
