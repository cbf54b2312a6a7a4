"""From a program to groups: nodes that are computed in one pass over one shape.

A group is one loop nest, one product, or one call. Groups are a list; a node goes into
a group that comes no earlier than all it needs, so their order is right whatever joins
them. Nodes that are cheap and are made of one array are in no group: whoever needs
them computes them again, which is quicker than to store and load them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_nn import shapes
from tinygrad_nn.compiler.c.expressions import CHEAP, TYPES, is_expressible
from tinygrad_nn.compiler.c.layout import Access, in_order, is_view, seen
from tinygrad_nn.compiler.c.ways import (
    FEW,
    SMALL,
    UNROLLED,
    WIDE,
    is_large,
    vector_axis,
)
from tinygrad_nn.op import Node, inputs_of, settings_of
from tinygrad_nn.ops.indexing import is_basic
from tinygrad_nn.rewriting.program import Program, operands
from tinygrad_nn.rewriting.ufuncs import ufunc_of

__all__ = ["Group", "Plan", "about", "planned", "root_of", "sizes_of"]

AGAIN = 6
"""Cheap ops in a row that are computed again rather than stored."""
REDUCTIONS = ("sum", "max", "min", "prod")


@dataclass(eq=False)
class Group:
    """Nodes that are computed together.

    Attributes
    ----------
    kind
        ``"loop"``, ``"product"``, ``"join"``, ``"scatter"`` or ``"call"``.
    shape
        What a loop goes over.
    update
        Whether it belongs to the update of parameters.
    nodes
        What it computes, in order; reductions among them are finished at its end.
    head
        A small product whose elements are computed inside of the loop.
    order
        Axes of a loop from the outermost to the innermost.
    users
        Groups that need something of this one, and whether all of it element by
        element in the same pass.
    """

    kind: str
    shape: tuple[int, ...]
    update: bool
    nodes: list[Any] = field(default_factory=list)
    head: Any = None
    order: tuple[int, ...] = ()
    reads: set[Node] = field(default_factory=set)
    users: dict[int, bool] = field(default_factory=dict)


@dataclass
class Plan:
    """The groups in order, and where each node is computed.

    Attributes
    ----------
    where
        Node to the number of its group.
    again
        Nodes that every reader computes for itself, and of how many ops they consist.
    region
        Groups that go through an axis in blocks, a `Region`, or None.
    """

    groups: list[Group] = field(default_factory=list)
    where: dict[Node, int] = field(default_factory=dict)
    again: dict[Node, int] = field(default_factory=dict)
    region: Any = None

    def sources_of(self, x: Any, *, views: bool = False) -> list[Any]:
        """Return the stored nodes and leaves that an operand is read from.

        With ``views`` also what shows them in another way, where it is no more than
        that: between a view and what is computed again nothing lies in memory.
        """
        found: list[Any] = []
        left = [x]
        while left:
            z = left.pop()
            if not isinstance(z, Node):
                continue
            again = root_of(z) in self.again
            if is_view(z):
                found += [z] if views else []
                left.append(root_of(z) if again else inputs_of(z)[0])
            elif again:
                left += inputs_of(z)
            else:
                found.append(z)
        return found


def planned(program: Program, *, again: bool = True) -> Plan:
    """Put the nodes of a program into groups."""
    from tinygrad_nn.compiler.c.regions import with_region  # noqa: PLC0415

    return with_region(_Planner(program, again=again).run(), program)


def sizes_of(node: Any) -> tuple[int, int, int]:
    """Return rows, columns and the summed length of a product, batches aside."""
    x, y = (np.shape(z._value if isinstance(z, Node) else z) for z in inputs_of(node))
    m = x[-2] if len(x) > 1 else 1
    n = y[-1] if len(y) > 1 else 1
    return m, n, x[-1]


def root_of(node: Any) -> Any:
    """Return what a view shows."""
    while isinstance(node, Node) and is_view(node):
        node = inputs_of(node)[0]
    return node


def about(x: Any) -> Access:
    """Return how an operand will lie in memory, as far as is known by now."""
    chain = []
    while is_view(x):
        chain.append(x)
        x = inputs_of(x)[0]
    shape = tuple(x._value.shape)
    strides = in_order(shape, tuple(range(len(shape))))
    access = Access("", x._value.dtype, 0, shape, strides)
    for node in reversed(chain):
        shown = seen(node, access)
        if shown is None:
            shape = tuple(node._value.shape)
            strides = in_order(shape, tuple(range(len(shape))))
            shown = Access("", access.dtype, 0, shape, strides)
        access = shown
    return access


class _Planner:
    def __init__(self, program: Program, *, again: bool) -> None:
        self.program = program
        self.plan = Plan()
        self.may_again = again
        self.latest: dict[Any, int] = {}
        self.firm = self._firm()

    def _firm(self) -> set[Node]:
        """Nodes that must lie in memory: their readers do not go element by element."""
        firm = set(self.program.outputs()) | set(self.program.sources)
        firm |= {root_of(x) for x in firm}
        for node in self.program.nodes:
            inside = is_expressible(node) or (
                _name(node) in REDUCTIONS and _has_c_form(node)
            )
            if not inside or is_view(node):
                firm |= {root_of(x) for x in operands(node)}
        return firm

    def run(self) -> Plan:
        first = self.program.first_update
        for node in self.program.nodes:
            update = first is not None and node._order >= first
            if is_view(node):
                continue
            if is_expressible(node):
                self._elementwise(node, update)
            elif _name(node) in REDUCTIONS and _has_c_form(node):
                self._reduction(node, update)
            elif _name(node) == "matmul" and _has_c_form(node):
                self._product(node, update)
            else:
                self._alone(node, update)
        return self.plan

    # --- dependencies ---

    def _ready(self, x: Any, shape: tuple[int, ...]) -> int:
        """Return the first group in which an operand can be read element by element."""
        if not isinstance(x, Node):
            return 0
        if is_view(x):
            return self._done(x)
        if x in self.plan.again:
            if x._value.shape == shape:
                return max((self._ready(y, shape) for y in inputs_of(x)), default=0)
            return self._done(x)
        where = self.plan.where.get(x)
        if where is None:
            return 0
        group = self.plan.groups[where]
        inside = group.kind == "loop" and x._op.name not in REDUCTIONS  # type: ignore[union-attr]
        return where if inside and x._value.shape == shape else where + 1

    def _done(self, x: Any) -> int:
        """Return the first group before which a node is complete."""
        if not isinstance(x, Node):
            return 0
        x = root_of(x)
        if x in self.plan.again:
            return max((self._done(y) for y in inputs_of(x)), default=0)
        where = self.plan.where.get(x)
        return 0 if where is None else where + 1

    def _new(self, kind: str, shape: Any, update: bool) -> int:
        self.plan.groups.append(Group(kind, tuple(shape), update))
        return len(self.plan.groups) - 1

    def _join(self, node: Any, number: int) -> None:
        plan = self.plan
        group = plan.groups[number]
        group.nodes.append(node)
        plan.where[node] = number
        for x in operands(node):
            whole = self._whole(x, group.shape)
            for source in self.plan.sources_of(x):
                group.reads.add(source)
                where = plan.where.get(source)
                if where is not None and where != number:
                    same = where not in whole and node is not group.head
                    users = plan.groups[where].users
                    users[number] = users.get(number, True) and same

    # --- kinds of nodes ---

    def _elementwise(self, node: Any, update: bool) -> None:
        cost = self._cost(node)
        if cost is not None:
            self.plan.again[node] = cost
            return
        shape = tuple(node._value.shape)
        earliest = max((self._ready(x, shape) for x in inputs_of(node)), default=0)
        number = self._group_for(node, shape, earliest, update)
        if number is None:
            number = self._new("loop", shape, update)
            self.latest[shape, update] = number
        self._join(node, number)

    def _cost(self, node: Any) -> int | None:
        """Return of how many ops a node is that is computed again, else None."""
        shape = node._value.shape
        if node in self.firm or not self.may_again or not shape:
            return None
        if node._op.name != "astype" and ufunc_of(node._op) not in CHEAP:
            return None
        cost, large = 1, set()
        for x in inputs_of(node):
            if not isinstance(x, Node):
                continue
            cost += self.plan.again.get(x, 0)
            large |= {
                z
                for z in self.plan.sources_of(x)
                if z._value.size * 2 > node._value.size
            }
        return cost if cost <= AGAIN and len(large) <= 1 else None

    def _group_for(
        self, node: Any, shape: Any, earliest: int, update: bool
    ) -> int | None:
        """Return the group that a node joins: the latest that it shares data with."""
        plan = self.plan
        near = {
            plan.where[z]
            for x in inputs_of(node)
            for z in self.plan.sources_of(x)
            if z in plan.where
        }
        sources = {z for x in inputs_of(node) for z in self.plan.sources_of(x)}
        latest = self.latest.get((shape, update))
        if latest is not None and not plan.groups[latest].reads.isdisjoint(sources):
            near.add(latest)
        fits = sorted(
            i
            for i in near
            if plan.groups[i].kind == "loop"
            and plan.groups[i].shape == shape
            and plan.groups[i].update == update
        )
        chosen = [i for i in fits if i >= earliest]
        if not chosen:
            return None
        target = chosen[-1]
        whole = {i for x in inputs_of(node) for i in self._whole(x, shape)}
        for other in fits:
            if other != target and other not in whole:
                self._merge(other, target)
        return target

    def _whole(self, x: Any, shape: tuple[int, ...]) -> set[int]:
        """Return groups that must be finished before an operand can be read."""
        if not isinstance(x, Node):
            return set()
        if x in self.plan.again and x._value.shape == shape:
            return {i for y in inputs_of(x) for i in self._whole(y, shape)}
        where = {
            self.plan.where[z] for z in self.plan.sources_of(x) if z in self.plan.where
        }
        return {i for i in where if self._ready(x, shape) > i}

    def _merge(self, early: int, late: int) -> None:
        """Move all of a group into a later one, if nothing between needs it."""
        plan = self.plan
        a, b = plan.groups[early], plan.groups[late]
        fused = all(i == late and same for i, same in a.users.items())
        if early > late or not a.nodes or not fused:
            return
        if a.head is not None and b.head is not None:
            return
        if a.head is not None and any(n._op.name in REDUCTIONS for n in b.nodes):
            return
        if b.head is not None and any(n._op.name in REDUCTIONS for n in a.nodes):
            return
        if a.head is not None:
            b.head, b.order = a.head, a.order
        nodes = sorted([*a.nodes, *b.nodes], key=self._rank)
        b.nodes = nodes
        b.reads |= a.reads
        for node in a.nodes:
            plan.where[node] = late
        for group in plan.groups[:early]:
            if early in group.users:
                same = group.users.pop(early)
                group.users[late] = group.users.get(late, True) and same
        a.nodes, a.head, a.users = [], None, {}

    def _rank(self, node: Any) -> int:
        if not hasattr(self, "_ranks"):
            self._ranks = {n: i for i, n in enumerate(self.program.nodes)}
        return self._ranks[node]

    def _reduction(self, node: Any, update: bool) -> None:
        (x,) = inputs_of(node)
        shape = tuple(x._value.shape)
        earliest = self._ready(x, shape)
        number = self._group_for(node, shape, earliest, update)
        if number is not None:
            head = self.plan.groups[number].head
            if head is not None and not _sums_beside(node, head):
                number = None
        if number is None:
            number = self._new("loop", shape, update)
            self.latest[shape, update] = number
        self._join(node, number)

    def _product(self, node: Any, update: bool) -> None:
        m, n, k = sizes_of(node)
        ranks = [np.ndim(z._value) for z in inputs_of(node)]
        inside = (
            ranks == [2, 2] and min(m, n, k) < SMALL and node._value.dtype.kind == "f"
        )
        if not inside or k == 0 or m * n == 0 or not self._is_head(node):
            self._alone(node, update, "product")
            return
        number = self._new("loop", (m, n), update)
        group = self.plan.groups[number]
        group.head = node
        self._join(node, number)

    def _is_head(self, node: Any) -> bool:
        """Whether elements of a product are made in a loop that goes on with them."""
        x, y = (about(z) for z in inputs_of(node))
        axis = vector_axis(x, y)
        (m, k), n = x.shape, y.shape[1]
        if axis == 2:
            return max(m, n) >= 8 * k and k < SMALL
        streamed, other = (y, x.shape[0]) if axis == 1 else (x, y.shape[1])
        return not (is_large(streamed) and other < SMALL and x.shape[1] >= FEW)

    def _alone(self, node: Any, update: bool, kind: str | None = None) -> None:
        number = self._new(kind or _kind_of(node), node._value.shape, update)
        self._join(node, number)


def _sums_beside(node: Any, head: Any) -> bool:
    """Whether a reduction is a sum that a product's own loop can keep.

    Not where that loop has a loop over the sums of the product in it, nor where the
    sum has to be wider than the product.
    """
    many = head._value.size > WIDE * max(node._value.size, 1)
    narrow = node._value.dtype == np.float32 and many
    return node._op.name == "sum" and sizes_of(head)[2] <= UNROLLED and not narrow


def _name(node: Any) -> str:
    name: str = node._op.name
    return name


def _has_c_form(node: Any) -> bool:
    """Return whether a reduction or a product is computed in C."""
    values = [x._value if isinstance(x, Node) else x for x in inputs_of(node)]
    if not all(isinstance(x, Node) for x in inputs_of(node)):
        return False
    if any(str(v.dtype) not in TYPES for v in (*values, node._value)):
        return False
    if node._op.name in ("max", "min", "prod"):
        axes = shapes.reduced_axes(values[0].ndim, settings_of(node)["axis"])
        empty = any(values[0].shape[axis] == 0 for axis in axes)
        kind = values[0].dtype.kind
        return kind == "f" and not (empty and node._op.name != "prod")
    return True


def _kind_of(node: Any) -> str:
    """Return whether an op is a few copies, or a call of Python."""
    inputs = inputs_of(node)
    dtypes = {str(x._value.dtype) for x in inputs if isinstance(x, Node)}
    plain = all(isinstance(x, Node) for x in inputs) and dtypes <= TYPES.keys()
    name = node._op.name
    same = dtypes == {str(node._value.dtype)}
    if not (plain and same):
        return "call"
    settings = settings_of(node)
    if name == "stack" or (name == "concatenate" and settings["axis"] is not None):
        return "join"
    basic = name == "scatter_add" and is_basic(settings["index"])
    return "scatter" if basic else "call"
